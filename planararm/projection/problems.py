"""A batch of quadratic programs as the kernels take it: checked, laid out, shared arguments not copied."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import broadcast_batch

FloatArray = npt.NDArray[np.float64]

CORE_AXES = {"x_ref": 1, "G": 2, "h": 1, "lb": 1, "ub": 1, "H": 2}
"""Axes of an argument without its batch."""

MOST_ROWS = int(np.iinfo(np.int16).max)

ORDER = ("x_ref", "G", "h", "num_rows", "lb", "ub", "H", "elastic")


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
    each = np.zeros(len(ORDER), dtype=np.int64)
    laid_out: dict[str, FloatArray] = {"H": np.empty((1, 0, 0))}
    for name, array in arguments.items():
        axes = array.ndim - CORE_AXES[name]
        trailing = array.shape[axes:]
        if math.prod(array.shape[:axes]) > 1:
            array = np.broadcast_to(array, (*batch, *trailing))
            each[ORDER.index(name)] = 1
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
