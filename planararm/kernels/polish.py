"""The last digits of an answer that is nearly right: Newton steps of least norm, accepted only if nothing is touched.

``D = J^T (J J^T)^-1 e`` with the error e of the end effector: two or three steps from a network's proposal. What ends
on the target, within the limits and free needs no quadratic program.
"""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .launch import entry

MOST_STEPS = 4
SINGULAR = 1e-6
"""Determinant of J J^T, in reaches to the fourth power, below which no step is taken."""


@entry
def polish_batch(
    start,
    stop,
    q,
    target,
    lengths,
    base,
    reach,
    link_radius,
    limits,
    centers,
    radii,
    present,
    margin,
    tolerance,
    answer,
    error,
    clearance,
    done,
):
    """Polish the rows ``[start, stop)`` of ``q (N, n)``; ``done (N,)`` says which ended as wanted.

    Discs may have N = 1: shared.
    """
    n = q.shape[1]
    joints = np.empty((n + 1, 2))
    for i in range(start, stop):
        s = i if centers.shape[0] > 1 else 0
        done[i], clearance[i] = False, np.inf
        for k in range(n):
            answer[i, k] = q[i, k]
        for step in range(MOST_STEPS + 1):
            heading = 0.0
            joints[0, 0], joints[0, 1] = base[0], base[1]
            for k in range(n):
                heading += answer[i, k]
                joints[k + 1, 0] = joints[k, 0] + lengths[k] * math.cos(heading)
                joints[k + 1, 1] = joints[k, 1] + lengths[k] * math.sin(heading)
            ex, ey = target[i, 0] - joints[n, 0], target[i, 1] - joints[n, 1]
            error[i] = math.hypot(ex, ey)
            if error[i] <= tolerance or step == MOST_STEPS:
                break
            a, b, c = 0.0, 0.0, 0.0
            for k in range(n):
                jx, jy = joints[k, 1] - joints[n, 1], joints[n, 0] - joints[k, 0]
                a += jx * jx
                b += jx * jy
                c += jy * jy
            determinant = a * c - b * b
            if determinant <= SINGULAR * reach**4:
                break
            px, py = (c * ex - b * ey) / determinant, (a * ey - b * ex) / determinant
            for k in range(n):
                answer[i, k] += (joints[k, 1] - joints[n, 1]) * px + (joints[n, 0] - joints[k, 0]) * py
        if error[i] > tolerance:
            continue
        within = True
        for k in range(n):
            within = within and limits[k, 0] <= answer[i, k] <= limits[k, 1]
        if not within:
            continue
        for j in range(radii.shape[1]):
            if present[s, j]:
                for k in range(n):
                    gap, _ = axis_distance(
                        joints[k, 0],
                        joints[k, 1],
                        joints[k + 1, 0],
                        joints[k + 1, 1],
                        centers[s, j, 0],
                        centers[s, j, 1],
                    )
                    clearance[i] = min(clearance[i], gap - radii[s, j] - link_radius)
        done[i] = clearance[i] >= margin
