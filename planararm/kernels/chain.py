"""Compiled twins of the kinematics and distances, for one element at a time."""

from __future__ import annotations

import math

import numpy as np

from .launch import jit


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
