"""How errors are distributed, and success against the difficulty of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arm import FloatArray
from ...metrics import TOLERANCES, Truth
from ..frame import Results
from ..leaderboard import Section, met_within
from ..tasks import Suite
from .packing import number, pack_shares
from .tasks import target_positions, task_weights

LOW, HIGH, PER_DECADE = -9, 0, 16
"""Decades of the errors of a distribution, fractions of the reach, and points per decade."""

ERRORS = np.logspace(LOW, HIGH, (HIGH - LOW) * PER_DECADE + 1)
FEWEST_BINS, MOST_BINS = 3, 10
PER_BIN = 12
"""Distances have about so many tasks to a bin, within these numbers of bins."""

MOST_DISTANCE = 1.25


def error_distribution(results: Results) -> FloatArray:
    """Share of tasks met validly within each of :data:`ERRORS`; what is invalid stays in the denominator.

    ``F(e) = sum_i w_i [valid_i and error_i <= e] / sum_i w_i``, the error of a path being its largest. At the
    tolerances it is the success of the leaderboard.

    Args:
        results: Solvable rows of one policy.
    """
    weights = task_weights(results)
    total = weights.sum()
    if not total:
        return np.full(len(ERRORS), np.nan)
    valid = results["valid"] == 1
    error = (results["error_max"] / results["reach"])[valid]
    order = np.argsort(error)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[valid][order])])
    # A point of the grid is a power of ten only up to rounding.
    below = np.searchsorted(error[order], ERRORS * (1 + 1e-12), side="right")
    return np.minimum(cumulative[below] / total, 1.0)


def _bin_counts(bins: np.ndarray, count: int, weights: np.ndarray) -> FloatArray:
    return np.bincount(bins, weights, minlength=count).astype(np.float64)


def success_by_bin(results: Results, bins: np.ndarray, count: int) -> FloatArray:
    """Success in every bin, ``(4, count)``: one row per tolerance; NaN for an empty bin.

    Args:
        results: Solvable rows of one policy.
        bins: ``(N,)`` bin of every row.
        count: Number of bins.
    """
    weights, met = task_weights(results), met_within(results)
    total = _bin_counts(bins, count, weights)
    shares = np.full((len(TOLERANCES), count), np.nan)
    for i in range(len(TOLERANCES)):
        np.divide(_bin_counts(bins, count, weights * met[:, i]), total, out=shares[i], where=total > 0)
    return shares


class Difficulty:
    """Bins of the tasks of a section: by the number of discs, and by the distance of the target.

    Args:
        results: Solvable rows of one policy that has them all.
        suite: Their suite.
    """

    def __init__(self, results: Results, suite: Suite) -> None:
        self._suite = suite
        self.discs = np.unique(results["num_obstacles"])
        distance = self._distance(results)
        low, high = distance.min(initial=MOST_DISTANCE), distance.max(initial=0.0)
        if high - low < 1e-6:
            low, high = max(0.0, low - 0.05), low + 0.05
        tasks = round(float(task_weights(results).sum()))
        self.edges = np.linspace(low, high, int(np.clip(tasks // PER_BIN, FEWEST_BINS, MOST_BINS)) + 1)

    def _distance(self, results: Results) -> FloatArray:
        places = target_positions(results, self._suite)
        return np.asarray(np.hypot(places[:, 0], places[:, 1]))

    def bins(self, results: Results) -> dict[str, tuple[np.ndarray, int]]:
        """Per difficulty the bin of every row, and the number of bins."""
        count = len(self.edges) - 1
        by_distance = np.searchsorted(self.edges, self._distance(results), side="right") - 1
        return {
            "discs": (np.searchsorted(self.discs, results["num_obstacles"]), len(self.discs)),
            "distance": (np.clip(by_distance, 0, count - 1), count),
        }

    def payload(self, results: Results) -> dict[str, Any]:
        """The bins for the page, with the number of tasks in each.

        Args:
            results: Solvable rows of one policy.
        """
        weights = task_weights(results)
        edges = {"discs": self.discs.tolist(), "distance": [number(edge) for edge in self.edges]}
        return {
            name: {"bins": edges[name], "counts": np.rint(_bin_counts(bins, count, weights)).astype(int).tolist()}
            for name, (bins, count) in self.bins(results).items()
        }


def solvable_rows(results: Results) -> Results:
    """Rows of tasks that are not proven unreachable."""
    return results.select(results["truth"] != Truth.UNREACHABLE)


def add_distributions(payload: dict[str, Any], section: Section, by_policy: dict[str, Results], suite: Suite) -> None:
    """Add distributions and difficulties to the payload of a section.

    Args:
        payload: See :func:`planararm.benchmark.report.board.section_payload`; is changed.
        section: The section.
        by_policy: Rows of the section per policy.
        suite: Their suite.
    """
    solvable = {score.policy: solvable_rows(by_policy[score.policy]) for score in section.scores}
    if not solvable:
        payload["difficulty"] = {}
        return
    # All policies that have a score have rows of all tasks.
    one = solvable[section.scores[0].policy]
    difficulty = Difficulty(one, suite)
    payload["difficulty"] = difficulty.payload(one)
    for score, own in zip(section.scores, payload["scores"], strict=True):
        rows = solvable[score.policy]
        own["ecdf"] = pack_shares(error_distribution(rows))
        for name, (bins, count) in difficulty.bins(rows).items():
            own[name] = pack_shares(success_by_bin(rows, bins, count))
