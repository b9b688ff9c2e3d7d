"""The report: one self-contained page whose data is what the rows say."""

import base64
import json
import statistics
import struct
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_report import AWKWARD, data_of, moving_suite, run_moving, run_small
from small_suite import small_suite

from planararm.benchmark.frame import Results
from planararm.benchmark.leaderboard import build_leaderboard
from planararm.benchmark.report import write_report
from planararm.benchmark.report.board import COLUMNS_OF_SCORES
from planararm.benchmark.report.choice import choose_tasks
from planararm.benchmark.report.distributions import ERRORS, error_distribution, solvable_rows, success_by_bin
from planararm.benchmark.report.maps import (
    CLEARANCE,
    ERROR_HIGH,
    ERROR_LOW,
    HALF_WIDTH,
    cells_of,
    least_grid,
    map_size,
    mean_grid,
    path_points,
    scene_over_time,
    target_points,
)
from planararm.benchmark.report.packing import pack_levels, pack_rows, pack_shares, pack_signed_levels
from planararm.benchmark.report.pictures import file_name
from planararm.benchmark.report.replays import frame_steps
from planararm.benchmark.report.tasks import target_positions
from planararm.benchmark.report.words import OUTCOMES, commands
from planararm.benchmark.results import RESULTS, read_manifest
from planararm.benchmark.scoring import COLUMNS
from planararm.benchmark.tasks import Suite
from planararm.cli import main
from planararm.errors import FileFormatError, InvalidInputError, MissingExtraError
from planararm.metrics import TOLERANCES, Outcome

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.labels, self.text, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if "href" in attributes:
            self.links.append(attributes["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def unpack(kind, text):
    raw = base64.b64decode(text)
    return np.array(struct.unpack(f"<{len(raw) // struct.calcsize(kind)}{kind}", raw), dtype=float)


def unpack_shares(text):
    words = unpack("H", text)
    return np.where(words == 65535, np.nan, words / 65534)


def unpack_rows(packed):
    return unpack("h", packed["data"]).reshape(-1, packed["width"]) * packed["scale"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    results = run_small(out)
    text = write_report(out, small_suite()).read_text(encoding="utf-8")
    return out, results, text, data_of(text)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    out = tmp_path_factory.mktemp("moving")
    return out, run_moving(out)


def test_the_page_is_well_formed_and_self_contained(written):
    _, _, text, _ = written
    page = Page(text)
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert "style" not in attributes or "url" not in attributes["style"]
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert {link[:1] for link in page.links} == {"#", "d"}
    assert {link[1:] for link in page.links if link[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert len(text) < 5_000_000


def test_names_cannot_break_out(written):
    _, _, text, data = written
    assert text.count("</script") == text.count("<script") == 2
    assert AWKWARD in data["policies"]
    assert "window.broken = 1</script>" not in text
    assert "<b>" not in text


def test_the_leaderboard_is_the_scores(written):
    _, results, _, data = written
    board = build_leaderboard(results)
    (suite,) = data["suites"]
    assert [section["title"] for section in suite["sections"]] == [section.title for section in board.sections]
    names = data["policies"]
    for shown, section in zip(suite["sections"], board.sections, strict=True):
        assert [names[score["policy"]] for score in shown["scores"]] == [score.policy for score in section.scores]
        assert [names[index] for index, _ in shown["without"]] == [name for name, _ in section.without]
        for own, score in zip(shown["scores"], section.scores, strict=True):
            assert own["outcomes"] == [score.outcomes[name] for name in OUTCOMES]
            for column in COLUMNS_OF_SCORES:
                if section.kind in column.kinds:
                    value, text = own["cells"][column.key][:2]
                    assert text == column.text(column.value(score))
                    assert value == pytest.approx(column.value(score), rel=1e-5) or value is None
            for i, (low, high) in enumerate(score.success_interval):
                assert own["cells"][f"ok{i}"][2] == pytest.approx([low, high], abs=1e-5)


def test_groups_are_those_of_the_leaderboard(written):
    _, results, _, data = written
    board = build_leaderboard(results)
    (suite,) = data["suites"]
    for index, cells in suite["by_group"]:
        for (group, _), cell in zip(board.groups, cells, strict=True):
            expected = board.by_group[data["policies"][index]][group]
            assert (cell is None) == (expected is None)
            if cell is not None:
                assert [share for share, _ in cell] == pytest.approx(list(expected), abs=1e-5)


def test_the_page_says_what_there_is_to_say(written):
    out, _, text, _ = written
    said = " ".join(Page(text).text)
    manifest = read_manifest(out)
    for word in ("Leaderboard", "claimed", manifest["suite_hash"], "planararm bench hold closed-form"):
        assert word in said
    for name, about in COLUMNS.items():
        assert name in said
        assert about in said


def brute_share(rows, predicate):
    """Mean over tasks of the mean over their seeds."""
    by_task = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(predicate(row))
    return statistics.fmean(statistics.fmean(values) for values in by_task.values())


def two_seeds(results, policy):
    """Rows of a policy and the arm that all support, and a second seed with other numbers for some of the tasks."""
    results = results.select((results["policy"] == policy) & (results["kind"] == "ik") & (results["arm"] == "unit3"))
    rows = [row for row in results if row["truth"] != 0]
    more = [{**row, "seed": 1, "error_max": 3 * row["error_max"] + 1e-5, "valid": True} for row in rows[::2]]
    return rows + more


@pytest.mark.parametrize("policy", ["sometimes", "closed-form", "boasts", "hold"])
def test_the_distribution_is_unconditional_and_by_task(written, policy):
    rows = two_seeds(written[1], policy)
    shares = error_distribution(Results.from_rows(rows))
    for error, share in list(zip(ERRORS, shares, strict=True))[::7]:
        expected = brute_share(rows, lambda row, e=error: bool(row["valid"]) and row["error_max"] / row["reach"] <= e)
        assert share == pytest.approx(expected, abs=1e-12)


def test_the_distribution_at_the_tolerances_is_the_success(written):
    for section, shown in zip(build_leaderboard(written[1]).sections, written[3]["suites"][0]["sections"], strict=True):
        for score, own in zip(section.scores, shown["scores"], strict=True):
            shares = unpack_shares(own["ecdf"])
            for tolerance, success in zip(TOLERANCES, score.success, strict=True):
                assert shares[np.argmin(np.abs(ERRORS - tolerance))] == pytest.approx(success, abs=1e-5)


def test_no_rows_have_no_distribution(written):
    none = written[1].select(np.zeros(len(written[1]), dtype=bool))
    assert np.isnan(error_distribution(none)).all()


def test_success_by_bin_is_the_share_of_its_tasks(written):
    rows = two_seeds(written[1], "damped")
    results = Results.from_rows(rows)
    shares = success_by_bin(results, results["num_obstacles"], 6)
    for discs in range(6):
        own = [row for row in rows if row["num_obstacles"] == discs]
        for tolerance, share in zip(TOLERANCES, shares[:, discs], strict=True):
            if not own:
                assert np.isnan(share)
                continue
            met = brute_share(own, lambda row, t=tolerance: row["valid"] and row["error_max"] / row["reach"] <= t)
            assert share == pytest.approx(met)


def test_difficulty_covers_every_task_once(written):
    _, results, _, data = written
    for section in data["suites"][0]["sections"]:
        own = results.select((results["kind"] == section["kind"]) & (results["arm"] == section["arm"]))
        tasks = {task for task, truth in zip(own["task"], own["truth"], strict=True) if truth != 0}
        for kind in ("discs", "distance"):
            assert sum(section["difficulty"][kind]["counts"]) == len(tasks)
        for score in section["scores"]:
            assert len(unpack_shares(score["discs"])) == 4 * len(section["difficulty"]["discs"]["bins"])
            assert len(unpack_shares(score["distance"])) == 4 * len(section["difficulty"]["distance"]["counts"])


def test_target_positions_are_the_suite_s(written):
    results, suite = written[1], small_suite()
    places = target_positions(results, suite)
    for row, place in zip(results, places, strict=True):
        group = suite.group(row["task"].rpartition("/")[0])
        target = group.targets[int(row["task"][-5:])] / row["reach"]
        if row["kind"] == "track":
            assert np.hypot(*place) == pytest.approx(np.hypot(target[:, 0], target[:, 1]).max())
        else:
            assert place == pytest.approx(target)


def test_maps_are_the_bins_of_the_rows(written):
    _, results, _, data = written
    section = data["suites"][0]["sections"][0]
    size = section["map_size"]
    for score in section["scores"]:
        mine = (results["policy"] == data["policies"][score["policy"]]) & (results["arm"] == "unit3")
        own = solvable_rows(results.select(mine & (results["kind"] == "ik")))
        errors, clearances = np.zeros((2, size * size)), np.full((2, size * size), np.nan)
        for row, place in zip(own, target_positions(own, small_suite()), strict=True):
            column, line = (int((value + HALF_WIDTH) * size / (2 * HALF_WIDTH)) for value in place)
            cell = line * size + column
            errors[:, cell] += (1, np.log10(max(row["error_max"] / row["reach"], 1e-9)))
            if row["clearance"] is not None:
                clearances[0, cell] = np.fmin(clearances[0, cell], row["clearance"] / row["reach"])
        levels = unpack("B", score["map_error"])
        assert ((levels == 0) == (errors[0] == 0)).all()
        there = levels > 0
        seen = ERROR_LOW + (levels[there] - 1) / 254 * (ERROR_HIGH - ERROR_LOW)
        assert seen == pytest.approx(errors[1, there] / errors[0, there], abs=0.02)
        levels = unpack("B", score["map_clearance"])
        assert ((levels == 0) == np.isnan(clearances[0])).all()
        there = levels > 0
        assert ((levels[there] < 128) == (clearances[0, there] < 0)).all()
        expected = np.clip(clearances[0, there], -CLEARANCE, CLEARANCE)
        assert (levels[there] - 128) / 127 * CLEARANCE == pytest.approx(expected, abs=0.0021)


def test_points_of_targets_and_of_paths_are_the_rows(written, moving):
    for results, suite in ((written[1], small_suite()), (moving[1], moving_suite())):
        for policy in results.policies:
            paths = results.select((results["kind"] == "track") & (results["policy"] == policy))
            points = path_points(paths, suite)
            steps = len(points.error) // len(paths)
            for i, row in enumerate(paths):
                error = points.error[i * steps : (i + 1) * steps]
                least = points.clearance[i * steps : (i + 1) * steps].min()
                assert error.max() * row["reach"] == pytest.approx(row["error_max"])
                assert np.sqrt(np.mean(error**2)) * row["reach"] == pytest.approx(row["error"])
                assert least * row["reach"] == pytest.approx(row["clearance"], abs=1e-9)
    single = solvable_rows(written[1].select(written[1]["policy"] == "hold"))
    single = single.select(single["kind"] == "ik")
    assert target_points(single, small_suite()).error == pytest.approx(single["error"] / single["reach"])


def test_no_paths_are_no_points(written):
    none = written[1].select(np.zeros(len(written[1]), dtype=bool))
    assert len(path_points(none, small_suite()).error) == 0


def test_scenes_over_time_are_the_shuttling_discs():
    scene = moving_suite().groups[0].scene[0]
    moments = np.array([0.0, 0.4, 3.1])
    many = scene_over_time(scene, moments)
    for i, moment in enumerate(moments):
        assert many.obstacles.centers[i] == pytest.approx(scene.obstacles.positions(float(moment)))


def test_cells_and_grids():
    cells = cells_of(np.array([[-1.04, -1.04], [1.04, -1.04], [0.0, 0.0], [1.1, 0.0]]), 4)
    assert cells.tolist() == [0, 3, 10, -1]
    values = np.array([1.0, np.nan, 3.0, 9.0])
    assert mean_grid(np.append(values, 5.0), np.append(cells, 10), 4)[[0, 3, 10]] == pytest.approx(
        [1.0, np.nan, 4.0], nan_ok=True
    )
    assert least_grid(np.append(values, 5.0), np.append(cells, 10), 4)[[0, 3, 10]] == pytest.approx(
        [1.0, np.nan, 3.0], nan_ok=True
    )
    assert (map_size(0), map_size(1200), map_size(10**6)) == (12, 20, 40)


@given(arrays(np.float64, (7, 3), elements=st.floats(-30, 30)))
def test_rows_survive_packing(rows):
    packed = pack_rows(rows)
    assert unpack_rows(packed) == pytest.approx(rows, abs=packed["scale"] / 2 + 1e-15)
    assert packed["scale"] <= max(np.abs(rows).max() / 32767, 1e-300) or not rows.any()


@given(arrays(np.float64, 9, elements=st.one_of(st.floats(0, 1), st.just(np.nan))))
def test_shares_survive_packing(shares):
    assert unpack_shares(pack_shares(shares)) == pytest.approx(shares, abs=1e-5, nan_ok=True)


@given(arrays(np.float64, 9, elements=st.one_of(st.floats(-2, 2), st.just(np.nan))))
def test_levels_keep_sign_and_absence(values):
    levels = unpack("B", pack_signed_levels(values, 0.25))
    assert ((levels == 0) == np.isnan(values)).all()
    assert ((levels[~np.isnan(values)] < 128) == (values[~np.isnan(values)] < 0)).all()
    levels = unpack("B", pack_levels(values, -1.0, 1.0))
    assert ((levels == 0) == np.isnan(values)).all()
    back = -1 + (levels[levels > 0] - 1) / 127
    assert back == pytest.approx(np.clip(values[levels > 0], -1, 1), abs=0.004)


def test_the_worst_tasks_have_the_largest_median(written):
    results = written[1]
    chosen = choose_tasks(results)
    bad = {}
    for row in results:
        if row["truth"] != 0 and row["outcome"] != Outcome.UNSUPPORTED:
            relative = row["error_max"] / row["reach"]
            bad.setdefault(row["task"], []).append(np.float32(relative if row["valid"] else relative + 10))
    order = sorted(bad, key=lambda task: (-statistics.median(bad[task]), task))
    assert chosen["worst"] == order[:10]
    assert set(chosen["random"]) == set(order[10:])
    assert choose_tasks(results) == chosen


def test_ties_of_the_worst_are_ordered_by_name(written):
    row = next(iter(written[1]))
    names = [f"{group}/{i:05d}" for group in ("b", "a") for i in range(30)]
    rows = [{**row, "truth": 1, "outcome": "missed", "task": name} for name in names]
    chosen = choose_tasks(Results.from_rows(rows))
    assert chosen["worst"] == [f"a/{i:05d}" for i in range(10)]
    assert len(chosen["random"]) == 10
    assert chosen["random"] == sorted(chosen["random"])
    assert not set(chosen["random"]) & set(chosen["worst"])


def test_nothing_is_chosen_where_nothing_counts(written):
    row = next(iter(written[1]))
    rows = [{**row, "truth": 0}, {**row, "truth": 1, "outcome": "unsupported"}]
    assert choose_tasks(Results.from_rows(rows)) == {"worst": [], "random": []}


def test_replays_hold_the_rows(written):
    _, results, _, data = written
    rows = {(row["task"], row["policy"]): row for row in results}
    replays = data["suites"][0]["replays"]
    assert {task["set"] for task in replays} == {"worst", "random"}
    assert {task["kind"] for task in replays} == {"ik", "track"}
    for task in replays:
        group = small_suite().group(task["name"].rpartition("/")[0])
        i = int(task["name"][-5:])
        arm = data["arms"][task["arm"]]
        assert arm["link_lengths"] == group.scene.arm.link_lengths.tolist()
        assert task["q_start"] == pytest.approx(group.q_start[i], abs=1e-5)
        assert [disc[:2] for disc in task["discs"]] == [
            pytest.approx(center, abs=1e-6) for center in group.scene[i].obstacles.compact().centers
        ]
        for index, answer in task["answers"].items():
            row = rows[task["name"], data["policies"][int(index)]]
            assert answer["outcome"] == row["outcome"]
            if row["q"] is None:
                assert "q" not in answer
            elif task["kind"] == "ik":
                assert answer["q"] == pytest.approx(row["q"], abs=1e-5)
                assert (answer["nominal"] is None) == (row["nominal_q"] is None)
            else:
                shown = unpack_rows(answer["path"])
                assert shown == pytest.approx(np.array(row["q"])[frame_steps(len(row["q"]) - 1)], abs=1e-3)
                assert len(shown) == len(task["times"]) == len(unpack_rows(task["path"])) <= 100
    proposals = [a["nominal"] for t in replays if t["kind"] == "ik" for a in t["answers"].values() if a.get("nominal")]
    assert proposals


def test_frames_begin_and_end_with_the_path():
    assert frame_steps(12).tolist() == list(range(13))
    steps = frame_steps(400)
    assert (len(steps), steps[0], steps[-1]) == (100, 0, 400)
    assert set(np.diff(steps)) == {4, 5}


def test_the_first_of_several_seeds_is_replayed(written, tmp_path):
    out = written[0]
    for name in ("manifest.json", RESULTS):
        (tmp_path / name).write_bytes((out / name).read_bytes())
    rows = [json.loads(line) for line in (out / RESULTS).read_text(encoding="utf-8").splitlines()]
    other = [{**row, "seed": -1, "message": "of seed -1"} for row in rows if row["policy"] == "hold"]
    with (tmp_path / RESULTS).open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in other)
    data = data_of(write_report(tmp_path, small_suite()).read_text(encoding="utf-8"))
    number = str(data["policies"].index("hold"))
    tasks = data["suites"][0]["replays"]
    assert {task["answers"][number]["message"] for task in tasks if number in task["answers"]} == {"of seed -1"}


def test_pictures_lie_beside_the_page(written):
    out, results, _, _ = written
    files = sorted(file.name for file in (out / "pictures").glob("*"))
    sections = [section for section in build_leaderboard(results).sections if section.scores]
    kinds = [f"{section.kind}-{section.arm}" for section in sections]
    assert files == sorted(f"{what}-{kind}.png" for what in ("success", "errors") for kind in kinds)
    for file in files:
        assert (out / "pictures" / file).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_writing_again_changes_nothing(written):
    out, _, text, _ = written
    (out / "pictures" / "old.png").write_bytes(b"")
    assert write_report(out, small_suite()).read_text(encoding="utf-8") == text
    assert not (out / "pictures" / "old.png").exists()


def test_several_folders_are_one_page(written, moving, tmp_path):
    page = write_report([written[0], moving[0]], [small_suite(), moving_suite()], out=tmp_path / "new" / "both.html")
    data = data_of(page.read_text(encoding="utf-8"))
    assert [suite["name"] for suite in data["suites"]] == ["test/small", "test/moving"]
    assert len(data["policies"]) == 6
    assert not (tmp_path / "new" / "pictures").exists()
    discs = data["suites"][1]["replays"][0]["discs"]
    assert [len(disc) for disc in discs] == [7, 3]


def test_a_parent_stands_for_the_folders_in_it(written, moving, tmp_path):
    for name, source in (("a", written[0]), ("b", moving[0])):
        (tmp_path / name).mkdir()
        for file in ("manifest.json", RESULTS):
            (tmp_path / name / file).write_bytes((source / file).read_bytes())
    page = write_report(tmp_path, [small_suite(), moving_suite()])
    assert page == tmp_path / "report.html"
    assert len(data_of(page.read_text(encoding="utf-8"))["suites"]) == 2


def test_several_folders_are_written_here(written, moving, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = write_report([written[0], moving[0]], [small_suite(), moving_suite()])
    assert page.resolve() == tmp_path / "report.html"


def test_the_same_suite_twice(written):
    with pytest.raises(InvalidInputError, match=r"both hold results of suite 'test/small': run the policies into one"):
        write_report([written[0], written[0]], [small_suite(), small_suite()])


def test_as_many_suites_as_folders(written):
    with pytest.raises(InvalidInputError, match=r"2 folders with results need as many suites, got 1"):
        write_report([written[0], written[0]], [small_suite()])


def test_no_folder_at_all():
    with pytest.raises(FileFormatError, match=r"No folder with benchmark results was given"):
        write_report([])


def test_a_folder_without_results(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no benchmark results: manifest.json is missing"):
        write_report(tmp_path)


def test_a_folder_without_rows(written, tmp_path):
    (tmp_path / "manifest.json").write_bytes((written[0] / "manifest.json").read_bytes())
    (tmp_path / RESULTS).write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"holds no result rows yet; run `planararm bench` first"):
        write_report(tmp_path, small_suite())


def test_another_version_of_the_suite(written):
    changed = Suite("test/small", "", small_suite().groups[:1])
    with pytest.raises(InvalidInputError, match=r"suite 'test/small' now has \w{12}: another version of planararm"):
        write_report(written[0], changed)


@pytest.mark.parametrize(("module", "what"), [("jinja2", "The report needs"), ("matplotlib", "pictures need")])
def test_a_missing_extra_is_named(written, monkeypatch, module, what):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'{what}.* pip install "planararm\[report\]"'):
        write_report(written[0], small_suite())


def test_file_names_are_tame():
    assert file_name("../../etc/Pass wd(a=1)", "ik") == "etc-pass-wd-a-1-ik.png"


def test_commands_repeat_the_run():
    manifest = {"policies": ["hold", "a b:C", "dls(damping=0.1)"], "suite": "v1/x?seed=7&scale=2", "seeds": [0]}
    assert commands(manifest) == ["planararm bench hold 'a b:C' --suite 'v1/x?seed=7&scale=2'"]
    assert commands({**manifest, "seeds": [0, 3]})[0].endswith("--seed 0 3")


def test_the_command(written, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("planararm.benchmark.report.page.load_suite", lambda name: small_suite())
    target = tmp_path / "page.html"
    assert main(["report", str(written[0]), "--out", str(target)]) == 0
    assert capsys.readouterr().out == f"Report: {target}\n"
    assert target.stat().st_size > 10_000


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no benchmark results: manifest.json is missing" in capsys.readouterr().err
