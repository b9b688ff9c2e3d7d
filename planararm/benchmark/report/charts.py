"""The report's pictures as PNG, drawn by matplotlib without a display and without global state."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtraError
from ...rendering.palette import PALETTE, RGB, SERIES, mix
from ...rendering.shapes import VIEW_MARGIN, Capsule, Cross, Disc, Polyline, Shape, Snapshot, scene_shapes

DPI = 140
SCENE_SIZE = 3.6
"""Width and height of a scene's picture [inch]."""

SMALLEST_SHOWN = 1e-9
"""Errors below this fraction of the reach are drawn here: what is smaller is rounding."""

POINTS_PER_INCH = 72
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


def scene_png(snapshot: Snapshot) -> bytes:
    """An arm in its scene, the whole workspace in view.

    Args:
        snapshot: What to show.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(SCENE_SIZE, SCENE_SIZE)
    axes = figure.add_axes((0, 0, 1, 1))
    arm = snapshot.scene.arm
    half = VIEW_MARGIN * arm.reach
    axes.set_xlim(arm.base[0] - half, arm.base[0] + half)
    axes.set_ylim(arm.base[1] - half, arm.base[1] + half)
    axes.set_axis_off()
    scale = SCENE_SIZE * POINTS_PER_INCH / (2 * half)
    for order, shape in enumerate(scene_shapes(snapshot)):
        _paint(axes, shape, scale, order)
    return _png(figure)


def _paint(axes: Any, shape: Shape, scale: float, order: int) -> None:
    """Draw one shape; ``scale`` is points per metre."""
    from matplotlib.patches import Circle

    look = {"color": _color(shape.color), "alpha": shape.alpha, "zorder": order}
    stroke = {**look, "solid_capstyle": "round", "solid_joinstyle": "round"}
    if isinstance(shape, Capsule):
        (x0, y0), (x1, y1) = shape.start, shape.end
        axes.plot([x0, x1], [y0, y1], linewidth=2 * shape.radius * scale, **stroke)
    elif isinstance(shape, Disc):
        edge = shape.edge_width if shape.edge is not None else 0.0
        inner = Circle(shape.center, shape.radius - edge / 2, facecolor=look["color"], alpha=shape.alpha, zorder=order)
        inner.set_linewidth(edge * scale)
        inner.set_edgecolor(_color(shape.edge if shape.edge is not None else shape.color))
        axes.add_patch(inner)
    elif isinstance(shape, Polyline):
        dashes = {"linestyle": (0, (3, 2)), "dash_capstyle": "round"} if shape.dash > 0 else {}
        axes.plot(shape.points[:, 0], shape.points[:, 1], linewidth=shape.width * scale, **stroke, **dashes)
    elif isinstance(shape, Cross):
        x, y = shape.center
        width = shape.width * scale
        axes.plot([x - shape.size, x + shape.size], [y, y], linewidth=width, **stroke)
        axes.plot([x, x], [y - shape.size, y + shape.size], linewidth=width, **stroke)
        axes.add_patch(Circle(shape.center, 0.65 * shape.size, fill=False, linewidth=width, **look))


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


def path_errors_png(errors: Mapping[str, Any], reach: float, dt: float, tolerance: float) -> bytes:
    """Tracking error over time on a logarithmic axis, one curve per policy.

    Args:
        errors: Per policy the error after each control step ``(T,)`` [m].
        reach: Of the arm [m].
        dt: Control step [s].
        tolerance: Where the line of the suite's tolerance is drawn, fraction of the reach.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.2, 3.9)
    axes = figure.add_subplot()
    _plain_axes(axes)
    styles = itertools.cycle([(color, line) for line in LINE_STYLES for color in SERIES])
    for (name, values), (color, line) in zip(errors.items(), styles, strict=False):
        relative = np.maximum(np.asarray(values) / reach, SMALLEST_SHOWN)
        time = dt * np.arange(1, len(relative) + 1)
        axes.semilogy(time, relative, line, color=_color(color), linewidth=1.5, label=name)
    axes.axhline(tolerance, color=_color(PALETTE["text_muted"]), linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        f"tolerance {tolerance:g}",
        (1.0, tolerance),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=_color(PALETTE["text_muted"]),
    )
    axes.set_ylim(0.5 * SMALLEST_SHOWN, 3)
    axes.set_xlabel("time [s]", fontsize=9, color=_color(PALETTE["text"]))
    axes.set_ylabel("error [fraction of reach]", fontsize=9, color=_color(PALETTE["text"]))
    axes.grid(color=_color(PALETTE["workspace_edge"]), linewidth=0.5)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8.5)
    figure.tight_layout()
    return _png(figure)
