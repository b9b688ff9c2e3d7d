"""``planararm replay``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .parsing import add_command, find_modules_here

EPILOG = """\
examples:
  planararm replay runs/v1-quick ik-clutter/00012
  planararm replay runs/v1-quick ik-hard/7 --policy closed-form --policy projected-mlp --out case.html
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    replay = add_command(
        commands, common, "replay", run, "write a page that replays what policies did with one task", EPILOG
    )
    replay.add_argument("folder", type=Path, metavar="DIR", help="folder with results")
    replay.add_argument("task", metavar="TASK", help="name of the task: group and number, e.g. ik-clutter/00012")
    replay.add_argument(
        "--policy", action="append", metavar="P", help="only this policy; may be repeated (default: all in the results)"
    )
    replay.add_argument("--out", type=Path, metavar="FILE", help="the page (default: replay-GROUP-NUMBER.html in DIR)")


def run(arguments: argparse.Namespace) -> int:
    """Write the replay."""
    from ..benchmark.report import write_replay

    find_modules_here()
    print(f"Replay: {write_replay(arguments.folder, arguments.task, arguments.policy, out=arguments.out)}")
    return 0
