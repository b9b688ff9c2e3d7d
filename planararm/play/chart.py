"""A strip chart of the tracking error, as plain shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from ..rendering.palette import PALETTE, SERIES, mix
from ..rendering.shapes import Box, Label, Point, Polyline, Shape
from .records import Sample

DECADES = (-4, 0)
"""Lowest and highest power of ten that the chart shows; what is lower is drawn at the bottom."""

LABEL_HEIGHT = 17.0
MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP = 44.0, 30.0, 28.0
CONTACT_HEIGHT = 5.0
TICKS = {-4: "0.01 %", -3: "0.1 %", -2: "1 %", -1: "10 %", 0: "100 %"}


def strip_chart(lower: Point, upper: Point, history: Sequence[Sample], num_slots: int, seconds: float) -> list[Shape]:
    """The error over time on a logarithmic axis, the present at the right, in the colour of the policy in charge.

    Marks along the bottom show where a disc stopped the arm.

    Args:
        lower: Lower left corner [px].
        upper: Upper right corner [px].
        history: Samples, oldest first.
        num_slots: Number of samples that fill the width.
        seconds: Time that the width stands for [s].
    """
    left, bottom = lower[0] + MARGIN_LEFT, lower[1] + MARGIN_BOTTOM
    right, top = upper[0], upper[1] - MARGIN_TOP
    muted = PALETTE["text_muted"]
    shapes: list[Shape] = [
        Label("Tracking error / reach", (lower[0], upper[1]), 20.0, PALETTE["text"], "chart_title"),
        Box((left, bottom), (right, top), PALETTE["background"], "chart", edge=PALETTE["panel_edge"]),
    ]
    for decade, text in TICKS.items():
        level = _height(10.0**decade, bottom, top)
        if DECADES[0] < decade < DECADES[1]:
            grid = np.array([[left, level], [right, level]])
            shapes.append(Polyline(grid, 1.0, mix(PALETTE["panel_edge"], PALETTE["background"], 0.3), "grid"))
        shapes.append(Label(text, (left - 6, level + LABEL_HEIGHT * 0.36), LABEL_HEIGHT, muted, "tick", align="right"))
    below = bottom - 9
    shapes.append(Label(f"{seconds:g} s ago", (left, below), LABEL_HEIGHT, muted, "tick"))
    shapes.append(Label("now", (right, below), LABEL_HEIGHT, muted, "tick", align="right"))
    if not history:
        return shapes
    x = right - (len(history) - 1 - np.arange(len(history))) * (right - left) / max(num_slots - 1, 1)
    y = np.array([_height(sample.error, bottom + 2, top - 2) for sample in history])
    for policy, first, last in _runs(sample.policy for sample in history):
        # A run starts where the one before it ended, so that the line has no gaps.
        points = np.stack([x, y], axis=-1)[max(first - 1, 0) : last]
        shapes.append(Polyline(points, 2.2, policy_color(policy), "error"))
    for contact, first, last in _runs(sample.contact for sample in history):
        if contact:
            mark = (float(x[last - 1]) + 1.5, bottom - 2)
            shapes.append(
                Box((float(x[first]) - 1.5, bottom - 2 - CONTACT_HEIGHT), mark, PALETTE["link_danger"], "contact")
            )
    return shapes


def policy_color(index: int) -> tuple[int, int, int]:
    """The colour of the policy of that number."""
    return SERIES[index % len(SERIES)]


def _height(error: float, bottom: float, top: float) -> float:
    low, high = DECADES
    level = np.clip((np.log10(max(error, 1e-300)) - low) / (high - low), 0.0, 1.0)
    return float(bottom + level * (top - bottom))


def _runs(values: Iterable[int]) -> list[tuple[int, int, int]]:
    """Runs of equal values: value, first index, index after the last."""
    runs, start = [], 0
    for value, group in itertools.groupby(values):
        length = sum(1 for _ in group)
        runs.append((value, start, start + length))
        start += length
    return runs
