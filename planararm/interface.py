"""What crosses the border between environment and policy: observations and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from .arm import WORKSPACE, FloatArray, PlanarArm
from .errors import InvalidInputError, UnknownNameError
from .obstacles import Obstacles
from .scene import DEFAULT_SAFETY_MARGIN, Scene

CONTROL_MODES = ("position", "delta")


def is_number(value: Any) -> bool:
    """Whether a keyword argument is a real number (True and False are none)."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


class Observed(NamedTuple):
    """An observation, unpacked to float64.

    Attributes:
        q: ``(*batch, n)`` [rad].
        joint_velocity: ``(*batch, n)`` [rad/s].
        preview: ``(*batch, P, 2)`` coming targets [m]; ``preview[..., 0, :]`` is the one the next step is scored on.
        scene: The arm among the discs that were observed; a moving disc is a shuttle that is exact for one step.
    """

    q: FloatArray
    joint_velocity: FloatArray
    preview: FloatArray
    scene: Scene


@dataclass(frozen=True)
class EnvInterface:
    """Layout of the observation vector and meaning of the action.

    The ``observation`` vector holds, in this order: q (n), joint velocity (n), preview (P x 2), disc centres
    (M x 2), disc radii (M), disc velocities (M x 2), disc mask (M; 1 present, 0 empty slot, whose other entries
    are 0).

    Args:
        arm: The arm.
        max_obstacles: Disc slots M.
        num_preview: Coming targets P.
        control_mode: ``"position"``: the action is the joint command [rad]; ``"delta"``: a change of each joint in
            [-1, 1] times velocity limit times dt.
        dt: Control step [s].
        safety_margin: Of the scenes that :meth:`unpack` returns [m].

    Raises:
        InvalidInputError: A number is out of range.
        UnknownNameError: No such control mode.
    """

    arm: PlanarArm
    max_obstacles: int = 8
    num_preview: int = 1
    control_mode: str = "position"
    dt: float = 0.05
    safety_margin: float = DEFAULT_SAFETY_MARGIN

    def __post_init__(self) -> None:
        for name, least in (("max_obstacles", 0), ("num_preview", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= 1000:
                raise InvalidInputError(f"{name} must be a whole number in [{least}, 1000], got {value!r}.")
        if self.control_mode not in CONTROL_MODES:
            raise UnknownNameError("control_mode", self.control_mode, CONTROL_MODES)
        if not is_number(self.dt) or not 0 < self.dt < 1e3:
            raise InvalidInputError(f"dt must be a number of seconds > 0, got {self.dt!r}.")
        if not is_number(self.safety_margin) or not 0 <= self.safety_margin < np.inf:
            raise InvalidInputError(f"safety_margin must be a finite number >= 0, got {self.safety_margin!r}.")
        # Whole numbers too become floats: kernels would be compiled anew for them.
        object.__setattr__(self, "dt", float(self.dt))
        object.__setattr__(self, "safety_margin", float(self.safety_margin))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each block of the observation vector starts, and its end: 8 numbers for the 7 blocks."""
        n, p, m = self.arm.num_joints, self.num_preview, self.max_obstacles
        edges = np.cumsum([0, n, n, 2 * p, 2 * m, m, 2 * m, m])
        return tuple(int(edge) for edge in edges)

    @property
    def observation_size(self) -> int:
        """Length of the observation vector."""
        return self.offsets[-1]

    @cached_property
    def max_step(self) -> FloatArray:
        """Largest change of each joint in one control step [rad]: velocity limit times dt."""
        return self.arm.joint_velocity_limits * self.dt

    @cached_property
    def observation_space(self) -> spaces.Dict:
        """Flat Dict with the goal keys; every Box is finite and float32."""
        arm, reach = self.arm, self.arm.reach
        box_low, box_high = arm.base - WORKSPACE * reach, arm.base + WORKSPACE * reach
        p, m = self.num_preview, self.max_obstacles
        far = np.maximum(np.abs(box_low), np.abs(box_high))
        speed = np.full(2 * m, 2 * WORKSPACE * reach / self.dt)
        # A disc in the workspace's corner that does not cover the base.
        radius = np.full(m, np.sqrt(2) * WORKSPACE * reach)
        low = [
            arm.joint_limits[:, 0], -arm.joint_velocity_limits, np.tile(box_low, p),
            np.tile(-far, m), np.zeros(m), -speed, np.zeros(m),
        ]  # fmt: skip
        high = [
            arm.joint_limits[:, 1], arm.joint_velocity_limits, np.tile(box_high, p),
            np.tile(far, m), radius, speed, np.ones(m),
        ]  # fmt: skip
        # One float32 step outwards: rounding to float32 must not put a joint at its limit outside the space.
        lowest = np.nextafter(np.concatenate(low).astype(np.float32), np.float32(-np.inf))
        highest = np.nextafter(np.concatenate(high).astype(np.float32), np.float32(np.inf))
        goal = spaces.Box(box_low.astype(np.float32), box_high.astype(np.float32), dtype=np.float32)
        return spaces.Dict(
            {"observation": spaces.Box(lowest, highest, dtype=np.float32), "achieved_goal": goal, "desired_goal": goal}
        )

    @cached_property
    def action_space(self) -> spaces.Box:
        """Joint limits [rad] in position control, [-1, 1] in delta control; float32."""
        if self.control_mode == "delta":
            return spaces.Box(-1.0, 1.0, (self.arm.num_joints,), np.float32)
        low, high = self.arm.joint_limits.T.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    def unpack(self, observation: Mapping[str, Any]) -> Observed:
        """Take an observation apart.

        Args:
            observation: The environment's Dict observation, single or batched over leading axes.

        Raises:
            InvalidInputError: No such key, or a vector of another length.
        """
        if not isinstance(observation, Mapping) or "observation" not in observation:
            raise InvalidInputError(
                "The observation must be the environment's Dict with the key 'observation', "
                f"got {type(observation).__name__}; flattened observations cannot be unpacked."
            )
        vector = np.asarray(observation["observation"], dtype=np.float64)
        if vector.ndim < 1 or vector.shape[-1] != self.observation_size:
            raise InvalidInputError(
                f"The observation vector must have length {self.observation_size}, got shape {vector.shape}."
            )
        batch, m = vector.shape[:-1], self.max_obstacles
        q, velocity, preview, centers, radii, drift, mask = (
            vector[..., a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        )
        present = mask > 0.5
        centers = np.where(present[..., None], centers.reshape(*batch, m, 2), self.arm.base + 10.0 * self.arm.reach)
        drift = drift.reshape(*batch, m, 2)
        shuttle = None
        if drift.any():
            speed = np.linalg.norm(drift, axis=-1, keepdims=True)
            shuttle = np.concatenate([drift * self.dt, speed, np.zeros_like(speed)], axis=-1)
        obstacles = Obstacles(centers, np.where(present, radii, 1.0), shuttle, present)
        scene = Scene(self.arm, obstacles, self.safety_margin)
        return Observed(q, velocity, preview.reshape(*batch, self.num_preview, 2), scene)

    def encode_action(self, q: Any, q_command: Any) -> npt.NDArray[np.float32]:
        """The action that commands ``q_command`` at ``q``.

        In delta control a command beyond one step's reach is scaled by one factor for all joints, so that the arm
        moves straight towards it.

        Args:
            q: ``(*batch, n)`` [rad].
            q_command: ``(*batch, n)`` [rad].

        Returns:
            ``(*batch, n)`` float32.
        """
        q, q_command = np.asarray(q, dtype=np.float64), np.asarray(q_command, dtype=np.float64)
        if self.control_mode == "position":
            space = self.action_space
            return np.clip(q_command.astype(np.float32), space.low, space.high)
        steps = (q_command - q) / self.max_step
        worst = np.abs(steps).max(axis=-1, keepdims=True)
        return (steps / np.maximum(worst, 1.0)).astype(np.float32)

    def decode_action(self, q: Any, action: Any) -> FloatArray:
        """The joint command [rad] that an action means at ``q``, before limits are applied.

        Args:
            q: ``(*batch, n)`` [rad].
            action: ``(*batch, n)``; in delta control it is clipped to [-1, 1].

        Returns:
            ``(*batch, n)`` [rad].
        """
        action = np.asarray(action, dtype=np.float64)
        if self.control_mode == "position":
            return action
        return np.asarray(q, dtype=np.float64) + np.clip(action, -1.0, 1.0) * self.max_step

    def pack(
        self,
        q: Any,
        preview: Any,
        scene: Scene,
        *,
        joint_velocity: Any = None,
        desired_goal: Any = None,
        time: float | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The observation that an environment gives; undone by :meth:`unpack`.

        Args:
            q: ``(*batch, n)`` [rad].
            preview: ``(*batch, P, 2)`` coming targets [m].
            scene: Of batch shape ``()`` or ``(*batch,)``.
            joint_velocity: ``(*batch, n)`` [rad/s]; default: at rest.
            desired_goal: ``(*batch, 2)`` the present target [m]; default: the first that comes.
            time: Moment [s] at which shuttling discs are shown, with the velocity that they have during the coming
                step; None: where they are at time 0, at rest.

        Raises:
            InvalidInputError: More discs than there are slots, or another number of coming targets.
        """
        q, preview = np.asarray(q, dtype=np.float64), np.asarray(preview, dtype=np.float64)
        batch, slots, m = q.shape[:-1], self.max_obstacles, scene.obstacles.num_obstacles
        if m > slots:
            raise InvalidInputError(f"The observation has room for {slots} discs, the scene has {m}.")
        if preview.shape != (*batch, self.num_preview, 2):
            raise InvalidInputError(f"preview must have shape {(*batch, self.num_preview, 2)}, got {preview.shape}.")
        discs = scene.obstacles
        here = np.asarray(discs.positions(0.0 if time is None else time))
        moved = here if time is None else np.asarray(discs.positions(time + self.dt))
        present = np.zeros((*batch, slots), dtype=bool)
        present[..., :m] = True if discs.mask is None else discs.mask
        centers, drift, radii = np.zeros((*batch, slots, 2)), np.zeros((*batch, slots, 2)), np.zeros((*batch, slots))
        centers[..., :m, :], drift[..., :m, :], radii[..., :m] = here, (moved - here) / self.dt, discs.radii
        blocks = [
            q,
            np.zeros_like(q) if joint_velocity is None else np.asarray(joint_velocity, dtype=np.float64),
            preview.reshape(*batch, 2 * self.num_preview),
            np.where(present[..., None], centers, 0.0).reshape(*batch, 2 * slots),
            np.where(present, radii, 0.0),
            np.where(present[..., None], drift, 0.0).reshape(*batch, 2 * slots),
            present,
        ]
        goal = preview[..., 0, :] if desired_goal is None else np.asarray(desired_goal, dtype=np.float64)
        return {
            "observation": np.concatenate(blocks, axis=-1).astype(np.float32),
            "achieved_goal": np.asarray(self.arm.end_effector(q)).astype(np.float32),
            "desired_goal": goal.astype(np.float32),
        }
