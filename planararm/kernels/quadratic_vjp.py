"""Derivatives of projections onto a polytope: the linear system of the active rows, problem by problem."""

from __future__ import annotations

import math

import numpy as np

from .launch import entry
from .quadratic import SOLVED


@entry
def differentiate_batch(
    start, stop, grad_x, x, x_ref, G, factor, elastic, each, active, multipliers, saturated, status, grad_x_ref,
    direction, pull, own, grad_G, grad_h, grad_lb, grad_ub,
):
    """Vector-Jacobian products of the solutions: the linear system of the active rows, solved once.

    With A the active rows, lambda their multipliers and ``v = dL/dx``: ``mu = (A H^-1 A^T)^-1 A H^-1 v``,
    ``w = H^-1 (v - A^T mu)``; then ``dL/dx_ref = H w``, ``dL/dh_A = mu``, ``dL/dA = -(lambda w^T + mu x^T)``.
    A saturated row g has the constant multiplier ``elastic``, so ``dL/dg = -elastic w``.

    Args:
        start: First problem.
        stop: Problem to stop before.
        grad_x: ``(N, n)``.
        x: ``(N, n)``, from :func:`solve_range`, as are ``active``, ``multipliers``, ``saturated`` and ``status``.
        x_ref: See there, as for ``G``, ``factor``, ``elastic`` and ``each``.
        G: See there.
        factor: See there.
        elastic: See there.
        each: See there.
        active: ``(N, n)``.
        multipliers: ``(N, n)``.
        saturated: ``(N, m)``.
        status: ``(N,)``.
        grad_x_ref: ``(N, n)`` out.
        direction: ``(N, n)`` out: w.
        pull: ``(N, n)`` out: mu, in the order of ``active``.
        own: ``(4,)`` int64: 1 if the following array has a row per problem and is to be filled, 0 if not.
        grad_G: ``(N, m, n)`` out.
        grad_h: ``(N, m)`` out.
        grad_lb: ``(N, n)`` out.
        grad_ub: ``(N, n)`` out.
    """
    n, m, whiten = x.shape[1], G.shape[1], factor.shape[1] > 0
    Q, L = np.empty((n, n)), np.empty((n, n))
    v, w, mu, size = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(start, stop):
        iG, iF = i * each[1], i * each[6]
        if own[0]:
            for j in range(m):
                for a in range(n):
                    grad_G[i, j, a] = 0.0
        if own[1]:
            for j in range(m):
                grad_h[i, j] = 0.0
        for a in range(n):
            grad_x_ref[i, a], direction[i, a], pull[i, a] = 0.0, 0.0, 0.0
            if own[2]:
                grad_lb[i, a] = 0.0
            if own[3]:
                grad_ub[i, a] = 0.0
        if status[i] != SOLVED:
            continue
        k = 0
        while k < n and active[i, k] >= 0:
            p = active[i, k]
            for a in range(n):
                Q[k, a] = G[iG, p, a] if p < m else 0.0
            if p >= m:
                Q[k, (p - m) % n] = -1.0 if p < m + n else 1.0
            if whiten:
                for a in range(n):
                    for b in range(a):
                        Q[k, a] -= factor[iF, a, b] * Q[k, b]
                    Q[k, a] /= factor[iF, a, a]
            total = 0.0
            for a in range(n):
                total += Q[k, a] * Q[k, a]
            size[k] = math.sqrt(total)
            for a in range(n):
                Q[k, a] /= size[k]
            for b in range(k):
                L[k, b] = 0.0
            for _ in range(2):
                for b in range(k):
                    total = 0.0
                    for a in range(n):
                        total += Q[b, a] * Q[k, a]
                    L[k, b] += total
                    for a in range(n):
                        Q[k, a] -= total * Q[b, a]
            total = 0.0
            for a in range(n):
                total += Q[k, a] * Q[k, a]
            L[k, k] = math.sqrt(total)
            for a in range(n):
                Q[k, a] /= L[k, k]
            k += 1
        for a in range(n):
            v[a] = grad_x[i, a]
            if whiten:
                for b in range(a):
                    v[a] -= factor[iF, a, b] * v[b]
                v[a] /= factor[iF, a, a]
        for b in range(k):
            mu[b] = 0.0
        # Twice: what is left of a vector that lies in the span is rounding, and small beside nothing.
        for _ in range(2):
            for b in range(k):
                total = 0.0
                for a in range(n):
                    total += Q[b, a] * v[a]
                mu[b] += total
                for a in range(n):
                    v[a] -= total * Q[b, a]
        if k == n:
            for a in range(n):
                v[a] = 0.0
        for c in range(k):
            b = k - 1 - c
            for d in range(b + 1, k):
                mu[b] -= L[d, b] * mu[d]
            mu[b] /= L[b, b]
        for a in range(n):
            w[a] = v[a]
            if whiten:
                total = 0.0
                for b in range(a + 1):
                    total += factor[iF, a, b] * v[b]
                grad_x_ref[i, a] = total
            else:
                grad_x_ref[i, a] = v[a]
        if whiten:
            for c in range(n):
                a = n - 1 - c
                for b in range(a + 1, n):
                    w[a] -= factor[iF, b, a] * w[b]
                w[a] /= factor[iF, a, a]
        for a in range(n):
            direction[i, a] = w[a]
        for b in range(k):
            p, rate = active[i, b], mu[b] / size[b]
            pull[i, b] = rate
            if p < m:
                if own[0]:
                    for a in range(n):
                        grad_G[i, p, a] = -(multipliers[i, b] * w[a] + rate * x[i, a])
                if own[1]:
                    grad_h[i, p] = rate
            elif p < m + n:
                if own[2]:
                    grad_lb[i, p - m] -= rate
            elif own[3]:
                grad_ub[i, p - m - n] += rate
        price = elastic[i * each[7]]
        if price < np.inf and own[0]:
            for j in range(m):
                if saturated[i, j]:
                    for a in range(n):
                        grad_G[i, j, a] -= price * w[a]
