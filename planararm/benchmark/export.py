"""Results for spreadsheets, READMEs and badges: CSV of the rows or of the leaderboard, a Markdown table, SVG, JSON.

What is exported follows from the file's name: ``.md`` is the leaderboard, ``.svg`` and ``.json`` a badge, ``.csv`` the
leaderboard if ``leaderboard`` is in its name and else the rows. Rows are read and written one by one.

Names of policies and what they raised are other people's text. In a CSV file text that a spreadsheet would take for a
formula has an apostrophe in front (so has text that begins with one: :func:`unguarded` gives every text back); in
Markdown it is code, in which nothing is a link, a mention or markup.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, InvalidInputError, UnknownNameError
from ..metrics import TOLERANCES, ErrorSummary, Outcome
from ..rendering.recording import replacing
from .badge import badge_json, badge_svg
from .frame import LONG, scan
from .leaderboard import MET, Leaderboard, Score, Section, build_leaderboard
from .results import RESULTS, read_manifest, read_results
from .scoring import COLUMNS
from .table import ABSENT, caption, duration, fraction, interval, percent

ROWS, LEADERBOARD, BADGE = "rows", "leaderboard", "badge"
KINDS = {".csv": (ROWS, LEADERBOARD), ".md": (LEADERBOARD,), ".svg": (BADGE,), ".json": (BADGE,)}
"""What a file of each suffix can hold."""

FORMULA_STARTS = "=+-@\t\r\n'\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}" + (
    "\N{FULLWIDTH COMMERCIAL AT}"
)
"""Text that begins so is guarded: spreadsheets take it for a formula (and the guard itself, to tell them apart)."""

Cell = str | int | float | bool | list[Any] | None


def export(
    folders: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    what: str | None = None,
    policy: str | None = None,
    with_q: bool = True,
) -> Path:
    """Write the results of runs to a file; it appears when it is complete, in place of what was there.

    Args:
        folders: Folders with results.
        path: The file; its suffix decides the format.
        what: ``"rows"``, ``"leaderboard"`` or ``"badge"``; default: by the file's name.
        policy: Whose badge it is; default: the only policy of the run.
        with_q: Whether rows have the columns of joint angles, as JSON.

    Returns:
        The file's path.

    Raises:
        InvalidInputError: Another suffix, something that such a file cannot hold, no such folder to write to, a badge
            of several runs or of none of several policies.
        FileFormatError: A folder without results, or results that cannot be read.
        UnknownNameError: No such policy.
    """
    path = Path(path)
    several = [Path(one) for one in ([folders] if isinstance(folders, str | os.PathLike) else folders)]
    what = _what(path, what)
    if not several:
        raise InvalidInputError("There is nothing to export; name at least one folder with results.")
    if not path.parent.is_dir():
        raise InvalidInputError(f"Cannot write {path.name!r}: there is no folder {str(path.parent)!r}.")
    if what == ROWS:
        _write_csv(path, ["run", *_row_columns(with_q)], _rows(several, _row_columns(with_q)))
    elif what == BADGE:
        _write_text(path, _badge(several, policy, badge_json if path.suffix.lower() == ".json" else badge_svg))
    else:
        boards = [_board(folder) for folder in several]
        if path.suffix.lower() == ".csv":
            _write_csv(path, list(LEADERBOARD_COLUMNS), _leaderboard_rows(boards))
        else:
            _write_text(path, "\n".join(markdown(suite, board) for _, suite, board in boards))
    return path


def _what(path: Path, what: str | None) -> str:
    suffix = path.suffix.lower()
    if suffix not in KINDS:
        raise InvalidInputError(f"Cannot export to {path.name!r}: the suffix must be one of {', '.join(KINDS)}.")
    if what is None:
        return LEADERBOARD if suffix == ".csv" and LEADERBOARD in path.stem.lower() else KINDS[suffix][0]
    if what not in (ROWS, LEADERBOARD, BADGE):
        raise UnknownNameError("thing to export", what, (ROWS, LEADERBOARD, BADGE))
    if what not in KINDS[suffix]:
        fitting = ", ".join(name for name, held in KINDS.items() if what in held)
        raise InvalidInputError(f"Cannot export the {what} to {path.name!r}: the suffix must be {fitting}.")
    return what


def guarded(text: str) -> str:
    """Text for a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(tuple(FORMULA_STARTS)) else text


def unguarded(text: str) -> str:
    """The text that was :func:`guarded`."""
    return text.removeprefix("'")


def _cell(value: Cell) -> str | int | float:
    """A value as CSV has it: empty for none, ``true`` and ``false``, JSON of lists."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, bool | list):
        return json.dumps(value, separators=(",", ":"))
    return value


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Cell]]) -> None:
    """RFC 4180: commas, CRLF, quotes where needed; UTF-8."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _row_columns(with_q: bool) -> list[str]:
    return [name for name in COLUMNS if with_q or name not in LONG]


def _rows(folders: Sequence[Path], columns: Sequence[str]) -> Iterator[list[Cell]]:
    for folder in folders:
        read_manifest(folder)
        count = 0
        if (folder / RESULTS).exists():
            for _, row in scan(folder / RESULTS):
                yield [folder.name, *(row[name] for name in columns)]
                count += 1
        if not count:
            raise FileFormatError(f"{os.fspath(folder)!r} holds no result rows yet; run `planararm bench` first.")


def _board(folder: Path) -> tuple[str, str, Leaderboard]:
    """Name of the folder and of its suite, and the leaderboard."""
    manifest = read_manifest(folder)
    results = read_results(folder)
    if not len(results):
        raise FileFormatError(f"{os.fspath(folder)!r} holds no result rows yet; run `planararm bench` first.")
    return folder.name, str(manifest["suite"]), build_leaderboard(results, manifest["groups"])


def _tolerance(tolerance: float) -> str:
    return f"{tolerance:.0e}".replace("e-0", "e-")


def _success_cells(one: Score) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for tolerance, share, (low, high) in zip(TOLERANCES, one.success, one.success_interval, strict=True):
        name = f"success_{_tolerance(tolerance)}"
        cells |= {name: share, f"{name}_low": low, f"{name}_high": high}
    return cells


_PLAIN = (
    "collision_rate",
    "limit_violation_rate",
    "certified",
    "largest_jump",
    "followed",
    "solve_time",
    "solve_time_p95",
    "latency",
    "latency_p95",
    "false_claims",
    "honesty",
)

LEADERBOARD_COLUMNS = (
    *("run", "suite", "kind", "arm", "policy", "num_tasks", "num_unreachable", "num_rows"),
    *(f"success_{_tolerance(tolerance)}{end}" for tolerance in TOLERANCES for end in ("", "_low", "_high")),
    *(f"error_{name}" for name in ErrorSummary._fields),
    *_PLAIN,
    *(f"outcome_{str(name).replace(' ', '_')}" for name in Outcome),
    "note",
)
"""Columns of the leaderboard: fields of :class:`planararm.benchmark.leaderboard.Score`, times in seconds."""


def _score_cells(one: Score) -> dict[str, Cell]:
    return {
        "policy": one.policy,
        "num_rows": one.num_rows,
        **_success_cells(one),
        **{f"error_{name}": value for name, value in one.error._asdict().items()},
        **{name: getattr(one, name) for name in _PLAIN},
        **{f"outcome_{str(name).replace(' ', '_')}": one.outcomes[name] for name in Outcome},
    }


def _leaderboard_rows(boards: Iterable[tuple[str, str, Leaderboard]]) -> Iterator[list[Cell]]:
    """One row per run, section and policy; policies without a score say why."""
    for run, suite, board in boards:
        for section in board.sections:
            head: dict[str, Cell] = {
                "run": run,
                "suite": suite,
                "kind": section.kind,
                "arm": section.arm,
                "num_tasks": section.num_tasks,
                "num_unreachable": section.num_unreachable,
            }
            for one in section.scores:
                cells = head | _score_cells(one)
                yield [cells.get(name) for name in LEADERBOARD_COLUMNS]
            for policy, reason in section.without:
                cells = head | {"policy": policy, "note": reason}
                yield [cells.get(name) for name in LEADERBOARD_COLUMNS]


def code(text: str, *, in_table: bool = False) -> str:
    """Text as code of Markdown, whatever is in it.

    More backticks around than within; line breaks become spaces.

    Args:
        text: Anything.
        in_table: Escape pipes, which would end the cell.
    """
    line = " ".join(text.split())
    if not line:
        return ABSENT
    ticks = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    space = " " if "`" in (line[0], line[-1]) else ""
    span = f"{ticks}{space}{line}{space}{ticks}"
    return span.replace("|", r"\|") if in_table else span


def _markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _markdown_row(one: Score, tracking: bool) -> list[str]:
    success = [percent(share) for share in one.success]
    success[MET] += f" ({interval(one.success_interval[MET])})"
    errors = (one.error.rmse, one.error.median, one.error.p95, one.error.p98, one.error.max)
    return [
        code(one.policy, in_table=True),
        *success,
        *(fraction(value) for value in errors),
        percent(one.collision_rate),
        percent(one.certified),
        *([percent(one.followed)] if tracking else []),
        duration(one.solve_time),
    ]


def _markdown_section(section: Section) -> list[str]:
    tracking = section.kind == "track"
    heads = [
        "policy",
        *(f"ok @ {_tolerance(tolerance)}" + " (95 %)" * (i == MET) for i, tolerance in enumerate(TOLERANCES)),
        *("RMSE", "median", "p95", "p98", "max", "contact", "motion free"),
        *(["followed"] if tracking else []),
        "time",
    ]
    rows = [_markdown_row(one, tracking) for one in section.scores]
    rows += [[code(policy, in_table=True), *[ABSENT] * (len(heads) - 1)] for policy, _ in section.without]
    reasons = [f"- {code(policy)}: {code(reason)}" for policy, reason in section.without]
    return [*_markdown_table(heads, rows), "", f"{caption(section)}.", "", *reasons, *([""] if reasons else [])]


def markdown(suite: str, board: Leaderboard) -> str:
    """The leaderboard as Markdown tables, one per section.

    Args:
        suite: Name of the suite.
        board: The scores.
    """
    lines = [f"## {code(suite)}", ""]
    for section in board.sections:
        lines += [f"### {code(section.title)}", "", *_markdown_section(section)]
    lines.append(
        "ok @ x: share of tasks met within x of the reach, verified, limits and margin kept [%]. Errors are fractions "
        "of the reach, over all tasks that are not proven unreachable, failures included."
    )
    return "\n".join(lines) + "\n"


def _badge(folders: Sequence[Path], policy: str | None, draw: Callable[[str, Section, Score], str]) -> str:
    """A badge of the suite's first section."""
    if len(folders) != 1:
        raise InvalidInputError(f"A badge is of one run, got {len(folders)} folders.")
    _, suite, board = _board(folders[0])
    section = board.sections[0]
    if policy is None and len(board.policies) > 1:
        raise InvalidInputError(f"Whose badge? Name one policy: {', '.join(board.policies)}.")
    name = policy or board.policies[0]
    for one in section.scores:
        if one.policy == name:
            return draw(suite, section, one)
    reasons = dict(section.without)
    if name in reasons:
        raise InvalidInputError(f"{name!r} has no score in {suite!r} ({section.title}): {reasons[name]}.")
    raise UnknownNameError("policy in the results", name, board.policies)
