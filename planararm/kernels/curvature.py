"""Second derivatives of distances, and the factor of a metric that they may have made indefinite."""

from __future__ import annotations

import math

from .chain import axis_distance
from .launch import jit


@jit
def add_curvature(s, r, i, k, j, weight, joints, lengths, centers, hessian):
    """``hessian[s] -= weight * (second derivative of the distance of link k to disc j)``.

    With x the nearest point, n the normal, t the tangent and R the distance of the axis to the centre, for joints
    a <= b <= k: ``t.J_a t.J_b / R - n.(x - p_b)`` at an end of the link. Between the ends the point slides along the
    link, which turns it into ``-n.(x - p_b) - s (u.J_a + u.J_b) - R`` with u along the link and s the side of the disc.
    """
    ax, ay = joints[r, k, 0], joints[r, k, 1]
    ux, uy = (joints[r, k + 1, 0] - ax) / lengths[k], (joints[r, k + 1, 1] - ay) / lengths[k]
    gap, along = axis_distance(ax, ay, joints[r, k + 1, 0], joints[r, k + 1, 1], centers[i, j, 0], centers[i, j, 1])
    if gap == 0.0:
        return
    x, y = ax + along * lengths[k] * ux, ay + along * lengths[k] * uy
    nx, ny = (x - centers[i, j, 0]) / gap, (y - centers[i, j, 1]) / gap
    sliding = 0.0 < along < 1.0
    side = 1.0 if nx * -uy + ny * ux > 0.0 else -1.0
    for b in range(k + 1):
        bx, by = x - joints[r, b, 0], y - joints[r, b, 1]
        for a in range(b + 1):
            cx, cy = x - joints[r, a, 0], y - joints[r, a, 1]
            value = -(nx * bx + ny * by)
            if sliding:
                value -= side * (-ux * cy + uy * cx - ux * by + uy * bx) + gap
            else:
                value += (ny * cy + nx * cx) * (ny * by + nx * bx) / gap
            hessian[s, a, b] -= weight * value
            if a != b:
                hessian[s, b, a] -= weight * value


@jit
def factorise(s, n, hessian, factor):
    """Cholesky factor of ``hessian[s]`` plus the least multiple of the identity (0, 1/4, 1, 4, ...) that it takes."""
    shift, largest = 0.0, 0.0
    for a in range(n):
        largest = max(largest, abs(hessian[s, a, a]))
    while True:
        positive = True
        for a in range(n):
            for b in range(a + 1):
                value = hessian[s, a, b] + (shift if a == b else 0.0)
                for c in range(b):
                    value -= factor[s, a, c] * factor[s, b, c]
                if a != b:
                    factor[s, a, b] = value / factor[s, b, b]
                elif value > 1e-10 * largest and value > 1e-3:
                    factor[s, a, a] = math.sqrt(value)
                else:
                    positive = False
                    break
            if not positive:
                break
        if positive:
            return
        shift = 4.0 * shift if shift > 0.0 else 0.25
