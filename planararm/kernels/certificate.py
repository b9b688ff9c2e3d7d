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
def pose_at(phi, rates, lengths, base, t, joints):
    """Fill ``joints (n + 1, 2)`` with the positions at t."""
    x, y = base[0], base[1]
    joints[0, 0], joints[0, 1] = x, y
    for k in range(lengths.size):
        heading = phi[k] + t * rates[k]
        x += lengths[k] * math.cos(heading)
        y += lengths[k] * math.sin(heading)
        joints[k + 1, 0], joints[k + 1, 1] = x, y


@jit
def joint_speeds(joints, rates, speeds):
    """Fill ``speeds (n + 1, 2)`` with the joints' velocities (per unit of t)."""
    speeds[0, 0] = speeds[0, 1] = 0.0
    for k in range(rates.size):
        speeds[k + 1, 0] = speeds[k, 0] - rates[k] * (joints[k + 1, 1] - joints[k, 1])
        speeds[k + 1, 1] = speeds[k, 1] + rates[k] * (joints[k + 1, 0] - joints[k, 0])


@jit
def _free_time(
    gap, fraction, wall, cx, cy, ux, uy, ax, ay, bx, by, vax, vay, vbx, vby, fastest, bend_a, bend_b, bend_line
):
    """How long a link stays clear of a disc: the best of the three bounds.

    Numbers only, so that it is inlined: ``gap`` is the distance to the axis, taken at ``fraction`` of it; ``wall``
    = radii + margin; a and b are the link's ends, ``v`` their velocities; ``fastest`` and ``bend`` the bounds above.
    """
    clear = gap - wall
    if clear <= 0.0:
        return 0.0
    best = clear / fastest if fastest > 0.0 else np.inf
    if best >= 1.0:
        return best
    nx, ny = (ax + fraction * (bx - ax) - cx) / gap, (ay + fraction * (by - ay) - cy) / gap
    at_a = _time_above_zero(nx * (ax - cx) + ny * (ay - cy) - wall, nx * (vax - ux) + ny * (vay - uy), bend_a)
    at_b = _time_above_zero(nx * (bx - cx) + ny * (by - cy) - wall, nx * (vbx - ux) + ny * (vby - uy), bend_b)
    best = max(best, min(at_a, at_b))
    if best >= 1.0:
        return best
    length = math.sqrt((bx - ax) * (bx - ax) + (by - ay) * (by - ay))
    nx, ny = -(by - ay) / length, (bx - ax) / length
    offset = nx * (ax - cx) + ny * (ay - cy)
    if offset < 0.0:
        nx, ny, offset = -nx, -ny, -offset
    if offset > wall:
        foot = ((cx - ax) * (bx - ax) + (cy - ay) * (by - ay)) / (length * length)
        vx, vy = vax + foot * (vbx - vax), vay + foot * (vby - vay)
        best = max(best, _time_above_zero(offset - wall, nx * (vx - ux) + ny * (vy - uy), bend_line))
    return best


@jit
def motion_bounds(rates, lengths, bounds):
    """Fill ``bounds (3, n + 1)``: fastest point V and curvature b up to each joint; the line's share of each link."""
    bounds[0, 0] = bounds[1, 0] = 0.0
    for k in range(lengths.size):
        bounds[0, k + 1] = bounds[0, k] + lengths[k] * abs(rates[k])
        bounds[1, k + 1] = bounds[1, k] + lengths[k] * rates[k] * rates[k]
        line = 0.0
        for j in range(k):
            line += lengths[j] * (rates[j] - rates[k]) ** 2
        bounds[2, k] = line


@jit
def free_fraction(
    i, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins, until, count, resolution,
    bounds, joints, speeds,
):
    """How far a motion is certified free: 1 for all of it.

    Discs come as whole batches with the element's index: taking a row of an array costs more, in compiled code,
    than the arithmetic here.

    Args:
        i: Which element of the batch.
        phi: ``(n,)`` headings at t = 0.
        rates: ``(n,)`` their change over the motion.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        centers: ``(N, m, 2)`` at t = 0.
        drift: ``(N, m, 2)`` displacement over the motion.
        radii: ``(N, m)``.
        pairs: ``(P, 2)`` the pairs (link, disc) to look at: the first ``count`` rows.
        margins: ``(P,)`` distance that each pair must keep.
        until: ``(P,)`` zeros; filled with the moment up to which each pair is known to be free.
        count: Number of pairs.
        resolution: Give up where a pair gains less than this part of the motion.
        bounds: ``(3, n + 1)`` from :func:`motion_bounds`.
        joints: ``(n + 1, 2)`` positions at t = 0; overwritten.
        speeds: ``(n + 1, 2)`` scratch.
    """
    joint_speeds(joints, rates, speeds)
    t = 0.0
    for _ in range(MAX_EVENTS):
        upcoming = 1.0
        smallest_gain = np.inf
        for p in range(count):
            if until[p] > t + resolution:
                upcoming = min(upcoming, until[p])
                continue
            k, j = pairs[p, 0], pairs[p, 1]
            ux, uy = drift[i, j, 0], drift[i, j, 1]
            cx, cy = centers[i, j, 0] + t * ux, centers[i, j, 1] + t * uy
            gap, fraction = axis_distance(joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], cx, cy)
            spread = math.sqrt((cx - base[0]) ** 2 + (cy - base[1]) ** 2)
            drifted = 0.0
            if ux != 0.0 or uy != 0.0:
                drifted = math.sqrt(ux * ux + uy * uy)
            wall = radii[i, j] + link_radius + margins[p] + ROUNDING * (1.0 + spread)
            # The disc's farthest distance from the base during the motion bounds the turning line's curvature.
            bend_line = bounds[2, k] + (spread + drifted) * rates[k] * rates[k] + 2.0 * abs(rates[k]) * drifted
            gain = _free_time(
                gap, fraction, wall, cx, cy, ux, uy, joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1],
                speeds[k, 0], speeds[k, 1], speeds[k + 1, 0], speeds[k + 1, 1], bounds[0, k + 1] + drifted,
                bounds[1, k], bounds[1, k + 1], bend_line,
            )
            until[p] = max(until[p], t + gain)
            upcoming = min(upcoming, until[p])
            smallest_gain = min(smallest_gain, gain)
        if smallest_gain < resolution:
            return t
        t = upcoming
        if t >= 1.0:
            return 1.0
        pose_at(phi, rates, lengths, base, t, joints)
        joint_speeds(joints, rates, speeds)
    return t


@jit
def certify_element(
    i, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins, until, count, tolerance,
    bounds, joints, speeds,
):
    """Certify one motion; arguments as in :func:`free_fraction`, ``tolerance``: accuracy of the contact time.

    Returns:
        Status, certified fraction, contact time (nan where there is none).
    """
    pose_at(phi, rates, lengths, base, 0.0, joints)
    t = free_fraction(
        i, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins, until, count,
        1e-3 * tolerance, bounds, joints, speeds,
    )
    if t >= 1.0:
        return FREE, 1.0, np.nan
    probe = min(1.0, t + tolerance)
    pose_at(phi, rates, lengths, base, probe, joints)
    for p in range(count):
        if until[p] < 1.0:
            k, j = pairs[p, 0], pairs[p, 1]
            cx, cy = centers[i, j, 0] + probe * drift[i, j, 0], centers[i, j, 1] + probe * drift[i, j, 1]
            gap, _ = axis_distance(joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], cx, cy)
            if gap < radii[i, j] + link_radius + margins[p]:
                return CONTACT, t, probe
    return UNDECIDED, t, np.nan


@jit
def list_pairs(i, n, present, pairs, until):
    """Fill ``pairs`` with every link and every disc that is present, ``until`` with zeros; the number of pairs."""
    count = 0
    for j in range(present.shape[1]):
        if present[i, j]:
            for k in range(n):
                pairs[count, 0], pairs[count, 1] = k, j
                until[count] = 0.0
                count += 1
    return count


@jit
def certify_motions(
    start, stop, q_start, q_end, lengths, base, link_radius, centers, drift, radii, present, margin, tolerance,
    status, fraction, contact_time,
):
    """Certify the motions ``[start, stop)`` of a batch; see :func:`certify_element`."""
    n = lengths.size
    most = n * radii.shape[1]
    phi, end, rates = np.empty(n), np.empty(n), np.empty(n)
    bounds, joints, speeds = np.empty((3, n + 1)), np.empty((n + 1, 2)), np.empty((n + 1, 2))
    pairs, margins, until = np.empty((most, 2), np.int64), np.full(most, margin), np.empty(most)
    for i in range(start, stop):
        headings(q_start[i], phi)
        headings(q_end[i], end)
        for k in range(n):
            rates[k] = end[k] - phi[k]
        count = list_pairs(i, n, present, pairs, until)
        motion_bounds(rates, lengths, bounds)
        status[i], fraction[i], contact_time[i] = certify_element(
            i, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins, until, count,
            tolerance, bounds, joints, speeds,
        )
