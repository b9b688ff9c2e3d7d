"""The free configuration on a target that is nearest to where the arm is: smallest largest-joint change.

For three links the self-motion curve is sampled between its breaks, evenly in a parameter in which no joint
angle has infinite slope, and the best sample on each branch is refined by zooming in. Where no sample is
free, the branch and bound of :mod:`.ground_truth` has the last word, so "none" is as good as its verdict.
"""

from __future__ import annotations

import math

import numpy as np

from .ground_truth import REACHABLE, WITNESS_SLACK, solve_three, workspace
from .launch import entry, jit
from .self_motion import (
    RELATIVE_TOLERANCE,
    WRIST_X,
    WRIST_Y,
    bisect,
    copy_angles,
    elbow_direction,
    limit_breaks,
    limit_configurations,
    load_discs,
    monotone_breaks,
    pose_clearance,
    relative_angles,
    set_point,
    two_link,
    within_limits,
)

FREE, BLOCKED, OUT_OF_REACH = 1, 0, -1
"""Status; the stage of the search in which a configuration was found, counted down from 1."""

SAMPLES = 72
"""Samples of the curve, per elbow and mirror image, shared out among its pieces by their length."""

FEWEST_SAMPLES = 12
FOLDED_SAMPLES = 512

ZOOM_ROUNDS = 16
ZOOM_SHRINK = 0.3
ZOOM_WINDOW = 0.3
"""Branches whose best sample costs at most this much [rad] more than the best of all are refined."""

MAX_JUMP, TIP_ERROR = 0, 1


@jit
def _cost(angles, q_from, lengths, limits, objective, target, trial):
    """Largest joint change from ``q_from``, inf outside the limits; or the tip's error after clipping."""
    if objective == MAX_JUMP:
        if not within_limits(angles, q_from, limits, trial):
            return np.inf
        return max(abs(trial[0] - q_from[0]), abs(trial[1] - q_from[1]), abs(trial[2] - q_from[2]))
    x, y, heading = 0.0, 0.0, 0.0
    for i in range(3):
        middle = 0.5 * (limits[i, 0] + limits[i, 1])
        turns = math.floor((middle - angles[i]) / (2 * math.pi) + 0.5)
        trial[i] = min(max(angles[i] + 2 * math.pi * turns, limits[i, 0]), limits[i, 1])
        heading += trial[i]
        x, y = x + lengths[i] * math.cos(heading), y + lengths[i] * math.sin(heading)
    return math.hypot(x - target[0], y - target[1])


@jit
def _free_cost(work, problem, a, b, theta, combination, worst):
    """Cost of one configuration between headings ``a`` and ``b``, inf if not below ``worst`` or not free."""
    points, angles = work[0], work[7]
    discs, m, d, bearing, lengths, limits, q_from, least, objective, target = problem
    elbow, mirror = 1.0 - 2.0 * (combination % 2), 1.0 - 2.0 * (combination // 2)
    heading = 0.5 * (a + b) - 0.5 * (b - a) * math.cos(theta)
    set_point(points, 0, math.cos(heading), math.sin(heading), d, lengths[0], lengths[1], lengths[2])
    point = points[0]
    angles[0, 0], angles[0, 1], angles[0, 2] = relative_angles(point, elbow, mirror, lengths[0], bearing)
    cost = _cost(angles[0], q_from, lengths, limits, objective, target, angles[1])
    if cost >= worst:
        return np.inf
    if m > 0:
        ux, uy = elbow_direction(point, elbow)
        ex, ey = lengths[0] * ux, lengths[0] * uy
        if pose_clearance(discs, m, mirror, ex, ey, point[WRIST_X], point[WRIST_Y], d) < least:
            return np.inf
    return cost


@jit
def _is_within(work, problem, k, combination):
    """Whether the piece after break ``k`` is within the limits: there they hold everywhere or nowhere."""
    points, breaks, angles = work[0], work[5], work[7]
    d, bearing, lengths, limits, q_from, objective = (
        problem[2],
        problem[3],
        problem[4],
        problem[5],
        problem[6],
        problem[8],
    )
    if objective == TIP_ERROR:
        return True
    for side in range(2):
        set_point(points, side, breaks[k + side, 0], breaks[k + side, 1], d, lengths[0], lengths[1], lengths[2])
    bisect(points, 2, 0, 1, d, lengths[0], lengths[1], lengths[2])
    elbow, mirror = 1.0 - 2.0 * (combination % 2), 1.0 - 2.0 * (combination // 2)
    angles[0, 0], angles[0, 1], angles[0, 2] = relative_angles(points[2], elbow, mirror, lengths[0], bearing)
    return within_limits(angles[0], q_from, limits, angles[1])


@jit
def _zoom(work, problem, a, b, theta, half, combination, best, q):
    """Refine a sample by ever closer neighbours; ``q`` holds the best configuration."""
    angles = work[7]
    for _ in range(ZOOM_ROUNDS):
        centre = theta
        for k in range(-4, 5):
            near = min(max(centre + 0.25 * k * half, 0.0), math.pi)
            cost = _free_cost(work, problem, a, b, near, combination, best)
            if cost < best:
                best, theta = cost, near
                copy_angles(angles[1], q)
        half *= ZOOM_SHRINK
    return best


@jit
def _nearest_on_curve(work, problem, count, q):
    """Smallest cost of a free configuration on the curve between the breaks, inf if no sample is free."""
    breaks, angles = work[5], work[7]
    seeds = np.empty((4, 5))
    whole = breaks[count - 1, 2] - breaks[0, 2]
    best = np.inf
    for combination in range(4):
        seeds[combination, 0] = np.inf
        for k in range(count - 1):
            a = math.atan2(breaks[k, 1], breaks[k, 0])
            b = math.atan2(breaks[k + 1, 1], breaks[k + 1, 0])
            if not _is_within(work, problem, k, combination):
                continue
            samples = FEWEST_SAMPLES
            if whole > 0:
                samples += int(SAMPLES * (breaks[k + 1, 2] - breaks[k, 2]) / whole)
            for i in range(samples + 1):
                theta = math.pi * i / samples
                cost = _free_cost(work, problem, a, b, theta, combination, seeds[combination, 0])
                if cost < seeds[combination, 0]:
                    seeds[combination, 0], seeds[combination, 1] = cost, theta
                    seeds[combination, 2], seeds[combination, 3], seeds[combination, 4] = (
                        a,
                        b,
                        math.pi / samples,
                    )
                    if cost < best:
                        best = cost
                        copy_angles(angles[1], q)
    sampled = best
    for combination in range(4):
        cost, theta, a, b, step = seeds[combination]
        if cost < np.inf and cost <= sampled + ZOOM_WINDOW:
            best = _zoom(work, problem, a, b, theta, step, combination, best, q)
    return best


@jit
def _nearest_pose(work, problem, h1, q2, q3, best, q):
    """Cost of one configuration, given by first heading and relative angles, if free and below ``best``."""
    angles = work[7]
    discs, m, d, bearing, lengths, limits, q_from, least, objective, target = problem
    angles[0, 0], angles[0, 1], angles[0, 2] = bearing + h1, q2, q3
    cost = _cost(angles[0], q_from, lengths, limits, objective, target, angles[1])
    if cost < best:
        ex, ey = lengths[0] * math.cos(h1), lengths[0] * math.sin(h1)
        wx, wy = ex + lengths[1] * math.cos(h1 + q2), ey + lengths[1] * math.sin(h1 + q2)
        if pose_clearance(discs, m, 1.0, ex, ey, wx, wy, d) >= least:
            best = cost
            copy_angles(angles[1], q)
    return best


@jit
def _nearest(work, x, y, q_from, lengths, limits, centers, radii, base, link_radius, margin, objective, target, q):
    """Smallest cost of a free configuration that reaches ``base + (x, y)``, inf if none was found."""
    l1, l2, l3 = lengths[0], lengths[1], lengths[2]
    d, reach = math.hypot(x, y), l1 + l2 + l3
    slack = RELATIVE_TOLERANCE * reach
    if d > reach + slack or d < 2 * max(l1, l2, l3) - reach - slack:
        return np.inf
    ux, uy = (x / d, y / d) if d > 0 else (1.0, 0.0)
    bearing = math.atan2(uy, ux)
    discs, breaks, found = work[4], work[5], work[6]
    m = load_discs(discs, centers, radii, base[0], base[1], ux, uy, link_radius)
    problem = (discs, m, d, bearing, lengths, limits, q_from, margin + WITNESS_SLACK * reach, objective, target)
    best = np.inf
    if l3 > 0:
        count = monotone_breaks(breaks, d, l1, l2, l3)
        num_found = limit_configurations(found, d, lengths, limits, bearing, False)
        count = limit_breaks(breaks, count, found, num_found, bearing)
        best = _nearest_on_curve(work, problem, count, q)
    num_found = limit_configurations(found, d, lengths, limits, bearing, True)
    for k in range(num_found):
        best = _nearest_pose(work, problem, found[k, 0] - bearing, found[k, 1], found[k, 2], best, q)
    if l3 == 0:
        for branch in range(2):
            h1, q2 = 0.0, 0.0
            if l2 > 0:
                h1, q2, _ = two_link(d, 0.0, l1, l2, 1.0 - 2.0 * branch)
            best = _nearest_pose(work, problem, h1, q2, 0.0, best, q)
    if abs(l1 - l2) <= slack and abs(d - l3) <= slack:
        # The second link folded back on the first: the first may point anywhere.
        for k in range(FOLDED_SAMPLES):
            h1 = q_from[0] - bearing + 2 * math.pi * k / FOLDED_SAMPLES
            best = _nearest_pose(work, problem, h1, math.pi, 0.0 if l3 == 0 else math.pi - h1, best, q)
    if best == np.inf and objective == MAX_JUMP:
        verdict, _ = solve_three(
            work, x, y, 0.0, q_from, lengths, limits, centers, radii, base, link_radius, margin, np.inf, q
        )
        if verdict == REACHABLE:
            best = max(abs(q[0] - q_from[0]), abs(q[1] - q_from[1]), abs(q[2] - q_from[2]))
    return best


@entry
def nearest_kernel(start, stop, targets, q_from, centers, radii, lengths, limits, base, link_radius, margin, status, q):
    """Nearest free configuration per target, else the nearest within limits, else one with its tip near."""
    work = workspace(centers.shape[1])
    no_centers, no_radii = np.empty((0, 2)), np.empty(0)
    l1, l2, l3 = lengths[0], lengths[1], lengths[2]
    reach = l1 + l2 + l3
    inner = max(2 * max(l1, l2, l3) - reach, 0.0)
    goal = np.empty(2)
    for i in range(start, stop):
        j = i if centers.shape[0] > 1 else 0
        goal[0], goal[1] = targets[i, 0] - base[0], targets[i, 1] - base[1]
        d = math.hypot(goal[0], goal[1])
        scale = min(max(d, inner), reach) / d if d > 0 else 1.0
        for stage in range(3):
            # Among the discs, without them, then for the nearest point of the workspace.
            x, y, near_centers, near_radii = goal[0], goal[1], no_centers, no_radii
            if stage == 0:
                near_centers, near_radii = centers[j], radii[j]
            elif stage == 2:
                x, y = (scale * goal[0], scale * goal[1]) if d > 0 else (inner, 0.0)
            cost = _nearest(
                work, x, y, q_from[i], lengths, limits, near_centers, near_radii, base, link_radius,
                margin, stage // 2, goal, q[i],
            )  # fmt: skip
            status[i] = FREE - stage
            if cost < np.inf:
                break
