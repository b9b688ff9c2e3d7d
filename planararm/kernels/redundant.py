"""Ground truth for more than three links: witnesses by guided random search, proofs by interval subdivision.

A witness: all links but the last three are drawn so that the target stays within reach of the rest, each
checked against the discs, and the last three are solved exactly (:func:`.ground_truth.solve_three`). A proof
that there is none: for every heading of the last link (or of the first) the link meets a disc, or leaves a
distance that the remaining links cannot span. Neither need succeed; then the target stays undecided.
"""

from __future__ import annotations

import math

import numpy as np

from .ground_truth import (
    REACHABLE,
    RELATIVE_SLACK,
    UNDECIDED,
    UNREACHABLE,
    WITNESS_SLACK,
    solve_three,
    workspace,
)
from .launch import entry, jit
from .self_motion import RELATIVE_TOLERANCE, load_discs, segment_point, wind

MAX_INTERVALS = 4096
ENOUGH_WITNESSES = 4
"""The search ends with the clearest of this many witnesses."""

TRIES = 4
"""Headings drawn for one link before the attempt is given up."""


@jit
def _inner_reach(lengths, first, last):
    longest, total = 0.0, 0.0
    for k in range(first, last):
        longest, total = max(longest, lengths[k]), total + lengths[k]
    return max(2 * longest - total, 0.0)


@jit
def every_heading_fails(ax, ay, ox, oy, length, inner, outer, low, high, discs, m, margin, slack):
    """Whether a link hinged at ``a`` has no free heading that leaves a spannable distance to ``o``.

    The heading lies in ``[low, high]``, a distance between ``inner`` and ``outer`` can be spanned. Interval
    subdivision: over an interval of headings no point of the link moves further than its share of the chord.
    """
    stack = np.empty((128, 2))
    stack[0, 0], stack[0, 1] = low, high
    top, spent = 1, 0
    while top > 0:
        top -= 1
        spent += 1
        low, high = stack[top, 0], stack[top, 1]
        middle = 0.5 * (low + high)
        move = 2 * length * math.sin(min(0.25 * (high - low), 0.5 * math.pi)) + slack
        bx, by = ax + length * math.cos(middle), ay + length * math.sin(middle)
        distance = math.hypot(bx - ox, by - oy)
        excluded = distance > outer + move or distance < inner - move
        j = 0
        while j < m and not excluded:
            gap, at = segment_point(discs[j, 0], discs[j, 1], ax, ay, bx, by)
            excluded = gap - discs[j, 2] + at * move + slack < margin
            j += 1
        if not excluded:
            if spent >= MAX_INTERVALS or top > 125 or not low < middle < high:
                return False
            stack[top, 0], stack[top, 1] = low, middle
            stack[top + 1, 0], stack[top + 1, 1] = middle, high
            top += 2
    return True


@jit
def _draw_link(k, n, tx, ty, pose, lengths, limits, inner, outer, discs, m, least, uniforms):
    """Draw joint ``k`` free of discs so that the rest can still span to the target.

    ``pose`` is the joint's position and the heading of the link before it. Returns the angle, the link's end,
    and whether one was found.
    """
    x, y, heading = pose
    dx, dy = tx - x, ty - y
    d, length = max(math.hypot(dx, dy), 1e-9), lengths[k]
    # Cosine law: the angles off the target's direction at which the rest is stretched, and folded.
    widest = math.acos(min(max((d * d + length * length - outer * outer) / (2 * d * length), -1.0), 1.0))
    narrowest = math.acos(min(max((d * d + length * length - inner * inner) / (2 * d * length), -1.0), 1.0))
    if inner <= 0:
        narrowest = 0.0
    low, high = limits[k, 0], limits[k, 1]
    slack = RELATIVE_TOLERANCE * (outer + length)
    for attempt in range(TRIES):
        u = 2 * uniforms[attempt] - 1
        # In turn from the headings that serve the target, and from the limits, which may be the narrower.
        turn = narrowest + (widest - narrowest) * abs(u)
        absolute = math.atan2(dy, dx) + (turn if u > 0 else -turn)
        if attempt % 2:
            absolute = heading + low + (high - low) * uniforms[attempt]
        angle, inside = wind(absolute - heading, 0.5 * (low + high), low, high)
        if not inside:
            continue
        bx, by = x + length * math.cos(heading + angle), y + length * math.sin(heading + angle)
        left = math.hypot(tx - bx, ty - by)
        free = inner - slack <= left <= outer + slack
        for j in range(m):
            gap = segment_point(discs[j, 0], discs[j, 1], x, y, bx, by)[0]
            free = free and gap - discs[j, 2] >= least
        if free:
            return angle, bx, by, True
    return 0.0, x, y, False


@jit
def _find_witness(work, tx, ty, n, lengths, limits, centers, radii, discs, m, base, link_radius, margin, uniforms, q):
    """The clearest of a few free configurations that reach ``base + (tx, ty)``; -inf if none was found."""
    best, successes = -np.inf, 0
    trial, at, near = np.empty(n), np.empty(2), np.empty(3)
    for k in range(3):
        near[k] = 0.5 * (limits[n - 3 + k, 0] + limits[n - 3 + k, 1])
    for attempt in range(uniforms.shape[0]):
        x, y, heading, drawn, clearance = 0.0, 0.0, 0.0, True, np.inf
        for k in range(n - 3):
            outer = lengths[k + 1 :].sum()
            before_x, before_y = x, y
            trial[k], x, y, drawn = _draw_link(
                k, n, tx, ty, (x, y, heading), lengths, limits, _inner_reach(lengths, k + 1, n), outer,
                discs, m, margin + WITNESS_SLACK * lengths.sum(), uniforms[attempt, k],
            )  # fmt: skip
            if not drawn:
                break
            heading += trial[k]
            for j in range(m):
                gap = segment_point(discs[j, 0], discs[j, 1], before_x, before_y, x, y)[0] - discs[j, 2]
                clearance = min(clearance, gap)
        if not drawn:
            continue
        at[0], at[1] = base[0] + x, base[1] + y
        verdict, last = solve_three(
            work, tx - x, ty - y, heading, near, lengths[n - 3 :], limits[n - 3 :], centers, radii, at,
            link_radius, margin, 0.01 * lengths.sum(), trial[n - 3 :],
        )  # fmt: skip
        if verdict == REACHABLE:
            successes += 1
            if min(clearance, last) > best:
                best = min(clearance, last)
                for k in range(n):
                    q[k] = trial[k]
            if successes == ENOUGH_WITNESSES or best == np.inf:
                break
    return best


@entry
def redundant_kernel(
    start,
    stop,
    targets,
    centers,
    radii,
    lengths,
    limits,
    base,
    link_radius,
    margin,
    uniforms,
    verdict,
    clearance,
    q,
):
    """Verdict, witness and its clearance per target for n > 3 links; no witness: NaN."""
    work = workspace(centers.shape[1])
    discs = np.empty((centers.shape[1], 3))
    n = lengths.shape[0]
    reach = lengths.sum()
    inner, slack = _inner_reach(lengths, 0, n), RELATIVE_SLACK * reach
    tail = reach - lengths[0]
    for i in range(start, stop):
        j = i if centers.shape[0] > 1 else 0
        x, y = targets[i, 0] - base[0], targets[i, 1] - base[1]
        d = math.hypot(x, y)
        m = load_discs(discs, centers[j], radii[j], base[0], base[1], 1.0, 0.0, link_radius)
        clearance[i] = np.nan
        q[i] = np.nan
        verdict[i] = UNDECIDED
        if d > reach * (1 + RELATIVE_TOLERANCE) or d < inner - reach * RELATIVE_TOLERANCE:
            verdict[i] = UNREACHABLE
            continue
        low, high = limits[0, 0], min(limits[0, 1], limits[0, 0] + 2 * math.pi)
        body = reach - lengths[n - 1]
        if every_heading_fails(
            x, y, 0.0, 0.0, lengths[n - 1], _inner_reach(lengths, 0, n - 1), body, -math.pi, math.pi,
            discs, m, margin, slack,
        ) or every_heading_fails(
            0.0, 0.0, x, y, lengths[0], _inner_reach(lengths, 1, n), tail, low, high, discs, m, margin, slack
        ):  # fmt: skip
            verdict[i] = UNREACHABLE
            continue
        best = _find_witness(
            work,
            x,
            y,
            n,
            lengths,
            limits,
            centers[j],
            radii[j],
            discs,
            m,
            base,
            link_radius,
            margin,
            uniforms,
            q[i],
        )
        if best > -np.inf:
            verdict[i], clearance[i] = REACHABLE, best
        else:
            q[i] = np.nan
