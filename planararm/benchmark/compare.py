"""Two policies on the same tasks: who meets more of them, whose errors are smaller, and whether that is chance.

Both are measured on the same tasks, so it is the differences per task that count: what is hard for both says nothing
about either, and the intervals are narrower than two separate ones. Rows of several seeds are averaged per task first.
Left out are tasks that are proven unreachable, that one of the two does not support, or that only one has been run on.

Errors are compared as ratios, because they range over many magnitudes: the ratio of the root mean squares, which the
failures decide, and the median over the tasks of the ratio of both errors, which they do not. Errors below
:data:`ROUNDING` count as equal. Times per answer are those of whole batches, no independent measurements, so their
ratio has no interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, UnknownNameError
from ..metrics import Outcome, Truth
from ..validate import real_number
from .frame import Results, codes, distinct, shared_scenes, task_name
from .intervals import (
    FloatArray,
    Interval,
    quantile_interval,
    rms_ratio_interval,
    sign_test,
    success_difference_interval,
)

IntArray = npt.NDArray[np.int64]

ROUNDING = 1e-9
"""Tracking errors below this fraction of the reach are rounding, and count as this."""

NOTABLE = 0.1
"""Where both policies met a task, or neither did, a larger error is shown from this fraction of the tolerance on."""

NUM_WORST = 5
"""Cases shown in which one policy is worse than the other, and as many the other way round."""

KINDS = {"ik": "all targets", "track": "all paths"}


@dataclass(frozen=True)
class Difference:
    """Policy A against policy B on one set of tasks; pairs are (A, B), errors fractions of the reach.

    Attributes:
        title: What the tasks are.
        kind: ``"ik"`` or ``"track"``.
        arm: Name of the arm.
        num_tasks: Tasks that count.
        success: Share of the tasks met.
        success_difference: A's less B's.
        success_interval: Of the difference.
        wins: Tasks that A met (with more of its seeds) and B did not.
        losses: The other way round.
        ties: Tasks that both met, or neither.
        p_value: Of so uneven wins and losses if the policies were equal, see
            :func:`planararm.benchmark.intervals.sign_test`. It takes every task for an independent one.
        median_error: Median tracking errors.
        error_ratio: Median over the tasks of A's error divided by B's.
        error_ratio_interval: Of the same.
        rms_error: Root mean square tracking errors.
        rms_ratio: A's divided by B's.
        rms_ratio_interval: Of the same.
        solve_time: Median times per answer [s].
        time_ratio: A's divided by B's.
    """

    title: str
    kind: str
    arm: str
    num_tasks: int
    success: tuple[float, float]
    success_difference: float
    success_interval: Interval
    wins: int
    losses: int
    ties: int
    p_value: float
    median_error: tuple[float, float]
    error_ratio: float
    error_ratio_interval: Interval
    rms_error: tuple[float, float]
    rms_ratio: float
    rms_ratio_interval: Interval
    solve_time: tuple[float, float]
    time_ratio: float


@dataclass(frozen=True)
class Case:
    """A task on which one policy is much worse than the other.

    Attributes:
        task: Its name.
        kind: ``"ik"`` or ``"track"``.
        label: What sort of task it is.
        arm: Name of the arm.
        outcomes: How it ended for A and B.
        errors: Largest tracking errors of A and B, fractions of the reach.
        rows: Numbers of the rows in the results of A and of B; of several seeds, those of the first.
    """

    task: str
    kind: str
    label: str
    arm: str
    outcomes: tuple[str, str]
    errors: tuple[float, float]
    rows: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same tasks.

    Attributes:
        policy_a: Name of A.
        policy_b: Name of B.
        tolerance: A task is met within it, fraction of the reach.
        sections: Per kind of task and arm; the largest first.
        groups: Per group of tasks.
        num_unreachable: Tasks left out: proven unreachable.
        num_unsupported: Tasks left out: A or B does not support them.
        num_unpaired: Tasks left out: only one of them was run on them.
        worse_b: Tasks on which B is worst against A, at most :data:`NUM_WORST`.
        worse_a: The other way round.
    """

    policy_a: str
    policy_b: str
    tolerance: float
    sections: tuple[Difference, ...]
    groups: tuple[Difference, ...]
    num_unreachable: int
    num_unsupported: int
    num_unpaired: int
    worse_b: tuple[Case, ...]
    worse_a: tuple[Case, ...]


@dataclass(frozen=True)
class _Side:
    """One policy's tasks in ascending order of their key; seeds averaged."""

    key: IntArray
    row: IntArray
    supported: npt.NDArray[np.bool_]
    met: FloatArray
    error: FloatArray
    largest: FloatArray
    seconds: FloatArray

    def at(self, key: IntArray) -> _Side:
        """The tasks of these keys, which are among this one's."""
        i = np.searchsorted(self.key, key)
        return _Side(**{name: values[i] for name, values in vars(self).items()})


def _side(results: Results, group: IntArray, policy: str, tolerance: float, stride: int) -> _Side:
    """A policy's tasks.

    Args:
        results: Rows.
        group: ``(N,)`` number of each row's group, the same for both policies.
        policy: The policy.
        tolerance: Fraction of the reach.
        stride: Larger than any number of a task.
    """
    mine = np.flatnonzero(results["policy"] == policy)
    if not mine.size:
        raise UnknownNameError("policy in the results", policy, results.policies)
    own = results.select(mine)
    key, first, task = np.unique(group[mine] * stride + own["number"], return_index=True, return_inverse=True)
    counts = np.bincount(task)
    supported = own["outcome"] != Outcome.UNSUPPORTED
    reach, seconds = own["reach"], own["solve_time"]
    largest = np.where(supported, own["error_max"] / reach, 0.0)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(task, weights=values) / counts)

    return _Side(
        key=key,
        row=mine[first],
        supported=mean(supported.astype(np.float64)) == 1,
        met=mean(((own["valid"] == 1) & (largest <= tolerance)).astype(np.float64)),
        error=mean(np.where(supported, own["error"] / reach, 0.0)),
        largest=mean(largest),
        seconds=mean(seconds),
    )


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _difference(head: tuple[str, str, str], a: _Side, b: _Side, clusters: IntArray | None) -> Difference:
    """Statistics of one set of tasks, at least one; ``head`` is title, kind and arm."""
    ahead = np.sign(np.round(a.met - b.met, 12))
    error_a, error_b = np.maximum(a.error, ROUNDING), np.maximum(b.error, ROUNDING)
    log_ratio = np.log(error_a / error_b)
    low, high = quantile_interval(log_ratio, 0.5)
    seconds = _median(a.seconds), _median(b.seconds)
    wins, losses = int((ahead > 0).sum()), int((ahead < 0).sum())
    return Difference(
        *head,
        num_tasks=len(ahead),
        success=(float(a.met.mean()), float(b.met.mean())),
        success_difference=float((a.met - b.met).mean()),
        success_interval=success_difference_interval(a.met - b.met, clusters=clusters),
        wins=wins,
        losses=losses,
        ties=len(ahead) - wins - losses,
        p_value=sign_test(wins, losses),
        median_error=(_median(a.error), _median(b.error)),
        error_ratio=math.exp(float(np.median(log_ratio))),
        error_ratio_interval=Interval(math.exp(low), math.exp(high)),
        rms_error=(_rms(a.error), _rms(b.error)),
        rms_ratio=_rms(error_a) / _rms(error_b),
        rms_ratio_interval=rms_ratio_interval(error_a, error_b, clusters=clusters),
        solve_time=seconds,
        time_ratio=_ratio(*seconds),
    )


def _cases(loser: _Side, winner: _Side, tolerance: float) -> IntArray:
    """The tasks on which ``loser`` is worst against ``winner``, worst first."""
    lost, gap = winner.met - loser.met, loser.largest - winner.largest
    worse = (lost > 0) | ((lost == 0) & (gap > NOTABLE * tolerance))
    order = np.lexsort((-gap, -lost))
    return np.asarray(order[worse[order]][:NUM_WORST], dtype=np.int64)


def compare(
    results_a: Results,
    results_b: Results,
    policy_a: str,
    policy_b: str,
    *,
    tolerance: float = 1e-2,
) -> Comparison:
    """Compare two policies on the tasks that both have been run on.

    Args:
        results_a: Rows with policy A.
        results_b: Rows with policy B; the same, or those of another run of the same suite.
        policy_a: Name of A.
        policy_b: Name of B.
        tolerance: A task counts as met within it, fraction of the reach.

    Raises:
        UnknownNameError: The results have no such policy.
        InvalidInputError: The results are of different tasks, or no task is left to compare.
    """
    tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
    names = np.concatenate([results_a["group"], results_b["group"]])
    group, _ = codes(names)
    stride = 1 + max((int(results["number"].max(initial=0)) for results in (results_a, results_b)), default=0)
    all_a = _side(results_a, group[: len(results_a)], policy_a, tolerance, stride)
    all_b = _side(results_b, group[len(results_a) :], policy_b, tolerance, stride)
    key = np.intersect1d(all_a.key, all_b.key, assume_unique=True)
    a, b = all_a.at(key), all_b.at(key)
    _check_same_tasks(results_a.select(a.row), results_b.select(b.row))
    truth = results_a["truth"][a.row]
    supported = a.supported & b.supported
    counts = supported & (truth != Truth.UNREACHABLE)
    if not counts.any():
        raise InvalidInputError(
            f"{policy_a!r} and {policy_b!r} have no task in common that both support and that can be met: "
            f"{len(key)} tasks were run with both, {int((~supported).sum())} of them are not supported."
        )
    a, b, key = a.at(a.key[counts]), b.at(b.key[counts]), key[counts]
    about = results_a.select(a.row)
    clusters = shared_scenes(about)

    def difference(title: str, where: npt.NDArray[np.bool_]) -> Difference:
        head = (title, str(about["kind"][where][0]), str(about["arm"][where][0]))
        return _difference(head, a.at(key[where]), b.at(key[where]), None if clusters is None else clusters[where])

    def case(i: int) -> Case:
        rows = int(a.row[i]), int(b.row[i])
        return Case(
            task_name(str(about["group"][i]), int(about["number"][i])),
            str(about["kind"][i]),
            str(about["label"][i]),
            str(about["arm"][i]),
            (str(results_a["outcome"][rows[0]]), str(results_b["outcome"][rows[1]])),
            (float(a.largest[i]), float(b.largest[i])),
            rows,
        )

    sections = [
        difference(f"{title}, {arm}", where)
        for arm in distinct(about["arm"])
        for kind, title in KINDS.items()
        if (where := (about["arm"] == arm) & (about["kind"] == kind)).any()
    ]
    return Comparison(
        policy_a,
        policy_b,
        tolerance,
        sections=tuple(sorted(sections, key=lambda section: (section.kind, -section.num_tasks))),
        groups=tuple(difference(str(name), about["group"] == name) for name in distinct(about["group"])),
        num_unreachable=int((supported & (truth == Truth.UNREACHABLE)).sum()),
        num_unsupported=int((~supported).sum()),
        num_unpaired=len(all_a.key) + len(all_b.key) - 2 * len(truth),
        worse_b=tuple(case(int(i)) for i in _cases(b, a, tolerance)),
        worse_a=tuple(case(int(i)) for i in _cases(a, b, tolerance)),
    )


def _check_same_tasks(a: Results, b: Results) -> None:
    """Two runs of suites that only share their tasks' names are no pairs.

    Raises:
        InvalidInputError: The results are of different tasks.
    """
    for name in ("suite", "kind", "label", "arm", "reach", "truth"):
        differ = np.flatnonzero(a[name] != b[name])
        if differ.size:
            i = int(differ[0])
            task = task_name(str(a["group"][i]), int(a["number"][i]))
            raise InvalidInputError(
                f"The results are of different tasks: {task!r} has {name} {a[name][i]!r} in one and {b[name][i]!r} "
                "in the other. Compare runs of the same suite."
            )
