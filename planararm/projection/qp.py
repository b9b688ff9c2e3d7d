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

CORE_AXES = {"x_ref": 1, "G": 2, "h": 1, "lb": 1, "ub": 1, "H": 2}
"""Axes of an argument without its batch."""

MOST_ROWS = int(np.iinfo(np.int16).max)

_ORDER = ("x_ref", "G", "h", "num_rows", "lb", "ub", "H", "elastic")


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
        each: ``(8,)`` which of them have a row per problem.
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
    def size(self) -> int:
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
        if data.each[_ORDER.index(name)]:
            result[name] = sum_to_shape(value.reshape(*data.batch, *value.shape[1:]), wanted)
        else:
            result[name] = value.reshape(wanted) if data.size else np.zeros(wanted)
    return result


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


def check_shapes(shapes: dict[str, tuple[int, ...]], elastic: float | None) -> tuple[int, ...]:
    """The batch shape of a problem's arguments, given by their shapes.

    Args:
        shapes: By name (``x_ref``, ``G``, ``h``; ``lb``, ``ub`` and ``H`` may be missing).
        elastic: Price of a violation, or None.

    Raises:
        InvalidInputError: Too few axes, shapes that do not fit each other, a price that is not above zero.
    """
    for name, shape in shapes.items():
        if len(shape) < CORE_AXES[name]:
            meaning = {1: "a vector per problem", 2: "a matrix per problem"}[CORE_AXES[name]]
            raise InvalidInputError(f"{name} must have {CORE_AXES[name]} axes or more ({meaning}), got shape {shape}.")
    n, m = shapes["x_ref"][-1], shapes["G"][-2]
    if n == 0:
        raise InvalidInputError(f"x_ref must have at least one coordinate, got shape {shapes['x_ref']}.")
    if m + 2 * n > MOST_ROWS:
        raise InvalidInputError(f"G may have {MOST_ROWS - 2 * n} rows at most, got {m}.")
    core = {"x_ref": (n,), "G": (m, n), "h": (m,), "lb": (n,), "ub": (n,), "H": (n, n)}
    for name, shape in shapes.items():
        if shape[len(shape) - len(core[name]) :] != core[name]:
            wanted = ", ".join(["*batch", *map(str, core[name])])
            raise InvalidInputError(
                f"{name} must have shape ({wanted}), since x_ref has {n} coordinates and G {m} rows; got {shape}."
            )
    if elastic is not None and not float(elastic) > 0:
        raise InvalidInputError(f"elastic must be > 0 (the price of one unit of violation), got {elastic!r}.")
    return broadcast_batch(**{name: shape[: len(shape) - CORE_AXES[name]] for name, shape in shapes.items()})


def _cholesky(H: FloatArray) -> FloatArray:
    uneven = np.abs(H - np.swapaxes(H, -1, -2)).max(initial=0.0)
    if uneven > 1e-9 * np.abs(H).max(initial=0.0):
        raise InvalidInputError(f"H must be symmetric; it differs from its transpose by {uneven:.3g}.")
    try:
        return np.asarray(np.linalg.cholesky(H), dtype=np.float64)
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
    arguments: dict[str, FloatArray] = {}
    for name, value in {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}.items():
        if value is not None:
            try:
                arguments[name] = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError, OverflowError) as cause:
                raise InvalidInputError(f"{name} must be numbers, got {value!r}.") from cause
    batch = check_shapes({name: array.shape for name, array in arguments.items()}, elastic)
    n, m = arguments["G"].shape[-1], arguments["G"].shape[-2]
    low = arguments.setdefault("lb", np.full(n, -np.inf))
    high = arguments.setdefault("ub", np.full(n, np.inf))
    if (low > high).any():
        where = tuple(int(i) for i in np.argwhere(low > high)[0])
        low, high = np.broadcast_arrays(low, high)
        raise InvalidInputError(
            f"lb must not exceed ub; at {where} lb is {low[where]:.6g} and ub is {high[where]:.6g}."
        )
    if H is not None:
        arguments["H"] = _cholesky(arguments["H"])
    count = math.prod(batch)
    each = np.zeros(len(_ORDER), dtype=np.int64)
    laid_out: dict[str, FloatArray] = {"H": np.empty((1, 0, 0))}
    for name, array in arguments.items():
        axes = array.ndim - CORE_AXES[name]
        trailing = array.shape[axes:]
        if math.prod(array.shape[:axes]) > 1:
            array = np.broadcast_to(array, (*batch, *trailing))
            each[_ORDER.index(name)] = 1
        elif count == 0:
            array = np.zeros((1, *trailing))
        rows = math.prod(array.shape[: array.ndim - len(trailing)])
        array = np.ascontiguousarray(array.reshape(rows, *trailing))
        laid_out[name] = array if array.flags.writeable else array.copy()
    price = math.inf if elastic is None else float(elastic)
    return Problems(
        batch, laid_out["x_ref"], laid_out["G"], laid_out["h"], np.array([m]), laid_out["lb"], laid_out["ub"],
        laid_out["H"], each, price,
    )  # fmt: skip


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
    own = np.array([name in wanted and data.each[_ORDER.index(name)] for name in ("G", "h", "lb", "ub")], np.int64)
    filled = [
        np.empty((count if is_own else 0, *core)) for is_own, core in zip(own, ((m, n), (m,), (n,), (n,)), strict=True)
    ]
    soft = data.elastic < math.inf
    over_price = np.array(saturated) if soft else np.zeros((1, m), np.bool_)
    launch(
        quadratic.differentiate_batch, count, grad_x, x, data.x_ref, data.G, data.factor, np.array([data.elastic]),
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


def refuse_invalid(arguments: dict[str, Any]) -> None:
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
        refuse_invalid({"H": H})
    data = make_problems(x_ref, G, h, lb, ub, H, elastic=elastic)
    found = solve(data)
    arguments = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}
    given = {name: value for name, value in arguments.items() if value is not None}
    if check_finite and (found.status == INVALID).any():
        refuse_invalid(given)
    return QPSolution.of(data, found, {name: np.shape(value) for name, value in given.items()})
