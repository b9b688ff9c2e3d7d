"""``planararm report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .parsing import add_command, find_modules_here

EPILOG = """\
examples:
  planararm report runs/v1-quick                      write runs/v1-quick/report.html anew
  planararm report runs                               all suites below runs on one page, runs/report.html
  planararm report runs/a runs/b --out both.html      the suites of two folders on one page
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    report = add_command(commands, common, "report", run, "write report.html from results that are there", EPILOG)
    report.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder with results of one suite, or whose subfolders hold them",
    )
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: report.html in DIR, of several here)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the report."""
    from ..benchmark.report import write_report

    find_modules_here()
    print(f"Report: {write_report(arguments.folders, out=arguments.out)}")
    return 0
