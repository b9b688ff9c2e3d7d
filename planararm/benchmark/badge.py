"""A badge with a policy's success: a picture, or the JSON that badge services draw one from."""

from __future__ import annotations

import json
import math
import re
from html import escape

from ..metrics import TOLERANCES
from .leaderboard import MET, Score, Section
from .table import interval, percent

HEIGHT = 20
PADDING = 6
"""Beside each text [px]."""

LETTER = 6.6
"""Width of a letter [px]; the text is stretched to it, so that it fits in any font."""

LABEL_COLOR = "#444"
COLORS = ((0.99, "#1b7f3b"), (0.9, "#4a7a12"), (0.75, "#7a6a00"), (0.5, "#97570a"), (0.0, "#b3261e"))
"""From which share on which colour, on which white text has a contrast of 4.5 or more."""

MOST_LETTERS = 60
_ILLEGAL = re.compile(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _label(suite: str) -> str:
    label = _ILLEGAL.sub(" ", f"planararm {suite}")
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _message(score: Score) -> str:
    return f"{percent(score.success[MET])} %"


def _color(share: float) -> str:
    return next((color for least, color in COLORS if share >= least), LABEL_COLOR)


def describe(section: Section, score: Score) -> str:
    """What the number on the badge is, in a sentence."""
    count = section.num_tasks - section.num_unreachable
    what = "paths" if section.kind == "track" else "targets"
    low_high = score.success_interval[MET]
    ends = "" if math.isnan(low_high[0]) else f" (95 % interval: {interval(low_high)} %)"
    return (
        f"{score.policy} meets {_message(score)}{ends} of {count} {what} within {TOLERANCES[MET]:g} of the reach. "
        f"{section.title}."
    )


def badge_svg(suite: str, section: Section, score: Score) -> str:
    """A small picture: the suite's name on the left, success on the right.

    Args:
        suite: Name of the suite.
        section: What was scored.
        score: The policy's score in it.
    """
    label, message = _label(suite), _message(score)
    left, right = (round(len(text) * LETTER) for text in (label, message))
    split, width = left + 2 * PADDING, left + right + 4 * PADDING
    title = escape(_ILLEGAL.sub(" ", describe(section, score)))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="r"><rect width="{width}" height="{HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{split}" height="{HEIGHT}" fill="{LABEL_COLOR}"/>
<rect x="{split}" width="{width - split}" height="{HEIGHT}" fill="{_color(score.success[MET])}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{PADDING}" y="14" textLength="{left}" lengthAdjust="spacingAndGlyphs">{escape(label)}</text>
<text x="{split + PADDING}" y="14" textLength="{right}" lengthAdjust="spacingAndGlyphs">{escape(message)}</text>
</g>
</svg>
"""


def badge_json(suite: str, section: Section, score: Score) -> str:
    """The same for a badge service, in the format of shields.io's endpoint.

    Args:
        suite: Name of the suite.
        section: What was scored.
        score: The policy's score in it.
    """
    content = {
        "schemaVersion": 1,
        "label": _label(suite),
        "message": _message(score),
        "color": _color(score.success[MET]),
    }
    return json.dumps(content) + "\n"
