"""One control step of the arm: clip, scale, certify, move, measure.

:func:`measure` works out the distance of every link to every disc, in loops over the batch without a branch, which
the compiler turns into vector instructions: for that the batch is the last axis of its arrays. :func:`move` needs
geometry only for the pairs whose distance is within the way that the link can go in this step.
"""

from __future__ import annotations

import math

import numpy as np

from .certificate import BLOCK, free_fractions
from .chain import axis_distance, sine_and_cosine
from .launch import entry, jit

STOP, TERMINATE, IGNORE = 0, 1, 2
CONTACT_MARGIN = 1e-6
"""An arm that is stopped stands at least this far from the disc [m], or half as far as it already stood."""

NEAREST_STAND = 1e-8
"""An arm that stands nearer than this to a disc moves only if the whole step is free [m]."""

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
def load_discs(start, stop, link_radius, centers, radii, present, discs):
    """Fill ``discs (3, m, N)``: centre x, y and the distance from the centre to a link's axis at contact.

    A slot that is empty gets minus infinity for the last, which makes every distance to it infinite.
    """
    for j in range(radii.shape[1]):
        for i in range(start, stop):
            there = present[i, j]
            discs[0, j, i] = centers[i, j, 0] if there else 0.0
            discs[1, j, i] = centers[i, j, 1] if there else 0.0
            discs[2, j, i] = radii[i, j] + link_radius if there else -np.inf


@jit
def measure(start, stop, q, lengths, base, discs, extent, joints, distances, clearance):
    """Where the arms are and how far from the discs.

    Fills ``joints (N, n + 1, 2)``, ``distances (n, m, N)`` of each link to each disc (the first ``extent[i]`` slots;
    beyond them they are left as they are) and ``clearance (N,)``.
    """
    n = lengths.size
    sines, cosines = np.empty((n, BLOCK)), np.empty((n, BLOCK))
    x, y, smallest = np.empty((n + 1, BLOCK)), np.empty((n + 1, BLOCK)), np.empty(BLOCK)
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        most = 0
        for r in range(rows):
            most = max(most, extent[first + r])
            x[0, r], y[0, r], smallest[r] = base[0], base[1], np.inf
        for k in range(n):
            for r in range(rows):
                # The running sum of the joint angles is kept in the rows of the cosines until they replace it.
                cosines[k, r] = q[first + r, k] + (cosines[k - 1, r] if k > 0 else 0.0)
        for k in range(n):
            length = lengths[k]
            for r in range(rows):
                sine, cosine = sine_and_cosine(cosines[k, r])
                sines[k, r], cosines[k, r] = length * sine, length * cosine
                x[k + 1, r], y[k + 1, r] = x[k, r] + cosines[k, r], y[k, r] + sines[k, r]
            per_square = 1.0 / (length * length)
            for j in range(most):
                for r in range(rows):
                    i = first + r
                    ux, uy = cosines[k, r], sines[k, r]
                    wx, wy = discs[0, j, i] - x[k, r], discs[1, j, i] - y[k, r]
                    along = (wx * ux + wy * uy) * per_square
                    along = along if along > 0.0 else 0.0
                    along = along if along < 1.0 else 1.0
                    wx, wy = wx - along * ux, wy - along * uy
                    distance = math.sqrt(wx * wx + wy * wy) - discs[2, j, i]
                    distances[k, j, i] = distance
                    smallest[r] = distance if distance < smallest[r] else smallest[r]
        for r in range(rows):
            clearance[first + r] = smallest[r]
            for k in range(n + 1):
                joints[first + r, k, 0], joints[first + r, k, 1] = x[k, r], y[k, r]


@jit
def _closes_in(i, k, j, r, joints, rates, centers):
    """Whether the motion of row ``r`` begins by driving link ``k`` deeper into disc ``j``, which it touches."""
    gap, along = axis_distance(
        joints[i, k, 0], joints[i, k, 1], joints[i, k + 1, 0], joints[i, k + 1, 1], centers[i, j, 0], centers[i, j, 1]
    )
    vx, vy = 0.0, 0.0
    for a in range(k + 1):
        share = 1.0 if a < k else along
        vx -= share * rates[r, a] * (joints[i, a + 1, 1] - joints[i, a, 1])
        vy += share * rates[r, a] * (joints[i, a + 1, 0] - joints[i, a, 0])
    x = joints[i, k, 0] + along * (joints[i, k + 1, 0] - joints[i, k, 0])
    y = joints[i, k, 1] + along * (joints[i, k + 1, 1] - joints[i, k, 1])
    return gap > 0.0 and (x - centers[i, j, 0]) * vx + (y - centers[i, j, 1]) * vy < 0.0


@jit
def move(
    start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, extent, moving,
    on_collision, joints, distances, fraction, collided,
):
    """Execute one command per element: update ``q`` and ``centers``; the rest is left for :func:`measure`.

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
        extent: ``(N,)`` slots from here on are empty.
        moving: ``(N,)`` whether a disc moves.
        on_collision: STOP, TERMINATE or IGNORE.
        joints: ``(N, n + 1, 2)`` at the step's start.
        distances: ``(n, m, N)`` at the step's start.
        fraction: ``(N,)`` out: executed part of the scaled command.
        collided: ``(N,)`` out: whether the command met a disc.
    """
    n = lengths.size
    most_pairs = n * radii.shape[1]
    which, count, free, worst = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK)
    held = np.empty(BLOCK, np.bool_)
    phi, delta, rates, travel = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((n, BLOCK))
    pose, pairs, gaps = (
        np.empty((BLOCK, n + 1, 2)), np.empty((BLOCK, most_pairs, 2), np.int64), np.empty((BLOCK, most_pairs, 2)),
    )
    margins, until = np.empty((BLOCK, most_pairs)), np.empty((BLOCK, most_pairs))
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        most = 0
        for r in range(rows):
            i = first + r
            which[r], count[r], held[r] = i, 0, False
            if not skip[i]:
                collided[i] = False
            most = max(most, extent[i])
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
                rates[r, k], travel[k, r] = rate, fastest * _SLACK + CONTACT_MARGIN
        for k in range(n):
            for j in range(most):
                for r in range(rows):
                    i = first + r
                    exact = distances[k, j, i]
                    if exact > travel[k, r] and not moving[i]:
                        continue
                    if skip[i] or j >= extent[i]:
                        continue
                    if moving[i] and exact > travel[k, r] + math.hypot(drift[i, j, 0], drift[i, j, 1]) * _SLACK:
                        continue
                    if exact <= 0.0:
                        collided[i] = True
                        if _closes_in(i, k, j, r, joints, rates, centers):
                            held[r] = True
                        continue
                    p = count[r]
                    count[r] = p + 1
                    pairs[r, p, 0], pairs[r, p, 1] = k, j
                    gaps[r, p, 0], gaps[r, p, 1] = axis_distance(
                        joints[i, k, 0], joints[i, k, 1], joints[i, k + 1, 0], joints[i, k + 1, 1],
                        centers[i, j, 0], centers[i, j, 1],
                    )
                    margins[r, p], until[r, p] = min(CONTACT_MARGIN, 0.5 * exact), 0.0
        for r in range(rows):
            if count[r] > 0:
                i = first + r
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
            i = first + r
            if skip[i]:
                continue
            done = free[r]
            if done < 1.0:
                collided[i] = True
                for p in range(count[r]):
                    # Ever smaller steps towards a disc must not end where rounding glues the arm to it.
                    if margins[r, p] < 0.5 * NEAREST_STAND:
                        done = 0.0
            if held[r]:
                done = 0.0
            if on_collision == IGNORE:
                done = 1.0
            fraction[i] = done
            whole = done == 1.0 and worst[r] == 1.0
            for a in range(n):
                goal = command[i, a] if whole else q[i, a] + done * delta[r, a]
                q[i, a] = min(limits[a, 1], max(limits[a, 0], goal))
            if moving[i]:
                for j in range(extent[i]):
                    centers[i, j, 0] += drift[i, j, 0]
                    centers[i, j, 1] += drift[i, j, 1]


@entry
def advance_batch(
    start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present,
    on_collision, joints, extent, moving, discs, distances, fraction, collided, clearance,
):
    """One control step without an episode around it: :func:`move`, then :func:`measure`."""
    load_discs(start, stop, link_radius, centers, radii, present, discs)
    measure(start, stop, q, lengths, base, discs, extent, joints, distances, clearance)
    move(
        start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, extent,
        moving, on_collision, joints, distances, fraction, collided,
    )
    load_discs(start, stop, link_radius, centers, radii, present, discs)
    measure(start, stop, q, lengths, base, discs, extent, joints, distances, clearance)
