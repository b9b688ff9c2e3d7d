"""One control step of the arm: clip, scale, certify, move.

Every pair of link and disc carries a lower bound of its distance. A step of which no point of link k moves farther
than ``V_k`` lowers the bounds of that link by ``V_k`` (kept in one counter per link); a pair whose bound stays above
the contact margin needs no geometry at all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .certificate import BLOCK, free_fractions
from .chain import axis_distance
from .launch import entry, jit

STOP, TERMINATE, IGNORE = 0, 1, 2
CONTACT_MARGIN = 1e-6
"""An arm that is stopped stands at least this far from the disc [m], or half as far as it already stood."""

CONTACT_RESOLUTION = 1e-5
"""An arm is stopped where it could go on for less than this part of the step."""

_SLACK = 1.0 + 1e-9


@jit
def shuttle_position(x, y, dx, dy, speed, phase, time):
    """Where a shuttling disc is at ``time``; the twin of ``Obstacles.positions``."""
    length = math.sqrt(dx * dx + dy * dy)
    rate = speed / length if length > 0.0 else 0.0
    along = 1.0 - abs(1.0 - (phase + rate * time) % 2.0)
    return x + along * dx, y + along * dy


@jit
def place_joints(start, stop, skip, q, lengths, base, joints):
    """Fill ``joints (N, n + 1, 2)`` from ``q (N, n)``."""
    for i in range(start, stop):
        if skip[i]:
            continue
        heading, x, y = 0.0, base[0], base[1]
        joints[i, 0, 0], joints[i, 0, 1] = x, y
        for k in range(lengths.size):
            heading += q[i, k]
            x += lengths[k] * math.cos(heading)
            y += lengths[k] * math.sin(heading)
            joints[i, k + 1, 0], joints[i, k + 1, 1] = x, y


@jit
def update_clearance(
    start, stop, skip, joints, link_radius, centers, radii, present, extent, nearest, lower, moved, clearance
):
    """Exact clearance from the pairs' lower bounds, which are tightened where they had to be.

    Only the first ``extent[i]`` slots are looked at. ``nearest[i]`` is the pair that was nearest last: looked at
    first, it rules most others out.
    """
    n = joints.shape[1] - 1
    for i in range(start, stop):
        if skip[i]:
            continue
        best = np.inf
        if extent[i] > 0:
            k, j = nearest[i, 0], nearest[i, 1]
            if present[i, j]:
                best, _ = axis_distance(
                    joints[i, k, 0], joints[i, k, 1], joints[i, k + 1, 0], joints[i, k + 1, 1],
                    centers[i, j, 0], centers[i, j, 1],
                )
                best -= radii[i, j] + link_radius
                lower[i, k, j] = best + moved[i, k]
        for k in range(n):
            for j in range(extent[i]):
                if lower[i, k, j] - moved[i, k] < best and present[i, j]:
                    exact, _ = axis_distance(
                        joints[i, k, 0], joints[i, k, 1], joints[i, k + 1, 0], joints[i, k + 1, 1],
                        centers[i, j, 0], centers[i, j, 1],
                    )
                    exact -= radii[i, j] + link_radius
                    lower[i, k, j] = exact + moved[i, k]
                    if exact < best:
                        best = exact
                        nearest[i, 0], nearest[i, 1] = k, j
        clearance[i] = best


@jit
def move(
    start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present,
    extent, moving, on_collision, joints, lower, moved, fraction, collided,
):
    """Execute one command per element: update ``q``, ``lower`` and ``centers``; ``joints`` are left as they were.

    Args:
        start: First element.
        stop: Element to stop before.
        skip: ``(N,)`` elements to leave alone.
        q: ``(N, n)``.
        command: ``(N, n)``.
        limits: ``(n, 2)``.
        max_step: ``(n,)`` velocity limits times dt.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        centers: ``(N, m, 2)``.
        drift: ``(N, m, 2)`` displacement of the discs during the step; zero where not ``moving``.
        radii: ``(N, m)``.
        present: ``(N, m)``.
        extent: ``(N,)`` slots from here on are empty.
        moving: ``(N,)`` whether a disc moves.
        on_collision: STOP, TERMINATE or IGNORE.
        joints: ``(N, n + 1, 2)`` at the step's start.
        lower: ``(N, n, m)`` lower bounds of the pairs' distances, before the way of ``moved`` is taken off.
        moved: ``(N, n)`` way that the links have gone (at most) since ``lower`` was zero-based.
        fraction: ``(N,)`` out: executed part of the scaled command.
        collided: ``(N,)`` out: whether the command met a disc.
    """
    n = lengths.size
    most = n * radii.shape[1]
    which, count, free, worst = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK)
    phi, delta, rates, travel = (
        np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)),
    )
    pose, pairs, gaps = np.empty((BLOCK, n + 1, 2)), np.empty((BLOCK, most, 2), np.int64), np.empty((BLOCK, most, 2))
    margins, until = np.empty((BLOCK, most)), np.empty((BLOCK, most))
    for first in range(start, stop, BLOCK):
        rows: Any = np.int64(0)
        for i in range(first, min(first + BLOCK, stop)):
            if skip[i]:
                continue
            r = rows
            rows += 1
            which[r] = i
            scale = 1.0
            for a in range(n):
                delta[r, a] = min(limits[a, 1], max(limits[a, 0], command[i, a])) - q[i, a]
                scale = max(scale, abs(delta[r, a]) / max_step[a])
            worst[r] = scale
            rate, fastest = 0.0, 0.0
            for k in range(n):
                delta[r, k] /= scale
                rate += delta[r, k]
                fastest += lengths[k] * abs(rate)
                rates[r, k], travel[r, k] = rate, fastest * _SLACK
            met = False
            listed = 0
            for k in range(n):
                for j in range(extent[i]):
                    needed = travel[r, k] + CONTACT_MARGIN
                    if moving[i]:
                        needed += math.sqrt(drift[i, j, 0] ** 2 + drift[i, j, 1] ** 2) * _SLACK
                    if lower[i, k, j] - moved[i, k] > needed or not present[i, j]:
                        continue
                    gap, along = axis_distance(
                        joints[i, k, 0], joints[i, k, 1], joints[i, k + 1, 0], joints[i, k + 1, 1],
                        centers[i, j, 0], centers[i, j, 1],
                    )
                    exact = gap - (radii[i, j] + link_radius)
                    lower[i, k, j] = exact + moved[i, k]
                    if exact > needed:
                        continue
                    if exact <= 0.0:
                        met = True
                        continue
                    pairs[r, listed, 0], pairs[r, listed, 1] = k, j
                    gaps[r, listed, 0], gaps[r, listed, 1] = gap, along
                    margins[r, listed] = min(CONTACT_MARGIN, 0.5 * exact)
                    until[r, listed] = 0.0
                    listed += 1
            count[r], collided[i] = listed, met
            if listed > 0:
                heading = 0.0
                pose[r, 0, 0], pose[r, 0, 1] = joints[i, 0, 0], joints[i, 0, 1]
                for k in range(n):
                    heading += q[i, k]
                    phi[r, k] = heading
                    pose[r, k + 1, 0], pose[r, k + 1, 1] = joints[i, k + 1, 0], joints[i, k + 1, 1]
        free_fractions(
            rows, which, phi, rates, lengths, base, link_radius, centers, drift, radii, pose, pairs, gaps, margins,
            until, count, CONTACT_RESOLUTION, free,
        )
        for r in range(rows):
            i = which[r]
            done = free[r]
            if done < 1.0:
                collided[i] = True
                if on_collision == IGNORE:
                    done = 1.0
            fraction[i] = done
            whole = done == 1.0 and worst[r] == 1.0
            for a in range(n):
                goal = command[i, a] if whole else q[i, a] + done * delta[r, a]
                q[i, a] = min(limits[a, 1], max(limits[a, 0], goal))
                moved[i, a] += done * travel[r, a]
            if moving[i]:
                for j in range(extent[i]):
                    drifted = math.sqrt(drift[i, j, 0] ** 2 + drift[i, j, 1] ** 2) * _SLACK
                    for k in range(n):
                        lower[i, k, j] -= drifted
                    centers[i, j, 0] += drift[i, j, 0]
                    centers[i, j, 1] += drift[i, j, 1]


@entry
def advance_batch(
    start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present,
    on_collision, joints, extent, moving, lower, moved, nearest, fraction, collided, clearance,
):
    """One control step without an episode around it: :func:`move`, then where the arm is and how clear."""
    place_joints(start, stop, skip, q, lengths, base, joints)
    move(
        start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present,
        extent, moving, on_collision, joints, lower, moved, fraction, collided,
    )
    place_joints(start, stop, skip, q, lengths, base, joints)
    update_clearance(
        start, stop, skip, joints, link_radius, centers, radii, present, extent, nearest, lower, moved, clearance
    )
