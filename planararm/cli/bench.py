"""``planararm bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError, UnknownNameError
from .parsing import INTERRUPTED, add_command, find_modules_here, json_object, whole

DEFAULT_SUITE = "v1/quick"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    bench = add_command(
        commands, common, "bench", run, "score policies on a suite of tasks: table, results.jsonl, report.html"
    )
    bench.add_argument(
        "policies",
        nargs="*",
        metavar="POLICY",
        help="a name (see planararm list) or an import path module:attribute; default: all bundled policies",
    )
    bench.add_argument("--suite", default=DEFAULT_SUITE, help="name of the suite (default: %(default)s)")
    bench.add_argument("--out", type=Path, help="folder for the results (default: runs/ and the suite's name)")
    bench.add_argument("--seed", type=whole, default=0, help="seed for policies that draw random numbers (default: 0)")
    bench.add_argument(
        "--policy-kwargs",
        metavar="JSON",
        help="options of the policy, e.g. '{\"damping\": 0.1}'; of several, '{\"NAME\": {...}, ...}'",
    )
    bench.add_argument("--fresh", action="store_true", help="throw away what the folder holds, start over")
    bench.add_argument("--no-report", action="store_true", help="write no report.html")


def choose_entrants(names: Sequence[str], options: dict[str, Any]) -> list[Any]:
    """The policies that the command names, or all bundled ones; ``options`` as given by ``--policy-kwargs``."""
    from ..benchmark.runner import bundled_entrants, entrant

    if not names:
        if options:
            raise InvalidInputError("--policy-kwargs needs the POLICY that they are for.")
        entrants, missing = bundled_entrants()
        for name, reason in missing:
            print(f"planararm: {name} is left out. {reason}", file=sys.stderr)
        return entrants
    if len(names) == 1 and names[0] not in options:
        return [entrant(names[0], options)]
    for name, value in options.items():
        if name not in names:
            raise UnknownNameError("policy in --policy-kwargs", name, names)
        if not isinstance(value, dict):
            raise InvalidInputError(f"--policy-kwargs of {name!r} must be a JSON object, got {value!r}.")
    return [entrant(name, options.get(name)) for name in names]


def score_and_show(
    entrants: list[Any], suite: str, out: Path, *, seed: int = 0, fresh: bool = False, report: bool = True
) -> int:
    """Run, print the table, write the report."""
    from ..benchmark.leaderboard import build_leaderboard
    from ..benchmark.runner import run
    from ..benchmark.table import ProgressBars, make_console, print_leaderboard

    console, notes = make_console(), make_console(stderr=True)
    try:
        with ProgressBars(notes) as progress:
            rows = run(entrants, suite, out, seed=seed, fresh=fresh, progress=progress)
    except KeyboardInterrupt:
        print(
            f"\nplanararm: interrupted. {out} keeps what was done; repeat the command to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    if progress.num_done:
        print(
            f"planararm: {progress.num_done} of {progress.num_rows} rows were there already, from an earlier run; "
            "where a policy has changed since, --fresh starts over, --out takes another folder.",
            file=sys.stderr,
        )
    print_leaderboard(build_leaderboard(rows), console)
    for line in crashes(rows):
        print(f"planararm: {line}", file=sys.stderr)
    if not report:
        return 0
    try:
        from ..benchmark.report import write_report

        with notes.status("Drawing the report"):
            page = write_report(out)
    except MissingExtraError as error:
        print(f"planararm: no report.html was written. {error}", file=sys.stderr)
        return 0
    console.print(f"\nReport: {page}", soft_wrap=True, highlight=False)
    return 0


def crashes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line per policy that crashed: how often, and what it said the first time."""
    lines = []
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy]
        crashed = [row for row in own if row["outcome"] == "crashed"]
        if crashed:
            lines.append(
                f"{policy} crashed on {len(crashed)} of {len(own)} tasks; the first time: {crashed[0]['message']}"
            )
    return lines


def run(arguments: argparse.Namespace) -> int:
    """Score policies."""
    find_modules_here()
    options = json_object(arguments.policy_kwargs)
    out = arguments.out or Path("runs") / arguments.suite.replace("/", "-")
    entrants = choose_entrants(arguments.policies, options)
    report = not arguments.no_report
    return score_and_show(entrants, arguments.suite, out, seed=arguments.seed, fresh=arguments.fresh, report=report)
