"""How well does it do on what it has not seen? Splits, k-fold cross-validation, learning curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import finite_array, whole_number
from .initialisers import generator
from .layers import FloatArray

Rows = npt.NDArray[np.int64]
MOST = 10**9

Score = Callable[[Any, Any, Any, Any], tuple[float, float]]
"""Trains on ``(x, y)`` and returns the errors there and on further ``(x, y)``."""


def split(count: int, shares: Sequence[float] = (0.7, 0.15, 0.15), *, rng: np.random.Generator) -> list[Rows]:
    """Row numbers drawn into disjoint parts, together all rows.

    Args:
        count: Number of rows.
        shares: Of the parts; they sum to one.
        rng: Draws.

    Raises:
        InvalidInputError: Shares that do not sum to one, or a part without a row.
    """
    count = whole_number("count", count, 1, MOST)
    wanted = finite_array("shares", shares)
    if wanted.ndim != 1 or abs(wanted.sum() - 1) > 1e-9 or (wanted < 0).any():
        raise InvalidInputError(f"shares must be >= 0 and sum to one, got {shares!r}.")
    edges = np.round(np.cumsum(wanted) * count).astype(int)
    parts = np.split(generator(rng).permutation(count), edges[:-1])
    if any(part.size == 0 for part in parts):
        raise InvalidInputError(f"{count} rows are too few for the shares {wanted.tolist()}: a part would be empty.")
    return parts


def k_fold_indices(count: int, k: int, *, rng: np.random.Generator) -> list[tuple[Rows, Rows]]:
    """Pairs (train, test): every row is in exactly one test part.

    Args:
        count: Number of rows.
        k: Folds, from 2 to ``count``.
        rng: Shuffles.

    Raises:
        InvalidInputError: k out of range.
    """
    count = whole_number("count", count, 2, MOST)
    k = whole_number("k", k, 2, count)
    parts = np.array_split(generator(rng).permutation(count), k)
    return [(np.concatenate([*parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(k)]


class Errors(NamedTuple):
    """Errors of several trainings.

    Attributes:
        train: On what was trained on.
        test: On what was not.
    """

    train: FloatArray
    test: FloatArray


def cross_validate(score: Score, x: Any, y: Any, *, k: int = 5, rng: np.random.Generator) -> Errors:
    """Train k times, each time without another k-th of the rows; the errors ``(k,)`` on both.

    Args:
        score: ``score(x_train, y_train, x_test, y_test) -> (train_error, test_error)``.
        x: N rows.
        y: N rows.
        k: Folds.
        rng: Shuffles.

    Raises:
        InvalidInputError: x and y of different lengths, k out of range, or a score that is not two numbers.
    """
    x, y = _rows(x, y)
    pairs = [score(x[train], y[train], x[test], y[test]) for train, test in k_fold_indices(len(x), k, rng=rng)]
    return _errors(pairs)


def learning_curve(
    score: Score, x: Any, y: Any, sizes: Sequence[int], *, validation: tuple[Any, Any], rng: np.random.Generator
) -> Errors:
    """Errors against the number of training rows ``(len(sizes),)``.

    Where both end high and together, the model is too simple (bias); where the training error is low and the other
    high, it has too few data for its freedom (variance).

    Args:
        score: As for :func:`cross_validate`.
        x: N rows to train on.
        y: N rows.
        sizes: How many of them, each time; each set contains the smaller ones.
        validation: ``(x, y)`` that are never trained on.
        rng: Shuffles.

    Raises:
        InvalidInputError: x and y of different lengths, a size out of range, or a score that is not two numbers.
    """
    x, y = _rows(x, y)
    order = generator(rng).permutation(len(x))
    checked = [whole_number("sizes", size, 1, len(x)) for size in sizes]
    pairs = [score(x[order[:size]], y[order[:size]], *validation) for size in checked]
    return _errors(pairs)


def _errors(pairs: Sequence[tuple[float, float]]) -> Errors:
    try:
        both = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2)
    except (TypeError, ValueError) as cause:
        raise InvalidInputError(
            f"score must return two numbers (train_error, test_error), got {pairs[0]!r}."
        ) from cause
    return Errors(both[:, 0], both[:, 1])


def _rows(x: Any, y: Any) -> tuple[Any, Any]:
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise InvalidInputError(f"x and y must have as many rows, got shapes {x.shape} and {y.shape}.")
    return x, y
