"""The report in a browser: it loads without complaints, sorts, filters, plays, and computes what planararm does."""

from pathlib import Path

import numpy as np
import pytest
from small_report import AWKWARD, BROWSER, browse, data_of, moving_suite, run_moving, run_small
from small_suite import small_suite

from planararm.arm import PlanarArm
from planararm.benchmark.leaderboard import build_leaderboard
from planararm.benchmark.report import write_report
from planararm.benchmark.table import duration, fraction, percent
from planararm.collision import clearance
from planararm.obstacles import Obstacles

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

SHARES = [0.0, 1.0, 0.1225, 0.1275, 0.0004, 0.9997, 0.5, 1 / 3, 0.12349, 0.97325]
TIMES = [2.5e-7, 9.994e-4, 1.0, 12.3456, 3.21e-3, 1e-6]
ERRORS = [0.0, 1.0, 2.34e-5, 9.96e-3, 0.5, 1e-9]

SCRIPT = f"const SHARES = {SHARES}, TIMES = {TIMES}, ERRORS = {ERRORS};\n" + (
    Path(__file__).with_name("report_findings.js").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    out = tmp_path_factory.mktemp("browser")
    small, moving = run_small(out / "a"), run_moving(out / "b")
    page = write_report([out / "a", out / "b"], [small_suite(), moving_suite()], out=out / "page.html")
    board = build_leaderboard(small)
    return browse(page, out, SCRIPT), board, data_of(page.read_text(encoding="utf-8")), (small, moving), page, out


def test_it_loads_without_complaints(seen):
    found, board, _, _, _, _ = seen
    assert found["complaints"] == []
    assert found["broken"]
    assert found["title"] == "planararm: 2 suites"
    assert found["rows"] == [score.policy for score in board.sections[0].scores]
    assert AWKWARD in found["rows"]
    assert found["overview"] == 6


def test_every_control_has_a_name(seen):
    assert seen[0]["unnamed"] == []


def test_nothing_scrolls_sideways(seen):
    assert seen[0]["wide"] <= 0
    assert seen[0]["boardWide"] <= 0
    assert seen[0]["overviewWide"] <= 0


def test_it_sorts(seen):
    found, board, _, _, _, _ = seen
    scores = board.sections[0].scores
    assert found["initial"] == [["@1e-2ok %", "descending"]]
    names, order, count = found["byError"]
    errors = {score.policy: score.error.rmse for score in scores}
    assert [errors[name] for name in names] == sorted(errors.values())
    assert (order, count) == ("ascending", 1)
    names, order = found["byErrorReversed"]
    assert [errors[name] for name in names] == sorted(errors.values(), reverse=True)
    assert order == "descending"
    assert set(found["byName"]) == set(errors)
    assert found["byName"][-4:] == ["closed-form", "damped", "hold", "sometimes"]
    assert found["byNameStill"] == found["byName"]


def test_columns_come_in_sets(seen):
    sets = seen[0]["sets"]
    assert "RMSEof reach" in sets["accuracy"]
    assert "interval95 %" in sets["accuracy"]
    assert "contact%" in sets["safety"]
    assert "certified%" in sets["safety"]
    assert "RMSEof reach" not in sets["safety"]
    assert [text for text in sets["speed"] if text.startswith("@")] == ["@1e-2ok %"]
    assert set(sets["all"]) == {text for columns in sets.values() for text in columns}


def test_it_filters_by_tolerance(seen):
    found, _, data, _, _, _ = seen
    assert set(found["chosen"]) == {"10\u207b\u2074"}
    assert found["interval"] == 1
    assert "tolerance 0.0001 of the reach" in found["status"]
    for (index, cells), row in zip(data["suites"][0]["by_group"], found["groupCells"], strict=True):
        assert row[0] == data["policies"][index]
        assert row[1:] == ["\N{EN DASH}" if cell is None else cell[3][1] for cell in cells]


def test_it_filters_by_suite_and_tasks(seen):
    found, board, data, _, _, _ = seen
    assert found["sections"] == [section.title for section in board.sections]
    sections, replays, caption = found["secondSuite"]
    assert (sections, replays) == (1, len(data["suites"][1]["replays"]))
    assert caption.startswith("Tracking in closed loop, unit3: 2 paths")


def test_outcomes_are_spoken(seen):
    found, board, _, _, _, _ = seen
    for label, score in zip(found["stackLabels"], board.sections[0].scores, strict=True):
        assert label.startswith(f"{score.policy}: ")
        for name, count in score.outcomes.items():
            assert f"{count} {name}" in label


def test_policies_are_toggled(seen):
    found, board, _, _, _, _ = seen
    count = len(board.sections[0].scores)
    assert (found["curves"], found["curvesLess"], found["curvesNone"], found["curvesAll"]) == (
        count,
        count - 1,
        0,
        count,
    )
    assert found["pressed"] == ["false"] + ["true"] * (count - 1)
    assert found["focusKept"]
    assert found["points"] >= count
    assert found["tables"] == [count, count, count, count, 2]
    assert set(found["scatterNames"]) == {score.policy for score in board.sections[0].scores}


def test_maps_are_drawn_and_read_off(seen):
    assert min(seen[0]["mapColours"]) > 3
    first, second = seen[0]["mapRead"]
    assert first != second
    assert first.startswith("At (")


def test_it_plays(seen):
    found = seen[0]
    assert found["before"] == [0, "Play"]
    frame, button, live = found["during"]
    assert frame > 2
    assert button == "Pause"
    # Spoken before it began, and not thirty times a second since.
    assert live.startswith("Frame 1 of 61")
    still, button, live = found["paused"]
    assert (still, button) == (0, "Play")
    assert live.startswith("Frame ")
    assert not live.startswith("Frame 1 of")
    assert "q = (" in live
    assert found["stepped"] == 1
    assert found["end"] == [60, 60]
    assert found["left"] == 59
    assert found["ended"] == [60, "Play"]
    assert found["home"] == 0
    assert found["scrubbed"] == 17
    assert min(found["painted"]) > 20
    assert "ground truth" in found["facts"]


def test_replays_are_the_numbers_of_planararm(seen):
    found, _, _, (small, moving), _, _ = seen
    rows = {(row["task"], row["policy"]): row for results in (small, moving) for row in results}
    assert {one["frames"] for one in found["numbers"]} == {13, 61, 100}
    for one in found["numbers"]:
        row, facts = rows[one["task"], one["policy"]], one["facts"]
        arm = PlanarArm(**one["arm"])
        q = np.array(facts["q"])
        assert one["positions"] == pytest.approx(arm.forward_kinematics(q), abs=1e-12)
        table = np.array([disc[:3] for disc in one["raw"]])
        shuttle = np.array([disc[3:] or [0.0] * 4 for disc in one["raw"]])
        discs = Obstacles(table[:, :2], table[:, 2], shuttle).frozen_at(one["time"])
        assert np.array(one["discs"])[:, :2] == pytest.approx(discs.centers, abs=1e-12)
        assert facts["clearance"] == pytest.approx(float(clearance(q, arm, discs)), abs=1e-12)
        grid = np.tile(q, (one["size"], one["size"], 1))
        for joint, axis in ((2, 1), (0, 0)):
            low, high = arm.joint_limits[joint]
            values = low + (high - low) * (np.arange(one["size"]) + 0.5) / one["size"]
            grid[..., joint] = values[None, :] if axis else values[:, None]
        expected = clearance(grid, arm, discs)
        assert np.array(one["slice"]).reshape(expected.shape) == pytest.approx(expected, abs=1e-6)
        if row["q"] is not None and row["kind"] == "ik":
            assert facts["error"] == pytest.approx(row["error"] / row["reach"], abs=2e-5)
            assert facts["clearance"] == pytest.approx(row["clearance"], abs=1e-4)
        if row["kind"] == "track" and one["frames"] < 100:
            assert min(one["clearances"]) == pytest.approx(row["clearance"], abs=1e-3)


def test_texts_are_those_of_the_terminal(seen):
    shares, times, errors = seen[0]["texts"]
    assert shares == [percent(share) for share in SHARES]
    assert times == [duration(value) for value in TIMES]
    assert errors == [fraction(value) for value in ERRORS]


def test_the_theme_is_changed(seen):
    assert seen[0]["themes"] == ["light", "dark", "Change to the light colours"]


def test_reduced_motion_and_a_small_dark_screen(seen):
    *_, page, out = seen
    script = """
      byId("replay-play").click();
      await wait(700);
      found.frame = Number(byId("replay-frame").value);
      found.calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      found.scheme = getComputedStyle(document.documentElement).colorScheme;
      found.wide = document.documentElement.scrollWidth - window.innerWidth;
    """
    options = ("--force-prefers-reduced-motion", "--blink-settings=preferredColorScheme=0", "--window-size=500,900")
    found = browse(page, out, script, *options)
    assert found["complaints"] == []
    assert found["calm"]
    # One still picture in half a second.
    assert found["frame"] == 7
    assert found["scheme"] == "dark"
    assert found["wide"] <= 0
