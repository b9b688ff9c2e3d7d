"""The leaderboard's main figures as PNG files beside the page, for papers and slides."""

from __future__ import annotations

import re
from pathlib import Path

from ...metrics import TOLERANCES
from ..frame import Results
from ..leaderboard import Leaderboard
from ..results import write_bytes_atomically
from .charts import distribution_png, success_png
from .distributions import ERRORS, error_distribution, solvable_rows


def file_name(*parts: str) -> str:
    """A file name from words: what is neither letter nor digit becomes a dash."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts) + ".png"


def draw_pictures(board: Leaderboard, results: Results, folder: Path) -> list[Path]:
    """Draw success and the distribution of the error for every section; earlier pictures are removed.

    Args:
        board: The scores.
        results: Their rows.
        folder: Where to; created if need be.

    Returns:
        The files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn: dict[str, bytes] = {}
    for section in board.sections:
        if not section.scores:
            continue
        success = {score.policy: score.success for score in section.scores}
        drawn[file_name("success", section.kind, section.arm)] = success_png(success, TOLERANCES)
        rows = solvable_rows(results.select((results["kind"] == section.kind) & (results["arm"] == section.arm)))
        curves = {name: error_distribution(rows.select(rows["policy"] == name)) for name in success}
        drawn[file_name("errors", section.kind, section.arm)] = distribution_png(curves, ERRORS)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for name, png in drawn.items():
        write_bytes_atomically(folder / name, png)
    return [folder / name for name in drawn]
