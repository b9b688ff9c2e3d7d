"""Configurations measured against a target and discs, several per target."""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .launch import entry


@entry
def measure_configurations(
    start, stop, q, q_present, target, lengths, base, link_radius, centers, radii, present, error, clearance, travel,
):
    """Measure ``q (N, K, n)`` of the rows ``[start, stop)``.

    ``error`` and ``clearance (N, K)`` are the end effector's distance to the target and the smallest signed distance
    to the discs, ``travel`` the largest change of a joint from ``q_present (N, n)``. Discs may have N = 1: shared.
    """
    num, n = q.shape[1], q.shape[2]
    joints = np.empty((n + 1, 2))
    for i in range(start, stop):
        s = i if centers.shape[0] > 1 else 0
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
                if present[s, j]:
                    for k in range(n):
                        gap, _ = axis_distance(
                            joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1],
                            centers[s, j, 0], centers[s, j, 1],
                        )
                        smallest = min(smallest, gap - radii[s, j] - link_radius)
            clearance[i, p] = smallest
