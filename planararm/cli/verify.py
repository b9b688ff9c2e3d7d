"""``planararm verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .parsing import add_command, find_modules_here

EPILOG = """\
examples:
  planararm verify runs/v1-quick
  planararm verify runs/*

The tasks are generated again, and every number that follows from a row's joint angles is computed again: errors,
clearance, limits, motions, outcomes, and whether the arm can follow the stored paths. Times, claims, and commands that
were not carried out cannot be known from the rows. Exit code 1 if a row is wrong or
missing.
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    verify = add_command(
        commands, common, "verify", run, "compute somebody's results again from the answers in them", EPILOG
    )
    verify.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder with results")


def run(arguments: argparse.Namespace) -> int:
    """Verify the folders, tell what was found."""
    from ..benchmark.table import make_console
    from ..benchmark.verification import verify

    find_modules_here()
    console, passed = make_console(stderr=True), True
    for folder in arguments.folders:
        with console.status("Generating the tasks") as status:
            found = verify(folder, progress=lambda count: status.update(f"{count} rows computed again"))
        passed = passed and found.passed
        print(describe(folder, found))
        for (policy, seed), count in found.missing.items():
            tasks = "1 task has" if count == 1 else f"{count} tasks have"
            print(f"  {policy}, seed {seed}, is unfinished: {tasks} no row.")
    return 0 if passed else 1


def describe(folder: Path, found: Any) -> str:
    """The verdict on a folder, and what is wrong."""
    rows = f"{found.num_rows} row{'s' * (found.num_rows != 1)} of {found.suite}"
    if not found.num_wrong:
        lines = [f"{folder}: {rows}, all as computed again."]
    else:
        lines = [f"{folder}: {rows}, {found.num_wrong} of them wrong:", *(f"  {line}" for line in found.findings)]
        if found.num_wrong > len(found.findings):
            lines.append(f"  and {found.num_wrong - len(found.findings)} more")
    if found.num_told:
        lines.append(f"  {found.num_told} motions are those of the policy's own commands, which the rows do not hold.")
    return "\n".join(lines)
