"""Bias and variance: how large a network, how much data, how deep.

python examples/lecture_bias_variance.py
python examples/lecture_bias_variance.py --noise 0 --steps 6000
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, MARKERS, answer, figure_of, label, parser, save, table

from planararm import make_arm
from planararm.nn.losses import mean_squared_error
from planararm.nn.network import Network, mlp
from planararm.nn.optimisers import Adam
from planararm.nn.schedules import cosine
from planararm.nn.training import fit
from planararm.nn.validation import cross_validate, learning_curve

FloatArray = npt.NDArray[np.float64]

NUM_FOLDS = 5
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)
SIZES = (20, 40, 80, 160, 320, 640, 1280, 2560)
DEGREES = tuple(range(10))
CUBIC = np.polynomial.legendre.Legendre([0.2, -0.5, 0.3, 0.8])
"""The toy's true function, of degree 3."""

HELP = """A model that is too small misses the pattern (bias), one too large for its data fits the noise (variance).

1. A cubic with noise, fitted by polynomials of degree 0 to 9 to 300 fresh data sets: bias and variance themselves.
2. Inverse kinematics of Duka's arm, (x, y, orientation) to joint angles, from 80 samples with noise: networks of width
   1 to 128; 5-fold cross-validation picks a width without looking at the test data.
3. The same from 20 to 2,560 samples without noise: a small network's errors meet early and high, a large one's late
   and low.
4. Depth against width at equal numbers of parameters."""


class Task(NamedTuple):
    """Samples of the inverse kinematics of Duka's arm.

    Attributes:
        q: ``(batch, 3)`` joint angles [rad].
        x: ``(batch, 3)`` end effector and orientation, scaled to [-1, 1].
        y: ``(batch, 3)`` joint angles, scaled to [-1, 1].
    """

    q: FloatArray
    x: FloatArray
    y: FloatArray


class Toy(NamedTuple):
    """Per degree: squared bias, variance, training error, cross-validation error of one data set."""

    bias: FloatArray
    variance: FloatArray
    training: FloatArray
    validation: FloatArray


class Figures(NamedTuple):
    """What the example measured.

    Attributes:
        toy: Bias and variance of polynomials.
        widths: ``(widths, 3)`` training, cross-validation and test error.
        sizes: By width, ``(sizes, 2)`` training and test error.
        depths: ``(depth, width, parameters, test error)``.
    """

    toy: Toy
    widths: FloatArray
    sizes: dict[int, FloatArray]
    depths: list[tuple[int, int, int, float]]


ARM = make_arm("duka")
MIDDLE, HALF = ARM.joint_limits.mean(axis=-1), np.ptp(ARM.joint_limits, axis=-1) / 2


def draw_task(rng: np.random.Generator, count: int, noise: float = 0.0) -> Task:
    """Uniform joint angles, where they lead, and what is measured of them: scaled angles with normal noise."""
    q = rng.uniform(*ARM.joint_limits.T, (count, 3))
    orientation = q.sum(axis=-1, keepdims=True) / np.abs(ARM.joint_limits.sum(axis=0)).max()
    x = np.concatenate([np.asarray(ARM.end_effector(q)) / ARM.reach, orientation], axis=-1)
    return Task(q, x, (q - MIDDLE) / HALF + noise * rng.normal(size=q.shape))


def train(
    sizes: Sequence[int], x: FloatArray, y: FloatArray, steps: int, rate: float, seed: Sequence[int], batch: int = 64
) -> Network:
    """A tanh network of these layer sizes, after about ``steps`` steps of Adam with a falling rate."""
    rng = np.random.default_rng(seed)
    network = mlp(sizes, "tanh", rng=rng)
    batch = min(batch, len(x))
    per_epoch = -(-len(x) // batch)
    num_epochs = max(1, steps // per_epoch)
    fit(
        network, mean_squared_error, Adam(network, rate), x, y, num_epochs=num_epochs, batch_size=batch,
        schedule=cosine(num_epochs * per_epoch), rng=rng,
    )  # fmt: skip
    return network


def error_of(network: Network, x: FloatArray, y: FloatArray) -> float:
    """Mean squared error."""
    return mean_squared_error(network.forward(x), y)[0]


def polynomial_errors(
    degree: int, x: FloatArray, y: FloatArray, x_test: FloatArray, y_test: FloatArray
) -> tuple[float, float]:
    """Training and test error of the least-squares polynomial."""
    fitted = np.polynomial.legendre.Legendre.fit(x, y, degree, domain=[-1, 1])
    return float(np.mean((fitted(x) - y) ** 2)), float(np.mean((fitted(x_test) - y_test) ** 2))


def toy_study(seed: int, num_sets: int, count: int = 30, noise: float = 0.3) -> Toy:
    """Fit polynomials to many data sets of the cubic; cross-validate on the first."""
    rng = np.random.default_rng([seed, 0])
    grid = np.linspace(-1, 1, 200)
    xs = rng.uniform(-1, 1, (num_sets, count))
    ys = CUBIC(xs) + noise * rng.normal(size=xs.shape)
    rows = []
    for degree in DEGREES:
        score = functools.partial(polynomial_errors, degree)
        fits = [np.polynomial.legendre.Legendre.fit(x, y, degree, domain=[-1, 1]) for x, y in zip(xs, ys, strict=True)]
        curves = np.array([fit(grid) for fit in fits])
        residuals = [np.mean((fit(x) - y) ** 2) for fit, x, y in zip(fits, xs, ys, strict=True)]
        held_out = cross_validate(score, xs[0], ys[0], k=NUM_FOLDS, rng=np.random.default_rng([seed, 10])).test
        bias = np.mean((curves.mean(axis=0) - CUBIC(grid)) ** 2)
        rows.append((bias, curves.var(axis=0).mean(), np.mean(residuals), held_out.mean()))
    return Toy(*np.array(rows).T)


def width_study(given: argparse.Namespace, test: Task, widths: Sequence[int], count: int = 80) -> FloatArray:
    """``(widths, 3)`` training, cross-validation and test error; the test error is against noisy answers too."""
    data, found = draw_task(np.random.default_rng([given.seed, 2]), count, given.noise), []
    for width in widths:

        def score(
            x: FloatArray, y: FloatArray, x_test: FloatArray, y_test: FloatArray, width: int = width
        ) -> tuple[float, float]:
            network = train([3, width, 3], x, y, given.steps, 0.02, [given.seed, 3], batch=count)
            return error_of(network, x, y), error_of(network, x_test, y_test)

        # The same folds for every width.
        folds = cross_validate(score, data.x, data.y, k=NUM_FOLDS, rng=np.random.default_rng([given.seed, 10]))
        training, fresh = score(data.x, data.y, test.x, test.y)
        found.append((training, folds.test.mean(), fresh + given.noise**2))
    return np.array(found)


def size_study(given: argparse.Namespace, test: Task, width: int, sizes: Sequence[int]) -> FloatArray:
    """``(sizes, 2)`` training and test error of one width."""
    data = draw_task(np.random.default_rng([given.seed, 4]), max(sizes))

    def score(x: FloatArray, y: FloatArray, x_test: FloatArray, y_test: FloatArray) -> tuple[float, float]:
        network = train([3, width, 3], x, y, given.steps // 2, 0.02, [given.seed, 5])
        return error_of(network, x, y), error_of(network, x_test, y_test)

    rng = np.random.default_rng([given.seed, 11])
    return np.stack(learning_curve(score, data.x, data.y, sizes, validation=(test.x, test.y), rng=rng), axis=-1)


def layer_sizes(depth: int, num_parameters: int) -> list[int]:
    """Three inputs, ``depth`` hidden layers as wide as ``num_parameters`` allows, three outputs."""

    def count(width: int) -> int:
        return 3 * width + width + (depth - 1) * width * (width + 1) + 3 * (width + 1)

    width = 1
    while count(width + 1) <= num_parameters:
        width += 1
    return [3, *[width] * depth, 3]


def depth_study(given: argparse.Namespace, test: Task) -> list[tuple[int, int, int, float]]:
    """Depth, width, parameters, and test error as the mean over three seeds."""
    data, found = draw_task(np.random.default_rng([given.seed, 6]), 4000), []
    for depth in (1, 2, 3, 4):
        sizes, errors = layer_sizes(depth, given.parameters), []
        for i in range(3):
            network = train(sizes, data.x, data.y, 3 * given.steps // 2, 0.01, [given.seed, 7, i])
            errors.append(error_of(network, test.x, test.y))
        found.append((depth, sizes[1], network.num_parameters, float(np.mean(errors))))
    return found


def draw_toy(axes: Any, toy: Toy) -> None:
    """Bias, variance and their sum over the degree."""
    axes.semilogy(DEGREES, toy.bias, "-", marker=MARKERS[0], markersize=4, color=COLORS[0], label="bias, squared")
    axes.semilogy(DEGREES, toy.variance, "--", marker=MARKERS[1], markersize=4, color=COLORS[1], label="variance")
    axes.semilogy(DEGREES, toy.validation, ":", marker=MARKERS[2], markersize=4, color=COLORS[2], label="5-fold error")
    axes.legend(fontsize=8, frameon=False)
    label(axes, "A cubic with noise, by polynomials", "degree", "mean squared error")


def draw(out: Path, figures: Figures, widths: Sequence[int]) -> Path:
    """Toy, width, amount of data, depth."""
    figure, grid = figure_of(2, 2, (9.4, 6.4))
    draw_toy(grid[0, 0], figures.toy)
    axes = grid[0, 1]
    for i, name in enumerate(("training", "5-fold validation", "test")):
        style = ("-", ":", "--")[i]
        axes.semilogx(widths, figures.widths[:, i], style, marker=MARKERS[i], markersize=4, color=COLORS[i], label=name)
    axes.axvline(picked(figures.widths, widths), color=COLORS[6], linewidth=0.8)
    axes.annotate("picked ", (picked(figures.widths, widths), figures.widths.max()), fontsize=8.5, ha="right")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.legend(fontsize=8, frameon=False)
    label(axes, "Inverse kinematics: width", "hidden units", "mean squared error, scaled angles")
    axes = grid[1, 0]
    for i, (width, errors) in enumerate(figures.sizes.items()):
        look = {"color": COLORS[i], "marker": MARKERS[i], "markersize": 4}
        axes.loglog(SIZES[: len(errors)], errors[:, 0], "-", label=f"width {width}: training", **look)
        axes.loglog(SIZES[: len(errors)], errors[:, 1], "--", label=f"width {width}: test", **look)
    axes.legend(fontsize=8, frameon=False)
    label(axes, "Amount of data", "training samples", "mean squared error, scaled angles")
    axes = grid[1, 1]
    depths = [row[0] for row in figures.depths]
    axes.bar(depths, [row[3] for row in figures.depths], color=COLORS[0], alpha=0.75, width=0.55)
    axes.set_xticks(depths, [f"{depth} x {width}\n{size} par." for depth, width, size, _ in figures.depths])
    label(axes, "Depth against width", "hidden layers x width", "test mean squared error")
    return save(figure, out, "lecture-bias-variance")


def picked(errors: FloatArray, widths: Sequence[int]) -> int:
    """The width of least cross-validation error."""
    return int(widths[int(np.argmin(errors[:, 1]))])


def run(given: argparse.Namespace) -> Figures:
    """Study, draw, print."""
    test = draw_task(np.random.default_rng([given.seed, 1]), 2000)
    figures = Figures(
        toy_study(given.seed, given.data_sets),
        width_study(given, test, given.widths),
        {width: size_study(given, test, width, SIZES[: given.num_sizes]) for width in (2, 64)},
        depth_study(given, test),
    )
    toy = figures.toy
    print(table(("degree", "bias^2", "variance", "training", "5-fold"), zip(DEGREES, *np.round(toy, 4), strict=True)))
    print(f"the cubic: 5-fold cross-validation picks degree {DEGREES[int(np.argmin(toy.validation))]}")
    rows = zip(given.widths, *np.round(figures.widths, 4).T, strict=True)
    print(table(("width", "training", "5-fold", "test"), rows))
    print(f"inverse kinematics, 80 noisy samples: picks width {picked(figures.widths, given.widths)}")
    for width, errors in figures.sizes.items():
        rows = zip(SIZES, *np.round(errors, 4).T, strict=False)
        print(table((f"samples, width {width}", "training", "test"), rows))
    print(table(("depth", "width", "parameters", "test"), ((*row[:3], f"{row[3]:.5f}") for row in figures.depths)))
    print(draw(given.out, figures, given.widths))
    return figures


def main(arguments: Sequence[str] | None = None) -> Figures:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--noise", type=float, default=0.3, help="of 2., fraction of half a joint's range; %(default)s")
    made.add_argument("--steps", type=int, default=3000, help="of Adam in 2.; half in 3., 1.5 times in 4.; %(default)s")
    made.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="of 2.; default %(default)s")
    made.add_argument("--data-sets", type=int, default=300, help="of 1.; default %(default)s")
    made.add_argument("--num-sizes", type=int, default=len(SIZES), help="of 3., from 20 doubling; default %(default)s")
    made.add_argument("--parameters", type=int, default=1000, help="of 4.; default %(default)s")
    given = made.parse_args(arguments)
    for name, least in (("steps", 1), ("data_sets", 2), ("num_sizes", 1), ("parameters", 100)):
        if getattr(given, name) < least:
            made.error(f"--{name.replace('_', '-')} must be >= {least}, got {getattr(given, name)}")
    if min(given.widths) < 1 or not 0 <= given.noise <= 1:
        made.error(f"--widths must be >= 1 and --noise in [0, 1], got {given.widths} and {given.noise}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
