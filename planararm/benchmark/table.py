"""The leaderboard in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from ..errors import MissingExtraError
from ..metrics import TOLERANCES, Outcome
from .leaderboard import MET, Leaderboard, Score, Section
from .runner import Progress

ABSENT = "\N{EN DASH}"
PIPED_WIDTH = 120
"""Columns of text where the output is no terminal."""


def percent(share: float | None) -> str:
    """A share as a percentage, never rounded up to 100 nor down to 0."""
    if share is None or math.isnan(share):
        return ABSENT
    rounded = f"{100 * share:.1f}"
    if rounded == "100.0":
        return "100" if share == 1 else ">99.9"
    if rounded == "0.0":
        return "0" if share == 0 else "<0.1"
    return rounded


def interval(share: tuple[float, float]) -> str:
    """An interval of shares, in per cent."""
    return f"{percent(share[0])}{ABSENT}{percent(share[1])}" if not math.isnan(share[0]) else ABSENT


def fraction(value: float) -> str:
    """A fraction of the reach, two digits."""
    return ABSENT if math.isnan(value) else "0" if value == 0 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """A time in the unit that fits."""
    if math.isnan(seconds):
        return ABSENT
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def shown_outcomes(scores: Sequence[Score]) -> list[Outcome]:
    """The outcomes that occur in these scores, :attr:`Outcome.OK` always among them."""
    return [name for name in Outcome if name is Outcome.OK or any(s.outcomes[name] for s in scores)]


def caption(section: Section) -> str:
    """What the numbers of a section are shares of."""
    what = "paths" if section.kind == "track" else "targets"
    text = f"{section.num_tasks} {what}"
    if section.num_unreachable:
        text += (
            f"; {section.num_unreachable} proven unreachable: success and error are over the other "
            f"{section.num_tasks - section.num_unreachable}, all failures included"
        )
    return text


def make_console(*, stderr: bool = False) -> Any:
    """A console of the terminal's width, or of :data:`PIPED_WIDTH` where there is no terminal.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as cause:
        raise MissingExtraError("The table in the terminal", "cli") from cause
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPED_WIDTH)


class ProgressBars(Progress):
    """One progress bar per policy, as a context.

    Args:
        console: Where they are drawn, see :func:`make_console`.
    """

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self.num_rows = self.num_done = 0
        self._ids: dict[str, Any] = {}
        name = TextColumn("{task.description}", markup=False)
        self._bars = Bars(name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ids:
            self._bars.stop()

    def begin(self, policies: Sequence[str], num_tasks: int, num_rows: int, num_done: int) -> None:
        """Draw the bars; see :meth:`Progress.begin`."""
        self.num_rows, self.num_done = num_rows, num_done
        # Not before: an error in the command's arguments should find no half-drawn bars.
        self._bars.start()
        self._ids = {name: self._bars.add_task(name, total=num_tasks, start=False) for name in policies}

    def advance(self, policy: str, group: str, count: int) -> None:
        """Move a bar on; see :meth:`Progress.advance`."""
        self._bars.start_task(self._ids[policy])
        self._bars.advance(self._ids[policy], count)


def plain_table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """A table of text, first column to the left, whose cells are no markup."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # Text, not strings: square brackets in titles and in policies' names are no markup.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if i else "left", vertical="top", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Beside the table, not its title and caption, which would be folded to its width.
    return Group(Text(title, style="bold"), table, Text(note, style="dim italic"))


def _with_absent(section: Section, rows: list[list[str]]) -> list[list[str]]:
    width = len(rows[0]) - 1 if rows else 1
    return rows + [[policy, *[ABSENT] * width] for policy, _ in section.without]


def section_tables(section: Section) -> list[Any]:
    """Two tables of a section: success and error, then safety, speed and how the tasks ended."""
    scores, names = section.scores, shown_outcomes(section.scores)
    tracking = section.kind == "track"
    success = [f"ok @\n{tolerance:.0e}".replace("e-0", "e-") for tolerance in TOLERANCES]
    success.insert(MET + 1, "95 %\ninterval")
    first = [
        [
            s.policy,
            *(percent(rate) for rate in s.success[: MET + 1]),
            interval(s.success_interval[MET]),
            *(percent(rate) for rate in s.success[MET + 1 :]),
            *(fraction(value) for value in (s.error.rmse, s.error.median, s.error.p95, s.error.max)),
        ]
        for s in scores
    ]
    second = [
        [
            s.policy,
            *([percent(s.followed)] if tracking else []),
            percent(s.collision_rate),
            percent(s.limit_violation_rate),
            percent(s.certified),
            f"{s.largest_jump:.2f}",
            duration(s.solve_time),
            *(str(s.outcomes[name]) for name in names),
        ]
        for s in scores
    ]
    safety = [*(["followed\n%"] if tracking else []), "contact\n%", "limits\n%", "motion\nfree %", "jump\nrad", "time"]
    ended = [str(name).replace(" ", "\n") for name in names]
    reasons = "".join(f" {ABSENT} {policy}: {reason}" for policy, reason in section.without)
    return [
        plain_table(
            f"{section.title}: success [%] and tracking error [fraction of reach]",
            f"{caption(section)}. ok @x: met within x of the reach, verified, limits and margin kept.",
            ["policy", *success, "RMSE", "median", "p95", "max"],
            _with_absent(section, first),
        ),
        plain_table(
            f"{section.title}: safety, speed, and how the tasks ended",
            "contact, limits: tasks with an answer in a disc or beyond a joint limit. motion free: the straight "
            f"motion to the answer, or every command, is certified.{reasons}",
            ["policy", *safety, *ended],
            _with_absent(section, second),
        ),
    ]


def group_table(board: Leaderboard) -> Any:
    """Success at 1e-2 of the reach per group of tasks."""
    rows = [
        [policy, *(percent(None if shares is None else shares[MET]) for shares in board.by_group[policy].values())]
        for policy in board.policies
    ]
    heads = ["\n".join(dict.fromkeys([*name.split("-", 1), arm])) for name, arm in board.groups]
    note = f"{ABSENT}: the policy does not support these tasks, or has not finished them."
    return plain_table("Success within 1e-2 of the reach by group of tasks [%]", note, ["policy", *heads], rows)


def print_leaderboard(board: Leaderboard, console: Any) -> None:
    """Print the tables of the arm with the most tasks, and success per group of all of them.

    Args:
        board: The scores.
        console: A ``rich.console.Console``, see :func:`make_console`.
    """
    for section in board.sections:
        if section.arm != board.sections[0].arm:
            continue
        for table in section_tables(section):
            console.print(table)
            console.print()
    console.print(group_table(board))
