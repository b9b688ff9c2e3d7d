"""Half-spaces that the step of an arm among discs must stay in: to first order, or safe by construction."""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .launch import jit


@jit
def nearest_rows(
    first, count, rows, q, step, limits, max_step, joints, lengths, link_radius, centers, drift, radii, present, aim, G,
    h, num_rows, pairs, lb, ub,
):
    """Rows of the distances linearised at ``q + step``, to the discs where they are at the step's end."""
    n, m = lengths.size, radii.shape[1]
    pose = np.empty((n + 1, 2))
    for s in range(count):
        r = rows[s]
        i = first + r
        pose[0, 0], pose[0, 1] = joints[r, 0, 0], joints[r, 0, 1]
        heading = 0.0
        for a in range(n):
            lb[s, a] = max(limits[a, 0] - q[i, a], -max_step[a])
            ub[s, a] = min(limits[a, 1] - q[i, a], max_step[a])
            heading += q[i, a] + step[r, a]
            pose[a + 1, 0] = pose[a, 0] + lengths[a] * math.cos(heading)
            pose[a + 1, 1] = pose[a, 1] + lengths[a] * math.sin(heading)
        filled = 0
        for j in range(m):
            if not present[i, j]:
                continue
            cx, cy = centers[i, j, 0] + drift[i, j, 0], centers[i, j, 1] + drift[i, j, 1]
            turn, travel = 0.0, 0.0
            for k in range(n):
                turn += 2.0 * max_step[k]
                travel += lengths[k] * turn
                ux, uy = pose[k + 1, 0] - pose[k, 0], pose[k + 1, 1] - pose[k, 1]
                gap, along = axis_distance(pose[k, 0], pose[k, 1], pose[k + 1, 0], pose[k + 1, 1], cx, cy)
                room = gap - radii[i, j] - link_radius - aim
                if room > travel:
                    continue
                px, py = pose[k, 0] + along * ux, pose[k, 1] + along * uy
                if gap > 0.0:
                    nx, ny = (px - cx) / gap, (py - cy) / gap
                else:
                    nx, ny = -uy / lengths[k], ux / lengths[k]
                h[s, filled] = room
                for a in range(n):
                    G[s, filled, a] = 0.0
                    if a <= k:
                        G[s, filled, a] = -(ny * (px - pose[a, 0]) - nx * (py - pose[a, 1]))
                        h[s, filled] += G[s, filled, a] * step[r, a]
                pairs[s, filled, 0], pairs[s, filled, 1] = k, j
                filled += 1
        num_rows[s] = filled


@jit
def sure_rows(
    first, count, rows, q, limits, max_step, share, joints, near, keep, lengths, link_radius, centers, drift,
    radii, present, aim, G, h, num_rows, pairs, lb, ub,
):
    """Rows that are safe by construction: both ends of every near pair, in ``share`` of the trust box."""
    n, m = lengths.size, radii.shape[1]
    for s in range(count):
        r = rows[s]
        i = first + r
        for a in range(n):
            lb[s, a] = max(limits[a, 0] - q[i, a], -share * max_step[a])
            ub[s, a] = min(limits[a, 1] - q[i, a], share * max_step[a])
        filled, turn, travel, bend = 0, 0.0, 0.0, 0.0
        for k in range(n):
            turn += share * max_step[k]
            bend_before = bend
            travel += lengths[k] * turn
            bend += lengths[k] * turn * turn
            for j in range(m):
                if not present[i, j]:
                    continue
                gap, along = near[r, k, j, 0], near[r, k, j, 1]
                wall = radii[i, j] + link_radius
                if gap - wall - aim > travel + math.hypot(drift[i, j, 0], drift[i, j, 1]):
                    continue
                ax, ay = joints[r, k, 0], joints[r, k, 1]
                ux, uy = joints[r, k + 1, 0] - ax, joints[r, k + 1, 1] - ay
                if gap > 0.0:
                    nx, ny = (ax + along * ux - centers[i, j, 0]) / gap, (ay + along * uy - centers[i, j, 1]) / gap
                else:
                    nx, ny = -uy / lengths[k], ux / lengths[k]
                inside = gap <= wall
                away = nx * drift[i, j, 0] + ny * drift[i, j, 1]
                for end in range(1 if inside else 2):
                    # A link that touches is moved out by its nearest point; others by both of their ends.
                    part = along if inside else 1.0 * end
                    px, py = ax + part * ux, ay + part * uy
                    taken = 0.5 * (bend if inside or end == 1 else bend_before)
                    # With the curvature paid for, the motion's own margin is enough.
                    least = aim if inside else min(aim, keep[r, k, j])
                    for a in range(n):
                        G[s, filled, a] = 0.0
                        if a <= k:
                            G[s, filled, a] = -(ny * (px - joints[r, a, 0]) - nx * (py - joints[r, a, 1]))
                    h[s, filled] = (
                        nx * (px - centers[i, j, 0]) + ny * (py - centers[i, j, 1]) - wall - away - least - taken
                    )
                    pairs[s, filled, 0], pairs[s, filled, 1] = k, j
                    filled += 1
        num_rows[s] = filled
