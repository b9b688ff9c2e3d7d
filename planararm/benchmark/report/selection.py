"""Which tasks of a run are worth a picture, and what is on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...arm import FloatArray
from ...metrics import Outcome, Truth, tracking_error
from ...rendering.shapes import Snapshot
from ..leaderboard import Leaderboard, group_name
from ..scoring import Row
from ..table import fraction
from ..tasks import Suite, TaskGroup


class Case(NamedTuple):
    """A task of one policy that is shown.

    Attributes:
        what: ``"worst"`` or ``"typical"``.
        row: Its result.
    """

    what: str
    row: Row


def locate(row: Row, suite: Suite) -> tuple[TaskGroup, int]:
    """The group of a row's task, and its number in it."""
    return suite.group(group_name(row)), int(row["task"].rpartition("/")[2])


def relative_error(row: Row) -> float:
    """Largest tracking error of a row, fraction of the reach."""
    return float(row["error_max"] / row["reach"])


def cases(rows: Sequence[Row], policy: str, kind: str) -> list[Case]:
    """The worst and a typical solvable task of a policy; scenes with discs are preferred for the typical one.

    Unsafe and crashed tasks are worse than any other; among equals the larger error decides. Typical is the median of
    the error.

    Args:
        rows: Results.
        policy: Name of the policy.
        kind: ``"ik"`` or ``"track"``.
    """
    own = [
        row
        for row in rows
        if row["policy"] == policy
        and row["kind"] == kind
        and row["truth"] != Truth.UNREACHABLE
        and row["outcome"] != Outcome.UNSUPPORTED
    ]
    if not own:
        return []
    own.sort(key=lambda row: (row["valid"], -relative_error(row), row["task"]))
    among_discs = [row for row in own if row["num_obstacles"]] or own
    return [Case("worst", own[0]), Case("typical", among_discs[len(among_discs) // 2])]


def snapshot(row: Row, suite: Suite) -> Snapshot:
    """The picture of a row: the arm's answer, or the end of its motion with the trail of its end effector.

    Where there was no answer, the arm is shown where it stayed. The start is a ghost.

    Args:
        row: A result.
        suite: Its suite.
    """
    group, i = locate(row, suite)
    scene, start = group.scene[i], group.q_start[i]
    if group.kind == "ik":
        q = start if row["q"] is None else np.array(row["q"])
        return Snapshot(scene, q, target_position=group.targets[i], ghosts=start[None])
    q_path = np.array(row["q"])
    trail = scene.arm.end_effector(q_path)
    return Snapshot(
        scene, q_path[-1], target_position=group.targets[i, -1], path=group.targets[i], trail=trail, ghosts=start[None]
    )


def describe(case: Case) -> str:
    """What happened in a case, in a few words."""
    row = case.row
    error = fraction(relative_error(row))
    what = "target" if row["kind"] == "ik" else "path"
    text = f"{case.what.capitalize()} {what}: {row['task']} ({row['label']}), {row['outcome']}, "
    text += f"error {error} of the reach" if row["kind"] == "ik" else f"largest error {error} of the reach"
    return f"{text}; {row['message']}" if row["message"] else text


def shown_paths(board: Leaderboard, rows: Sequence[Row]) -> list[str]:
    """Per group of paths the one on which the policies differ most in their largest error.

    Args:
        board: The scores, for the groups.
        rows: Results.
    """
    chosen = []
    for name, _ in board.groups:
        errors: dict[str, list[float]] = {}
        for row in rows:
            if group_name(row) == name and row["kind"] == "track" and row["outcome"] != Outcome.UNSUPPORTED:
                errors.setdefault(row["task"], []).append(math.log10(max(relative_error(row), 1e-12)))
        if errors:
            chosen.append(max(errors, key=lambda task: (max(errors[task]) - min(errors[task]), task)))
    return chosen


def path_errors(rows: Sequence[Row], task: str, suite: Suite) -> dict[str, FloatArray]:
    """Tracking error along a path for every policy, ``(T,)`` each [m].

    Args:
        rows: Results.
        task: Name of the path's task.
        suite: Its suite.
    """
    errors: dict[str, FloatArray] = {}
    for row in rows:
        if row["task"] == task and row["outcome"] != Outcome.UNSUPPORTED:
            group, i = locate(row, suite)
            tips = group.scene.arm.end_effector(np.array(row["q"]))
            errors.setdefault(row["policy"], tracking_error(tips[1:], group.targets[i, 1:]))
    return errors
