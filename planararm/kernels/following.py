"""Which of its configurations a redundant arm of three links takes on to follow a moving target.

At a target, three links have a curve of configurations. On a grid over this curve (heading of the last link, elbow) and
over the coming targets, dynamic programming finds the cheapest way on which no step exceeds the joints' speed, no
limit is crossed and no disc is touched: an arm that only takes the nearest configuration runs into places where its
curve ends. (Dynamic programming for redundancy: E. Ferrentino and P. Chiacchio, *On the optimal resolution of inverse
kinematics for redundant manipulators using a topological analysis*, J. Mechanisms Robotics 12, 2020,
doi:10.1115/1.4045178.) Targets beyond those that are known are extrapolated at constant speed and curvature.
"""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .launch import entry, jit

COARSE, HALF_WIDTH = 0.06, 50
"""Spacing of the grid [rad] and its half width: all headings of the last link."""

FINE, FINE_HALF_WIDTH = 0.0075, 24
"""The same for the step to be taken now."""

NEIGHBOURS = 6
"""How many grid places the heading of the last link may change in one step."""

SLOPPY = 1.15
"""Grid steps may exceed the joints' speed by this: the true ones lie between the grid's."""

LOST = 1e3
"""Cost of a target that is not met."""

MOST_TURN = 0.15
"""Largest change of a target's direction of motion that is extrapolated [rad per step]."""

NOWHERE = 1e9


@jit
def _configuration(x, y, heading, elbow, lengths, near, limits, q, r):
    """Fill ``q[r]`` with the three joint angles; False if there are none within the limits."""
    wx, wy = x - lengths[2] * math.cos(heading), y - lengths[2] * math.sin(heading)
    cosine = (wx * wx + wy * wy - lengths[0] ** 2 - lengths[1] ** 2) / (2 * lengths[0] * lengths[1])
    if cosine > 1.0 or cosine < -1.0:
        return False
    bend = elbow * math.acos(cosine)
    first = math.atan2(wy, wx) - math.atan2(lengths[1] * math.sin(bend), lengths[0] + lengths[1] * math.cos(bend))
    q[r, 0], q[r, 1], q[r, 2] = first, bend, heading - first - bend
    turn = 2.0 * math.pi
    for a in range(3):
        q[r, a] -= turn * math.floor((q[r, a] - near[a]) / turn + 0.5)
        if q[r, a] > limits[a, 1]:
            q[r, a] -= turn
        if q[r, a] < limits[a, 0]:
            q[r, a] += turn
        if q[r, a] > limits[a, 1] or q[r, a] < limits[a, 0]:
            return False
    return True


@jit
def _discomfort(q, r, lengths, base, reach, link_radius, limits, margin, i, centers, radii, present):
    """How little room configuration ``q[r]`` has to its limits, to the discs and to a singularity."""
    room = np.inf
    for a in range(3):
        room = min(room, q[r, a] - limits[a, 0], limits[a, 1] - q[r, a])
    x, y, heading, clearance = base[0], base[1], 0.0, np.inf
    for k in range(3):
        heading += q[r, k]
        ahead_x, ahead_y = x + lengths[k] * math.cos(heading), y + lengths[k] * math.sin(heading)
        for j in range(radii.shape[1]):
            if present[i, j]:
                gap, _ = axis_distance(x, y, ahead_x, ahead_y, centers[i, j, 0], centers[i, j, 1])
                clearance = min(clearance, gap - radii[i, j] - link_radius)
        x, y = ahead_x, ahead_y
    cost = 1.0 / (room + 0.1) + 0.005 / (max(clearance, 0.0) / reach + 0.0067)
    cost += 0.03 / (0.05 + max(abs(math.sin(q[r, 1])), abs(math.sin(q[r, 2]))))
    return cost + LOST if clearance < margin else cost


@jit
def _within(a, r, b, s, step, factor):
    """Whether no joint moves further than its step from ``a[r]`` to ``b[s]``."""
    return (
        abs(a[r, 0] - b[s, 0]) <= factor * step[0]
        and abs(a[r, 1] - b[s, 1]) <= factor * step[1]
        and abs(a[r, 2] - b[s, 2]) <= factor * step[2]
    )


@entry
def follow_targets(
    start, stop, q, last_motion, targets, num_ahead, step, lengths, base, reach, link_radius, limits, centers, radii,
    present, margin, goal, met,
):
    """One step for the rows ``[start, stop)``.

    Args:
        start: First row.
        stop: Beyond the last row.
        q: ``(N, 3)`` where the arms are.
        last_motion: ``(N, 2)`` how the end effectors moved in the step before.
        targets: ``(N, P, 2)`` coming targets, the first for this step.
        num_ahead: How many steps after this one are looked at.
        step: ``(3,)`` largest joint changes of a step.
        lengths: ``(3,)``.
        base: ``(2,)``.
        reach: Sum of the lengths.
        link_radius: Of the capsules.
        limits: ``(3, 2)``.
        centers: ``(N, M, 2)`` discs.
        radii: ``(N, M)``.
        present: ``(N, M)``.
        margin: Clearance to keep.
        goal: ``(N, 3)`` receives the configuration on the target to go to now.
        met: ``(N,)`` receives whether there is one.
    """
    width = 2 * HALF_WIDTH + 1
    nodes = np.empty((num_ahead, 2 * width, 3))
    value = np.empty((num_ahead, 2 * width))
    trial = np.empty((1, 3))
    for i in range(start, stop):
        heading = q[i, 0] + q[i, 1] + q[i, 2]
        side = 1.0 if q[i, 1] >= 0 else -1.0
        x, y, turned = base[0], base[1], 0.0
        for k in range(3):
            turned += q[i, k]
            x += lengths[k] * math.cos(turned)
            y += lengths[k] * math.sin(turned)
        ux, uy = targets[i, 0, 0] - x, targets[i, 0, 1] - y
        bend = 0.0
        if math.hypot(last_motion[i, 0], last_motion[i, 1]) > 1e-4 * reach and math.hypot(ux, uy) > 1e-4 * reach:
            bend = math.atan2(
                last_motion[i, 0] * uy - last_motion[i, 1] * ux, last_motion[i, 0] * ux + last_motion[i, 1] * uy
            )
            bend = min(MOST_TURN, max(-MOST_TURN, bend))
        x, y = targets[i, 0, 0], targets[i, 0, 1]
        for ahead in range(num_ahead):
            if ahead + 1 < targets.shape[1]:
                ux, uy = targets[i, ahead + 1, 0] - x, targets[i, ahead + 1, 1] - y
            else:
                ux, uy = math.cos(bend) * ux - math.sin(bend) * uy, math.sin(bend) * ux + math.cos(bend) * uy
            x, y = x + ux, y + uy
            for b in range(2 * width):
                place = b % width - HALF_WIDTH
                value[ahead, b] = NOWHERE
                # Places that cannot be reached by then need not be looked at.
                if abs(place) > NEIGHBOURS * (ahead + 2):
                    continue
                elbow = side if b < width else -side
                if _configuration(x, y, heading + place * COARSE, elbow, lengths, q[i], limits, nodes[ahead], b):
                    value[ahead, b] = _discomfort(
                        nodes[ahead], b, lengths, base, reach, link_radius, limits, margin, i, centers, radii, present
                    )
        for ahead in range(num_ahead - 2, -1, -1):
            for b in range(2 * width):
                if value[ahead, b] == NOWHERE:
                    continue
                # No way on: all the targets that follow are lost.
                best = 2.0 * LOST * (num_ahead - ahead)
                for other in range(2):
                    half = b // width if other == 0 else 1 - b // width
                    place = b % width
                    for c in range(max(0, place - NEIGHBOURS), min(width, place + NEIGHBOURS + 1)):
                        after = half * width + c
                        if value[ahead + 1, after] < best and _within(
                            nodes[ahead], b, nodes[ahead + 1], after, step, SLOPPY
                        ):
                            best = value[ahead + 1, after]
                value[ahead, b] += best
        met[i] = False
        least = np.inf
        for other in range(2):
            elbow = side if other == 0 else -side
            for f in range(-FINE_HALF_WIDTH, FINE_HALF_WIDTH + 1):
                if not _configuration(
                    targets[i, 0, 0], targets[i, 0, 1], heading + f * FINE, elbow, lengths, q[i], limits, trial, 0
                ) or not _within(trial, 0, q, i, step, 1.0):
                    continue
                cost = _discomfort(
                    trial, 0, lengths, base, reach, link_radius, limits, margin, i, centers, radii, present
                )
                if cost >= LOST:
                    continue
                best = 2.0 * LOST * (num_ahead + 1) if num_ahead > 0 else 0.0
                if num_ahead > 0:
                    for b in range(2 * width):
                        if value[0, b] < best and _within(trial, 0, nodes[0], b, step, SLOPPY):
                            best = value[0, b]
                if cost + best < least:
                    least = cost + best
                    met[i] = True
                    for a in range(3):
                        goal[i, a] = trial[0, a]
