"""A batch of episodes: their state, and the compiled reset and step over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collision import clearance
from ..errors import InvalidInputError, InvalidSceneError, UnknownNameError
from ..inverse import reachability
from ..kernels import episode
from ..kernels.launch import launch, writable
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import exact_array
from .advance import on_collision_code
from .task import Task, check_in_workspace, check_observable

RESET_OPTIONS = ("q", "target_position", "obstacles")
REACHABLE, UNKNOWN = 1, -1
LEAST_CLEARANCE = 1e-9
"""Of a start that is given [m]: nearer, rounding decides what touches."""

HEAD_START = 128
"""Environments that one thread steps while another wakes up."""


def _read_obstacles(discs: Any) -> Obstacles:
    if isinstance(discs, Obstacles):
        return discs.compact()
    known = [field.name for field in fields(Obstacles)]
    if not isinstance(discs, Mapping) or not {"centers", "radii"} <= set(discs):
        raise InvalidSceneError(f"obstacles must be Obstacles, or a mapping with centers and radii, got {discs!r}.")
    for name in discs:
        if name not in known:
            raise UnknownNameError("obstacle argument", name, known)
    return Obstacles(**discs).compact()


class State:
    """Float64 state of a batch of episodes; leading axis: element.

    Attributes:
        q: ``(N, n)`` [rad].
        joint_velocity: ``(N, n)`` [rad/s].
        joint_positions: ``(N, n + 1, 2)`` [m].
        home: ``(N, M, 2)`` disc centres at phase 0 [m]; with ``shuttle``, ``radii`` and ``present`` the obstacles.
        centers: ``(N, M, 2)`` disc centres now [m].
        drift: ``(N, M, 2)`` their displacement during the coming step [m].
        goals: ``(N, T + 1, 2)`` target at each step; the last one is held [m].
        steps: ``(N,)`` control steps since the reset.
    """

    def __init__(self, count: int, task: Task) -> None:
        n, m = task.interface.arm.num_joints, task.interface.max_obstacles
        self.q, self.joint_velocity = np.zeros((count, n)), np.zeros((count, n))
        self.joint_positions = np.zeros((count, n + 1, 2))
        self.home, self.centers, self.drift = (np.zeros((count, m, 2)) for _ in range(3))
        self.shuttle, self.radii = np.zeros((count, m, 4)), np.ones((count, m))
        self.present, self.moving = np.zeros((count, m), dtype=bool), np.zeros(count, dtype=bool)
        self.extent = np.zeros(count, dtype=np.int64)
        self.goals, self.steps = np.zeros((count, task.horizon + 1, 2)), np.zeros(count, dtype=np.int64)
        # The batch is the last axis here: see planararm.kernels.transition.
        self.discs, self.distances = np.zeros((3, m, count)), np.zeros((n, m, count))

    def set_obstacles(self, i: int | slice, obstacles: Obstacles) -> None:
        """Put unbatched discs into the slots of element(s) ``i``; the other slots are empty."""
        m = obstacles.num_obstacles
        self.present[i] = False
        self.shuttle[i] = 0.0
        self.radii[i] = 1.0
        self.home[i, :m], self.radii[i, :m] = obstacles.centers, obstacles.radii
        self.present[i, :m] = True if obstacles.mask is None else obstacles.mask
        if obstacles.shuttle is not None:
            self.shuttle[i, :m] = obstacles.shuttle

    def scene(self, i: int, task: Task) -> Scene:
        """The scene of element ``i`` as it is now; shuttling discs go on from where they are."""
        there = self.present[i]
        shuttle = self.shuttle[i, there]
        discs = Obstacles(self.home[i, there], self.radii[i, there], shuttle if shuttle.any() else None)
        return Scene(task.interface.arm, discs.after(float(self.steps[i]) * task.interface.dt), task.safety_margin)

    def scenes(self, task: Task) -> Scene:
        """The scenes of all elements as they are now, ``(N,)`` of them, with the slots of the observations."""
        shuttle = self.shuttle if self.shuttle.any() else None
        discs = Obstacles(self.home, self.radii, shuttle, self.present)
        return Scene(task.interface.arm, discs.after(self.steps * task.interface.dt), task.safety_margin)


class Dynamics:
    """A batch of episodes of one task: state, and the latest observation, reward and measures.

    Args:
        task: What the episodes have in common.
        count: Number of elements N.
    """

    def __init__(self, task: Task, count: int) -> None:
        self.task, self.count = task, count
        self.state = State(count, task)
        n = task.interface.arm.num_joints
        self.observation = np.zeros((count, task.interface.observation_size), dtype=np.float32)
        self.achieved_goal, self.desired_goal = (np.zeros((count, 2), dtype=np.float32) for _ in range(2))
        self.reward, self.clearance, self.measures = np.zeros(count), np.zeros(count), np.zeros((3, count))
        self.success, self.collided, self.terminated = (np.zeros(count, dtype=bool) for _ in range(3))
        self.constraints = np.zeros((count, 1 + 2 * n))
        self.reachable = np.full(count, UNKNOWN, dtype=np.int8)
        self._none_skipped = np.zeros(count, dtype=bool)
        self._given = 0
        if task.scene is not None:
            self.state.set_obstacles(slice(None), task.scene.obstacles)
            self._given |= episode.GIVEN_OBSTACLES
        if task.path is not None:
            self.state.goals[:] = task.path
            self._given |= episode.GIVEN_GOALS
        arm, interface, dials, state = task.interface.arm, task.interface, task.dials, self.state
        common = (*writable(arm.link_lengths, arm.base), arm.link_radius, task.safety_margin, interface.dt)
        judge = (task.success_tolerance, task.reward == "sparse", interface.num_preview)
        discs = (
            state.home, state.shuttle, state.radii, state.present, state.centers, state.drift, state.moving,
            state.extent,
        )  # fmt: skip
        motion = (
            state.q, state.joint_velocity, state.joint_positions, state.goals, state.steps, state.discs,
            state.distances,
        )  # fmt: skip
        outcome = (
            self.observation, self.achieved_goal, self.desired_goal, self.reward, self.measures, self.success,
            self.constraints, self.clearance, self.collided, self.terminated,
        )  # fmt: skip
        self._reset_arguments = (
            self._none_skipped, *task.num_obstacles, *dials.kernel_arguments(arm.reach), task.track, arm.reach,
            *writable(arm.joint_limits, arm.joint_velocity_limits), *common, *judge, *discs, *motion, *outcome,
        )  # fmt: skip
        self._step_arguments = (
            np.zeros((count, n)), np.zeros(count), interface.control_mode == "delta",
            *writable(arm.joint_limits, interface.max_step), *common, on_collision_code(task.on_collision), *judge,
            *discs, *motion, *outcome,
        )  # fmt: skip

    def prepare(self, i: int, options: Mapping[str, Any] | None) -> int:
        """Put what a user chose for the next episode of element ``i`` into the state.

        Args:
            i: The element.
            options: ``q``: start ``(n,)`` [rad]; ``target_position``: ``(2,)`` [m]; ``obstacles``: Obstacles, or the
                mapping of its arguments.

        Returns:
            Bits for :meth:`reset`.

        Raises:
            UnknownNameError: No such option.
            InvalidInputError: Wrong shape, NaN, outside the limits or the workspace.
            InvalidSceneError: Discs that do not fit, or a start in collision.
        """
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise InvalidInputError(f"reset options must be a mapping of {', '.join(RESET_OPTIONS)}, got {options!r}.")
        for name in options:
            if name not in RESET_OPTIONS:
                raise UnknownNameError("reset option", name, RESET_OPTIONS)
        task, state, arm, given = self.task, self.state, self.task.interface.arm, 0
        discs = options.get("obstacles")
        if discs is not None:
            discs = _read_obstacles(discs)
            check_observable(Scene(arm, discs, task.safety_margin), task.interface)
            state.set_obstacles(i, discs)
            given |= episode.GIVEN_OBSTACLES
        elif task.scene is not None:
            state.set_obstacles(i, task.scene.obstacles)
        if options.get("target_position") is not None:
            target = exact_array("target_position", options["target_position"], (2,))
            check_in_workspace("target_position", target, task.interface)
            state.goals[i] = target
            given |= episode.GIVEN_GOALS
        elif task.path is not None:
            state.goals[i] = task.path
        if options.get("q") is not None:
            q = exact_array("q", options["q"], (arm.num_joints,))
            if arm.limit_violation(q) > 0:
                raise InvalidInputError(
                    f"The start q={q.tolist()} is outside the joint limits {arm.joint_limits.tolist()}."
                )
            known = discs if discs is not None else (None if task.scene is None else task.scene.obstacles)
            if known is not None and clearance(q, arm, known) < LEAST_CLEARANCE:
                raise InvalidSceneError(
                    f"The start q={q.tolist()} is in collision: its clearance {float(clearance(q, arm, known)):.6g} m "
                    f"must be at least {LEAST_CLEARANCE} m."
                )
            state.q[i] = q
            given |= episode.GIVEN_Q
        return given

    def judge_given_target(self, i: int) -> None:
        """Set ``reachable`` of element ``i`` from the ground truth, for a target that the user gave."""
        scene = self.state.scene(i, self.task)
        self.reachable[i] = reachability(self.state.goals[i, 0], scene).verdict

    def reset(self, elements: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], given: int = 0) -> None:
        """Start new episodes.

        Args:
            elements: Indices of the elements to reset.
            keys: One 64-bit key per element; all that is random is a pure function of it.
            given: What the caller has put into the state already: bits of :mod:`planararm.kernels.episode`.

        Raises:
            InvalidSceneError: No free start was found.
        """
        given |= self._given
        failed = np.zeros(len(elements), dtype=bool)
        launch(episode.reset_batch, len(elements), elements, keys, given, *self._reset_arguments, failed, grain=8)
        drawn = given & episode.GIVEN_GOALS == 0
        self.reachable[elements] = REACHABLE if drawn else UNKNOWN
        if failed.any():
            raise InvalidSceneError(
                f"No configuration with clearance >= {self.task.safety_margin} m was found; "
                "the discs (or their dials) leave the arm no room."
            )

    def step(self, action: npt.NDArray[np.float32], skip: npt.NDArray[np.bool_] | None = None) -> None:
        """Advance every element by one control step, except those to ``skip``.

        Args:
            action: ``(N, n)`` float32, finite.
            skip: ``(N,)``; None: none.
        """
        skipped = self._none_skipped if skip is None else skip
        launch(episode.step_batch, self.count, action, skipped, *self._step_arguments, head_start=HEAD_START)
