"""Draw the report's pictures, as files and for the page."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...metrics import TOLERANCES
from ..leaderboard import Leaderboard
from ..results import write_bytes_atomically
from ..scoring import Row
from ..tasks import Suite
from .charts import path_errors_png, scene_png, success_png
from .selection import cases, describe, locate, path_errors, shown_paths, snapshot


class Figure(NamedTuple):
    """A picture of the page.

    Attributes:
        place: Where on the page: ``"leaderboard"``, ``"paths"`` or ``"scenes"``.
        policy: Whose it is, for scenes.
        file: Name of its file.
        data: The PNG in base64.
        width: [px].
        height: [px].
        alt: What it shows, for those who do not see it.
        caption: Text below it.
    """

    place: str
    policy: str
    file: str
    data: str
    width: int
    height: int
    alt: str
    caption: str


def file_name(*parts: str) -> str:
    """A file name from words: what is neither letter nor digit becomes a dash."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts) + ".png"


class _Album:
    """Writes pictures to a folder and keeps them for the page."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.figures = folder, list[Figure]()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()

    def add(self, place: str, policy: str, name: str, png: bytes, alt: str, caption: str) -> None:
        taken = {figure.file for figure in self.figures}
        file, number = name, 2
        while file in taken:
            file, number = name.replace(".png", f"-{number}.png"), number + 1
        write_bytes_atomically(self.folder / file, png)
        # Width and height are the first fields of a PNG's header.
        width, height = struct.unpack(">II", png[16:24])
        data = base64.b64encode(png).decode("ascii")
        self.figures.append(Figure(place, policy, file, data, width, height, alt, caption))


def draw_figures(board: Leaderboard, rows: Sequence[Row], suite: Suite, folder: Path) -> list[Figure]:
    """Draw all pictures of the report and write them as PNG files.

    Args:
        board: The scores.
        rows: The results.
        suite: Their suite.
        folder: For the files; earlier pictures in it are removed.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    album = _Album(folder)
    for section in board.sections:
        if section.scores:
            png = success_png({score.policy: score.success for score in section.scores}, TOLERANCES)
            caption = f"{section.title}: success at four tolerances. The table above has the numbers."
            album.add("leaderboard", "", file_name("success", section.kind), png, caption, caption)
    for task in shown_paths(board, rows):
        group, i = locate({"task": task}, suite)
        errors = path_errors(rows, task, suite)
        png = path_errors_png(errors, group.scene.arm.reach, group.dt, suite.tolerance)
        caption = f"{task} ({group.labels[i]}): the path of its group on which the policies differ most."
        alt = f"Tracking error over time along {task} of {', '.join(errors)}"
        album.add("paths", "", file_name("errors", task), png, alt, caption)
    for policy in board.policies:
        for kind in ("ik", "track"):
            for case in cases(rows, policy, kind):
                png = scene_png(snapshot(case.row, suite))
                text = describe(case)
                alt = f"The arm of {policy} in its scene. {text}"
                album.add("scenes", policy, file_name(policy, kind, case.what), png, alt, text)
    return album.figures
