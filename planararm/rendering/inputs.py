"""What a person does in a window, as plain values: nothing here knows the library that drew the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["quit", "move", "press", "release", "key"]


@dataclass(frozen=True)
class InputEvent:
    """One thing that happened in a window.

    Args:
        kind: The window was closed, the mouse moved, a button went down or up, a key went down.
        pixel: Where the mouse is, from the top left corner [px]; ``move``, ``press``, ``release``.
        button: 1 left, 2 middle, 3 right; ``press``, ``release``.
        key: The key's name in lower case, e.g. ``"tab"``, ``"escape"``, ``"a"``; ``key``.
        shift: Whether a shift key was held; ``key``.
    """

    kind: Kind
    pixel: tuple[float, float] = (0.0, 0.0)
    button: int = 0
    key: str = ""
    shift: bool = False
