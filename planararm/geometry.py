"""Points, segments and circles in the plane, for NumPy arrays and torch tensors alike.

Knows no robot. Every function broadcasts over leading axes.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

Array = Any
"""A NumPy array or a torch tensor."""


def closest_parameter(point: Array, start: Array, end: Array) -> Array:
    """Where on a segment the point nearest to ``point`` lies.

    ``a = clip((point - start) . (end - start) / |end - start|^2, 0, 1)``; 0 for a segment of length zero.

    Args:
        point: ``(*batch, 2)`` [m].
        start: ``(*batch, 2)`` first end [m].
        end: ``(*batch, 2)`` second end [m].

    Returns:
        ``(*batch,)`` in [0, 1].
    """
    xp = array_namespace(point, start, end)
    along = end - start
    squared = xp.sum(along * along, axis=-1)
    safe = xp.where(squared > 0, squared, xp.ones_like(squared))
    return xp.clip(xp.sum((point - start) * along, axis=-1) / safe, 0.0, 1.0)


def closest_point(point: Array, start: Array, end: Array) -> Array:
    """The point of a segment nearest to ``point``: ``start + a (end - start)``.

    Args:
        point: ``(*batch, 2)`` [m].
        start: ``(*batch, 2)`` [m].
        end: ``(*batch, 2)`` [m].

    Returns:
        ``(*batch, 2)`` [m].
    """
    return start + closest_parameter(point, start, end)[..., None] * (end - start)


def norm(vector: Array) -> Array:
    """Euclidean length over the last axis, with a zero gradient (not NaN) at the zero vector.

    Args:
        vector: ``(*batch, 2)``.

    Returns:
        ``(*batch,)``.
    """
    xp = array_namespace(vector)
    squared = xp.sum(vector * vector, axis=-1)
    positive = squared > 0
    root = xp.sqrt(xp.where(positive, squared, xp.ones_like(squared)))
    return xp.where(positive, root, xp.zeros_like(root))


def capsule_disc_distance(start: Array, end: Array, capsule_radius: Array, center: Array, radius: Array) -> Array:
    """Signed distance between a capsule and a disc: ``|x - c| - r - rho``.

    ``x`` is the point of the capsule's axis nearest to the disc's centre ``c``.

    Args:
        start: ``(*batch, 2)`` one end of the capsule's axis [m].
        end: ``(*batch, 2)`` the other end [m].
        capsule_radius: ``(*batch,)`` or a number [m].
        center: ``(*batch, 2)`` [m].
        radius: ``(*batch,)`` [m].

    Returns:
        ``(*batch,)`` [m]; > 0 apart, < 0 penetration.
    """
    return norm(closest_point(center, start, end) - center) - radius - capsule_radius


def _cross(u: Array, v: Array) -> Array:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def segment_distance(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Distance between the segments ``ab`` and ``cd``: 0 if they cross, else the nearest end to the other segment.

    Args:
        a: ``(*batch, 2)`` [m].
        b: ``(*batch, 2)`` [m].
        c: ``(*batch, 2)`` [m].
        d: ``(*batch, 2)`` [m].

    Returns:
        ``(*batch,)`` [m], >= 0.
    """
    xp = array_namespace(a, b, c, d)
    ends = [(a, c, d), (b, c, d), (c, a, b), (d, a, b)]
    nearest = xp.stack([norm(closest_point(p, s, e) - p) for p, s, e in ends], axis=-1)
    distance = xp.min(nearest, axis=-1)
    crosses = (_cross(b - a, c - a) * _cross(b - a, d - a) < 0) & (_cross(d - c, a - c) * _cross(d - c, b - c) < 0)
    return xp.where(crosses, xp.zeros_like(distance), distance)
