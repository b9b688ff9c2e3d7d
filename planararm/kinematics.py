"""Kinematics of a planar chain as pure functions, for NumPy arrays and torch tensors alike.

``q`` are relative joint angles [rad], counter-clockwise; link ``k`` points along
``phi_k = q_1 + ... + q_k``, measured from +x. All functions take batches as leading axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

from .errors import InvalidInputError

Array = Any
"""A NumPy array or a torch tensor."""

ORIGIN = (0.0, 0.0)


def like(values: Any, reference: Array) -> Array:
    """``values`` as an array of ``reference``'s library, dtype and device (left alone if it is one)."""
    xp = array_namespace(reference)
    if type(values) is type(reference):
        return values
    # A copy: torch warns of the read-only arrays that arms and obstacles hold.
    return xp.asarray(np.array(values), dtype=reference.dtype, device=device(reference))


def floating(name: str, values: Any) -> Array:
    """``values`` as a floating-point array: NumPy arrays and torch tensors as they are, lists and integers as float64.

    Raises:
        InvalidInputError: Not numbers, or an integer tensor.
    """
    if is_array_api_obj(values):
        xp = array_namespace(values)
        if xp.isdtype(values.dtype, "real floating"):
            return values
        if not isinstance(values, np.ndarray):
            raise InvalidInputError(f"{name} must be a floating-point tensor, got dtype {values.dtype}.")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as cause:
        raise InvalidInputError(f"{name} must be numbers, got {values!r}.") from cause


def joint_angles(q: Any, num_joints: int) -> Array:
    """``q`` as floating-point joint angles ``(*batch, num_joints)``.

    Raises:
        InvalidInputError: Not numbers, or a last axis of another length.
    """
    q = floating("q", q)
    if q.ndim < 1 or q.shape[-1] != num_joints:
        raise InvalidInputError(
            f"q must have shape (*batch, {num_joints}) for {num_joints} links, got {tuple(q.shape)}."
        )
    return q


def absolute_angles(q: Array) -> Array:
    """Headings of the links: ``phi_k = q_1 + ... + q_k``.

    Args:
        q: ``(*batch, n)`` [rad].

    Returns:
        ``(*batch, n)`` [rad].
    """
    q = floating("q", q)
    return array_namespace(q).cumulative_sum(q, axis=-1)


def forward_kinematics(q: Array, link_lengths: Array, base: Array = ORIGIN) -> Array:
    """Positions of all joints and of the end effector.

    ``p_0 = base``, ``p_k = p_{k-1} + l_k (cos phi_k, sin phi_k)``.

    Args:
        q: ``(*batch, n)`` [rad].
        link_lengths: ``(n,)`` [m].
        base: ``(2,)`` [m].

    Returns:
        ``(*batch, n + 1, 2)`` [m], base first, end effector last.
    """
    q = joint_angles(q, len(link_lengths))
    xp = array_namespace(q)
    phi = absolute_angles(q)
    lengths = like(link_lengths, q)
    links = xp.stack([lengths * xp.cos(phi), lengths * xp.sin(phi)], axis=-1)
    start = xp.broadcast_to(like(base, q), (*q.shape[:-1], 1, 2))
    return xp.concat([start, start + xp.cumulative_sum(links, axis=-2)], axis=-2)


def end_effector(q: Array, link_lengths: Array, base: Array = ORIGIN) -> Array:
    """Position of the end effector: the last row of :func:`forward_kinematics`.

    Args:
        q: ``(*batch, n)`` [rad].
        link_lengths: ``(n,)`` [m].
        base: ``(2,)`` [m].

    Returns:
        ``(*batch, 2)`` [m].
    """
    return forward_kinematics(q, link_lengths, base)[..., -1, :]


def jacobian(q: Array, link_lengths: Array) -> Array:
    """Derivative of the end-effector position.

    Column ``i`` is the arm from joint ``i`` to the end effector turned by +90 degrees:
    ``dp/dq_i = (-(p_n - p_{i-1})_y, (p_n - p_{i-1})_x)``.

    Args:
        q: ``(*batch, n)`` [rad].
        link_lengths: ``(n,)`` [m].

    Returns:
        ``(*batch, 2, n)`` [m/rad].
    """
    positions = forward_kinematics(q, link_lengths)
    xp = array_namespace(positions)
    lever = positions[..., -1:, :] - positions[..., :-1, :]
    return xp.stack([-lever[..., 1], lever[..., 0]], axis=-2)


def manipulability(q: Array, link_lengths: Array) -> Array:
    """Yoshikawa's measure ``sqrt(det(J J^T))``, for the position task.

    Computed by the Cauchy-Binet identity ``det(J J^T) = sum_{i<j} det(J_i, J_j)^2``, a sum of squares:
    zero, never NaN, at a singularity (where rounding can make the determinant itself negative).
    Yoshikawa, 1985, doi:10.1177/027836498500400201.

    Args:
        q: ``(*batch, n)`` [rad].
        link_lengths: ``(n,)`` [m].

    Returns:
        ``(*batch,)`` [m^2], >= 0.
    """
    columns = jacobian(q, link_lengths)
    xp = array_namespace(columns)
    minors = columns[..., 0, :, None] * columns[..., 1, None, :]
    minors = minors - xp.matrix_transpose(minors)
    squared = xp.sum(minors * minors, axis=(-2, -1)) / 2
    positive = squared > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, squared, xp.ones_like(squared))), xp.zeros_like(squared))


def wrap_angle(angle: Array) -> Array:
    """The same direction in [-pi, pi).

    Args:
        angle: any shape [rad].

    Returns:
        The same shape [rad].
    """
    return (angle + np.pi) % (2 * np.pi) - np.pi
