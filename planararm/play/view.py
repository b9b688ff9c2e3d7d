"""From the model to what the window shows: a snapshot of the arm, and a panel of plain shapes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from ..rendering.palette import PALETTE, RGB, mix
from ..rendering.shapes import Box, Disc, Label, Polyline, Shape, Snapshot
from .chart import policy_color, strip_chart
from .controller import KEYS_HELP
from .layout import MESSAGE_STRIP, Layout
from .model import PlayModel
from .records import HISTORY_SECONDS

PADDING = 18.0
TEXT, SMALL, HEADING = 20.0, 17.0, 26.0
ROW = 22.0
CHARACTER = 0.34
"""Mean width of a character, as a part of the text's height."""

MAX_ROWS = 9
NEAR = 0.02
"""An answer is drawn if a joint of it differs by more from where the arm is [rad]."""


def snapshot(model: PlayModel) -> Snapshot:
    """The arm among the discs."""
    trail = np.array(model.records.trail).reshape(-1, 2)
    return Snapshot(model.scene, model.q, model.target, trail=trail)


def overlay(model: PlayModel, layout: Layout, *, help_shown: bool = False) -> list[Shape]:
    """Everything that is drawn on top of the arm, in pixels from the bottom left corner.

    Args:
        model: The model.
        layout: Where things are in the window.
        help_shown: Whether to show the help box.
    """
    return [
        *_answer(model, layout),
        *_message(model, layout),
        *_panel(model, layout),
        *(_help(layout) if help_shown else ()),
    ]


def wrapped(text: str, width: float, height: float, max_lines: int) -> list[str]:
    """Text in lines that fit a width [px] at a height [px]; what is left over becomes "..."."""
    columns = max(8, int(width / (CHARACTER * height)))
    return textwrap.wrap(text, columns, max_lines=max_lines, placeholder=" ...")


def _answer(model: PlayModel, layout: Layout) -> list[Shape]:
    """The configuration that the policy wants, dashed, while the arm is not there."""
    answer = model.answer
    if answer is None or answer.q is None or np.abs(answer.q - model.q).max() < NEAR:
        return []
    points = layout.view(model.scene).to_pixels(model.scene.arm.forward_kinematics(answer.q))
    points[:, 1] = layout.size[1] - points[:, 1]
    return [Polyline(points, 2.0, PALETTE["ghost"], "answer", dash=6.0)]


def _message(model: PlayModel, layout: Layout) -> list[Shape]:
    width = layout.world_size[0]
    if not model.message:
        hint = "H: help    right click: add or remove a disc    Tab: next policy    N: next scene"
        return [Label(hint, (PADDING, MESSAGE_STRIP - 9.0), SMALL, PALETTE["text_muted"], "hint")]
    lines = wrapped(model.message, width - 4 * PADDING, TEXT, 3)
    color = PALETTE["text_alert"] if model.alert else PALETTE["text"]
    top = 10.0 + ROW * len(lines) + 8.0
    box = Box((PADDING / 2, 6.0), (width - PADDING / 2, top), PALETTE["panel"], "message_box", 6.0, color)
    return [box, *_lines(lines, PADDING, top - 9.0, TEXT, ROW, color, "message")]


def _lines(lines: Sequence[str], x: float, top: float, height: float, row: float, color: RGB, role: str) -> list[Shape]:
    return [Label(line, (x, top - i * row), height, color, role) for i, line in enumerate(lines)]


def _panel(model: PlayModel, layout: Layout) -> list[Shape]:
    width, height = layout.size
    edge = width - layout.panel
    left, right, top = edge + PADDING, width - PADDING, height - PADDING
    shapes: list[Shape] = [
        Box((edge, 0.0), (width, height), PALETTE["panel"], "panel"),
        Polyline(np.array([[edge, 0.0], [edge, height]]), 1.0, PALETTE["panel_edge"], "panel_edge"),
        Label(model.scene_name, (left, top), HEADING, PALETTE["text"], "scene"),
        Label(
            f"joints: {model.scene.arm.num_joints}    discs: {model.scene.obstacles.num_obstacles}",
            (left, top - 27), SMALL, PALETTE["text_muted"], "scene_about",
        ),
    ]  # fmt: skip
    top -= 64
    shapes.append(Label("Policies", (left, top), TEXT, PALETTE["text"], "heading"))
    policies, top = _policies(model, left, right, top - 26)
    shapes += policies
    readouts, top = _readouts(model, left, right, top - 16)
    shapes += readouts
    records = model.records
    return shapes + strip_chart((left, PADDING), (right, top - 18), records.history, records.fill, HISTORY_SECONDS)


def _policies(model: PlayModel, left: float, right: float, top: float) -> tuple[list[Shape], float]:
    """The names, numbered and in the colours of the chart; a window on them if there are many."""
    names = model.solvers.names
    first = min(max(0, model.policy_index - MAX_ROWS // 2), max(0, len(names) - MAX_ROWS))
    shapes: list[Shape] = []
    for index in range(first, min(first + MAX_ROWS, len(names))):
        chosen, color = index == model.policy_index, policy_color(index)
        middle = top - 7.0
        if chosen:
            tint = mix(PALETTE["panel"], color, 0.14)
            shapes.append(Box((left - 8, middle - 11), (right + 8, middle + 11), tint, "chosen", 5.0))
        shapes.append(Disc((left + 6, middle), 5.0, color, "swatch"))
        key = f"{index + 1}" if index < 9 else ""
        shapes.append(Label(key, (left + 20, top), TEXT, PALETTE["text_muted"], "policy_key"))
        name = wrapped(names[index], right - left - 40, TEXT, 1)[0]
        shade = PALETTE["text"] if chosen else PALETTE["text_muted"]
        shapes.append(Label(name, (left + 38, top), TEXT, shade, "policy"))
        top -= 24.0
    return shapes, top


def _readouts(model: PlayModel, left: float, right: float, top: float) -> tuple[list[Shape], float]:
    reach, alert = model.scene.arm.reach, PALETTE["text_alert"]
    failed = model.answer is not None and model.answer.q is None
    near = model.clearance < model.scene.safety_margin
    seconds = model.records.solve_time
    rows = (
        ("Status", model.status, failed or model.contact),
        ("Tracking error", f"{_number(model.tracking_error)} m  ({_percent(model.tracking_error / reach)})", False),
        ("Clearance", f"{model.clearance:.3f} m" if np.isfinite(model.clearance) else "no discs", near),
        ("Solve time", "-" if seconds is None else f"{_number(1e3 * seconds)} ms", False),
    )
    shapes: list[Shape] = []
    for name, value, bad in rows:
        shapes.append(Label(name, (left, top), TEXT, PALETTE["text_muted"], "readout_name"))
        color = alert if bad else PALETTE["text"]
        shapes.append(Label(value, (right, top), TEXT, color, "readout", align="right"))
        top -= 24.0
    return shapes, top


def _number(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3f}" if value < 10 else f"{value:.0f}"


def _percent(share: float) -> str:
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _help(layout: Layout) -> list[Shape]:
    width, height = layout.world_size
    rows = len(KEYS_HELP)
    middle_x, middle_y = width / 2, layout.size[1] - height / 2
    half_width, half_height = 270.0, (rows * 25.0 + 60.0) / 2
    left, top = middle_x - half_width + 24, middle_y + half_height - 18
    shapes: list[Shape] = [
        Box(
            (middle_x - half_width, middle_y - half_height), (middle_x + half_width, middle_y + half_height),
            PALETTE["panel"], "help_box", 10.0, PALETTE["text_muted"],
        ),
        Label("Mouse and keys", (left, top), HEADING, PALETTE["text"], "help_title"),
    ]  # fmt: skip
    for i, (keys, effect) in enumerate(KEYS_HELP):
        y = top - 34 - 25.0 * i
        shapes.append(Label(keys, (left, y), TEXT, PALETTE["text"], "help"))
        shapes.append(Label(effect, (left + 200, y), TEXT, PALETTE["text_muted"], "help"))
    return shapes
