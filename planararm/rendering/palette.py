"""The colours, by role, in one place.

Based on the Okabe-Ito set, which people with any common colour vision tell apart
(Okabe & Ito, 2002, https://jfly.uni-koeln.de/color/): blue for the arm, bluish green for what it should do,
reddish purple for what it did, orange to vermilion for danger.
"""

from __future__ import annotations

from types import MappingProxyType

RGB = tuple[int, int, int]
"""Red, green and blue in 0..255."""

PALETTE = MappingProxyType(
    {
        "background": (252, 252, 250),
        "workspace": (241, 245, 248),
        "workspace_edge": (203, 213, 222),
        "obstacle": (96, 108, 122),
        "obstacle_edge": (62, 72, 84),
        "obstacle_active": (66, 122, 161),
        "shuttle": (162, 171, 181),
        "link": (0, 98, 166),
        "link_caution": (236, 152, 18),
        "link_danger": (205, 52, 18),
        "joint": (255, 255, 255),
        "joint_edge": (36, 46, 58),
        "base": (36, 46, 58),
        "ghost": (86, 150, 200),
        "target": (0, 140, 100),
        "path": (118, 196, 168),
        "trail": (170, 68, 138),
        "text": (36, 46, 58),
        "text_muted": (104, 116, 130),
        "text_alert": (176, 40, 12),
        "panel": (255, 255, 255),
        "panel_edge": (218, 225, 232),
    }
)
"""Colour of every role that the pictures use."""

SERIES: tuple[RGB, ...] = (
    (0, 98, 166),
    (213, 94, 0),
    (0, 140, 100),
    (170, 68, 138),
    (230, 159, 0),
    (70, 166, 220),
    (96, 108, 122),
    (120, 94, 46),
)
"""Colours of the curves and bars of a plot, in order of use."""


def mix(first: RGB, second: RGB, weight: float) -> RGB:
    """``(1 - weight) first + weight second``, rounded.

    Args:
        first: Colour at weight 0.
        second: Colour at weight 1.
        weight: In [0, 1].
    """
    red, green, blue = (round((1 - weight) * a + weight * b) for a, b in zip(first, second, strict=True))
    return red, green, blue


def clearance_color(clearance: float, safety_margin: float, comfort: float) -> RGB:
    """Colour of a link by its distance to the nearest disc, continuous.

    Danger at ``clearance <= safety_margin``, caution half-way, normal from ``safety_margin + comfort`` on.

    Args:
        clearance: [m], inf without discs.
        safety_margin: [m].
        comfort: Distance over which the colour changes [m], > 0.
    """
    ease = min(max((clearance - safety_margin) / comfort, 0.0), 1.0)
    if ease < 0.5:
        return mix(PALETTE["link_danger"], PALETTE["link_caution"], 2 * ease)
    return mix(PALETTE["link_caution"], PALETTE["link"], 2 * ease - 1)
