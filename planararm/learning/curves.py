"""The learning curve of a run as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ..policies.pretrained import write_atomically

FIGURE_SIZE = (8.0, 3.4)
"""Width and height [inch]."""
DPI = 140


def draw_learning_curve(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw loss and validation over the steps, both with a logarithmic scale.

    Args:
        history: Rows with ``step`` and ``loss``; some with ``score`` and other numbers of the validation.
        path: The PNG file; written completely or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingExtraError("The learning curve", "report") from cause
    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, history, ["loss"], "Training: loss")
    validated = [row for row in history if "score" in row]
    others = sorted({name for row in validated for name in row} - {"step", "loss", "lr", "seconds", "score"})
    _draw(right, validated, ["score", *others], "Validation: lower is better")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    write_atomically(path, image.getvalue())
    return path


def _draw(axes: Any, rows: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> None:
    # A logarithm knows no zeros and no negative numbers: these curves have gaps there, or are drawn without one.
    drawn = [row[name] for row in rows for name in names if name in row]
    scale = "log" if drawn and max(drawn) > 0 else "linear"
    for name in names:
        there = [row for row in rows if name in row and (scale == "linear" or row[name] > 0)]
        marker = "o" if len(there) < 40 and name != "loss" else None
        axes.plot(
            [row["step"] for row in there],
            [row[name] for row in there],
            label=name,
            linewidth=1.8 if name in ("loss", "score") else 0.9,
            marker=marker,
            markersize=3,
        )
    axes.set_yscale(scale)
    axes.set_xlabel("step")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if len(names) > 1:
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
