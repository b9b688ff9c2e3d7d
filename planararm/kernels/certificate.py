"""Certificate that a straight joint motion touches no disc.

The motion is ``q(t) = q0 + t D``, t in [0, 1]; link k turns at the rate ``w_k = D_1 + ... + D_k`` and a disc may
drift by ``u`` meanwhile. From a moment t on, three lower bounds of the distance between a link and a disc hold
for the time s that follows (d: the distance at t beyond the margin, n: the unit vector from the disc's centre
to the nearest point of the link's axis):

* first order: no point of link k is faster than ``V_k = sum_{j<=k} l_j |w_j|``, so ``d - (V_k + |u|) s``;
* frozen normal: both ends e of the link keep ``f_e + a_e s - b_e s^2 / 2 >= 0`` with ``f_e = n.(x_e - c) - r - rho``,
  ``a_e = n.(dx_e/dt - u)``, ``b_e = sum_{j<=e} l_j w_j^2``; the segment is the convex hull of its ends;
* turning normal: the normal turns with the link, so that the distance of the centre to the link's *line* has the
  curvature bound ``sum_{j<k} l_j (w_j - w_k)^2 + |c - base| w_k^2 + 2 |w_k| |u|``. It does not degrade when the
  link rolls over the disc.

Every pair is free until the best of its three bounds reaches zero and is looked at again only then. The last two
have the true slope of the distance, so the approach to a contact converges quadratically. Compare Schwarzer, Saha
& Latombe, 2005, doi:10.1007/978-3-540-45058-0_3, who bisect with the first-order bound alone.
"""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance, headings
from .launch import jit

FREE, CONTACT, UNDECIDED = 1, 0, -1
MAX_EVENTS = 4096
ROUNDING = 1e-14


@jit
def _time_above_zero(f, slope, curvature):
    """Largest s with ``f + slope s' - curvature s'^2 / 2 >= 0`` for all s' in [0, s]."""
    if f < 0.0:
        return 0.0
    if curvature <= 0.0:
        return np.inf if slope >= 0.0 else f / -slope
    root = math.sqrt(slope * slope + 2.0 * curvature * f)
    if slope >= 0.0:
        return (slope + root) / curvature
    return 2.0 * f / (root - slope)


@jit
def _pose(phi, rates, lengths, base, t, joints, speeds):
    """Joints and their velocities (per unit of t) at t."""
    x, y = base[0], base[1]
    vx, vy = 0.0, 0.0
    joints[0, 0], joints[0, 1] = x, y
    speeds[0, 0], speeds[0, 1] = vx, vy
    for k in range(lengths.size):
        heading = phi[k] + t * rates[k]
        lx, ly = lengths[k] * math.cos(heading), lengths[k] * math.sin(heading)
        x += lx
        y += ly
        vx -= ly * rates[k]
        vy += lx * rates[k]
        joints[k + 1, 0], joints[k + 1, 1] = x, y
        speeds[k + 1, 0], speeds[k + 1, 1] = vx, vy


@jit
def _free_time(k, gap, fraction, wall, cx, cy, ux, uy, center_range, joints, speeds, bounds, lengths, rates):
    """How long link k stays clear: the best of the three bounds.

    ``gap`` is the distance to the axis, ``wall`` = radii + margin, ``bounds`` rows: V_k and b_e of the joints.
    """
    drift = math.sqrt(ux * ux + uy * uy)
    clear = gap - wall
    if clear <= 0.0:
        return 0.0
    fastest = bounds[0, k + 1] + drift
    best = clear / fastest if fastest > 0.0 else np.inf
    ax, ay, bx, by = joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1]
    nx, ny = (ax + fraction * (bx - ax) - cx) / gap, (ay + fraction * (by - ay) - cy) / gap
    frozen = np.inf
    for e in (k, k + 1):
        f = nx * (joints[e, 0] - cx) + ny * (joints[e, 1] - cy) - wall
        slope = nx * (speeds[e, 0] - ux) + ny * (speeds[e, 1] - uy)
        frozen = min(frozen, _time_above_zero(f, slope, bounds[1, e]))
    best = max(best, frozen)
    # The line's normal, on the side away from the disc.
    lx, ly = -(by - ay) / lengths[k], (bx - ax) / lengths[k]
    offset = lx * (ax - cx) + ly * (ay - cy)
    if offset < 0.0:
        lx, ly, offset = -lx, -ly, -offset
    if offset > wall:
        foot = ((cx - ax) * (bx - ax) + (cy - ay) * (by - ay)) / (lengths[k] * lengths[k])
        px = speeds[k, 0] + foot * (speeds[k + 1, 0] - speeds[k, 0])
        py = speeds[k, 1] + foot * (speeds[k + 1, 1] - speeds[k, 1])
        curvature = center_range * rates[k] * rates[k] + 2.0 * abs(rates[k]) * drift
        for j in range(k):
            curvature += lengths[j] * (rates[j] - rates[k]) ** 2
        best = max(best, _time_above_zero(offset - wall, lx * (px - ux) + ly * (py - uy), curvature))
    return best


@jit
def motion_bounds(rates, lengths, bounds):
    """Fill ``bounds (2, n + 1)``: fastest point V and curvature b up to each joint."""
    bounds[0, 0] = bounds[1, 0] = 0.0
    for k in range(lengths.size):
        bounds[0, k + 1] = bounds[0, k] + lengths[k] * abs(rates[k])
        bounds[1, k + 1] = bounds[1, k] + lengths[k] * rates[k] * rates[k]


@jit
def certify_element(
    phi, rates, lengths, base, link_radius, centers, drift, radii, margins, tolerance, free_until, bounds, joints, speeds
):
    """Certify one motion.

    Args:
        phi: ``(n,)`` headings at t = 0.
        rates: ``(n,)`` their change over the motion.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        centers: ``(m, 2)`` at t = 0.
        drift: ``(m, 2)`` displacement over the motion.
        radii: ``(m,)``.
        margins: ``(n, m)`` distance that each pair must keep.
        tolerance: Accuracy of the contact time, fraction of the motion.
        free_until: ``(n, m)`` moment up to which the caller knows each pair to be free (>= 1: skip it); updated.
        bounds: ``(2, n + 1)`` from :func:`motion_bounds`.
        joints: ``(n + 1, 2)`` scratch.
        speeds: ``(n + 1, 2)`` scratch.

    Returns:
        Status, certified fraction, contact time (nan where there is none).
    """
    n, m = free_until.shape
    t = 0.0
    for _ in range(MAX_EVENTS):
        upcoming = 1.0
        for k in range(n):
            for j in range(m):
                upcoming = min(upcoming, free_until[k, j])
        if upcoming >= 1.0:
            return FREE, 1.0, np.nan
        t = upcoming
        _pose(phi, rates, lengths, base, t, joints, speeds)
        smallest_gain = np.inf
        for k in range(n):
            for j in range(m):
                if free_until[k, j] > t + tolerance:
                    continue
                ux, uy = drift[j, 0], drift[j, 1]
                cx, cy = centers[j, 0] + t * ux, centers[j, 1] + t * uy
                gap, fraction = axis_distance(joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], cx, cy)
                start = math.hypot(cx - base[0], cy - base[1])
                end = math.hypot(centers[j, 0] + ux - base[0], centers[j, 1] + uy - base[1])
                wall = radii[j] + link_radius + margins[k, j] + ROUNDING * (1.0 + start)
                gain = _free_time(
                    k, gap, fraction, wall, cx, cy, ux, uy, max(start, end), joints, speeds, bounds, lengths, rates
                )
                free_until[k, j] = max(free_until[k, j], t + gain)
                smallest_gain = min(smallest_gain, gain)
        if smallest_gain < 1e-3 * tolerance:
            break
    probe = min(1.0, t + tolerance)
    _pose(phi, rates, lengths, base, probe, joints, speeds)
    for k in range(n):
        for j in range(m):
            if free_until[k, j] < 1.0:
                cx, cy = centers[j, 0] + probe * drift[j, 0], centers[j, 1] + probe * drift[j, 1]
                gap, _ = axis_distance(joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], cx, cy)
                if gap < radii[j] + link_radius + margins[k, j]:
                    return CONTACT, t, probe
    return UNDECIDED, t, np.nan


@jit
def certify_motions(
    start, stop, q_start, q_end, lengths, base, link_radius, centers, drift, radii, present, margin, tolerance,
    status, fraction, contact_time,
):
    """Certify the motions ``[start, stop)`` of a batch; see :func:`certify_element`."""
    n = lengths.size
    m = radii.shape[1]
    phi, end, rates = np.empty(n), np.empty(n), np.empty(n)
    bounds, joints, speeds = np.empty((2, n + 1)), np.empty((n + 1, 2)), np.empty((n + 1, 2))
    margins = np.full((n, m), margin)
    free_until = np.empty((n, m))
    for i in range(start, stop):
        headings(q_start[i], phi)
        headings(q_end[i], end)
        for k in range(n):
            rates[k] = end[k] - phi[k]
            for j in range(m):
                free_until[k, j] = 0.0 if present[i, j] else np.inf
        motion_bounds(rates, lengths, bounds)
        status[i], fraction[i], contact_time[i] = certify_element(
            phi, rates, lengths, base, link_radius, centers[i], drift[i], radii[i], margins, tolerance,
            free_until, bounds, joints, speeds,
        )
