"""Options of the commands that run policies on suites: processes, isolation, limits."""

from __future__ import annotations

import argparse
from typing import Any

from .parsing import whole


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``, ``--isolate``, ``--time-limit`` and ``--memory-limit``."""
    parser.add_argument("--jobs", type=whole, default=1, metavar="N", help="processes (default: 1; 0: one per core)")
    parser.add_argument(
        "--isolate",
        choices=("auto", "always", "never"),
        default="auto",
        help="which policies get a process of their own (default: those that are not bundled)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds that a call of such a policy may take, in a batch or else alone (default: %(default)g)",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=2.0,
        metavar="GIB",
        help="memory that such a policy may take beyond what it has once it is built; 0: any (default: %(default)g)",
    )


def run_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same options as arguments of :func:`planararm.benchmark.runner.run`."""
    from ..benchmark.entrants import Limits
    from ..kernels.launch import num_cpus

    return {
        "jobs": arguments.jobs or num_cpus(),
        "limits": Limits(arguments.isolate, arguments.time_limit, arguments.memory_limit or None),
    }
