"""What the page says, as plain values for the template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...metrics import TOLERANCES, Outcome
from ..leaderboard import Leaderboard, Score, Section
from ..scoring import COLUMNS
from ..table import ABSENT, caption, duration, fraction, percent

OUTCOMES: dict[Outcome, tuple[str, str]] = {
    Outcome.OK: ("ok", "met within the tolerance, verified, joint limits and safety margin kept"),
    Outcome.INFEASIBLE: ("infeasible", "proven unreachable, and the policy did not claim otherwise"),
    Outcome.MISSED: ("missed", "can be met, was not, and the policy did not claim it"),
    Outcome.UNSAFE: ("unsafe", "the answer leaves limits or margin, or a commanded motion would meet a disc"),
    Outcome.CLAIMED_WRONGLY: ("claimed", "not met, though the policy said so"),
    Outcome.CRASHED: ("crashed", "raised an error, or returned no configuration"),
    Outcome.TIMED_OUT: ("other", "took longer than allowed"),
    Outcome.UNDECIDED: ("other", "not met; the ground truth does not know whether it can be"),
}
"""Per outcome that can happen to a supported task: its CSS class and its meaning."""

TERMS: tuple[tuple[str, str], ...] = (
    (
        "ok @x",
        "Share of the solvable tasks met within x of the reach, with every joint within its limits and the "
        "safety margin kept. A path counts if every single step ends within x. Crashes, collisions and wrong "
        "claims are failures and stay in the denominator; only tasks proven unreachable are left out.",
    ),
    (
        "RMSE, median, p95, max",
        "Of the distance between end effector and target, as a fraction of the arm's reach, over the "
        "solvable tasks. A task without an answer is scored where the arm then stays. For paths: over the "
        "paths' own root mean square errors; max is the largest error of any step.",
    ),
    (
        "contact",
        "Share of all tasks with an answer that overlaps a disc, or a commanded motion that would meet one.",
    ),
    ("limits", "Share of all tasks with an answer beyond a joint limit."),
    (
        "jump",
        "Largest change of any joint, in radians, between where the arm is and the answer. Angles are not wrapped.",
    ),
    ("followed", "Mean share of a path's steps that end within the suite's tolerance of the target."),
    (
        "time, single, single p95",
        "Median time per answer in a batch; median and 95th percentile of calls for one target alone. The "
        "first call is not timed.",
    ),
    ("false claims", "Share of the tasks that the policy claimed to have solved and the check refuted."),
    ("honest", "Share of the unreachable tasks for which the policy did not claim success."),
    (
        "closed loop",
        "On paths the policy is asked, at each control step, for the next point of the path from where the "
        "arm is. The arm moves straight towards the answer within its velocity limits; the motion is "
        "certified as a whole and stops just before contact.",
    ),
    (
        "solvable",
        "Every target carries the verdict of the ground truth: a free configuration that reaches it is "
        "known, or it is proven that there is none. Paths are made from certified motions, or lie in free "
        "space.",
    ),
)


class Column(NamedTuple):
    """A column of the leaderboard.

    Attributes:
        name: Heading.
        unit: Second line of the heading.
        about: What it means.
        first: Order of the first click: best on top.
        initial: Whether the table comes sorted by it.
    """

    name: str
    unit: str
    about: str
    first: str
    initial: bool = False


class Cell(NamedTuple):
    """A value and how it is shown; ``bar`` is the length of the bar behind it, if it has one."""

    value: float
    text: str
    bar: float | None = None
    best: bool = False


def _columns(tracking: bool) -> list[Column]:
    high, low = "descending", "ascending"
    followed = [Column("followed", "%", "share of steps within the tolerance", high)] if tracking else []
    single = [
        Column("single", "", "median duration of a call for one target", low),
        Column("single", "p95", "95th percentile of calls for one target", low),
    ]
    honest = [Column("honest", "%", "unreachable tasks not claimed to be solved", high)]
    return [
        Column("policy", "", "name of the policy", low),
        *(
            Column(
                f"@{tolerance:.0e}".replace("e-0", "e-"),
                "ok %",
                f"share met within {tolerance:g} of the reach, verified",
                high,
                tolerance == TOLERANCES[1],
            )
            for tolerance in TOLERANCES
        ),
        *followed,
        Column("RMSE", "of reach", "root mean square error, fraction of the reach", low),
        Column("median", "of reach", "median error, fraction of the reach", low),
        Column("p95", "of reach", "95th percentile of the error, fraction of the reach", low),
        Column("max", "of reach", "largest error, fraction of the reach", low),
        Column("contact", "%", "share with an answer or a motion in a disc", low),
        Column("limits", "%", "share with an answer beyond a joint limit", low),
        Column("jump", "rad", "largest change of a joint from where the arm was", low),
        Column("false", "claims %", "share of the claims that the check refuted", low),
        *([] if tracking else honest),
        Column("time", "", "median time per answer in a batch", low),
        *([] if tracking else single),
    ]


def _rate(share: float) -> Cell:
    return Cell(share, percent(share), None if math.isnan(share) else round(share, 4))


def _plain_rate(share: float) -> Cell:
    return Cell(share, percent(share))


def _cells(score: Score, tracking: bool) -> list[Cell]:
    error = score.error
    errors = (error.rmse, error.median, error.p95, error.max)
    single = [Cell(value, duration(value)) for value in (score.latency, score.latency_p95)]
    return [
        *(_rate(rate) for rate in score.success),
        *([_plain_rate(score.followed)] if tracking else []),
        *(Cell(value, fraction(value)) for value in errors),
        _plain_rate(score.collision_rate),
        _plain_rate(score.limit_violation_rate),
        Cell(score.largest_jump, f"{score.largest_jump:.2f}"),
        _plain_rate(score.false_claims),
        *([] if tracking else [_plain_rate(score.honesty)]),
        Cell(score.solve_time, duration(score.solve_time)),
        *([] if tracking else single),
    ]


def _mark_best(rows: list[list[Cell]], columns: Sequence[Column]) -> list[list[Cell]]:
    """Set ``best`` where a column's best text stands, unless all rows share it."""
    marked = [list(row) for row in rows]
    for i, column in enumerate(columns):
        known = [row[i] for row in rows if not math.isnan(row[i].value)]
        if not known:
            continue
        pick = max if column.first == "descending" else min
        best = pick(known, key=lambda cell: cell.value).text
        if any(cell.text != best for cell in known):
            for row in marked:
                row[i] = row[i]._replace(best=row[i].text == best)
    return marked


def _section(section: Section) -> dict[str, Any]:
    tracking = section.kind == "track"
    columns = _columns(tracking)
    cells = _mark_best([_cells(score, tracking) for score in section.scores], columns[1:])
    return {
        "title": section.title,
        "caption": f"{caption(section)}.",
        "columns": columns,
        "rows": [{"policy": score.policy, "cells": row} for score, row in zip(section.scores, cells, strict=True)],
        "without": section.without,
        "stacks": [_stack(score) for score in section.scores],
    }


def _stack(score: Score) -> dict[str, Any]:
    total = sum(score.outcomes.values())
    pieces = [
        {
            "name": str(name),
            "css": css,
            "count": score.outcomes[name],
            "share": score.outcomes[name] / total,
        }
        for name, (css, _) in OUTCOMES.items()
        if score.outcomes[name]
    ]
    spoken = ", ".join(f"{piece['count']} {piece['name']}" for piece in pieces)
    return {"policy": score.policy, "pieces": pieces, "spoken": f"{score.policy}: {spoken}"}


def _manifest_rows(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("suite", manifest["suite"]),
        ("content hash", manifest["suite_hash"]),
        ("policies", ", ".join(manifest["policies"])),
        ("seeds", ", ".join(str(seed) for seed in manifest["seeds"])),
    ]
    for number, run in enumerate(manifest["runs"], start=1):
        git = run["git"]
        commit = f", commit {git['commit'][:12]}{' with changes' if git['changed'] else ''}" if git else ""
        packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items() if version)
        rows.append(
            (
                f"run {number}" if len(manifest["runs"]) > 1 else "run",
                f"{run['started']}: planararm {run['planararm']}{commit}; Python {run['python']}; "
                f"{packages}; {run['platform']}; {run['cpu']}, {run['cpu_count']} CPUs",
            )
        )
    return rows


def page_content(manifest: dict[str, Any], board: Leaderboard, figures: Sequence[Any]) -> dict[str, Any]:
    """All values of the page.

    Args:
        manifest: The results' manifest.
        board: The scores.
        figures: Pictures, see :class:`planararm.benchmark.report.figures.Figure`.
    """
    happened = {name for section in board.sections for score in section.scores for name in score.outcomes}
    seeds = " ".join(f"--seed {seed}" for seed in manifest["seeds"][-1:] if seed)
    return {
        "suite": manifest["suite"],
        "num_tasks": manifest["num_tasks"],
        "policies": board.policies,
        "facts": [
            ("policies", len(board.policies)),
            ("tasks", manifest["num_tasks"]),
            ("proven unreachable", board.num_unreachable),
            ("arm of the leaderboard", board.arm),
            ("content hash", manifest["suite_hash"][:12]),
            ("planararm", manifest["runs"][-1]["planararm"]),
        ],
        "sections": [_section(section) for section in board.sections],
        "outcomes": [
            {"name": str(name), "css": css, "about": about}
            for name, (css, about) in OUTCOMES.items()
            if name in happened
        ],
        "groups": board.groups,
        "group_rows": [
            {
                "policy": policy,
                "cells": [
                    {"share": board.by_group[policy][name], "text": percent(board.by_group[policy][name])}
                    for name, _ in board.groups
                ],
            }
            for policy in board.policies
        ],
        "figures": figures,
        "terms": TERMS,
        "columns": COLUMNS,
        "manifest": _manifest_rows(manifest),
        "command": f"planararm bench --suite {manifest['suite']} {seeds}".strip(),
        "absent": ABSENT,
    }
