"""The lecture's first network: four hidden units learn two of four quadrants, or learn nothing, by how they start.

python examples/lecture_quadrants.py
python examples/lecture_quadrants.py --hidden 8 --learning-rate 2 --epochs 2000 --num-seeds 3
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, answer, figure_of, label, parser, save, table

from planararm.nn.losses import binary_cross_entropy_with_logits
from planararm.nn.network import Network, mlp
from planararm.nn.optimisers import GradientDescent
from planararm.nn.training import fit

FloatArray = npt.NDArray[np.float64]

INITIALISATIONS = ("xavier", "he", "plain")
STYLES = ("-", "--", ":")
HELP = """Points of the square [-1, 1]^2 are of class 1 in the first and third quadrant, of class 0 elsewhere. That is
XOR with real inputs: one unit cannot separate them, four hidden sigmoid units can.

Everything is as in the lecture: 10,000 points, learning rate 0.6, 5,000 epochs of gradient descent on all points, seed
48, which here is set before the points are drawn, not after. Weights drawn by Xavier or He learn; small ones (plain,
0.01 N(0, 1)) stay at a loss of log 2, because the gradient that reaches the first layer is multiplied by them."""


class Run(NamedTuple):
    """One training.

    Attributes:
        network: As trained.
        losses: Training loss of every epoch.
        accuracy: Share of right answers on fresh points.
    """

    network: Network
    losses: FloatArray
    accuracy: float


class Prediction(NamedTuple):
    """What :func:`predict` says.

    Attributes:
        labels: ``(batch, 1)`` of 0 and 1.
        probabilities: ``(batch, 1)``.
        accuracy: Share of labels that are right.
    """

    labels: npt.NDArray[np.int64]
    probabilities: FloatArray
    accuracy: float


def quadrants(rng: np.random.Generator, num_points: int) -> tuple[FloatArray, FloatArray]:
    """Points and their class.

    Args:
        rng: Draws the points.
        num_points: How many.

    Returns:
        ``(num_points, 2)`` and ``(num_points, 1)``.
    """
    x = rng.uniform(-1.0, 1.0, (num_points, 2))
    return x, (x[:, :1] * x[:, 1:] > 0).astype(np.float64)


def predict(network: Network, x: FloatArray, y: FloatArray, threshold: float = 0.5) -> Prediction:
    """Labels, probabilities and accuracy.

    Args:
        network: Gives logits.
        x: ``(batch, 2)``.
        y: ``(batch, 1)`` true classes.
        threshold: Probability from which on a point is of class 1.
    """
    # tanh instead of exp: no overflow, whatever the logit.
    probabilities = 0.5 * (1 + np.tanh(0.5 * network.forward(x)))
    labels = (probabilities >= threshold).astype(np.int64)
    return Prediction(labels, probabilities, float((labels == y).mean()))


def train(given: argparse.Namespace, initialisation: str, seed: int) -> Run:
    """Train once; the points depend on ``--seed`` only, the weights on ``seed``."""
    rng = np.random.default_rng(given.seed)
    x, y = quadrants(rng, given.points)
    network = mlp([2, given.hidden, 1], "sigmoid", rng=np.random.default_rng(seed), initialisation=initialisation)
    optimiser = GradientDescent(network, given.learning_rate)
    history = fit(network, binary_cross_entropy_with_logits, optimiser, x, y, num_epochs=given.epochs)
    fresh = quadrants(rng, given.points)
    return Run(network, np.array(history.train_loss), predict(network, *fresh).accuracy)


def draw(out: Path, runs: dict[str, Run], seeds: Sequence[Run]) -> Path:
    """Losses by initialisation, losses by seed, and where the network says class 1."""
    figure, grid = figure_of(1, 3, (9.8, 3.3))
    first, second, third = grid[0]
    for i, (name, run) in enumerate(runs.items()):
        first.plot(run.losses, STYLES[i], color=COLORS[i], label=f"{name}: {run.accuracy:.1%} right", linewidth=1.8)
    first.legend(fontsize=8.5, frameon=False)
    label(first, "Three ways to start", "epoch", "binary cross-entropy [nat]")
    for run in seeds:
        second.plot(run.losses, color=COLORS[0], alpha=0.6, linewidth=0.9)
    accuracies = [run.accuracy for run in seeds]
    label(second, f"{len(seeds)} seeds: {min(accuracies):.1%} to {max(accuracies):.1%} right", "epoch", "")
    for axes in (first, second):
        axes.set_ylim(0, 0.85)
    side = np.linspace(-1, 1, 121)
    x = np.stack(np.meshgrid(side, side), axis=-1)
    values = predict(runs["xavier"].network, x.reshape(-1, 2), np.zeros((side.size**2, 1))).probabilities
    shades = third.contourf(side, side, values.reshape(x.shape[:2]), levels=np.linspace(0, 1, 6), cmap="cividis")
    third.contour(side, side, values.reshape(x.shape[:2]), levels=[0.5], colors="white", linewidths=1.5)
    third.axhline(0, color=COLORS[1], linestyle="--", linewidth=1)
    third.axvline(0, color=COLORS[1], linestyle="--", linewidth=1)
    third.set_aspect("equal")
    figure.colorbar(shades, ax=third, label="probability of class 1")
    label(third, "Learned border (white), true (dashed)", "x1", "x2")
    return save(figure, out, "lecture-quadrants")


def run(given: argparse.Namespace) -> tuple[dict[str, Run], list[Run]]:
    """Train, draw, print.

    Returns:
        One run per initialisation, and one per further seed of the weights.
    """
    runs = {name: train(given, name, given.seed) for name in INITIALISATIONS}
    seeds = [runs["xavier"]]
    seeds += [train(given, "xavier", given.seed + i) for i in range(1, given.num_seeds)]
    rows = [(name, f"{r.losses[0]:.4f}", f"{r.losses[-1]:.4f}", f"{r.accuracy:.2%}") for name, r in runs.items()]
    print(table(("initialisation", "first loss", "last loss", "right on fresh points"), rows))
    accuracies = [r.accuracy for r in seeds]
    print(
        f"xavier, {len(seeds)} seeds of the weights: {min(accuracies):.2%} to {max(accuracies):.2%}, "
        f"mean {np.mean(accuracies):.2%}, {sum(a >= 0.9 for a in accuracies)} of them at 90% or more"
    )
    print(draw(given.out, runs, seeds))
    return runs, seeds


def main(arguments: Sequence[str] | None = None) -> tuple[dict[str, Run], list[Run]]:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--points", type=int, default=10_000, help="to train on, and fresh ones; default %(default)s")
    made.add_argument("--hidden", type=int, default=4, help="sigmoid units; default %(default)s")
    made.add_argument("--learning-rate", type=float, default=0.6, help="default %(default)s")
    made.add_argument("--epochs", type=int, default=5000, help="default %(default)s")
    made.add_argument("--num-seeds", type=int, default=10, help="of Xavier's weights; default %(default)s")
    given = made.parse_args(arguments)
    for name in ("points", "hidden", "epochs", "num_seeds"):
        if getattr(given, name) < 1:
            made.error(f"--{name.replace('_', '-')} must be >= 1, got {getattr(given, name)}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
