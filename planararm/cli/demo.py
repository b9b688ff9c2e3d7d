"""``planararm demo``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from .bench import DEFAULT_SUITE, choose_entrants, score_and_show
from .parsing import add_command


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    demo = add_command(
        commands, common, "demo", run, "score every bundled policy on the quick suite and write a report with replays"
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (default: %(default)s)")
    demo.add_argument("--fresh", action="store_true", help="throw away what the folder holds, start over")


def run(arguments: argparse.Namespace) -> int:
    """Score every bundled policy."""
    entrants = choose_entrants([], {})
    code = score_and_show(entrants, [DEFAULT_SUITE], arguments.out, fresh=arguments.fresh, redo=True)
    if code == 0:
        print("Next: planararm play, or score a policy of your own: planararm bench my_module:MyPolicy")
        if shutil.which("planararm") is None:
            print(f"(Its place is {Path(sys.executable).parent}; activate that environment first.)")
    return code
