"""From rollouts to result rows: every answer is checked again by our own kinematics and distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import metrics
from ..kinematics import manipulability
from .rollout import IKRollout, TrackingRollout
from .tasks import TaskGroup

Row = dict[str, Any]

COLUMNS: dict[str, str] = {
    "suite": "name of the suite",
    "task": "name of the task: group and number",
    "kind": "ik: one target; track: a path followed in closed loop",
    "label": "what sort of target or path it is",
    "policy": "name of the policy, with its arguments if it was given any",
    "seed": "seed of the policy's own randomness",
    "arm": "name of the arm",
    "reach": "sum of its link lengths [m]",
    "num_obstacles": "number of discs in the scene",
    "truth": "ground truth: 1 the target can be met, 0 proven that it cannot, -1 unknown",
    "outcome": "ok, infeasible, missed, unsafe, claimed wrongly, crashed, timed out, undecided, unsupported",
    "claimed": "the policy said that it met the target (track: at every step)",
    "valid": "limits and safety margin kept (track: and no commanded motion would have met a disc)",
    "error": "tracking error [m], of the arm held still if it crashed; track: root mean square of the path",
    "error_mean": "track: mean tracking error [m]",
    "error_median": "track: median tracking error [m]",
    "error_p95": "track: 95th percentile of the tracking error [m]",
    "error_max": "track: largest tracking error [m]; ik: the same as error",
    "followed": "track: share of steps that end within the suite's tolerance of the target",
    "collision": "ik: the answer overlaps a disc; track: a commanded motion would have met one",
    "clearance": "smallest distance to a disc [m], negative if they overlap; null without discs or answer",
    "limit_violation": "largest excess of an answered joint over its limits [rad]",
    "joint_jump": "largest change of any joint from where the arm was to the answer [rad]",
    "joint_path_length": "track: length of the executed motion in joint space [rad]",
    "task_path_length": "track: length of the end effector's path [m]",
    "jerk": "track: root mean square of the third derivative of the joint angles [rad/s^3]",
    "manipulability": "track: smallest manipulability on the way [m^2]",
    "q": "the answer [rad]; track: all executed configurations",
    "message": "what the policy raised, or why it does not support the arm",
    "solve_time": "time per answer within a batch [s]; track: median over the steps",
    "latency": "duration of a call for this target alone, on a sample of tasks [s]",
}
"""Every column of ``results.jsonl``; a value that does not apply, or that is not finite, is null."""

TIMING_COLUMNS = ("solve_time", "latency")
"""Columns that differ between runs; all others are the same from the same seed."""


def _values(column: Any, count: int) -> list[Any]:
    """One JSON value per row: a row with NaN or infinity is None, a single value is repeated."""
    if not isinstance(column, np.ndarray):
        return column if isinstance(column, list) else [column] * count
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        for row in np.flatnonzero(~np.isfinite(column).reshape(count, -1).all(axis=1)):
            values[row] = None
    return values


def _rows(suite: str, policy: str, seed: int, group: TaskGroup, names: list[str], columns: Row) -> list[Row]:
    """One row per task, all columns present, in their documented order."""
    discs, count = group.scene.obstacles, len(group)
    present = np.full(count, discs.num_obstacles) if discs.mask is None else np.asarray(discs.mask).sum(axis=-1)
    common = {
        "suite": suite,
        "task": names,
        "kind": group.kind,
        "label": list(group.labels),
        "policy": policy,
        "seed": seed,
        "arm": group.arm,
        "reach": group.scene.arm.reach,
        "num_obstacles": present,
        "truth": group.truth,
    }
    known = {**common, **columns}
    table = [_values(known.get(name), count) for name in COLUMNS]
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*table, strict=True)]


def _messages(messages: dict[int, str], count: int) -> list[str | None]:
    return [messages.get(i) for i in range(count)]


def score_ik(
    suite: str,
    policy: str,
    seed: int,
    group: TaskGroup,
    names: list[str],
    rollout: IKRollout,
    tolerance: float,
) -> list[Row]:
    """Rows of inverse-kinematics tasks.

    Args:
        suite: Name of the suite.
        policy: Name of the policy.
        seed: Seed of the policy.
        group: The tasks.
        names: Their names.
        rollout: The answers.
        tolerance: A target counts as met within this tracking error, fraction of the reach.
    """
    scene, count = group.scene, len(group)
    q = rollout.answers.q
    crashed = np.zeros(count, dtype=bool)
    crashed[list(rollout.answers.messages)] = True
    usable = np.where(crashed[:, None], group.q_start, q)
    error = metrics.answer_error(q, group.q_start, group.targets, scene.arm)
    valid = metrics.is_valid(q, scene)
    clearance = np.where(crashed, np.nan, metrics.clearance(usable, scene))
    outcome = metrics.classify(
        met=error <= tolerance * scene.arm.reach,
        valid=valid,
        claimed=rollout.answers.claimed,
        truth=group.truth,
        crashed=crashed,
    )
    return _rows(
        suite, policy, seed, group, names,
        {
            "outcome": [str(name) for name in outcome],
            "claimed": rollout.answers.claimed,
            "valid": valid,
            "error": error,
            "error_max": error,
            "collision": clearance < 0,
            "clearance": clearance,
            "limit_violation": scene.arm.limit_violation(usable),
            "joint_jump": np.abs(usable - group.q_start).max(axis=-1),
            "q": q,
            "message": _messages(rollout.answers.messages, count),
            "solve_time": rollout.answers.seconds,
            "latency": rollout.latency,
        },
    )  # fmt: skip


def score_tracking(
    suite: str,
    policy: str,
    seed: int,
    group: TaskGroup,
    names: list[str],
    rollout: TrackingRollout,
    tolerance: float,
) -> list[Row]:
    """Rows of tracking tasks; a path counts as met if every step ends within the tolerance.

    Args:
        suite: Name of the suite.
        policy: Name of the policy.
        seed: Seed of the policy.
        group: The tasks.
        names: Their names.
        rollout: The closed loop.
        tolerance: Fraction of the reach.
    """
    arm, count = group.scene.arm, len(group)
    near = rollout.errors <= tolerance * arm.reach
    summary = metrics.summarize_errors(rollout.errors, axis=1)
    crashed = np.zeros(count, dtype=bool)
    crashed[list(rollout.messages)] = True
    valid = ~crashed & ~rollout.contact & (rollout.limit_violation <= metrics.LIMIT_TOLERANCE)
    outcome = metrics.classify(
        met=near.all(axis=1),
        valid=valid,
        claimed=rollout.false_claim,
        truth=group.truth,
        crashed=crashed,
    )
    tips = arm.end_effector(rollout.q_path)
    return _rows(
        suite, policy, seed, group, names,
        {
            "outcome": [str(name) for name in outcome],
            "claimed": rollout.claimed,
            "valid": valid,
            "error": summary.rmse,
            "error_mean": summary.mean,
            "error_median": summary.median,
            "error_p95": summary.p95,
            "error_max": summary.max,
            "followed": near.mean(axis=1),
            "collision": rollout.contact,
            "clearance": rollout.clearance,
            "limit_violation": rollout.limit_violation,
            "joint_jump": rollout.jump,
            "joint_path_length": metrics.path_length(rollout.q_path),
            "task_path_length": metrics.path_length(tips),
            "jerk": metrics.rms_jerk(rollout.q_path, group.dt),
            "manipulability": manipulability(rollout.q_path, arm.link_lengths).min(axis=-1),
            "q": rollout.q_path,
            "message": _messages(rollout.messages, count),
            "solve_time": rollout.seconds,
        },
    )  # fmt: skip


def unsupported_rows(suite: str, policy: str, seed: int, group: TaskGroup, names: list[str], reason: str) -> list[Row]:
    """Rows of tasks that the policy declared not to handle; they count in no average."""
    return _rows(suite, policy, seed, group, names, {"outcome": str(metrics.Outcome.UNSUPPORTED), "message": reason})
