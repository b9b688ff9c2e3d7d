"""From result rows to scores per policy: plain numbers, which the table and the report lay out.

Accuracy is averaged over every task that is not proven unreachable, whatever the policy made of it: a crash,
a collision or a wrong claim stays in. Tasks that nobody can solve would measure the suite, not the policy;
what the policy did with them is counted among the outcomes. Rows of several seeds of a task count as one: their mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError
from ..metrics import LIMIT_TOLERANCE, TOLERANCES, ErrorSummary, Outcome, Truth, summarize_errors
from .frame import Results, codes, distinct, mean_per_task, shared_scenes
from .intervals import Interval, success_interval

MET = TOLERANCES.index(1e-2)
"""Which of the tolerances success is ranked by."""


@dataclass(frozen=True)
class Score:
    """One policy on one set of tasks: shares, and errors as fractions of the reach; NaN if nothing counts.

    Attributes:
        policy: Its name.
        num_rows: Rows that were there.
        success: Per tolerance of :data:`planararm.metrics.TOLERANCES`, the share of solvable tasks met
            validly; for a path, every step must be within the tolerance.
        success_interval: Of each of these, the 95 % interval of :mod:`planararm.benchmark.intervals`.
        error: Over solvable tasks; of paths, statistics of the paths' own root mean square errors, but ``max`` is
            the largest error of any step.
        collision_rate: Share of all rows with an answer (or a commanded motion) in a disc.
        limit_violation_rate: Share of all rows with an answer outside the joint limits.
        certified: Share of the rows with an answer whose motion is certified free: the straight one from the start,
            or every command along a path.
        largest_jump: Largest joint jump [rad].
        followed: Mean share of path steps within the suite's tolerance; NaN for single targets.
        solve_time: Median time per answer in a batch [s].
        solve_time_p95: 95th percentile of the same.
        latency: Median duration of single calls [s].
        latency_p95: 95th percentile of the same.
        false_claims: Share of the rows claimed to be solved that the check refuted.
        honesty: Share of the proven unreachable tasks for which the policy did not claim success.
        outcomes: Number of rows per outcome.
    """

    policy: str
    num_rows: int
    success: tuple[float, ...]
    success_interval: tuple[Interval, ...]
    error: ErrorSummary
    collision_rate: float
    limit_violation_rate: float
    certified: float
    largest_jump: float
    followed: float
    solve_time: float
    solve_time_p95: float
    latency: float
    latency_p95: float
    false_claims: float
    honesty: float
    outcomes: Counter[str]

    @property
    def rank_key(self) -> tuple[float, ...]:
        """Best first: success at 1e-2 of the reach, then at the finer tolerances, then at 1e-1, then RMSE."""
        first, *finer = self.success
        return (*(-rate for rate in (*finer, first)), self.error.rmse)


@dataclass(frozen=True)
class Section:
    """Scores of all policies on one set of tasks.

    Attributes:
        title: Heading.
        kind: ``"ik"`` or ``"track"``.
        arm: Name of the arm.
        num_tasks: Tasks in it.
        num_unreachable: Those proven unreachable.
        scores: Best first.
        without: Policies without a score, and why.
    """

    title: str
    kind: str
    arm: str
    num_tasks: int
    num_unreachable: int
    scores: tuple[Score, ...]
    without: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Leaderboard:
    """All sections, and success per group of tasks.

    Attributes:
        num_tasks: Tasks of all sections.
        num_unreachable: Those of them that are proven unreachable.
        sections: Inverse kinematics, then tracking, of every arm; the arm with the most tasks first.
        policies: Every policy, best first.
        groups: Names of the groups of tasks, with arm.
        by_group: Success per tolerance for every policy and group; None where it is not supported.
    """

    num_tasks: int
    num_unreachable: int
    sections: tuple[Section, ...]
    policies: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    by_group: dict[str, dict[str, tuple[float, ...] | None]]


def _statistic(values: npt.NDArray[np.float64], percentile: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percentile)) if known.size else float("nan")


def _share(part: npt.NDArray) -> float:
    return float(part.mean()) if part.size else float("nan")


def met_within(results: Results) -> npt.NDArray[np.bool_]:
    """Whether each row meets its task: ``(N, 4)``, one column per tolerance of :data:`planararm.metrics.TOLERANCES`."""
    relative = results["error_max"] / results["reach"]
    return np.asarray((results["valid"] == 1)[:, None] & (relative[:, None] <= np.array(TOLERANCES)))


def score(policy: str, results: Results) -> Score:
    """The score of one policy on rows of one kind.

    Args:
        policy: Its name.
        results: Supported rows only; at least one.
    """
    outcome = results["outcome"]
    claimed = results["claimed"] == 1
    # Of paths nothing is claimed.
    refuted = (outcome == Outcome.CLAIMED_WRONGLY) | (claimed & (outcome != Outcome.OK))
    hopeless = results["truth"] == Truth.UNREACHABLE
    solvable = results.select(~hopeless)
    met = mean_per_task(solvable, met_within(solvable))
    clusters = shared_scenes(solvable)
    if clusters is not None:
        clusters = mean_per_task(solvable, clusters).astype(np.int64)
    relative = mean_per_task(
        solvable, np.stack([solvable["error"], solvable["error_max"]], axis=1) / solvable["reach"][:, None]
    )
    summary = summarize_errors(relative[:, 0])
    followed = results["followed"]
    motion = results["motion"]
    moved = motion != None  # noqa: E711
    return Score(
        policy=policy,
        num_rows=len(results),
        success=_shares(met),
        success_interval=tuple(success_interval(column, clusters=clusters) for column in met.T),
        error=summary._replace(max=float(relative[:, 1].max()) if len(relative) else float("nan")),
        collision_rate=_share(results["collision"] == 1),
        limit_violation_rate=_share(results["limit_violation"] > LIMIT_TOLERANCE),
        certified=_share(motion[moved] == "certified"),
        largest_jump=float(results["joint_jump"].max()),
        followed=_share(followed[np.isfinite(followed)]),
        solve_time=_statistic(results["solve_time"], 50),
        solve_time_p95=_statistic(results["solve_time"], 95),
        latency=_statistic(results["latency"], 50),
        latency_p95=_statistic(results["latency"], 95),
        false_claims=_share(refuted[claimed | refuted]),
        honesty=_share(~claimed[hopeless]) if (results["claimed"] >= 0).any() else float("nan"),
        outcomes=Counter(outcome.tolist()),
    )


def _reason_against(results: Results, expected: int) -> str | None:
    """Why rows make no comparable score: a part is unsupported, or missing."""
    unsupported = np.flatnonzero(results["outcome"] == Outcome.UNSUPPORTED)
    if unsupported.size:
        return str(results["message"][unsupported[0]])
    there = min(_count_tasks(results.select(results["seed"] == seed)) for seed in np.unique(results["seed"]))
    return f"unfinished: {there} of {expected} tasks" if there < expected else None


def _count_tasks(results: Results) -> int:
    group, _ = codes(results["group"])
    return len(np.unique(group * (int(results["number"].max(initial=0)) + 1) + results["number"]))


def _expected(results: Results, sizes: Mapping[str, int]) -> int:
    """How many tasks the groups have that rows are there of."""
    return sum(sizes[group] for group in distinct(results["group"]))


def _section(
    title: str, kind: str, arm: str, results: Results, policies: Sequence[str], sizes: Mapping[str, int]
) -> Section:
    expected = _expected(results, sizes)
    unreachable = _count_tasks(results.select(results["truth"] == Truth.UNREACHABLE))
    scores, without = [], []
    for policy in policies:
        own = results.select(results["policy"] == policy)
        reason = _reason_against(own, expected) if len(own) else "not run"
        if reason is None:
            scores.append(score(policy, own))
        else:
            without.append((policy, reason))
    scores.sort(key=lambda s: (*s.rank_key, s.policy))
    return Section(title, kind, arm, expected, unreachable, tuple(scores), tuple(without))


def build_leaderboard(results: Results, sizes: Mapping[str, int] | None = None) -> Leaderboard:
    """Score all policies.

    Args:
        results: Result rows of one suite; at least one.
        sizes: Number of tasks per group of the suite, so that a run which was interrupted is not taken for a
            finished one; default: tasks that any policy has rows of.

    Raises:
        FileFormatError: A row of a group that the suite does not have.
    """
    if sizes is None:
        names = distinct(results["group"])
        sizes = {name: _count_tasks(results.select(results["group"] == name)) for name in names}
    unknown = [name for name in distinct(results["group"]) if name not in sizes]
    if unknown:
        raise FileFormatError(f"The results hold a task of group {unknown[0]!r}; the suite has {', '.join(sizes)}.")
    policies = results.policies
    sections = []
    by_kind = {kind: results.select(results["kind"] == kind) for kind in ("ik", "track")}
    arms = distinct(results["arm"])
    targets = {arm: _expected(by_kind["ik"].select(by_kind["ik"]["arm"] == arm), sizes) for arm in arms}
    for arm in sorted(arms, key=lambda name: -targets[name]):
        for kind, title in (("ik", "Inverse kinematics"), ("track", "Tracking in closed loop")):
            own = by_kind[kind].select(by_kind[kind]["arm"] == arm)
            if len(own):
                sections.append(_section(f"{title}, {arm}", kind, arm, own, policies, sizes))
    policies.sort(key=lambda name: _standing(name, sections))
    groups = []
    by_group: dict[str, dict[str, tuple[float, ...] | None]] = {policy: {} for policy in policies}
    for name in distinct(results["group"]):
        own = results.select(results["group"] == name)
        groups.append((name, str(own["arm"][0])))
        for policy in policies:
            rows = own.select(own["policy"] == policy)
            comparable = len(rows) and _reason_against(rows, sizes[name]) is None
            by_group[policy][name] = _success(rows.select(rows["truth"] != Truth.UNREACHABLE)) if comparable else None
    return Leaderboard(
        sum(section.num_tasks for section in sections),
        sum(section.num_unreachable for section in sections),
        tuple(sections),
        tuple(policies),
        tuple(groups),
        by_group,
    )


def _standing(policy: str, sections: Sequence[Section]) -> tuple:
    """Sorts policies: by their place in the first section, those without one there by the second, and so on."""
    for number, section in enumerate(sections):
        for place, own in enumerate(section.scores):
            if own.policy == policy:
                return (number, place, policy)
    return (len(sections), 0, policy)


def _success(solvable: Results) -> tuple[float, ...]:
    """Share of solvable tasks met, per tolerance."""
    return _shares(mean_per_task(solvable, met_within(solvable)))


def _shares(met: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(met.mean(axis=0).tolist()) if len(met) else (float("nan"),) * len(TOLERANCES)
