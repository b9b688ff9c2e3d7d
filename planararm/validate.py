"""Checks of arguments that public functions share; each raises a message with the offending value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidInputError


def finite_array(name: str, values: Any, trailing: tuple[int, ...] = ()) -> npt.NDArray[np.float64]:
    """``values`` as float64 of shape ``(*batch, *trailing)``, finite.

    Raises:
        InvalidInputError: Not numbers, another shape, or NaN or infinity among them.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as cause:
        raise InvalidInputError(f"{name} must be numbers, got {values!r}.") from cause
    if array.ndim < len(trailing) or array.shape[array.ndim - len(trailing) :] != trailing:
        shape = ", ".join(["*batch", *map(str, trailing)])
        raise InvalidInputError(f"{name} must have shape ({shape}), got {array.shape}.")
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{name} must be finite, got {array[~np.isfinite(array)][0]} among its numbers.")
    return array


def exact_array(name: str, values: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """``values`` as finite float64 of exactly this shape.

    Raises:
        InvalidInputError: Not numbers, another shape, or NaN or infinity among them.
    """
    array = finite_array(name, values, shape)
    if array.shape != shape:
        raise InvalidInputError(f"{name} must have shape {shape}, got {array.shape}.")
    return array


def broadcast_batch(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common batch shape of named arguments.

    Raises:
        InvalidInputError: They do not broadcast.
    """
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError as cause:
        named = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InvalidInputError(f"Batch shapes do not broadcast: {named}.") from cause


def whole_number(name: str, value: Any, least: int, most: int) -> int:
    """``value`` as an int in [least, most].

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise InvalidInputError(f"{name} must be a whole number in [{least}, {most}], got {value!r}.")
    return int(value)


def real_number(name: str, value: Any, above: float, most: float) -> float:
    """``value`` as a float in (above, most].

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not above < value <= most:
        raise InvalidInputError(f"{name} must be a number in ({above}, {most}], got {value!r}.")
    return float(value)
