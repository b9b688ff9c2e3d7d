"""The exact projection in batched torch, for tensors on an accelerator; it runs on the CPU too.

The method is that of :mod:`planararm.kernels.quadratic` (a dual active-set method; Goldfarb & Idnani, 1983,
doi:10.1007/BF02591962), in lockstep: in one turn every element that is not done lets one row enter or leave its
working set. The orthonormal basis of the working set is computed anew in every turn, so that nothing has to be updated
element by element. The host waits for the device once per turn, to ask whether any element is left; done elements
are dropped whenever they are the majority.

Inside, a row is scaled to length one, and the bounds are rows like the others: ``normal y <= offset``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import MissingExtraError
from ..kernels.quadratic import DEPENDENT, FEASIBLE, NOISE
from .qp import INFEASIBLE, INVALID, SOLVED, UNDECIDED

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.torch_solver", "torch") from cause

from .torch_triangular import cholesky, factorise, orthogonal, solve_lower, solve_upper, whitened

_NONE = -1

Solutions = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


@dataclass
class _Batch:
    """Problems and where their solution stands; the leading axis is the batch, R = m + 2 n.

    Attributes:
        x_ref: ``(N, n)``.
        normal: ``(N, R, n)`` rows of length one (or zero).
        offset: ``(N, R)`` their right-hand sides.
        length: ``(N, R)`` what they were divided by.
        factor: ``(N, n, n)`` Cholesky factor F of H, or ``(N, 0, 0)``: the identity.
        members: ``(N, n)`` rows of the working set, R where there is none.
        units: ``(N, n, n)`` theirs, as rows of length one for the whitened point ``F^T (x - x_ref)``; zero: none.
        reach: ``(N, n)`` theirs: the right-hand sides of ``units``.
        size: ``(N, n)`` theirs: multipliers of ``units`` divided by it are those of the rows given.
        cap: ``(N, n)`` theirs: the bound of the multipliers of ``units``.
        shift: ``(N, n)`` what the saturated rows add to the whitened point that is projected.
        saturated: ``(N, R)`` bool.
        entering: ``(N,)`` the row whose multiplier is moving, or -1.
        sign: ``(N,)`` 1 if it grows, -1 if it shrinks.
        grown: ``(N,)`` ``sign`` times the multiplier.
        status: ``(N,)`` int8; UNDECIDED while at work.
        iterations: ``(N,)`` int32.
    """

    x_ref: torch.Tensor
    normal: torch.Tensor
    offset: torch.Tensor
    length: torch.Tensor
    factor: torch.Tensor
    members: torch.Tensor
    units: torch.Tensor
    reach: torch.Tensor
    size: torch.Tensor
    cap: torch.Tensor
    shift: torch.Tensor
    saturated: torch.Tensor
    entering: torch.Tensor
    sign: torch.Tensor
    grown: torch.Tensor
    status: torch.Tensor
    iterations: torch.Tensor

    def take(self, index: torch.Tensor) -> _Batch:
        return _Batch(*(getattr(self, field.name)[index] for field in fields(self)))

    def put(self, index: torch.Tensor, part: _Batch) -> None:
        """Copy the results of ``part`` to the elements ``index``."""
        for name in ("members", "units", "reach", "size", "shift", "saturated", "status", "iterations"):
            getattr(self, name)[index] = getattr(part, name)


def _point(s: _Batch, Q: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """The nearest x under the working set."""
    y = s.shift + (Q * (w - (Q * s.shift[:, None]).sum(-1))[..., None]).sum(1)
    if s.factor.shape[-1]:
        y = torch.linalg.solve_triangular(s.factor.mT, y[..., None], upper=True)[..., 0]
    return s.x_ref + y


def _choose(s: _Batch, Q: torch.Tensor, w: torch.Tensor) -> None:
    """Where no row is entering: the most violated one starts to; where there is none, the element is done."""
    point = _point(s, Q, w)
    excess = (s.normal * point[:, None]).sum(-1) - s.offset
    excess = torch.where(s.saturated, -excess, excess)
    held = torch.zeros_like(excess[:, :1]).expand(-1, excess.shape[1] + 1).bool().scatter(1, s.members, True)[:, :-1]
    worst, row = excess.masked_fill(held, -math.inf).max(dim=1)
    tolerance = FEASIBLE * (1.0 + point.abs().amax(dim=1))
    idle = (s.entering == _NONE) & (s.status == UNDECIDED)
    starts = idle & (worst > tolerance)
    s.status = s.status.masked_fill(idle & ~starts, SOLVED)
    s.entering = torch.where(starts, row, s.entering)
    full = s.saturated.gather(1, row[:, None])[:, 0]
    s.sign = torch.where(starts, torch.where(full, -1.0, 1.0).to(s.sign), s.sign)
    s.grown = s.grown.masked_fill(starts, 0.0)


@dataclass
class _Entering:
    """The entering row of each element, as ``units`` are: ``unit y <= reach``; ``cap`` bounds its multiplier."""

    unit: torch.Tensor
    reach: torch.Tensor
    size: torch.Tensor
    cap: torch.Tensor


def _entering_row(s: _Batch, elastic: float | None) -> _Entering:
    row, n = s.entering.clamp(min=0), s.x_ref.shape[1]
    normal = s.normal.gather(1, row[:, None, None].expand(-1, 1, n))
    unit = whitened(s.factor, normal)[:, 0]
    size = torch.linalg.vector_norm(unit, dim=-1)
    scale = torch.where(size > 0, size, torch.ones_like(size))
    offset, length = (values.gather(1, row[:, None])[:, 0] for values in (s.offset, s.length))
    reach = (offset - (normal[:, 0] * s.x_ref).sum(-1)) / scale
    cap = torch.full_like(size, math.inf)
    if elastic is not None:
        cap = torch.where(row < s.normal.shape[1] - 2 * n, elastic * size * length, cap)
    return _Entering(unit / scale[:, None], reach, size * length, cap)


def _saturate(s: _Batch, where: torch.Tensor, row: torch.Tensor, move: torch.Tensor, value: bool) -> None:
    """Where told, mark the row as saturated or not, and move ``shift``."""
    row = row.clamp(max=s.saturated.shape[1] - 1)[:, None]
    mark = torch.where(where, value, s.saturated.gather(1, row)[:, 0])
    s.saturated = s.saturated.scatter(1, row, mark[:, None])
    s.shift = torch.where(where[:, None], s.shift + move, s.shift)


def _leave(s: _Batch, where: torch.Tensor, slot: torch.Tensor) -> None:
    """Where told, drop a slot of the working set; those behind it move up."""
    n = s.members.shape[1]
    order = torch.arange(n, device=slot.device)
    source = order + ((order >= slot[:, None]) & where[:, None])
    last = source == n
    source = source.clamp(max=n - 1)
    s.units = s.units.gather(1, source[..., None].expand_as(s.units)).masked_fill(last[..., None], 0.0)
    s.members = s.members.gather(1, source).masked_fill(last, s.normal.shape[1])
    s.reach, s.cap = s.reach.gather(1, source).masked_fill(last, 0.0), s.cap.gather(1, source)
    s.size = s.size.gather(1, source)


def _join(s: _Batch, where: torch.Tensor, slot: torch.Tensor, p: _Entering) -> None:
    """Where told, put the entering row into a slot of the working set."""
    here = (torch.arange(s.members.shape[1], device=slot.device) == slot[:, None]) & where[:, None]
    s.units = torch.where(here[..., None], p.unit[:, None], s.units)
    s.members = torch.where(here, s.entering[:, None], s.members)
    s.reach, s.cap = torch.where(here, p.reach[:, None], s.reach), torch.where(here, p.cap[:, None], s.cap)
    s.size = torch.where(here, p.size[:, None], s.size)


def _turn(s: _Batch, elastic: float | None) -> None:
    """Every element that is not done: one row enters or leaves, or the element is found to be done.

    ``sign`` makes the shrinking of a saturated row's multiplier the mirror image of growth: with ``time`` = sign times
    the multiplier, it may rise up to the cap if it grows, up to zero if it shrinks.
    """
    Q, L = factorise(s.units)
    w = solve_lower(L, s.reach)
    _choose(s, Q, w)
    working = s.status == UNDECIDED
    s.iterations = s.iterations + working
    p = _entering_row(s, elastic)
    if elastic is not None:
        fresh = working & (s.sign < 0) & s.saturated.gather(1, s.entering.clamp(min=0)[:, None])[:, 0]
        _saturate(s, fresh, s.entering.clamp(min=0), p.cap[:, None] * p.unit, False)
        s.grown = torch.where(fresh, -p.cap, s.grown)

    z, coefficient = orthogonal(Q, p.unit)
    left, count = (z * z).sum(-1), (s.members < s.normal.shape[1]).sum(1)
    independent = (count < s.members.shape[1]) & (left > DEPENDENT**2)
    violation = (coefficient * w).sum(-1) + (z * s.shift).sum(-1) - p.reach
    mu = -solve_upper(L, w - (Q * s.shift[:, None]).sum(-1))
    rate = s.sign[:, None] * solve_upper(L, coefficient)
    noise = NOISE * rate.abs().amax(dim=1, keepdim=True)

    limit = torch.where(s.sign > 0, p.cap, torch.zeros_like(p.cap))
    until = torch.where(independent, s.sign * violation / left, math.inf)
    joins = independent & (until <= limit)
    until = torch.minimum(until, limit)
    empties, fills = mu / rate, (mu - s.cap) / rate
    times = torch.where(rate > noise, empties, torch.where(rate < -noise, fills, math.inf))
    time, slot = torch.maximum(times, s.grown[:, None]).min(dim=1)
    leaves = working & (time < until)
    until = torch.where(leaves, time, until)

    stuck = working & (until == math.inf)
    s.status = s.status.masked_fill(stuck, INFEASIBLE)
    leaves, joins = leaves & ~stuck, joins & working & ~leaves & ~stuck
    s.grown = torch.where(working, until, s.grown)
    if elastic is not None:
        settles = working & ~leaves & ~joins & ~stuck & (s.sign > 0)
        _saturate(s, settles, s.entering.clamp(min=0), -p.cap[:, None] * p.unit, True)
        pick = slot[:, None]
        full = leaves & (rate.gather(1, pick)[:, 0] < 0)
        unit = s.units.gather(1, pick[..., None].expand(-1, 1, s.units.shape[-1]))[:, 0]
        _saturate(s, full, s.members.gather(1, pick)[:, 0], -s.cap.gather(1, pick) * unit, True)
    _join(s, joins, count, p)
    s.entering = s.entering.masked_fill(working & ~leaves, _NONE)
    _leave(s, leaves, slot)


def _prepare(
    x_ref: torch.Tensor, G: torch.Tensor, h: torch.Tensor, lb: torch.Tensor, ub: torch.Tensor, H: torch.Tensor | None
) -> _Batch:
    (count, n), m = x_ref.shape, G.shape[1]
    valid = torch.isfinite(x_ref).all(1) & torch.isfinite(G).all(2).all(1)
    valid = valid & ~(torch.isnan(h).any(1) | torch.isnan(lb).any(1) | torch.isnan(ub).any(1))
    factor = x_ref.new_zeros((count, 0, 0))
    if H is not None:
        factor, definite = cholesky(H)
        valid = valid & definite
    length = torch.linalg.vector_norm(G, dim=-1)
    length = torch.where(length > 0, length, torch.ones_like(length))
    identity = torch.eye(n, dtype=G.dtype, device=G.device).expand(count, n, n)
    length = torch.cat([length, length.new_ones((count, 2 * n))], dim=1)
    rows = m + 2 * n

    def zeros(*shape: int) -> torch.Tensor:
        return x_ref.new_zeros((count, *shape))

    def whole(dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.zeros((count, *shape), dtype=dtype, device=x_ref.device)

    return _Batch(
        x_ref=x_ref,
        normal=torch.cat([G, -identity, identity], dim=1) / length[..., None],
        offset=torch.cat([h, -lb, ub], dim=1) / length,
        length=length,
        factor=factor,
        members=whole(torch.int64, n) + rows,
        units=zeros(n, n),
        reach=zeros(n),
        size=zeros(n) + 1.0,
        cap=zeros(n) + math.inf,
        shift=zeros(n),
        saturated=whole(torch.bool, rows),
        entering=whole(torch.int64) + _NONE,
        sign=zeros() + 1.0,
        grown=zeros(),
        status=torch.where(valid, UNDECIDED, INVALID).to(torch.int8),
        iterations=whole(torch.int32),
    )


@torch.no_grad()
def solve_batch(
    x_ref: torch.Tensor,
    G: torch.Tensor,
    h: torch.Tensor,
    lb: torch.Tensor,
    ub: torch.Tensor,
    H: torch.Tensor | None = None,
    elastic: float | None = None,
) -> Solutions:
    """``min 1/2 (x - x_ref)^T H (x - x_ref)`` subject to ``G x <= h``, ``lb <= x <= ub``, for a batch of B.

    All tensors are float64, on one device; the results are on it too. See :func:`planararm.projection.qp.solve_qp`.

    Args:
        x_ref: ``(B, n)``.
        G: ``(B, m, n)``.
        h: ``(B, m)``.
        lb: ``(B, n)``.
        ub: ``(B, n)``.
        H: ``(B, n, n)`` symmetric positive definite, or None: the identity.
        elastic: Price of a violation of G; None: none may be violated.

    Returns:
        x: ``(B, n)``, nan unless solved.
        active: ``(B, n)`` int16: rows that hold as equalities, then -1; those of G, then lower, then upper bounds.
        active_multipliers: ``(B, n)`` theirs.
        saturated: ``(B, m)`` bool: the violated rows of an elastic problem.
        status: ``(B,)`` int8: 1 solved, 0 infeasible, -1 not converged, -2 nan among the arguments, or H not
            symmetric positive definite.
        iterations: ``(B,)`` int32: rows that entered or left.
    """
    n, m = x_ref.shape[1], G.shape[1]
    whole = _prepare(x_ref, G, h, lb, ub, H)
    index = (whole.status == UNDECIDED).nonzero()[:, 0]
    part = whole.take(index)
    for _ in range(100 + 10 * (m + 2 * n)):
        if not len(index):
            break
        _turn(part, elastic)
        working = part.status == UNDECIDED
        if 2 * int(working.sum()) <= len(index):
            whole.put(index, part)
            left = working.nonzero()[:, 0]
            index, part = index[left], part.take(left)
    whole.put(index, part)

    Q, L = factorise(whole.units)
    w = solve_lower(L, whole.reach)
    # x_ref + (bound - x_ref) rounds; joint limits are to hold to the last bit.
    x = torch.minimum(torch.maximum(_point(whole, Q, w), lb), ub)
    overflows = (whole.status == SOLVED) & ~torch.isfinite(x).all(1)
    status = whole.status.masked_fill(overflows, UNDECIDED)
    solved = (status == SOLVED)[:, None]
    held = solved & (whole.members < m + 2 * n)
    pressing = -solve_upper(L, w - (Q * whole.shift[:, None]).sum(-1)) / whole.size
    return (
        x.masked_fill(~solved, math.nan),
        whole.members.masked_fill(~held, _NONE).to(torch.int16),
        pressing.clamp(min=0.0).masked_fill(~held, 0.0),
        whole.saturated[:, :m],
        status,
        whole.iterations,
    )


@torch.no_grad()
def vjp_batch(
    grad_x: torch.Tensor,
    x: torch.Tensor,
    x_ref: torch.Tensor,
    G: torch.Tensor,
    H: torch.Tensor | None,
    active: torch.Tensor,
    active_multipliers: torch.Tensor,
    saturated: torch.Tensor,
    status: torch.Tensor,
    elastic: float | None = None,
) -> Gradients:
    """Vector-Jacobian products of the solutions of :func:`solve_batch`; zero where not solved.

    The formulas are those of :meth:`planararm.projection.qp.QPSolution.vjp`.

    Args:
        grad_x: ``(B, n)``.
        x: ``(B, n)``, from :func:`solve_batch`, as are ``active``, ``active_multipliers``, ``saturated``, ``status``.
        x_ref: As given to it, like ``G``, ``H`` and ``elastic``.
        G: ``(B, m, n)``.
        H: ``(B, n, n)`` or None.
        active: ``(B, n)``.
        active_multipliers: ``(B, n)``.
        saturated: ``(B, m)``.
        status: ``(B,)``.
        elastic: Price of a violation, or None.

    Returns:
        The gradients of x_ref, G, h, lb, ub and H (None if H is), in their shapes.
    """
    (count, n), m = x.shape, G.shape[1]
    solved = (status == SOLVED)[:, None]
    outer, point = grad_x.masked_fill(~solved, 0.0), x.masked_fill(~solved, 0.0)
    factor = x.new_zeros((count, 0, 0)) if H is None else cholesky(H)[0]

    # Row m + 2 n, a zero row, is the slot that takes the padding.
    held = active >= 0
    slots = torch.where(held, active.to(torch.int64), m + 2 * n)
    identity = torch.eye(n, dtype=G.dtype, device=G.device).expand(count, n, n)
    rows = torch.cat([G, -identity, identity, torch.zeros_like(identity[:, :1])], dim=1)
    rows = whitened(factor, rows.gather(1, slots[..., None].expand(-1, -1, n)))
    size = torch.linalg.vector_norm(rows, dim=-1)
    size = torch.where(size > 0, size, torch.ones_like(size))
    Q, L = factorise(rows / size[..., None])

    rest, along = orthogonal(Q, whitened(factor, outer[:, None])[:, 0])
    # n independent rows leave nothing; what the projection leaves of it is rounding.
    rest = rest.masked_fill(held.all(1)[:, None], 0.0)
    pull = solve_upper(L, along) / size
    grad_x_ref, direction = rest, rest
    if H is not None:
        grad_x_ref = (factor * rest[:, None]).sum(-1)
        direction = torch.linalg.solve_triangular(factor.mT, rest[..., None], upper=True)[..., 0]

    each = -(active_multipliers[..., None] * direction[:, None] + pull[..., None] * point[:, None])
    grad_G = x.new_zeros((count, m + 2 * n + 1, n)).scatter_add_(1, slots[..., None].expand(-1, -1, n), each)[:, :m]
    pulls = x.new_zeros((count, m + 2 * n + 1)).scatter_add_(1, slots, pull)
    if elastic is not None:
        grad_G = grad_G - elastic * saturated[..., None] * direction[:, None]
    grad_H = None
    if H is not None:
        product = direction[:, :, None] * (point - x_ref).masked_fill(~solved, 0.0)[:, None]
        grad_H = -(product + product.mT) / 2
    return grad_x_ref, grad_G, pulls[:, :m], -pulls[:, m : m + n], pulls[:, m + n : m + 2 * n], grad_H
