"""Tasks with everybody's answers, for the animated replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...arm import FloatArray, PlanarArm
from ...metrics import Outcome
from ..frame import Results, split_task, task_name
from ..scoring import Row
from ..table import fraction
from ..tasks import Suite, TaskGroup
from .packing import number, numbers, pack_rows

FRAMES = 100
"""Most frames of a path's replay."""


def frame_steps(num_steps: int, most: int = FRAMES) -> np.ndarray:
    """Which of the steps 0 to ``num_steps`` are shown: the first, the last, and evenly spaced ones between."""
    return np.unique(np.round(np.linspace(0, num_steps, min(most, num_steps + 1))).astype(np.int64))


class Arms:
    """The arms of the replays, each once."""

    def __init__(self) -> None:
        self._arms: list[PlanarArm] = []

    def index(self, arm: PlanarArm) -> int:
        """Number of an arm; an unknown one is added."""
        if arm not in self._arms:
            self._arms.append(arm)
        return self._arms.index(arm)

    def payload(self) -> list[dict[str, Any]]:
        """What the replay needs of them."""
        return [_arm_payload(arm) for arm in self._arms]


def _arm_payload(arm: PlanarArm) -> dict[str, Any]:
    return {
        "base": arm.base.tolist(),
        "link_lengths": arm.link_lengths.tolist(),
        "link_radius": arm.link_radius,
        "joint_limits": arm.joint_limits.tolist(),
    }


def _discs(group: TaskGroup, i: int) -> list[list[float]]:
    """Discs ``[x, y, radius]``; those that move with displacement, speed and phase."""
    scene = group.scene[i].obstacles.compact()
    table = np.column_stack([scene.centers, scene.radii])
    listed: list[list[float]] = numbers(table, 6)
    if scene.shuttle is not None:
        for disc, shuttle in zip(listed, scene.shuttle, strict=True):
            if shuttle[2] > 0:
                disc += numbers(shuttle, 6)
    return listed


def task_payload(group: TaskGroup, i: int, what: str, arms: Arms, most: int = FRAMES) -> dict[str, Any]:
    """A task without answers.

    Args:
        group: Its group.
        i: Its number.
        what: ``"worst"``, ``"random"`` or ``"chosen"``.
        arms: Where its arm is kept.
        most: Most frames of a path.
    """
    payload = {
        "name": task_name(group.name, i),
        "set": what,
        "kind": group.kind,
        "label": group.labels[i],
        "arm": arms.index(group.scene.arm),
        "truth": int(group.truth[i]),
        "margin": group.scene.safety_margin,
        "q_start": numbers(group.q_start[i]),
        "discs": _discs(group, i),
        "answers": {},
    }
    if group.kind == "ik":
        return {**payload, "target": numbers(group.targets[i])}
    shown = frame_steps(group.targets.shape[1] - 1, most)
    return {**payload, "path": pack_rows(group.targets[i, shown]), "times": numbers(group.dt * shown)}


def _nominal(values: Any, shown: np.ndarray | None) -> Any:
    """A proposal: one configuration, or one per step of a path."""
    if values is None:
        return None
    proposal: FloatArray = np.asarray(values, dtype=np.float64)
    if proposal.ndim == 1:
        return numbers(proposal)
    return pack_rows(proposal[np.minimum(shown, len(proposal) - 1)] if shown is not None else proposal)


def answer_payload(row: Row, most: int = FRAMES) -> dict[str, Any]:
    """What a policy did with a task.

    Args:
        row: A result, joint angles included.
        most: Most frames of a path.
    """
    relative = np.nan if row["error_max"] is None else row["error_max"] / row["reach"]
    clearance = np.nan if row["clearance"] is None else row["clearance"]
    payload: dict[str, Any] = {
        "outcome": row["outcome"],
        "error": fraction(relative),
        "clearance": number(clearance),
        "claimed": None if row["claimed"] is None else int(row["claimed"]),
        "motion": row["motion"],
        "message": row["message"],
    }
    if row["q"] is None:
        return payload
    if row["kind"] == "ik":
        return {**payload, "q": numbers(row["q"]), "nominal": _nominal(row["nominal_q"], None)}
    shown = frame_steps(len(row["q"]) - 1, most)
    path = np.asarray(row["q"], dtype=np.float64)[shown]
    return {**payload, "path": pack_rows(path), "nominal": _nominal(row["nominal_q"], shown)}


def rows_of_tasks(results: Results, names: Iterable[str]) -> list[int]:
    """Numbers of the rows of some tasks, one per task and policy: that of the smallest seed."""
    wanted: dict[str, set[int]] = {}
    for name in names:
        group, i = split_task(name)
        wanted.setdefault(group, set()).add(i)
    found: dict[tuple[str, int, str], int] = {}
    supported = results["outcome"] != Outcome.UNSUPPORTED
    for group, its in wanted.items():
        there = (results["group"] == group) & np.isin(results["number"], list(its)) & supported
        for row in np.flatnonzero(there):
            key = (group, int(results["number"][row]), results["policy"][row])
            if key not in found or results["seed"][row] < results["seed"][found[key]]:
                found[key] = int(row)
    return list(found.values())


def replay_payload(
    results: Results,
    suite: Suite,
    chosen: Mapping[str, Sequence[str]],
    policies: dict[str, int],
    arms: Arms,
    most: int = FRAMES,
) -> list[dict[str, Any]]:
    """The replays of a suite.

    Args:
        results: All its rows.
        suite: The suite.
        chosen: Names of tasks by why they are shown.
        policies: Number of every policy in the page's list.
        arms: Where the arms are kept.
        most: Most frames of a path.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for what, names in chosen.items():
        for name in names:
            group, i = split_task(name)
            tasks[name] = task_payload(suite.group(group), i, what, arms, most)
    for row in results.rows(rows_of_tasks(results, tasks)):
        tasks[row["task"]]["answers"][policies[row["policy"]]] = answer_payload(row, most)
    return [task for task in tasks.values() if task["answers"]]
