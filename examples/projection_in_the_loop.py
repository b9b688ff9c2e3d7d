"""A network trained with a quadratic program behind it: our layer against cvxpylayers, step by step.

    python examples/projection_in_the_loop.py [--steps 20] [--batch 16]

The lecture asked how a network's output enters the optimisation layer behind it. As the point to be projected: the
program is ``min 1/2 |q - q_network|^2`` under half-spaces that are linearised at the proposal, and the gradient of what
comes out goes back into the network. ``QPProjection`` and ``CvxpyProjection`` solve the same programs, so the same
network, the same scenes and the same seed give the same losses, up to the accuracy of the reference's solver. The
network computes in float32, the solvers in float64: where they agree far better than to 1e-8, the losses are equal in
all their digits. So the table also shows how far apart the solvers' own answers are, and how many proposals they moved:
those that are not moved teach nothing about a solver.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from planararm.errors import MissingExtraError
from planararm.learning.projected_torch import ProjectedTrainee

SIZES = {"width": 16, "depth": 1, "disc_width": 8, "correction_width": 8, "num_proposals": 2}
MOVED = 1e-6
"""Distance from a proposal to its projection that counts as moved [rad]."""


class Run(NamedTuple):
    """One training run.

    Attributes:
        losses: Of every step.
        answers: ``(steps, batch, 3)`` what the solver answered [rad].
        moved: ``(steps, batch)`` how far that is from the proposal [rad].
        seconds: Median time of a step.
    """

    losses: list[float]
    answers: npt.NDArray[np.float64]
    moved: npt.NDArray[np.float64]
    seconds: float


def train(projection: str, steps: int, batch: int, seed: int = 0) -> Run:
    """Train a small network with this projection in the loop.

    Args:
        projection: ``"qp"`` (ours) or ``"cvxpy"`` (the reference).
        steps: Updates.
        batch: Targets per update.
        seed: Of weights and scenes.

    Raises:
        MissingExtraError: ``"cvxpy"`` without the extra ``convex``.
    """
    trainee = ProjectedTrainee(
        "unit3", "clutter", seed, steps, batch_size=batch, network=SIZES, projection=projection, num_projected=1
    )
    losses, seconds, answers, moved = [], [], [], []

    def record(layer: torch.nn.Module, given: tuple[torch.Tensor, ...], found: torch.Tensor) -> None:
        answers.append(found.detach().numpy().copy())
        moved.append((found - given[0]).detach().norm(dim=-1).numpy())

    trainee._layer.register_forward_hook(record)
    for _ in range(steps):
        start = time.perf_counter()
        losses.append(trainee.step()["loss"])
        seconds.append(time.perf_counter() - start)
    return Run(losses, np.array(answers), np.array(moved), statistics.median(seconds))


def main(argv: Sequence[str] | None = None) -> int:
    """Train twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        theirs = train("cvxpy", options.steps, options.batch)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        return 2
    ours = train("qp", options.steps, options.batch)
    apart = np.abs(ours.answers - theirs.answers).max(axis=(1, 2))
    moved = ours.moved > MOVED
    table = Table(title="Loss by step, the same network behind two solvers of the same programs")
    for column in ("step", "QPProjection", "CvxpyProjection", "answers apart, rad", "moved [%]"):
        table.add_column(column, justify="right")
    for step, (mine, other) in enumerate(zip(ours.losses, theirs.losses, strict=True)):
        if step % max(1, options.steps // 10) == 0 or step == options.steps - 1:
            share = 100 * moved[step].mean()
            table.add_row(str(step), f"{mine:.8f}", f"{other:.8f}", f"{apart[step]:.1e}", f"{share:.0f}")
    Console().print(table)
    worst = max(abs(mine - other) / abs(other) for mine, other in zip(ours.losses, theirs.losses, strict=True))
    print(
        f"largest relative difference of the losses {worst:.1e}, of the answers {apart.max():.1e} rad; "
        f"{100 * moved.mean():.0f} % of the proposals moved"
    )
    print(f"a step takes {1e3 * ours.seconds:.0f} ms and {1e3 * theirs.seconds:.0f} ms (medians)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
