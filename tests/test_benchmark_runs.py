"""Runs: several processes, kills, policies that misbehave or change. The rows are those of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_suite as ours
from small_suite import small_suite

from planararm.benchmark.entrants import Entrant, Limits
from planararm.benchmark.results import RESULTS, read_manifest
from planararm.benchmark.runner import run
from planararm.benchmark.scoring import TIMING_COLUMNS
from planararm.errors import InvalidInputError, MissingExtraError, PolicyError

TESTS = Path(__file__).parent
BAD = {
    "Raises": ("crashed", "RuntimeError: no idea at all"),
    "ExitsHard": ("crashed", "its process ended: exit code 7"),
    "Segfaults": ("crashed", "its process ended: signal SIGSEGV"),
    "Hangs": ("timed out", "took longer than 0.7 s"),
    "EatsMemory": ("crashed", "MemoryError: "),
}


def untimed(rows, *, without=()):
    leave_out = {*TIMING_COLUMNS, *without}
    return [{name: value for name, value in row.items() if name not in leave_out} for row in rows]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return list(run([ours.Base], small_suite(), tmp_path_factory.mktemp("healthy")))


def test_two_processes_give_the_rows_of_one(tmp_path):
    entrants = [ours.Base, ours.RaisesSometimes, "hold", "numpy-mlp", Entrant("seeded", ours.Seeded)]
    one = run(entrants, small_suite(), tmp_path / "one", seed=[3, 4])
    two = run(entrants, small_suite(), tmp_path / "two", seed=[3, 4], jobs=2)
    assert untimed(one) == untimed(two)
    assert len(one) == 2 * len(entrants) * len(small_suite())


@pytest.mark.parametrize("name", BAD)
def test_what_a_policy_does_costs_its_own_rows(name, healthy, tmp_path):
    limits = Limits(time_limit=0.7)
    entrants = [f"hostile_policies:{name}", "hold"]
    rows = list(run(entrants, small_suite(), tmp_path, limits=limits))
    bad, held = rows[: len(small_suite())], rows[len(small_suite()) :]
    assert {row["policy"] for row in held} == {"hold"}
    outcome, message = BAD[name]
    for row, good in zip(bad, healthy, strict=True):
        if row["arm"] == "unit5" and row["truth"] == 0:
            assert row["outcome"] == outcome
            assert row["message"].startswith(message)
            assert row["error"] == pytest.approx(held[bad.index(row)]["error"])
            assert not row["valid"]
        else:
            assert untimed([row], without=["policy"]) == untimed([good], without=["policy"])
    assert sum(row["outcome"] == outcome for row in bad) == 2


def test_a_policy_that_always_hangs_is_given_up(tmp_path):
    (tmp_path / "hangs_always.py").write_text(
        "import time\n\n\ndef ik(target_position, q, scene):\n    time.sleep(60)\n    return q\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        limits = Limits(time_limit=0.2)
        rows = list(run("hangs_always:ik", small_suite(), tmp_path / "out", limits=limits))
    finally:
        sys.path.remove(str(tmp_path))
    assert {row["outcome"] for row in rows} == {"timed out"}
    asked = [row["message"].startswith("took longer than 0.2 s") for row in rows]
    assert asked == [True] * 5 + [False] * 7 + [True] * 5 + [True] * 3
    assert rows[5]["message"] == "not asked: 5 rows before it timed out"


def test_in_this_process_a_policy_may_take_a_worker_down(tmp_path):
    message = r"A process died while it ran one of hostile_policies:ExitsHard\. .*--isolate always"
    with pytest.raises(PolicyError, match=message):
        run("hostile_policies:ExitsHard", small_suite(), tmp_path, jobs=2, limits=Limits("never"))


def command(out, *options):
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "from small_suite import small_suite\n"
        "from planararm.benchmark.runner import run\n"
        "policies = ['small_suite:Slow', 'damped-least-squares', 'small_suite:RaisesSometimes']\n"
        f"run(policies, small_suite(), {str(out)!r}, jobs={options[0] if options else 1})\n"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_any_moment_and_repeated(jobs, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    began = time.monotonic()
    subprocess.run(command(calm), check=True, capture_output=True)
    whole = time.monotonic() - began
    for part in (0.3, 0.6, 0.8, 0.9):
        process = subprocess.Popen(command(killed, jobs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(part * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run(command(killed, jobs), check=True, capture_output=True)

    def rows(folder):
        return untimed(json.loads(line) for line in (folder / RESULTS).read_text().splitlines())

    assert rows(calm) == rows(killed)


def test_ctrl_c_with_several_processes(tmp_path):
    policies = ["small_suite:Slow", "small_suite:Base"]
    options = ["--suite", "small_suite:small_suite", "--jobs", "2", "--isolate", "never", "--no-report"]
    line = [sys.executable, "-m", "planararm.cli", "bench", *policies, *options, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        line, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    results = tmp_path / "out" / RESULTS
    deadline = time.monotonic() + 60
    while not (results.exists() and results.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "keeps what was done; repeat the command to go on" in shown
    assert "Traceback" not in shown
    assert "Warning" not in shown


def test_rows_of_a_changed_policy_are_not_mixed_in(tmp_path):
    module = tmp_path / "changing.py"
    module.write_text("def ik(target_position, q, scene):\n    return q\n")
    out = tmp_path / "out"
    sys.path.insert(0, str(tmp_path))
    try:
        before = list(run(["changing:ik", "hold"], small_suite(), out))
        fingerprint = read_manifest(out)["fingerprints"]["changing:ik"]
        assert untimed(run(["changing:ik", "hold"], small_suite(), out)) == untimed(before)
        module.write_text("def ik(target_position, q, scene):\n    return 0.0 * q\n")
        message = r"holds rows of changing:ik from before the code, the weights or the options changed. --redo"
        with pytest.raises(InvalidInputError, match=message):
            run(["changing:ik", "hold"], small_suite(), out)
        assert len((out / RESULTS).read_text().splitlines()) == len(before)
        again = list(run(["changing:ik"], small_suite(), out, redo=True))
    finally:
        sys.path.remove(str(tmp_path))
    assert read_manifest(out)["fingerprints"]["changing:ik"] != fingerprint
    assert [row for row in again if row["policy"] == "hold"] == [row for row in before if row["policy"] == "hold"]
    ours_again = [row for row in again if row["policy"] == "changing:ik" and row["kind"] == "ik"]
    assert all(row["q"] == [0.0] * len(row["q"]) for row in ours_again)
    assert len(again) == len(before)


def test_fingerprints_see_what_a_policy_is_made_of(tmp_path):
    weights = tmp_path / "weights.npz"
    weights.write_bytes(b"one")
    made = [Entrant("a", "hold"), Entrant("a", "closed-form"), Entrant("a", "hold", {"x": 1}), Entrant("a", ours.Base)]
    made.append(Entrant("a", "small_suite:Base", {"weights": str(weights)}))
    prints = [one.fingerprint for one in made]
    assert len(set(prints)) == len(prints)
    assert prints == [one.fingerprint for one in made]
    weights.write_bytes(b"two")
    assert made[-1].fingerprint != prints[-1]


def test_objects_cannot_move_to_another_process(tmp_path):
    message = r"'Base' is an object of this process; .* import path"
    with pytest.raises(InvalidInputError, match=message):
        run([ours.Base], small_suite(), tmp_path / "out", limits=Limits("always"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs must be a whole number >= 1, got 0"),
        ({"jobs": True}, "jobs must be a whole number >= 1, got True"),
        ({"limits": Limits("never"), "seed": []}, "There is no seed"),
    ],
)
def test_arguments_are_checked(options, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        run("hold", small_suite(), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_no_such_isolation():
    with pytest.raises(InvalidInputError, match="isolate must be one of auto, always, never, got 'maybe'"):
        Limits("maybe")


@pytest.mark.parametrize("limits", [{"time_limit": 0.0}, {"time_limit": float("nan")}, {"memory_limit": -1.0}])
def test_limits_are_numbers(limits):
    with pytest.raises(InvalidInputError, match=rf"{next(iter(limits))} must be a number in \(0.0, 1000000.0\]"):
        Limits(**limits)


def test_without_joblib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(MissingExtraError, match=r'pip install "planararm\[report\]"'):
        run("hold", small_suite(), tmp_path, jobs=2)
