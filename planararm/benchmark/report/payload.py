"""All that the page's JavaScript works on, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...metrics import TOLERANCES
from ..frame import Results, distinct
from ..leaderboard import Leaderboard, Section, build_leaderboard
from ..table import percent
from ..tasks import Suite
from . import distributions, maps
from .board import column_payload, section_payload
from .choice import choose_tasks
from .packing import number
from .replays import Arms, replay_payload
from .words import OUTCOMES, REPLAY_SETS


class Run(NamedTuple):
    """A results folder that was read.

    Attributes:
        folder: The folder.
        manifest: Its manifest.
        results: Its rows.
        suite: The suite that was run.
    """

    folder: Path
    manifest: dict[str, Any]
    results: Results
    suite: Suite


def ranking(boards: Sequence[Leaderboard]) -> list[str]:
    """All policies in the order of the first leaderboard that has them."""
    return distinct(policy for board in boards for policy in board.policies)


def _section(section: Section, results: Results, suite: Suite, policies: dict[str, int]) -> dict[str, Any]:
    payload = section_payload(section, policies)
    rows = results.select((results["kind"] == section.kind) & (results["arm"] == section.arm))
    by_policy = {score.policy: rows.select(rows["policy"] == score.policy) for score in section.scores}
    distributions.add_distributions(payload, section, by_policy, suite)
    maps.add_maps(payload, section, by_policy, suite)
    return payload


def _by_group(board: Leaderboard, policies: dict[str, int]) -> list[list[Any]]:
    """Per policy a cell for each tolerance of every group; None where the leaderboard has no score."""
    return [
        [
            policies[policy],
            [
                None if shares is None else [[number(share), percent(share)] for share in shares]
                for shares in board.by_group[policy].values()
            ],
        ]
        for policy in board.policies
    ]


def suite_payload(run: Run, board: Leaderboard, policies: dict[str, int], arms: Arms) -> dict[str, Any]:
    """Everything about one suite.

    Args:
        run: Its results.
        board: Their leaderboard.
        policies: Number of every policy in the page's list.
        arms: Where the arms of the replays are kept.
    """
    return {
        "name": run.suite.name,
        "description": run.suite.description,
        "tolerance": run.suite.tolerance,
        "groups": board.groups,
        "by_group": _by_group(board, policies),
        "sections": [_section(section, run.results, run.suite, policies) for section in board.sections],
        "replays": replay_payload(run.results, run.suite, choose_tasks(run.results), policies, arms),
    }


def common_payload() -> dict[str, Any]:
    """What all reports share."""
    return {
        "tolerances": TOLERANCES,
        "columns": column_payload(),
        "outcomes": [{"name": str(name), "css": css, "about": about} for name, (css, about) in OUTCOMES.items()],
        "ecdf": {
            "low": distributions.LOW,
            "per_decade": distributions.PER_DECADE,
            "count": len(distributions.ERRORS),
        },
        "maps": {
            "half_width": maps.HALF_WIDTH,
            "error_low": maps.ERROR_LOW,
            "error_high": maps.ERROR_HIGH,
            "clearance": maps.CLEARANCE,
        },
        "replay_sets": REPLAY_SETS,
    }


def report_payload(runs: Sequence[Run]) -> tuple[dict[str, Any], list[Leaderboard]]:
    """The data of a report, and the leaderboards that it was made from.

    Args:
        runs: One per suite.
    """
    boards = [build_leaderboard(run.results, run.suite.sizes) for run in runs]
    policies = ranking(boards)
    numbered = {name: i for i, name in enumerate(policies)}
    arms = Arms()
    suites = [suite_payload(run, board, numbered, arms) for run, board in zip(runs, boards, strict=True)]
    return {**common_payload(), "policies": policies, "suites": suites, "arms": arms.payload()}, boards
