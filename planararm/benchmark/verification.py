"""Stored results checked once more: do the numbers follow from the joint angles that are stored beside them?

The tasks are generated again; error, clearance, limits, motion and outcome are computed from the stored ``q``, and
paths are moved along once more: every step must keep velocity limits, joint limits and discs (where discs move,
clearance at its end only). What a folder from somebody else says is thereby known to be about these tasks and these
answers. Not known is who answered, how long it took, what was claimed, and what was commanded: whether a path's
commands would have met discs, or an agent's on the way to its answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import metrics
from ..arm import FloatArray
from ..dynamics import advance
from ..metrics import Outcome
from ..obstacles import Obstacles
from ..scene import Scene
from .calls import Answers
from .frame import scan, split_task
from .results import RESULTS, check_suite, read_manifest
from .rollout import IKRollout
from .scoring import MOTIONS, TIMING_COLUMNS, Row, score_ik, score_tracking, unsupported_rows
from .suites import load_suite
from .tasks import Suite, TaskGroup
from .tracking import TrackingRollout

BLOCK = 1000
"""Rows that are computed at once."""

SAME = 1e-9
"""Difference of numbers that rounding may make on another machine, relative to the larger one or to 1."""

ARRIVES = 1e-6
"""How far from the next stored configuration of a path the arm may end that is moved there [rad]."""

FINDINGS = 20
"""Rows with a disagreement that are told."""

LETTERS = 60
"""Letters of a value in what is told."""


@dataclass
class Verification:
    """What the check of a folder has found.

    Attributes:
        suite: Name of the suite.
        num_rows: Rows that were looked at.
        num_wrong: Rows with a disagreement.
        num_told: Rows of single targets whose motion is not the straight one: that of the policy's own commands, which
            rows do not hold.
        findings: What is wrong with the first :data:`FINDINGS` of them.
        missing: Per policy and seed, how many tasks have no row; of a policy without any, for one seed.
    """

    suite: str
    num_rows: int = 0
    num_wrong: int = 0
    num_told: int = 0
    findings: list[str] = field(default_factory=list)
    missing: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every row is there and right."""
        return self.num_wrong == 0 and not self.missing

    def add(self, row: Row, wrong: list[str]) -> None:
        """Count a row, and what is wrong with it."""
        self.num_rows += 1
        self.num_wrong += bool(wrong)
        if wrong and len(self.findings) < FINDINGS:
            self.findings.append(f"{row['task']}, {row['policy']}, seed {row['seed']}: {'; '.join(wrong)}")


@dataclass(frozen=True)
class _Block:
    """Rows of consecutive tasks of a group, by one policy with one seed, all of them supported or none.

    Attributes:
        rows: As they are stored.
        tasks: The tasks.
        start: Number of the first task in its group.
    """

    rows: list[Row]
    tasks: TaskGroup
    start: int


def verify(
    folder: str | os.PathLike[str], *, suite: Suite | None = None, progress: Callable[[int], None] | None = None
) -> Verification:
    """Compute all rows of a folder again from the answers in them.

    Args:
        folder: With results.
        suite: The tasks; default: the suite that the folder names, generated again.
        progress: Told the numbers of rows that are done.

    Raises:
        FileFormatError: No results, or files that cannot be read.
        InvalidInputError: The suite is not the one that the results are of.
        UnknownNameError: There is no suite of that name here.
    """
    place = Path(folder)
    manifest = read_manifest(place)
    tasks = suite or load_suite(manifest["suite"])
    check_suite(place, manifest, tasks)
    found = Verification(tasks.name)
    there: dict[tuple[str, int, str], npt.NDArray[np.bool_]] = {}

    def first(row: Row) -> bool:
        """Whether this row is the first of its task."""
        group, number = split_task(row["task"])
        key = row["policy"], row["seed"], group
        done = there.setdefault(key, np.zeros(tasks.sizes[group], dtype=bool))
        was, done[number] = bool(done[number]), True
        return not was

    for block in _blocks(place / RESULTS, tasks, found):
        computed, wrong = _computed(block, tasks.tolerance)
        for row, right, of_row in zip(block.rows, computed, wrong, strict=True):
            if row["kind"] == "ik" and row["motion"] != right["motion"] and row["motion"] in MOTIONS.values():
                found.num_told += 1
                right["motion"] = row["motion"]
            if not first(row):
                of_row.append("the task is there twice")
            if row["policy"] not in manifest["policies"] or row["seed"] not in manifest["seeds"]:
                of_row.append("the manifest knows no such policy or seed")
            of_row += [
                f"{name} is {_short(row[name])}, not {_short(value)}"
                for name, value in right.items()
                if name not in TIMING_COLUMNS and not _same(row[name], value)
            ]
            found.add(row, of_row)
        if progress is not None:
            progress(found.num_rows)
    ran = dict.fromkeys(key[:2] for key in there)
    absent = [policy for policy in manifest["policies"] if policy not in {name for name, _ in ran}]
    for policy, seed in (*ran, *((policy, manifest["seeds"][0]) for policy in absent)):
        count = sum(int(done.sum()) for key, done in there.items() if key[:2] == (policy, seed))
        if count < len(tasks):
            found.missing[policy, seed] = len(tasks) - count
    return found


def _blocks(path: Path, suite: Suite, found: Verification) -> Iterator[_Block]:
    """The rows of a file; those of no task of the suite are told at once."""
    groups = {group.name: group for group in suite.groups}
    rows: list[Row] = []
    last: tuple[Any, ...] = ()
    start = 0

    def block() -> Iterator[_Block]:
        if rows:
            group = groups[split_task(rows[0]["task"])[0]]
            yield _Block(rows, group[start : start + len(rows)], start)

    for _, row in scan(path) if path.exists() else ():
        name, number = split_task(row["task"])
        if name not in groups or number >= len(groups[name]):
            found.add(row, [f"{suite.name} has no such task"])
            continue
        kind = row["policy"], row["seed"], name, row["message"] if row["outcome"] == Outcome.UNSUPPORTED else None
        if kind != last or number != start + len(rows) or len(rows) == BLOCK:
            yield from block()
            rows, last, start = [], kind, number
        rows.append(row)
    yield from block()


def _computed(block: _Block, tolerance: float) -> tuple[list[Row], list[list[str]]]:
    """The rows as they follow from the answers, and what is wrong with each answer."""
    rows, tasks = block.rows, block.tasks
    names = [f"{tasks.name}/{i:05d}" for i in range(block.start, block.start + len(rows))]
    head = rows[0]["suite"], rows[0]["policy"], rows[0]["seed"], tasks, names
    wrong: list[list[str]] = [[] for _ in rows]
    if rows[0]["outcome"] == Outcome.UNSUPPORTED:
        return unsupported_rows(*head, str(rows[0]["message"])).as_dicts(), wrong
    if tasks.kind == "ik":
        return score_ik(*head, _targets(rows, tasks, wrong), tolerance).as_dicts(), wrong
    return score_tracking(*head, _paths(rows, tasks, wrong), tolerance).as_dicts(), wrong


def _targets(rows: list[Row], tasks: TaskGroup, wrong: list[list[str]]) -> IKRollout:
    """What was answered to targets, read from rows."""
    answers = Answers.none(len(rows), tasks.scene.arm.num_joints)
    for i, row in enumerate(rows):
        for name, into in (("q", answers.q), ("nominal_q", answers.nominal_q)):
            if row[name] is not None:
                into[i] = _angles(name, row[name], into[i].shape, wrong[i], instead=np.nan)
        if type(row["claimed"]) is not bool:
            wrong[i].append("claimed is neither true nor false")
        answers.claimed[i] = row["claimed"] is True
        if row["message"] is not None:
            answers.messages[i] = str(row["message"])
        elif row["q"] is None:
            wrong[i].append("there is no answer, and no message that says why")
        if np.isnan(answers.q[i]).any():
            answers.messages.setdefault(i, "")
        if row["outcome"] == Outcome.TIMED_OUT:
            answers.timed_out.add(i)
    return IKRollout(answers, np.full(len(rows), np.nan))


def _paths(rows: list[Row], tasks: TaskGroup, wrong: list[list[str]]) -> TrackingRollout:
    """How paths were followed, read from rows and moved along once more."""
    scene, steps = tasks.scene, tasks.targets.shape[1] - 1
    q_path = np.repeat(tasks.q_start[:, None], steps + 1, axis=1)
    for i, row in enumerate(rows):
        q_path[i] = _angles("q", row["q"], q_path[i].shape, wrong[i], instead=q_path[i])
        if not np.array_equal(q_path[i, 0], tasks.q_start[i]):
            wrong[i].append("the path does not begin where the arm was")
    # Where discs move, a stop in the middle of a step is not seen from its ends.
    around = scene if scene.obstacles.shuttle is None else Scene(scene.arm, Obstacles.none())
    lowest = np.full(len(rows), np.inf)
    for step in range(steps):
        there = q_path[:, step + 1]
        moved = advance(q_path[:, step], there, around, dt=tasks.dt)
        at = Scene(scene.arm, scene.obstacles.frozen_at((step + 1) * tasks.dt), scene.safety_margin)
        lowest = np.minimum(lowest, metrics.clearance(there, at))
        for i in np.flatnonzero(np.abs(moved.q - there).max(axis=-1) > ARRIVES).tolist():
            wrong[i].append(f"step {step} cannot be taken: the arm gets to {_short(moved.q[i].tolist())}")

    def stored(name: str) -> FloatArray:
        """Numbers of the commands, which cannot be known again."""
        values = [_number(name, row[name], wrong[i]) for i, row in enumerate(rows)]
        return np.array(values, dtype=np.float64)

    return TrackingRollout(
        q_path=q_path,
        errors=metrics.tracking_error(scene.arm.end_effector(q_path[:, 1:]), tasks.targets[:, 1:]),
        jump=stored("joint_jump"),
        limit_violation=stored("limit_violation"),
        contacts=stored("contacts").astype(np.int64),
        avoidable=stored("avoidable").astype(np.int64),
        clearance=lowest,
        messages={i: str(row["message"]) for i, row in enumerate(rows) if row["message"] is not None},
        timed_out={i for i, row in enumerate(rows) if row["outcome"] == Outcome.TIMED_OUT},
        seconds=np.full(len(rows), np.nan),
    )


def _angles(name: str, value: Any, shape: tuple[int, ...], wrong: list[str], *, instead: Any) -> Any:
    """Stored joint angles; ``instead`` if they are none."""
    try:
        angles = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        angles = np.array(np.nan)
    if angles.shape == shape and np.isfinite(angles).all():
        return angles
    wrong.append(f"{name} is {_short(value)}, it must be finite joint angles of shape {shape}")
    return instead


def _number(name: str, value: Any, wrong: list[str]) -> float:
    """A stored number that is not negative; 0 if it is none."""
    if type(value) in (int, float) and 0 <= value < math.inf:
        return float(value)
    wrong.append(f"{name} is {_short(value)}, it must be a number >= 0")
    return 0.0


def _same(stored: Any, right: Any) -> bool:
    """Whether two values of a row are equal up to rounding."""
    if type(stored) in (int, float) and type(right) in (int, float):
        return bool(abs(stored - right) <= SAME * max(1.0, abs(stored), abs(right)))
    return type(stored) is type(right) and bool(stored == right)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 3]}..."
