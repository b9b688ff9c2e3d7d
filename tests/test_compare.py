"""Two policies on the same tasks: counts by hand, exchanged sides, what is left out, the page and the command."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from small_suite import small_suite

from planararm.benchmark.compare import NUM_WORST, compare
from planararm.benchmark.compare_page import safe_name, snapshot, write_page
from planararm.benchmark.compare_table import describe_case, left_out, print_comparison, shown, verdict
from planararm.benchmark.frame import Results
from planararm.benchmark.intervals import success_difference_interval
from planararm.benchmark.results import read_results
from planararm.benchmark.runner import run
from planararm.benchmark.scoring import COLUMNS
from planararm.benchmark.table import make_console
from planararm.benchmark.tasks import Suite
from planararm.cli import main
from planararm.errors import InvalidInputError, UnknownNameError


def row(policy, number, error, **changes):
    """A result of a target with reach 2; ``error`` is a fraction of it."""
    values = {
        "suite": "test/rows",
        "task": f"ik/{number:05d}",
        "kind": "ik",
        "label": "uniform",
        "policy": policy,
        "seed": 0,
        "arm": "unit3",
        "reach": 2.0,
        "scene": number,
        "num_obstacles": 1,
        "truth": 1,
        "outcome": "ok" if error <= 0.01 else "missed",
        "claimed": False,
        "valid": True,
        "error": 2.0 * error,
        "error_max": 2.0 * error,
        "solve_time": 1e-3 if policy == "a" else 2e-3,
    }
    return {name: {**values, **changes}.get(name) for name in COLUMNS}


def pair(errors_a, errors_b, **changes):
    return Results.from_rows(
        [row("a", i, error, **changes) for i, error in enumerate(errors_a)]
        + [row("b", i, error, **changes) for i, error in enumerate(errors_b)]
    )


def only(comparison):
    (section,) = comparison.sections
    return section


def lognormal_pair(count=300, seed=0):
    rng = np.random.default_rng(seed)
    return pair(*np.minimum(1.0, 5e-3 * rng.lognormal(0.0, [[1.0], [1.5]], (2, count))))


# --- counts by hand


def test_wins_losses_and_ties():
    # Both met 3, only a 4, only b 1, neither 2.
    good, bad = 1e-3, 0.3
    results = pair([good] * 3 + [good] * 4 + [bad] + [bad] * 2, [good] * 3 + [bad] * 4 + [good] + [bad] * 2)
    section = only(compare(results, results, "a", "b"))
    assert (section.wins, section.losses, section.ties, section.num_tasks) == (4, 1, 5, 10)
    assert section.success == (0.7, 0.4)
    assert section.success_difference == pytest.approx(0.3)
    assert section.p_value == pytest.approx(stats.binomtest(4, 5).pvalue)
    assert section.success_interval == success_difference_interval([0] * 3 + [1] * 4 + [-1] + [0] * 2)
    assert section.median_error == (pytest.approx(good), pytest.approx(bad))
    assert section.rms_error[0] == pytest.approx(math.sqrt((7 * good**2 + 3 * bad**2) / 10))
    assert section.rms_ratio == pytest.approx(section.rms_error[0] / section.rms_error[1])
    assert section.error_ratio == pytest.approx(1.0)
    assert section.solve_time == (1e-3, 2e-3)
    assert section.time_ratio == pytest.approx(0.5)
    assert section.title == "all targets, unit3"


def test_the_tolerance_decides_what_is_met():
    results = pair([1e-3, 5e-2], [5e-2, 5e-2])
    assert only(compare(results, results, "a", "b")).success == (0.5, 0.0)
    assert only(compare(results, results, "a", "b", tolerance=0.1)).success == (1.0, 1.0)
    assert only(compare(results, results, "a", "b", tolerance=1e-4)).success == (0.0, 0.0)


def test_an_unsafe_answer_meets_nothing():
    rows = [row("a", 0, 1e-6), row("b", 0, 1e-6, valid=False, outcome="unsafe")]
    section = only(compare(Results.from_rows(rows), Results.from_rows(rows), "a", "b"))
    assert (section.wins, section.losses) == (1, 0)


def test_a_path_is_judged_by_its_largest_error():
    rows = [row("a", 0, 1e-3, kind="track", error_max=1.0), row("b", 0, 2e-3, kind="track")]
    comparison = compare(Results.from_rows(rows), Results.from_rows(rows), "a", "b")
    assert (only(comparison).wins, only(comparison).losses) == (0, 1)
    assert only(comparison).rms_error == (pytest.approx(1e-3), pytest.approx(2e-3))
    assert "of these 1 paths of unit3" in verdict(comparison, only(comparison))
    assert "one task cannot tell" in verdict(comparison, only(comparison))


# --- which tasks count


def test_what_is_left_out_is_counted():
    rows = [row("a", i, 1e-3) for i in range(7)] + [row("b", i, 1e-3) for i in range(6)]
    rows += [row("b", 20, 1e-3)]
    unsupported = {"outcome": "unsupported", "error": None, "error_max": None, "valid": None, "message": "2 joints"}
    for one in rows:
        if one["task"] == "ik/00001":
            one["truth"] = 0
        if one["task"] == "ik/00002" and one["policy"] == "b":
            one.update(unsupported)
        if one["task"] == "ik/00003":
            one["truth"] = -1
    results = Results.from_rows(rows)
    comparison = compare(results, results, "a", "b")
    assert only(comparison).num_tasks == 4
    assert (comparison.num_unreachable, comparison.num_unsupported, comparison.num_unpaired) == (1, 1, 2)
    assert left_out(comparison) == (
        "Tasks left out: 1 proven unreachable, 1 not supported by one of the two, 2 run with only one of the two."
    )
    assert left_out(compare(*[pair([0.1], [0.1])] * 2, "a", "b")) == ""


def test_seeds_are_averaged_per_task():
    rows = [row("a", 0, 1e-3, seed=seed) for seed in range(3)] + [row("a", 1, 0.3, seed=seed) for seed in range(3)]
    rows += [row("b", 0, error, seed=seed) for seed, error in enumerate((1e-3, 0.4, 1e-3))]
    rows += [row("b", 1, error, seed=seed) for seed, error in enumerate((0.3, 0.3, 0.3))]
    results = Results.from_rows(rows)
    section = only(compare(results, results, "a", "b"))
    assert (section.num_tasks, section.wins, section.losses, section.ties) == (2, 1, 0, 1)
    assert section.success == (pytest.approx(0.5), pytest.approx(1 / 3))
    assert section.rms_error[1] == pytest.approx(math.sqrt(((0.402 / 3) ** 2 + 0.3**2) / 2))


def test_sections_and_groups():
    rows = []
    for group, kind, arm, count in (("ik-x", "ik", "unit3", 4), ("ik-y", "ik", "unit3", 2), ("ik-z", "ik", "unit5", 3)):
        rows += [row(p, i, 1e-3, task=f"{group}/{i:05d}", kind=kind, arm=arm) for i in range(count) for p in "ab"]
    rows += [row(p, i, 1e-3, task=f"track/{i:05d}", kind="track") for i in range(5) for p in "ab"]
    comparison = compare(*[Results.from_rows(rows)] * 2, "a", "b")
    titles = [(one.title, one.num_tasks) for one in comparison.sections]
    assert titles == [
        ("all targets, unit3", 6),
        ("all targets, unit5", 3),
        ("all paths, unit3", 5),
    ]
    groups = [(one.title, one.num_tasks, one.kind, one.arm) for one in comparison.groups]
    assert groups == [
        ("ik-x", 4, "ik", "unit3"),
        ("ik-y", 2, "ik", "unit3"),
        ("ik-z", 3, "ik", "unit5"),
        ("track", 5, "track", "unit3"),
    ]
    assert len(shown(comparison)) == 7


def test_two_runs_in_any_order_of_rows():
    both = lognormal_pair()
    a, b = (both.select(both["policy"] == name) for name in "ab")
    shuffled = b.select(np.random.default_rng(0).permutation(len(b)))
    first, second = compare(both, both, "a", "b"), compare(a, shuffled, "a", "b")
    assert first.sections == second.sections
    assert [case.task for case in first.worse_a] == [case.task for case in second.worse_a]
    for case in second.worse_b:
        (whole,) = shuffled.rows([case.rows[1]])
        assert (whole["task"], whole["policy"]) == (case.task, "b")
        assert whole["error_max"] / whole["reach"] == pytest.approx(case.errors[1])


def test_results_of_other_tasks_are_refused():
    a, b = pair([0.1, 0.2], [0.1, 0.2]), pair([0.1, 0.2], [0.1, 0.2], label="blocked")
    with pytest.raises(InvalidInputError, match=r"'ik/00000' has label 'uniform' in one and 'blocked' in the other"):
        compare(a, b, "a", "b")
    with pytest.raises(UnknownNameError, match=r"Unknown policy in the results 'c'\..* Known: a, b"):
        compare(a, a, "a", "c")
    with pytest.raises(InvalidInputError, match=r"tolerance must be a number in \(0\.0, 1\.0\], got 0"):
        compare(a, a, "a", "b", tolerance=0)
    rows = [row("a", 0, 0.1), row("b", 1, 0.1)]
    with pytest.raises(InvalidInputError, match=r"'a' and 'b' have no task in common .*: 0 tasks were run with both"):
        compare(*[Results.from_rows(rows)] * 2, "a", "b")


# --- symmetry


@pytest.mark.parametrize("count", [5, 300])
def test_exchanged_sides_mirror_the_comparison(count):
    results = lognormal_pair(count)
    ab, ba = compare(results, results, "a", "b"), compare(results, results, "b", "a")
    one, other = only(ab), only(ba)
    assert other.success == one.success[::-1]
    assert other.success_difference == pytest.approx(-one.success_difference)
    np.testing.assert_allclose(other.success_interval, -np.array(one.success_interval)[::-1], atol=1e-12)
    assert (other.wins, other.losses, other.ties, other.p_value) == (one.losses, one.wins, one.ties, one.p_value)
    for name in ("error_ratio", "rms_ratio", "time_ratio"):
        assert getattr(other, name) == pytest.approx(1 / getattr(one, name))
    for name in ("error_ratio_interval", "rms_ratio_interval"):
        np.testing.assert_allclose(getattr(other, name), 1 / np.array(getattr(one, name))[::-1], rtol=1e-9)
    assert [case.task for case in ba.worse_a] == [case.task for case in ab.worse_b]
    assert [case.errors for case in ba.worse_b] == [case.errors[::-1] for case in ab.worse_a]


def test_the_same_policy_twice_ties_everywhere():
    results = lognormal_pair()
    comparison = compare(results, results, "a", "a")
    section = only(comparison)
    assert (section.wins, section.losses, section.ties) == (0, 0, 300)
    assert section.p_value == 1.0
    assert section.rms_ratio_interval == section.error_ratio_interval == (1.0, 1.0)
    assert section.success_interval.low < 0 < section.success_interval.high
    assert comparison.worse_a == comparison.worse_b == ()
    text = verdict(comparison, section)
    assert "cannot be told apart by the share that they meet of these 300 targets of unit3" in text
    assert text.endswith("Their errors are equal.")


def test_rounding_is_no_difference():
    results = pair([1e-16] * 20, [3e-12] * 20)
    comparison = compare(results, results, "a", "b")
    assert only(comparison).error_ratio == only(comparison).rms_ratio == 1.0
    assert comparison.worse_a == comparison.worse_b == ()


# --- what is said


def test_verdicts_respect_the_intervals():
    rng = np.random.default_rng(1)
    for rate, said in ((0.9, "a meets more of these 400 targets of unit3 than b"), (0.52, "cannot be told apart")):
        met = rng.random((2, 400)) < [[rate], [0.5]]
        results = pair(*np.where(met, 1e-3, 0.3))
        comparison = compare(results, results, "a", "b")
        text = verdict(comparison, only(comparison))
        assert said in text
        assert only(comparison).success_interval.excludes(0.0) == ("meets more" in text)
        assert ("RMS error is smaller" in text) == only(comparison).rms_ratio_interval.excludes(1.0)
    swapped = compare(results, results, "b", "a")
    assert "b and a cannot be told apart" in verdict(swapped, only(swapped))


def test_equal_policies_are_seldom_told_apart(monkeypatch):
    """Of a hundred comparisons of equal policies some five see a difference."""
    monkeypatch.setattr("planararm.benchmark.resampling.NUM_RESAMPLES", 1000)
    rng = np.random.default_rng(7)
    told = Counter()
    for _ in range(60):
        errors = np.where(rng.random((2, 120)) < 0.8, 1e-3 * rng.lognormal(size=(2, 120)), rng.random((2, 120)))
        results = pair(*errors)
        section = only(compare(results, results, "a", "b"))
        told["success"] += section.success_interval.excludes(0.0)
        told["rms"] += section.rms_ratio_interval.excludes(1.0)
        told["median"] += section.error_ratio_interval.excludes(1.0)
    assert max(told.values()) <= 9


def test_the_worst_cases_are_the_largest_losses():
    errors_a = np.full(40, 1e-3)
    errors_b = errors_a.copy()
    errors_b[[3, 8, 11, 17, 25, 30, 31]] = [0.5, 0.02, 0.9, 0.3, 0.4, 0.7, 0.1]
    errors_a[[2, 5]] = [0.6, 0.005]
    results = pair(errors_a, errors_b)
    comparison = compare(results, results, "a", "b")
    assert [case.task for case in comparison.worse_b] == [f"ik/{i:05d}" for i in (11, 30, 3, 25, 17)]
    assert len(comparison.worse_b) == NUM_WORST
    # Not met counts for more than a larger error that still is.
    assert [case.task for case in comparison.worse_a] == ["ik/00002", "ik/00005"]
    case = comparison.worse_b[0]
    assert (case.outcomes, case.errors) == (("ok", "missed"), (pytest.approx(1e-3), pytest.approx(0.9)))
    assert describe_case(comparison, case) == (
        "ik/00011 (uniform). a: ok, error 1.0e-03 of the reach; b: missed, error 9.0e-01 of the reach"
    )


def test_the_table(capsys):
    rows = [row(p, i, e) for i in range(30) for p, e in (("[red]a[/red]", 1e-3), ("b", 0.2 if i % 2 else 1e-3))]
    results = Results.from_rows(rows)
    print_comparison(compare(results, results, "[red]a[/red]", "b"), make_console())
    printed = capsys.readouterr().out
    assert "A: [red]a[/red]. B: b." in printed
    assert re.search(r"all targets, unit3 +30 +100 +50\.0 +\+50\.0 +\+\S+ to \+\S+ +15 +0 +15 +<0\.0001", printed)
    assert "[red]a[/red] meets more of these 30 targets" in printed


# --- shared scenes


def test_tasks_that_share_a_scene_count_as_one():
    rng = np.random.default_rng(3)
    scene = np.repeat(np.arange(30), 10)
    met_a, met_b = (rng.random((2, 30)) < [[0.7], [0.5]])[:, scene]
    results = pair(np.where(met_a, 1e-3, 0.3), np.where(met_b, 1e-3, 0.3))
    shared = Results.from_rows([{**row, "scene": scene[int(row["task"][3:])]} for row in results])
    apart, together = (only(compare(rows, rows, "a", "b")) for rows in (results, shared))
    assert np.ptp(together.success_interval) > 2 * np.ptp(apart.success_interval)
    assert np.ptp(np.log(together.rms_ratio_interval)) > 2 * np.ptp(np.log(apart.rms_ratio_interval))
    assert together.success == apart.success


# --- the page


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run(["hold", "damped-least-squares"], small_suite(), folder)


def test_the_page_and_its_pictures(finished, tmp_path):
    _, results = finished
    comparison = compare(results, results, "damped-least-squares", "hold")
    (tmp_path / "case-old.png").write_bytes(b"")
    page = write_page(comparison, tmp_path, suite=small_suite(), results_a=results, results_b=results)
    text = page.read_text(encoding="utf-8")
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == len(comparison.worse_a) + len(comparison.worse_b) >= NUM_WORST
    assert text.count("data:image/png;base64,") == len(pictures)
    assert "http" not in text
    for case in comparison.worse_b:
        assert describe_case(comparison, case).replace("'", "&#39;") in text
    with Image.open(pictures[0]) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[0] < pixels.shape[1]
    half = pixels.shape[1] // 2
    assert np.abs(pixels[:, : half - 1] - pixels[:, half + 1 :]).sum() > 0


def test_names_are_escaped_on_the_page(tmp_path):
    rows = [row(p, i, 0.1 * i) for i in range(3) for p in ("<script>alert(1)</script>", "b & c")]
    results = Results.from_rows(rows)
    page = write_page(compare(results, results, "<script>alert(1)</script>", "b & c"), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "b &amp; c" in text
    assert not list(tmp_path.glob("*.png"))


def test_pictures_show_the_answers(finished):
    _, results = finished
    suite = small_suite()
    for kind in ("ik", "track"):
        whole = next(one for one in results if one["kind"] == kind and one["policy"] == "damped-least-squares")
        group, number = suite.group(whole["task"].rpartition("/")[0]), int(whole["task"][-5:])
        shot = snapshot(group, number, whole, ("a",))
        np.testing.assert_allclose(shot.q, np.atleast_2d(whole["q"])[-1])
        np.testing.assert_allclose(shot.target_position, np.atleast_2d(group.targets[number])[-1])
        crashed = snapshot(group, number, {**whole, "q": None})
        np.testing.assert_allclose(crashed.q, group.q_start[number])


def test_file_names_are_safe_and_different():
    assert safe_name("closed-form", "hold") == "closed-form-hold"
    nasty = ["../../etc/passwd", "a/b", "a\\b", "a b", "x" * 300, "", ".", "..", "ä", 'f(x="1")', "con\n"]
    safe = [safe_name(name) for name in nasty]
    assert len(set(safe)) == len(safe)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) and len(name) < 80 for name in safe), safe


# --- the command


def test_the_command_compares_what_the_folder_holds(finished, capsys, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr("planararm.benchmark.suites.load_suite", lambda name: small_suite())
    before = (folder / "results.jsonl").read_bytes()
    assert main(["compare", "damped-least-squares", "hold", "--run", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "Success within 0.01 of the reach" in printed
    place = folder / "compare-damped-least-squares-hold"
    assert f"Page: {place / 'compare.html'}" in printed
    assert (place / "compare.html").exists()
    assert (folder / "results.jsonl").read_bytes() == before


def test_the_command_runs_what_is_missing(finished, tmp_path, capsys, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr("planararm.benchmark.suites.load_suite", lambda name: small_suite())
    arguments = ["compare", "hold", "hold", "--run", str(folder), "--run", str(tmp_path / "new"), "--no-pictures"]
    assert main(arguments) == 0
    assert len((tmp_path / "new" / "results.jsonl").read_text(encoding="utf-8").splitlines()) == len(small_suite())
    printed = capsys.readouterr().out
    assert "Their errors are equal." in " ".join(printed.split())
    assert f"A: hold ({folder})." in printed.replace("\n", "")
    assert not list(folder.glob("compare-hold*/*.png"))


def test_the_command_refuses_rows_of_an_earlier_state(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("planararm.benchmark.suites.load_suite", lambda name: small_suite())
    run("hold", small_suite(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["fingerprints"]["hold"] = "of another code"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    arguments = ["compare", "hold", "hold", "--run", str(tmp_path), "--no-pictures"]
    assert main(arguments) == 2
    assert "holds rows of hold from before its code, weights or options changed" in capsys.readouterr().err
    # Two states of a policy are what two folders are for.
    assert main([*arguments, "--run", str(tmp_path)]) == 0
    assert f"the rows of hold in {tmp_path} are those of an earlier state" in capsys.readouterr().err


def test_the_command_confines_what_it_runs(capsys, monkeypatch, tmp_path):
    """As ``planararm bench`` does, with the same options."""
    monkeypatch.setattr("planararm.benchmark.suites.load_suite", lambda name: small_suite())
    limits = ["--isolate", "auto", "--time-limit", "0.01", "--memory-limit", "1"]
    arguments = ["compare", "small_suite:Slow", "hold", "--run", str(tmp_path), "--no-pictures"]
    assert main([*arguments, *limits]) == 0
    outcomes = Counter(row["outcome"] for row in read_results(tmp_path) if row["policy"] != "hold")
    assert outcomes["timed out"] > 0
    with pytest.raises(SystemExit):
        main([*arguments, "--jobs", "one"])
    assert "must be a whole number >= 0, got 'one'" in capsys.readouterr().err


def test_the_command_refuses_what_does_not_fit(finished, tmp_path, capsys, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr("planararm.benchmark.suites.load_suite", lambda name: small_suite())
    run("hold", Suite("test/other", "", small_suite().groups), tmp_path)
    assert main(["compare", "hold", "hold", "--run", str(folder), "--run", str(tmp_path)]) == 2
    assert "The folders hold results of different tasks: suite 'test/other'" in capsys.readouterr().err
    assert main(["compare", "hold", "hold", "--run", str(tmp_path)]) == 2
    assert "holds results of suite 'test/other' with the content hash" in capsys.readouterr().err
    assert main(["compare", "hold", "hold", *["--run", str(folder)] * 3]) == 2
    assert "--run names one folder, or two: that of A and that of B; got 3" in capsys.readouterr().err
    assert main(["compare", "hold", "no-such-policy", "--run", str(folder)]) == 2
    assert "no-such-policy" in capsys.readouterr().err
    assert main(["compare", "hold", "hold", "--run", str(folder), "--tolerance", "0"]) == 2
    assert "--tolerance must be a number in (0.0, 1.0], got 0.0" in capsys.readouterr().err
