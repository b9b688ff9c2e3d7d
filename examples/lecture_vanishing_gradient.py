"""The vanishing gradient: what is left of it ten layers down, and what helps.

python examples/lecture_vanishing_gradient.py
python examples/lecture_vanishing_gradient.py --depth 30 --train-depth 40
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, MARKERS, answer, figure_of, label, parser, save, table
from lecture_quadrants import quadrants

from planararm.nn.diagnostics import layer_gradient_norms
from planararm.nn.layers import ACTIVATIONS, Layer, Linear
from planararm.nn.losses import binary_cross_entropy_with_logits
from planararm.nn.network import Network, Residual
from planararm.nn.optimisers import Adam
from planararm.nn.training import fit

FloatArray = npt.NDArray[np.float64]

HELP = """Back-propagation multiplies the gradient, layer by layer, by the weights and by the slope of the activation.
A sigmoid's slope is at most 1/4, small weights shrink it further, so ten layers down nothing arrives. Weights drawn to
keep the size of the signal (Xavier with tanh, He with ReLU) and skip connections, y = x + F(x), keep it alive.

First picture: the size of every layer's weight gradient at the start, the median over seeds of the weights. Second:
networks of twenty layers trained alike, with skip connections and without."""


class Kind(NamedTuple):
    """A kind of network."""

    activation: str
    initialisation: str
    skips: bool

    def __str__(self) -> str:
        """As tables and legends name it."""
        return f"{self.activation}, {self.initialisation}{', skips' if self.skips else ''}"


STUDIED = (
    Kind("sigmoid", "plain", False),
    Kind("sigmoid", "xavier", False),
    Kind("tanh", "plain", False),
    Kind("tanh", "xavier", False),
    Kind("relu", "he", False),
    Kind("sigmoid", "xavier", True),
    Kind("tanh", "plain", True),
)
TRAINED = tuple(Kind(a, w, s) for a, w in (("sigmoid", "xavier"), ("tanh", "plain")) for s in (False, True))


class Training(NamedTuple):
    """What became of one network.

    Attributes:
        losses: Of every epoch.
        accuracy: Share of fresh points classified rightly.
    """

    losses: FloatArray
    accuracy: float


class Figures(NamedTuple):
    """What the example measured.

    Attributes:
        norms: Per kind, ``(layers,)`` the root mean square of the gradient with respect to each layer's weights.
        ratios: Per kind, that of the first layer by that of the last.
        trainings: Per kind trained.
    """

    norms: dict[Kind, FloatArray]
    ratios: dict[Kind, float]
    trainings: dict[Kind, Training]


def build(kind: Kind, depth: int, width: int, rng: np.random.Generator) -> Network:
    """A network of ``depth`` linear layers from two inputs to one logit.

    Args:
        kind: Activation, initialisation, and whether every layer but the first and the last is skipped over.
        depth: Linear layers, at least 2.
        width: Features between them.
        rng: Draws the weights.
    """
    activation = ACTIVATIONS[kind.activation]
    layers: list[Layer] = [Linear(2, width, rng=rng, initialisation=kind.initialisation), activation()]
    for _ in range(depth - 2):
        block = [Linear(width, width, rng=rng, initialisation=kind.initialisation), activation()]
        layers += [Residual(*block)] if kind.skips else block
    return Network(*layers, Linear(width, 1, rng=rng, initialisation=kind.initialisation))


def gradient_norms(kind: Kind, given: argparse.Namespace) -> tuple[FloatArray, float]:
    """Norms per layer and ratio of the first to the last, medians over seeds."""
    x, y = quadrants(np.random.default_rng(given.seed), 500)
    norms = []
    for i in range(given.num_seeds):
        network = build(kind, given.depth, given.width, np.random.default_rng([given.seed, i]))
        network.backward(binary_cross_entropy_with_logits(network.forward(x), y)[1])
        norms.append(layer_gradient_norms(network))
    found = np.array(norms)
    return np.median(found, axis=0), float(np.median(found[:, 0] / found[:, -1]))


def train(kind: Kind, given: argparse.Namespace) -> Training:
    """Train one deep network by Adam on mini-batches of 100."""
    rng = np.random.default_rng(given.seed)
    x, y = quadrants(rng, 1000)
    network = build(kind, given.train_depth, 16, rng)
    history = fit(
        network, binary_cross_entropy_with_logits, Adam(network, 0.01), x, y, num_epochs=given.epochs, batch_size=100,
        rng=rng,
    )  # fmt: skip
    x, y = quadrants(rng, 10_000)
    return Training(np.array(history.train_loss), float(((network.forward(x) > 0) == y).mean()))


def draw(out: Path, figures: Figures, train_depth: int) -> Path:
    """Norm per layer; loss per epoch."""
    figure, grid = figure_of(1, 2, (9.6, 3.7), width_ratios=(1.15, 1))
    left, right = grid[0]
    for i, (kind, norms) in enumerate(figures.norms.items()):
        style = "--" if kind.skips else "-"
        left.semilogy(
            np.arange(1, norms.size + 1),
            norms,
            style,
            marker=MARKERS[i],
            color=COLORS[i],
            label=str(kind),
            markersize=4,
        )
    left.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    label(left, "At the start: gradient of each layer's weights", "layer, from the input", "gradient, root mean square")
    # The two that fail lie on top of each other: the first is drawn wide.
    for width, (kind, training) in zip((4.0, 1.5, 1.5, 1.5), figures.trainings.items(), strict=True):
        i = list(figures.norms).index(kind)
        style = "--" if kind.skips else "-"
        right.plot(
            training.losses, style, color=COLORS[i], linewidth=width, label=f"{kind}: {training.accuracy:.1%} right"
        )
    right.set_ylim(0, None)
    right.legend(fontsize=8, frameon=False)
    label(right, f"Training {train_depth} layers", "epoch", "binary cross-entropy [nat]")
    return save(figure, out, "lecture-vanishing-gradient")


def run(given: argparse.Namespace) -> Figures:
    """Measure, train, draw, print."""
    measured = {kind: gradient_norms(kind, given) for kind in STUDIED}
    figures = Figures(
        {kind: norms for kind, (norms, _) in measured.items()},
        {kind: ratio for kind, (_, ratio) in measured.items()},
        {kind: train(kind, given) for kind in TRAINED},
    )
    rows = [(k, f"{n[0]:.1e}", f"{n[-1]:.1e}", f"{figures.ratios[k]:.1e}") for k, n in figures.norms.items()]
    print(table((f"{given.depth} layers", "gradient, first layer", "last layer", "first / last"), rows))
    done = [(k, f"{t.losses[0]:.4f}", f"{t.losses[-1]:.4f}", f"{t.accuracy:.1%}") for k, t in figures.trainings.items()]
    print(table((f"{given.train_depth} layers, trained", "first loss", "last loss", "right on fresh points"), done))
    print(draw(given.out, figures, given.train_depth))
    return figures


def main(arguments: Sequence[str] | None = None) -> Figures:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--depth", type=int, default=10, help="linear layers, measured; default %(default)s")
    made.add_argument("--width", type=int, default=32, help="features of a layer, measured; default %(default)s")
    made.add_argument("--num-seeds", type=int, default=10, help="of the weights; default %(default)s")
    made.add_argument("--train-depth", type=int, default=20, help="linear layers, trained; default %(default)s")
    made.add_argument("--epochs", type=int, default=80, help="of training; default %(default)s")
    given = made.parse_args(arguments)
    for name, least in (("depth", 2), ("width", 1), ("num_seeds", 1), ("train_depth", 2), ("epochs", 1)):
        if getattr(given, name) < least:
            made.error(f"--{name.replace('_', '-')} must be >= {least}, got {getattr(given, name)}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
