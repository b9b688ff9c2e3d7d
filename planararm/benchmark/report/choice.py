"""Which tasks are replayed: the worst ones, and random others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray
from ...metrics import Outcome, Truth
from ..frame import Results, codes, task_name
from .tasks import task_codes

NUM_WORST = NUM_RANDOM = 10
SEED = 20_260_712
INVALID = 10.0
"""Added to the error of an invalid answer, in reaches: it is worse than any valid one."""


def badness(results: Results) -> FloatArray:
    """``(N,)`` how bad each row is: its largest error, fraction of the reach, and worse than that if invalid."""
    relative = np.nan_to_num(results["error_max"] / results["reach"], nan=INVALID)
    return np.asarray(relative + INVALID * (results["valid"] != 1))


def median_badness(results: Results) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Median over the policies of how badly each task ended.

    Args:
        results: Rows of tasks that can be solved, of policies that support them.

    Returns:
        ``(T,)`` a row of each task, and ``(T,)`` the median.
    """
    _, first, task = np.unique(task_codes(results), return_index=True, return_inverse=True)
    policy, names = codes(results["policy"])
    # Float32 and one value per task and policy: a million of them are four megabytes.
    table = np.full((len(first), len(names)), np.nan, dtype=np.float32)
    table[task, policy] = badness(results)
    return first, np.nanmedian(table, axis=1).astype(np.float64)


def choose_tasks(results: Results) -> dict[str, list[str]]:
    """Names of the worst and of random tasks of a suite.

    Args:
        results: All rows of the suite.

    Returns:
        ``{"worst": [...], "random": [...]}``; ties of the worst are ordered by name.
    """
    counts = (results["truth"] != Truth.UNREACHABLE) & (results["outcome"] != Outcome.UNSUPPORTED)
    supported = results.select(counts)
    if not len(supported):
        return {"worst": [], "random": []}
    first, medians = median_badness(supported)
    tasks = supported.select(first)
    ordered = sorted(set(tasks["group"].tolist()))
    group = np.searchsorted(np.array(ordered, dtype=object), tasks["group"])

    def names(chosen: npt.NDArray[np.int64]) -> list[str]:
        return [task_name(ordered[group[i]], int(tasks["number"][i])) for i in chosen]

    order = np.lexsort((tasks["number"], group, -medians))
    worst, others = order[:NUM_WORST], order[NUM_WORST:]
    others = others[np.lexsort((tasks["number"][others], group[others]))]
    drawn = np.random.default_rng(SEED).choice(len(others), min(NUM_RANDOM, len(others)), replace=False)
    return {"worst": names(worst), "random": names(others[np.sort(drawn)])}
