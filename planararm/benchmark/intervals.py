"""Confidence intervals of scores, by the bootstrap without resampling the tasks one by one.

The tasks are a sample of all that a suite might have asked, and an interval says how far a score would move with
another sample. Its ends are percentiles of what the score becomes when the tasks are drawn anew from themselves, with
replacement (Efron, 1979, "Bootstrap methods: another look at the jackknife", doi:10.1214/aos/1176344552). A million
tasks take hardly longer than a thousand, because that distribution is known, or is drawn from few numbers:

* *Shares* of tasks: the number met by a resample is binomial.
* *Quantiles*: which order statistic a resample has is a beta law (Efron, 1979, section 3).
* *Means* and what follows from them: how often each of a few cells of similar values is drawn is multinomial. By how
  much the values within a cell differ is drawn from a normal law of the same variance. Up to
  :data:`planararm.benchmark.resampling.NUM_CELLS` values are a cell each, and their resamples exact.

Percentiles are too narrow for few values. Those of means are therefore taken further out, where the interval of
normal values would be Student's (the *expanded* percentile interval: Hesterberg, 2015, "What teachers should know
about the bootstrap", doi:10.1080/00031305.2015.1089789). And where nearly all tasks end alike, resamples hardly
differ, though another sample might: shares then have Clopper's and Pearson's interval, their differences Bonett's and
Price's, neither of which is ever of zero width.

Every value is of one task: average the rows of several seeds first, they are no further tasks
(:func:`planararm.benchmark.frame.mean_per_task`). Tasks that share a scene are no independent draws either:
``clusters`` names what they share, and whole clusters are drawn.

At a nominal 95 % they hold the true value in at least 92.5 % of all samples for shares of any number of tasks; in 92
to 98 % for medians of 50 values or more (86 % for six), and for means of 50 values with the skewness of a lognormal
law 90 % or more (86 % for ten), and for shares of ten clusters or more 90 % or more. No interval knows of failures
that are not in the sample: where the mean is made by events of which fewer than five are to be expected, or a quantile
near 1 is asked of fewer than ``3 / (1 - share)`` values, the upper end is too low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik, betaincinv, ndtr, ndtri, stdtrit

from ..errors import InvalidInputError
from ..validate import exact_array, finite_array, real_number
from .resampling import resampled_means

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
"""Share of all samples whose interval shall hold the true value."""

FEW = 15
"""Below so many tasks that end otherwise than most, shares have the closed formulas."""

FEW_CLUSTERS = 5
"""The same for clusters with such tasks, where clusters have two tasks or more on average."""


class Interval(NamedTuple):
    """Ends of a confidence interval; NaN where the values say nothing."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside; never outside an unknown interval."""
        return value < self.low or value > self.high


UNKNOWN = Interval(math.nan, math.nan)


def success_interval(met: Any, *, clusters: Any = None, level: float = LEVEL) -> Interval:
    """Interval of the share of tasks that are met.

    Percentiles of the binomial law that resampled shares have; with clusters, or shares of several seeds, those of the
    mean. With fewer than :data:`FEW` tasks, or :data:`FEW_CLUSTERS` clusters, on one side the exact interval (Clopper
    and Pearson, 1934, doi:10.1093/biomet/26.4.404), whose ends are quantiles of
    ``Beta(k, n - k + 1)`` and ``Beta(k + 1, n - k)``.

    Shares between 0 and 1 vary less than outcomes of the same mean, and of clusters only their number is counted:
    both err towards wider intervals.

    Args:
        met: ``(N,)`` outcomes per task, 0 or 1, or the share of seeds.
        clusters: ``(N,)`` what the task shares with others; None: every task stands alone.
        level: Confidence.

    Returns:
        Ends within [0, 1]; NaN for no tasks.

    Raises:
        InvalidInputError: Numbers outside [0, 1], or a level outside (0, 1).
    """
    values, level = _vector("met", met), _level(level)
    if values.size == 0:
        return UNKNOWN
    if values.min() < 0 or values.max() > 1:
        raise InvalidInputError(f"met must be 0 or 1, or shares between, got {values[(values < 0) | (values > 1)][0]}.")
    units = values if clusters is None else _cluster_means(values, clusters)
    count, share = len(units), float(units.mean())
    if _few_others(units, len(values), (1 - share, share), (0, 1)):
        return _exact_share(share, count, level)
    if clusters is None and np.isin(values, (0.0, 1.0)).all():
        tails = ((1 - level) / 2, (1 + level) / 2)
        return Interval(*(_binomial_quantile(tail, count, share) / count for tail in tails))
    return mean_interval(values, clusters=clusters, level=level)


def success_difference_interval(difference: Any, *, clusters: Any = None, level: float = LEVEL) -> Interval:
    """Interval of the difference between two policies' shares of tasks met, on the same tasks.

    Percentiles of the resampled mean difference. With fewer than :data:`FEW` tasks, or :data:`FEW_CLUSTERS` clusters,
    that end otherwise than most (win, loss, tie) Bonett's and Price's adjusted Wald interval (2012,
    doi:10.3102/1076998611411915), with ``w = (wins + 1) / (n + 2)`` and ``l = (losses + 1) / (n + 2)``::

        w - l +- z sqrt((w + l - (w - l)^2) / (n + 2))

    Args:
        difference: ``(N,)`` per task, what the first policy met less what the second met: 1 win, 0 tie, -1 loss,
            or between them for several seeds.
        clusters: See :func:`success_interval`.
        level: Confidence.

    Returns:
        Ends within [-1, 1]; NaN for no tasks.

    Raises:
        InvalidInputError: Numbers outside [-1, 1], or a level outside (0, 1).
    """
    values, level = _vector("difference", difference), _level(level)
    if values.size == 0:
        return UNKNOWN
    if np.abs(values).max() > 1:
        raise InvalidInputError(f"difference must be within [-1, 1], got {values[np.abs(values) > 1][0]}.")
    units = values if clusters is None else _cluster_means(values, clusters)
    count = len(units)
    wins, losses = float(np.maximum(units, 0).sum()), float(np.maximum(-units, 0).sum())
    shares = (losses / count, 1 - (wins + losses) / count, wins / count)
    if not _few_others(units, len(values), shares, (-1, 0, 1)):
        return paired_interval(values, clusters=clusters, level=level)
    win, loss = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    half = _normal_quantile(level) * math.sqrt((win + loss - (win - loss) ** 2) / (count + 2))
    return Interval(max(win - loss - half, -1.0), min(win - loss + half, 1.0))


def mean_interval(values: Any, *, clusters: Any = None, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the mean: expanded percentiles of the resampled means.

    Args:
        values: ``(N,)`` one per task.
        clusters: See :func:`success_interval`.
        level: Confidence.
        seed: Of the resamples.

    Returns:
        Ends in the values' unit; NaN for fewer than two tasks, or clusters, from which no spread is seen.

    Raises:
        InvalidInputError: NaN or infinity, or a level outside (0, 1).
    """
    values, level = _vector("values", values), _level(level)
    if clusters is None:
        return _expanded(resampled_means(values[:, None], seed)[:, 0], len(values), level)
    sums, sizes = _cluster_sums(values, clusters)
    means = resampled_means(np.stack([sums, sizes], axis=-1), seed)
    return _expanded(means[:, 0] / means[:, 1], len(sums), level)


def rms_interval(values: Any, *, clusters: Any = None, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the root mean square; arguments and result as in :func:`mean_interval`."""
    squares = _vector("values", values) ** 2
    low, high = mean_interval(squares, clusters=clusters, level=level, seed=seed)
    return Interval(math.sqrt(low), math.sqrt(high))


def quantile_interval(values: Any, share: float, *, level: float = LEVEL) -> Interval:
    """Interval of a quantile: percentiles of the resampled quantiles, without error.

    The quantile of ``n`` values is the one with the number ``r = ceil(n share)`` in ascending order. In a resample it
    is at most the ``j``-th of the sample with the probability ``I(j / n; r, n - r + 1)``, the regularised incomplete
    beta function.

    Args:
        values: ``(N,)`` one per task.
        share: Which quantile, in (0, 1]; 0.5 is the median, for which both neighbours of the middle are looked at.
        level: Confidence.

    Returns:
        Two of the values; NaN for fewer than two.

    Raises:
        InvalidInputError: NaN or infinity, or a share or level out of range.
    """
    values, level = _vector("values", values), _level(level)
    share = real_number("share", share, 0.0, 1.0)
    count = len(values)
    if count < 2:
        return UNKNOWN
    # From below and, for the upper end, from above: so the interval of -x at 1 - share is the mirrored one.
    low = _order_statistic(count * share, count, (1 - level) / 2)
    high = count + 1 - _order_statistic(count * (1 - share), count, (1 - level) / 2)
    ends = np.partition(values, sorted({low - 1, high - 1}))
    return Interval(float(ends[low - 1]), float(ends[high - 1]))


def paired_interval(difference: Any, *, clusters: Any = None, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the mean difference between two policies on the same tasks.

    That of the mean, and mirrored exactly when the policies change places. Arguments and result as in
    :func:`mean_interval`.
    """
    values = _vector("difference", difference)
    if not _is_mirrored(values):
        return mean_interval(values, clusters=clusters, level=level, seed=seed)
    low, high = mean_interval(-values, clusters=clusters, level=level, seed=seed)
    return Interval(-high, -low)


def rms_ratio_interval(
    first: Any, second: Any, *, clusters: Any = None, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Interval of the ratio of two policies' root mean square errors on the same tasks.

    Args:
        first: ``(N,)`` errors of the policy in the numerator.
        second: ``(N,)`` errors of the other on the same tasks.
        clusters: See :func:`success_interval`.
        level: Confidence.
        seed: Of the resamples.

    Returns:
        Ends of ``rms(first) / rms(second)``; NaN for fewer than two tasks, or where an error is zero on every task of
        some resamples.

    Raises:
        InvalidInputError: NaN or infinity, different numbers of values, or a level outside (0, 1).
    """
    a, level = _vector("first", first) ** 2, _level(level)
    b = exact_array("second", second, a.shape) ** 2
    if _is_mirrored(a - b):
        low, high = rms_ratio_interval(second, first, clusters=clusters, level=level, seed=seed)
        return Interval(1 / high, 1 / low)
    if len(a) > 1 and np.array_equal(a, b):
        return Interval(1.0, 1.0)
    if clusters is not None:
        a, b = _cluster_sums(a, clusters)[0], _cluster_sums(b, clusters)[0]
    means = resampled_means(np.stack([a, b], axis=-1), seed)
    if not (means > 0).all():
        return UNKNOWN
    return _expanded(np.sqrt(means[:, 0] / means[:, 1]), len(a), level)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of wins against losses: McNemar's test as a binomial one.

    The probability that at least so uneven a split comes from a fair coin (McNemar, 1947, doi:10.1007/BF02295996);
    ties do not say which policy is better.

    Args:
        wins: Tasks that only the first policy met.
        losses: Tasks that only the second met.
    """
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def _vector(name: str, values: Any) -> FloatArray:
    array = finite_array(name, values)
    if array.ndim != 1:
        raise InvalidInputError(f"{name} must have shape (N,), one number per task, got {array.shape}.")
    return array


def _level(level: Any) -> float:
    level = real_number("level", level, 0.0, 1.0)
    if level == 1:
        raise InvalidInputError("level must be below 1: no interval holds the true value always.")
    return level


def _cluster_sums(values: FloatArray, clusters: Any) -> tuple[FloatArray, FloatArray]:
    """Sum of the values of each cluster, and their number."""
    labels = np.asarray(clusters)
    if labels.shape != values.shape:
        raise InvalidInputError(f"clusters must have shape {values.shape}, one per task, got {labels.shape}.")
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(inverse, weights=values), dtype=np.float64), sizes.astype(np.float64)


def _cluster_means(values: FloatArray, clusters: Any) -> FloatArray:
    sums, sizes = _cluster_sums(values, clusters)
    return sums / sizes


def _few_others(units: FloatArray, num_tasks: int, shares: Sequence[float], results: Sequence[int]) -> bool:
    """Whether too few tasks, or clusters, end otherwise than most for resamples to show how much that varies.

    Args:
        units: ``(N,)`` per task, or the mean per cluster.
        num_tasks: Tasks of all units.
        shares: Of each possible result.
        results: The possible results.
    """
    most = int(np.argmax(shares))
    if num_tasks >= 2 * len(units):
        return int(np.count_nonzero(np.abs(units - results[most]) > 1e-12)) < FEW_CLUSTERS
    return len(units) * (1 - shares[most]) < FEW - 1e-9


def _is_mirrored(values: FloatArray) -> bool:
    """Whether the first value that is not zero is negative: of x and -x, exactly one is mirrored."""
    signs = values[values != 0]
    return bool(signs.size and signs[0] < 0)


def _normal_quantile(level: float) -> float:
    return float(ndtri((1 + level) / 2))


def _exact_share(share: float, count: int, level: float) -> Interval:
    """Interval of Clopper and Pearson."""
    tail, met = (1 - level) / 2, share * count
    low = 0.0 if met <= 0 else float(betaincinv(met, count - met + 1, tail))
    return Interval(low, 1.0 if met >= count else float(betaincinv(met + 1, count - met, 1 - tail)))


def _binomial_quantile(tail: float, count: int, share: float) -> int:
    """Smallest k with ``P(K <= k) >= tail``."""
    k = math.ceil(float(bdtrik(tail, count, share)))
    return k - 1 if k > 0 and bdtr(k - 1, count, share) >= tail else k


def _order_statistic(rank: float, count: int, tail: float) -> int:
    """Number of the value that is the given percentile of the resampled value of that rank, rounded up."""
    # Less what rounding may have added to a whole number.
    whole = max(math.ceil(rank - 1e-9), 1)
    return max(math.ceil(count * float(betaincinv(whole, count - whole + 1, tail)) - 1e-9), 1)


def _expanded(resampled: FloatArray, count: int, level: float) -> Interval:
    """Expanded percentiles of a resampled statistic of ``count`` independent values."""
    if count < 2:
        return UNKNOWN
    student = -float(stdtrit(count - 1, (1 - level) / 2))
    tail = float(ndtr(-math.sqrt(count / (count - 1)) * student))
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(float(low), float(high))
