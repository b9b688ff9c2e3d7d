"""Reset, transition, reward and termination over a batch; the single and the vector environment share it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arm import FloatArray
from .collision import clearance
from .errors import InvalidInputError, InvalidSceneError, UnknownNameError
from .interface import WORKSPACE, EnvInterface
from .inverse import reachability
from .kernels import episode, transition
from .kernels.launch import launch, writable
from .obstacles import Obstacles
from .scene import Scene
from .scene.generator import Dials
from .validate import broadcast_batch, finite_array

ON_COLLISION = {"stop": transition.STOP, "terminate": transition.TERMINATE, "ignore": transition.IGNORE}
REWARDS = ("dense", "sparse")
RESET_OPTIONS = ("q", "target_position", "obstacles")
REACHABLE, UNKNOWN = 1, -1
HEAD_START = 128
"""Environments that one thread steps while another wakes up."""


class Transition(NamedTuple):
    """What one control step did.

    Attributes:
        q: ``(*batch, n)`` where the arm ended [rad].
        velocity: ``(*batch, n)`` mean joint velocity of the step [rad/s].
        collision: ``(*batch,)`` bool: the command would have met a disc, or a disc met the arm.
        clearance: ``(*batch,)`` signed distance where it ended [m]; inf without discs.
        fraction: ``(*batch,)`` executed part of the command, after its scaling to the velocity limits.
    """

    q: FloatArray
    velocity: FloatArray
    collision: npt.NDArray[np.bool_]
    clearance: FloatArray
    fraction: FloatArray


def on_collision_code(on_collision: str) -> int:
    """The kernels' number of a contact rule.

    Raises:
        UnknownNameError: No such rule.
    """
    if on_collision not in ON_COLLISION:
        raise UnknownNameError("on_collision", on_collision, ON_COLLISION)
    return ON_COLLISION[on_collision]


def advance(
    q: Any,
    q_command: Any,
    scene: Scene,
    *,
    dt: float = 0.05,
    time: float = 0.0,
    on_collision: str = "stop",
) -> Transition:
    """One control step, as the environments take it.

    The command is clipped to the joint limits; the step is scaled by one factor for all joints to the velocity
    limits, so that what is executed is a prefix of the straight motion to the command; the motion is certified as a
    whole (:mod:`planararm.kernels.certificate`) and, on contact, stops just before it.

    Args:
        q: ``(*batch, n)`` present configuration [rad].
        q_command: ``(*batch, n)`` commanded configuration [rad].
        scene: The scene, with batch axes or without.
        dt: Control step [s].
        time: Moment of the step's start, for shuttling discs [s].
        on_collision: ``"stop"`` or ``"terminate"``: stop just before contact; ``"ignore"``: pass through.

    Raises:
        InvalidInputError: Wrong shapes, NaN, or a ``dt`` that is not positive.
        UnknownNameError: No such contact rule.
    """
    arm, discs = scene.arm, scene.obstacles
    n, m = arm.num_joints, discs.num_obstacles
    code = on_collision_code(on_collision)
    q, q_command = finite_array("q", q, (n,)), finite_array("q_command", q_command, (n,))
    if not (np.isfinite(dt) and dt > 0):
        raise InvalidInputError(f"dt must be > 0, got {dt!r}.")
    batch = broadcast_batch(q=q.shape[:-1], q_command=q_command.shape[:-1], scene=scene.batch_shape)
    count = math.prod(batch)

    def rows(values: Any, *trailing: int) -> Any:
        return np.array(np.broadcast_to(values, (*batch, *trailing))).reshape(count, *trailing)

    now = discs.positions(time)
    drift = rows(discs.positions(time + dt) - now, m, 2)
    end = rows(q, n)
    fraction, collided, clear = np.empty(count), np.empty(count, dtype=bool), np.empty(count)
    none_skipped = np.zeros(count, dtype=bool)
    scratch = (np.empty((3, m, count)), np.empty((n, m, count)))
    launch(
        transition.advance_batch, count, none_skipped, end, rows(q_command, n), *writable(arm.joint_limits),
        arm.joint_velocity_limits * dt, *writable(arm.link_lengths, arm.base), arm.link_radius, rows(now, m, 2), drift,
        rows(discs.radii, m), rows(True if discs.mask is None else discs.mask, m), code, np.empty((count, n + 1, 2)),
        np.full(count, m), drift.any(axis=(1, 2)), *scratch, fraction, collided, clear,
    )  # fmt: skip
    end = end.reshape(*batch, n)
    return Transition(end, (end - q) / dt, collided.reshape(batch), clear.reshape(batch), fraction.reshape(batch))


def compute_reward(achieved_goal: Any, desired_goal: Any, reward: str, success_tolerance: float) -> Any:
    """The reward as a pure function of the two goals: ``-|a - d|`` (dense), or -1 / 0 (sparse).

    Args:
        achieved_goal: ``(*batch, 2)`` float32 [m].
        desired_goal: ``(*batch, 2)`` float32 [m].
        reward: ``"dense"`` or ``"sparse"``.
        success_tolerance: [m].

    Returns:
        ``(*batch,)`` float64.
    """
    gap = np.asarray(achieved_goal, np.float64) - np.asarray(desired_goal, np.float64)
    distance = np.sqrt(gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1])
    if reward == "dense":
        return -distance
    return np.where(distance <= success_tolerance, 0.0, -1.0)


def check_in_workspace(name: str, points: Any, interface: EnvInterface) -> None:
    """Refuse points that the observation space does not hold.

    Raises:
        InvalidInputError: A point is farther than two reaches from the base, in x or y.
    """
    offset = np.abs(np.asarray(points) - interface.arm.base)
    limit = WORKSPACE * interface.arm.reach
    if offset.size and offset.max() > limit:
        raise InvalidInputError(
            f"{name} must lie within {limit} m of the base in x and y (what observations hold), got {points!r}."
        )


def check_observable(scene: Scene, interface: EnvInterface) -> None:
    """Refuse discs that do not fit into the observation.

    Raises:
        InvalidSceneError: A batch of scenes, or more discs than slots.
        InvalidInputError: A disc centre outside the observed workspace.
    """
    discs = scene.obstacles
    if scene.batch_shape:
        raise InvalidSceneError(f"An environment needs one unbatched scene, got batch shape {scene.batch_shape}.")
    if discs.num_obstacles > interface.max_obstacles:
        raise InvalidSceneError(
            f"{discs.num_obstacles} discs do not fit into max_obstacles={interface.max_obstacles} slots."
        )
    check_in_workspace("Disc centers", discs.centers, interface)
    if discs.shuttle is not None:
        check_in_workspace("Shuttle ends", discs.centers + discs.shuttle[..., :2], interface)


@dataclass(frozen=True)
class Task:
    """What the environments do: everything that stays the same from episode to episode.

    Args:
        interface: Layout of observations, meaning of actions.
        track: False: reach one target; True: follow a path.
        scene: A fixed scene; None: a random one each episode.
        num_obstacles: Fewest and most discs of a random scene.
        dials: Difficulty of a random scene.
        path: ``(T + 1, 2)`` fixed target path [m]; None: a witness path (track) or a random target (reach).
        horizon: Length T of the path, in control steps; 0 for reach.
        reward: ``"dense"`` or ``"sparse"``.
        success_tolerance: [m].
        on_collision: ``"stop"``, ``"terminate"`` or ``"ignore"``.

    Raises:
        UnknownNameError: No such reward or contact rule.
        InvalidSceneError: More discs than slots, or discs outside the observed workspace.
        InvalidInputError: A tolerance that is not positive.
    """

    interface: EnvInterface
    track: bool = False
    scene: Scene | None = None
    num_obstacles: tuple[int, int] = (3, 3)
    dials: Dials = field(default_factory=Dials)
    path: FloatArray | None = None
    horizon: int = 0
    reward: str = "dense"
    success_tolerance: float = 0.01
    on_collision: str = "stop"

    def __post_init__(self) -> None:
        on_collision_code(self.on_collision)
        if self.reward not in REWARDS:
            raise UnknownNameError("reward", self.reward, REWARDS)
        if not (np.isfinite(self.success_tolerance) and self.success_tolerance > 0):
            raise InvalidInputError(f"success_tolerance must be > 0, got {self.success_tolerance}.")
        slots = self.interface.max_obstacles
        if self.scene is not None:
            check_observable(self.scene, self.interface)
        elif self.num_obstacles[1] > slots:
            raise InvalidSceneError(
                f"num_obstacles={self.num_obstacles[1]} does not fit into max_obstacles={slots}; raise max_obstacles."
            )
        if self.path is not None:
            check_in_workspace("path", self.path, self.interface)

    @property
    def safety_margin(self) -> float:
        """Margin that starts, targets and constraint values keep [m]."""
        return self.interface.safety_margin


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
        shuttle = self.shuttle[i, there] if self.moving[i] else None
        discs = Obstacles(self.home[i, there], self.radii[i, there], shuttle)
        return Scene(task.interface.arm, discs.after(float(self.steps[i]) * task.interface.dt), task.safety_margin)


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
        self.reward, self.measures, self.clearance = np.zeros(count), np.zeros((3, count)), np.zeros(count)
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
            state.q, state.joint_velocity, state.joint_positions, state.goals, state.steps, state.discs, state.distances,
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
        for name in options:
            if name not in RESET_OPTIONS:
                raise UnknownNameError("reset option", name, RESET_OPTIONS)
        task, state, arm, given = self.task, self.state, self.task.interface.arm, 0
        discs = options.get("obstacles")
        if discs is not None:
            discs = discs if isinstance(discs, Obstacles) else Obstacles(**discs)
            check_observable(Scene(arm, discs, task.safety_margin), task.interface)
            state.set_obstacles(i, discs)
            given |= episode.GIVEN_OBSTACLES
        elif task.scene is not None:
            state.set_obstacles(i, task.scene.obstacles)
        if options.get("target_position") is not None:
            target = finite_array("target_position", options["target_position"], (2,))
            check_in_workspace("target_position", target, task.interface)
            state.goals[i] = target
            given |= episode.GIVEN_GOALS
        elif task.path is not None:
            state.goals[i] = task.path
        if options.get("q") is not None:
            q = finite_array("q", options["q"], (arm.num_joints,))
            if arm.limit_violation(q) > 0:
                raise InvalidInputError(
                    f"The start q={q.tolist()} is outside the joint limits {arm.joint_limits.tolist()}."
                )
            known = discs if discs is not None else (None if task.scene is None else task.scene.obstacles)
            if known is not None and clearance(q, arm, known) <= 0:
                raise InvalidSceneError(
                    f"The start q={q.tolist()} is in collision: clearance {float(clearance(q, arm, known)):.6g} m."
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
