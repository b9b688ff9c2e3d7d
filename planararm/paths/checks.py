"""Checks of the numbers that define a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..validate import finite_array
from .base import FloatArray, Path

MAX_POINTS = 10_000


def set_fields(path: Path, **values: Any) -> None:
    """Replace a frozen path's fields by their checked values (from ``__post_init__`` only)."""
    for name, value in values.items():
        object.__setattr__(path, name, value)


def exact_array(name: str, values: Any, shape: tuple[int, ...]) -> FloatArray:
    """A read-only float64 copy of ``values``, of exactly this shape and finite."""
    array = finite_array(name, values).copy()
    if array.shape != shape:
        raise InvalidInputError(f"{name} must have shape {shape}, got {array.shape}.")
    array.flags.writeable = False
    return array


def point(name: str, value: Any) -> FloatArray:
    """A point or a pair of numbers."""
    return exact_array(name, value, (2,))


def number(name: str, value: Any) -> float:
    """A finite number."""
    return float(exact_array(name, value, ()))


def positive(name: str, value: Any) -> float:
    """A finite number > 0."""
    checked = number(name, value)
    if checked <= 0:
        raise InvalidInputError(f"{name} must be > 0, got {checked}.")
    return checked


def whole(name: str, value: Any, least: int, most: int = MAX_POINTS) -> int:
    """A whole number within bounds."""
    checked = number(name, value)
    if checked != int(checked) or not least <= checked <= most:
        raise InvalidInputError(f"{name} must be a whole number from {least} to {most}, got {value!r}.")
    return int(checked)


def corners(name: str, values: Any, closed: bool) -> FloatArray:
    """Points of a polygon or a spline: at least 3 if closed, else 2, and no two neighbours alike."""
    least = 3 if closed else 2
    try:
        num = len(values)
    except TypeError as cause:
        raise InvalidInputError(f"{name} must be a list of points [x, y], got {values!r}.") from cause
    if not least <= num <= MAX_POINTS:
        kind = "a closed" if closed else "an open"
        raise InvalidInputError(f"{name} of {kind} path must be {least} to {MAX_POINTS} points, got {num}.")
    points = exact_array(name, values, (num, 2))
    ahead = np.roll(points, -1, axis=0) if closed else points[1:]
    same = np.flatnonzero((ahead == points[: len(ahead)]).all(axis=-1))
    if same.size:
        i = int(same[0])
        raise InvalidInputError(
            f"{name} {i} and {(i + 1) % num} are the same point {points[i].tolist()}; neighbours must differ."
        )
    return points
