"""Units of McCulloch and Pitts, and what replaced them: a sigmoid whose weight slides down the loss.

python examples/lecture_units.py
python examples/lecture_units.py --start -4 --learning-rate 2
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, answer, figure_of, label, parser, save, table

from planararm.errors import InvalidInputError
from planararm.nn.units import AND, NAND, OR, XOR, ThresholdUnit, perceptron_rule, truth_table

FloatArray = npt.NDArray[np.float64]

INPUTS = truth_table(2)
HELP = """Threshold units compute AND, OR and NOT, and two layers of them XOR, but no single unit does.

A unit fires where w1 x1 + w2 x2 >= theta, on one side of a straight line. The example tries every unit of a grid of
weights and thresholds and counts which of the 16 functions of two bits turn up: 14 do, XOR and its opposite do not.
They never will: a unit that fires at (0,1) and (1,0) has w1 + w2 >= 2 theta, one that is silent at (0,0) and (1,1) has
0 < theta and w1 + w2 < theta, and no numbers hold all three.

The second picture has the step made smooth, so that there is a slope to follow, and gradient descent on the loss of
one sigmoid unit with input 1 whose true output is 1."""


class Descent(NamedTuple):
    """Gradient descent on one weight.

    Attributes:
        weights: The weight before each step, and at the end.
        losses: Binary cross-entropy there.
    """

    weights: FloatArray
    losses: FloatArray


class Figures(NamedTuple):
    """What the example measured.

    Attributes:
        counts: Units of the grid that compute each function of two bits, by its column of the truth table.
        xor: Output of the two-layer network on (0,0), (0,1), (1,0), (1,1).
        xor_mistakes: Fewest wrong answers of four that any pass of the perceptron rule made on XOR.
        descent: The sigmoid unit's way.
    """

    counts: dict[tuple[int, ...], int]
    xor: list[int]
    xor_mistakes: int
    descent: Descent


def count_functions(step: float, most: float = 2.0) -> dict[tuple[int, ...], int]:
    """How many units of a grid compute each of the 16 functions of two bits.

    Args:
        step: Of both weights and the threshold.
        most: The grid goes from minus this to this.
    """
    if not 0 < step <= most:
        raise InvalidInputError(f"--step must be in (0, {most:g}], got {step!r}.")
    values = np.arange(-most, most + step / 2, step)
    first, second, threshold = np.meshgrid(values, values, values, indexing="ij")
    fires = [first * a + second * b >= threshold for a, b in INPUTS]
    code = np.ravel_multi_index([f.astype(int) for f in fires], (2, 2, 2, 2))
    found = np.bincount(code.ravel(), minlength=16)
    return dict(zip(itertools.product((0, 1), repeat=4), found.tolist(), strict=True))


def sigmoid(z: Any) -> FloatArray:
    """``1 / (1 + e^-z)`` without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(z))))


def descend(start: float, learning_rate: float, num_steps: int) -> Descent:
    """Slide down the loss of one sigmoid unit with input 1, ``-log sigmoid(w)``, whose slope is ``sigmoid(w) - 1``.

    Args:
        start: First weight.
        learning_rate: Step per slope.
        num_steps: Steps.
    """
    weights = [start]
    for _ in range(num_steps):
        weights.append(weights[-1] - learning_rate * (float(sigmoid(weights[-1])) - 1))
    way = np.array(weights)
    return Descent(way, np.logaddexp(0, -way))


def _border(axes: Any, unit: ThresholdUnit, style: str, name: str) -> None:
    """The line on which the unit's sum equals its threshold, half-way to the nearest input that does not reach it."""
    sums = INPUTS @ unit.weights
    between = (sums[sums < unit.threshold].max() + unit.threshold) / 2
    x = np.array([-0.5, 1.5])
    axes.plot(x, (between - unit.weights[0] * x) / unit.weights[1], style, color=COLORS[0], label=name)


def draw_units(out: Path) -> Path:
    """AND, OR and XOR in the plane of their inputs."""
    figure, grid = figure_of(1, 3, (8.4, 3.0))
    panels = [
        ("AND: one unit", AND, [("a unit's border", AND, "-")]),
        ("OR: one unit", OR, [("a unit's border", OR, "-")]),
    ]
    panels.append(("XOR: two layers", XOR, [("a unit's border", OR, "-"), ("the second unit's", NAND, "--")]))
    for axes, (title, function, units) in zip(grid[0], panels, strict=True):
        for name, unit, style in units:
            _border(axes, unit, style, name)
        fires, look = function(INPUTS) == 1, {"color": COLORS[1], "markersize": 11, "clip_on": False}
        axes.plot(*INPUTS[fires].T, "o", label="fires", **look)
        axes.plot(*INPUTS[~fires].T, "o", label="silent", markerfacecolor="white", **look)
        axes.set(xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), xticks=(0, 1), yticks=(0, 1), aspect="equal")
        label(axes, title, "input 1", "input 2")
    handles, names = grid[0, 2].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    return save(figure, out, "lecture-units")


def draw_descent(out: Path, descent: Descent) -> Path:
    """Step and sigmoid; the loss of one weight and the way down it."""
    figure, grid = figure_of(1, 2, (8.4, 3.1))
    left, right = grid[0]
    z = np.linspace(-6, 6, 241)
    left.plot(z, z >= 0, "--", color=COLORS[6], label="threshold unit")
    left.plot(z, sigmoid(z), "-", color=COLORS[0], label="sigmoid")
    left.plot(z, sigmoid(z) * sigmoid(-z), ":", color=COLORS[1], linewidth=2, label="its slope, at most 1/4")
    left.legend(fontsize=8.5, frameon=False, loc="upper left")
    label(left, "From a step to a slope", "weighted sum z", "output")
    low, high = min(-6.0, descent.weights.min() - 0.5), max(6.0, descent.weights.max() + 0.5)
    w = np.linspace(low, high, 241)
    right.plot(w, np.logaddexp(0, -w), color=COLORS[0], label="loss where the true output is 1")
    right.plot(*descent, "o-", color=COLORS[1], markersize=4, linewidth=0.8, label="gradient descent")
    right.annotate("start", (descent.weights[0], descent.losses[0]), (8, 4), textcoords="offset points", fontsize=8.5)
    right.legend(fontsize=8.5, frameon=False)
    label(right, "Against the gradient, down the loss", "weight", "binary cross-entropy [nat]")
    return save(figure, out, "lecture-gradient-descent")


def run(given: argparse.Namespace) -> Figures:
    """Count, learn, descend, draw, print."""
    counts = count_functions(given.step)
    missing = ["".join(map(str, function)) for function, count in counts.items() if count == 0]
    print(f"{sum(counts.values())} units tried; functions of two bits that none of them computes: {missing}")
    names = {(0, 0, 0, 1): "AND", (0, 1, 1, 1): "OR", (0, 1, 1, 0): "XOR"}
    learned = {names[f]: perceptron_rule(INPUTS, f, max_passes=100).mistakes for f in names}
    rows = [(name, counts[f], len(learned[name]), learned[name][-1]) for f, name in names.items()]
    print(table(("function", "units on the grid", "passes of the perceptron rule", "mistakes in the last"), rows))
    xor = XOR(INPUTS).tolist()
    print(f"two layers, (x1 or x2) and not (x1 and x2), on 00, 01, 10, 11: {xor}")
    descent = descend(given.start, given.learning_rate, given.steps)
    print(f"one sigmoid unit: loss {descent.losses[0]:.3f} -> {descent.losses[-1]:.3f} in {given.steps} steps")
    print(draw_units(given.out), draw_descent(given.out, descent), sep="\n")
    return Figures(counts, xor, min(learned["XOR"]), descent)


def main(arguments: Sequence[str] | None = None) -> Figures:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--step", type=float, default=0.1, help="of the grid of weights; default %(default)s")
    made.add_argument("--start", type=float, default=-5.0, help="the sigmoid unit's first weight; default %(default)s")
    made.add_argument("--learning-rate", type=float, default=1.0, help="default %(default)s")
    made.add_argument("--steps", type=int, default=20, help="of gradient descent; default %(default)s")
    given = made.parse_args(arguments)
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
