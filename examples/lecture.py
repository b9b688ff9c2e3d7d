"""Run all experiments of the lecture: tables on the screen, pictures in a folder.

python examples/lecture.py
python examples/lecture.py --only units quadrants --out pictures
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lecture_common import parser

# The slow ones in front, so that the processes end at about the same time.
EXPERIMENTS = (
    "quadrants",
    "removed_disc",
    "bias_variance",
    "ensemble",
    "vanishing_gradient",
    "implicit_layers",
    "units",
)
HELP = """All experiments of the lecture, each of which is a program of its own, lecture_NAME.py, with more options:

  units               threshold units, XOR, the sigmoid and gradient descent
  quadrants           the first network, and how its weights must start
  vanishing_gradient  depth, and what ReLU, Xavier, He and skip connections do
  implicit_layers     fixed points and minima as layers, by the implicit function theorem
  removed_disc        removing a disc from the training data does not make a network avoid it
  bias_variance       how large a network, how much data, how deep
  ensemble            several networks, their mean direction and their spread"""


class Outcome(NamedTuple):
    """What became of one experiment.

    Attributes:
        name: Of the experiment.
        seconds: It took.
        returncode: 0 if all went well.
        output: What it printed.
    """

    name: str
    seconds: float
    returncode: int
    output: str


def run(name: str, given: argparse.Namespace) -> Outcome:
    """Run one experiment in a process of its own, on one core."""
    script = Path(__file__).with_name(f"lecture_{name}.py")
    command = [sys.executable, str(script), "--out", str(given.out), "--seed", str(given.seed)]
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PLANARARM_NUM_THREADS"), "1")
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | one_core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Outcome(name, time.perf_counter() - start, done.returncode, done.stdout)


def main(arguments: Sequence[str] | None = None) -> list[Outcome]:
    """Read the command line and run the experiments.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, metavar="NAME", help="some of them"
    )
    made.add_argument("--jobs", type=int, default=2, help="experiments at a time; default %(default)s")
    given = made.parse_args(arguments)
    if given.jobs < 1:
        made.error(f"--jobs must be >= 1, got {given.jobs}")
    start = time.perf_counter()
    outcomes = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(lambda name: run(name, given), given.only):
            print(f"== {outcome.name}, {outcome.seconds:.0f} s\n{outcome.output}", flush=True)
            outcomes.append(outcome)
    failed = [outcome.name for outcome in outcomes if outcome.returncode]
    print(
        f"{len(outcomes)} experiments in {time.perf_counter() - start:.0f} s"
        + (f"; failed: {failed}" if failed else "")
    )
    if failed:
        raise SystemExit(1)
    return outcomes


if __name__ == "__main__":
    main()
