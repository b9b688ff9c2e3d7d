"""Constraints of an arm among discs, linearised: rows of a quadratic program in the joint angles.

At a configuration ``q``, every pair of a link and a disc gives the half-space ``d + grad d . (x - q) >= margin``:
what the distance is to first order. With ``certified=True`` a pair gives two, one for each end e of the link, with
the normal n frozen and the most that curvature can take away within the trust box ``|x - q| <= delta`` added to the
margin:

    ``f_e + n . J_e (x - q) >= margin + sum_{j<=e} l_j (sum_{i<=j} delta_i)^2 / 2``

A segment is the convex hull of its ends, so every straight motion from q to a point of this polytope keeps the
margin, all the way: no sampling, no further check.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from .. import geometry
from ..arm import PlanarArm
from ..collision import Array, axis_points_and_normals, signed_distance_gradient
from ..errors import InvalidInputError
from ..kinematics import joint_angles, like
from ..obstacles import Obstacles
from ..scene import Scene


class ConstraintRows(NamedTuple):
    """``G x <= h``, ``lb <= x <= ub`` in the joint angles x: what :func:`planararm.projection.qp.solve_qp` takes.

    Attributes:
        G: ``(*batch, R, n)``. Rows of masked discs are zero.
        h: ``(*batch, R)``; inf at masked discs.
        lb: ``(*batch, n)`` joint limits, and the trust box if there is one [rad].
        ub: ``(*batch, n)`` [rad].
    """

    G: Array
    h: Array
    lb: Array
    ub: Array


def constraint_rows(
    q: Array,
    scene: Scene,
    *,
    margin: float | None = None,
    trust: Any = None,
    certified: bool = False,
    self_collision: bool = False,
) -> ConstraintRows:
    """Joint limits, trust box, and the distances to the discs, linearised at ``q``.

    Rows come pair by pair, links first: ``k * m + j`` is link k against disc j. With ``certified`` the rows of the
    links' far ends (k + 1) come first, then those of their near ends (k); with ``self_collision`` the pairs of links
    that share no joint follow. NumPy arrays and torch tensors alike; gradients flow through G and h into ``q``.

    Args:
        q: ``(*batch, n)`` where to linearise [rad].
        scene: The scene; its batch axes broadcast against q's.
        margin: Distance to keep [m]; None: the scene's safety margin.
        trust: Half sides of a box around q that x must stay in: a number or ``(n,)`` or ``(*batch, n)`` [rad].
        certified: Whether to bound the whole motion from q to x (needs ``trust``).
        self_collision: Whether to add the links' distances to each other; linearised, not certified.

    Raises:
        InvalidInputError: Wrong shapes, ``certified`` without ``trust``, or a trust that is not above zero.
    """
    arm, discs = scene.arm, scene.obstacles
    q = joint_angles(q, arm.num_joints)
    xp = array_namespace(q)
    keep = scene.safety_margin if margin is None else float(margin)
    lb, ub = like(arm.joint_limits[:, 0], q), like(arm.joint_limits[:, 1], q)
    box = None
    if trust is not None:
        box = xp.broadcast_to(like(np.asarray(trust, dtype=np.float64), q), q.shape) if np.ndim(trust) < 2 else trust
        if not bool(xp.all(box > 0)):
            raise InvalidInputError(f"trust must be > 0 [rad], got {trust!r}.")
        # A start outside the limits must be able to come back.
        lb, ub = xp.minimum(xp.maximum(lb, q - box), ub), xp.maximum(xp.minimum(ub, q + box), lb)
    elif certified:
        raise InvalidInputError("certified=True needs a trust box: the curvature is bounded within it.")
    lb, ub = xp.broadcast_to(lb, q.shape), xp.broadcast_to(ub, q.shape)
    if certified:
        distance, gradient = _certified(q, arm, discs, box)
    else:
        distance, gradient = signed_distance_gradient(q, arm, discs)
    n, m = arm.num_joints, discs.num_obstacles
    batch = distance.shape[:-2]
    pairs = distance.shape[-2]
    distance, gradient = xp.reshape(distance, (*batch, pairs * m)), xp.reshape(gradient, (*batch, pairs * m, n))
    if self_collision:
        own_distance, own_gradient = self_distance_gradient(q, arm)
        own_distance = xp.broadcast_to(own_distance, (*batch, own_distance.shape[-1]))
        own_gradient = xp.broadcast_to(own_gradient, (*batch, *own_gradient.shape[-2:]))
        distance = xp.concat([distance, own_distance], axis=-1)
        gradient = xp.concat([gradient, own_gradient], axis=-2)
    G = -gradient
    return ConstraintRows(G, distance - keep + xp.sum(G * q[..., None, :], axis=-1), lb, ub)


def curvature_bound(trust: Array, link_lengths: Array) -> Array:
    """How far a joint can bend off its tangent within a trust box: ``sum_{j<=k} l_j (sum_{i<=j} delta_i)^2 / 2``.

    Args:
        trust: ``(*batch, n)`` half sides of the box [rad].
        link_lengths: ``(n,)`` [m].

    Returns:
        ``(*batch, n + 1)`` [m], for the base and every link's end.
    """
    xp = array_namespace(trust)
    turns = xp.cumulative_sum(trust, axis=-1)
    bends = xp.cumulative_sum(like(link_lengths, trust) * turns * turns, axis=-1) / 2
    return xp.concat([xp.zeros_like(bends[..., :1]), bends], axis=-1)


def _lever_rows(normal: Array, points: Array, joints: Array, moves: Array) -> Array:
    """``n . J`` of points: ``d/dq_i = n . (-(x - p_i)_y, (x - p_i)_x)`` for the joints that move them."""
    xp = array_namespace(points)
    lever = points[..., None, :] - joints
    rows = normal[..., None, 1] * lever[..., 0] - normal[..., None, 0] * lever[..., 1]
    return xp.where(moves, rows, xp.zeros_like(rows))


def _certified(q: Array, arm: PlanarArm, discs: Obstacles, box: Array) -> tuple[Array, Array]:
    """Distances of both ends of the links along the frozen normals, less the curvature: ``(*batch, 2 n, m)``."""
    xp = array_namespace(q)
    n = arm.num_joints
    positions = arm.forward_kinematics(q)
    _, normal = axis_points_and_normals(q, arm, discs)
    centers = like(discs.positions(), q)[..., None, :, :]
    walls = like(discs.radii, q)[..., None, :] + arm.link_radius
    bends = curvature_bound(box, arm.link_lengths)
    moves = xp.asarray(np.tri(n, dtype=bool))[:, None, :]
    joints = positions[..., None, None, :-1, :]
    distances, gradients = [], []
    for ends, bend in ((positions[..., 1:, None, :], bends[..., 1:]), (positions[..., :-1, None, :], bends[..., :-1])):
        away = xp.sum(normal * (ends - centers), axis=-1) - walls
        distances.append(away - bend[..., None])
        points = xp.broadcast_to(ends, normal.shape)
        gradients.append(_lever_rows(normal, points, joints, moves))
    distance, gradient = xp.concat(distances, axis=-2), xp.concat(gradients, axis=-3)
    if discs.mask is not None:
        there = xp.asarray(discs.mask)[..., None, :]
        distance = xp.where(there, distance, xp.full_like(distance, np.inf))
        gradient = xp.where(there[..., None], gradient, xp.zeros_like(gradient))
    return distance, gradient


def self_distance_gradient(q: Array, arm: PlanarArm) -> tuple[Array, Array]:
    """Distances between links that share no joint, and their derivatives.

    The nearest points of two segments that do not cross include an end of one of them. Where links cross, the
    distance is minus twice the link's radius and its derivative zero.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.

    Returns:
        ``(*batch, P)`` [m] and ``(*batch, P, n)`` [m/rad], P = (n - 1)(n - 2) / 2: links (0, 2), (0, 3), ..., (1, 3),
        ...
    """
    positions = arm.forward_kinematics(q)
    xp = array_namespace(positions)
    n = arm.num_joints
    distances, gradients = [], []
    joints = positions[..., :-1, :]
    for i in range(n):
        for j in range(i + 2, n):
            a, b = positions[..., i, :], positions[..., i + 1, :]
            c, d = positions[..., j, :], positions[..., j + 1, :]
            # An end (of the link named second) against the other link's nearest point.
            ends = [(c, a, b, i, j), (d, a, b, i, j), (a, c, d, j, i), (b, c, d, j, i)]
            rows, lengths = [], []
            for point, start, end, link, other in ends:
                nearest = geometry.closest_point(point, start, end)
                between = point - nearest
                length = geometry.norm(between)
                apart = length > 0
                normal = between / xp.where(apart, length, xp.ones_like(length))[..., None]
                row = _lever_rows(normal, point, joints, _moved(xp, n, other))
                rows.append(row - _lever_rows(normal, nearest, joints, _moved(xp, n, link)))
                lengths.append(length)
            stacked, row_stack = xp.stack(lengths, axis=-1), xp.stack(rows, axis=-2)
            first = xp.argmin(stacked, axis=-1)[..., None]
            picked = xp.broadcast_to(first[..., None], (*first.shape, n))
            row = xp.take_along_axis(row_stack, picked, axis=-2)[..., 0, :]
            length = geometry.segment_distance(a, b, c, d)
            gradients.append(xp.where((length > 0)[..., None], row, xp.zeros_like(row)))
            distances.append(length - 2 * arm.link_radius)
    if not distances:
        return xp.zeros_like(q[..., :0]), xp.zeros_like(q[..., None, :][..., :0, :])
    return xp.stack(distances, axis=-1), xp.stack(gradients, axis=-2)


def _moved(xp: Any, num_joints: int, link: int) -> Array:
    """Which joints move a link."""
    return xp.asarray(np.arange(num_joints) <= link)
