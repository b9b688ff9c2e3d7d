"""Run a policy on tasks: batched, with every failure confined to the rows that cause it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..dynamics import advance
from ..errors import PolicyTimeout
from ..interface import EnvInterface
from ..metrics import tracking_error
from ..policies.protocol import IKPolicy, check_configuration, check_solution
from ..projection.command_filter import filter_command
from ..scene import Scene
from .tasks import TaskGroup

LATENCY_CALLS = 10
"""Single-target calls per chunk of inverse kinematics, timed for the latency columns."""

MESSAGE_LENGTH = 300

FIRST_CALL = 6
"""How many times longer than others the first call for targets, and for paths, may take in a process of its own: it may
compile."""

PATIENCE = 5
"""Rows of a chunk that may time out one after the other; those behind them are not asked and count as timed out."""

MAX_OBSTACLES = 8
"""Disc slots of the observation on paths, as in the environments by default, unless a scene has more discs."""


@dataclass
class Answers:
    """What a policy answered, one row per task.

    Attributes:
        q: ``(N, n)`` answers [rad]; NaN where there is none.
        claimed: ``(N,)`` bool: the policy said that the target is met.
        nominal_q: ``(N, n)`` what it proposed before a projection [rad]; NaN where it does not say.
        contact: ``(N,)`` int8: whether a policy that answers by moving would have met a disc; -1 if it answers at once.
        messages: Row number to error message of the rows that crashed or timed out.
        timed_out: Row numbers of those that timed out.
        seconds: Time spent in successful calls divided by their rows, per row ``(N,)``; NaN without an answer.
    """

    q: FloatArray
    claimed: npt.NDArray[np.bool_]
    nominal_q: FloatArray
    contact: npt.NDArray[np.int8]
    messages: dict[int, str]
    timed_out: set[int]
    seconds: FloatArray

    @classmethod
    def none(cls, count: int, num_joints: int) -> Answers:
        """No answers yet."""
        nothing = np.full((count, num_joints), np.nan)
        unknown = np.full(count, -1, dtype=np.int8)
        return cls(nothing, np.zeros(count, dtype=bool), nothing.copy(), unknown, {}, set(), np.full(count, np.nan))


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
        jump: ``(N,)`` largest difference of any joint between a command and where the arm was then [rad].
        limit_violation: ``(N,)`` largest excess of a command over the joint limits [rad].
        contacts: ``(N,)`` number of steps whose command would have met a disc.
        avoidable: ``(N,)`` number of those for which a certified command was found (by
            :func:`planararm.projection.command_filter.filter_command`): where discs move there may be none.
        clearance: ``(N,)`` smallest clearance at the end of a step [m]; inf without discs.
        messages: Row number to error message of the rows that crashed or timed out; they hold still from then on.
        timed_out: Row numbers of those that timed out.
        seconds: ``(N,)`` median over the steps of the time per command [s]; NaN if there was none.
    """

    q_path: FloatArray
    errors: FloatArray
    jump: FloatArray
    limit_violation: FloatArray
    contacts: npt.NDArray[np.int64]
    avoidable: npt.NDArray[np.int64]
    clearance: FloatArray
    messages: dict[int, str]
    timed_out: set[int]
    seconds: FloatArray

    @property
    def contact(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` bool: some commanded motion would have met a disc."""
        return self.contacts > 0


def describe_failure(error: BaseException) -> str:
    """Type and message of what a policy raised, in one line of bounded length."""
    try:
        text = " ".join((getattr(error, "described", None) or f"{type(error).__name__}: {error}").split())
    # The text is somebody else's code as well.
    except Exception:  # noqa: BLE001
        text = f"{type(error).__name__}, whose text cannot be shown"
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."


def _timed(policy: IKPolicy, call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returned, and the seconds that the policy took, without the way to a process of its own."""
    began = time.perf_counter()
    returned = call()
    elapsed = time.perf_counter() - began
    own = getattr(policy, "last_elapsed", None)
    return returned, elapsed if own is None else float(own)


def solve_rows(policy: IKPolicy, target_position: FloatArray, q: FloatArray, scene: Scene) -> Answers:
    """Ask a policy for a batch; where the call fails, smaller batches follow until the failing rows stand alone.

    A call fails if it raises or if its answer breaks the contract (wrong type or shape, NaN): the batch is halved.
    If it times out its rows are asked one by one, for which the same time is allowed. Arguments are copies, so that a
    policy which writes into them changes only its own.

    Args:
        policy: The policy.
        target_position: ``(N, 2)`` [m].
        q: ``(N, n)`` [rad].
        scene: Batch shape ``(N,)``.
    """
    count = len(q)
    answers = Answers.none(count, q.shape[-1])
    pending = [(0, count)] if count else []
    in_a_row = 0
    while pending:
        start, stop = pending.pop()
        rows = slice(start, stop)
        if in_a_row >= PATIENCE:
            answers.messages.update(
                dict.fromkeys(range(start, stop), f"not asked: {in_a_row} rows before it timed out")
            )
            answers.timed_out.update(range(start, stop))
            continue
        arguments = (target_position[rows].copy(), q[rows].copy(), scene[rows])
        try:
            solution, seconds = _timed(policy, lambda: policy.solve(*arguments))  # noqa: B023
            check_solution(solution, q[rows].shape, type(policy).__name__)
            nominal = _of_info(solution, "nominal_q", q[rows].shape, "f", np.nan)
            contact = _of_info(solution, "collision", (stop - start,), "b", -1) if policy.episode_steps else -1
        except PolicyTimeout as error:
            if stop - start > 1:
                pending += [(i, i + 1) for i in reversed(range(start, stop))]
                continue
            in_a_row += 1
            answers.messages[start] = describe_failure(error)
            answers.timed_out.add(start)
            continue
        # Whatever somebody else's code raises, sys.exit included, costs its own rows and nothing more.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            if stop - start == 1:
                answers.messages[start] = describe_failure(error)
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
            continue
        in_a_row = 0
        answers.q[rows] = solution.q
        answers.claimed[rows] = solution.solved
        answers.nominal_q[rows], answers.contact[rows] = nominal, contact
        answers.seconds[rows] = seconds / (stop - start)
    return answers


def _of_info(solution: Any, name: str, shape: tuple[int, ...], kind: str, without: float) -> Any:
    """An array of an answer's ``info``; ``without`` if there is none of that shape and kind."""
    array = np.asarray(solution.info.get(name, without))
    return array if array.shape == shape and array.dtype.kind == kind else without


def _guarded(policy: IKPolicy, call: Callable[[], Any]) -> float:
    """Seconds that a call took; NaN if it raised, which the measured calls report row by row."""
    try:
        return _timed(policy, call)[1]
    except (Exception, SystemExit):  # noqa: BLE001
        return float("nan")


def warm_up(policy: IKPolicy, group: TaskGroup, *, first: bool = True) -> None:
    """One call that is not timed: compiles, loads weights, fills caches.

    Args:
        policy: The policy.
        group: Tasks of the kind that will be asked.
        first: Whether it is the policy's first call for tasks of this kind, which may take :data:`FIRST_CALL` times as
            long as the others.
    """
    limit = getattr(policy, "time_limit", None)
    if first and limit is not None:
        policy.time_limit = FIRST_CALL * limit  # type: ignore[attr-defined]
    one = group[0:1]
    if group.kind == "ik":
        _guarded(policy, lambda: policy.solve(one.targets.copy(), one.q_start.copy(), one.scene))
    else:
        follower = _Follower(policy, one)
        _guarded(policy, follower.begin)
        _guarded(policy, lambda: follower.command(one.q_start, np.zeros_like(one.q_start), 0))
    if limit is not None:
        policy.time_limit = limit  # type: ignore[attr-defined]
    _guarded(policy, policy.reset)


def rollout_ik(policy: IKPolicy, tasks: TaskGroup, *, latency_calls: int = LATENCY_CALLS) -> IKRollout:
    """Answers to all targets of a group of inverse-kinematics tasks, in one batch.

    Args:
        policy: The policy, warmed up.
        tasks: Targets ``(N, 2)``.
        latency_calls: Number of targets, spread over the batch, that are asked again alone and timed.
    """
    _guarded(policy, policy.reset)
    answers = solve_rows(policy, tasks.targets, tasks.q_start, tasks.scene)
    latency = np.full(len(tasks), np.nan)
    if latency_calls:
        for i in range(0, len(tasks), max(1, len(tasks) // latency_calls)):
            if i not in answers.messages:
                row = slice(i, i + 1)
                arguments = (tasks.targets[row].copy(), tasks.q_start[row].copy(), tasks.scene[row])
                latency[i] = _guarded(policy, lambda: policy.solve(*arguments))  # noqa: B023
    return IKRollout(answers, latency)


class _PathsFail(Exception):
    """A call for several paths at once failed: they are followed one by one, from their start."""


def layout_of(policy: IKPolicy, tasks: TaskGroup) -> EnvInterface:
    """Observations and actions on a group's paths: those of ``Track-v0``, unless the policy knows one layout only."""
    if policy.fixed_interface is not None:
        return policy.fixed_interface
    scene = tasks.scene
    slots = max(MAX_OBSTACLES, scene.obstacles.num_obstacles)
    return EnvInterface(scene.arm, max_obstacles=slots, dt=tasks.dt, safety_margin=scene.safety_margin)


def rollout_tracking(policy: IKPolicy, tasks: TaskGroup) -> TrackingRollout:
    """Follow all paths of a group in closed loop, as an episode of ``planararm/Track-v0`` does.

    At each control step the policy's ``predict`` is given the environment's observation, the preview of which is the
    *next* point of the path; the arm moves as in the environments (:func:`planararm.dynamics.advance`): limits
    clipped, velocity limits kept by one factor, stopped just before contact. The paths of a group are followed at
    once. If a call fails they are followed one by one; a path whose call fails then is not asked again, and its arm
    holds still.

    Args:
        policy: The policy, warmed up.
        tasks: Target paths ``(N, T + 1, 2)``.
    """
    try:
        return _follow(policy, tasks)
    except _PathsFail:
        parts, in_a_row = [], 0
        for i in range(len(tasks)):
            given_up = f"not asked: {in_a_row} paths before it timed out" if in_a_row >= PATIENCE else None
            parts.append(_follow(policy, tasks[i : i + 1], given_up))
            in_a_row = in_a_row + 1 if parts[-1].timed_out else 0
        return _joined(parts)


def _joined(parts: list[TrackingRollout]) -> TrackingRollout:
    """Rollouts of single paths as one."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("q_path", "errors", "jump", "limit_violation", "contacts", "avoidable", "clearance", "seconds")
    }
    messages = {i: part.messages[0] for i, part in enumerate(parts) if part.messages}
    return TrackingRollout(**arrays, messages=messages, timed_out={i for i, part in enumerate(parts) if part.timed_out})


def _follow(policy: IKPolicy, tasks: TaskGroup, given_up: str | None = None) -> TrackingRollout:
    """Follow paths; ``given_up``: why the policy is not asked.

    Raises:
        _PathsFail: The policy failed, and there is more than one path.
    """
    arm, scene, dt, count = tasks.scene.arm, tasks.scene, tasks.dt, len(tasks)
    steps = tasks.targets.shape[1] - 1
    q_path = np.repeat(tasks.q_start[:, None], steps + 1, axis=1)
    velocity = np.zeros_like(tasks.q_start)
    jump, excess, lowest = np.zeros(count), np.zeros(count), np.full(count, np.inf)
    contacts, avoidable = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    seconds = np.full(steps, np.nan)
    messages, timed_out = ({0: given_up}, {0}) if given_up else ({}, set())
    follower = _Follower(policy, tasks)
    if not messages:
        _guarded(policy, follower.begin)
    for step in range(steps):
        q = q_path[:, step]
        command = q.copy()
        if not messages:
            try:
                command, seconds[step] = follower.command(q, velocity, step)
            except (Exception, SystemExit) as error:
                if count > 1:
                    raise _PathsFail from error
                messages[0] = describe_failure(error)
                if isinstance(error, PolicyTimeout):
                    timed_out.add(0)
        jump = np.maximum(jump, np.abs(command - q).max(axis=-1))
        excess = np.maximum(excess, follower.excess(command))
        moved = advance(q, command, scene, dt=dt, time=step * dt)
        q_path[:, step + 1], velocity = moved.q, moved.velocity
        contacts += moved.collision
        avoidable += _avoidable(q, command, moved.collision, tasks, step * dt)
        lowest = np.minimum(lowest, moved.clearance)
    errors = tracking_error(arm.end_effector(q_path[:, 1:]), tasks.targets[:, 1:])
    typical = np.nanmedian(seconds) / count if np.isfinite(seconds).any() else np.nan
    return TrackingRollout(
        q_path, errors, jump, excess, contacts, avoidable, lowest, messages, timed_out, np.full(count, typical)
    )


def _avoidable(
    q: FloatArray, command: FloatArray, contact: npt.NDArray[np.bool_], tasks: TaskGroup, time: float
) -> npt.NDArray[np.bool_]:
    """Which of the contacts a certified command would have avoided: ``(N,)`` bool."""
    found = np.zeros(len(q), dtype=bool)
    rows = np.flatnonzero(contact)
    if rows.size:
        scene = tasks.scene[rows]
        safe, _ = filter_command(q[rows], command[rows], scene, duration=tasks.dt, time=time)
        found[rows] = ~advance(q[rows], safe, scene, dt=tasks.dt, time=time).collision
    return found


class _Follower:
    """A policy as the environment would ask it along the paths of some tasks."""

    def __init__(self, policy: IKPolicy, tasks: TaskGroup) -> None:
        self._policy, self._tasks, self._layout = policy, tasks, layout_of(policy, tasks)
        self._state: Any = None

    def begin(self) -> None:
        """Begin an episode; a failure shows at the first command."""
        if self._policy.fixed_interface is None:
            self._policy.bind(self._layout)
        self._policy.reset()

    def command(self, q: FloatArray, velocity: FloatArray, step: int) -> tuple[FloatArray, float]:
        """The commanded configurations [rad], and the seconds that the policy took.

        Raises:
            PolicyError: The action is no action.
            Exception: Whatever the policy raises.
        """
        layout, tasks = self._layout, self._tasks
        last = tasks.targets.shape[1] - 1
        coming = np.minimum(np.arange(step + 1, step + 1 + layout.num_preview), last)
        observation = layout.pack(
            q,
            tasks.targets[:, coming],
            tasks.scene,
            joint_velocity=velocity,
            desired_goal=tasks.targets[:, step],
            time=step * tasks.dt,
        )
        first = np.full(len(q), step == 0)
        (action, self._state), seconds = _timed(
            self._policy,
            lambda: self._policy.predict(observation, state=self._state, episode_start=first, deterministic=True),
        )
        checked = check_configuration(action, q.shape, f"{type(self._policy).__name__}.predict")
        # What the environment executes is the action in float32.
        return layout.decode_action(q, checked.astype(np.float32)), seconds

    def excess(self, command: FloatArray) -> FloatArray:
        """By how much commands leave the joint limits [rad], rounding to float32 not counted."""
        arm = self._layout.arm
        rounding = np.spacing(np.abs(arm.joint_limits).astype(np.float32)).max()
        beyond = arm.limit_violation(command)
        return np.asarray(np.where(beyond <= rounding, 0.0, beyond))
