"""Derivatives of a converged sequential projection.

At the answer the constraints' rows depend on the answer itself, so that its derivative is not that of the last
quadratic program: the multipliers weigh the curvature of the constraints. With ``H = I - sum lambda_i hess d_i - sum
nu_k hess p_k`` and A the active rows, ``[H A^T; A 0] [w; mu] = [v; 0]`` gives ``dL/dq_ref = w`` from ``v = dL/dq``,
and ``dL/dtarget = mu`` on the target's rows. Fiacco & McCormick's sensitivity theorem; Nocedal & Wright, 2006,
chapter 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import geometry
from ..arm import PlanarArm
from ..collision import axis_points_and_normals, signed_distance_gradient
from ..errors import InvalidInputError, UnknownNameError
from ..obstacles import Obstacles
from .problems import sum_to_shape
from .qp import solve_qp

if TYPE_CHECKING:
    from .sequential import Projection

FloatArray = npt.NDArray[np.float64]

MODES = ("exact", "gauss-newton")
NEAR = 1e-6
"""Rows within this of their bound may be active [m or rad]; which of them are, their multipliers say."""

PRICE = 1e6
FAINT = 1e-12
"""Regularisation of dependent rows, small beside rounding in what it changes."""


def end_effector_hessian(q: FloatArray, arm: PlanarArm) -> FloatArray:
    """Second derivatives of the end-effector position: ``d^2 p / dq_i dq_j = -(p_n - p_{max(i, j) - 1})``.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.

    Returns:
        ``(*batch, 2, n, n)`` [m/rad^2].
    """
    positions = np.asarray(arm.forward_kinematics(q))
    lever = positions[..., -1:, :] - positions[..., :-1, :]
    later = np.maximum(*np.indices((arm.num_joints, arm.num_joints)))
    return -np.moveaxis(lever, -1, -2)[..., later]


def signed_distance_hessian(q: FloatArray, arm: PlanarArm, obstacles: Obstacles) -> FloatArray:
    """Second derivatives of the signed distances, where they have them.

    With x the nearest point, n the normal, u the link's direction, s = n . u^perp, R the distance of the axis to the
    disc's centre and J_i the derivatives of x at a fixed place of the link, for i <= j <= k:
    ``t.J_i t.J_j / R - n.(x - p_{j-1})`` where x is an end of the link (t is normal to n), and
    ``-n.(x - p_{j-1}) - s (u.J_i + u.J_j) - R`` between its ends, where x slides along the link.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        ``(*batch, n, m, n, n)`` [m/rad^2]; 0 at masked discs and where an axis goes through a centre.
    """
    n = arm.num_joints
    positions = np.asarray(arm.forward_kinematics(q))
    point, normal = (np.asarray(part) for part in axis_points_and_normals(q, arm, obstacles))
    start, end = positions[..., :-1, None, :], positions[..., 1:, None, :]
    length = arm.link_lengths[:, None, None]
    along = (end - start) / length
    away = point - np.asarray(obstacles.positions())[..., None, :, :]
    gap = np.linalg.norm(away, axis=-1)
    lever = point[..., None, :] - positions[..., None, None, :-1, :]
    turned = np.stack([-lever[..., 1], lever[..., 0]], axis=-1)
    place = np.asarray(geometry.closest_parameter(np.asarray(obstacles.positions())[..., None, :, :], start, end))
    sliding = ((place > 0) & (place < 1))[..., None, None]
    later = np.maximum(*np.indices((n, n)))
    bending = -(normal[..., None, :] * lever).sum(-1)[..., later]
    side = np.where(normal[..., 1] * along[..., 0] - normal[..., 0] * along[..., 1] > 0, 1.0, -1.0)[..., None]
    sideways = side * (along[..., None, :] * turned).sum(-1)
    tangent = np.stack([-normal[..., 1], normal[..., 0]], axis=-1)
    around = (tangent[..., None, :] * turned).sum(-1)
    radius = np.where(gap > 0, gap, 1.0)[..., None, None]
    inner = bending - (sideways[..., :, None] + sideways[..., None, :]) - gap[..., None, None]
    outer = bending + around[..., :, None] * around[..., None, :] / radius
    hessian = np.where(sliding, inner, outer)
    moved = np.tri(n, dtype=bool)[:, None, :, None] & np.tri(n, dtype=bool)[:, None, None, :]
    there = (gap > 0)[..., None, None]
    if obstacles.mask is not None:
        there = there & np.asarray(obstacles.mask)[..., None, :, None, None]
    return np.where(moved & there, hessian, 0.0)


def _mirror_vjp(q_ref: FloatArray, gradient: FloatArray, arm: PlanarArm) -> FloatArray:
    """Back through :func:`planararm.projection.sequential.mirror_branch` of the clipped proposal."""
    low, high = arm.joint_limits.T
    inside = (q_ref >= low) & (q_ref <= high)
    clipped = np.clip(q_ref, low, high)
    away = np.asarray(arm.end_effector(clipped)) - arm.base
    normal = np.stack([-away[..., 1], away[..., 0]], axis=-1) / (away**2).sum(-1, keepdims=True)
    bearing = (np.asarray(arm.jacobian(clipped)) * normal[..., None]).sum(-2)
    return np.where(inside, 2 * bearing * gradient[..., :1] - gradient, 0.0)


def projection_vjp(projection: Projection, grad_q: Any, *, mode: str) -> tuple[FloatArray, FloatArray | None]:
    """See :meth:`planararm.projection.sequential.Projection.vjp`."""
    from .sequential import SAFE, SLACK, Source, mirror_branch

    if mode not in MODES:
        raise UnknownNameError("mode", mode, MODES)
    q = projection.q
    grad_q = np.asarray(grad_q, dtype=np.float64)
    if grad_q.shape != q.shape:
        raise InvalidInputError(f"grad_q must have the shape {q.shape} of q, got {grad_q.shape}.")
    arm, discs = projection.scene.arm, projection.scene.obstacles
    n, m = arm.num_joints, discs.num_obstacles
    batch = q.shape[:-1]
    low, high = arm.joint_limits.T
    q_ref = np.broadcast_to(projection.q_ref, q.shape)
    branch = (projection.source == Source.BRANCH)[..., None]
    anchor = np.where(branch, mirror_branch(np.clip(q_ref, low, high), projection.scene), q_ref)

    distance, gradient = (np.asarray(part) for part in signed_distance_gradient(q, arm, discs))
    room = distance - projection.scene.safety_margin - SLACK
    G = -gradient.reshape(*batch, n * m, n)
    # Relative to q: a row that is not near takes no part; one that is near holds exactly.
    h = np.where(room > NEAR, np.inf, 0.0).reshape(*batch, n * m)
    lb, ub = np.where(q - low > NEAR, -np.inf, 0.0), np.where(high - q > NEAR, np.inf, 0.0)
    on_target = projection.target_position is not None
    task = np.asarray(arm.jacobian(q)) if on_target else np.zeros((*batch, 0, n))
    rows = np.concatenate([G, task, -task], axis=-2)
    bounds = np.concatenate([h, np.zeros((*batch, 2 * task.shape[-2]))], axis=-1)
    found = solve_qp(anchor - q, rows, bounds, lb, ub, elastic=PRICE)
    pressing = found.multipliers
    links, pulls = pressing[..., : n * m], pressing[..., n * m :]
    stops = (found.lower_multipliers > 0) | (found.upper_multipliers > 0)

    A = np.concatenate([np.where((links > 0)[..., None], G, 0.0), np.where(stops[..., None], np.eye(n), 0.0), task], -2)
    H = np.broadcast_to(np.eye(n), (*batch, n, n))
    flat = _null_projector(A)
    if mode == "exact":
        curved = (links.reshape(*batch, n, m)[..., None, None] * signed_distance_hessian(q, arm, discs)).sum((-4, -3))
        if on_target:
            nu = pulls[..., :2] - pulls[..., 2:]
            curved = curved - (nu[..., None, None] * end_effector_hessian(q, arm)).sum(-3)
        H = H - curved
        # Not a strict minimum: the curvature would turn the gradient round.
        reduced = flat @ H @ flat + (np.eye(n) - flat)
        convex = np.linalg.eigvalsh((reduced + np.swapaxes(reduced, -1, -2)) / 2)[..., 0] > NEAR
        H = np.where(convex[..., None, None], H, np.eye(n))
    count = A.shape[-2]
    system = np.zeros((*batch, n + count, n + count))
    system[..., :n, :n], system[..., :n, n:], system[..., n:, :n] = H, np.swapaxes(A, -1, -2), A
    system[..., n:, n:] = -FAINT * np.eye(count)
    answer = np.linalg.solve(system, np.concatenate([grad_q, np.zeros((*batch, count))], axis=-1)[..., None])[..., 0]

    moves = np.isin(projection.source, (Source.PROPOSAL, Source.PROJECTED, Source.BRANCH, Source.RESTART))
    moves = (moves & (projection.status == SAFE))[..., None]
    direction = np.where(moves, answer[..., :n], 0.0)
    direction = np.where(branch, _mirror_vjp(q_ref, direction, arm), direction)
    grad_ref = sum_to_shape(direction, projection.q_ref.shape)
    if projection.target_position is None:
        return grad_ref, None
    return grad_ref, sum_to_shape(np.where(moves, answer[..., -2:], 0.0), projection.target_position.shape)


def _null_projector(A: FloatArray) -> FloatArray:
    """The orthogonal projector onto null(A): ``(*batch, n, n)``."""
    return np.asarray(np.eye(A.shape[-1]) - np.linalg.pinv(A, rcond=1e-9) @ A)
