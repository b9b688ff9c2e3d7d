"""Projection onto a polytope: a dual active-set method, one small problem after the other.

``min 1/2 (x - x_ref)^T H (x - x_ref)`` subject to ``G x <= h``, ``lb <= x <= ub``. With ``H = F F^T`` and
``y = F^T (x - x_ref)`` it is the distance of ``y`` to zero. The method (Goldfarb & Idnani, 1983,
doi:10.1007/BF02591962) keeps a working set of at most n independent rows that are held as equalities; ``y`` is the
nearest point under these, their multipliers are >= 0, and the most violated row enters while its multiplier grows from
zero: until it holds (then it joins), or a multiplier of the working set meets its bound (then that row leaves, and
the growth goes on). A row that cannot be made to hold proves that the problem is infeasible.

Rows are scaled to length one. The working set is kept as ``A = L Q`` with orthonormal rows of Q (Gram-Schmidt, done
twice) and triangular L, with ``w = L^-1 (h - A x_ref)``: y, the multipliers and the violation of the entering row are
computed from these anew in every turn, so that errors do not pile up. Nothing is ever squared: the accuracy is that
of the condition number of the active rows.

An elastic problem has the bound ``elastic`` on the multipliers of G, which is the exact l1 penalty: a row whose
multiplier meets it is *saturated*, leaves with its violation paid for, and shifts the point that is projected by
the constant ``-elastic * g``.
"""

from __future__ import annotations

import math

import numpy as np

from .launch import entry, jit

SOLVED, INFEASIBLE, UNDECIDED, INVALID = 1, 0, -1, -2
FEASIBLE = 1e-12
"""A row counts as held if its violation is below this, relative to one plus the largest coordinate."""

DEPENDENT = 1e-11
"""A row of length one counts as dependent on others if no more than this of it is left beside their span."""

NOISE = 1e-13
"""Coefficients below this share of the largest one are rounding."""

_NONE = -1


@jit
def _is_valid(ix, iG, ih, il, iu, m, x_ref, G, h, lb, ub):
    """Whether x_ref and G are finite and no bound is nan."""
    valid = True
    for a in range(x_ref.shape[1]):
        valid = valid and abs(x_ref[ix, a]) < np.inf and lb[il, a] == lb[il, a] and ub[iu, a] == ub[iu, a]
        for j in range(m):
            valid = valid and abs(G[iG, j, a]) < np.inf
    for j in range(m):
        valid = valid and h[ih, j] == h[ih, j]
    return valid


@jit
def solve_range(
    start, stop, x_ref, G, h, num_rows, lb, ub, factor, elastic, each, x, active, multipliers, saturated,
    status, iterations,
):
    """Solve the problems ``[start, stop)``.

    Args:
        start: First problem.
        stop: Problem to stop before.
        x_ref: ``(N or 1, n)``.
        G: ``(N or 1, m, n)``.
        h: ``(N or 1, m)``.
        num_rows: ``(N or 1,)`` the rows of G that count, from the first.
        lb: ``(N or 1, n)``.
        ub: ``(N or 1, n)``.
        factor: ``(N or 1, n, n)`` lower Cholesky factor of H, or ``(1, 0, 0)``: H is the identity.
        elastic: ``(N or 1,)`` price of a violation of G; inf: none may be violated.
        each: ``(8,)`` int64 for the eight arguments above: 1 if it has a row per problem, 0 if all share one.
        x: ``(N, n)`` out; nan unless solved.
        active: ``(N, n)`` int16 out: rows of the working set, then -1. First G's, then lower, then upper bounds.
        multipliers: ``(N, n)`` out: theirs.
        saturated: ``(N, m)`` bool out, written only where ``elastic`` is finite.
        status: ``(N,)`` int8 out.
        iterations: ``(N,)`` int32 out: rows that entered or left.
    """
    n, most_rows, whiten = x.shape[1], max(1, G.shape[1]), factor.shape[1] > 0
    Q, L = np.empty((n, n)), np.empty((n, n))
    rhs_w, mu, r, coefficient = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    unit, z, y, shift = np.empty(n), np.empty(n), np.empty(n), np.zeros(n)
    length, inverse, members, point = np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(n)
    # The rows of one problem, of length one, column by column: loops over them become vector instructions.
    columns, offset = np.empty((n, most_rows)), np.empty(most_rows)
    norm, excess = np.empty(most_rows), np.empty(most_rows)
    for i in range(start, stop):
        ix, iG, ih, il, iu, iF = (
            i * each[0], i * each[1], i * each[2], i * each[4], i * each[5], i * each[6],
        )
        price = elastic[i * each[7]]
        soft = price < np.inf
        m = num_rows[i * each[3]]
        k, turns, verdict = 0, 0, UNDECIDED
        largest, checksum = 0.0, 0.0
        for a in range(n):
            point[a] = x_ref[ix, a]
            largest = max(largest, abs(point[a]))
            checksum += (lb[il, a] - point[a]) + (point[a] - ub[iu, a])
        tolerance = FEASIBLE * (1.0 + largest)
        for j in range(m):
            norm[j] = 0.0
        for a in range(n):
            for j in range(m):
                columns[a, j] = G[iG, j, a]
                norm[j] += columns[a, j] * columns[a, j]
        for j in range(m):
            norm[j] = math.sqrt(norm[j])
            scale = 1.0 / norm[j] if norm[j] > 0.0 else 1.0
            offset[j] = h[ih, j] * scale
            excess[j] = scale
        for a in range(n):
            for j in range(m):
                columns[a, j] *= excess[j]
        if soft:
            for j in range(m):
                saturated[i, j] = False
            for a in range(n):
                shift[a] = 0.0
        most_turns = 100 + 10 * (m + 2 * n)
        while turns < most_turns:
            # The most violated row at the present point; of saturated ones the one with most room.
            for j in range(m):
                excess[j] = -offset[j]
            for a in range(n):
                at = point[a]
                for j in range(m):
                    excess[j] += columns[a, j] * at
            if turns == 0:
                for j in range(m):
                    checksum += excess[j]
            if soft:
                for j in range(m):
                    excess[j] = -excess[j] if saturated[i, j] else excess[j]
            entering = _NONE
            while True:
                entering, worst = _NONE, tolerance
                for j in range(m):
                    more = excess[j] > worst
                    worst = excess[j] if more else worst
                    entering = j if more else entering
                # A row of the working set holds but for rounding, which large coordinates may lift over the tolerance.
                known = False
                for b in range(k):
                    known = known or members[b] == entering
                if not known or entering == _NONE:
                    break
                excess[entering] = -np.inf
            for a in range(n):
                below, above = lb[il, a] - point[a], point[a] - ub[iu, a]
                if below > worst or above > worst:
                    candidate = m + a if below > above else m + n + a
                    known = False
                    for b in range(k):
                        known = known or members[b] == candidate
                    if not known:
                        entering, worst = candidate, max(below, above)
            if entering == _NONE:
                verdict = SOLVED
                break
            p = entering
            growing = not (soft and p < m and saturated[i, p])
            # The entering row, of length one: unit . y <= reach, where unit is F^-1 g.
            reach, size = 0.0, 1.0
            if p < m:
                for a in range(n):
                    unit[a] = columns[a, p]
                    reach -= unit[a] * x_ref[ix, a]
                reach += offset[p]
                size = norm[p]
            else:
                a = (p - m) % n
                for b in range(n):
                    unit[b] = 0.0
                if p < m + n:
                    unit[a], reach = -1.0, x_ref[ix, a] - lb[il, a]
                else:
                    unit[a], reach = 1.0, ub[iu, a] - x_ref[ix, a]
            if whiten:
                squared = 0.0
                for a in range(n):
                    for b in range(a):
                        unit[a] -= factor[iF, a, b] * unit[b]
                    unit[a] /= factor[iF, a, a]
                    squared += unit[a] * unit[a]
                stretch = math.sqrt(squared)
                scale = 1.0 / stretch if stretch > 0.0 else 1.0
                size, reach = size * stretch, reach * scale
                for a in range(n):
                    unit[a] *= scale
            most = price * size if p < m else np.inf
            grown = 0.0
            if not growing:
                grown = most
                saturated[i, p] = False
                for a in range(n):
                    shift[a] += most * unit[a]
            # Let its multiplier grow (or, from saturation, shrink).
            while turns < most_turns:
                turns += 1
                for a in range(n):
                    z[a] = unit[a]
                left = 1.0
                for b in range(k):
                    coefficient[b] = 0.0
                for _ in range(2):
                    for b in range(k):
                        dot = 0.0
                        for a in range(n):
                            dot += Q[b, a] * z[a]
                        coefficient[b] += dot
                        for a in range(n):
                            z[a] -= dot * Q[b, a]
                    left = 0.0
                    for a in range(n):
                        left += z[a] * z[a]
                    if left > 0.25 or k == 0:
                        break
                violation = -reach
                for b in range(k):
                    violation += coefficient[b] * rhs_w[b]
                if soft:
                    for a in range(n):
                        violation += z[a] * shift[a]
                independent = k < n and left > DEPENDENT * DEPENDENT and size > 0.0
                # Multipliers of the working set are mu - r * (the entering row's).
                largest = 0.0
                for c in range(k):
                    b = k - 1 - c
                    total = rhs_w[b]
                    if soft:
                        for a in range(n):
                            total -= Q[b, a] * shift[a]
                    mu[b], r[b] = -total, coefficient[b]
                    for d in range(b + 1, k):
                        mu[b] -= L[d, b] * mu[d]
                        r[b] -= L[d, b] * r[d]
                    mu[b] *= inverse[b]
                    r[b] *= inverse[b]
                    largest = max(largest, abs(r[b]))
                leaving, filled = _NONE, False
                if growing:
                    until = violation / left if independent else np.inf
                    joins = independent
                    if most < until:
                        until, joins = most, False
                    for b in range(k):
                        if r[b] > NOISE * largest:
                            time = max(mu[b] / r[b], grown)
                            if time < until:
                                until, leaving, filled = time, b, False
                        elif soft and members[b] < m and r[b] < -NOISE * largest:
                            time = max((mu[b] - price * length[b]) / r[b], grown)
                            if time < until:
                                until, leaving, filled = time, b, True
                    if until == np.inf:
                        verdict = INFEASIBLE
                        break
                else:
                    until = violation / left if independent else -np.inf
                    joins = independent
                    if until < 0.0:
                        until, joins = 0.0, False
                    for b in range(k):
                        if r[b] < -NOISE * largest:
                            time = min(mu[b] / r[b], grown)
                            if time > until:
                                until, leaving, filled = time, b, False
                        elif soft and members[b] < m and r[b] > NOISE * largest:
                            time = min((mu[b] - price * length[b]) / r[b], grown)
                            if time > until:
                                until, leaving, filled = time, b, True
                grown = until
                if leaving == _NONE:
                    if joins:
                        root = math.sqrt(left)
                        for b in range(k):
                            L[k, b] = coefficient[b]
                        scale = 1.0 / root
                        L[k, k], inverse[k] = root, scale
                        total = reach
                        for b in range(k):
                            total -= coefficient[b] * rhs_w[b]
                        rhs_w[k] = total * scale
                        for a in range(n):
                            Q[k, a] = z[a] * scale
                        members[k], length[k] = p, size
                        k += 1
                    elif growing:
                        saturated[i, p] = True
                        for a in range(n):
                            shift[a] -= most * unit[a]
                    break
                if filled:
                    saturated[i, members[leaving]] = True
                    for b in range(leaving + 1):
                        part = price * length[leaving] * L[leaving, b]
                        for a in range(n):
                            shift[a] -= part * Q[b, a]
                # The row leaves: one plane rotation for each row behind it keeps L triangular.
                for b in range(leaving, k - 1):
                    members[b], length[b] = members[b + 1], length[b + 1]
                    for c in range(b + 2):
                        L[b, c] = L[b + 1, c]
                k -= 1
                for b in range(leaving, k):
                    root = math.sqrt(L[b, b] * L[b, b] + L[b, b + 1] * L[b, b + 1])
                    inverse[b] = 1.0 / root
                    cosine, sine = L[b, b] * inverse[b], L[b, b + 1] * inverse[b]
                    L[b, b] = root
                    for c in range(b + 1, k):
                        one, two = L[c, b], L[c, b + 1]
                        L[c, b], L[c, b + 1] = cosine * one + sine * two, cosine * two - sine * one
                    for a in range(n):
                        one, two = Q[b, a], Q[b + 1, a]
                        Q[b, a], Q[b + 1, a] = cosine * one + sine * two, cosine * two - sine * one
                    one, two = rhs_w[b], rhs_w[b + 1]
                    rhs_w[b], rhs_w[b + 1] = cosine * one + sine * two, cosine * two - sine * one
            if verdict == INFEASIBLE:
                break
            for a in range(n):
                y[a] = shift[a] if soft else 0.0
            for b in range(k):
                total = rhs_w[b]
                if soft:
                    for a in range(n):
                        total -= Q[b, a] * shift[a]
                for a in range(n):
                    y[a] += total * Q[b, a]
            if whiten:
                for c in range(n):
                    a = n - 1 - c
                    for b in range(a + 1, n):
                        y[a] -= factor[iF, b, a] * y[b]
                    y[a] /= factor[iF, a, a]
            for a in range(n):
                point[a] = x_ref[ix, a] + y[a]
        # The sum of all excesses is finite unless a bound is infinite, or a number among the arguments is none.
        if not abs(checksum) < np.inf:
            if not _is_valid(ix, iG, ih, il, iu, m, x_ref, G, h, lb, ub):
                verdict = INVALID
            for a in range(n):
                # Numbers near the largest ones there are.
                if verdict == SOLVED and not abs(point[a]) < np.inf:
                    verdict = UNDECIDED
        status[i], iterations[i] = verdict, turns
        for a in range(n):
            # Bounds hold to the last bit.
            x[i, a] = min(ub[iu, a], max(lb[il, a], point[a])) if verdict == SOLVED else np.nan
            active[i, a], multipliers[i, a] = -1, 0.0
        if verdict == SOLVED:
            for c in range(k):
                b = k - 1 - c
                total = rhs_w[b]
                if soft:
                    for a in range(n):
                        total -= Q[b, a] * shift[a]
                mu[b] = -total
                for d in range(b + 1, k):
                    mu[b] -= L[d, b] * mu[d]
                mu[b] *= inverse[b]
                active[i, b], multipliers[i, b] = members[b], max(0.0, mu[b] / length[b])


@entry
def solve_batch(
    start, stop, x_ref, G, h, num_rows, lb, ub, factor, elastic, each, x, active, multipliers, saturated,
    status, iterations,
):
    """:func:`solve_range` for :func:`planararm.kernels.launch.launch`."""
    solve_range(
        start, stop, x_ref, G, h, num_rows, lb, ub, factor, elastic, each, x, active, multipliers, saturated,
        status, iterations,
    )
