"""The frame in which a network sees a scene: turned by the target's bearing, measured in reaches.

In it every target lies on the positive x axis, so that neither the seam at +-pi nor the winding of the first joint is
left for a network to learn. Link directions cross the border as unit vectors, never as angles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray, PlanarArm
from ..obstacles import Obstacles

Float32Array = npt.NDArray[np.float32]


class CanonicalBatch(NamedTuple):
    """N targets and their discs in the frame of each target; lengths are fractions of the reach.

    Attributes:
        distance: ``(N,)`` of the target from the base.
        bearing: ``(N,)`` of the target as seen from the base [rad].
        discs: ``(N, M, 3)`` centre x, centre y and radius of each disc; the radius grows by what the arm's links are
            thicker than those trained with (and shrinks where they are thinner), which keeps every clearance. M >= 1.
        mask: ``(N, M)`` bool: which slots hold a disc.
        present: ``(N, n, 2)`` unit vectors along the links of the arm where it is.
    """

    distance: Float32Array
    bearing: FloatArray
    discs: Float32Array
    mask: npt.NDArray[np.bool_]
    present: Float32Array


def canonical_batch(
    target_position: FloatArray,
    q: FloatArray,
    arm: PlanarArm,
    obstacles: Obstacles,
    *,
    link_radius: float,
) -> CanonicalBatch:
    """Bring targets, discs and the present configuration into the frame of the target.

    Args:
        target_position: ``(N, 2)`` [m].
        q: ``(N, n)`` where the arm is [rad].
        arm: The arm.
        obstacles: Discs of batch shape ``(N,)`` or ``()``, taken where they are at time 0.
        link_radius: Thickness of the links that the network was trained with, fraction of the reach.
    """
    count, reach = len(target_position), arm.reach
    away = (target_position - arm.base) / reach
    bearing = np.arctan2(away[:, 1], away[:, 0])
    m = max(1, obstacles.num_obstacles)
    discs, mask = np.zeros((count, m, 3), dtype=np.float32), np.zeros((count, m), dtype=bool)
    if obstacles.num_obstacles:
        centers = (np.asarray(obstacles.positions()) - arm.base) / reach
        cosine, sine = np.cos(bearing)[:, None], np.sin(bearing)[:, None]
        discs[..., 0] = centers[..., 0] * cosine + centers[..., 1] * sine
        discs[..., 1] = centers[..., 1] * cosine - centers[..., 0] * sine
        discs[..., 2] = np.asarray(obstacles.radii) / reach + (arm.link_radius / reach - link_radius)
        mask[:] = True if obstacles.mask is None else obstacles.mask
        discs[~mask] = 0.0
    heading = np.cumsum(q, axis=-1) - bearing[:, None]
    present = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return CanonicalBatch(
        np.hypot(away[:, 0], away[:, 1]).astype(np.float32), bearing, discs, mask, present.astype(np.float32)
    )


def joint_angles_from_directions(
    directions: npt.NDArray[np.floating], bearing: FloatArray, arm: PlanarArm, q: FloatArray
) -> FloatArray:
    """Joint angles of link directions that are given in the frame of the target.

    Relative angles are wrapped to [-pi, pi); each is then turned by whole turns to the value nearest to where the
    joint is, among those within its limits, and clipped where none is.

    Args:
        directions: ``(N, K, n, 2)``, of any length > 0.
        bearing: ``(N,)`` [rad].
        arm: The arm.
        q: ``(N, n)`` where the arm is [rad].

    Returns:
        ``(N, K, n)`` [rad].
    """
    directions = np.asarray(directions, dtype=np.float64)
    heading = np.arctan2(directions[..., 1], directions[..., 0]) + bearing[:, None, None]
    angles = np.diff(heading, axis=-1, prepend=0.0)
    low, high = arm.joint_limits.T
    turn = 2 * np.pi
    angles += turn * np.round((q[:, None] - angles) / turn)
    # A hair more than exact: an angle at a limit stays there when its turn is computed with rounding.
    angles -= turn * np.maximum(0.0, np.ceil((angles - high) / turn - 1e-12))
    angles += turn * np.maximum(0.0, np.ceil((low - angles) / turn - 1e-12))
    return np.clip(angles, low, high)
