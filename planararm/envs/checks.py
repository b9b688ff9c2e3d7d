"""Checks that the single and the vector environment share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, UnknownNameError


def check_render_mode(render_mode: str | None, known: Collection[str]) -> None:
    """Refuse a render mode that does not exist.

    Raises:
        UnknownNameError: No such mode.
    """
    if render_mode is not None and render_mode not in known:
        raise UnknownNameError("render_mode", render_mode, known)


def read_action(name: str, action: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """An action as a contiguous float32 array.

    Args:
        name: What to call it, e.g. ``"The action"``.
        action: What the caller gave.
        shape: What it must have.

    Raises:
        InvalidInputError: No numbers, another shape, NaN, infinity, or a number beyond float32.
    """
    try:
        numbers = np.asarray(action)
    except ValueError as cause:
        raise InvalidInputError(f"{name} must have shape {shape}, got {action!r}.") from cause
    if numbers.dtype.kind not in "fiu":
        raise InvalidInputError(f"{name} must be real numbers, got {action!r}.")
    if numbers.shape != shape:
        raise InvalidInputError(f"{name} must have shape {shape}, got {numbers.shape}.")
    if numbers.dtype != np.float32:
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        raise InvalidInputError(f"{name} must be finite, got {np.asarray(action)[~finite][0]} among its numbers.")
    # Kernels are compiled for writable arrays.
    return np.ascontiguousarray(numbers) if numbers.flags.writeable else numbers.copy(order="C")
