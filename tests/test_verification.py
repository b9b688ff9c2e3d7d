"""What is stored follows from the answers beside it, and whatever is changed afterwards is found."""

import json
import re
import shutil

import numpy as np
import pytest
from small_suite import RaisesSometimes, small_suite

from planararm.benchmark import suites
from planararm.benchmark.entrants import Entrant
from planararm.benchmark.results import RESULTS
from planararm.benchmark.runner import run
from planararm.benchmark.tasks import Suite
from planararm.benchmark.verification import FINDINGS, verify
from planararm.cli import main
from planararm.errors import FileFormatError, InvalidInputError

ECHOED = {"policy", "seed", "message", "nominal_q"}
"""Columns that nothing else in a row tells anything about."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    entrants = ["damped-least-squares", "projected-dls", "hold", Entrant("fails", RaisesSometimes), "closed-form"]
    run(entrants, small_suite(), folder, seed=[0, 1])
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def change(folder, where, **changes):
    """Change the first row for which ``where`` holds; a function changes the value that is there."""
    rows = [json.loads(line) for line in (folder / RESULTS).read_text().splitlines()]
    row = next(row for row in rows if where(row))
    row.update({name: value(row[name]) if callable(value) else value for name, value in changes.items()})
    (folder / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{row['task']}, {row['policy']}, seed {row['seed']}: "


def check(folder):
    return verify(folder, suite=small_suite())


def target(row):
    return row["kind"] == "ik" and row["outcome"] == "ok"


def path(row):
    return row["kind"] == "track" and row["policy"] == "damped-least-squares"


def test_what_the_benchmark_writes_is_right(folder):
    counts = []
    found = verify(folder, suite=small_suite(), progress=counts.append)
    assert found.passed
    assert found.num_rows == counts[-1] == 10 * len(small_suite())
    assert (found.findings, found.missing, found.num_told) == ([], {}, 0)


def test_of_every_kind_of_row(folder):
    """So that the test above is about something."""
    outcomes = {json.loads(line)["outcome"] for line in (folder / RESULTS).read_text().splitlines()}
    assert {"ok", "missed", "infeasible", "crashed"} <= outcomes


@pytest.mark.parametrize("where", [target, path], ids=["target", "path"])
def test_numbers_that_were_made_nicer_are_found(folder, where):
    """One column after the other."""
    (first, *_) = [row for line in (folder / RESULTS).read_text().splitlines() if where(row := json.loads(line))]
    unseen = set()
    for name, value in first.items():
        if value is None or name in {"suite", "task", "solve_time", "latency", "kind", *ECHOED}:
            continue
        if isinstance(value, bool):
            changed = not value
        elif isinstance(value, str):
            changed = value + "x"
        elif isinstance(value, list):
            changed = (np.array(value) + 1e-3).tolist()
        else:
            changed = value + 1
        about = change(folder, where, **{name: changed})
        found = check(folder)
        if found.num_wrong != 1:
            unseen.add(name)
        else:
            assert found.findings[0].startswith(about)
        change(folder, lambda row: row["task"] == first["task"] and row["policy"] == first["policy"], **{name: value})
    # The answer meets its target, so that it may be claimed; of paths the commands are not stored.
    assert unseen == ({"claimed"} if where is target else {"joint_jump", "avoidable"})
    assert check(folder).passed


@pytest.mark.parametrize(
    ("where", "changes", "about"),
    [
        (target, {"error": 0.0}, r"error is 0\.0, not \S+"),
        (target, {"error": "small"}, r"error is 'small', not "),
        (target, {"valid": 1}, "valid is 1, not True"),
        (target, {"outcome": "missed"}, "outcome is 'missed', not 'ok'"),
        (target, {"q": None}, "there is no answer, and no message that says why"),
        (target, {"q": [0.0, 1.0]}, r"q is \[0\.0, 1\.0\], it must be finite joint angles of shape \(3,\)"),
        (target, {"q": "home"}, "q is 'home', it must be finite joint angles"),
        (target, {"nominal_q": [1e400, 0, 0]}, r"nominal_q is \[inf, 0, 0\], it must be finite"),
        (target, {"claimed": None}, "claimed is neither true nor false"),
        (target, {"motion": "free"}, "motion is 'free', not "),
        (target, {"truth": 0}, "truth is 0, not 1"),
        (target, {"message": "sorry"}, "outcome is 'ok', not 'crashed'"),
        (target, {"suite": "v1/quick"}, "suite is 'v1/quick', not 'test/small'"),
        (target, {"task": "ik/00012"}, "test/small has no such task"),
        (target, {"task": "other/00000"}, "test/small has no such task"),
        (target, {"policy": "better"}, "the manifest knows no such policy or seed"),
        (target, {"seed": 7}, "the manifest knows no such policy or seed"),
        (lambda row: row["task"] == "ik/00002", {"task": "ik/00001"}, "the task is there twice"),
        (path, {"contacts": -1}, "contacts is -1, it must be a number >= 0"),
        (path, {"joint_jump": float("nan")}, "joint_jump is nan, it must be a number"),
        (path, {"q": lambda q: q[:-1]}, r"it must be finite joint angles of shape \(13, 3\)"),
        (path, {"q": lambda q: [[0.0, 0.0, 0.0], *q[1:]]}, "the path does not begin where the arm was"),
        (path, {"q": lambda q: [q[0], *([3.0, 0.0, 0.0] for _ in q[1:])]}, "step 0 cannot be taken: the arm gets to"),
    ],
)
def test_what_is_wrong_is_told(folder, where, changes, about):
    head = change(folder, where, **changes)
    found = check(folder)
    assert not found.passed
    (told, *_) = [line for line in found.findings if line.startswith(head)]
    assert re.search(about, told), told


def test_a_motion_by_the_own_commands_is_counted(folder):
    change(folder, lambda row: target(row) and row["motion"] == "certified", motion="contact")
    found = check(folder)
    assert found.passed
    assert found.num_told == 1


def test_an_unfinished_run_is_right_as_far_as_it_goes(folder):
    lines = (folder / RESULTS).read_text().splitlines(keepends=True)
    (folder / RESULTS).write_text("".join(lines[:-7]) + lines[-1][:30])
    found = check(folder)
    assert not found.passed
    assert found.num_wrong == 0
    assert found.missing == {("closed-form", 1): 7}


def test_rows_that_are_gone_are_missed(folder):
    lines = (folder / RESULTS).read_text().splitlines(keepends=True)
    (folder / RESULTS).write_text("".join(line for line in lines if '"hold"' not in line))
    assert check(folder).missing == {("hold", 0): len(small_suite())}
    (folder / RESULTS).unlink()
    found = check(folder)
    assert (found.num_rows, len(found.missing), found.passed) == (0, 5, False)


def test_results_of_other_tasks_are_refused(folder, tmp_path):
    with pytest.raises(InvalidInputError, match="holds results of suite 'test/small'"):
        verify(folder, suite=Suite("test/small", "", small_suite().groups[:1]))
    with pytest.raises(FileFormatError, match="holds no benchmark results"):
        verify(tmp_path)


def test_the_command(folder, capsys, monkeypatch):
    monkeypatch.setitem(suites._BUILDERS, "test/small", small_suite)
    suites.load_suite.cache_clear()
    assert main(["verify", str(folder)]) == 0
    assert (
        capsys.readouterr().out == f"{folder}: {10 * len(small_suite())} rows of test/small, all as computed again.\n"
    )
    rows = [json.loads(line) for line in (folder / RESULTS).read_text().splitlines()]
    changed = [{**row, "error": 0.0} if row["policy"] == "hold" else row for row in rows]
    (folder / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in changed[:-1]))
    assert main(["verify", str(folder)]) == 1
    printed = capsys.readouterr().out
    wrong = 2 * len(small_suite())
    assert f"{10 * len(small_suite()) - 1} rows of test/small, {wrong} of them wrong:\n  ik/00000, hold" in printed
    assert f"\n  and {wrong - FINDINGS} more\n" in printed
    assert "closed-form, seed 1, is unfinished: 1 task has no row." in printed
    suites.load_suite.cache_clear()
