"""A comparison as a page, with a picture of each case in which one policy is much worse than the other."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arm import FloatArray
from ..errors import MissingExtraError
from ..rendering.pygame_renderer import PygameRenderer
from ..rendering.recording import write_frames
from ..rendering.shapes import Snapshot
from .compare import Case, Comparison
from .compare_table import (
    ERROR_HEADS,
    ERROR_NOTE,
    SUCCESS_HEADS,
    describe_case,
    error_row,
    left_out,
    shown,
    success_note,
    success_row,
    verdict,
)
from .frame import Results, split_task
from .results import write_text_atomically
from .scoring import Row
from .table import fraction
from .tasks import Suite, TaskGroup

PAGE = "compare.html"
SIDE = 420
"""Width and height of each half of a picture [px]."""

_LONGEST_NAME = 60


class Picture(NamedTuple):
    """A case on the page.

    Attributes:
        file: Name of its file.
        data: The PNG in base64.
        caption: What happened.
    """

    file: str
    data: str
    caption: str


def safe_name(*names: str) -> str:
    """A file name from policies' names, different for different ones.

    Args:
        *names: Anything; what is neither letter, digit, dash, dot nor underscore becomes a dash.
    """
    parts = []
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_LONGEST_NAME]
        if safe != name or not safe:
            safe = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".lstrip("-")
        parts.append(safe)
    return "-".join(parts)


def write_page(
    comparison: Comparison,
    folder: Path,
    *,
    suite: Suite | None = None,
    results_a: Results | None = None,
    results_b: Results | None = None,
) -> Path:
    """Write ``compare.html``, one self-contained page, and its pictures as PNG files beside it.

    Args:
        comparison: What was found.
        folder: Where to; created if need be. Pictures of an earlier comparison there are removed.
        suite: The suite; None: no pictures.
        results_a: The results with policy A that were compared; needed for pictures.
        results_b: Those with policy B.

    Returns:
        The page's path.

    Raises:
        MissingExtraError: jinja2, or pygame for the pictures, is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as cause:
        raise MissingExtraError("The page", "report") from cause
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("case-*.png"):
        old.unlink()
    drawn: dict[str, list[Picture]] = {"b": [], "a": []}
    if suite is not None and results_a is not None and results_b is not None:
        for side, cases in (("b", comparison.worse_b), ("a", comparison.worse_a)):
            rows = _rows(cases, results_a, results_b)
            drawn[side] = list(_draw(comparison, cases, rows, suite, folder, side))
    environment = Environment(
        loader=PackageLoader("planararm.benchmark", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    rows_shown = shown(comparison)
    page = environment.get_template("compare.html.jinja").render(
        a=comparison.policy_a,
        b=comparison.policy_b,
        tolerance=f"{comparison.tolerance:g}",
        suite="" if suite is None else suite.name,
        verdicts=[(section.title, verdict(comparison, section)) for section in comparison.sections],
        left_out=left_out(comparison),
        tables=[
            ("Success", SUCCESS_HEADS, [success_row(one) for one in rows_shown], success_note(comparison)),
            ("Tracking error and time", ERROR_HEADS, [error_row(one) for one in rows_shown], ERROR_NOTE),
        ],
        cases=[
            (f"Where {comparison.policy_b} is worst against {comparison.policy_a}", drawn["b"]),
            (f"Where {comparison.policy_a} is worst against {comparison.policy_b}", drawn["a"]),
        ],
    )
    write_text_atomically(folder / PAGE, page)
    return folder / PAGE


def _rows(cases: tuple[Case, ...], results_a: Results, results_b: Results) -> list[tuple[Row, Row]]:
    a = results_a.rows([case.rows[0] for case in cases])
    b = results_b.rows([case.rows[1] for case in cases])
    return list(zip(a, b, strict=True))


def _draw(
    comparison: Comparison, cases: tuple[Case, ...], rows: list[tuple[Row, Row]], suite: Suite, folder: Path, side: str
) -> Iterator[Picture]:
    renderer = PygameRenderer((SIDE, SIDE))
    for number, (case, pair) in enumerate(zip(cases, rows, strict=True), start=1):
        name, task = split_task(case.task)
        group = suite.group(name)
        halves = [
            renderer.draw(snapshot(group, task, row, (f"{letter}: {policy}", _ending(outcome, error))))
            for letter, policy, row, outcome, error in zip(
                "AB", (comparison.policy_a, comparison.policy_b), pair, case.outcomes, case.errors, strict=True
            )
        ]
        path = folder / f"case-{'AB'[side == 'b']}-worse-{number}-{safe_name(case.task.replace('/', '-'))}.png"
        write_frames([np.concatenate(_present(halves), axis=1)], path)
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        yield Picture(path.name, data, describe_case(comparison, case))
    renderer.close()


def _present(halves: list[Any]) -> list[Any]:
    """Both halves with a line between them."""
    line = np.full((SIDE, 2, 3), 128, dtype=np.uint8)
    return [halves[0], line, halves[1]]


def _ending(outcome: str, error: float) -> str:
    return f"{outcome}, error {fraction(error)} of the reach"


def snapshot(group: TaskGroup, number: int, row: Row, text: tuple[str, ...] = ()) -> Snapshot:
    """The picture of a result: the answer, or the end of the motion with its trail; the start is a ghost.

    Args:
        group: The task's group.
        number: The task's number in it.
        row: The result; without an answer the arm is shown where it stayed.
        text: Lines in the corner.
    """
    scene, start = group.scene[number], group.q_start[number]
    q: FloatArray = start if row["q"] is None else np.asarray(row["q"], dtype=np.float64)
    target = group.targets[number]
    if group.kind == "ik":
        return Snapshot(scene, q, target_position=target, ghosts=start[None], text=text)
    q_path = np.atleast_2d(q)
    trail = scene.arm.end_effector(q_path)
    return Snapshot(
        scene,
        q_path[-1],
        target_position=target[-1],
        path=target,
        trail=trail,
        ghosts=start[None],
        text=text,
        time=group.dt * (len(q_path) - 1),
    )
