"""Ground truth for three links: the free configuration of largest clearance on a target, by branch and bound.

The self-motion curve (:mod:`.self_motion`) is cut where a joint meets a limit, so that limits hold on all of
a piece or nowhere, and where its ranges stop being monotone. On a piece no point of a link is further from
where it is at the middle than the ranges of the two moving joints allow, so for every link and disc

    clearance on the piece <= distance at the middle + displacement of the link's nearest point there.

A piece whose bound is below the safety margin holds no free configuration, one whose bound is at most the
best clearance found plus the tolerance holds none worth finding; the others are halved. The bounds carry a
slack for rounding, so a verdict is wrong in neither direction; between them lies "undecided".
"""

from __future__ import annotations

import math

import numpy as np

from .candidates import (
    MAX_PIECES,
    enough_bound,
    fold_candidates,
    folded_back,
    limit_candidates,
    two_link_candidates,
)
from .launch import entry, jit
from .self_motion import (
    COS,
    COS_SHOULDER,
    MAX_BREAKS,
    POINT_WIDTH,
    RELATIVE_TOLERANCE,
    SIN,
    SIN_SHOULDER,
    TO_WRIST_X,
    TO_WRIST_Y,
    WRIST_X,
    WRIST_Y,
    bisect,
    copy_angles,
    elbow_direction,
    limit_breaks,
    limit_configurations,
    load_discs,
    monotone_breaks,
    relative_angles,
    segment_point,
    set_point,
    within_limits,
)

REACHABLE, UNREACHABLE, UNDECIDED = 1, 0, -1

RELATIVE_SLACK = 1e-7
"""Slack of every bound, as a fraction of the reach: above a fold's error, the root of the rounding unit."""

WITNESS_SLACK = 4e-12
"""What a witness's clearance must exceed the margin by, as a fraction of the reach: other arithmetic shall agree."""


POINTS, TOP, STUCK, LIMITED = range(4)


@jit
def workspace(max_discs):
    """One thread's scratch: points, pieces, bounds, counters, discs, breaks, limit configurations, angles."""
    size = MAX_PIECES + 4 * MAX_BREAKS
    return (
        np.empty((size, POINT_WIDTH)),
        np.empty((size, 4), dtype=np.int64),
        np.empty(size),
        np.empty(4, dtype=np.int64),
        np.empty((max_discs, 3)),
        np.empty((MAX_BREAKS, 3)),
        np.empty((12, 3)),
        np.empty((2, 3)),
    )


@jit
def _chord(points, a, b, x, y):
    dx, dy = points[a, x] - points[b, x], points[a, y] - points[b, y]
    return math.sqrt(dx * dx + dy * dy)


@jit
def _swing(points, end, middle):
    """Bound on how far the first link's unit vector gets from the middle towards one end."""
    bearing = _chord(points, end, middle, TO_WRIST_X, TO_WRIST_Y)
    shoulder = _chord(points, end, middle, COS_SHOULDER, SIN_SHOULDER)
    return min(2.0, bearing + shoulder)


@jit
def _clearance_and_bound(points, a, b, middle, elbow, mirror, discs, m, d, l1, l3, enough):
    """Clearance in the middle of a piece and a bound on the piece; neither is final once below ``enough``."""
    first = l1 * max(_swing(points, a, middle), _swing(points, b, middle))
    last = l3 * max(_chord(points, a, middle, COS, SIN), _chord(points, b, middle, COS, SIN))
    ux, uy = elbow_direction(points[middle], elbow)
    ex, ey, wx, wy = l1 * ux, l1 * uy, points[middle, WRIST_X], points[middle, WRIST_Y]
    clearance, bound = np.inf, np.inf
    for j in range(m):
        cx, cy, radius = discs[j, 0], mirror * discs[j, 1], discs[j, 2]
        distance, at = segment_point(cx, cy, 0.0, 0.0, ex, ey)
        clearance, bound = min(clearance, distance - radius), min(bound, distance - radius + at * first)
        distance, at = segment_point(cx, cy, ex, ey, wx, wy)
        clearance = min(clearance, distance - radius)
        bound = min(bound, distance - radius + (1 - at) * first + at * last)
        distance, at = segment_point(cx, cy, wx, wy, d, 0.0)
        clearance, bound = min(clearance, distance - radius), min(bound, distance - radius + (1 - at) * last)
        if bound <= enough:
            break
    return clearance, bound


@jit
def _tip_clearance(discs, m, d):
    """Clearance of the target itself and of the base, which every configuration touches."""
    smallest = np.inf
    for j in range(m):
        at_base = math.hypot(discs[j, 0], discs[j, 1])
        at_tip = math.hypot(discs[j, 0] - d, discs[j, 1])
        smallest = min(smallest, min(at_base, at_tip) - discs[j, 2])
    return smallest


@jit
def _inspect(work, problem, left, right, combination, best, q):
    """Take a piece's middle as a witness if it is one, keep the piece if it may hold a better one.

    Returns the best clearance so far; ``q`` is the configuration that has it.
    """
    points, pieces, bounds, counters, angles = work[0], work[1], work[2], work[3], work[7]
    discs, m, d, bearing, lengths, limits, near = problem[:7]
    elbow, mirror = 1.0 - 2.0 * (combination % 2), 1.0 - 2.0 * (combination // 2)
    middle, top = counters[POINTS], counters[TOP]
    divisible = bisect(points, middle, left, right, d, lengths[0], lengths[1], lengths[2])
    if counters[LIMITED]:
        angles[0, 0], angles[0, 1], angles[0, 2] = relative_angles(points[middle], elbow, mirror, lengths[0], bearing)
        if not within_limits(angles[0], near, limits, angles[1]):
            return best
    enough = enough_bound(problem, best)
    clearance, bound = _clearance_and_bound(
        points, left, right, middle, elbow, mirror, discs, m, d, lengths[0], lengths[2], enough
    )
    if bound <= enough:
        return best
    if clearance > best:
        angles[0, 0], angles[0, 1], angles[0, 2] = relative_angles(points[middle], elbow, mirror, lengths[0], bearing)
        if within_limits(angles[0], near, limits, angles[1]):
            best = clearance
            copy_angles(angles[1], q)
    if not divisible:
        counters[STUCK] = 1
        return best
    pieces[top, 0], pieces[top, 1], pieces[top, 2], pieces[top, 3] = left, middle, right, combination
    bounds[top] = bound
    counters[POINTS], counters[TOP] = middle + 1, top + 1
    return best


@jit
def _search(work, problem, ceiling, best, q):
    """Halve the pieces until none can hold a better configuration; best clearance, and whether it ended."""
    pieces, bounds, counters = work[1], work[2], work[3]
    # The seeds were cut where limits begin and end: what holds in the middle of one holds on all of it.
    counters[LIMITED] = 0
    while counters[TOP] > 0:
        counters[TOP] -= 1
        top = counters[TOP]
        if min(bounds[top], ceiling) <= enough_bound(problem, best):
            continue
        if counters[POINTS] >= MAX_PIECES:
            return best, False
        left, middle, right, combination = pieces[top, 0], pieces[top, 1], pieces[top, 2], pieces[top, 3]
        for side in range(2):
            low, high = (left, middle) if side == 0 else (middle, right)
            best = _inspect(work, problem, low, high, combination, best, q)
        last = counters[TOP] - 1
        # The more promising half goes on top: a good witness early prunes the rest.
        if last == top + 1 and bounds[last] < bounds[top]:
            for column in range(3):
                pieces[top, column], pieces[last, column] = pieces[last, column], pieces[top, column]
            bounds[top], bounds[last] = bounds[last], bounds[top]
    return best, counters[STUCK] == 0


@jit
def _seed(work, problem, count, limited, best, q):
    """Put the pieces between the breaks, for both elbows and both mirror images, on the stack."""
    points, counters, breaks = work[0], work[3], work[5]
    d, lengths = problem[2], problem[4]
    for k in range(count):
        set_point(points, k, breaks[k, 0], breaks[k, 1], d, lengths[0], lengths[1], lengths[2])
    counters[POINTS], counters[TOP], counters[STUCK], counters[LIMITED] = count, 0, 0, limited
    for combination in range(4):
        for k in range(count - 1):
            if breaks[k, 2] < breaks[k + 1, 2]:
                best = _inspect(work, problem, k, k + 1, combination, best, q)
    return best


@jit
def solve_three(work, x, y, heading, near, lengths, limits, centers, radii, base, link_radius, margin, tolerance, q):
    """Best free configuration of three links that reaches ``base + (x, y)``.

    Args:
        work: :func:`workspace`.
        x: Target relative to the base [m].
        y: Target relative to the base [m].
        heading: Direction that the first joint angle is measured from [rad].
        near: ``(3,)`` angles are turned, within limits, as near to these as possible.
        lengths: ``(3,)``.
        limits: ``(3, 2)``.
        centers: ``(m, 2)`` discs.
        radii: ``(m,)``; negative: absent.
        base: ``(2,)``.
        link_radius: [m].
        margin: Least clearance of a free configuration [m].
        tolerance: How far from the best clearance the answer may be [m]; inf: any free configuration will do.
        q: ``(3,)`` receives the configuration.

    Returns:
        Verdict and clearance (of the best configuration, if reachable).
    """
    l1, l2, l3 = lengths[0], lengths[1], lengths[2]
    reach = l1 + l2 + l3
    d = math.hypot(x, y)
    if d > reach * (1 + RELATIVE_TOLERANCE) or d < 2 * max(l1, l2, l3) - reach * (1 + RELATIVE_TOLERANCE):
        return UNREACHABLE, -np.inf
    ux, uy = (x / d, y / d) if d > 0 else (1.0, 0.0)
    bearing = math.atan2(uy, ux) - heading
    collapsible = abs(l1 - l2) <= RELATIVE_TOLERANCE * reach and abs(d - l3) <= RELATIVE_TOLERANCE * reach
    if collapsible:
        d = l3
    discs, breaks, found = work[4], work[5], work[6]
    m = load_discs(discs, centers, radii, base[0], base[1], ux, uy, link_radius)
    slack = RELATIVE_SLACK * reach
    ceiling = _tip_clearance(discs, m, d)
    if ceiling < margin - slack:
        return UNREACHABLE, -np.inf
    # A witness must exceed this; "best" stays here until there is one.
    floor = math.nextafter(margin + WITNESS_SLACK * reach, -np.inf)
    problem = (discs, m, d, bearing, lengths, limits, near, margin, floor, max(tolerance - slack, 0.0), slack)
    best, ended = floor, True
    folded_ended = True
    if collapsible:
        best, folded_ended = folded_back(problem, best, q)
    num_found = limit_configurations(found, d, lengths, limits, bearing, False)
    best = limit_candidates(problem, found, num_found, best, work[7][1], q)
    if l3 == 0:
        best = two_link_candidates(problem, best, work[7][1], q)
    else:
        count = monotone_breaks(breaks, d, l1, l2, l3)
        count = limit_breaks(breaks, count, found, num_found, bearing)
        span = limits[:, 1] - limits[:, 0]
        limited = min(span[0], span[1], span[2]) < 2 * math.pi
        best = _seed(work, problem, count, limited, best, q)
        best = fold_candidates(work, problem, count, best, q)
        best, ended = _search(work, problem, ceiling, best, q)
    ended = ended and folded_ended
    if best > floor:
        return REACHABLE, best
    return UNREACHABLE if ended else UNDECIDED, -np.inf


@entry
def reachability_kernel(
    start,
    stop,
    targets,
    centers,
    radii,
    lengths,
    limits,
    base,
    link_radius,
    margin,
    tolerance,
    verdict,
    clearance,
    q,
):
    """:func:`solve_three` over a batch; one set of discs for all, or one per target. No witness: NaN.

    Arms of one or two links have zero-length links appended, with limits that hold no angle back.
    """
    work = workspace(centers.shape[1])
    near = 0.5 * (limits[:, 0] + limits[:, 1])
    for i in range(start, stop):
        j = i if centers.shape[0] > 1 else 0
        x, y = targets[i, 0] - base[0], targets[i, 1] - base[1]
        verdict[i], clearance[i] = solve_three(
            work,
            x,
            y,
            0.0,
            near,
            lengths,
            limits,
            centers[j],
            radii[j],
            base,
            link_radius,
            margin,
            tolerance,
            q[i],
        )
        if verdict[i] != REACHABLE:
            clearance[i] = np.nan
            q[i, 0], q[i, 1], q[i, 2] = np.nan, np.nan, np.nan
