"""Exports: read back by other means, hostile names, files whole or not at all."""

import csv
import json
import re
import tracemalloc
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_suite import Base, small_suite

from planararm.benchmark.badge import COLORS, LABEL_COLOR
from planararm.benchmark.export import LEADERBOARD_COLUMNS, code, export, guarded, markdown, unguarded
from planararm.benchmark.leaderboard import build_leaderboard
from planararm.benchmark.results import read_results
from planararm.benchmark.runner import Entrant, run
from planararm.benchmark.scoring import COLUMNS
from planararm.cli import main
from planararm.errors import FileFormatError, InvalidInputError, UnknownNameError

NASTY = '=HYPERLINK("http://x","a|b"),\r\n`@all` <img src=x> & \N{GREEK SMALL LETTER BETA}'


class OnlyThreeJoints(Base):
    """Supports no other arm."""

    def supports(self, scene):
        return None if scene.arm.num_joints == 3 else "+three, joints | only"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "=small"
    run(["damped-least-squares", Entrant(NASTY, "hold")], small_suite(), out)
    return out


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def changed_rows(folder, target, change, repeat=1):
    """A copy of a run with changed rows."""
    target.mkdir()
    (target / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        change(row)
    with (target / "results.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(repeat):
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return target


# --- rows


def test_rows_come_back_as_they_were(folder, tmp_path):
    path = export(folder, tmp_path / "results.csv")
    found, expected = read_csv(path), list(read_results(folder))
    assert list(found[0]) == ["run", *COLUMNS]
    assert len(found) == len(expected) == 2 * len(small_suite())
    for got, row in zip(found, expected, strict=True):
        assert unguarded(got.pop("run")) == "=small"
        for name, value in row.items():
            if value is None:
                assert got[name] == ""
            elif isinstance(value, str):
                assert unguarded(got[name]) == value
            else:
                assert json.loads(got[name]) == value, name


def test_rows_without_joint_angles(folder, tmp_path):
    path = export([folder, folder], tmp_path / "results.csv", with_q=False)
    found = read_csv(path)
    assert list(found[0]) == ["run", *(name for name in COLUMNS if name not in ("q", "nominal_q"))]
    assert len(found) == 4 * len(small_suite())


def test_lines_end_as_in_rfc_4180(folder, tmp_path):
    content = export(folder, tmp_path / "results.csv").read_bytes()
    assert content.startswith(b"run,suite,task,")
    assert content.count(b"\r\n") == 1 + 2 * len(small_suite()) + content.count(b'a|b""),\r\n')
    assert content.endswith(b"\r\n")


def test_no_cell_is_a_formula(folder, tmp_path):
    def hostile(row):
        row["message"] = NASTY
        row["label"] = "@SUM(1)"

    hostile_run = changed_rows(folder, tmp_path / "-1+1", hostile)
    for name in ("results.csv", "leaderboard.csv"):
        path = export([folder, hostile_run], tmp_path / name)
        for line in read_csv(path):
            for cell in line.values():
                assert not re.match("[=+@\t\r\uff1d\uff0b\uff0d\uff20]", cell)
                assert not cell.startswith("-") or float(cell) < 0


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_the_guard_is_undone(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_text_that_is_no_unicode_is_written(folder, tmp_path):
    broken = changed_rows(folder, tmp_path / "broken", lambda row: row.update(message="\ud800 \x00"))
    assert read_csv(export(broken, tmp_path / "results.csv"))[0]["message"] == "\\ud800 \x00"


def test_memory_does_not_grow_with_the_rows(folder, tmp_path):
    some, many = (changed_rows(folder, tmp_path / str(n), lambda row: None, repeat=n) for n in (10, 60))
    peaks = []
    for source in (some, many):
        tracemalloc.start()
        export(source, tmp_path / "results.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (many / "results.jsonl").stat().st_size > 1_000_000
    assert peaks[1] < peaks[0] + 100_000


# --- the leaderboard


def test_the_leaderboard_as_csv(folder, tmp_path):
    found = read_csv(export(folder, tmp_path / "my-Leaderboard.csv"))
    assert list(found[0]) == list(LEADERBOARD_COLUMNS)
    board = build_leaderboard(read_results(folder))
    expected = [(section, score) for section in board.sections for score in section.scores]
    assert len(found) == len(expected) == 6
    for line, (section, score) in zip(found, expected, strict=True):
        assert unguarded(line["policy"]) == score.policy
        assert (line["suite"], line["kind"], line["arm"]) == ("test/small", section.kind, section.arm)
        assert float(line["success_1e-2"]) == score.success[1]
        assert float(line["success_1e-4_low"]) == score.success_interval[3].low
        for name, value in score.error._asdict().items():
            assert float(line[f"error_{name}"]) == value
        assert float(line["solve_time"]) == score.solve_time
        assert sum(int(value) for name, value in line.items() if name.startswith("outcome_")) == score.num_rows
        assert (line["followed"] == "") == (section.kind == "ik")


def test_policies_without_a_score_say_why(tmp_path):
    run(["hold", Entrant("three", OnlyThreeJoints)], small_suite(), tmp_path / "run")
    found = read_csv(export(tmp_path / "run", tmp_path / "leaderboard.csv"))
    (without,) = [line for line in found if line["note"]]
    assert (without["policy"], without["arm"], without["note"]) == ("three", "unit5", "'+three, joints | only")
    assert without["success_1e-2"] == without["num_rows"] == ""
    text = export(tmp_path / "run", tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "\n- `three`: `+three, joints | only`\n" in text
    assert re.search(r"\n\| `three` \|( \N{EN DASH} \|)+\n", text)
    changed = changed_rows(tmp_path / "run", tmp_path / "unit5", lambda row: row.update(arm="unit5"))
    with pytest.raises(InvalidInputError, match=r"'three' has no score in 'test/small' \(Inverse kinematics, unit5\)"):
        export(changed, tmp_path / "badge.svg", policy="three")


def test_the_leaderboard_as_markdown(folder, tmp_path):
    text = export(folder, tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert text == markdown("test/small", build_leaderboard(read_results(folder)))
    lines = text.splitlines()
    assert lines[0] == "## `test/small`"
    assert "### `Inverse kinematics, unit3`" in lines
    # Cells end at pipes that are not escaped; every row of a table has as many.
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    tables = [width for width in widths if width]
    assert set(tables) == {14, 15}
    assert sum(width == 15 for width in widths) == 4
    (name,) = {line.split(" | ")[0] for line in lines if "HYPERLINK" in line}
    assert name == r'| ``=HYPERLINK("http://x","a\|b"), `@all` <img src=x> & β``'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b*", "`a_b*`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("", "\N{EN DASH}"),
        ("a\n\n b", "`a b`"),
        ("a|b", "`a|b`"),
    ],
)
def test_text_as_code(text, expected):
    assert code(text) == expected
    assert code(text, in_table=True) == expected.replace("|", r"\|")


# --- the badge


def test_the_badge_is_a_picture(folder, tmp_path):
    path = export(folder, tmp_path / "badge.svg", policy="damped-least-squares")
    picture = ET.fromstring(path.read_text(encoding="utf-8"))
    section = build_leaderboard(read_results(folder)).sections[0]
    score = next(one for one in section.scores if one.policy == "damped-least-squares")
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "planararm test/small"
    assert float(texts[1].removesuffix(" %")) == pytest.approx(100 * score.success[1], abs=0.05)
    assert "damped-least-squares meets" in picture.attrib["aria-label"]
    assert "of 9 targets within 0.01 of the reach. Inverse kinematics, unit3." in picture.attrib["aria-label"]
    assert 100 < int(picture.attrib["width"]) < 300


def test_hostile_names_stay_text_in_the_badge(folder, tmp_path):
    picture = ET.fromstring(export(folder, tmp_path / "badge.svg", policy=NASTY).read_text(encoding="utf-8"))
    assert "<img src=x> & β meets 0 %" in picture.attrib["aria-label"]
    assert not list(picture.iter("img"))


def test_the_badge_as_json(folder, tmp_path):
    badge = json.loads(export(folder, tmp_path / "badge.json", policy=NASTY).read_text(encoding="utf-8"))
    assert badge == {"schemaVersion": 1, "label": "planararm test/small", "message": "0 %", "color": COLORS[-1][1]}


def test_badges_can_be_read():
    """White text on every colour, by the contrast ratio of WCAG 2."""

    def luminance(color):
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        values = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for color in (LABEL_COLOR, *(color for _, color in COLORS)):
        assert 1.05 / (luminance(color) + 0.05) >= 4.5, color


# --- files and errors


def test_a_file_is_replaced_whole_or_not_at_all(folder, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("before", encoding="utf-8")
    broken = changed_rows(folder, tmp_path / "broken", lambda row: None)
    with (broken / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(FileFormatError, match=r"line 41 does not have the columns of a result row"):
        export([folder, broken], path)
    assert path.read_text(encoding="utf-8") == "before"
    export(folder, path)
    assert path.read_text(encoding="utf-8").startswith("run,")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["broken", "results.csv"]


def test_what_a_file_holds_follows_from_its_name(folder, tmp_path):
    assert (
        export(folder, tmp_path / "A.CSV", what="leaderboard").read_text(encoding="utf-8").startswith("run,suite,kind")
    )
    assert "run,suite,task" in export(folder, tmp_path / "leaderboard.csv", what="rows").read_text(encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"Cannot export to 'a\.xlsx': the suffix must be one of \.csv, \.md"):
        export(folder, tmp_path / "a.xlsx")
    with pytest.raises(InvalidInputError, match=r"Cannot export the rows to 'a\.md': the suffix must be \.csv\."):
        export(folder, tmp_path / "a.md", what="rows")
    with pytest.raises(UnknownNameError, match=r"Unknown thing to export 'row'\. Did you mean 'rows'\?"):
        export(folder, tmp_path / "a.csv", what="row")


def test_what_cannot_be_exported(folder, tmp_path):
    with pytest.raises(InvalidInputError, match=r"Cannot write 'a\.csv': there is no folder '.*missing'"):
        export(folder, tmp_path / "missing" / "a.csv")
    with pytest.raises(InvalidInputError, match=r"name at least one folder"):
        export([], tmp_path / "a.csv")
    with pytest.raises(FileFormatError, match=r"holds no benchmark results: manifest.json is missing"):
        export(tmp_path, tmp_path / "a.csv")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    for name in ("a.csv", "leaderboard.csv", "a.md", "a.svg"):
        with pytest.raises(FileFormatError, match=r"holds no result rows yet"):
            export(empty, tmp_path / name)
    with pytest.raises(InvalidInputError, match=r"Whose badge\? Name one policy: damped-least-squares, =HYPER"):
        export(folder, tmp_path / "a.svg")
    with pytest.raises(InvalidInputError, match=r"A badge is of one run, got 2 folders"):
        export([folder, folder], tmp_path / "a.svg")
    with pytest.raises(UnknownNameError, match=r"Unknown policy in the results 'damped'"):
        export(folder, tmp_path / "a.svg", policy="damped")
    assert [one.name for one in tmp_path.iterdir()] == ["empty"]


def test_the_command(folder, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("results.csv", "leaderboard.md")]
    assert main(["export", str(folder), "--to", paths[0], "--to", paths[1], "--no-q"]) == 0
    assert capsys.readouterr().out.splitlines() == paths
    assert "nominal_q" not in (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert main(["export", str(folder), "--to", paths[0], "--to", paths[0]]) == 2
    assert "--to names the same file twice" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--to", paths[0]]) == 2
    assert "holds no benchmark results" in capsys.readouterr().err
