"""The report's pictures as PNG, drawn by matplotlib without a display and without global state."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtraError
from ...rendering.palette import PALETTE, RGB, SERIES, mix

DPI = 140
LEGEND_COLUMNS = 3
LINE_STYLES = ("-", "--", ":", "-.")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingExtraError("The report's pictures", "report") from cause
    return Figure(figsize=(width, height), dpi=DPI, facecolor=_color(PALETTE["background"]))


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Without matplotlib's version in it, the same picture is the same file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _color(rgb: RGB) -> tuple[float, float, float]:
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255


def _plain_axes(axes: Any) -> None:
    axes.set_facecolor(_color(PALETTE["background"]))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_color(PALETTE["text_muted"]))
    axes.tick_params(colors=_color(PALETTE["text"]), labelsize=9)


def success_png(success: Mapping[str, Sequence[float]], tolerances: Sequence[float]) -> bytes:
    """Bars of the success at every tolerance, one group per policy.

    Args:
        success: Per policy, best first, the shares at the tolerances; NaN draws nothing.
        tolerances: Fractions of the reach.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count, bars = len(success), len(tolerances)
    figure = _figure(7.2, 1.4 + 0.5 * count)
    axes = figure.add_subplot()
    _plain_axes(axes)
    rows = np.arange(count)
    width = 0.8 / bars
    for i, tolerance in enumerate(tolerances):
        values = [100 * rates[i] for rates in success.values()]
        shade = mix(SERIES[0], PALETTE["background"], 0.72 * (bars - 1 - i) / max(bars - 1, 1))
        places = rows - 0.4 + (i + 0.5) * width
        axes.barh(places, values, height=0.92 * width, color=_color(shade), label=f"{tolerance:g}")
    axes.set_yticks(rows, list(success))
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("tasks met [%]", fontsize=9, color=_color(PALETTE["text"]))
    axes.grid(axis="x", color=_color(PALETTE["workspace_edge"]), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        title="within this fraction of the reach",
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=bars,
        frameon=False,
        fontsize=8.5,
        title_fontsize=8.5,
        alignment="left",
        borderaxespad=0.2,
    )
    figure.tight_layout()
    return _png(figure)


def distribution_png(curves: Mapping[str, Any], errors: Any) -> bytes:
    """Share of tasks met within each error on a logarithmic axis, one curve per policy.

    Args:
        curves: Per policy the shares at ``errors``.
        errors: ``(E,)`` fractions of the reach.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.2, 3.9 + 0.18 * math.ceil(len(curves) / LEGEND_COLUMNS))
    axes = figure.add_subplot()
    _plain_axes(axes)
    styles = itertools.cycle([(color, line) for line in LINE_STYLES for color in SERIES])
    for (name, shares), (color, line) in zip(curves.items(), styles, strict=False):
        axes.semilogx(errors, 100 * np.asarray(shares), line, color=_color(color), linewidth=1.5, label=name)
    axes.set_ylim(0, 102)
    axes.set_xlim(errors[0], errors[-1])
    axes.set_xlabel("error [fraction of reach]", fontsize=9, color=_color(PALETTE["text"]))
    axes.set_ylabel("tasks met within this error [%]", fontsize=9, color=_color(PALETTE["text"]))
    axes.grid(color=_color(PALETTE["workspace_edge"]), linewidth=0.5)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=LEGEND_COLUMNS, frameon=False, fontsize=8.5)
    figure.tight_layout()
    return _png(figure)
