"""The forward pass of a trained proposal network in float32; :mod:`planararm.policies.proposal_torch` has the formulas.

A row's answer is the same bits whatever batch it is in: every sum is taken in the order of the inputs, for each row by
itself. Four rows at once share what is read of the weights; that, and fused multiplication and addition, is where the
speed comes from. Fused or not depends on the machine, and with it the last bits, as with any network library.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from .launch import entry, options

fused = numba.njit(**{**options, "no_cpython_wrapper": True, "fastmath": {"contract"}})
"""Compiles to fused multiplications and additions where the machine has them."""

BLOCK = 32
"""Rows that go through the layers together, so that the weights of a layer stay in the cache."""

ABOUT, FEATURES = 7, 7
"""Most numbers that tell of a target, and numbers that tell of a disc."""

TINY, EMPTY = 1e-6, -0.3
"""Added to lengths before a division; and below anything that SiLU returns: the maximum over no disc."""

(
    DISC_FEATURES, DISC_TARGET, DISC_HIDDEN, TRUNK_IN, HEADS, ONWARD_IN, ONWARD_HIDDEN, ONWARD_OUT,
    CORRECTION_IN, CORRECTION_CONTEXT, CORRECTION_HIDDEN, CORRECTION_OUT, TRUNK,
) = range(13)  # fmt: skip
"""Rows of the table of layers; those of the trunk's residual layers come last, as many as there are."""


@fused
def _matrix(weights, layer):
    """A layer's weights ``(inputs, outputs)``, from ``offset, offset of the bias, inputs, outputs``."""
    return weights[layer[0] : layer[0] + layer[2] * layer[3]].reshape((layer[2], layer[3]))


@fused
def _dense(x, rows, weights, layer, out):
    """``out[:rows] = x[:rows] W + b``, for rows that are longer than the layer's inputs as well."""
    w, bias = _matrix(weights, layer), weights[layer[1] : layer[1] + layer[3]]
    ins, outs = w.shape
    four = rows // 4 * 4
    for r in range(0, four, 4):
        o0, o1, o2, o3 = out[r], out[r + 1], out[r + 2], out[r + 3]
        for j in range(outs):
            o0[j] = bias[j]
            o1[j] = bias[j]
            o2[j] = bias[j]
            o3[j] = bias[j]
        for part in range(ins // 4):
            k = 4 * part
            a0, a1, a2, a3 = x[r, k], x[r, k + 1], x[r, k + 2], x[r, k + 3]
            b0, b1, b2, b3 = x[r + 1, k], x[r + 1, k + 1], x[r + 1, k + 2], x[r + 1, k + 3]
            c0, c1, c2, c3 = x[r + 2, k], x[r + 2, k + 1], x[r + 2, k + 2], x[r + 2, k + 3]
            d0, d1, d2, d3 = x[r + 3, k], x[r + 3, k + 1], x[r + 3, k + 2], x[r + 3, k + 3]
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            for j in range(outs):
                u0, u1, u2, u3 = w0[j], w1[j], w2[j], w3[j]
                o0[j] = o0[j] + a0 * u0 + a1 * u1 + a2 * u2 + a3 * u3
                o1[j] = o1[j] + b0 * u0 + b1 * u1 + b2 * u2 + b3 * u3
                o2[j] = o2[j] + c0 * u0 + c1 * u1 + c2 * u2 + c3 * u3
                o3[j] = o3[j] + d0 * u0 + d1 * u1 + d2 * u2 + d3 * u3
    for r in range(four, rows):
        o = out[r]
        for j in range(outs):
            o[j] = bias[j]
        for part in range(ins // 4):
            k = 4 * part
            a0, a1, a2, a3 = x[r, k], x[r, k + 1], x[r, k + 2], x[r, k + 3]
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            for j in range(outs):
                o[j] = o[j] + a0 * w0[j] + a1 * w1[j] + a2 * w2[j] + a3 * w3[j]
    for r in range(rows):
        o = out[r]
        for k in range(ins // 4 * 4, ins):
            a, wk = x[r, k], w[k]
            for j in range(outs):
                o[j] = o[j] + a * wk[j]


@fused
def _silu(x, rows, count):
    """``x / (1 + exp(-x))`` in place; the exponential by Cody's and Waite's reduction and the polynomial of Cephes."""
    one, half = np.float32(1.0), np.float32(0.5)
    low, high = np.float32(-87.0), np.float32(87.0)
    per_octave, octave, rest = np.float32(1.44269504), np.float32(0.693359375), np.float32(2.12194440e-4)
    p0, p1, p2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
    p3, p4, p5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
    for r in range(rows):
        row = x[r]
        for j in range(count):
            v = row[j]
            z = min(max(-v, low), high)
            octaves = np.floor(z * per_octave + half)
            f = z - octaves * octave + octaves * rest
            p = ((((p0 * f + p1) * f + p2) * f + p3) * f + p4) * f + p5
            scale = np.int32((np.int32(octaves) + np.int32(127)) << np.int32(23)).view(np.float32)
            row[j] = v / (one + (p * f * f + f + one) * scale)


@fused
def _targets(distance, bearing, first, rows, turns, about):
    """What is told of the targets' distances (and bearings)."""
    for r in range(rows):
        d = min(max(distance[first + r], np.float32(0.0)), np.float32(1.0))
        about[r, 0] = d
        about[r, 1] = d * d
        about[r, 2] = math.sqrt(np.float32(1.0) - d * d)
        about[r, 3] = math.acos(d)
        about[r, 4] = np.float32(1.0) - d
        if not turns:
            about[r, 5] = math.cos(bearing[first + r])
            about[r, 6] = math.sin(bearing[first + r])


@fused
def _pool(distance, discs, mask, first, rows, about, weights, layers, features, inner, encoded, share, row_of, out):
    """What is told of the target, then the discs of the row as one vector: sum and maximum over an encoding of each."""
    width, told = layers[DISC_HIDDEN, 3], layers[DISC_TARGET, 2]
    pairs = 0
    for r in range(rows):
        i = first + r
        for m in range(mask.shape[1]):
            if mask[i, m]:
                x, y, radius = discs[i, m, 0], discs[i, m, 1], discs[i, m, 2]
                from_base = math.sqrt(x * x + y * y)
                dx = x - distance[i]
                from_target = math.sqrt(dx * dx + y * y)
                f = features[pairs]
                f[0], f[1], f[2], f[3], f[4] = x, y, radius, from_base, from_target
                f[5], f[6] = from_base - radius, from_target - radius
                row_of[pairs] = r
                pairs += 1
    _dense(features, pairs, weights, layers[DISC_FEATURES], inner)
    # The target's share of the first layer is the same for all discs: computed once.
    _dense(about, rows, weights, layers[DISC_TARGET], share)
    for p in range(pairs):
        to, of = inner[p], share[row_of[p]]
        for j in range(width):
            to[j] += of[j]
    _silu(inner, pairs, width)
    _dense(inner, pairs, weights, layers[DISC_HIDDEN], encoded)
    _silu(encoded, pairs, width)
    for r in range(rows):
        for j in range(told):
            out[r, j] = about[r, j]
        for j in range(width):
            out[r, told + j] = 0.0
            out[r, told + width + j] = EMPTY
    for p in range(pairs):
        of, to = encoded[p], out[row_of[p]]
        for j in range(width):
            to[told + j] += of[j]
            to[told + width + j] = max(to[told + width + j], of[j])


@fused
def _see_miss(directions, lengths, distance, seen, at):
    """Where the end effector is as seen from the target, written to ``seen[at : at + 3]``; returns the distance."""
    x, y = -distance, np.float32(0.0)
    for k in range(lengths.shape[0]):
        x += lengths[k] * directions[k, 0]
        y += lengths[k] * directions[k, 1]
    length = math.sqrt(x * x + y * y)
    seen[at] = x / (length + np.float32(1e-4))
    seen[at + 1] = y / (length + np.float32(1e-4))
    seen[at + 2] = math.log(length + np.float32(1e-5)) / np.float32(5.0)
    return length


@fused
def _to_units(directions):
    """Vectors ``(n, 2)`` brought to length one, in place."""
    for k in range(directions.shape[0]):
        x, y = directions[k, 0], directions[k, 1]
        by = np.float32(1.0) / (math.sqrt(x * x + y * y) + np.float32(TINY))
        directions[k, 0], directions[k, 1] = x * by, y * by


@fused
def _best(logits, num, order):
    """Indices of the ``num`` largest numbers, the largest first; of equal ones the first."""
    for p in range(logits.shape[0]):
        at = min(p, num)
        while at > 0 and logits[p] > logits[order[at - 1]]:
            if at < num:
                order[at] = order[at - 1]
            at -= 1
        if at < num:
            order[at] = p


@entry
def propose(
    start, stop, distance, discs, mask, present, bearing, turns, lengths, weights, layers, num_corrections,
    directions, logits,
):
    """Propose for the rows ``[start, stop)``: fill ``directions (N, K', n, 2)`` and ``logits (N, K')``.

    These are the K' most confident proposals, the most confident first; with K' = K + 1 all of them in their own order.
    ``distance``, ``discs``, ``mask``, ``present`` and ``bearing`` are those of
    :class:`planararm.policies.canonical.CanonicalBatch`; the bearing is looked at if the first joint does not turn
    fully (``turns``). ``lengths (n,)`` are those of the links, fractions of the reach. ``weights`` has all weights in a
    row, those of a layer as ``(inputs, outputs)``; ``layers (L, 4)`` says where: offset, offset of the bias, inputs,
    outputs.
    """
    n, num = directions.shape[2], directions.shape[1]
    width, context = layers[TRUNK_IN, 3], layers[CORRECTION_CONTEXT, 2]
    k = (layers[HEADS, 3] - context) // (2 * n + 1)
    told, disc_width, hidden_width = layers[DISC_TARGET, 2], layers[DISC_HIDDEN, 3], layers[CORRECTION_HIDDEN, 3]
    many = BLOCK * max(1, mask.shape[1])
    features = np.empty((many, FEATURES), np.float32)
    inner, encoded = np.empty((many, disc_width), np.float32), np.empty((many, disc_width), np.float32)
    row_of = np.empty(many, np.int64)
    about, share = np.empty((BLOCK, ABOUT), np.float32), np.empty((BLOCK, max(disc_width, hidden_width)), np.float32)
    trunk_in = np.empty((BLOCK, told + 2 * disc_width), np.float32)
    hidden, change = np.empty((BLOCK, width), np.float32), np.empty((BLOCK, width), np.float32)
    heads, seen_context = np.empty((BLOCK, layers[HEADS, 3]), np.float32), np.empty((BLOCK, context), np.float32)
    onward_in = np.empty((BLOCK, context + 2 * n + 3), np.float32)
    onward = np.empty((BLOCK, 2 * n + 1), np.float32)
    seen, lacking = np.empty((BLOCK * num, 2 * n + 3), np.float32), np.empty(BLOCK * num, np.float32)
    first_hidden = np.empty((BLOCK * num, hidden_width), np.float32)
    second_hidden = np.empty((BLOCK * num, hidden_width), np.float32)
    correction = np.empty((BLOCK * num, 2 * n), np.float32)
    all_logits, order = np.empty(k + 1, np.float32), np.arange(num)
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        _targets(distance, bearing, first, rows, turns, about)
        _pool(
            distance, discs, mask, first, rows, about, weights, layers, features, inner, encoded, share, row_of,
            trunk_in,
        )
        _dense(trunk_in, rows, weights, layers[TRUNK_IN], hidden)
        _silu(hidden, rows, width)
        for layer in range(TRUNK, layers.shape[0]):
            _dense(hidden, rows, weights, layers[layer], change)
            _silu(change, rows, width)
            for r in range(rows):
                for j in range(width):
                    hidden[r, j] += change[r, j]
        # Proposals, then their logits, then the context.
        _dense(hidden, rows, weights, layers[HEADS], heads)
        for r in range(rows):
            i, row = first + r, onward_in[r]
            for j in range(context):
                seen_context[r, j] = row[j] = heads[r, 2 * n * k + k + j]
            for j in range(n):
                row[context + 2 * j], row[context + 2 * j + 1] = present[i, j, 0], present[i, j, 1]
            lacking[r] = _see_miss(present[i], lengths, distance[i], row, context + 2 * n)
        _dense(onward_in, rows, weights, layers[ONWARD_IN], hidden)
        _silu(hidden, rows, width)
        _dense(hidden, rows, weights, layers[ONWARD_HIDDEN], change)
        _silu(change, rows, width)
        for r in range(rows):
            for j in range(width):
                hidden[r, j] += change[r, j]
        _dense(hidden, rows, weights, layers[ONWARD_OUT], onward)
        for r in range(rows):
            i = first + r
            for p in range(k):
                all_logits[p] = heads[r, 2 * n * k + p]
            all_logits[k] = onward[r, 2 * n]
            if num <= k:
                _best(all_logits, num, order)
            for c in range(num):
                p, to = order[c], directions[i, c]
                logits[i, c] = all_logits[p]
                for j in range(n):
                    if p < k:
                        to[j, 0], to[j, 1] = heads[r, 2 * (p * n + j)], heads[r, 2 * (p * n + j) + 1]
                    else:
                        to[j, 0] = present[i, j, 0] + lacking[r] * onward[r, 2 * j]
                        to[j, 1] = present[i, j, 1] + lacking[r] * onward[r, 2 * j + 1]
                _to_units(to)
        # The context's share of the first layer is the same for all proposals: computed once.
        _dense(seen_context, rows, weights, layers[CORRECTION_CONTEXT], share)
        for _ in range(num_corrections):
            for r in range(rows):
                for c in range(num):
                    row, at = seen[r * num + c], directions[first + r, c]
                    for j in range(n):
                        row[2 * j], row[2 * j + 1] = at[j, 0], at[j, 1]
                    lacking[r * num + c] = _see_miss(at, lengths, distance[first + r], row, 2 * n)
            _dense(seen, rows * num, weights, layers[CORRECTION_IN], first_hidden)
            for r in range(rows):
                of = share[r]
                for c in range(num):
                    to_hidden = first_hidden[r * num + c]
                    for j in range(hidden_width):
                        to_hidden[j] += of[j]
            _silu(first_hidden, rows * num, hidden_width)
            _dense(first_hidden, rows * num, weights, layers[CORRECTION_HIDDEN], second_hidden)
            _silu(second_hidden, rows * num, hidden_width)
            _dense(second_hidden, rows * num, weights, layers[CORRECTION_OUT], correction)
            for r in range(rows):
                for c in range(num):
                    at, by, length = directions[first + r, c], correction[r * num + c], lacking[r * num + c]
                    for j in range(n):
                        at[j, 0] += length * by[2 * j]
                        at[j, 1] += length * by[2 * j + 1]
                    _to_units(at)
