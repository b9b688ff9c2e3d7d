"""Sequential projection: re-linearise the distances until the true constraints hold.

From where a row stands, every near pair of a link and a disc gives the half-space ``d + grad d . D >= m``; the
quadratic program of :mod:`.quadratic` (elastic, with a trust box) proposes the step D; the step is taken if the merit
``anchor/2 |q - q_ref|^2 + pull/2 |p(q) - target|^2 + price * sum max(0, m - d)`` falls with the true distances. The
quadratic model has the curvature of the active distances (Newton), which is what makes the last digits cheap, except
where that is not convex.

A row with a target goes through two stages. First it is to reach it and be free: the anchor moves along (it is where
the row stands, weighted with ``DAMPING``). Then it settles at the nearest such configuration: the anchor is
``q_ref`` again, and the target is held by rows of its own, ``+-J D <= +-e``. Nocedal & Wright, Numerical Optimization,
2006, chapter 18.
"""

from __future__ import annotations

import math

import numpy as np

from .chain import axis_distance
from .curvature import add_curvature, factorise
from .launch import entry, jit
from .quadratic import SOLVED, solve_range

BLOCK = 32
"""Rows that are worked on together, so that the quadratic solver is called for many at once."""

WIDEST_TRUST, FIRST_TRUST, LEAST_TRUST = 1.5, 0.5, 1e-9
"""Half side of the trust box [rad]."""

PULL = 1e5
"""Weight of the squared distance to the target, in units of the reach."""

DAMPING = 1.0
FIRST_PRICE, HIGHEST_PRICE = 300.0, 3e6
"""Price of a penetration, per reach."""

CONVERGED = 1e-10
"""Largest joint change of a last step [rad]."""

FREE, REACH, SETTLE = 0, 1, 2
"""Stages: no target; reach it; the nearest configuration on it."""

_TASK = -1
"""Instead of a link: a row that holds the target."""


@jit
def _chain(r, q, lengths, base, joints):
    """Fill ``joints[r]`` for the configuration ``q[r]``."""
    x, y, heading = base[0], base[1], 0.0
    joints[r, 0, 0], joints[r, 0, 1] = x, y
    for k in range(lengths.size):
        heading += q[r, k]
        x += lengths[k] * math.cos(heading)
        y += lengths[k] * math.sin(heading)
        joints[r, k + 1, 0], joints[r, k + 1, 1] = x, y


@jit
def _assess(
    first, count, rows, q, q_ref, target, stage, pull, lengths, base, link_radius, centers, radii, present, aim,
    joints, excess, smallest, error, merit,
):
    """How good ``q`` is: joints, summed penetration of ``aim``, smallest distance, distance to the target, merit."""
    n = lengths.size
    for s in range(count):
        r = rows[s]
        i = first + r
        _chain(r, q, lengths, base, joints)
        excess[r], smallest[r] = 0.0, np.inf
        for j in range(radii.shape[1]):
            if present[i, j]:
                for k in range(n):
                    gap, _ = axis_distance(
                        joints[r, k, 0], joints[r, k, 1], joints[r, k + 1, 0], joints[r, k + 1, 1],
                        centers[i, j, 0], centers[i, j, 1],
                    )
                    distance = gap - radii[i, j] - link_radius
                    excess[r] += max(0.0, aim - distance)
                    smallest[r] = min(smallest[r], distance)
        merit[r], error[r] = 0.0, 0.0
        if stage[r] != FREE:
            error[r] = math.hypot(target[i, 0] - joints[r, n, 0], target[i, 1] - joints[r, n, 1])
        if stage[r] == REACH:
            merit[r] = 0.5 * pull * error[r] * error[r]
        else:
            for a in range(n):
                merit[r] += 0.5 * (q[r, a] - q_ref[i, a]) ** 2
        if stage[r] == SETTLE:
            excess[r] += abs(target[i, 0] - joints[r, n, 0]) + abs(target[i, 1] - joints[r, n, 1])


@jit
def linearise(
    first, count, rows, target, stage, lengths, link_radius, centers, radii, present, aim, trust, joints, G, h,
    num_rows, pairs,
):
    """The rows ``G D <= h`` of the pairs that a step within the trust box could bring nearer than ``aim``.

    Problem s belongs to row ``rows[s]``; ``pairs (count, most, 2)`` says which link and disc a half-space is of.
    """
    n = lengths.size
    for s in range(count):
        r = rows[s]
        i = first + r
        filled = 0
        for j in range(radii.shape[1]):
            if not present[i, j]:
                continue
            turn, travel = 0.0, 0.0
            for k in range(n):
                turn += trust[r]
                travel += lengths[k] * turn
                gap, along = axis_distance(
                    joints[r, k, 0], joints[r, k, 1], joints[r, k + 1, 0], joints[r, k + 1, 1],
                    centers[i, j, 0], centers[i, j, 1],
                )
                room = gap - radii[i, j] - link_radius - aim
                if room > travel:
                    continue
                ux, uy = joints[r, k + 1, 0] - joints[r, k, 0], joints[r, k + 1, 1] - joints[r, k, 1]
                px, py = joints[r, k, 0] + along * ux, joints[r, k, 1] + along * uy
                if gap > 0.0:
                    nx, ny = (px - centers[i, j, 0]) / gap, (py - centers[i, j, 1]) / gap
                else:
                    nx, ny = -uy / lengths[k], ux / lengths[k]
                for a in range(n):
                    G[s, filled, a] = 0.0
                    if a <= k:
                        G[s, filled, a] = -(ny * (px - joints[r, a, 0]) - nx * (py - joints[r, a, 1]))
                h[s, filled] = room
                pairs[s, filled, 0], pairs[s, filled, 1] = k, j
                filled += 1
        if stage[r] == SETTLE:
            for side in range(4):
                sign = 1.0 if side < 2 else -1.0
                axis = side % 2
                for a in range(n):
                    if axis == 0:
                        G[s, filled, a] = -sign * (joints[r, n, 1] - joints[r, a, 1])
                    else:
                        G[s, filled, a] = sign * (joints[r, n, 0] - joints[r, a, 0])
                h[s, filled] = sign * (target[i, axis] - joints[r, n, axis])
                pairs[s, filled, 0], pairs[s, filled, 1] = _TASK, side
                filled += 1
        num_rows[s] = filled


@jit
def _model(
    first, count, rows, here, q_ref, target, stage, pull, limits, trust, joints, held, force, num_held, lengths,
    centers, hessian, factor, x_ref, lb, ub,
):
    """The quadratic model of the merit without its penetrations: metric, unconstrained step, trust box."""
    n = lengths.size
    for s in range(count):
        r = rows[s]
        i = first + r
        ex, ey, weight, anchor, metric = 0.0, 0.0, 0.0, 1.0, 1.0
        if stage[r] == REACH:
            ex, ey = target[i, 0] - joints[r, n, 0], target[i, 1] - joints[r, n, 1]
            weight, anchor, metric = pull, 0.0, DAMPING
        for a in range(n):
            jx, jy = -(joints[r, n, 1] - joints[r, a, 1]), joints[r, n, 0] - joints[r, a, 0]
            # Minus the gradient; solved for the unconstrained step below.
            x_ref[s, a] = weight * (jx * ex + jy * ey) - anchor * (here[r, a] - q_ref[i, a])
            for b in range(n):
                kx, ky = -(joints[r, n, 1] - joints[r, b, 1]), joints[r, n, 0] - joints[r, b, 0]
                hessian[s, a, b] = weight * (jx * kx + jy * ky) + (metric if a == b else 0.0)
            lb[s, a] = max(limits[a, 0] - here[r, a], -trust[r])
            ub[s, a] = min(limits[a, 1] - here[r, a], trust[r])
        for b in range(num_held[r]):
            if held[r, b, 0] == _TASK:
                # Second derivative of the end effector: minus the lever of the later joint.
                sign, axis = (1.0 if held[r, b, 1] < 2 else -1.0), held[r, b, 1] % 2
                for a in range(n):
                    for c in range(n):
                        lever = joints[r, n, axis] - joints[r, max(a, c), axis]
                        hessian[s, a, c] -= sign * force[r, b] * lever
                continue
            add_curvature(s, r, i, held[r, b, 0], held[r, b, 1], force[r, b], joints, lengths, centers, hessian)
        factorise(s, n, hessian, factor)
        for a in range(n):
            for b in range(a):
                x_ref[s, a] -= factor[s, a, b] * x_ref[s, b]
            x_ref[s, a] /= factor[s, a, a]
        for c in range(n):
            a = n - 1 - c
            for b in range(a + 1, n):
                x_ref[s, a] -= factor[s, b, a] * x_ref[s, b]
            x_ref[s, a] /= factor[s, a, a]


@jit
def _promise(
    first, count, rows, here, step, q_ref, target, stage, pull, joints, G, h, num_rows, excess_after, promised,
):
    """The merit that the linear model expects after the step."""
    n = step.shape[1]
    for s in range(count):
        r = rows[s]
        i = first + r
        excess_after[r] = 0.0
        for p in range(num_rows[s]):
            excess = -h[s, p]
            for a in range(n):
                excess += G[s, p, a] * step[s, a]
            excess_after[r] += max(0.0, excess)
        promised[r] = 0.0
        if stage[r] == REACH:
            ex, ey = target[i, 0] - joints[r, n, 0], target[i, 1] - joints[r, n, 1]
            for a in range(n):
                ex += (joints[r, n, 1] - joints[r, a, 1]) * step[s, a]
                ey -= (joints[r, n, 0] - joints[r, a, 0]) * step[s, a]
            promised[r] = 0.5 * pull * (ex * ex + ey * ey)
        else:
            for a in range(n):
                promised[r] += 0.5 * (here[r, a] + step[s, a] - q_ref[i, a]) ** 2


@entry
def project_batch(
    start, stop, q_ref, q_start, target, has_target, lengths, base, link_radius, limits, centers, radii, present,
    margin, slack, task_tolerance, settle, most_iterations, q, solved, converged, iterations, clearance, error,
):
    """Project the rows ``[start, stop)``.

    Args:
        start: First row.
        stop: Row to stop before.
        q_ref: ``(N, n)`` proposals.
        q_start: ``(N, n)`` where the search begins, within the limits.
        target: ``(N, 2)``, read only if ``has_target``.
        has_target: Whether the end effector is to reach the target.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        limits: ``(n, 2)``.
        centers: ``(N, m, 2)``.
        radii: ``(N, m)``.
        present: ``(N, m)``.
        margin: Distance to keep.
        slack: How much more is aimed at, so that rounding cannot turn "kept" into "not".
        task_tolerance: Distance to the target at which a row is done.
        settle: Whether to go on to the nearest configuration on the target.
        most_iterations: Steps of one row at most.
        q: ``(N, n)`` out: the last configuration, or a better one that was free before.
        solved: ``(N,)`` bool out: within the limits, free, and on the target if there is one.
        converged: ``(N,)`` bool out: whether it is a stationary point of the distance to ``q_ref``.
        iterations: ``(N,)`` int32 out.
        clearance: ``(N,)`` out: at ``q``.
        error: ``(N,)`` out: distance to the target at ``q``, or nan.
    """
    n, m = lengths.size, radii.shape[1]
    most = n * m + 4
    reach = 0.0
    for k in range(n):
        reach += lengths[k]
    aim = margin + slack
    pull = PULL / (reach * reach) if has_target else 0.0
    rows, stage = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    here, there, step, best = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty(BLOCK)
    joints, joints_there = np.empty((BLOCK, n + 1, 2)), np.empty((BLOCK, n + 1, 2))
    trust, price, promised, used = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    excess, smallest, distance, merit = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    excess_there, smallest_there, distance_there, merit_there, excess_after = (
        np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK),
    )
    G, h = np.empty((BLOCK, most, n)), np.empty((BLOCK, most))
    num_rows, pairs = np.empty(BLOCK, np.int64), np.empty((BLOCK, most, 2), np.int64)
    lb, ub, x_ref = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n))
    hessian, factor = np.empty((BLOCK, n, n)), np.empty((BLOCK, n, n))
    active, multipliers = np.empty((BLOCK, n), np.int16), np.empty((BLOCK, n))
    saturated = np.empty((BLOCK, most), np.bool_)
    status, turns = np.empty(BLOCK, np.int8), np.empty(BLOCK, np.int32)
    # The pairs that held a row back in its last step, and their multipliers: the curvature that the next one sees.
    held, force, num_held = np.empty((BLOCK, n, 2), np.int64), np.empty((BLOCK, n)), np.empty(BLOCK, np.int64)
    each = np.ones(8, np.int64)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for r in range(count):
            i = first + r
            rows[r], trust[r], num_held[r], price[r], best[r] = r, FIRST_TRUST, 0, FIRST_PRICE / reach, np.inf
            solved[i], converged[i], iterations[i] = False, False, 0
            stage[r] = REACH if has_target else FREE
            for a in range(n):
                here[r, a] = q_start[i, a]
        _assess(
            first, count, rows, here, q_ref, target, stage, pull, lengths, base, link_radius, centers, radii,
            present, aim, joints, excess, smallest, distance, merit,
        )
        for turn in range(most_iterations + 1):
            # Rows that are done leave; of the others, what is free and better than before is kept.
            going = np.int64(0)
            for s in range(count):
                r = rows[s]
                i = first + r
                on_target = distance[r] <= task_tolerance
                if smallest[r] >= margin and (stage[r] != SETTLE or on_target):
                    value = distance[r] if stage[r] == REACH else merit[r]
                    if value < best[r]:
                        best[r] = value
                        for a in range(n):
                            q[i, a] = here[r, a]
                        clearance[i], error[i] = smallest[r], distance[r] if has_target else np.nan
                        solved[i] = on_target
                if stage[r] == REACH and solved[i]:
                    if settle:
                        stage[r], trust[r], num_held[r], merit[r] = SETTLE, FIRST_TRUST, 0, 0.0
                        excess[r] += abs(target[i, 0] - joints[r, n, 0]) + abs(target[i, 1] - joints[r, n, 1])
                        for a in range(n):
                            merit[r] += 0.5 * (here[r, a] - q_ref[i, a]) ** 2
                        best[r] = merit[r]
                    else:
                        trust[r] = 0.0
                if not converged[i] and trust[r] > LEAST_TRUST and turn < most_iterations:
                    rows[going] = r
                    going += 1
                elif best[r] == np.inf:
                    clearance[i], error[i] = smallest[r], distance[r] if has_target else np.nan
                    for a in range(n):
                        q[i, a] = here[r, a]
            count = going
            if count == 0:
                break
            linearise(
                first, count, rows, target, stage, lengths, link_radius, centers, radii, present, aim, trust, joints, G,
                h, num_rows, pairs,
            )
            _model(
                first, count, rows, here, q_ref, target, stage, pull, limits, trust, joints, held, force,
                num_held, lengths, centers, hessian, factor, x_ref, lb, ub,
            )
            for s in range(count):
                used[s] = price[rows[s]]
            solve_range(
                np.int64(0), count, x_ref, G, h, num_rows, lb, ub, factor, used, each, step, active, multipliers,
                saturated, status, turns,
            )
            for s in range(count):
                r = rows[s]
                for a in range(n):
                    if status[s] != SOLVED:
                        step[s, a] = 0.0
                    there[r, a] = min(limits[a, 1], max(limits[a, 0], here[r, a] + step[s, a]))
            _promise(
                first, count, rows, here, step, q_ref, target, stage, pull, joints, G, h, num_rows, excess_after,
                promised,
            )
            _assess(
                first, count, rows, there, q_ref, target, stage, pull, lengths, base, link_radius, centers,
                radii, present, aim, joints_there, excess_there, smallest_there, distance_there, merit_there,
            )
            for s in range(count):
                r = rows[s]
                i = first + r
                iterations[i] += 1
                largest = 0.0
                for a in range(n):
                    largest = max(largest, abs(step[s, a]))
                weight = 1.0
                for b in range(n):
                    if active[s, b] < num_rows[s]:
                        weight = max(weight, 2.0 * multipliers[s, b])
                for p in range(num_rows[s]):
                    if saturated[s, p]:
                        weight = price[r]
                hoped = merit[r] - promised[r] + weight * (excess[r] - excess_after[r])
                got = merit[r] - merit_there[r] + weight * (excess[r] - excess_there[r])
                # Below that the differences of merits are rounding.
                still = largest < CONVERGED or hoped < 1e-14 * (1.0 + merit[r])
                if got > 0.1 * hoped or still:
                    for a in range(n):
                        here[r, a] = there[r, a]
                    for k in range(n + 1):
                        joints[r, k, 0], joints[r, k, 1] = joints_there[r, k, 0], joints_there[r, k, 1]
                    excess[r], smallest[r], distance[r], merit[r] = (
                        excess_there[r], smallest_there[r], distance_there[r], merit_there[r],
                    )
                if got > 0.75 * hoped and largest > 0.99 * trust[r]:
                    trust[r] = min(2.0 * trust[r], WIDEST_TRUST)
                elif got < 0.25 * hoped and not still:
                    trust[r] = 0.4 * min(trust[r], largest)
                num_held[r] = 0
                for b in range(n):
                    p = active[s, b]
                    if 0 <= p < num_rows[s]:
                        c = num_held[r]
                        held[r, c, 0], held[r, c, 1], force[r, c] = pairs[s, p, 0], pairs[s, p, 1], multipliers[s, b]
                        num_held[r] = c + 1
                if still:
                    if excess[r] > slack and price[r] * reach < HIGHEST_PRICE:
                        price[r], trust[r] = 10.0 * price[r], FIRST_TRUST
                    else:
                        converged[i] = stage[r] != REACH and smallest[r] >= margin and distance[r] <= task_tolerance
                        trust[r] = trust[r] if converged[i] else 0.0
