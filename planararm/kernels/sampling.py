"""Random discs, free configurations and witness paths, each a pure function of a 64-bit key."""

from __future__ import annotations

import math

import numpy as np

from ..arm import WORKSPACE
from .certificate import BLOCK, free_fractions, plan_motions
from .chain import clearance, headings, joint_positions
from .launch import entry, jit
from .random import uniform

DISC_TRIES = 200
FREE_TRIES = 2000
WITNESS_TRIES = 8
WITNESS_HALVINGS = 6
WITNESS_RESOLUTION = 1e-6
WITNESS_SPEED = 0.7
"""Share of the velocity limits that a witness path uses at most."""


@jit
def draw_discs(
    state, count, reach, base, link_radius, margin, min_radius, max_radius, base_clearance, narrow_passages,
    shuttling, max_speed, centers, radii, shuttle, present,
):
    """Fill the slots of one scene: ``count`` discs over the workspace, none on the base.

    A disc is drawn by radius (uniform) and centre (uniform over the disc of the arm's reach) until its whole
    shuttle keeps ``base_clearance`` from the base joint. The second disc of each narrow passage is set beside
    the one before it, with a gap that the link just fits through.
    """
    for j in range(radii.size):
        present[j] = False
        centers[j, 0], centers[j, 1] = base[0] + 10.0 * reach, base[1]
        radii[j] = 1.0
        for a in range(4):
            shuttle[j, a] = 0.0
    for j in range(count):
        beside = j % 2 == 1 and j // 2 < narrow_passages and present[j - 1]
        for _ in range(DISC_TRIES):
            radius = uniform(state, min_radius, max_radius) * reach
            angle = uniform(state, -math.pi, math.pi)
            if beside:
                gap = 2.0 * (link_radius + margin) + uniform(state, 0.005, 0.03) * reach
                spacing = radii[j - 1] + gap + radius
                x = centers[j - 1, 0] + spacing * math.cos(angle)
                y = centers[j - 1, 1] + spacing * math.sin(angle)
            else:
                distance = reach * math.sqrt(uniform(state, 0.0, 1.0))
                x, y = base[0] + distance * math.cos(angle), base[1] + distance * math.sin(angle)
            dx, dy, speed, phase = 0.0, 0.0, 0.0, 0.0
            if uniform(state, 0.0, 1.0) < shuttling:
                heading = uniform(state, -math.pi, math.pi)
                length = uniform(state, 0.1, 0.4) * reach
                dx, dy = length * math.cos(heading), length * math.sin(heading)
                speed = uniform(state, 0.2, 1.0) * max_speed
                phase = uniform(state, 0.0, 2.0)
            fraction = 0.0
            if dx != 0.0 or dy != 0.0:
                fraction = min(1.0, max(0.0, ((base[0] - x) * dx + (base[1] - y) * dy) / (dx * dx + dy * dy)))
            room = math.hypot(x + fraction * dx - base[0], y + fraction * dy - base[1]) - radius - link_radius
            across = max(abs(x - base[0]), abs(x + dx - base[0]))
            along = max(abs(y - base[1]), abs(y + dy - base[1]))
            if room >= max(base_clearance * reach, margin) and max(across, along) <= WORKSPACE * reach:
                present[j] = True
                centers[j, 0], centers[j, 1], radii[j] = x, y, radius
                shuttle[j, 0], shuttle[j, 1], shuttle[j, 2], shuttle[j, 3] = dx, dy, speed, phase
                break


@entry
def draw_scenes(
    start, stop, keys, counts, reach, base, link_radius, margin, min_radius, max_radius, base_clearance,
    narrow_passages, shuttling, max_speed, centers, radii, shuttle, present,
):
    """:func:`draw_discs` for the scenes ``[start, stop)`` of a batch."""
    state = np.empty(1, np.uint64)
    for i in range(start, stop):
        state[0] = keys[i]
        draw_discs(
            state, counts[i], reach, base, link_radius, margin, min_radius, max_radius, base_clearance,
            narrow_passages, shuttling, max_speed, centers[i], radii[i], shuttle[i], present[i],
        )


@jit
def draw_free(state, limits, lengths, base, link_radius, centers, radii, present, margin, q, phi, joints):
    """Draw ``q`` uniformly within the limits until its clearance is at least ``margin``; False if none is found."""
    for _ in range(FREE_TRIES):
        for i in range(q.size):
            q[i] = uniform(state, limits[i, 0], limits[i, 1])
        headings(q, phi)
        joint_positions(phi, lengths, base, joints)
        if clearance(joints, link_radius, centers, radii, present) >= margin:
            return True
    return False


@jit
def _certified(
    i, path, lengths, base, link_radius, centers, still, radii, present, margin, which, phi, rates, joints, pairs,
    gaps, margins, until, count, free,
):
    """Whether every step of a ``path (T + 1, n)`` among the discs of element ``i`` is certified."""
    for first in range(0, path.shape[0] - 1, BLOCK):
        rows = min(BLOCK, path.shape[0] - 1 - first)
        for r in range(rows):
            which[r] = i
        plan_motions(
            first, rows, path[:-1], path[1:], lengths, base, centers, present, margin, which, phi, rates, joints, pairs,
            gaps, margins, until, count,
        )
        free_fractions(
            rows, which, phi, rates, lengths, base, link_radius, centers, still, radii, joints, pairs, gaps, margins,
            until, count, WITNESS_RESOLUTION, free,
        )
        for r in range(rows):
            if free[r] < 1.0:
                return False
    return True


@jit
def draw_witness(
    i, state, limits, velocity_limits, dt, lengths, base, link_radius, centers, still, radii, present, margin,
    path, phi, joints,
):
    """Fill ``path (T + 1, n)`` with a certified, velocity-feasible motion; False if not even a free start exists.

    Each joint swings about its start, ``q_a(t) = q_a0 + s_a (sin(w_a t + p_a) - sin(p_a))``, with an amplitude that
    keeps its limits and speed; where a step is not certified all amplitudes are halved, at last another start is
    drawn. The last resort is to stand still at a free configuration. ``still`` is zero, of the shape of ``centers``.
    """
    steps, n = path.shape[0] - 1, path.shape[1]
    most = n * radii.shape[1]
    amplitude, rate, phase, q = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    which, count, free = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK)
    headings, rates, chain = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n + 1, 2))
    pairs, gaps = np.empty((BLOCK, most, 2), np.int64), np.empty((BLOCK, most, 2))
    margins, until = np.empty((BLOCK, most)), np.empty((BLOCK, most))
    for _ in range(WITNESS_TRIES):
        if not draw_free(
            state, limits, lengths, base, link_radius, centers[i], radii[i], present[i], margin, q, phi, joints
        ):
            return False
        for a in range(n):
            rate[a] = 2.0 * math.pi * uniform(state, 0.5, 2.0) / max(1, steps)
            phase[a] = uniform(state, -math.pi, math.pi)
            fastest = WITNESS_SPEED * velocity_limits[a] * dt / rate[a]
            above = (limits[a, 1] - q[a]) / (1.0 - math.sin(phase[a]) + 1e-9)
            below = (q[a] - limits[a, 0]) / (1.0 + math.sin(phase[a]) + 1e-9)
            amplitude[a] = min(uniform(state, 0.5, 1.0) * fastest, min(above, below))
        for _ in range(WITNESS_HALVINGS):
            for t in range(steps + 1):
                for a in range(n):
                    swing = q[a] + amplitude[a] * (math.sin(rate[a] * t + phase[a]) - math.sin(phase[a]))
                    path[t, a] = min(limits[a, 1], max(limits[a, 0], swing))
            if _certified(
                i, path, lengths, base, link_radius, centers, still, radii, present, margin, which, headings, rates,
                chain, pairs, gaps, margins, until, count, free,
            ):
                return True
            for a in range(n):
                amplitude[a] *= 0.5
    for t in range(steps + 1):
        for a in range(n):
            path[t, a] = q[a]
    return True


@entry
def draw_witnesses(
    start, stop, keys, limits, velocity_limits, dt, lengths, base, link_radius, centers, radii, present, margin,
    paths, found,
):
    """:func:`draw_witness` for the scenes ``[start, stop)`` of a batch."""
    n = lengths.size
    state, phi, joints = np.empty(1, np.uint64), np.empty(n), np.empty((n + 1, 2))
    still = np.zeros_like(centers)
    for i in range(start, stop):
        state[0] = keys[i]
        found[i] = draw_witness(
            i, state, limits, velocity_limits, dt, lengths, base, link_radius, centers, still, radii, present,
            margin, paths[i], phi, joints,
        )
