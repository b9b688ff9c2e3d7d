"""``planararm export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from .parsing import add_command

EPILOG = """\
examples:
  planararm export runs/v1-quick --to results.csv          one line per task, policy and seed
  planararm export runs/* --to leaderboard.csv             all scores of all suites
  planararm export runs/v1-quick --to leaderboard.md       a table for a README or an issue
  planararm export runs/v1-quick --to badge.svg --policy closed-form
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    export = add_command(
        commands, common, "export", run, "write results as CSV, a Markdown table or a badge, by the file's name", EPILOG
    )
    export.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder with results")
    export.add_argument(
        "--to",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="file ending in .csv, .md, .svg or .json; may be given several times",
    )
    export.add_argument(
        "--what",
        choices=("rows", "leaderboard", "badge"),
        help="default: by the file's name; a .csv holds the rows unless it is called leaderboard",
    )
    export.add_argument("--policy", metavar="NAME", help="whose badge it is")
    export.add_argument("--no-q", action="store_true", help="leave the columns of joint angles out of the rows")


def run(arguments: argparse.Namespace) -> int:
    """Write the files."""
    from ..benchmark.export import export

    if len(set(arguments.to)) < len(arguments.to):
        raise InvalidInputError("--to names the same file twice.")
    for path in arguments.to:
        export(arguments.folders, path, what=arguments.what, policy=arguments.policy, with_q=not arguments.no_q)
        print(path)
    return 0
