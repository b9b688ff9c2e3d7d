"""Exact projection onto polytopes, in batches, with derivatives.

The problem is ``min 1/2 (x - x_ref)^T H (x - x_ref)`` subject to ``G x <= h`` and ``lb <= x <= ub``: the network's
output (or any proposal) is ``x_ref``, the point that is projected. :mod:`planararm.kernels.quadratic` has the method.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..kernels import quadratic, quadratic_vjp
from ..kernels.launch import launch
from .problems import ORDER, Problems, make_problems, refuse_invalid, sum_to_shape

FloatArray = npt.NDArray[np.float64]

SOLVED = quadratic.SOLVED
INFEASIBLE = quadratic.INFEASIBLE
UNDECIDED = quadratic.UNDECIDED
INVALID = quadratic.INVALID


class QPGradients(NamedTuple):
    """Derivatives of a scalar with respect to the arguments of :func:`solve_qp`, in the arguments' own shapes.

    Where an argument is shared by the batch, the sum over the batch. ``None`` for an argument that was not given.
    """

    x_ref: FloatArray
    G: FloatArray
    h: FloatArray
    lb: FloatArray | None
    ub: FloatArray | None
    H: FloatArray | None


@dataclass(frozen=True, eq=False)
class QPSolution:
    """Solutions of a batch of projections.

    Attributes:
        x: ``(*batch, n)`` the nearest feasible points; nan where not solved.
        status: ``(*batch,)`` int8: 1 solved, 0 infeasible, -1 not converged, -2 a nan or an infinity among the
            arguments of this element.
        iterations: ``(*batch,)`` int32: rows that entered or left the working set.
        active: ``(*batch, n)`` int16: the rows that hold as equalities, then -1: 0 to m - 1 those of G, m to
            m + n - 1 the lower, m + n to m + 2 n - 1 the upper bounds. At most n, linearly independent.
        active_multipliers: ``(*batch, n)`` their multipliers, >= 0.
        saturated: ``(*batch, m)`` bool: rows of G that an elastic problem violates, at the price ``elastic``.
        problems: What was solved.
    """

    x: FloatArray
    status: npt.NDArray[np.int8]
    iterations: npt.NDArray[np.int32]
    active: npt.NDArray[np.int16]
    active_multipliers: FloatArray
    saturated: npt.NDArray[np.bool_]
    problems: Problems = field(repr=False)
    shapes: dict[str, tuple[int, ...]] = field(repr=False)

    @classmethod
    def of(cls, data: Problems, found: Found, shapes: dict[str, tuple[int, ...]]) -> QPSolution:
        """With the batch axes of the arguments, whose shapes are given."""
        x, active, multipliers, saturated, status, iterations = (
            part.reshape((*data.batch, *part.shape[1:])) for part in found
        )
        return cls(x, status, iterations, active, multipliers, saturated, data, shapes)

    def _found(self) -> Found:
        parts = (self.x, self.active, self.active_multipliers, self.saturated, self.status, self.iterations)
        axes, count = len(self.problems.batch), self.problems.size
        return Found._make(part.reshape((count, *part.shape[axes:])) for part in parts)

    @functools.cached_property
    def _dense(self) -> FloatArray:
        n, m = self.x.shape[-1], self.problems.G.shape[-2]
        count = self.problems.size
        dense = np.zeros((count, m + 2 * n + 1))
        # Slot -1, the last one, takes the padding.
        np.put_along_axis(
            dense, self.active.reshape(count, n).astype(np.int64), self.active_multipliers.reshape(count, n), axis=1
        )
        dense = dense[:, :-1]
        if m:
            dense[:, :m][self.saturated.reshape(count, m)] = self.problems.elastic
        return dense.reshape(*self.problems.batch, m + 2 * n)

    @property
    def multipliers(self) -> FloatArray:
        """Of the rows of G: ``(*batch, m)``."""
        return self._dense[..., : self.problems.G.shape[-2]]

    @property
    def lower_multipliers(self) -> FloatArray:
        """Of the lower bounds: ``(*batch, n)``."""
        n, m = self.x.shape[-1], self.problems.G.shape[-2]
        return self._dense[..., m : m + n]

    @property
    def upper_multipliers(self) -> FloatArray:
        """Of the upper bounds: ``(*batch, n)``."""
        n, m = self.x.shape[-1], self.problems.G.shape[-2]
        return self._dense[..., m + n :]

    def _spread(self, values: FloatArray, *trailing: int) -> FloatArray:
        rows = np.broadcast_to(values, (self.problems.size, *trailing))
        return rows.reshape(*self.problems.batch, *trailing)

    def primal_residual(self) -> FloatArray:
        """How far each point is outside the farthest violated row that is not saturated: ``(*batch,)``.

        ``max(0, max_i (g_i x - h_i) / |g_i|, lb - x, x - ub)``: a distance. A saturated row counts with its slack,
        which must be zero or less. nan where not solved.
        """
        data, n, m = self.problems, self.x.shape[-1], self.problems.G.shape[-2]
        G, h = self._spread(data.G, m, n), self._spread(data.h, m)
        size = np.linalg.norm(G, axis=-1)
        with np.errstate(invalid="ignore"):
            excess = (np.matmul(G, self.x[..., None])[..., 0] - h) / np.where(size > 0, size, 1.0)
            excess = np.where(self.saturated, -excess, excess)
            bounds = np.maximum(self._spread(data.lb, n) - self.x, self.x - self._spread(data.ub, n))
        worst = np.concatenate([excess, bounds], axis=-1).max(axis=-1, initial=-np.inf)
        return np.where(self.status == SOLVED, np.maximum(worst, 0.0), np.nan)

    def dual_residual(self) -> FloatArray:
        """How far stationarity and complementarity are missed: ``(*batch,)``, relative to the forces that balance.

        The larger of ``|H (x - x_ref) + G^T lambda - lambda_l + lambda_u| / (1 + sum |g_i| lambda_i)`` (largest
        entry) and ``|lambda_i (g_i x - h_i)| / (1 + |g_i| lambda_i)`` over the rows that are not saturated.
        Near-parallel rows have multipliers as large as their condition number, whose rounding alone exceeds any
        absolute bound. nan where not solved.
        """
        data, n, m = self.problems, self.x.shape[-1], self.problems.G.shape[-2]
        G, x = self._spread(data.G, m, n), self.x
        move = x - self._spread(data.x_ref, n)
        if data.whiten:
            factor = self._spread(data.factor, n, n)
            move = np.matmul(factor, np.matmul(np.swapaxes(factor, -1, -2), move[..., None]))[..., 0]
        size, pressing = np.linalg.norm(G, axis=-1), self.multipliers
        lower, upper = self.lower_multipliers, self.upper_multipliers
        balance = move + np.matmul(np.swapaxes(G, -1, -2), pressing[..., None])[..., 0] - lower + upper
        scale = 1.0 + (size * pressing).sum(-1) + lower.sum(-1) + upper.sum(-1)
        with np.errstate(invalid="ignore"):
            slack = np.matmul(G, x[..., None])[..., 0] - self._spread(data.h, m)
            gaps = [
                np.where(self.saturated | (pressing == 0), 0.0, pressing * slack / (1.0 + size * pressing)),
                np.where(lower == 0, 0.0, lower * (self._spread(data.lb, n) - x) / (1.0 + lower)),
                np.where(upper == 0, 0.0, upper * (x - self._spread(data.ub, n)) / (1.0 + upper)),
            ]
        worst = np.maximum(
            np.abs(balance).max(axis=-1) / scale, np.abs(np.concatenate(gaps, axis=-1)).max(axis=-1, initial=0.0)
        )
        return np.where(self.status == SOLVED, worst, np.nan)

    def vjp(self, grad_x: Any) -> QPGradients:
        """Derivatives of a scalar L from ``dL/dx``; zero where not solved.

        With A the active rows and lambda their multipliers: ``mu = (A H^-1 A^T)^-1 A H^-1 v``,
        ``w = H^-1 (v - A^T mu)``, ``dL/dx_ref = H w``, ``dL/dh_A = mu``, ``dL/dA = -(lambda w^T + mu x^T)``,
        ``dL/dH = -(w d^T + d w^T) / 2`` with ``d = x - x_ref``; Amos & Kolter, 2017, arXiv:1703.00443, with the
        inactive rows left out. Exact where the active rows' multipliers are positive; an element of the generalised
        Jacobian elsewhere.

        Args:
            grad_x: ``(*batch, n)``.

        Raises:
            InvalidInputError: Another shape.
        """
        grad_x = np.asarray(grad_x, dtype=np.float64)
        if grad_x.shape != self.x.shape:
            raise InvalidInputError(f"grad_x must have the shape {self.x.shape} of x, got {grad_x.shape}.")
        parts = differentiate(self.problems, self._found(), np.array(grad_x.reshape(self._found().x.shape), order="C"))
        parts = in_argument_shapes(self.problems, parts, self.shapes)
        return QPGradients(*(parts.get(name) for name in QPGradients._fields))  # type: ignore[arg-type]


def in_argument_shapes(
    data: Problems, gradients: dict[str, FloatArray], shapes: dict[str, tuple[int, ...]]
) -> dict[str, FloatArray]:
    """What :func:`differentiate` found, in the shapes that the arguments came in."""
    result = {}
    for name, wanted in shapes.items():
        if (value := gradients.get(name)) is None:
            continue
        if data.each[ORDER.index(name)]:
            result[name] = sum_to_shape(value.reshape(*data.batch, *value.shape[1:]), wanted)
        else:
            result[name] = value.reshape(wanted) if data.size else np.zeros(wanted)
    return result


class Found(NamedTuple):
    """What the kernel found, with one leading axis: see :class:`QPSolution`."""

    x: FloatArray
    active: npt.NDArray[np.int16]
    multipliers: FloatArray
    saturated: npt.NDArray[np.bool_]
    status: npt.NDArray[np.int8]
    iterations: npt.NDArray[np.int32]


def solve(data: Problems) -> Found:
    """Run the kernel."""
    count, n, m = data.size, data.x_ref.shape[-1], data.G.shape[-2]
    x, active, multipliers = np.empty((count, n)), np.empty((count, n), np.int16), np.empty((count, n))
    saturated = np.zeros((count, m) if data.elastic < math.inf else (1, m), np.bool_)
    status, iterations = np.empty(count, np.int8), np.empty(count, np.int32)
    launch(
        quadratic.solve_batch, count, data.x_ref, data.G, data.h, data.num_rows, data.lb, data.ub, data.factor,
        np.array([data.elastic]), data.each, x, active, multipliers, saturated, status, iterations,
        grain=128,
    )  # fmt: skip
    return Found(x, active, multipliers, np.broadcast_to(saturated, (count, m)), status, iterations)


def differentiate(
    data: Problems, found: Found, grad_x: FloatArray, wanted: frozenset[str] = frozenset(QPGradients._fields)
) -> dict[str, FloatArray]:
    """The gradients of :meth:`QPSolution.vjp`: ``(N, ...)`` where an argument has a row per problem, else the sum.

    Args:
        data: The problems.
        found: Their solutions.
        grad_x: ``(N, n)``, C-contiguous.
        wanted: The arguments whose gradient is needed.
    """
    x, active, multipliers, saturated, status, _ = found
    (count, n), m = x.shape, data.G.shape[-2]
    grad_x_ref, direction, pull = np.empty((count, n)), np.empty((count, n)), np.empty((count, n))
    own = np.array([name in wanted and data.each[ORDER.index(name)] for name in ("G", "h", "lb", "ub")], np.int64)
    filled = [
        np.empty((count if is_own else 0, *core)) for is_own, core in zip(own, ((m, n), (m,), (n,), (n,)), strict=True)
    ]
    soft = data.elastic < math.inf
    over_price = np.array(saturated) if soft else np.zeros((1, m), np.bool_)
    launch(
        quadratic_vjp.differentiate_batch, count, grad_x, x, data.x_ref, data.G, data.factor, np.array([data.elastic]),
        data.each, active, multipliers, over_price, status,
        grad_x_ref, direction, pull, own, *filled, grain=256,
    )  # fmt: skip
    gradients = dict(zip(("G", "h", "lb", "ub"), filled, strict=True))
    gradients["x_ref"] = grad_x_ref if data.each[0] else grad_x_ref.sum(axis=0)
    shared = {name for name, is_own in zip(("G", "h", "lb", "ub"), own, strict=True) if not is_own} & wanted
    if shared:
        rows = active.ravel().astype(np.int64) + 1

        def per_row(weights: FloatArray) -> FloatArray:
            """Sum over the batch of what each working row weighs: ``(m + 2 n,)``."""
            return np.asarray(np.bincount(rows, weights.ravel(), minlength=m + 2 * n + 1)[1:], dtype=np.float64)

        pulls = per_row(pull)
        whole = {"h": pulls[:m], "lb": -pulls[m : m + n], "ub": pulls[m + n :]}
        if "G" in shared:
            columns = [-per_row(multipliers * direction[:, [a]] + pull * x[:, [a]])[:m] for a in range(n)]
            whole["G"] = np.stack(columns, axis=-1)
            if soft:
                whole["G"] -= data.elastic * (saturated.T @ direction)
        gradients |= {name: whole[name] for name in shared}
    if data.whiten and "H" in wanted:
        move = np.where(status[:, None] == SOLVED, x - data.x_ref, 0.0)
        outer = direction[:, :, None] * move[:, None, :]
        each_H = -(outer + np.swapaxes(outer, -1, -2)) / 2
        gradients["H"] = each_H if data.each[6] else each_H.sum(axis=0)
    return gradients


def solve_qp(
    x_ref: Any,
    G: Any,
    h: Any,
    lb: Any = None,
    ub: Any = None,
    H: Any = None,
    *,
    elastic: float | None = None,
    check_finite: bool = True,
) -> QPSolution:
    """The points of ``{x: G x <= h, lb <= x <= ub}`` nearest to ``x_ref``, in the metric of H.

    ``min 1/2 (x - x_ref)^T H (x - x_ref)``. Every argument may lack the batch axes, or have length one there: it is
    shared then, without being copied.

    Args:
        x_ref: ``(*batch, n)`` the points to project.
        G: ``(*batch, m, n)``; m may be 0.
        h: ``(*batch, m)``; inf: a row that never acts.
        lb: ``(*batch, n)``; -inf or None: no bound.
        ub: ``(*batch, n)``; inf or None: no bound.
        H: ``(*batch, n, n)`` symmetric, positive definite; None: the identity, which is the fast case.
        elastic: None: G holds or the problem is infeasible. A number: rows of G may be violated at this price per unit,
            ``+ elastic * sum_i max(0, g_i x - h_i)``, the exact l1 penalty: G holds wherever that is possible with
            multipliers up to it. The bounds always hold.
        check_finite: Whether a nan (or an infinity in x_ref or G) raises; otherwise its element gets the answer nan.

    Raises:
        InvalidInputError: Not numbers, shapes that do not fit, nan (see ``check_finite``), lb above ub, H not
            symmetric positive definite, an elastic price that is not above zero.
    """
    if H is not None and not np.isfinite(np.asarray(H, dtype=np.float64)).all():
        # A Cholesky factor cannot be had of it, not even for the other elements of its batch.
        refuse_invalid({"H": H})
    data = make_problems(x_ref, G, h, lb, ub, H, elastic=elastic)
    found = solve(data)
    arguments = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}
    given = {name: value for name, value in arguments.items() if value is not None}
    if check_finite and (found.status == INVALID).any():
        refuse_invalid(given)
    return QPSolution.of(data, found, {name: np.shape(value) for name, value in given.items()})
