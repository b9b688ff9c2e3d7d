"""What the lecture's examples share: their command line, tables and pictures."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from planararm.errors import InvalidInputError, MissingExtraError, PlanarArmError
from planararm.rendering.palette import PALETTE, RGB, SERIES
from planararm.rendering.recording import replacing

DPI = 100
LECTURE_SEED = 48
"""The seed that the lecture's code sets."""

Result = TypeVar("Result")


def color(rgb: RGB) -> tuple[float, float, float]:
    """A colour as matplotlib takes it."""
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255


COLORS = tuple(color(rgb) for rgb in SERIES)
"""Colours of curves in order of use; people with any common colour vision tell them apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers in order of use, so that no curve is told by its colour alone."""


def parser(description: str, seed: int = LECTURE_SEED) -> argparse.ArgumentParser:
    """The command line that every example has.

    Args:
        description: What the example shows; the first thing that ``--help`` prints.
        seed: Default seed.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path("runs/lecture"), help="folder of the pictures; %(default)s")
    made.add_argument("--seed", type=int, default=seed, help="of everything that is drawn; default %(default)s")
    return made


def answer(made: argparse.ArgumentParser, given: argparse.Namespace, run: Callable[[], Result]) -> Result:
    """Run an example; what goes wrong for a reason that the user can change ends with one clear line.

    Args:
        made: The command line's parser.
        given: What it read.
        run: The example.
    """
    try:
        if given.seed < 0:
            raise InvalidInputError(f"--seed must be >= 0, got {given.seed}.")
        given.out.mkdir(parents=True, exist_ok=True)
        return run()
    except (PlanarArmError, OSError) as error:
        made.error(str(error))


def figure_of(num_rows: int, num_columns: int, size: tuple[float, float], **ratios: Any) -> tuple[Any, Any]:
    """A figure that no window manager knows of, and its axes as a grid.

    Args:
        num_rows: Rows of axes.
        num_columns: Columns of axes.
        size: Width and height [inch].
        ratios: ``width_ratios``, ``height_ratios``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingExtraError("The lecture's pictures", "report") from cause
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False, gridspec_kw=ratios)
    for axes in grid.ravel():
        axes.tick_params(labelsize=8.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=color(PALETTE["panel_edge"]), linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, grid


def label(axes: Any, title: str, x: str, y: str) -> None:
    """Title and axis labels in the lecture's sizes."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)


def save(figure: Any, out: Path, name: str) -> Path:
    """Write a picture of 256 colours; the file appears when it is complete and depends on nothing but the figure.

    Args:
        figure: A matplotlib figure.
        out: Folder.
        name: Name without suffix.
    """
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path = out / f"{name}.png"
    with replacing(path) as temporary:
        Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(temporary, optimize=True)
    return path


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns of text, the first flushed left, the others right.

    Args:
        header: Names of the columns.
        rows: Cells; numbers are written as they are.
    """
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
