"""The command nearest to a wanted one whose whole motion is certified.

What the arm would do (the command, rounded, scaled to the velocity limits) is certified first and passed on if free.
Otherwise the step is projected, in several ways, each answer certified exactly and shortened to its certified part:

* onto the half-spaces of the distances, linearised where the arm stands, then again where that answer ends;
* onto rows that are safe by construction: for every near pair of a link and a disc with the normal n frozen, both ends
  e of the link keep ``f_e + n.(J_e D - u) >= margin + sum_{j<=e} l_j (sum_{i<=j} delta_i)^2 / 2``, the last term the
  most that curvature takes away within the trust box ``|D_i| <= delta_i``; and in a smaller box.

The nearest to the wanted step of all that was certified is taken. An arm that is nearer to a disc than the margin, or
in contact, takes what leads away from it, and never ends a step nearer than it began. Where discs move, only whole
steps count (a shortened step slows the arm, not the disc), and where standing still is not certified, fleeing is
tried.
"""

from __future__ import annotations

import math

import numpy as np

from .certificate import free_fractions
from .chain import axis_distance
from .launch import entry, jit
from .quadratic import SOLVED, solve_range
from .step_rows import nearest_rows, sure_rows

PASSED, PROJECTED, SHORTENED, HELD, UNCERTIFIED = 0, 1, 2, 3, 4
EXACT, POSITION, DELTA = 0, 1, 2
"""How a command is rounded: not at all, as a float32 position, as a float32 share of the largest step."""

BLOCK = 32
SHORTER = 1.0 - 1e-6
RESOLUTION = 1e-6
LEAST_MARGIN = 2e-6
"""A motion keeps at least this from the discs [m]; an environment stops an arm at half of that."""

NOT_NEARER = 1e-10
"""During a step an arm that is too near may come nearer by this, for the sake of rounding, at its end not [m]."""

ESCAPE = 1e-3
"""An arm in contact must gain this with a command [m], or a projected step takes its place."""

PRICE = 100.0
"""Of coming nearer than aimed at, per reach: rows that cannot hold give way to those that can."""

_HERE, _AHEAD, _SURE, _SURE_NEAR = 0, 1, 2, 3
"""Ways to project, in their order."""


@jit
def _certify(
    first, count, rows, delta, phi, joints, near, keep, margin, gain, lengths, base, link_radius, centers, drift, radii,
    present, blocking, free,
):
    """The certified part ``free[s]`` of the motions ``delta[rows[s]]``, each pair with its own margin ``keep``.

    A motion that is free but ends nearer to a standing disc than it began, where that was too near already, counts as
    not free at all; in contact it must even ``gain``. ``blocking[rows[s]]`` gets the pairs where the certificate ended.
    """
    n, m = lengths.size, radii.shape[1]
    size = max(1, count)
    which, number = np.empty(size, np.int64), np.zeros(size, np.int64)
    headings, rates, pose = np.empty((size, n)), np.empty((size, n)), np.empty((size, n + 1, 2))
    pairs, gaps = np.empty((size, n * m, 2), np.int64), np.empty((size, n * m, 2))
    margins, until = np.empty((size, n * m)), np.empty((size, n * m))
    for s in range(count):
        r = rows[s]
        i = first + r
        which[s] = i
        turned, travel = 0.0, 0.0
        pose[s, 0, 0], pose[s, 0, 1] = joints[r, 0, 0], joints[r, 0, 1]
        for k in range(n):
            turned += delta[r, k]
            travel += lengths[k] * abs(turned)
            headings[s, k], rates[s, k] = phi[r, k], turned
            pose[s, k + 1, 0], pose[s, k + 1, 1] = joints[r, k + 1, 0], joints[r, k + 1, 1]
            for j in range(m):
                if not present[i, j]:
                    continue
                drifted = math.hypot(drift[i, j, 0], drift[i, j, 1])
                gap = near[r, k, j, 0]
                room = gap - radii[i, j] - link_radius - keep[r, k, j]
                # (An axis through the very centre of a disc cannot go deeper.)
                if room > (travel + drifted) * (1.0 + 1e-9) + 1e-12 or gap < 1e-9:
                    continue
                p = number[s]
                pairs[s, p, 0], pairs[s, p, 1] = k, j
                gaps[s, p, 0], gaps[s, p, 1] = gap, near[r, k, j, 1]
                margins[s, p], until[s, p] = keep[r, k, j], 0.0
                number[s] = p + 1
    free_fractions(
        count, which, headings, rates, lengths, base, link_radius, centers, drift, radii, pose, pairs, gaps, margins,
        until, number, RESOLUTION, free,
    )
    for s in range(count):
        r = rows[s]
        i = first + r
        x, y = joints[r, 0, 0], joints[r, 0, 1]
        for k in range(n):
            ax, ay = x, y
            heading = phi[r, k] + rates[s, k]
            x, y = x + lengths[k] * math.cos(heading), y + lengths[k] * math.sin(heading)
            for j in range(m):
                blocking[r, k, j] = False
                if not present[i, j] or drift[i, j, 0] != 0.0 or drift[i, j, 1] != 0.0:
                    continue
                wall = radii[i, j] + link_radius
                room = near[r, k, j, 0] - wall
                if room < margin:
                    gap, _ = axis_distance(ax, ay, x, y, centers[i, j, 0], centers[i, j, 1])
                    least = room if room > 0.0 else min(margin, room + gain)
                    if gap - wall < least:
                        free[s], blocking[r, k, j] = 0.0, True
        for p in range(number[s]):
            if free[s] < 1.0 and until[s, p] < free[s] + RESOLUTION:
                blocking[r, pairs[s, p, 0], pairs[s, p, 1]] = True


@entry
def filter_batch(
    start, stop, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, present, margin,
    aim, rounding, action, end, status, distance, pressed,
):
    """Filter the commands ``[start, stop)``.

    Args:
        start: First row.
        stop: Row to stop before.
        q: ``(N, n)`` where the arm stands.
        command: ``(N, n)`` configurations commanded.
        limits: ``(n, 2)``.
        max_step: ``(n,)`` the largest step of each joint.
        lengths: ``(n,)``.
        base: ``(2,)``.
        link_radius: Capsule radius.
        centers: ``(N, m, 2)``.
        drift: ``(N, m, 2)`` displacement of the discs during the step.
        radii: ``(N, m)``.
        present: ``(N, m)``.
        margin: Distance that the motion keeps, where the arm is that far already.
        aim: Distance that its end aims at, larger.
        rounding: EXACT, POSITION or DELTA.
        action: ``(N, n)`` out: the command; with DELTA its share of the largest step. As given where PASSED.
        end: ``(N, n)`` out: where the certified motion ends.
        status: ``(N,)`` int8 out: PASSED; PROJECTED; SHORTENED, a part of the wanted motion; HELD; UNCERTIFIED, if not
            even standing still is certified (moving discs).
        distance: ``(N,)`` out: of ``end`` to where the wanted step ended.
        pressed: ``(N, n, m)`` bool out: pairs that held the projected step back.
    """
    n, m = lengths.size, radii.shape[1]
    reach = lengths.sum()
    margin = max(margin, LEAST_MARGIN)
    rows, tried = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    wanted, step, choice, phi = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n))
    joints, near, keep = np.empty((BLOCK, n + 1, 2)), np.empty((BLOCK, n, m, 2)), np.empty((BLOCK, n, m))
    free, best, retreat, moving = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK, np.bool_), np.empty(BLOCK, np.bool_)
    flight, blocking = np.empty((BLOCK, n)), np.empty((BLOCK, n, m), np.bool_)
    most = 2 * n * m
    G, h = np.empty((BLOCK, most, n)), np.empty((BLOCK, most))
    num_rows, pairs = np.empty(BLOCK, np.int64), np.empty((BLOCK, most, 2), np.int64)
    lb, ub, x_ref, x = np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n)), np.empty((BLOCK, n))
    active, multipliers = np.empty((BLOCK, n), np.int16), np.empty((BLOCK, n))
    saturated = np.empty((BLOCK, most), np.bool_)
    solved, turns = np.empty(BLOCK, np.int8), np.empty(BLOCK, np.int32)
    factor, price = np.empty((1, 0, 0)), np.array([PRICE / reach])
    each = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for r in range(count):
            i = first + r
            rows[r], retreat[r], moving[r] = r, False, False
            scale, heading, x_at, y_at, worst, nearest = 1.0, 0.0, base[0], base[1], 1.0, np.inf
            joints[r, 0, 0], joints[r, 0, 1] = x_at, y_at
            for a in range(n):
                flight[r, a] = 0.0
                worst = max(worst, abs(command[i, a] - q[i, a]) / max_step[a])
            for a in range(n):
                goal = command[i, a]
                action[i, a] = goal
                if rounding == POSITION:
                    goal = np.float64(np.float32(goal))
                    action[i, a] = goal
                elif rounding == DELTA:
                    action[i, a] = np.float64(np.float32((goal - q[i, a]) / max_step[a] / worst))
                    goal = q[i, a] + action[i, a] * max_step[a]
                wanted[r, a] = min(limits[a, 1], max(limits[a, 0], goal)) - q[i, a]
                scale = max(scale, abs(wanted[r, a]) / max_step[a])
            for k in range(n):
                wanted[r, k] /= scale
                heading += q[i, k]
                phi[r, k] = heading
                x_at += lengths[k] * math.cos(heading)
                y_at += lengths[k] * math.sin(heading)
                joints[r, k + 1, 0], joints[r, k + 1, 1] = x_at, y_at
                for j in range(m):
                    pressed[i, k, j] = False
                    if not present[i, j]:
                        continue
                    gap, along = axis_distance(
                        joints[r, k, 0], joints[r, k, 1], x_at, y_at, centers[i, j, 0], centers[i, j, 1]
                    )
                    near[r, k, j, 0], near[r, k, j, 1] = gap, along
                    room = gap - radii[i, j] - link_radius
                    keep[r, k, j] = min(margin, room - NOT_NEARER)
                    retreat[r] = retreat[r] or room < margin
                    if drift[i, j, 0] != 0.0 or drift[i, j, 1] != 0.0:
                        moving[r] = True
                    if room < nearest and gap > 0.0:
                        nearest = room
                        px = joints[r, k, 0] + along * (x_at - joints[r, k, 0])
                        py = joints[r, k, 1] + along * (y_at - joints[r, k, 1])
                        for a in range(n):
                            slope = (py - centers[i, j, 1]) * (px - joints[r, a, 0])
                            slope -= (px - centers[i, j, 0]) * (py - joints[r, a, 1])
                            flight[r, a] = 0.0 if a > k else max_step[a] if slope > 0.0 else -max_step[a]
        _certify(
            first, count, rows, wanted, phi, joints, near, keep, margin, ESCAPE, lengths, base, link_radius, centers,
            drift, radii, present, blocking, free,
        )
        going = np.int64(0)
        for r in range(count):
            i = first + r
            if free[r] >= 1.0:
                status[i], distance[i] = PASSED, 0.0
                for a in range(n):
                    end[i, a] = q[i, a] + wanted[r, a]
                continue
            # A shortened step slows the arm, but not the discs.
            part = 0.0 if moving[r] else SHORTER * free[r]
            status[i] = SHORTENED if part > 0.0 else HELD
            total = 0.0
            for a in range(n):
                choice[r, a] = part * wanted[r, a]
                total += (wanted[r, a] - choice[r, a]) ** 2
                step[r, a] = 0.0
            for k in range(n):
                for j in range(m):
                    pressed[i, k, j] = present[i, j] and blocking[r, k, j]
            best[r] = np.inf if retreat[r] or moving[r] else math.sqrt(total)
            rows[going] = r
            going += 1
        count = going
        for s in range(count):
            tried[s] = rows[s]
        trying = count
        for way in range(4):
            if trying == 0:
                break
            if way in (_HERE, _AHEAD):
                nearest_rows(
                    first, trying, tried, q, step, limits, max_step, joints, lengths, link_radius, centers, drift,
                    radii, present, aim, G, h, num_rows, pairs, lb, ub,
                )
            else:
                sure_rows(
                    first, trying, tried, q, limits, max_step, 1.0 if way == _SURE else 0.25, joints, near, keep,
                    lengths, link_radius, centers, drift, radii, present, aim, G, h, num_rows, pairs, lb, ub,
                )
            for s in range(trying):
                for a in range(n):
                    x_ref[s, a] = wanted[tried[s], a]
            solve_range(
                np.int64(0), trying, x_ref, G, h, num_rows, lb, ub, factor, price, each, x, active, multipliers,
                saturated, solved, turns,
            )
            for s in range(trying):
                for a in range(n):
                    step[tried[s], a] = x[s, a] if solved[s] == SOLVED else 0.0
            _certify(
                first, trying, tried, step, phi, joints, near, keep, margin, 0.0, lengths, base, link_radius, centers,
                drift, radii, present, blocking, free,
            )
            open_rows = np.int64(0)
            for s in range(trying):
                r = tried[s]
                i = first + r
                whole = free[s] >= 1.0
                part = 1.0 if whole else 0.0 if moving[r] else SHORTER * free[s]
                total, moved = 0.0, 0.0
                for a in range(n):
                    total += (wanted[r, a] - part * step[r, a]) ** 2
                    moved = max(moved, abs(part * step[r, a]))
                if solved[s] == SOLVED and moved > 0.0 and math.sqrt(total) < best[r]:
                    best[r], status[i] = math.sqrt(total), PROJECTED
                    for a in range(n):
                        choice[r, a] = part * step[r, a]
                    for k in range(n):
                        for j in range(m):
                            pressed[i, k, j] = False
                    for b in range(n):
                        p = active[s, b]
                        if 0 <= p < num_rows[s]:
                            pressed[i, pairs[s, p, 0], pairs[s, p, 1]] = True
                    for p in range(num_rows[s]):
                        if saturated[s, p]:
                            pressed[i, pairs[s, p, 0], pairs[s, p, 1]] = True
                if way == _HERE or not whole:
                    tried[open_rows] = r
                    open_rows += 1
            trying = open_rows
        # Certified is what will be executed: the rounded command. Shorter and shorter, standing still, and fleeing.
        for turn in range(7):
            if count == 0:
                break
            for s in range(count):
                r = rows[s]
                i = first + r
                for a in range(n):
                    if turn == 4 or turn == 6:
                        choice[r, a] = 0.0
                    elif turn == 5:
                        choice[r, a] = flight[r, a]
                    elif turn > 0:
                        choice[r, a] *= 0.5
                if turn >= 4:
                    status[i] = PROJECTED if turn == 5 else HELD
                for a in range(n):
                    goal = q[i, a] + choice[r, a]
                    action[i, a] = goal
                    if rounding == POSITION:
                        action[i, a] = np.float64(np.float32(goal))
                        goal = action[i, a]
                    elif rounding == DELTA:
                        action[i, a] = np.float64(np.float32(choice[r, a] / max_step[a]))
                        goal = q[i, a] + action[i, a] * max_step[a]
                    step[r, a] = min(limits[a, 1], max(limits[a, 0], goal)) - q[i, a]
                # Rounding may have made the step a little too large: it is scaled, as any other.
                scale = 1.0
                for a in range(n):
                    scale = max(scale, abs(step[r, a]) / max_step[a])
                for a in range(n):
                    step[r, a] /= scale
                    end[i, a] = q[i, a] + step[r, a]
            _certify(
                first, count, rows, step, phi, joints, near, keep, margin, 0.0, lengths, base, link_radius, centers,
                drift, radii, present, blocking, free,
            )
            going = np.int64(0)
            for s in range(count):
                r = rows[s]
                i = first + r
                total = 0.0
                for a in range(n):
                    total += (wanted[r, a] - step[r, a]) ** 2
                distance[i] = math.sqrt(total)
                if free[s] < 1.0:
                    rows[going] = r
                    going += 1
                    if turn == 6:
                        status[i] = UNCERTIFIED
            count = going
