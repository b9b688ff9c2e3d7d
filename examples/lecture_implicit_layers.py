"""Implicit layers: derivatives of fixed points and of minima by the implicit function theorem.

python examples/lecture_implicit_layers.py
python examples/lecture_implicit_layers.py --size 20 --spectral-norm 0.99
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, MARKERS, answer, figure_of, label, parser, save, table

from planararm import make_arm, make_scene, project, solve_qp
from planararm.errors import InvalidInputError
from planararm.nn.implicit import Equilibrium, argmin_jacobian

FloatArray = npt.NDArray[np.float64]

HELP = """A layer whose output is defined by a condition has a derivative that needs the solution, not the way to it.

Fixed point: z = tanh(W z + x). One linear system at the solution gives what back-propagation through many steps
tends to, and what finite differences say.

Argmin (Gould et al. 2016): dy/dx = -f_yy^-1 f_xy. A bound y <= 1 as a log-barrier of sharpness t has a smooth
derivative that tends to the projection's, 1 inside and 0 at the bound. With equality constraints the system is
bordered; the example is an arm: the joint angles nearest to a reference that put the end effector on a target."""

SHARPNESS = (1.0, 10.0, 100.0, 1000.0)


class Figures(NamedTuple):
    """What the example measured: largest differences between derivatives.

    Attributes:
        fixed_point_differences: Implicit against finite differences.
        fixed_point_unrolled: Implicit against back-propagation through 1, 2, ... steps.
        fixed_point_start: Implicit at solutions found from two starts, against each other.
        quadratic: Implicit against finite differences, argmin of a quadratic function.
        barrier: The same, with a log-barrier, per sharpness.
        barrier_projection: The log-barrier's derivative against that of the exact projection, per sharpness.
        arm: The arm's, implicit against finite differences.
        arm_projection: The arm's, against the derivative that ``planararm.project`` returns.
    """

    fixed_point_differences: float
    fixed_point_unrolled: FloatArray
    fixed_point_start: float
    quadratic: float
    barrier: FloatArray
    barrier_projection: FloatArray
    arm: float
    arm_projection: float


def central_differences(f: Callable[[FloatArray], FloatArray], x: FloatArray, step: float = 1e-5) -> FloatArray:
    """``(outputs, inputs)`` derivative of ``f`` at ``x``."""
    columns = [(f(x + step * unit) - f(x - step * unit)) / (2 * step) for unit in np.eye(x.size)]
    return np.stack(columns, axis=-1)


def unrolled_gradients(weight: FloatArray, x: FloatArray, grad: FloatArray, most: int) -> FloatArray:
    """``dL/dx`` by back-propagation through 1, 2, ..., ``most`` steps ``z <- tanh(W z + x)`` from ``z = 0``."""
    signals = [np.zeros_like(x)]
    for _ in range(most):
        signals.append(np.tanh(weight @ signals[-1] + x))
    gradients = np.empty((most, x.size))
    for depth in range(1, most + 1):
        upstream, total = grad, np.zeros_like(x)
        for z in signals[depth:0:-1]:
            before = (1 - z**2) * upstream
            total += before
            upstream = weight.T @ before
        gradients[depth - 1] = total
    return gradients


def fixed_point(rng: np.random.Generator, size: int, norm: float, most: int) -> tuple[float, FloatArray, float]:
    """Compare three ways to the gradient of a fixed point.

    Returns:
        Implicit against finite differences, against unrolling, and against itself at a solution that Newton's method
        found from far away.
    """
    layer = Equilibrium(size, rng=rng, spectral_norm=norm)
    x, grad = rng.normal(size=size), rng.normal(size=size)
    z = layer.forward(x[None])[0]
    implicit = layer.backward(grad[None])[0]
    weight = layer.parameters["weight"]
    differences = central_differences(lambda v: np.atleast_1d(grad @ layer.forward(v[None])[0]), x)[0]
    unrolled = np.abs(unrolled_gradients(weight, x, grad, most) - implicit).max(axis=-1)
    other = np.clip(rng.normal(size=size), -1, 1)
    for _ in range(100):
        now = np.tanh(weight @ other + x)
        other = other - np.linalg.solve(np.eye(size) - (1 - now**2)[:, None] * weight, other - now)
    slope = 1 - other**2
    there = slope * np.linalg.solve((np.eye(size) - slope[:, None] * weight).T, grad)
    if np.abs(other - z).max() > 1e-8:
        raise InvalidInputError(f"Newton's method did not end at the fixed point with --spectral-norm {norm}.")
    return float(np.abs(implicit - differences).max()), unrolled, float(np.abs(implicit - there).max())


def quadratic(rng: np.random.Generator, size: int) -> float:
    """Argmin of ``1/2 y^T H y - y^T B x``, solved and differentiated."""
    root, mixed, x = rng.normal(size=(size, size)), rng.normal(size=(size, 3)), rng.normal(size=3)
    hessian = root @ root.T + np.eye(size)
    differences = central_differences(lambda v: np.linalg.solve(hessian, mixed @ v), x)
    return float(np.abs(argmin_jacobian(hessian, -mixed) - differences).max())


def barrier_argmin(x: FloatArray, sharpness: float) -> FloatArray:
    """Argmin over y < 1 of ``1/2 (y - x)^2 - log(1 - y) / t``: the smaller root of ``(y - x)(1 - y) + 1/t = 0``."""
    return (1 + x - np.sqrt((1 - x) ** 2 + 4 / sharpness)) / 2


def barrier_slope(x: FloatArray, sharpness: float) -> FloatArray:
    """Its derivative, by the implicit function theorem: ``f_yy = 1 + 1 / (t (1 - y)^2)``, ``f_xy = -1``."""
    y = barrier_argmin(x, sharpness)
    curvature = 1 + 1 / (sharpness * (1 - y) ** 2)
    return argmin_jacobian(curvature[:, None, None], -np.ones((1, 1)))[:, 0, 0]


def projected_slope(x: FloatArray) -> FloatArray:
    """Derivative of the exact projection onto ``y <= 1``, by the package's quadratic program."""
    solution = solve_qp(x[:, None], np.ones((1, 1)), np.ones(1))
    return np.asarray(solution.vjp(np.ones((x.size, 1))).x_ref)[:, 0]


def nearest_on_target(target: FloatArray, q_ref: FloatArray, arm: Any) -> tuple[FloatArray, FloatArray]:
    """Joint angles nearest to ``q_ref`` with the end effector on the target, by Newton's method on the conditions.

    Returns:
        ``q (n,)`` and the multipliers ``(2,)`` of the two constraints.
    """
    q, multipliers = q_ref.copy(), np.zeros(2)
    for _ in range(50):
        rows = arm.jacobian(q)
        stationarity = q - q_ref + rows.T @ multipliers
        off = arm.end_effector(q) - target
        system = np.block([[lagrangian_hessian(q, multipliers, arm), rows.T], [rows, np.zeros((2, 2))]])
        step = np.linalg.solve(system, -np.concatenate([stationarity, off]))
        q, multipliers = q + step[: q.size], multipliers + step[q.size :]
    return q, multipliers


def lagrangian_hessian(q: FloatArray, multipliers: FloatArray, arm: Any) -> FloatArray:
    """Of ``1/2 |q - q_ref|^2 + nu . (p(q) - target)``, where ``d2p/dq_i dq_j = -(p - p_max(i,j))``."""
    joints = arm.forward_kinematics(q)
    later = np.maximum.outer(np.arange(q.size), np.arange(q.size))
    return np.eye(q.size) - (joints[-1] - joints[later]) @ multipliers


def arm_on_target() -> tuple[float, float]:
    """Derivative of the nearest joint angles with respect to the target, three ways."""
    arm = make_arm("unit3")
    q_ref, target = np.array([0.3, 0.8, -0.4]), np.array([2.1, 1.9])
    q, multipliers = nearest_on_target(target, q_ref, arm)
    hessian = lagrangian_hessian(q, multipliers, arm)
    implicit = argmin_jacobian(hessian, np.zeros((3, 2)), arm.jacobian(q), -np.eye(2))
    differences = central_differences(lambda p: nearest_on_target(p, q_ref, arm)[0], target)
    projection = project(np.tile(q_ref, (3, 1)), make_scene("empty"), target_position=np.tile(target, (3, 1)))
    _, rows = projection.vjp(np.eye(3))
    return float(np.abs(implicit - differences).max()), float(np.abs(implicit - rows).max())


def draw(out: Path, figures: Figures, norm: float) -> Path:
    """Unrolling against depth; the barrier's minimum and its slope."""
    figure, grid = figure_of(1, 3, (9.6, 3.2))
    first, second, third = grid[0]
    depth = np.arange(1, figures.fixed_point_unrolled.size + 1)
    first.semilogy(depth, figures.fixed_point_unrolled, color=COLORS[0], label="unrolled")
    first.axhline(figures.fixed_point_differences, linestyle="--", color=COLORS[1], label="finite differences")
    first.legend(fontsize=8, frameon=False)
    label(first, f"Fixed point, |W| = {norm:g}", "steps unrolled", "difference to implicit gradient")
    x = np.linspace(-0.5, 2.5, 121)
    for i, sharpness in enumerate(SHARPNESS):
        look = {"color": COLORS[i], "marker": MARKERS[i], "markevery": 12, "markersize": 3.5, "linewidth": 1.2}
        second.plot(x, barrier_argmin(x, sharpness), label=f"t = {sharpness:g}", **look)
        third.plot(x, barrier_slope(x, sharpness), **look)
    second.plot(x, np.minimum(x, 1), "--", color=COLORS[6], label="projection")
    third.plot(x, projected_slope(x), "--", color=COLORS[6])
    second.legend(fontsize=8, frameon=False)
    label(second, "Argmin under y < 1, log-barrier", "x", "y(x)")
    label(third, "Its derivative", "x", "dy/dx")
    return save(figure, out, "lecture-implicit-layers")


def run(given: argparse.Namespace) -> Figures:
    """Differentiate in several ways, compare, draw, print."""
    rng = np.random.default_rng(given.seed)
    differences, unrolled, start = fixed_point(rng, given.size, given.spectral_norm, given.depth)
    x = np.linspace(-0.5, 2.5, 31)
    away = np.abs(x - 1) > 0.15
    barrier, gaps = [], []
    for sharpness in SHARPNESS:
        slope = barrier_slope(x, sharpness)
        rise = (barrier_argmin(x + 1e-5, sharpness) - barrier_argmin(x - 1e-5, sharpness)) / 2e-5
        barrier.append(np.abs(slope - rise).max())
        gaps.append(np.abs(slope - projected_slope(x))[away].max())
    figures = Figures(
        differences, unrolled, start, quadratic(rng, given.size), np.array(barrier), np.array(gaps), *arm_on_target()
    )
    rows = [
        ("fixed point: finite differences", f"{differences:.1e}"),
        (f"fixed point: unrolled, 1 / {given.depth} steps", f"{unrolled[0]:.1e} / {unrolled[-1]:.1e}"),
        ("fixed point: solved by Newton's method from elsewhere", f"{start:.1e}"),
        ("argmin of a quadratic: finite differences", f"{figures.quadratic:.1e}"),
        ("argmin with log-barrier: finite differences", f"{figures.barrier.max():.1e}"),
        ("... and the projection, t = 1 / 1000", f"{gaps[0]:.1e} / {gaps[-1]:.1e}"),
        ("argmin on a constraint, the arm: finite differences", f"{figures.arm:.1e}"),
        ("... and planararm.project", f"{figures.arm_projection:.1e}"),
    ]
    print(table(("implicit function theorem against", "largest difference"), rows))
    print(draw(given.out, figures, given.spectral_norm))
    return figures


def main(arguments: Sequence[str] | None = None) -> Figures:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--size", type=int, default=8, help="of the fixed point's vector; default %(default)s")
    made.add_argument("--spectral-norm", type=float, default=0.9, help="of W; default %(default)s")
    made.add_argument("--depth", type=int, default=40, help="steps unrolled at most; default %(default)s")
    given = made.parse_args(arguments)
    if given.depth < 1:
        made.error(f"--depth must be >= 1, got {given.depth}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
