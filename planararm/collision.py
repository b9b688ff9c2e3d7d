"""Distances between an arm's links and discs, their gradients, and motion certificates.

Distances are written once against the Python array API (NumPy and torch, autograd included);
:func:`certify_motion` runs the compiled kernel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from . import geometry
from .arm import PlanarArm
from .errors import InvalidInputError
from .kinematics import joint_angles, like
from .obstacles import Obstacles
from .validate import broadcast_batch, finite_array

Array = Any
"""A NumPy array or a torch tensor."""


def _links_and_discs(q: Array, arm: PlanarArm, obstacles: Obstacles) -> tuple[Array, Array, Array, Array]:
    positions = arm.forward_kinematics(q)
    centers, radii = like(obstacles.positions(), positions), like(obstacles.radii, positions)
    return positions[..., :-1, None, :], positions[..., 1:, None, :], centers[..., None, :, :], radii


def _without_masked(values: Array, obstacles: Obstacles, fill: float) -> Array:
    if obstacles.mask is None:
        return values
    xp = array_namespace(values)
    mask = xp.asarray(obstacles.mask)
    return xp.where(mask[..., None, :], values, xp.full_like(values, fill))


def signed_distance(q: Array, arm: PlanarArm, obstacles: Obstacles) -> Array:
    """Distance of every link (a capsule) to every disc (shuttling ones at time 0): ``|x - c| - r - rho``.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        ``(*batch, n, m)`` [m]; > 0 apart, < 0 penetration, inf at masked discs.
    """
    start, end, centers, radii = _links_and_discs(q, arm, obstacles)
    distance = geometry.capsule_disc_distance(start, end, arm.link_radius, centers, radii[..., None, :])
    return _without_masked(distance, obstacles, np.inf)


def clearance(q: Array, arm: PlanarArm, obstacles: Obstacles) -> Array:
    """Smallest signed distance of the whole arm to the discs; inf without discs.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        ``(*batch,)`` [m].
    """
    distances = signed_distance(q, arm, obstacles)
    xp = array_namespace(distances)
    if obstacles.num_obstacles == 0:
        return xp.full_like(distances[..., 0, :].sum(-1), np.inf)
    return xp.min(xp.min(distances, axis=-1), axis=-1)


def witness_points(q: Array, arm: PlanarArm, obstacles: Obstacles) -> Array:
    """Nearest points of every link's surface and every disc's surface.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        ``(*batch, n, m, 2, 2)`` [m]: on the link, on the disc.
    """
    start, end, centers, radii = _links_and_discs(q, arm, obstacles)
    xp = array_namespace(start)
    axis_point, normal = _axis_point_and_normal(start, end, centers)
    on_link = axis_point - arm.link_radius * normal
    on_disc = centers + radii[..., None, :, None] * normal
    on_link, on_disc = xp.broadcast_arrays(on_link, on_disc)
    return xp.stack([on_link, on_disc], axis=-2)


def axis_points_and_normals(q: Array, arm: PlanarArm, obstacles: Obstacles) -> tuple[Array, Array]:
    """Nearest points of every link's axis to every disc's centre, and the unit vectors from the discs to them.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        Points ``(*batch, n, m, 2)`` [m] and normals ``(*batch, n, m, 2)``; the link's normal where its axis goes
        through the centre.
    """
    return _axis_point_and_normal(*_links_and_discs(q, arm, obstacles)[:3])


def _axis_point_and_normal(start: Array, end: Array, centers: Array) -> tuple[Array, Array]:
    """Nearest point of the link's axis, and the unit vector from the disc to it (the link's normal if they meet)."""
    xp = array_namespace(start)
    point = geometry.closest_point(centers, start, end)
    away = point - centers
    length = geometry.norm(away)[..., None]
    along = end - start
    sideways = xp.stack([-along[..., 1], along[..., 0]], axis=-1) / geometry.norm(along)[..., None]
    apart = length > 0
    return point, xp.where(apart, away / xp.where(apart, length, xp.ones_like(length)), sideways)


def signed_distance_gradient(q: Array, arm: PlanarArm, obstacles: Obstacles) -> tuple[Array, Array]:
    """Signed distances and their derivatives with respect to the joint angles.

    With x the nearest point of link k's axis, at a fixed fraction of the link, and ``n`` the unit vector from
    the disc to it: ``d/dq_i = n . (-(x - p_{i-1})_y, (x - p_{i-1})_x)`` for i <= k, 0 beyond (the fraction
    need not be differentiated: it minimises the distance).

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        Distances ``(*batch, n, m)`` [m] (inf at masked discs) and gradients ``(*batch, n, m, n)`` [m/rad]
        (0 at masked discs).
    """
    start, end, centers, radii = _links_and_discs(q, arm, obstacles)
    xp = array_namespace(start)
    point, normal = _axis_point_and_normal(start, end, centers)
    distance = xp.sum(normal * (point - centers), axis=-1) - radii[..., None, :] - arm.link_radius
    joints = start[..., None, None, :, 0, :]
    lever = point[..., None, :] - joints
    gradient = normal[..., None, 1] * lever[..., 0] - normal[..., None, 0] * lever[..., 1]
    moves = xp.asarray(np.tri(arm.num_joints, dtype=bool))[:, None, :]
    gradient = xp.where(moves, gradient, xp.zeros_like(gradient))
    if obstacles.mask is not None:
        mask = xp.asarray(obstacles.mask)[..., None, :, None]
        gradient = xp.where(mask, gradient, xp.zeros_like(gradient))
    return _without_masked(distance, obstacles, np.inf), gradient


def clearance_gradient(q: Array, arm: PlanarArm, obstacles: Obstacles) -> tuple[Array, Array]:
    """Clearance and its derivative: the row of :func:`signed_distance_gradient` of the nearest pair.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against ``q``'s.

    Returns:
        Clearance ``(*batch,)`` [m] and gradient ``(*batch, n)`` [m/rad]; inf and 0 without discs.
    """
    q = joint_angles(q, arm.num_joints)
    xp = array_namespace(q)
    if obstacles.num_obstacles == 0:
        return clearance(q, arm, obstacles), xp.zeros_like(q)
    distance, gradient = signed_distance_gradient(q, arm, obstacles)
    n = arm.num_joints
    flat = xp.reshape(distance, (*distance.shape[:-2], n * obstacles.num_obstacles))
    rows = xp.reshape(gradient, (*flat.shape, n))
    nearest = xp.argmin(flat, axis=-1)[..., None]
    picked = xp.take_along_axis(rows, xp.broadcast_to(nearest[..., None], (*nearest.shape, n)), axis=-2)
    return xp.take_along_axis(flat, nearest, axis=-1)[..., 0], picked[..., 0, :]


def self_clearance(q: Array, arm: PlanarArm) -> Array:
    """Smallest signed distance between two links that do not share a joint; inf below three links.

    Args:
        q: ``(*batch, n)`` [rad].
        arm: The arm.

    Returns:
        ``(*batch,)`` [m]; < 0 where links overlap.
    """
    positions = arm.forward_kinematics(q)
    xp = array_namespace(positions)
    smallest = xp.full_like(positions[..., 0, 0], np.inf)
    for i in range(arm.num_joints):
        for j in range(i + 2, arm.num_joints):
            a, b = positions[..., i, :], positions[..., i + 1, :]
            c, d = positions[..., j, :], positions[..., j + 1, :]
            axes = geometry.segment_distance(a, b, c, d)
            smallest = xp.minimum(smallest, axes - 2 * arm.link_radius)
    return smallest


class MotionCertificate(NamedTuple):
    """What :func:`certify_motion` found.

    Attributes:
        status: ``(*batch,)`` int8: 1 certified free, 0 contact, -1 undecided.
        fraction: ``(*batch,)`` the certified part of the motion, in [0, 1].
        contact_time: ``(*batch,)`` fraction of the motion by which contact has happened; nan if none was found.
            The first contact lies between ``fraction`` and ``contact_time``.
    """

    status: np.ndarray
    fraction: np.ndarray
    contact_time: np.ndarray


def certify_motion(
    q_start: Array,
    q_end: Array,
    arm: PlanarArm,
    obstacles: Obstacles,
    *,
    duration: float = 0.0,
    margin: float = 0.0,
    tolerance: float = 1e-6,
) -> MotionCertificate:
    """Certify that the straight joint motion from ``q_start`` to ``q_end`` keeps ``margin`` from every disc.

    The whole motion is covered, not samples of it. See :mod:`planararm.kernels.certificate` for the bounds.
    Joint limits are not looked at.

    Args:
        q_start: ``(*batch, n)`` [rad].
        q_end: ``(*batch, n)`` [rad].
        arm: The arm.
        obstacles: Discs with batch axes that broadcast against the configurations'.
        duration: Time that the motion takes [s]; shuttling discs move meanwhile, straight from where they are at
            time 0 to where they are at its end.
        margin: Distance to keep [m].
        tolerance: Accuracy of the contact time, fraction of the motion.

    Raises:
        InvalidInputError: Wrong shapes, NaN, a negative duration or margin, a tolerance outside (0, 1).
    """
    from .kernels.certificate import certify_motions
    from .kernels.launch import launch, writable

    n = arm.num_joints
    q_start, q_end = finite_array("q_start", q_start, (n,)), finite_array("q_end", q_end, (n,))
    for name, value, ok in (
        ("duration", duration, 0 <= duration < np.inf),
        ("margin", margin, 0 <= margin < np.inf),
        ("tolerance", tolerance, 0 < tolerance < 1),
    ):
        if not ok:
            needed = "in (0, 1)" if name == "tolerance" else "finite and >= 0"
            raise InvalidInputError(f"{name} must be {needed}, got {value!r}.")
    batch = broadcast_batch(q_start=q_start.shape[:-1], q_end=q_end.shape[:-1], obstacles=obstacles.batch_shape)
    m = obstacles.num_obstacles
    count = math.prod(batch)

    def rows(values: Any, *trailing: int, dtype: type = np.float64) -> np.ndarray:
        return np.array(np.broadcast_to(values, (*batch, *trailing)).reshape(count, *trailing), dtype=dtype, order="C")

    now = np.asarray(obstacles.positions())
    drift = np.asarray(obstacles.positions(duration)) - now
    status, fraction, contact = np.empty(count, np.int8), np.empty(count), np.empty(count)
    launch(
        certify_motions, count, rows(q_start, n), rows(q_end, n), *writable(arm.link_lengths, arm.base),
        arm.link_radius, rows(now, m, 2), rows(drift, m, 2), rows(np.asarray(obstacles.radii), m),
        rows(True if obstacles.mask is None else np.asarray(obstacles.mask), m, dtype=bool),
        float(margin), float(tolerance), status, fraction, contact,
    )  # fmt: skip
    return MotionCertificate(status.reshape(batch), fraction.reshape(batch), contact.reshape(batch))
