"""A network trained with a quadratic program behind it: our layer against cvxpylayers, step by step.

    python examples/projection_in_the_loop.py [--steps 20] [--batch 16]

The lecture asked how a network's output enters the optimisation layer behind it. As the point to be projected: the
program is ``min 1/2 |q - q_network|^2`` under half-spaces that are linearised at the proposal, and the gradient of what
comes out goes back into the network. ``QPProjection`` and ``CvxpyProjection`` solve the same programs, so the same
network, the same scenes and the same seed give the same losses, up to the accuracy of the reference's solver.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from planararm.errors import MissingExtraError
from planararm.learning.projected_torch import ProjectedTrainee

SIZES = {"width": 16, "depth": 1, "disc_width": 8, "correction_width": 8, "num_proposals": 2}


def losses(projection: str, steps: int, batch: int, seed: int = 0) -> tuple[list[float], float]:
    """The loss of every step, and the mean time of a step [s]."""
    trainee = ProjectedTrainee(
        "unit3", "clutter", seed, steps, batch_size=batch, network=SIZES, projection=projection, num_projected=1
    )
    seen = [trainee.step()["loss"]]
    start = time.perf_counter()
    seen += [trainee.step()["loss"] for _ in range(steps - 1)]
    return seen, (time.perf_counter() - start) / max(1, steps - 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Train twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    ours, our_time = losses("qp", options.steps, options.batch)
    try:
        theirs, their_time = losses("cvxpy", options.steps, options.batch)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        return 2
    table = Table(title="Loss by step, the same network behind two solvers of the same programs")
    for column in ("step", "QPProjection", "CvxpyProjection", "relative difference"):
        table.add_column(column, justify="right")
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if step % max(1, options.steps // 10) == 0 or step == options.steps - 1:
            table.add_row(str(step), f"{mine:.8f}", f"{other:.8f}", f"{abs(mine - other) / abs(other):.1e}")
    Console().print(table)
    worst = max(abs(mine - other) / abs(other) for mine, other in zip(ours, theirs, strict=True))
    print(
        f"largest relative difference {worst:.1e}; a step takes {1e3 * our_time:.0f} ms and {1e3 * their_time:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
