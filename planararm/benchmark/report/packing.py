"""Numbers for the page as base64: small, and read by a few lines of JavaScript (``js/data.js``)."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_WORD = 65534
"""Stands for a share of one; the next number stands for no share at all."""

MOST_SIGNED = 32767


def packed_bytes(values: npt.NDArray[Any]) -> str:
    """Little-endian bytes of an array in base64."""
    array = np.ascontiguousarray(values)
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def pack_shares(shares: Any) -> str:
    """Shares in [0, 1] to 16 bits each, NaN kept apart."""
    values = np.asarray(shares, dtype=np.float64).ravel()
    words = np.where(np.isnan(values), MOST_WORD + 1, np.round(np.nan_to_num(values) * MOST_WORD))
    return packed_bytes(words.astype(np.uint16))


def pack_rows(rows: Any) -> dict[str, Any]:
    """Rows of finite numbers to 16 bits each: largest error ``max |row| / 65534``.

    Args:
        rows: ``(N, width)``.

    Returns:
        ``width``, ``scale`` (the value of one step) and ``data``.
    """
    values = np.asarray(rows, dtype=np.float64)
    scale = float(np.abs(values).max(initial=0.0)) / MOST_SIGNED or 1.0
    return {"width": values.shape[1], "scale": scale, "data": packed_bytes(np.round(values / scale).astype(np.int16))}


def pack_levels(values: Any, low: float, high: float) -> str:
    """Values in [low, high] to levels 1 to 255, those beyond to the nearest; NaN is 0."""
    array = np.asarray(values, dtype=np.float64)
    levels = 1 + np.round(254 * np.clip((np.nan_to_num(array) - low) / (high - low), 0.0, 1.0))
    return packed_bytes(np.where(np.isnan(array), 0, levels).astype(np.uint8))


def pack_signed_levels(values: Any, most: float) -> str:
    """Values in [-most, most] to levels 1 to 255 with 128 for zero; a negative value never becomes zero. NaN is 0."""
    array = np.asarray(values, dtype=np.float64)
    scaled = 127 * np.clip(np.nan_to_num(array) / most, -1.0, 1.0)
    levels = 128 + np.where(scaled < 0, np.minimum(np.round(scaled), -1), np.round(scaled))
    return packed_bytes(np.where(np.isnan(array), 0, levels).astype(np.uint8))


def number(value: float) -> float | None:
    """Six digits of a number; None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def numbers(values: Any, decimals: int = 5) -> list[Any]:
    """Nested lists of rounded numbers."""
    rounded: list[Any] = np.round(np.asarray(values, dtype=np.float64), decimals).tolist()
    return rounded
