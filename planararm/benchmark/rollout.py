"""Run a policy on tasks: batched, with every failure confined to the rows that cause it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..dynamics import advance
from ..metrics import tracking_error
from ..policies.protocol import IKPolicy, check_solution
from ..scene import Scene
from .tasks import TaskGroup

LATENCY_CALLS = 10
"""Single-target calls per chunk of inverse kinematics, timed for the latency columns."""

MESSAGE_LENGTH = 300


@dataclass
class Answers:
    """What a policy answered, one row per task.

    Attributes:
        q: ``(N, n)`` answers [rad]; NaN where it crashed.
        claimed: ``(N,)`` bool: the policy said that the target is met.
        messages: Row number to error message of the rows that crashed.
        seconds: Time spent in successful calls divided by their rows, per row ``(N,)``; NaN where it crashed.
    """

    q: FloatArray
    claimed: npt.NDArray[np.bool_]
    messages: dict[int, str]
    seconds: FloatArray


@dataclass
class IKRollout:
    """Answers to single targets.

    Attributes:
        answers: See :class:`Answers`.
        latency: ``(N,)`` duration of a call with this target alone [s]; NaN where it was not sampled.
    """

    answers: Answers
    latency: FloatArray


@dataclass
class TrackingRollout:
    """A closed loop along paths; T control steps.

    Attributes:
        q_path: ``(N, T + 1, n)`` executed configurations [rad].
        errors: ``(N, T)`` tracking error after each step [m].
        jump: ``(N,)`` largest difference of any joint between an answer and where the arm was then [rad].
        limit_violation: ``(N,)`` largest excess of an answer over the joint limits [rad].
        contact: ``(N,)`` bool: some commanded motion would have met a disc.
        clearance: ``(N,)`` smallest clearance at the end of a step [m]; inf without discs.
        claimed: ``(N,)`` bool: every answer was claimed to be solved.
        false_claim: ``(N,)`` bool: some answer was claimed to be solved and was not within the tolerance.
        messages: Row number to error message of the rows that crashed; they hold still from then on.
        seconds: ``(N,)`` median over the steps of the time per answer [s]; NaN if there was none.
    """

    q_path: FloatArray
    errors: FloatArray
    jump: FloatArray
    limit_violation: FloatArray
    contact: npt.NDArray[np.bool_]
    clearance: FloatArray
    claimed: npt.NDArray[np.bool_]
    false_claim: npt.NDArray[np.bool_]
    messages: dict[int, str]
    seconds: FloatArray = field(default_factory=lambda: np.zeros(0))


def describe_failure(error: BaseException) -> str:
    """Type and message of what a policy raised, in one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."


def solve_rows(policy: IKPolicy, target_position: FloatArray, q: FloatArray, scene: Scene) -> Answers:
    """Ask a policy for a batch; where the call fails, halve the batch until the failing rows stand alone.

    A call fails if it raises or if its answer breaks the contract (wrong type or shape, NaN). Arguments are
    copies, so that a policy which writes into them changes only its own.

    Args:
        policy: The policy.
        target_position: ``(N, 2)`` [m].
        q: ``(N, n)`` [rad].
        scene: Batch shape ``(N,)``.
    """
    count = len(q)
    answers = Answers(np.full_like(q, np.nan), np.zeros(count, dtype=bool), {}, np.full(count, np.nan))
    pending = [(0, count)] if count else []
    while pending:
        start, stop = pending.pop()
        rows = slice(start, stop)
        try:
            began = time.perf_counter()
            solution = policy.solve(target_position[rows].copy(), q[rows].copy(), scene[rows])
            elapsed = time.perf_counter() - began
            check_solution(solution, q[rows].shape, type(policy).__name__)
        # Whatever somebody else's code raises, sys.exit included, costs its own rows and nothing more.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            if stop - start == 1:
                answers.messages[start] = describe_failure(error)
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
            continue
        answers.q[rows] = solution.q
        answers.claimed[rows] = solution.solved
        answers.seconds[rows] = elapsed / (stop - start)
    return answers


def _guarded(call: Callable[[], Any]) -> float | None:
    """Seconds that a call took; None if it raised, which the measured calls report row by row."""
    began = time.perf_counter()
    try:
        call()
    except (Exception, SystemExit):  # noqa: BLE001
        return None
    return time.perf_counter() - began


def warm_up(policy: IKPolicy, group: TaskGroup) -> None:
    """One call that is not timed: compiles, loads weights, fills caches."""
    targets = group.targets if group.kind == "ik" else group.targets[:, 1]
    _guarded(lambda: policy.solve(targets[:1].copy(), group.q_start[:1].copy(), group.scene[:1]))
    _guarded(policy.reset)


def rollout_ik(policy: IKPolicy, tasks: TaskGroup, *, latency_calls: int = LATENCY_CALLS) -> IKRollout:
    """Answers to all targets of a group of inverse-kinematics tasks, in one batch.

    Args:
        policy: The policy, warmed up.
        tasks: Targets ``(N, 2)``.
        latency_calls: Number of targets, spread over the batch, that are asked again alone and timed.
    """
    _guarded(policy.reset)
    answers = solve_rows(policy, tasks.targets, tasks.q_start, tasks.scene)
    latency = np.full(len(tasks), np.nan)
    if latency_calls:
        for i in range(0, len(tasks), max(1, len(tasks) // latency_calls)):
            if i not in answers.messages:
                row = slice(i, i + 1)
                arguments = (tasks.targets[row].copy(), tasks.q_start[row].copy(), tasks.scene[row])
                seconds = _guarded(lambda: policy.solve(*arguments))  # noqa: B023
                latency[i] = np.nan if seconds is None else seconds
    return IKRollout(answers, latency)


def scene_at(scene: Scene, moment: float) -> Scene:
    """What a policy is shown: the discs where they are at a time [s]."""
    if scene.obstacles.is_static:
        return scene
    return Scene(scene.arm, scene.obstacles.frozen_at(moment), scene.safety_margin)


def rollout_tracking(policy: IKPolicy, tasks: TaskGroup, *, tolerance: float) -> TrackingRollout:
    """Follow all paths of a group in closed loop.

    At each step the policy is asked for the *next* point of the path from where the arm is; the arm moves as
    in the environments (:func:`planararm.dynamics.advance`): limits clipped, velocity limits kept by one
    factor, stopped just before contact. A path whose policy has crashed is not asked again: its arm holds
    still.

    Args:
        policy: The policy, warmed up.
        tasks: Target paths ``(N, T + 1, 2)``.
        tolerance: Tracking error beyond which a claim to have solved is false [m].
    """
    arm, scene, targets, dt = tasks.scene.arm, tasks.scene, tasks.targets, tasks.dt
    count, steps = len(tasks), targets.shape[1] - 1
    q_path = np.repeat(tasks.q_start[:, None], steps + 1, axis=1)
    jump, excess, lowest = np.zeros(count), np.zeros(count), np.full(count, np.inf)
    contact, claimed, false_claim = np.zeros(count, bool), np.ones(count, bool), np.zeros(count, bool)
    seconds = np.full((steps, count), np.nan)
    messages: dict[int, str] = {}
    _guarded(policy.reset)
    for step in range(steps):
        q = q_path[:, step]
        command = q.copy()
        asked = np.array([i for i in range(count) if i not in messages], dtype=np.int64)
        goal = targets[asked, step + 1]
        answers = solve_rows(policy, goal, q[asked], scene_at(scene, step * dt)[asked])
        messages.update({int(asked[i]): text for i, text in answers.messages.items()})
        good = np.isfinite(answers.q).all(axis=-1)
        rows, answer = asked[good], answers.q[good]
        command[rows] = answer
        seconds[step, rows] = answers.seconds[good]
        jump[rows] = np.maximum(jump[rows], np.abs(answer - q[rows]).max(axis=-1))
        excess[rows] = np.maximum(excess[rows], arm.limit_violation(answer))
        away = tracking_error(arm.end_effector(answer), goal[good]) > tolerance
        false_claim[rows] |= answers.claimed[good] & away
        claimed[asked] &= answers.claimed
        moved = advance(q, command, scene, dt=dt, time=step * dt)
        q_path[:, step + 1] = moved.q
        contact |= moved.collision
        lowest = np.minimum(lowest, moved.clearance)
    errors = tracking_error(arm.end_effector(q_path[:, 1:]), targets[:, 1:])
    claimed[list(messages)] = False
    typical = np.full(count, np.nan)
    timed = np.isfinite(seconds).any(axis=0)
    typical[timed] = np.nanmedian(seconds[:, timed], axis=0)
    return TrackingRollout(q_path, errors, jump, excess, contact, lowest, claimed, false_claim, messages, typical)
