"""Compiled twins of the kinematics and distances, for one element at a time."""

from __future__ import annotations

import math

import numpy as np

from .launch import jit

# Minimax polynomials of sine and cosine on [-pi/4, pi/4] and pi/2 in three parts (fdlibm, Sun Microsystems, 1993).
_S1, _S2, _S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
_S4, _S5, _S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
_C1, _C2, _C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
_C4, _C5, _C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11
_P1, _P2, _P3 = 1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21
_PER_QUARTER = 2.0 / math.pi
_ROUND = 6755399441055744.0
"""1.5 * 2^52: adding and taking it away rounds to a whole number."""


@jit
def sine_and_cosine(x):
    """Sine and cosine to 2e-16, without a branch or a call, so that loops over it become vector instructions.

    For angles up to 1e5, far beyond any arm's headings.
    """
    quarter = (x * _PER_QUARTER + _ROUND) - _ROUND
    r = ((x - quarter * _P1) - quarter * _P2) - quarter * _P3
    z = r * r
    sine = r + r * z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * (_S5 + z * _S6)))))
    cosine = 1.0 - 0.5 * z + z * z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6)))))
    quadrant = quarter - 4.0 * math.floor(quarter * 0.25)
    odd = quadrant == 1.0 or quadrant == 3.0
    first, second = (cosine, sine) if odd else (sine, cosine)
    return (
        -first if quadrant >= 2.0 else first,
        -second if quadrant == 1.0 or quadrant == 2.0 else second,
    )


@jit
def joint_positions(phi, lengths, base, joints):
    """Fill ``joints (n + 1, 2)`` from absolute headings ``phi (n,)``."""
    x, y = base[0], base[1]
    joints[0, 0], joints[0, 1] = x, y
    for k in range(lengths.size):
        x += lengths[k] * math.cos(phi[k])
        y += lengths[k] * math.sin(phi[k])
        joints[k + 1, 0], joints[k + 1, 1] = x, y


@jit
def headings(q, phi):
    """Fill ``phi (n,)`` with the running sum of ``q (n,)``."""
    total = 0.0
    for k in range(q.size):
        total += q[k]
        phi[k] = total


@jit
def axis_distance(ax, ay, bx, by, cx, cy):
    """Distance of the point c to the segment ab, and the fraction of the segment where it is taken."""
    ux, uy = bx - ax, by - ay
    wx, wy = cx - ax, cy - ay
    squared = ux * ux + uy * uy
    fraction = 0.0
    if squared > 0.0:
        fraction = min(1.0, max(0.0, (wx * ux + wy * uy) / squared))
    dx, dy = fraction * ux - wx, fraction * uy - wy
    return math.sqrt(dx * dx + dy * dy), fraction


@jit
def clearance(joints, link_radius, centers, radii, present):
    """Smallest signed distance of a chain, given by its joints, to the discs that are present."""
    smallest = np.inf
    for j in range(radii.size):
        if present[j]:
            for k in range(joints.shape[0] - 1):
                distance, _ = axis_distance(
                    joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], centers[j, 0], centers[j, 1]
                )
                smallest = min(smallest, distance - radii[j] - link_radius)
    return smallest
