"""The leaderboard's columns and cells, the same numbers and the same texts as in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ...metrics import TOLERANCES
from ..leaderboard import Score, Section
from ..table import ABSENT, caption, duration, fraction, interval, percent
from .packing import number
from .words import OUTCOMES

HIGH, LOW = "descending", "ascending"


class Column(NamedTuple):
    """A column of the leaderboard.

    Attributes:
        key: Its name in the page's data.
        name: Heading.
        unit: Second line of the heading.
        about: What it means.
        first: Order of the first click: best on top.
        sets: In which of the sets ``accuracy``, ``safety`` and ``speed`` it is shown.
        value: The number that is sorted by.
        text: How it is shown.
        kinds: In which kinds of sections.
        bar: Whether a bar stands behind it.
    """

    key: str
    name: str
    unit: str
    about: str
    first: str
    sets: tuple[str, ...]
    value: Callable[[Score], float]
    text: Callable[[float], str]
    kinds: tuple[str, ...] = ("ik", "track")
    bar: bool = False


def _radians(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.2f}"


def _success(i: int) -> Column:
    tolerance = TOLERANCES[i]
    name = f"@{tolerance:.0e}".replace("e-0", "e-")
    about = f"share met within {tolerance:g} of the reach, verified"
    return Column(f"ok{i}", name, "ok %", about, HIGH, ("accuracy",), lambda s: s.success[i], percent, bar=True)


COLUMNS_OF_SCORES = (
    *(_success(i) for i in range(len(TOLERANCES))),
    Column(
        "followed", "followed", "%", "share of steps within the tolerance", HIGH, ("accuracy",),
        lambda s: s.followed, percent, ("track",),
    ),
    Column(
        "rmse", "RMSE", "of reach", "root mean square error, fraction of the reach", LOW, ("accuracy",),
        lambda s: s.error.rmse, fraction,
    ),
    Column(
        "median", "median", "of reach", "median error, fraction of the reach", LOW, ("accuracy",),
        lambda s: s.error.median, fraction,
    ),
    Column(
        "p95", "p95", "of reach", "95th percentile of the error, fraction of the reach", LOW, ("accuracy",),
        lambda s: s.error.p95, fraction,
    ),
    Column(
        "max", "max", "of reach", "largest error, fraction of the reach", LOW, ("accuracy",),
        lambda s: s.error.max, fraction,
    ),
    Column(
        "contact", "contact", "%", "share with an answer or a motion in a disc", LOW, ("safety",),
        lambda s: s.collision_rate, percent,
    ),
    Column(
        "limits", "limits", "%", "share with an answer beyond a joint limit", LOW, ("safety",),
        lambda s: s.limit_violation_rate, percent,
    ),
    Column(
        "certified", "certified", "%", "share of the motions to the answer that are certified free", HIGH, ("safety",),
        lambda s: s.certified, percent,
    ),
    Column(
        "jump", "jump", "rad", "largest change of a joint from where the arm was", LOW, ("safety",),
        lambda s: s.largest_jump, _radians,
    ),
    Column(
        "false", "false", "claims %", "share of the claims that the check refuted", LOW, ("safety",),
        lambda s: s.false_claims, percent, ("ik",),
    ),
    Column(
        "honest", "honest", "%", "unreachable tasks not claimed to be solved", HIGH, ("safety",),
        lambda s: s.honesty, percent, ("ik",),
    ),
    Column(
        "time", "time", "median", "median time per answer in a batch", LOW, ("speed",),
        lambda s: s.solve_time, duration,
    ),
    Column(
        "time95", "time", "p95", "95th percentile of the time per answer in a batch", LOW, ("speed",),
        lambda s: s.solve_time_p95, duration,
    ),
    Column(
        "single", "single", "median", "median duration of a call for one target", LOW, ("speed",),
        lambda s: s.latency, duration, ("ik",),
    ),
    Column(
        "single95", "single", "p95", "95th percentile of calls for one target", LOW, ("speed",),
        lambda s: s.latency_p95, duration, ("ik",),
    ),
)  # fmt: skip


def column_payload() -> list[dict[str, Any]]:
    """The columns as the page's JavaScript reads them, each success followed by its interval."""
    listed = []
    for column in COLUMNS_OF_SCORES:
        shown = {name: getattr(column, name) for name in ("key", "name", "unit", "about", "first", "sets", "bar")}
        listed.append(shown)
        if column.key.startswith("ok"):
            about = f"95 % bootstrap interval of the {column.about}"
            key = column.key.replace("ok", "interval")
            listed.append({**shown, "key": key, "name": "interval", "unit": "95 %", "about": about, "sets": []})
            listed[-1]["bar"] = False
    return listed


def _cells(score: Score, kind: str) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {}
    for column in COLUMNS_OF_SCORES:
        if kind in column.kinds:
            value = column.value(score)
            cells[column.key] = [number(value), column.text(value)]
    for i, ends in enumerate(score.success_interval):
        known = [number(end) for end in ends]
        cells[f"ok{i}"].append(known if None not in known else None)
        # Sorted by the lower end: what a policy surely reaches.
        cells[f"interval{i}"] = [known[0], interval(ends)]
    return cells


def section_payload(section: Section, policies: dict[str, int]) -> dict[str, Any]:
    """A section of the leaderboard.

    Args:
        section: The scores.
        policies: Number of every policy in the page's list.
    """
    return {
        "title": section.title,
        "kind": section.kind,
        "arm": section.arm,
        "caption": f"{caption(section)}.",
        "without": [[policies[name], reason.rstrip(".")] for name, reason in section.without],
        "scores": [
            {
                "policy": policies[score.policy],
                "cells": _cells(score, section.kind),
                "outcomes": [score.outcomes[name] for name in OUTCOMES],
            }
            for score in section.scores
        ],
    }
