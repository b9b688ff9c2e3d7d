"""``planararm bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError, UnknownNameError
from .parsing import INTERRUPTED, add_command, find_modules_here, json_object, whole
from .running import add_run_options, run_options

DEFAULT_SUITE = "v1/quick"
ALL_SUITES = "all"

EPILOG = """\
examples:
  planararm bench                                    all bundled policies on v1/quick
  planararm bench closed-form my_module:MyPolicy     a class, an object or a function of your own against a bundled one
  planararm bench model.zip --policy-kwargs '{"env": "planararm/ReachSparse-v0"}'
                                                     a model file of Stable-Baselines3, read without unpickling
  planararm bench --suite all --jobs 4               every suite, four processes; the numbers do not depend on how many
  planararm bench --suite 'v1/ik-clutter?seed=7&scale=10'
                                                     the recipe of a suite with a seed and a size of your own
  planararm bench --suite my_module:my_suite         a suite of your own

A run that was interrupted or killed goes on where it stopped when the command is repeated. Policies that are not
bundled run in a process of their own: what raises, hangs, crashes or eats memory there costs its own rows.
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    bench = add_command(
        commands, common, "bench", run, "score policies on suites of tasks: table, results.jsonl, report.html", EPILOG
    )
    bench.add_argument(
        "policies",
        nargs="*",
        metavar="POLICY",
        help="a name (see planararm list), an import path module:attribute, or a model file of Stable-Baselines3 "
        "ending in .zip; default: all bundled policies",
    )
    bench.add_argument(
        "--suite",
        nargs="+",
        default=[DEFAULT_SUITE],
        metavar="SUITE",
        help=f"names of suites (see planararm list), or {ALL_SUITES!r} (default: {DEFAULT_SUITE})",
    )
    bench.add_argument(
        "--out",
        type=Path,
        help="folder for the results (default: runs/ and the suite's name); several suites have a folder each in it",
    )
    bench.add_argument(
        "--seed",
        type=whole,
        nargs="+",
        default=[0],
        metavar="N",
        help="seeds for policies that draw random numbers (default: 0)",
    )
    bench.add_argument(
        "--policy-kwargs",
        metavar="JSON",
        help="options of the policy, e.g. '{\"damping\": 0.1}'; of several, '{\"NAME\": {...}, ...}'",
    )
    add_run_options(bench)
    bench.add_argument("--fresh", action="store_true", help="throw away what the folder holds, start over")
    bench.add_argument("--redo", action="store_true", help="run those policies again that have changed since")
    bench.add_argument("--no-report", action="store_true", help="write no report.html")


def choose_entrants(names: Sequence[str], options: dict[str, Any]) -> list[Any]:
    """The policies that the command names, or all bundled ones; ``options`` as given by ``--policy-kwargs``."""
    from ..benchmark.entrants import bundled_entrants, entrant

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
        if name not in names and isinstance(value, dict):
            raise UnknownNameError("policy in --policy-kwargs", name, names)
        if name not in names:
            raise InvalidInputError(
                f'--policy-kwargs of several policies must name them, like {{"{names[0]}": {{"{name}": ...}}}}, '
                f"got the option {name!r} for none of them."
            )
        if not isinstance(value, dict):
            raise InvalidInputError(f"--policy-kwargs of {name!r} must be a JSON object, got {value!r}.")
    return [entrant(name, options.get(name)) for name in names]


def folder_name(suite: str) -> str:
    """The folder of a suite's results."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in suite)


def score_and_show(
    entrants: list[Any], suites: Sequence[str], out: Path | None, *, report: bool = True, **options: Any
) -> int:
    """Run, print the tables, write the report.

    Args:
        entrants: The policies.
        suites: Names of the suites.
        out: Folder of the one suite, or the parent of the folders of several; None: below ``runs``.
        report: Whether to write ``report.html``.
        **options: Of :func:`planararm.benchmark.runner.run`.
    """
    from ..benchmark.leaderboard import build_leaderboard
    from ..benchmark.runner import run as run_suite
    from ..benchmark.suites import load_suite
    from ..benchmark.table import ProgressBars, make_console, print_leaderboard

    console, notes = make_console(), make_console(stderr=True)
    parent = out or Path("runs")
    folders = {name: out if out and len(suites) == 1 else parent / folder_name(name) for name in suites}
    for suite, folder in folders.items():
        # Before the first is run, not after it.
        load_suite(suite)
        if folder.exists() and not folder.is_dir():
            raise InvalidInputError(f"The results folder {str(folder)!r} is a file; choose another --out.")
    for suite, folder in folders.items():
        if len(suites) > 1:
            console.rule(suite)
        try:
            with ProgressBars(notes) as progress:
                results = run_suite(entrants, suite, folder, progress=progress, **options)
        except KeyboardInterrupt:
            print(
                f"\nplanararm: interrupted. {folder} keeps what was done; repeat the command to go on.",
                file=sys.stderr,
            )
            return INTERRUPTED
        if progress.num_done:
            print(
                f"planararm: {progress.num_done} of {progress.num_rows} rows were there already, from an earlier run; "
                "--fresh starts over, --out takes another folder.",
                file=sys.stderr,
            )
        print_leaderboard(build_leaderboard(results, load_suite(suite).sizes), console)
        for line in failures(results):
            print(f"planararm: {line}", file=sys.stderr)
    if not report:
        return 0
    try:
        from ..benchmark.report import write_report

        with notes.status("Drawing the report"):
            page = write_report(list(folders.values()), out=None if len(suites) == 1 else parent / "report.html")
    except MissingExtraError as error:
        print(f"planararm: no report.html was written. {error}", file=sys.stderr)
        return 0
    console.print(f"\nReport: {page}", soft_wrap=True, highlight=False)
    return 0


def failures(results: Any) -> list[str]:
    """One line per policy that crashed or timed out: how often, and what it said the first time."""
    lines = []
    for policy in results.policies:
        own = results.select(results["policy"] == policy)
        for outcome in ("crashed", "timed out"):
            failed = own["message"][own["outcome"] == outcome]
            if len(failed):
                lines.append(f"{policy} {outcome} on {len(failed)} of {len(own)} tasks; the first time: {failed[0]}")
    return lines


def run(arguments: argparse.Namespace) -> int:
    """Score policies."""
    from ..benchmark.suites import available_suites

    find_modules_here()
    options = json_object(arguments.policy_kwargs)
    expanded = (available_suites() if name == ALL_SUITES else [name] for name in arguments.suite)
    suites = list(dict.fromkeys(name for names in expanded for name in names))
    return score_and_show(
        choose_entrants(arguments.policies, options),
        suites,
        arguments.out,
        report=not arguments.no_report,
        seed=arguments.seed,
        fresh=arguments.fresh,
        redo=arguments.redo,
        **run_options(arguments),
    )
