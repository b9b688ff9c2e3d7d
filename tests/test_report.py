"""The report: one self-contained page that says what the rows say."""

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import small_suite as ours
from small_suite import small_suite

from planararm.benchmark.leaderboard import build_leaderboard
from planararm.benchmark.report import write_report
from planararm.benchmark.report.charts import scene_png
from planararm.benchmark.report.figures import file_name
from planararm.benchmark.report.selection import cases, path_errors, shown_paths, snapshot
from planararm.benchmark.results import RESULTS, read_manifest
from planararm.benchmark.runner import Entrant, run
from planararm.benchmark.scoring import COLUMNS
from planararm.benchmark.tasks import Suite
from planararm.errors import FileFormatError, InvalidInputError, MissingExtraError
from planararm.obstacles import Obstacles
from planararm.rendering.shapes import Capsule, Cross, Disc, Polyline, Snapshot, scene_shapes
from planararm.scene import Scene

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.alts = [], [], [], [], []
        self.text, self.tags, self.scripts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if "href" in attributes:
            self.links.append(attributes["href"])
        if "src" in attributes:
            self.sources.append(attributes["src"])
        if tag == "img":
            self.alts.append(attributes["alt"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] in ("script", "style") else self.text).append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    entrants = [
        "hold",
        "closed-form",
        Entrant("sometimes", ours.RaisesSometimes),
        Entrant("boasts", ours.Boasts),
        Entrant("<script>alert('x')</script>", ours.Base),
    ]
    rows = run(entrants, small_suite(), out)
    page = write_report(out, small_suite())
    return out, rows, page.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_self_contained(written):
    _, _, text = written
    page = Page(text)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:image/png;base64,[\w+/=]+", "", text))
    assert "url(" not in text
    assert "@import" not in text
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert {link[0] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("h1") == 1
    assert all(alt.strip() for alt in page.alts)


def test_names_are_escaped(written):
    _, _, text = written
    assert Page(text).tags.count("script") == 1
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text


def test_the_page_says_what_the_rows_say(written):
    out, rows, text = written
    said = " ".join(Page(text).text)
    board = build_leaderboard(rows)
    for section in board.sections:
        assert section.title in said
        for score in section.scores:
            assert score.policy in said
            assert f"{100 * score.success[1]:.1f}" in said or score.success[1] in (0, 1)
    for word in ("claimed wrongly", "crashed", "ik-unit5", read_manifest(out)["suite_hash"]):
        assert word in said
    for name, about in COLUMNS.items():
        assert name in said
        assert about in said


def test_every_bar_of_outcomes_adds_up(written):
    _, rows, text = written
    spoken = re.findall(r'role="img" aria-label="([^"]*)"', text)
    counts = [sum(int(number) for number in re.findall(r"(\d+) [a-z]", line.rpartition(":")[2])) for line in spoken]
    kinds = [sum(row["kind"] == kind and row["arm"] == "unit3" for row in rows) // 5 for kind in ("ik", "track")]
    assert counts == [kinds[0]] * 5 + [kinds[1]] * 5


def test_sort_values_are_numbers(written):
    _, _, text = written
    values = re.findall(r'data-value="([^"]*)"', text)
    assert len(values) > 100
    for value in values:
        float(value)


def test_pictures_lie_beside_the_page_and_in_it(written):
    out, _, text = written
    files = sorted((out / "pictures").glob("*.png"))
    assert len(files) == len(Page(text).sources) > 8
    assert all(file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for file in files)
    assert len(text) < 5_000_000


def test_writing_again_changes_nothing(written):
    out, _, text = written
    assert write_report(out, small_suite()).read_text(encoding="utf-8") == text


def test_a_folder_without_results(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no benchmark results: manifest.json is missing"):
        write_report(tmp_path)


def test_a_folder_without_rows(written, tmp_path):
    out, _, _ = written
    (tmp_path / "manifest.json").write_bytes((out / "manifest.json").read_bytes())
    (tmp_path / RESULTS).write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"holds no result rows yet; run `planararm bench` first"):
        write_report(tmp_path, small_suite())


def test_another_version_of_the_suite(written):
    out, _, _ = written
    changed = Suite("test/small", "", small_suite().groups[:1])
    with pytest.raises(InvalidInputError, match=r"suite 'test/small' now has \w{12}: another version of planararm"):
        write_report(out, changed)


def test_a_missing_extra_is_named(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'The report needs .* pip install "planararm\[report\]"'):
        write_report(written[0], small_suite())


def test_missing_matplotlib_is_named_too(written, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pictures need.* pip install "planararm\[report\]"'):
        write_report(written[0], small_suite())


def test_the_worst_case_is_the_worst(written):
    _, rows, _ = written
    worst, typical = cases(rows, "sometimes", "ik")
    solvable = [row for row in rows if row["policy"] == "sometimes" and row["kind"] == "ik" and row["truth"] != 0]
    assert (worst.what, typical.what) == ("worst", "typical")
    assert not worst.row["valid"]
    invalid = [row["error"] / row["reach"] for row in solvable if not row["valid"]]
    assert worst.row["error"] / worst.row["reach"] == max(invalid)
    assert typical.row["num_obstacles"] > 0
    assert typical.row in solvable
    assert cases(rows, "nobody", "ik") == []


def test_pictures_show_the_answer(written):
    _, rows, _ = written
    for row in rows:
        if row["outcome"] == "unsupported":
            continue
        shown = snapshot(row, small_suite())
        tip = shown.scene.arm.end_effector(shown.q)
        error = float(np.linalg.norm(tip - shown.target_position))
        if row["kind"] == "ik":
            assert error == pytest.approx(row["error"], abs=1e-12)
        else:
            assert np.array_equal(shown.q, row["q"][-1])
            assert np.allclose(shown.trail[-1], tip)


def test_curves_are_the_errors_of_the_rows(written):
    _, rows, _ = written
    (task,) = shown_paths(build_leaderboard(rows), rows)
    errors = path_errors(rows, task, small_suite())
    for row in rows:
        if row["task"] == task:
            assert np.sqrt(np.mean(errors[row["policy"]] ** 2)) == pytest.approx(row["error"])
            assert errors[row["policy"]].max() == pytest.approx(row["error_max"])


def test_file_names_are_tame():
    assert file_name("../../etc/Pass wd(a=1)", "ik", "worst") == "etc-pass-wd-a-1-ik-worst.png"


def test_every_kind_of_shape_is_drawn():
    arm = small_suite().groups[0].scene.arm
    scene = Scene(arm, Obstacles([[1.0, 1.5], [-2, 0]], [0.3, 0.2], [[0.5, 0, 0.2, 0.0], [0, 0, 0, 0]]))
    path = np.array([[0.5, 0.5], [1.0, -1.0], [2.0, 0.0]])
    full = Snapshot(scene, [0.1, 0.2, 0.3], target_position=[2.0, 1.0], path=path, trail=path, ghosts=np.ones((2, 3)))
    assert {type(shape) for shape in scene_shapes(full)} == {Capsule, Cross, Disc, Polyline}
    bare = Snapshot(scene, [0.1, 0.2, 0.3])
    assert scene_png(full)[:8] == b"\x89PNG\r\n\x1a\n"
    assert scene_png(full) == scene_png(full) != scene_png(bare)
