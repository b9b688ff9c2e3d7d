"""Paths in closed loop: a policy is asked at every control step as the environment would ask it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..dynamics import advance
from ..errors import PolicyTimeout
from ..interface import EnvInterface
from ..metrics import tracking_error
from ..policies.protocol import IKPolicy, check_configuration
from ..projection.command_filter import filter_command
from .calls import PATIENCE, describe_failure, guarded, timed
from .tasks import TaskGroup

MAX_OBSTACLES = 8
"""Disc slots of the observation on paths, as in the environments by default, unless a scene has more discs."""


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
    follower = Follower(policy, tasks)
    if not messages:
        guarded(policy, follower.begin)
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


class Follower:
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
        (action, self._state), seconds = timed(
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
