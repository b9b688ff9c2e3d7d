"""Configurations on a target that lie on no proper piece of the self-motion curve.

Isolated ones (a joint exactly at a limit, a curve that is a single point, the elbows of two links), and the
curve of its own that opens where two links of equal length can fold away. Joints fixed by equal limits are
served by the former.

``problem`` is what every step of a search needs: discs and their number, target distance and bearing,
lengths, limits, the angles to stay near to, margin, the clearance that a witness must exceed, tolerance and
slack.
"""

from __future__ import annotations

import math

import numpy as np

from .launch import jit
from .self_motion import (
    WRIST_X,
    WRIST_Y,
    copy_angles,
    elbow_direction,
    pose_clearance,
    relative_angles,
    two_link,
    wind,
    within_limits,
)

MAX_PIECES = 20_000
"""Halvings spent on one target before it is given up as undecided."""


@jit
def limit_candidates(problem, found, num_found, best, trial, q):
    """The best clearance above ``best`` among configurations at a joint limit; ``q`` receives it."""
    discs, m, d, bearing, lengths, limits, near = problem[:7]
    for k in range(num_found):
        if within_limits(found[k], near, limits, trial):
            h1, h2 = found[k, 0] - bearing, found[k, 0] + found[k, 1] - bearing
            ex, ey = lengths[0] * math.cos(h1), lengths[0] * math.sin(h1)
            wx, wy = ex + lengths[1] * math.cos(h2), ey + lengths[1] * math.sin(h2)
            clearance = pose_clearance(discs, m, 1.0, ex, ey, wx, wy, d)
            if clearance > best:
                best = clearance
                copy_angles(trial, q)
    return best


@jit
def two_link_candidates(problem, best, trial, q):
    """The better elbow of two links; of a single link (the second has length zero) its configuration."""
    discs, m, d, bearing, lengths, limits, near = problem[:7]
    for elbow in (1.0, -1.0):
        h1, q2 = 0.0, 0.0
        if lengths[1] > 0:
            h1, q2, _ = two_link(d, 0.0, lengths[0], lengths[1], elbow)
        if within_limits((h1 + bearing, q2, 0.0), near, limits, trial):
            ex, ey = lengths[0] * math.cos(h1), lengths[0] * math.sin(h1)
            clearance = pose_clearance(discs, m, 1.0, ex, ey, d, 0.0, d)
            if clearance > best:
                best = clearance
                copy_angles(trial, q)
    return best


@jit
def enough_bound(problem, best):
    """The bound up to which a piece holds no free configuration, or none better by the tolerance."""
    margin, floor, tolerance, slack = problem[7], problem[8], problem[9], problem[10]
    return margin - slack if best <= floor else best + tolerance


@jit
def folded_back(problem, best, q):
    """Best clearance where the second link lies folded back on the first: a curve of its own.

    The wrist is then at the base, the third link (if any) points at the target, and the first heading is
    free. Returns the best clearance and whether the search ended.
    """
    discs, m, d, bearing, lengths, limits, near = problem[:7]
    cuts, stack = np.empty(6), np.empty((256, 2))
    cuts[0], cuts[5] = -math.pi, math.pi
    for side in range(2):
        # The third relative angle there is pi minus the first heading.
        for k, cut in ((1, limits[0, side] - bearing), (3, math.pi - limits[2, side])):
            cuts[k + side] = cut - 2 * math.pi * math.floor(cut / (2 * math.pi) + 0.5)
    for k in range(2, 5):
        for i in range(k, 1, -1):
            if cuts[i] < cuts[i - 1]:
                cuts[i], cuts[i - 1] = cuts[i - 1], cuts[i]
    spent, ended = 0, True
    for k in range(11):
        # Each cut itself (an interval of length zero), then the interval that follows it.
        stack[0, 0], stack[0, 1] = cuts[k // 2], cuts[(k + 1) // 2]
        top = 1
        while top > 0:
            top -= 1
            spent += 1
            low, high = stack[top, 0], stack[top, 1]
            middle = 0.5 * (low + high)
            q1, inside1 = wind(middle + bearing, near[0], limits[0, 0], limits[0, 1])
            q2, inside2 = wind(math.pi, near[1], limits[1, 0], limits[1, 1])
            q3, inside3 = wind(math.pi - middle, near[2], limits[2, 0], limits[2, 1])
            if not (inside1 and inside2 and inside3):
                continue
            ex, ey = lengths[0] * math.cos(middle), lengths[0] * math.sin(middle)
            clearance = pose_clearance(discs, m, 1.0, ex, ey, 0.0, 0.0, d)
            if clearance > best:
                best = clearance
                q[0], q[1], q[2] = q1, q2, q3
            bound = clearance + 2 * lengths[0] * math.sin(0.25 * (high - low))
            if bound > enough_bound(problem, best) and low < middle < high:
                if spent >= MAX_PIECES or top >= 254:
                    ended = False
                    continue
                stack[top, 0], stack[top, 1] = low, middle
                stack[top + 1, 0], stack[top + 1, 1] = middle, high
                top += 2
    return best, ended


@jit
def fold_candidates(work, problem, count, best, q):
    """The best clearance above ``best`` at the curve's folds: all there is where the curve is a point."""
    points, angles = work[0], work[7]
    discs, m, d, bearing, lengths, limits, near = problem[:7]
    for combination in range(4):
        elbow, mirror = 1.0 - 2.0 * (combination % 2), 1.0 - 2.0 * (combination // 2)
        for k in (0, count - 1):
            point = points[k]
            ux, uy = elbow_direction(point, elbow)
            clearance = pose_clearance(
                discs, m, mirror, lengths[0] * ux, lengths[0] * uy, point[WRIST_X], point[WRIST_Y], d
            )
            if clearance > best:
                angles[0, 0], angles[0, 1], angles[0, 2] = relative_angles(point, elbow, mirror, lengths[0], bearing)
                if within_limits(angles[0], near, limits, angles[1]):
                    best = clearance
                    copy_angles(angles[1], q)
    return best
