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

from .chain import axis_distance
from .launch import entry, jit

FREE, CONTACT, UNDECIDED = 1, 0, -1
MAX_EVENTS = 4096
ROUNDING = 1e-14
BLOCK = 64
"""Motions that are worked on together: enough to spread the cost of a call, few enough to stay in the cache."""


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
def _free_time(
    gap, along, wall, cx, cy, ux, uy, drifted, ax, ay, bx, by, vax, vay, vbx, vby, length, turn, fastest, bend_a,
    bend_b, bend_line, base_x, base_y, resolution,
):
    """How long a link stays clear of a disc: the best of the three bounds, or any time >= 1 for the whole motion.

    Numbers only, so that it is inlined: ``gap`` is the distance to the axis, taken at ``along`` of it; ``wall``
    = radii + margin; a and b are the link's ends, ``v`` their velocities; ``fastest`` and ``bend`` the bounds above,
    ``bend_line`` without the disc's share. The cheap answers come first: most pairs are far, or in contact.
    """
    clear = gap - wall
    if clear <= 0.0:
        return 0.0
    if clear >= fastest:
        return 1.0
    scale = 1.0 / gap
    nx, ny = (ax + along * (bx - ax) - cx) * scale, (ay + along * (by - ay) - cy) * scale
    slope_a, slope_b = nx * (vax - ux) + ny * (vay - uy), nx * (vbx - ux) + ny * (vby - uy)
    slope = slope_a + along * (slope_b - slope_a)
    if clear + slope * resolution < 0.0:
        # It closes within the resolution.
        return 0.0
    # The disc's farthest distance from the base during the motion bounds the turning line's curvature.
    farthest = math.sqrt((cx - base_x) ** 2 + (cy - base_y) ** 2) + drifted
    bend_line += farthest * turn * turn + 2.0 * turn * drifted
    f_a, f_b = nx * (ax - cx) + ny * (ay - cy) - wall, nx * (bx - cx) + ny * (by - cy) - wall
    if f_a + slope_a >= 0.5 * bend_a and f_b + slope_b >= 0.5 * bend_b and min(f_a, f_b) >= 0.0:
        return 1.0
    f_line = clear
    if along <= 0.0 or along >= 1.0:
        nx, ny = -(by - ay) / length, (bx - ax) / length
        offset = nx * (ax - cx) + ny * (ay - cy)
        if offset < 0.0:
            nx, ny, offset = -nx, -ny, -offset
        f_line = offset - wall
        foot = ((cx - ax) * (bx - ax) + (cy - ay) * (by - ay)) / (length * length)
        slope = nx * (vax + foot * (vbx - vax) - ux) + ny * (vay + foot * (vby - vay) - uy)
    if f_line >= 0.0 and f_line + slope >= 0.5 * bend_line:
        return 1.0
    best = max(clear / fastest, _time_above_zero(f_line, slope, bend_line))
    return max(best, min(_time_above_zero(f_a, slope_a, bend_a), _time_above_zero(f_b, slope_b, bend_b)))


@jit
def free_fractions(
    rows, which, phi, rates, lengths, base, link_radius, centers, drift, radii, joints, pairs, gaps, margins, until,
    count, resolution, fraction,
):
    """How far each of a block of motions is certified free: 1 for all of it.

    Args:
        rows: Number of motions R; the arrays may have more rows.
        which: ``(R,)`` which element of the discs' batch each motion is among.
        phi: ``(R, n)`` headings at t = 0.
        rates: ``(R, n)`` their change over the motion.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        centers: ``(N, m, 2)`` at t = 0.
        drift: ``(N, m, 2)`` displacement over the motion.
        radii: ``(N, m)``.
        joints: ``(R, n + 1, 2)`` positions at t = 0; overwritten.
        pairs: ``(R, P, 2)`` pairs (link, disc) to look at: the first ``count`` of each row.
        gaps: ``(R, P, 2)`` of each pair at t = 0: distance of the disc's centre to the link's axis, and the fraction
            of the axis where it is taken (:func:`planararm.kernels.chain.axis_distance`).
        margins: ``(R, P)`` distance that each pair must keep.
        until: ``(R, P)`` zeros; filled with the moment up to which each pair is known to be free.
        count: ``(R,)`` number of pairs.
        resolution: Give up where a pair gains less than this part of the motion.
        fraction: ``(R,)`` out.
    """
    n = lengths.size
    speeds, bounds = np.empty((n + 1, 2)), np.empty((3, n + 1))
    base_x, base_y = base[0], base[1]
    rounding = ROUNDING * (1.0 + abs(base_x) + abs(base_y) + 2.0 * lengths.sum())
    for r in range(rows):
        fraction[r] = 1.0
        if count[r] == 0:
            continue
        i = which[r]
        bounds[0, 0] = bounds[1, 0] = 0.0
        way, total = 0.0, 0.0
        for k in range(n):
            rate = rates[r, k]
            # sum_{j<k} l_j (w_j - w_k)^2, multiplied out.
            bounds[2, k] = max(0.0, bounds[1, k] - 2.0 * rate * way + rate * rate * total)
            way += lengths[k] * rate
            total += lengths[k]
            bounds[0, k + 1] = bounds[0, k] + lengths[k] * abs(rate)
            bounds[1, k + 1] = bounds[1, k] + lengths[k] * rate * rate
        t = 0.0
        for event in range(MAX_EVENTS):
            speeds[0, 0] = speeds[0, 1] = 0.0
            for k in range(n):
                speeds[k + 1, 0] = speeds[k, 0] - rates[r, k] * (joints[r, k + 1, 1] - joints[r, k, 1])
                speeds[k + 1, 1] = speeds[k, 1] + rates[r, k] * (joints[r, k + 1, 0] - joints[r, k, 0])
            upcoming, smallest_gain = 1.0, np.inf
            for p in range(count[r]):
                if until[r, p] > t + resolution:
                    upcoming = min(upcoming, until[r, p])
                    continue
                k, j = pairs[r, p, 0], pairs[r, p, 1]
                ux, uy = drift[i, j, 0], drift[i, j, 1]
                cx, cy = centers[i, j, 0] + t * ux, centers[i, j, 1] + t * uy
                ax, ay, bx, by = joints[r, k, 0], joints[r, k, 1], joints[r, k + 1, 0], joints[r, k + 1, 1]
                gap, along = gaps[r, p, 0], gaps[r, p, 1]
                if event > 0:
                    gap, along = axis_distance(ax, ay, bx, by, cx, cy)
                drifted = 0.0
                if ux != 0.0 or uy != 0.0:
                    drifted = math.sqrt(ux * ux + uy * uy)
                radius = radii[i, j]
                wall = radius + link_radius + margins[r, p] + rounding + ROUNDING * (abs(cx) + abs(cy) + radius)
                gain = _free_time(
                    gap, along, wall, cx, cy, ux, uy, drifted,
                    ax, ay, bx, by, speeds[k, 0], speeds[k, 1], speeds[k + 1, 0], speeds[k + 1, 1], lengths[k],
                    abs(rates[r, k]), bounds[0, k + 1] + drifted, bounds[1, k], bounds[1, k + 1], bounds[2, k],
                    base_x, base_y, resolution,
                )
                until[r, p] = max(until[r, p], t + gain)
                upcoming = min(upcoming, until[r, p])
                smallest_gain = min(smallest_gain, gain)
            if smallest_gain < resolution:
                break
            t = upcoming
            if t >= 1.0:
                break
            for k in range(n):
                heading = phi[r, k] + t * rates[r, k]
                joints[r, k + 1, 0] = joints[r, k, 0] + lengths[k] * math.cos(heading)
                joints[r, k + 1, 1] = joints[r, k, 1] + lengths[k] * math.sin(heading)
        fraction[r] = min(1.0, t)


@jit
def plan_motions(
    first, rows, q_start, q_end, lengths, base, centers, present, margin, which, phi, rates, joints, pairs, gaps,
    margins, until, count,
):
    """Fill a block for :func:`free_fractions`: the motions from ``q_start[first:]`` to ``q_end[first:]``.

    All pairs of the discs that are present in the elements ``which`` of the batch, one margin.
    """
    n = lengths.size
    for r in range(rows):
        i = first + r
        heading, turned = 0.0, 0.0
        joints[r, 0, 0], joints[r, 0, 1] = base[0], base[1]
        for k in range(n):
            heading += q_start[i, k]
            turned += q_end[i, k] - q_start[i, k]
            phi[r, k], rates[r, k] = heading, turned
            joints[r, k + 1, 0] = joints[r, k, 0] + lengths[k] * math.cos(heading)
            joints[r, k + 1, 1] = joints[r, k, 1] + lengths[k] * math.sin(heading)
        count[r] = 0
        for j in range(present.shape[1]):
            if present[which[r], j]:
                for k in range(n):
                    pairs[r, count[r], 0], pairs[r, count[r], 1] = k, j
                    gaps[r, count[r], 0], gaps[r, count[r], 1] = axis_distance(
                        joints[r, k, 0], joints[r, k, 1], joints[r, k + 1, 0], joints[r, k + 1, 1],
                        centers[which[r], j, 0], centers[which[r], j, 1],
                    )
                    margins[r, count[r]], until[r, count[r]] = margin, 0.0
                    count[r] += 1


@jit
def _in_contact(r, i, t, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins, count, joints):
    """Whether a pair of motion ``r`` is nearer than its margin at ``t``."""
    for k in range(lengths.size):
        heading = phi[r, k] + t * rates[r, k]
        joints[r, k + 1, 0] = joints[r, k, 0] + lengths[k] * math.cos(heading)
        joints[r, k + 1, 1] = joints[r, k, 1] + lengths[k] * math.sin(heading)
    for p in range(count[r]):
        k, j = pairs[r, p, 0], pairs[r, p, 1]
        gap, _ = axis_distance(
            joints[r, k, 0], joints[r, k, 1], joints[r, k + 1, 0], joints[r, k + 1, 1],
            centers[i, j, 0] + t * drift[i, j, 0], centers[i, j, 1] + t * drift[i, j, 1],
        )
        if gap < radii[i, j] + link_radius + margins[r, p]:
            return True
    return False


@entry
def certify_motions(
    start, stop, q_start, q_end, lengths, base, link_radius, centers, drift, radii, present, margin, tolerance,
    status, fraction, contact_time,
):
    """Certify the motions ``[start, stop)`` of a batch: status, certified fraction, contact time (or nan)."""
    n = lengths.size
    most = n * radii.shape[1]
    which, count, free = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK)
    phi, rates, joints = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n + 1, 2))
    pairs, gaps = np.empty((BLOCK, most, 2), np.int64), np.empty((BLOCK, most, 2))
    margins, until = np.empty((BLOCK, most)), np.empty((BLOCK, most))
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        for r in range(rows):
            which[r] = first + r
        plan_motions(
            first, rows, q_start, q_end, lengths, base, centers, present, margin, which, phi, rates, joints, pairs,
            gaps, margins, until, count,
        )
        free_fractions(
            rows, which, phi, rates, lengths, base, link_radius, centers, drift, radii, joints, pairs, gaps, margins,
            until, count, 1e-3 * tolerance, free,
        )
        for r in range(rows):
            i = first + r
            status[i], fraction[i], contact_time[i] = FREE, free[r], np.nan
            if free[r] < 1.0:
                status[i] = UNDECIDED
                # At the very moment and at several after it: the arm may leave the disc again within the tolerance.
                for step in range(7):
                    probe = min(1.0, free[r] + (tolerance * 0.25 ** (6 - step) if step > 0 else 0.0))
                    if status[i] == UNDECIDED and _in_contact(
                        r, i, probe, phi, rates, lengths, base, link_radius, centers, drift, radii, pairs, margins,
                        count, joints,
                    ):
                        status[i], contact_time[i] = CONTACT, probe
