"""The batch that a policy solves: checked, broadcast and flattened to rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arm import FloatArray, PlanarArm
from ..errors import InvalidInputError
from ..kinematics import wrap_angle
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import broadcast_batch, finite_array
from .protocol import IKSolution, Reason

AIM_PASSES = 8
AIM_ROOM = 1e-6
"""How far inside what is allowed an aim lies, fraction of the reach."""


class Measured(NamedTuple):
    """K configurations per target, measured.

    Attributes:
        error: ``(N, K)`` distance of the end effector to the target [m].
        clearance: ``(N, K)`` smallest signed distance to the discs [m]; inf without discs.
        travel: ``(N, K)`` largest change of a joint from where the arm is [rad].
    """

    error: FloatArray
    clearance: FloatArray
    travel: FloatArray


@dataclass(frozen=True)
class Problem:
    """A batch of N targets, all leading axes in one.

    Args:
        target_position: ``(N, 2)`` [m].
        q: ``(N, n)`` where the arm is, clipped to the joint limits [rad].
        target_orientation: ``(N,)`` [rad] or None.
        arm: The arm.
        obstacles: Discs with batch shape ``(N,)`` or ``()``.
        safety_margin: [m].
        batch: The leading axes of the answer.
    """

    target_position: FloatArray
    q: FloatArray
    target_orientation: FloatArray | None
    arm: PlanarArm
    obstacles: Obstacles
    safety_margin: float
    batch: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        """Number of targets N."""
        return int(self.target_position.shape[0])

    def scene(self) -> Scene:
        """The rows' scene, of batch shape ``(N,)`` or ``()``."""
        return Scene(self.arm, self.obstacles, self.safety_margin)

    def take(self, rows: Any) -> Problem:
        """The problem of some rows only.

        Args:
            rows: Indices or a mask of the N rows.
        """
        orientation = self.target_orientation
        target = self.target_position[rows]
        return Problem(
            target,
            self.q[rows],
            None if orientation is None else orientation[rows],
            self.arm,
            self.obstacles[rows] if self.obstacles.batch_shape else self.obstacles,
            self.safety_margin,
            (target.shape[0],),
        )

    @cached_property
    def chain(self) -> tuple[Any, ...]:
        """What kernels need to know of the arm and the discs: lengths, base, link radius, centres, radii, mask.

        Discs that all rows share stand there once.
        """
        from ..kernels.launch import writable

        discs, m = self.obstacles, self.obstacles.num_obstacles
        count = self.num_rows if discs.batch_shape else 1
        mask = True if discs.mask is None else discs.mask
        return (
            *writable(self.arm.link_lengths, self.arm.base),
            self.arm.link_radius,
            np.array(np.broadcast_to(discs.positions(), (count, m, 2))),
            np.array(np.broadcast_to(discs.radii, (count, m))),
            np.array(np.broadcast_to(mask, (count, m))),
        )

    def measure(self, q: FloatArray) -> Measured:
        """Measure configurations, several per target.

        Args:
            q: ``(N, K, n)`` [rad].
        """
        from ..kernels.launch import launch
        from ..kernels.measure import measure_configurations

        count, num = q.shape[:2]
        measured = Measured(np.empty((count, num)), np.empty((count, num)), np.empty((count, num)))
        launch(
            measure_configurations, count, np.array(q, dtype=np.float64, order="C"), np.array(self.q),
            np.array(self.target_position), *self.chain, *measured, grain=64,
        )  # fmt: skip
        return measured

    def error(self, q: FloatArray) -> FloatArray:
        """Distance of the end effector from the target [m]: ``(N,)``."""
        return self.measure(q[:, None]).error[:, 0]

    def is_free(self, q: FloatArray) -> np.ndarray:
        """Whether the arm keeps the safety margin from all discs: ``(N,)`` bool."""
        return np.asarray(self.measure(q[:, None]).clearance[:, 0] >= self.safety_margin)

    def is_outside(self, tolerance: float) -> np.ndarray:
        """Whether the target is more than ``tolerance`` [m] outside the annulus of the links: ``(N,)``."""
        away = self.target_position - self.arm.base
        distance = np.hypot(away[:, 0], away[:, 1])
        return (distance > self.arm.reach + tolerance) | (distance < self.arm.inner_reach - tolerance)

    @cached_property
    def aim(self) -> FloatArray:
        """The nearest point to each target where the tip of the arm has room: ``(N, 2)`` [m].

        The target itself wherever the tip could be there. Targets beyond the annulus of the links move to its
        boundary, those that a disc covers to the disc's edge, radially; where discs overlap, disc after disc, until
        there is room or no pass is left.
        """
        arm, aim = self.arm, self.target_position.copy()
        rows = np.arange(self.num_rows)
        for _ in range(AIM_PASSES):
            away = aim[rows] - arm.base
            distance = np.hypot(away[:, 0], away[:, 1])
            wanted = np.clip(distance, arm.inner_reach + AIM_ROOM * arm.reach, (1 - AIM_ROOM) * arm.reach)
            beyond = (distance > arm.reach) | (distance < arm.inner_reach)
            # From the very base every way out is as long: along x.
            centred = distance == 0
            away[centred], distance[centred] = [1.0, 0.0], 1.0
            aim[rows[beyond]] = arm.base + away[beyond] * (wanted / np.maximum(distance, AIM_ROOM))[beyond, None]
            moved = self._uncover(aim, rows) | beyond
            rows = rows[moved]
            if rows.size == 0:
                break
        return aim

    def _uncover(self, aim: FloatArray, rows: np.ndarray) -> np.ndarray:
        """Move each aim out of the disc that covers it most; which of ``rows`` have moved."""
        discs = self.obstacles
        if discs.num_obstacles == 0 or rows.size == 0:
            return np.zeros(rows.size, dtype=bool)
        chosen = discs[rows] if discs.batch_shape else discs
        centers = np.broadcast_to(chosen.positions(), (rows.size, discs.num_obstacles, 2))
        keep = np.asarray(chosen.radii) + self.arm.link_radius + self.safety_margin
        away = aim[rows, None] - centers
        distance = np.hypot(away[..., 0], away[..., 1])
        depth = keep - distance
        if chosen.mask is not None:
            depth = np.where(chosen.mask, depth, -np.inf)
        worst = depth.argmax(axis=-1)
        here = np.arange(rows.size)
        covered = depth[here, worst] > 0
        distance, away = distance[here, worst][:, None], away[here, worst]
        # From a disc's very centre every way out is as long: along x.
        outward = np.where(distance > 0, away / np.where(distance > 0, distance, 1.0), np.array([1.0, 0.0]))
        edge = np.broadcast_to(keep, (rows.size, discs.num_obstacles))[here, worst] + AIM_ROOM * self.arm.reach
        aim[rows[covered]] = (centers[here, worst] + outward * edge[:, None])[covered]
        return np.asarray(covered)

    def reasons(self, q: FloatArray, tolerance: float) -> np.ndarray:
        """What can be said of answers by looking at them: ``(N,)`` int8 of :class:`Reason`.

        Args:
            q: ``(N, n)`` [rad].
            tolerance: Largest distance from the target [m]; an orientation must agree to ``tolerance /
                reach`` [rad].
        """
        measured = self.measure(q[:, None])
        met = measured.error[:, 0] <= tolerance
        if self.target_orientation is not None:
            turn = np.abs(wrap_angle(q.sum(axis=-1) - self.target_orientation))
            met &= turn <= tolerance / self.arm.reach
        met &= self.arm.limit_violation(q) <= 0.0
        free = measured.clearance[:, 0] >= self.safety_margin
        missed = np.where(self.is_outside(tolerance), Reason.OUT_OF_REACH, Reason.NOT_CONVERGED)
        reason = np.where(met, np.where(free, Reason.SOLVED, Reason.BLOCKED), missed)
        return reason.astype(np.int8)

    def solution(self, q: FloatArray, reason: np.ndarray, info: Mapping[str, np.ndarray] | None = None) -> IKSolution:
        """The answer in the caller's batch shape."""
        reason = np.asarray(reason, dtype=np.int8).reshape(self.batch)
        return IKSolution(
            np.array(q, dtype=np.float64).reshape(*self.batch, self.arm.num_joints),
            reason == Reason.SOLVED,
            reason,
            {name: np.reshape(values, (*self.batch, *np.shape(values)[1:])) for name, values in (info or {}).items()},
        )


def make_problem(
    target_position: Any,
    q: Any,
    scene: Scene,
    target_orientation: Any = None,
    *,
    orientation: str | None = None,
) -> Problem:
    """Check the arguments of :meth:`IKPolicy.solve` and bring them to rows.

    Args:
        target_position: ``(*batch, 2)`` [m].
        q: ``(*batch, n)`` [rad].
        scene: The arm among discs.
        target_orientation: ``(*batch,)`` [rad] or None.
        orientation: Why the policy does not handle orientations; None if it does.

    Raises:
        InvalidInputError: Wrong shapes, NaN, no scene, or an orientation that the policy does not handle.
    """
    if not isinstance(scene, Scene):
        raise InvalidInputError(f"scene must be a Scene, got {type(scene).__name__}.")
    if target_orientation is not None and orientation is not None:
        raise InvalidInputError(f"target_orientation must be None: {orientation}")
    arm, n = scene.arm, scene.arm.num_joints
    target = finite_array("target_position", target_position, (2,))
    q = finite_array("q", q, (n,))
    shapes = {"target_position": target.shape[:-1], "q": q.shape[:-1], "scene": scene.batch_shape}
    heading = None
    if target_orientation is not None:
        heading = finite_array("target_orientation", target_orientation)
        shapes["target_orientation"] = heading.shape
    batch = broadcast_batch(**shapes)
    if scene.batch_shape not in ((), batch):
        raise InvalidInputError(
            f"The scene's batch shape must be () or {batch} like the targets and q, got {scene.batch_shape}."
        )
    count = math.prod(batch)
    if heading is not None:
        heading = np.broadcast_to(heading, batch).reshape(count)
    return Problem(
        np.broadcast_to(target, (*batch, 2)).reshape(count, 2),
        arm.clip(np.broadcast_to(q, (*batch, n)).reshape(count, n)),
        heading,
        arm,
        _flat(scene.obstacles, batch),
        scene.safety_margin,
        batch,
    )


def _flat(obstacles: Obstacles, batch: tuple[int, ...]) -> Obstacles:
    """The discs where they are at time 0, with at most one batch axis."""
    if not obstacles.is_static:
        obstacles = obstacles.frozen_at(0.0)
    if len(obstacles.batch_shape) < 2:
        return obstacles
    count, m = math.prod(batch), obstacles.num_obstacles
    mask = None if obstacles.mask is None else np.reshape(obstacles.mask, (count, m))
    return Obstacles(
        np.reshape(obstacles.positions(), (count, m, 2)), np.reshape(obstacles.radii, (count, m)), None, mask
    )
