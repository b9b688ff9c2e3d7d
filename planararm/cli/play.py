"""``planararm play``."""

from __future__ import annotations

import argparse
from typing import Any

from .parsing import add_command, find_modules_here


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    play = add_command(commands, common, "play", run, "a window in which the target follows the mouse")
    play.add_argument("--policy", default="closed-form", help="policy to begin with (default: %(default)s)")
    play.add_argument("--scene", help="name or TOML file of the scene to begin with (default: clutter)")
    play.add_argument("--arm", help="name of the arm (default: the scene's)")
    play.add_argument("--frames", type=int, help="end after so many frames (default: when the window is closed)")


def run(arguments: argparse.Namespace) -> int:
    """Open the window."""
    from ..play import play

    find_modules_here()
    options = {name: getattr(arguments, name) for name in ("policy", "scene", "arm", "frames")}
    play(**{name: value for name, value in options.items() if value is not None})
    return 0
