"""What a training run shows in a terminal, and what it prints where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from .checkpoint import Row
from .run import Progress

QUIET = 30.0
"""Seconds after which a line is printed though nothing was validated."""


ABSENT = "\N{EN DASH}"


def _short(value: float) -> str:
    """As many digits as leave room for the bar in 80 columns."""
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """A time as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class PlainProgress(Progress):
    """One line on stderr per validation, and at least every :data:`QUIET` seconds; as a context.

    Attributes:
        step: The last step that was taken.
    """

    def __init__(self) -> None:
        self.step, self.score = 0, ""
        self._first = self._num_steps = 0
        self._began = self._told = time.monotonic()
        self._loss = float("nan")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def begin(self, step: int, num_steps: int, seconds: float, best: float | None = None) -> None:
        """See :meth:`Progress.begin`."""
        self.step = self._first = step
        self._num_steps, self._began, self._told = num_steps, time.monotonic(), time.monotonic()
        if step:
            self._say(f"going on at step {step} of {num_steps}, after {duration(seconds)}")

    def stepped(self, step: int, num_steps: int, loss: float) -> None:
        """See :meth:`Progress.stepped`."""
        self.step, self._num_steps, self._loss = step, num_steps, loss
        if time.monotonic() - self._told >= QUIET:
            self._line(loss, "")

    def validated(self, row: Row, is_best: bool) -> None:
        """See :meth:`Progress.validated`."""
        self._line(row["loss"], f"  score {row['score']:.4g}{' (best)' if is_best else ''}")

    def _line(self, loss: float, score: str) -> None:
        speed = (self.step - self._first) / max(time.monotonic() - self._began, 1e-9)
        left = duration((self._num_steps - self.step) / speed)
        self._say(f"step {self.step}/{self._num_steps}  loss {loss:.4g}{score}  {speed:.3g} steps/s  {left} left")

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, file=sys.stderr, flush=True)


class BarProgress(PlainProgress):
    """A bar with the loss, the last and the best score, the speed and the time left.

    Args:
        console: A ``rich.console.Console``.
    """

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        super().__init__()
        told = TextColumn("loss {task.fields[loss]}  score {task.fields[score]}  {task.fields[speed]}", markup=False)

        # In a narrow terminal the bar is what gets shorter.
        def whole() -> Column:
            return Column(no_wrap=True)

        count, left = MofNCompleteColumn(table_column=whole()), TimeRemainingColumn(table_column=whole())
        self._bars = Bars(BarColumn(), count, told, left, console=console)
        self._task: Any = None
        self._best = ""

    def __exit__(self, *exception: object) -> None:
        if self._task is not None:
            self._bars.stop()

    def begin(self, step: int, num_steps: int, seconds: float, best: float | None = None) -> None:
        """Draw the bar; see :meth:`Progress.begin`."""
        self.step = self._first = step
        self._began = time.monotonic()
        # Not before: an error in the command's arguments should find no half-drawn bar.
        self._bars.start()
        self._best = "" if best is None else _short(best)
        score = f"(best {self._best})" if self._best else ABSENT
        self._task = self._bars.add_task("", total=num_steps, completed=step, loss=ABSENT, score=score, speed="")

    def stepped(self, step: int, num_steps: int, loss: float) -> None:
        """Move the bar; see :meth:`Progress.stepped`."""
        self.step = step
        speed = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        self._bars.update(self._task, completed=step, total=num_steps, loss=_short(loss), speed=f"{speed:.3g} steps/s")

    def validated(self, row: Row, is_best: bool) -> None:
        """Show the score; see :meth:`Progress.validated`."""
        score = _short(row["score"])
        self._best = score if is_best else self._best
        self._bars.update(self._task, score=score if is_best else f"{score} (best {self._best})")


def make_progress() -> PlainProgress:
    """A bar where stderr is a terminal and rich is installed, else lines."""
    try:
        from rich.console import Console
    except ImportError:
        return PlainProgress()
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else PlainProgress()
