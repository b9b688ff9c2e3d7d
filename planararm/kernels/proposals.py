"""Several proposals per target, measured and put in the order in which they are worth trying."""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .launch import entry


@entry
def weigh_proposals(
    start, stop, q, q_present, logits, target, lengths, base, link_radius, centers, radii, present, margin, tolerance,
    error, clearance, travel, order,
):
    """Measure the proposals ``q (N, K, n)`` of the rows ``[start, stop)`` and order them.

    ``error`` and ``clearance (N, K)`` are the end effector's distance to the target and the smallest signed distance
    to the discs, ``travel`` the largest change of a joint from ``q_present``. First in ``order`` come those that keep
    the margin and meet the target within ``tolerance``, by their travel; then the others by their logits.
    """
    num, n = q.shape[1], q.shape[2]
    joints, rank = np.empty((n + 1, 2)), np.empty(num)
    for i in range(start, stop):
        for p in range(num):
            x, y, heading, farthest = base[0], base[1], 0.0, 0.0
            joints[0, 0], joints[0, 1] = x, y
            for k in range(n):
                heading += q[i, p, k]
                x += lengths[k] * math.cos(heading)
                y += lengths[k] * math.sin(heading)
                joints[k + 1, 0], joints[k + 1, 1] = x, y
                farthest = max(farthest, abs(q[i, p, k] - q_present[i, k]))
            error[i, p] = math.hypot(x - target[i, 0], y - target[i, 1])
            travel[i, p] = farthest
            smallest = np.inf
            for j in range(radii.shape[1]):
                if present[i, j]:
                    for k in range(n):
                        gap, _ = axis_distance(
                            joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1],
                            centers[i, j, 0], centers[i, j, 1],
                        )
                        smallest = min(smallest, gap - radii[i, j] - link_radius)
            clearance[i, p] = smallest
            # Held proposals rank below zero (no travel exceeds 1e9), the others above, the surest first.
            held = error[i, p] <= tolerance and smallest >= margin
            rank[p] = farthest - 1e9 if held else 1e9 - logits[i, p]
            place = p
            while place > 0 and rank[p] < rank[order[i, place - 1]]:
                order[i, place] = order[i, place - 1]
                place -= 1
            order[i, place] = p
