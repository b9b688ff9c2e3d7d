"""From result rows to scores per policy: plain numbers, which the table and the report lay out.

Accuracy is averaged over every task that is not proven unreachable, whatever the policy made of it: a crash,
a collision or a wrong claim stays in. Tasks that nobody can solve would measure the suite, not the policy;
what the policy did with them is counted among the outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import TOLERANCES, ErrorSummary, Outcome, Truth, success_rates, summarize_errors
from .scoring import Row


@dataclass(frozen=True)
class Score:
    """One policy on one set of tasks: shares, and errors as fractions of the reach; NaN if nothing counts.

    Attributes:
        policy: Its name.
        num_rows: Rows that were there.
        success: Per tolerance of :data:`planararm.metrics.TOLERANCES`, the share of solvable tasks met
            validly; for a path, every step must be within the tolerance.
        error: Over solvable tasks; of paths, root mean square, mean, median, 95th percentile and maximum of
            the paths' own root mean square errors, but ``max`` is the largest error of any step.
        collision_rate: Share of all rows with an answer (or a commanded motion) in a disc.
        limit_violation_rate: Share of all rows with an answer outside the joint limits.
        largest_jump: Largest joint jump [rad].
        followed: Mean share of path steps within the suite's tolerance; NaN for single targets.
        solve_time: Median time per answer in a batch [s].
        latency: Median duration of single calls [s].
        latency_p95: 95th percentile of the same.
        false_claims: Share of the rows claimed to be solved that the check refuted.
        honesty: Share of the proven unreachable tasks for which the policy did not claim success.
        outcomes: Number of rows per outcome.
    """

    policy: str
    num_rows: int
    success: tuple[float, ...]
    error: ErrorSummary
    collision_rate: float
    limit_violation_rate: float
    largest_jump: float
    followed: float
    solve_time: float
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
        num_tasks: Tasks in it.
        num_unreachable: Those proven unreachable.
        scores: Best first.
        without: Policies without a score, and why.
    """

    title: str
    kind: str
    num_tasks: int
    num_unreachable: int
    scores: tuple[Score, ...]
    without: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Leaderboard:
    """All sections, and success per group of tasks.

    Attributes:
        arm: The arm of the sections: the one with the most tasks.
        num_unreachable: Tasks of all arms that are proven unreachable.
        sections: Inverse kinematics, tracking.
        policies: Every policy, best first.
        groups: Names of the groups of tasks, with arm.
        by_group: Success at 1e-2 of the reach for every policy and group; None where it is not supported.
    """

    arm: str
    num_unreachable: int
    sections: tuple[Section, ...]
    policies: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    by_group: dict[str, dict[str, float | None]]


def group_name(row: Row) -> str:
    """The group of a row's task."""
    return str(row["task"]).rpartition("/")[0]


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def _statistic(values: np.ndarray, percentile: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percentile)) if known.size else float("nan")


def _share(part: np.ndarray) -> float:
    return float(part.mean()) if part.size else float("nan")


def score(policy: str, rows: Sequence[Row]) -> Score:
    """The score of one policy on rows of one kind.

    Args:
        policy: Its name.
        rows: Supported rows only; at least one.
    """
    reach, error = _column(rows, "reach"), _column(rows, "error")
    largest, truth = _column(rows, "error_max"), _column(rows, "truth")
    valid, claimed = _column(rows, "valid").astype(bool), _column(rows, "claimed").astype(bool)
    outcomes = Counter(str(row["outcome"]) for row in rows)
    # Along a path it is the answers that are claimed, and the arm may not get there in time: only the check of the
    # answers, which the outcome tells, refutes such a claim.
    refuted = np.array(
        [
            row["outcome"] == Outcome.CLAIMED_WRONGLY
            or (row["kind"] == "ik" and bool(row["claimed"]) and row["outcome"] != Outcome.OK)
            for row in rows
        ]
    )
    solvable, hopeless = truth != Truth.UNREACHABLE, truth == Truth.UNREACHABLE
    summary = summarize_errors((error / reach)[solvable])
    worst = (largest / reach)[solvable]
    return Score(
        policy=policy,
        num_rows=len(rows),
        success=success_rates(worst, valid[solvable]),
        error=summary._replace(max=float(worst.max()) if worst.size else float("nan")),
        collision_rate=_share(_column(rows, "collision")),
        limit_violation_rate=_share(_column(rows, "limit_violation") > 1e-9),
        largest_jump=float(_column(rows, "joint_jump").max()),
        followed=_share(_column([row for row in rows if row["followed"] is not None], "followed")),
        solve_time=_statistic(_column(rows, "solve_time"), 50),
        latency=_statistic(_column(rows, "latency"), 50),
        latency_p95=_statistic(_column(rows, "latency"), 95),
        false_claims=_share(refuted[claimed | refuted]),
        honesty=_share(~claimed[hopeless]),
        outcomes=outcomes,
    )


def _split_by_policy(rows: Iterable[Row]) -> dict[str, list[Row]]:
    split: dict[str, list[Row]] = {}
    for row in rows:
        split.setdefault(row["policy"], []).append(row)
    return split


def _reason_against(rows: Sequence[Row], expected: int) -> str | None:
    """Why rows make no comparable score: a part is unsupported, or missing."""
    for row in rows:
        if row["outcome"] == Outcome.UNSUPPORTED:
            return str(row["message"])
    if len({row["task"] for row in rows}) < expected:
        return f"unfinished: {len({row['task'] for row in rows})} of {expected} tasks"
    return None


def _section(title: str, kind: str, rows: list[Row], policies: Sequence[str]) -> Section:
    tasks = {row["task"]: row["truth"] for row in rows}
    split = _split_by_policy(rows)
    scores, without = [], []
    for policy in policies:
        own = split.get(policy, [])
        reason = _reason_against(own, len(tasks)) if own else "not run"
        if reason is None:
            scores.append(score(policy, own))
        else:
            without.append((policy, reason))
    scores.sort(key=lambda s: (*s.rank_key, s.policy))
    unreachable = sum(truth == Truth.UNREACHABLE for truth in tasks.values())
    return Section(title, kind, len(tasks), unreachable, tuple(scores), tuple(without))


def build_leaderboard(rows: Sequence[Row]) -> Leaderboard:
    """Score all policies.

    Args:
        rows: Result rows of one suite; at least one.
    """
    arms = Counter(arm for _, arm in {(row["task"], row["arm"]) for row in rows})
    arm = max(arms, key=lambda name: (arms[name], name))
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    sections = []
    for kind, title in (("ik", "Inverse kinematics"), ("track", "Tracking in closed loop")):
        own = [row for row in rows if row["kind"] == kind and row["arm"] == arm]
        if own:
            sections.append(_section(f"{title}, {arm}", kind, own, policies))
    ranking = {s.policy: i for section in reversed(sections) for i, s in enumerate(section.scores)}
    policies.sort(key=lambda name: (ranking.get(name, len(policies)), name))
    groups = tuple(dict.fromkeys((group_name(row), row["arm"]) for row in rows))
    by_group: dict[str, dict[str, float | None]] = {policy: {} for policy in policies}
    for name, _ in groups:
        split = _split_by_policy(row for row in rows if group_name(row) == name)
        count = len({row["task"] for own in split.values() for row in own})
        for policy in policies:
            own = split.get(policy, [])
            comparable = bool(own) and _reason_against(own, count) is None
            by_group[policy][name] = score(policy, own).success[TOLERANCES.index(1e-2)] if comparable else None
    unreachable = len({row["task"] for row in rows if row["truth"] == Truth.UNREACHABLE})
    return Leaderboard(arm, unreachable, tuple(sections), tuple(policies), groups, by_group)
