"""What the page says in words."""

from __future__ import annotations

import shlex
from typing import Any

from ...metrics import Outcome

OUTCOMES: dict[Outcome, tuple[str, str]] = {
    Outcome.OK: ("ok", "met within the tolerance, verified, joint limits and safety margin kept"),
    Outcome.INFEASIBLE: ("infeasible", "proven unreachable, and the policy did not claim otherwise"),
    Outcome.MISSED: ("missed", "can be met, was not, and the policy did not claim it"),
    Outcome.UNSAFE: ("unsafe", "the answer leaves limits or margin, or a commanded motion would meet a disc"),
    Outcome.CLAIMED_WRONGLY: ("claimed", "not met, though the policy said so"),
    Outcome.CRASHED: ("crashed", "raised an error, or returned no configuration"),
    Outcome.TIMED_OUT: ("late", "took longer than allowed"),
    Outcome.UNDECIDED: ("other", "not met; the ground truth does not know whether it can be"),
}
"""Per outcome that can happen to a supported task: its CSS class and its meaning."""

TERMS: tuple[tuple[str, str], ...] = (
    (
        "ok @x",
        "Share of the solvable tasks met within x of the reach, with every joint within its limits and the "
        "safety margin kept. A path counts if every single step ends within x. Crashes, collisions and wrong "
        "claims are failures and stay in the denominator; only tasks proven unreachable are left out.",
    ),
    (
        "interval",
        "95 % bootstrap interval of that share over the tasks: where it would lie on other tasks of the same kind. "
        "Two policies whose intervals overlap may still differ clearly on the same tasks: compare them in pairs.",
    ),
    (
        "RMSE, median, p95, max",
        "Of the distance between end effector and target, as a fraction of the arm's reach, over the "
        "solvable tasks. A task without an answer is scored where the arm then stays. For paths: over the "
        "paths' own root mean square errors; max is the largest error of any step.",
    ),
    (
        "error distribution",
        "Share of the solvable tasks met validly within each error. A curve that ends below 100 % belongs to a policy "
        "whose other answers were invalid: they count, however near to the target they were.",
    ),
    (
        "contact",
        "Share of all tasks with an answer that overlaps a disc, or a commanded motion that would meet one.",
    ),
    ("limits", "Share of all tasks with an answer beyond a joint limit."),
    (
        "certified",
        "Share of the motions that are certified to touch nothing on the whole way: for single targets the straight "
        "joint motion from the start to the answer, or the commands that the policy tells; for paths every commanded "
        "motion.",
    ),
    (
        "jump",
        "Largest change of any joint, in radians, between where the arm is and the answer. Angles are not wrapped.",
    ),
    ("followed", "Mean share of a path's steps that end within the suite's tolerance of the target."),
    (
        "time, single",
        "Time per answer in a batch; duration of calls for one target alone. Median and 95th percentile. The first "
        "call is not timed.",
    ),
    ("false claims", "Share of the tasks that the policy claimed to have solved and the check refuted."),
    ("honest", "Share of the unreachable tasks for which the policy did not claim success."),
    (
        "closed loop",
        "On paths the policy acts at each control step on what the environment lets it observe, the coming points of "
        "the path included. The arm moves straight towards the answer within its velocity limits; the motion is "
        "certified as a whole and stops just before contact.",
    ),
    (
        "solvable",
        "Every target carries the verdict of the ground truth: a free configuration that reaches it is "
        "known, or it is proven that there is none. Paths are made from certified motions, or lie in free "
        "space.",
    ),
    (
        "maps",
        "Targets (of paths: every step's) binned by their position relative to the base, in reaches. Error: geometric "
        "mean of the bin. Clearance: the smallest of the bin.",
    ),
    (
        "worst tasks",
        "Those with the largest median error over the policies, an invalid answer being worse than any valid one. The "
        "random ones are drawn with a fixed seed from the others. Any other task: planararm replay.",
    ),
)

REPLAY_SETS = {"worst": "The worst tasks", "random": "Random tasks", "chosen": "The chosen task"}


def commands(manifest: dict[str, Any]) -> list[str]:
    """What repeats the runs of a folder: one command per set of seeds."""
    parts = ["planararm", "bench"]
    # A name with its options in brackets is no name that the command line knows.
    parts += [shlex.quote(name) for name in manifest["policies"] if "(" not in name]
    parts += ["--suite", shlex.quote(manifest["suite"])]
    seeds = [str(seed) for seed in manifest["seeds"]]
    return [" ".join([*parts, *(["--seed", *seeds] if seeds != ["0"] else [])])]


def manifest_rows(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a manifest, one row per run.

    Args:
        manifest: See :func:`planararm.benchmark.results.read_manifest`.
    """
    rows = [
        ("suite", manifest["suite"]),
        ("content hash", manifest["suite_hash"]),
        ("policies", ", ".join(manifest["policies"])),
        ("seeds", ", ".join(str(seed) for seed in manifest["seeds"])),
    ]
    for count, run in enumerate(manifest["runs"], start=1):
        git = run["git"]
        commit = f", commit {git['commit'][:12]}{' with changes' if git['changed'] else ''}" if git else ""
        packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items() if version)
        rows.append(
            (
                f"run {count}" if len(manifest["runs"]) > 1 else "run",
                f"{run['started']}: planararm {run['planararm']}{commit}; Python {run['python']}; "
                f"{packages}; {run['platform']}; {run['cpu']}, {run['cpu_count']} CPUs",
            )
        )
    return rows
