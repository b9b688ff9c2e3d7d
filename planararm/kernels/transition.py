"""One control step of the arm: clip, scale, certify, move.

Every pair of link and disc carries a lower bound of its distance. A step of which no point of link k moves farther
than ``V_k`` lowers the bound by ``V_k``; a pair whose bound stays above the contact margin needs no geometry at all.
"""

from __future__ import annotations

import math

import numpy as np

from .certificate import FREE, certify_element, motion_bounds
from .chain import axis_distance, headings, joint_positions
from .launch import jit

STOP, TERMINATE, IGNORE = 0, 1, 2
CONTACT_MARGIN = 1e-6
"""An arm that is stopped stands at least this far from the disc [m], or half as far as it already stood."""

CONTACT_TOLERANCE = 1e-9
_SLACK = 1.0 + 1e-9


@jit
def disc_position(center, shuttle, time, position):
    """Where a shuttling disc is at ``time``; the twin of ``Obstacles.positions``."""
    length = math.sqrt(shuttle[0] * shuttle[0] + shuttle[1] * shuttle[1])
    rate = shuttle[2] / length if length > 0.0 else 0.0
    phase = (shuttle[3] + rate * time) % 2.0
    along = 1.0 - abs(1.0 - phase)
    position[0] = center[0] + along * shuttle[0]
    position[1] = center[1] + along * shuttle[1]


@jit
def pair_clearance(joints, k, center, radius, link_radius):
    """Signed distance of link ``k`` to a disc."""
    distance, _ = axis_distance(
        joints[k, 0], joints[k, 1], joints[k + 1, 0], joints[k + 1, 1], center[0], center[1]
    )
    return distance - radius - link_radius


@jit
def update_clearance(joints, link_radius, centers, radii, present, nearest, lower):
    """Exact clearance from lower bounds ``lower (n, m)``, which are tightened where they had to be.

    ``nearest (2,)`` is the pair that was nearest last: looked at first, it rules most others out.
    """
    n, m = lower.shape
    best = np.inf
    if m == 0:
        return best
    k0, j0 = nearest[0], nearest[1]
    if present[j0]:
        best = pair_clearance(joints, k0, centers[j0], radii[j0], link_radius)
        lower[k0, j0] = best
    for j in range(m):
        if present[j]:
            for k in range(n):
                if lower[k, j] < best:
                    exact = pair_clearance(joints, k, centers[j], radii[j], link_radius)
                    lower[k, j] = exact
                    if exact < best:
                        best = exact
                        nearest[0], nearest[1] = k, j
    return best


@jit
def move_element(
    q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present, on_collision,
    joints, lower, nearest, phi, delta, rates, bounds, margins, free_until, pose, speeds,
):
    """Execute one command: update ``q``, ``joints``, ``lower``, ``nearest`` and advance ``centers`` by ``drift``.

    Returns:
        Executed fraction of the (scaled) command, whether it met a disc, and the clearance where it ended.
    """
    n, m = lower.shape
    worst = 1.0
    for i in range(n):
        goal = min(limits[i, 1], max(limits[i, 0], command[i]))
        delta[i] = goal - q[i]
        worst = max(worst, abs(delta[i]) / max_step[i])
    total = 0.0
    for i in range(n):
        delta[i] /= worst
        total += delta[i]
        rates[i] = total
    motion_bounds(rates, lengths, bounds)
    collided = False
    undecided = 0
    for j in range(m):
        if not present[j]:
            for k in range(n):
                free_until[k, j] = np.inf
            continue
        speed = math.sqrt(drift[j, 0] * drift[j, 0] + drift[j, 1] * drift[j, 1])
        for k in range(n):
            travel = (bounds[0, k + 1] + speed) * _SLACK
            free_until[k, j] = np.inf
            if lower[k, j] > travel + CONTACT_MARGIN:
                continue
            exact = pair_clearance(joints, k, centers[j], radii[j], link_radius)
            lower[k, j] = exact
            if exact > travel + CONTACT_MARGIN:
                continue
            if exact <= 0.0:
                collided = True
                continue
            margins[k, j] = min(CONTACT_MARGIN, 0.5 * exact)
            free_until[k, j] = 0.0
            undecided += 1
    fraction = 1.0
    if undecided > 0:
        headings(q, phi)
        status, certified, _ = certify_element(
            phi, rates, lengths, base, link_radius, centers, drift, radii, margins, CONTACT_TOLERANCE,
            free_until, bounds, pose, speeds,
        )
        if status != FREE:
            collided = True
            if on_collision != IGNORE:
                fraction = certified
    whole = fraction == 1.0 and worst == 1.0
    for i in range(n):
        goal = min(limits[i, 1], max(limits[i, 0], command[i])) if whole else q[i] + fraction * delta[i]
        q[i] = min(limits[i, 1], max(limits[i, 0], goal))
    headings(q, phi)
    joint_positions(phi, lengths, base, joints)
    for j in range(m):
        speed = math.sqrt(drift[j, 0] * drift[j, 0] + drift[j, 1] * drift[j, 1])
        centers[j, 0] += drift[j, 0]
        centers[j, 1] += drift[j, 1]
        for k in range(n):
            lower[k, j] -= (bounds[0, k + 1] + speed) * _SLACK
    clearance = update_clearance(joints, link_radius, centers, radii, present, nearest, lower)
    return fraction, collided, clearance


@jit
def advance_batch(
    start, stop, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present,
    on_collision, fraction, collided, clearance,
):
    """:func:`move_element` for the elements ``[start, stop)`` of a batch; ``q`` is updated in place."""
    n, m = lengths.size, radii.shape[1]
    phi, delta, rates, bounds = np.empty(n), np.empty(n), np.empty(n), np.empty((2, n + 1))
    margins, free_until = np.empty((n, m)), np.empty((n, m))
    joints, pose, speeds = np.empty((n + 1, 2)), np.empty((n + 1, 2)), np.empty((n + 1, 2))
    lower, nearest = np.empty((n, m)), np.zeros(2, np.int64)
    for i in range(start, stop):
        headings(q[i], phi)
        joint_positions(phi, lengths, base, joints)
        lower[:] = -np.inf
        fraction[i], collided[i], clearance[i] = move_element(
            q[i], command[i], limits, max_step, lengths, base, link_radius, centers[i], drift[i], radii[i],
            present[i], on_collision, joints, lower, nearest, phi, delta, rates, bounds, margins, free_until,
            pose, speeds,
        )
