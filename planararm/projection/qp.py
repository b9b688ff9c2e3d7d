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
from ..kernels import quadratic
from ..kernels.launch import launch
from ..validate import broadcast_batch

FloatArray = npt.NDArray[np.float64]

SOLVED = quadratic.SOLVED
INFEASIBLE = quadratic.INFEASIBLE
UNDECIDED = quadratic.UNDECIDED
INVALID = quadratic.INVALID

_ORDER = ("x_ref", "G", "h", "num_rows", "lb", "ub", "H")


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


class Problems(NamedTuple):
    """A batch of problems as the kernels take it: every array ``(N or 1, ...)``, C-contiguous float64.

    Attributes:
        batch: Shape of the batch.
        x_ref: ``(N or 1, n)``.
        G: ``(N or 1, m, n)``.
        h: ``(N or 1, m)``.
        num_rows: ``(1,)``: m.
        lb: ``(N or 1, n)``.
        ub: ``(N or 1, n)``.
        factor: ``(N or 1, n, n)`` Cholesky factor of H, or ``(1, 0, 0)``.
        each: ``(7,)`` which of them have a row per problem.
        elastic: Price of a violation, or inf.
    """

    batch: tuple[int, ...]
    x_ref: FloatArray
    G: FloatArray
    h: FloatArray
    num_rows: npt.NDArray[np.int64]
    lb: FloatArray
    ub: FloatArray
    factor: FloatArray
    each: npt.NDArray[np.int64]
    elastic: float

    @property
    def count(self) -> int:
        """Number of problems."""
        return math.prod(self.batch)

    @property
    def whiten(self) -> bool:
        """Whether H is not the identity."""
        return self.factor.shape[-1] > 0


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

    @functools.cached_property
    def _dense(self) -> FloatArray:
        n, m = self.x.shape[-1], self.problems.G.shape[-2]
        count = self.problems.count
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
        rows = np.broadcast_to(values, (self.problems.count, *trailing))
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
        entry) and ``|lambda_i (g_i x - h_i)| / (1 + |g_i| lambda_i)`` over the rows that are not saturated. Near-parallel
        rows have multipliers as large as their condition number, whose rounding alone exceeds any absolute bound.
        nan where not solved.
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
        count, n = self.problems.count, grad_x.shape[-1]
        parts = differentiate(
            self.problems,
            np.array(grad_x.reshape(count, n), order="C"),
            self.x.reshape(count, n),
            self.active.reshape(count, n),
            self.active_multipliers.reshape(count, n),
            self.saturated.reshape(count, -1),
            self.status.reshape(count),
        )

        def like_argument(name: str) -> FloatArray | None:
            if name not in self.shapes:
                return None
            value, wanted = parts[name], self.shapes[name]
            if not self.problems.each[_ORDER.index(name)]:
                return value.reshape(wanted)
            return sum_to_shape(value.reshape(*self.problems.batch, *value.shape[1:]), wanted)

        return QPGradients(*(like_argument(name) for name in QPGradients._fields))  # type: ignore[arg-type]


def sum_to_shape(value: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Undo a broadcast: sum over the axes that it added or stretched.

    Args:
        value: An array of a shape that ``shape`` broadcasts to.
        shape: The shape wanted.
    """
    if value.ndim > len(shape):
        value = value.sum(axis=tuple(range(value.ndim - len(shape))))
    stretched = tuple(i for i, (have, want) in enumerate(zip(value.shape, shape, strict=True)) if want == 1 != have)
    return value.sum(axis=stretched, keepdims=True) if stretched else value


def _as_argument(name: str, value: Any, core: int) -> FloatArray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as cause:
        raise InvalidInputError(f"{name} must be numbers, got {value!r}.") from cause
    if array.ndim < core:
        axes = {1: "a vector per problem", 2: "a matrix per problem"}[core]
        raise InvalidInputError(f"{name} must have {core} axes or more ({axes}), got shape {array.shape}.")
    return array


def _check_core(name: str, array: FloatArray, core: tuple[int, ...], meaning: str) -> None:
    if array.shape[array.ndim - len(core) :] != core:
        wanted = ", ".join(["*batch", *map(str, core)])
        raise InvalidInputError(f"{name} must have shape ({wanted}){meaning}, got {array.shape}.")


def _cholesky(H: FloatArray) -> FloatArray:
    uneven = np.abs(H - np.swapaxes(H, -1, -2)).max(initial=0.0)
    if uneven > 1e-9 * np.abs(H).max(initial=0.0):
        raise InvalidInputError(f"H must be symmetric; it differs from its transpose by {uneven:.3g}.")
    try:
        return np.linalg.cholesky(H)
    except np.linalg.LinAlgError as cause:
        least = np.linalg.eigvalsh(H).min()
        raise InvalidInputError(
            f"H must be positive definite; its smallest eigenvalue is {least:.3g}. Add a multiple of the identity."
        ) from cause


def make_problems(
    x_ref: Any, G: Any, h: Any, lb: Any = None, ub: Any = None, H: Any = None, *, elastic: float | None = None
) -> Problems:
    """Check the arguments of :func:`solve_qp` and lay them out for the kernels, without copies where possible.

    Raises:
        InvalidInputError: See :func:`solve_qp`.
    """
    x_ref = _as_argument("x_ref", x_ref, 1)
    n = x_ref.shape[-1]
    if n == 0:
        raise InvalidInputError(f"x_ref must have at least one coordinate, got shape {x_ref.shape}.")
    G, h = _as_argument("G", G, 2), _as_argument("h", h, 1)
    _check_core("G", G, (G.shape[-2], n), f" for the {n} coordinates of x_ref")
    m = G.shape[-2]
    _check_core("h", h, (m,), f" for the {m} rows of G")
    if m + 2 * n > np.iinfo(np.int16).max:
        raise InvalidInputError(f"At most {np.iinfo(np.int16).max - 2 * n} rows of G are supported, got {m}.")
    lb = np.full(n, -np.inf) if lb is None else _as_argument("lb", lb, 1)
    ub = np.full(n, np.inf) if ub is None else _as_argument("ub", ub, 1)
    _check_core("lb", lb, (n,), "")
    _check_core("ub", ub, (n,), "")
    broadcast_batch(lb=lb.shape[:-1], ub=ub.shape[:-1])
    reversed_bounds = lb > ub
    if reversed_bounds.any():
        where = tuple(int(i) for i in np.argwhere(reversed_bounds)[0])
        low, high = (np.broadcast_to(bound, reversed_bounds.shape)[where] for bound in (lb, ub))
        raise InvalidInputError(f"lb must not exceed ub; at {where} lb is {low:.6g} and ub is {high:.6g}.")
    price = math.inf if elastic is None else float(elastic)
    if not price > 0:
        raise InvalidInputError(f"elastic must be > 0 (the price of one unit of violation), got {elastic!r}.")
    arguments = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub}
    if H is not None:
        H = _as_argument("H", H, 2)
        _check_core("H", H, (n, n), f" for the {n} coordinates of x_ref")
        arguments["H"] = _cholesky(H)
    core = {"x_ref": 1, "G": 2, "h": 1, "lb": 1, "ub": 1, "H": 2}
    batch = broadcast_batch(**{name: array.shape[: array.ndim - core[name]] for name, array in arguments.items()})
    count = math.prod(batch)
    each = np.zeros(len(_ORDER), dtype=np.int64)
    laid_out: dict[str, FloatArray] = {"H": np.empty((1, 0, 0))}
    for name, array in arguments.items():
        trailing = array.shape[array.ndim - core[name] :]
        if math.prod(array.shape[: array.ndim - core[name]]) > 1:
            array = np.broadcast_to(array, (*batch, *trailing))
            each[_ORDER.index(name)] = 1
        elif count == 0:
            array = np.zeros((1, *trailing))
        array = np.ascontiguousarray(array.reshape(-1, *trailing))
        laid_out[name] = array if array.flags.writeable else array.copy()
    return Problems(
        batch, laid_out["x_ref"], laid_out["G"], laid_out["h"], np.array([m]), laid_out["lb"], laid_out["ub"],
        laid_out["H"], each, price,
    )  # fmt: skip


def solve(data: Problems) -> tuple[np.ndarray, ...]:
    """Run the kernel: x, active, multipliers, saturated, status, iterations, each with one leading axis."""
    count, n, m = data.count, data.x_ref.shape[-1], data.G.shape[-2]
    x, active, multipliers = np.empty((count, n)), np.empty((count, n), np.int16), np.empty((count, n))
    saturated = np.zeros((count, m) if data.elastic < math.inf else (1, m), np.bool_)
    status, iterations = np.empty(count, np.int8), np.empty(count, np.int32)
    launch(
        quadratic.solve_batch, count, data.x_ref, data.G, data.h, data.num_rows, data.lb, data.ub, data.factor,
        data.each, data.whiten, data.elastic, x, active, multipliers, saturated, status, iterations, grain=128,
    )  # fmt: skip
    return x, active, multipliers, np.broadcast_to(saturated, (count, m)), status, iterations


def differentiate(
    data: Problems,
    grad_x: FloatArray,
    x: FloatArray,
    active: npt.NDArray[np.int16],
    multipliers: FloatArray,
    saturated: npt.NDArray[np.bool_],
    status: npt.NDArray[np.int8],
    wanted: frozenset[str] = frozenset(QPGradients._fields),
) -> dict[str, FloatArray]:
    """The gradients of :meth:`QPSolution.vjp`: ``(N, ...)`` where an argument has a row per problem, else the sum.

    Args:
        data: The problems.
        grad_x: ``(N, n)``.
        x: ``(N, n)``, as :func:`solve` returns them, like the following.
        active: ``(N, n)``.
        multipliers: ``(N, n)``.
        saturated: ``(N, m)``.
        status: ``(N,)``.
        wanted: The arguments whose gradient is needed.
    """
    (count, n), m = x.shape, data.G.shape[-2]
    grad_x_ref, direction, pull = np.empty((count, n)), np.empty((count, n)), np.empty((count, n))
    own = np.array([name in wanted and data.each[_ORDER.index(name)] for name in ("G", "h", "lb", "ub")], np.int64)
    filled = [
        np.empty((count if is_own else 0, *core)) for is_own, core in zip(own, ((m, n), (m,), (n,), (n,)), strict=True)
    ]
    soft = data.elastic < math.inf
    launch(
        quadratic.differentiate_batch, count, grad_x, x, data.x_ref, data.G, data.factor, data.each, data.whiten,
        data.elastic, active, multipliers, np.array(saturated) if soft else np.zeros((1, m), np.bool_), status,
        grad_x_ref, direction, pull, own, *filled, grain=256,
    )  # fmt: skip
    gradients = dict(zip(("G", "h", "lb", "ub"), filled, strict=True))
    gradients["x_ref"] = grad_x_ref if data.each[0] else grad_x_ref.sum(axis=0)
    shared = {name for name, is_own in zip(("G", "h", "lb", "ub"), own, strict=True) if not is_own} & wanted
    if shared:
        pulls = np.zeros((count, m + 2 * n + 1))
        np.put_along_axis(pulls, active.astype(np.int64), pull, axis=1)
        pressing = np.zeros((count, m + 2 * n + 1))
        np.put_along_axis(pressing, active.astype(np.int64), multipliers, axis=1)
        if soft:
            pressing[:, :m][saturated] = data.elastic
        solved_x = np.where(status[:, None] == SOLVED, x, 0.0)
        whole = {
            "G": -(pressing[:, :m].T @ direction + pulls[:, :m].T @ solved_x),
            "h": pulls[:, :m].sum(axis=0),
            "lb": -pulls[:, m : m + n].sum(axis=0),
            "ub": pulls[:, m + n : m + 2 * n].sum(axis=0),
        }
        gradients |= {name: whole[name] for name in shared}
    if data.whiten and "H" in wanted:
        move = np.where(status[:, None] == SOLVED, x - data.x_ref, 0.0)
        outer = direction[:, :, None] * move[:, None, :]
        each_H = -(outer + np.swapaxes(outer, -1, -2)) / 2
        gradients["H"] = each_H if data.each[6] else each_H.sum(axis=0)
    return gradients


def _refuse_invalid(arguments: dict[str, Any]) -> None:
    """Raise for the first argument that holds a nan, or an infinity where none may be."""
    for name, value in arguments.items():
        array = np.asarray(value, dtype=np.float64)
        bad = np.isnan(array) if name in ("h", "lb", "ub") else ~np.isfinite(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InvalidInputError(
                f"{name} must {'not be nan' if name in ('h', 'lb', 'ub') else 'be finite'}, got {array[where]} at "
                f"{where}; with check_finite=False such elements get the answer nan and the others are solved."
            )


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
        _refuse_invalid({"H": H})
    data = make_problems(x_ref, G, h, lb, ub, H, elastic=elastic)
    x, active, multipliers, saturated, status, iterations = solve(data)
    arguments = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}
    given = {name: value for name, value in arguments.items() if value is not None}
    if check_finite and (status == INVALID).any():
        _refuse_invalid(given)
    batch, n, m = data.batch, x.shape[-1], data.G.shape[-2]
    return QPSolution(
        x.reshape(*batch, n), status.reshape(batch), iterations.reshape(batch), active.reshape(*batch, n),
        multipliers.reshape(*batch, n), saturated.reshape(*batch, m), data,
        {name: np.shape(value) for name, value in given.items()},
    )  # fmt: skip
