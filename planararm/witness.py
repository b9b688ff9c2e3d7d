"""Witness paths: target paths of which a certified, velocity-feasible motion is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .errors import InvalidInputError, InvalidSceneError
from .scene import Scene
from .scene.generator import draw_key


class WitnessPath(NamedTuple):
    """A motion and the path of its end effector.

    Attributes:
        q_path: ``(*batch, T + 1, n)`` joint angles [rad], one row per control step.
        target_path: ``(*batch, T + 1, 2)`` end-effector positions [m]: the forward kinematics of ``q_path``.
    """

    q_path: np.ndarray
    target_path: np.ndarray


def witness_path(rng: np.random.Generator, scene: Scene, num_steps: int, dt: float = 0.05) -> WitnessPath:
    """Draw a target path that is trackable by construction.

    The motion starts at a random free configuration and swings every joint sinusoidally; every step is certified
    to keep the scene's safety margin (shuttling discs stand where they are at time 0) and stays within 70 % of
    the velocity limits. A policy that starts at ``q_path[0]`` can therefore follow ``target_path`` exactly.

    Args:
        rng: Source of one key per scene.
        scene: One scene, or a batch of them.
        num_steps: Number of control steps T.
        dt: Control step [s].

    Raises:
        InvalidInputError: ``num_steps`` is not a whole number >= 1, or ``dt`` not positive.
        InvalidSceneError: No free start was found in a scene.
    """
    from .kernels.launch import launch, writable
    from .kernels.sampling import draw_witnesses

    if isinstance(num_steps, bool) or not isinstance(num_steps, int | np.integer) or num_steps < 1:
        raise InvalidInputError(f"num_steps must be a whole number >= 1, got {num_steps!r}.")
    if not (np.isfinite(dt) and dt > 0):
        raise InvalidInputError(f"dt must be > 0, got {dt}.")
    arm, discs = scene.arm, scene.obstacles
    batch, m, n = scene.batch_shape, discs.num_obstacles, arm.num_joints
    count = int(np.prod(batch, dtype=int))
    keys = np.array([draw_key(rng) for _ in range(count)], dtype=np.uint64)
    mask = np.array(np.broadcast_to(True if discs.mask is None else discs.mask, (*batch, m))).reshape(count, m)
    paths, found = np.empty((count, num_steps + 1, n)), np.empty(count, dtype=bool)
    centers = np.array(discs.positions(), dtype=np.float64).reshape(count, m, 2)
    radii = np.array(discs.radii, dtype=np.float64).reshape(count, m)
    launch(
        draw_witnesses, count, keys, *writable(arm.joint_limits, arm.joint_velocity_limits), float(dt),
        *writable(arm.link_lengths, arm.base), arm.link_radius, centers, radii, mask, scene.safety_margin, paths, found,
        grain=1,
    )  # fmt: skip
    if not found.all():
        raise InvalidSceneError(
            f"No configuration with clearance >= {scene.safety_margin} m was found in scene {int(np.argmin(found))}."
        )
    q_path = paths.reshape(*batch, num_steps + 1, n)
    return WitnessPath(q_path, arm.end_effector(q_path))
