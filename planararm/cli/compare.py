"""``planararm compare``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError
from .bench import DEFAULT_SUITE, choose_entrants, folder_name
from .parsing import INTERRUPTED, add_command, find_modules_here, json_object
from .running import add_run_options, run_options

EPILOG = """\
examples:
  planararm compare closed-form damped-least-squares
  planararm compare my_module:MyPolicy closed-form --suite v1/ik-clutter --tolerance 1e-3
  planararm compare mine mine --run runs/before --run runs/after      two runs of the same suite

Rows that the folder holds are taken from there, what is missing is run first.
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    compare = add_command(
        commands,
        common,
        "compare",
        run,
        "compare two policies on the same tasks: differences, intervals, the worst cases as pictures",
        EPILOG,
    )
    compare.add_argument("policy_a", metavar="A", help="a policy, as for planararm bench")
    compare.add_argument("policy_b", metavar="B", help="what it is compared with")
    compare.add_argument("--suite", help=f"name of the suite (default: that of the folder, else {DEFAULT_SUITE})")
    compare.add_argument(
        "--run",
        "--out",
        dest="folders",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder with the results (default: runs/ and the suite's name); given twice: of A, and of B",
    )
    compare.add_argument(
        "--policy-kwargs", metavar="JSON", help='options of the policies: \'{"NAME": {"damping": 0.1}, ...}\''
    )
    compare.add_argument(
        "--tolerance",
        type=float,
        default=1e-2,
        metavar="T",
        help="a task is met within this fraction of the reach (default: %(default)g)",
    )
    add_run_options(compare)
    compare.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="draw the cases in which one is much worse than the other",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run what is missing, compare, print, write the page."""
    from ..benchmark.compare import compare
    from ..benchmark.compare_table import print_comparison
    from ..benchmark.suites import load_suite
    from ..benchmark.table import make_console
    from ..validate import real_number

    find_modules_here()
    real_number("--tolerance", arguments.tolerance, 0.0, 1.0)
    named = arguments.folders or []
    folders, suite_name = choose_folders(arguments.folders, arguments.suite)
    suite = load_suite(suite_name)
    options = json_object(arguments.policy_kwargs)
    policies = arguments.policy_a, arguments.policy_b
    console = make_console()
    try:
        sides = [
            complete(policy, options, list(policies), suite, folder, old=len(named) == 2, **run_options(arguments))
            for policy, folder in zip(policies, folders, strict=True)
        ]
    except KeyboardInterrupt:
        print("\nplanararm: interrupted. What was done is kept; repeat the command to go on.", file=sys.stderr)
        return INTERRUPTED
    (name_a, results_a), (name_b, results_b) = sides
    found = compare(results_a, results_b, name_a, name_b, tolerance=arguments.tolerance)
    if name_a == name_b and folders[0] != folders[1]:
        found = dataclasses.replace(found, policy_a=f"{name_a} ({folders[0]})", policy_b=f"{name_b} ({folders[1]})")
    print_comparison(found, console)
    write(found, folders[0], suite if arguments.pictures else None, results_a, results_b, console)
    return 0


def choose_folders(folders: list[Path] | None, suite: str | None) -> tuple[tuple[Path, Path], str]:
    """The folders of A's and of B's rows, and the suite that they are of.

    Raises:
        InvalidInputError: More than two folders, or of different suites.
        FileFormatError: A manifest that cannot be read.
    """
    from ..benchmark.results import MANIFEST, read_manifest

    folders = folders or [Path("runs") / folder_name(suite or DEFAULT_SUITE)]
    if len(folders) > 2:
        raise InvalidInputError(f"--run names one folder, or two: that of A and that of B; got {len(folders)}.")
    manifests = [read_manifest(folder) for folder in folders if (folder / MANIFEST).exists()]
    known = {(manifest["suite"], manifest["suite_hash"]) for manifest in manifests}
    if len(known) > 1:
        listed = " and ".join(sorted(f"{name!r} with the content hash {value[:12]}" for name, value in known))
        raise InvalidInputError(f"The folders hold results of different tasks: suite {listed}.")
    name = suite or (str(manifests[0]["suite"]) if manifests else DEFAULT_SUITE)
    return (folders[0], folders[-1]), name


def complete(
    policy: str, options: dict[str, Any], names: list[str], suite: Any, folder: Path, *, old: bool = False, **how: Any
) -> tuple[str, Any]:
    """A policy's name in the results and the rows of its folder, with those that were missing.

    Args:
        policy: The policy.
        options: As given by ``--policy-kwargs``.
        names: Both policies.
        suite: The suite.
        folder: With the rows.
        old: Whether complete rows of an earlier state of the policy are meant.
        **how: See :func:`planararm.cli.running.run_options`.

    Raises:
        InvalidInputError: The folder holds results of another suite, or of an earlier state of the policy.
        PlanarArmError: The policy cannot be built.
    """
    import numpy as np

    from ..benchmark.results import MANIFEST, changed_policies, read_manifest, read_results
    from ..benchmark.runner import run as run_suite
    from ..benchmark.table import ProgressBars, make_console

    entrants = choose_entrants(list(dict.fromkeys(names)), options)
    one = entrants[list(dict.fromkeys(names)).index(policy)]
    seeds = [0]
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        if (manifest["suite"], manifest["suite_hash"]) != (suite.name, suite.content_hash):
            raise InvalidInputError(
                f"{str(folder)!r} holds results of suite {manifest['suite']!r} with the content hash "
                f"{manifest['suite_hash'][:12]}, not of {suite.name!r} with {suite.content_hash[:12]}."
            )
        results = read_results(folder)
        own = results.select(results["policy"] == one.name)
        seeds = np.unique(own["seed"]).tolist() or seeds
        if len(own) == len(suite) * len(seeds):
            changed = changed_policies(manifest, {one.name: one.fingerprint})
            if changed and not old:
                raise InvalidInputError(
                    f"{str(folder)!r} holds rows of {one.name} from before its code, weights or options changed. "
                    f"planararm bench {one.name} --redo runs it again; to compare two states of it, give --run twice."
                )
            if changed:
                print(f"planararm: the rows of {one.name} in {folder} are those of an earlier state.", file=sys.stderr)
            return one.name, results
    with ProgressBars(make_console(stderr=True)) as progress:
        return one.name, run_suite([one], suite, folder, seed=seeds, progress=progress, **how)


def write(found: Any, folder: Path, suite: Any, results_a: Any, results_b: Any, console: Any) -> None:
    """Write the page below the folder; without what draws the pictures, say so."""
    from ..benchmark.compare_page import safe_name, write_page

    place = folder / f"compare-{safe_name(found.policy_a, found.policy_b)}"
    try:
        page = write_page(found, place, suite=suite, results_a=results_a, results_b=results_b)
    except MissingExtraError as error:
        print(f"planararm: no page was written. {error}", file=sys.stderr)
        return
    console.print(f"\nPage: {page}", soft_wrap=True, highlight=False)
