"""Resampled means of any number of values from few random numbers; see :mod:`planararm.benchmark.intervals`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

NUM_RESAMPLES = 4000
"""Resamples of a mean: their percentiles are known to 2 % of the interval's half width."""

NUM_CELLS = 256
"""Cells of similar values; with two values per task, the square root of it along each."""


def _cells(columns: FloatArray) -> npt.NDArray[np.int64]:
    """``(N,)`` the cell of each row: one of its own, or that of similar rows."""
    count, width = columns.shape
    if count <= NUM_CELLS:
        order = np.lexsort(columns.T)
        cells = np.empty(count, dtype=np.int64)
        cells[order] = np.arange(count)
        return cells
    bins = round(NUM_CELLS ** (1 / width))
    low = columns.min(axis=0)
    size = columns.max(axis=0) - low
    scaled = (columns - low) / np.where(size > 0, size, 1.0)
    steps = np.minimum((scaled * bins).astype(np.int64), bins - 1)
    numbers = steps @ bins ** np.arange(width)
    return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)


def resampled_means(columns: FloatArray, seed: int) -> FloatArray:
    """Means of resampled rows.

    A cell of many values has a sum that is close to normal. In a cell of few, far from the others, the values differ
    by at most its width, which is little against their distance. The normal law within cells is good for both.

    Args:
        columns: ``(N, k)``, k at most 2.
        seed: Of the draws.

    Returns:
        ``(NUM_RESAMPLES, k)``; NaN if there are no rows.
    """
    count, width = columns.shape
    if count == 0:
        return np.full((NUM_RESAMPLES, width), np.nan)
    cells = _cells(columns)
    sizes = np.bincount(cells)
    centers = np.stack([np.bincount(cells, weights=column) / sizes for column in columns.T], axis=-1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, sizes / count, size=NUM_RESAMPLES)
    means = drawn @ centers / count
    if len(sizes) < count:
        means += _within_cells(columns - centers[cells], cells, sizes, drawn, rng) / count
    return np.asarray(means)


def _within_cells(
    gaps: FloatArray,
    cells: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    drawn: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> FloatArray:
    """Normal sums of the resampled rows' gaps to their cells' centres, ``(NUM_RESAMPLES, k)``."""

    def variance(i: int, j: int) -> FloatArray:
        return np.asarray(drawn @ (np.bincount(cells, weights=gaps[:, i] * gaps[:, j]) / sizes))

    noise = rng.standard_normal((len(drawn), gaps.shape[1]))
    spread = np.sqrt(variance(0, 0))
    sums = noise * spread[:, None]
    if gaps.shape[1] == 2:
        slope = np.divide(variance(0, 1), spread, out=np.zeros_like(spread), where=spread > 0)
        rest = np.sqrt(np.maximum(variance(1, 1) - slope**2, 0.0))
        sums[:, 1] = slope * noise[:, 0] + rest * noise[:, 1]
    return np.asarray(sums)
