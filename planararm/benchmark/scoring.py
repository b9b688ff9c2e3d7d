"""From rollouts to result rows: every answer is checked again by our own kinematics and distances."""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np

from .. import metrics
from ..collision import certify_motion
from ..kinematics import manipulability
from .rollout import IKRollout
from .tasks import TaskGroup
from .tracking import TrackingRollout

Row = dict[str, Any]
"""A result row, with a value for every one of :data:`COLUMNS`."""

MOTIONS = {1: "certified", 0: "contact", -1: "undecided"}
"""What :func:`planararm.collision.certify_motion` finds, in words."""

COLUMNS: dict[str, str] = {
    "suite": "name of the suite",
    "task": "name of the task: group and number",
    "kind": "ik: one target; track: a path followed in closed loop",
    "label": "what sort of target or path it is",
    "policy": "name of the policy, with its arguments if it was given any",
    "seed": "seed of the policy's own randomness",
    "arm": "name of the arm",
    "reach": "sum of its link lengths [m]",
    "scene": "number of the scene in its group: tasks of the same number share their discs",
    "num_obstacles": "number of discs in the scene",
    "truth": "ground truth: 1 the target can be met, 0 proven that it cannot, -1 unknown",
    "outcome": "ok, infeasible, missed, unsafe, claimed wrongly, crashed, timed out, undecided, unsupported",
    "claimed": "ik: the policy said that it met the target",
    "valid": "limits and safety margin kept (track: and no commanded motion would have met a disc)",
    "error": "tracking error [m], of the arm held still if it crashed; track: root mean square of the path",
    "error_mean": "track: mean tracking error [m]",
    "error_median": "track: median tracking error [m]",
    "error_p95": "track: 95th percentile of the tracking error [m]",
    "error_max": "track: largest tracking error [m]; ik: the same as error",
    "followed": "track: share of steps that end within the suite's tolerance of the target",
    "collision": "ik: the answer overlaps a disc; track: a commanded motion would have met one",
    "contacts": "track: number of steps whose command would have met a disc",
    "avoidable": "track: number of those for which a certified command was found",
    "motion": "the straight motion to the answer, or the policy's own commands: certified, contact or undecided",
    "clearance": "smallest distance to a disc [m], negative if they overlap; null without discs or answer",
    "limit_violation": "largest excess of an answered joint over its limits [rad]",
    "joint_jump": "largest change of any joint from where the arm was to the answer [rad]",
    "joint_path_length": "track: length of the executed motion in joint space [rad]",
    "task_path_length": "track: length of the end effector's path [m]",
    "jerk": "track: root mean square of the third derivative of the joint angles [rad/s^3]",
    "manipulability": "track: smallest manipulability on the way [m^2]",
    "q": "the answer [rad]; track: all executed configurations",
    "nominal_q": "ik: what the policy proposed before its projection [rad]; null if it does not say",
    "message": "what the policy raised, or why it does not support the arm",
    "solve_time": "time per answer within a batch [s]; track: median over the steps",
    "latency": "duration of a call for this target alone, on a sample of tasks [s]",
}
"""Every column of ``results.jsonl``; a value that does not apply, or that is not finite, is null."""

TIMING_COLUMNS = ("solve_time", "latency")
"""Columns that differ between runs; all others are the same from the same seed."""


class Rows:
    """Result rows of some tasks as lines of JSON, in the order of the tasks.

    Args:
        suite: Name of the suite.
        policy: Name of the policy.
        seed: Seed of the policy.
        group: The tasks.
        names: Their names.
        columns: The other columns: an array or a list with one entry per task, or one value for all.
    """

    def __init__(
        self, suite: str, policy: str, seed: int, group: TaskGroup, names: list[str], columns: dict[str, Any]
    ) -> None:
        discs, count = group.scene.obstacles, len(group)
        present = np.full(count, discs.num_obstacles) if discs.mask is None else np.asarray(discs.mask).sum(axis=-1)
        known = {
            "suite": suite,
            "task": names,
            "kind": group.kind,
            "label": list(group.labels),
            "policy": policy,
            "seed": seed,
            "arm": group.arm,
            "reach": group.scene.arm.reach,
            "scene": group.scene_number,
            "num_obstacles": present,
            "truth": group.truth,
            **columns,
        }
        # Column by column the encoder is called for thousands of numbers at once, not for each row.
        tokens = [_encoded(known.get(name), count) for name in COLUMNS]
        pattern = "{" + ",".join(f"{json.dumps(name)}:%s" for name in COLUMNS) + "}\n"
        self.lines = [pattern % row for row in zip(*tokens, strict=True)]

    def __len__(self) -> int:
        return len(self.lines)

    def as_dicts(self) -> list[Row]:
        """The rows as a reader of the file gets them."""
        return [json.loads(line) for line in self.lines]


def _encoded(column: Any, count: int) -> list[str]:
    """JSON of every entry of a column; a row with NaN or infinity is null."""
    if isinstance(column, np.ndarray):
        return _encoded_array(column)
    if isinstance(column, list):
        return ["null" if text is None else encode_basestring_ascii(text) for text in column]
    return [json.dumps(column)] * count


def _encoded_array(column: np.ndarray) -> list[str]:
    """One call of the encoder for all rows, whose text is cut into rows again."""
    if not len(column):
        return []
    known = np.isfinite(column).reshape(len(column), -1).all(axis=1) if column.dtype.kind == "f" else None
    if column.ndim == 1:
        values = column.tolist()
        for row in np.flatnonzero(~known) if known is not None else ():
            values[row] = None
        return json.dumps(values, separators=(",", ":"))[1:-1].split(",")
    tokens = np.full(len(column), "null", dtype=object)
    rows = np.flatnonzero(known) if known is not None else np.arange(len(column))
    if rows.size:
        inner = column.ndim - 1
        text = json.dumps(column[rows].tolist(), separators=(",", ":"))[1 + inner : -1 - inner]
        border = "]" * inner + "," + "[" * inner
        tokens[rows] = ["[" * inner + part + "]" * inner for part in text.split(border)]
    return tokens.tolist()


def _messages(messages: dict[int, str], count: int) -> list[str | None]:
    return [messages.get(i) for i in range(count)]


def _marked(rows: Iterable[int], count: int) -> Any:
    """``(count,)`` bool: which rows are meant."""
    marked = np.zeros(count, dtype=bool)
    marked[list(rows)] = True
    return marked


def score_ik(
    suite: str,
    policy: str,
    seed: int,
    group: TaskGroup,
    names: list[str],
    rollout: IKRollout,
    tolerance: float,
) -> Rows:
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
    scene, count, answers = group.scene, len(group), rollout.answers
    q = answers.q
    failed, timed_out = _marked(answers.messages, count), _marked(answers.timed_out, count)
    usable = np.where(failed[:, None], group.q_start, q)
    error = metrics.tracking_error(scene.arm.end_effector(usable), group.targets)
    clearance = metrics.clearance(usable, scene)
    excess = scene.arm.limit_violation(usable)
    valid = ~failed & metrics.keeps_limits_and_margin(excess, clearance, scene)
    straight = certify_motion(group.q_start, usable, scene.arm, scene.obstacles).status
    motion = np.where(answers.contact < 0, straight, 1 - answers.contact)
    outcome = metrics.classify(
        met=error <= tolerance * scene.arm.reach,
        valid=valid,
        claimed=answers.claimed,
        truth=group.truth,
        crashed=failed & ~timed_out,
        timed_out=timed_out,
    )
    return Rows(
        suite, policy, seed, group, names,
        {
            "outcome": [str(name) for name in outcome],
            "claimed": answers.claimed,
            "valid": valid,
            "error": error,
            "error_max": error,
            "collision": ~failed & (clearance < 0),
            "motion": [None if bad else MOTIONS[status] for bad, status in zip(failed, motion.tolist(), strict=True)],
            "clearance": np.where(failed, np.nan, clearance),
            "limit_violation": excess,
            "joint_jump": np.abs(usable - group.q_start).max(axis=-1),
            "q": q,
            "nominal_q": answers.nominal_q,
            "message": _messages(answers.messages, count),
            "solve_time": answers.seconds,
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
) -> Rows:
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
    failed, timed_out = _marked(rollout.messages, count), _marked(rollout.timed_out, count)
    valid = ~failed & ~rollout.contact & (rollout.limit_violation <= metrics.LIMIT_TOLERANCE)
    outcome = metrics.classify(
        met=near.all(axis=1),
        valid=valid,
        claimed=np.zeros(count, dtype=bool),
        truth=group.truth,
        crashed=failed & ~timed_out,
        timed_out=timed_out,
    )
    tips = arm.end_effector(rollout.q_path)
    return Rows(
        suite, policy, seed, group, names,
        {
            "outcome": [str(name) for name in outcome],
            "valid": valid,
            "error": summary.rmse,
            "error_mean": summary.mean,
            "error_median": summary.median,
            "error_p95": summary.p95,
            "error_max": summary.max,
            "followed": near.mean(axis=1),
            "collision": rollout.contact,
            "contacts": rollout.contacts,
            "avoidable": rollout.avoidable,
            "motion": [MOTIONS[int(not contact)] for contact in rollout.contact],
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


def unsupported_rows(suite: str, policy: str, seed: int, group: TaskGroup, names: list[str], reason: str) -> Rows:
    """Rows of tasks that the policy declared not to handle; they count in no average."""
    return Rows(suite, policy, seed, group, names, {"outcome": str(metrics.Outcome.UNSUPPORTED), "message": reason})
