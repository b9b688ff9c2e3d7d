"""Forward and backward passes of differentiable projections per second: planararm's against its peers, in one run.

    pip install -r benchmarks/requirements.txt
    pip install --no-deps qpth==0.0.18
    python benchmarks/projection.py [--count 16384] [--rounds 5] [--seed 0]

The problems are min 1/2 |x - x_ref|^2 with n = 3, 9 half-spaces and a box, float64, the same for all: feasible, and
about 90 % of them have an active row. Everyone gets x_ref, G and h as leaves and computes the gradients of all three
from the same outer gradient; those who know no bounds get the box as six more rows. All cores, everyone as fast as its
interface allows: moreau through its own torch solver and through cvxpylayers, QPLayer with OpenMP, qpax compiled. Slow
peers get fewer problems; what counts is the rate. They take turns in every round, a turn is a call that does not count
(the caches and threads of the one before) and then calls for a fifth of a second or more; the table shows medians over
all of them. Next to the rates: how far the answers are from planararm's, as 99th percentiles over the problems of the
largest difference of x and of the gradient of x_ref, and how many x are farther away than 1e-4. Peers run with the
tolerances that they come with. One that is not installed is named and left out. qpth asks for NumPy < 2 but works with
2, hence ``--no-deps``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import planararm
from planararm.projection.torch_layer import QPProjection

N, ROWS = 3, 9
BOX = 1.5
TURN = 0.2
AWAY = 1e-4

Tensor = torch.Tensor
Solve = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problems:
    """The same for all: ``x_ref (N, n)``, ``G (N, m, n)``, ``h (N, m)`` and the outer gradient ``(N, n)``."""

    x_ref: np.ndarray
    G: np.ndarray
    h: np.ndarray
    outer: np.ndarray

    def first(self, count: int) -> Problems:
        """The first few."""
        return Problems(self.x_ref[:count], self.G[:count], self.h[:count], self.outer[:count])


@dataclass
class Racer:
    """One layer, ready to run: ``run()`` gives x and the gradient of x_ref; ``target`` is how much slower it may be."""

    count: int
    run: Callable[[], tuple[np.ndarray, np.ndarray]]
    target: float | None = None


def random_problems(count: int, seed: int) -> Problems:
    rng = np.random.default_rng(seed)
    inside = rng.uniform(-1, 1, (count, N))
    G = rng.normal(size=(count, ROWS, N))
    h = (G @ inside[..., None])[..., 0] + np.abs(rng.normal(size=(count, ROWS)))
    return Problems(0.5 * rng.normal(size=(count, N)), G, h, rng.normal(size=(count, N)))


def torch_racer(solve: Solve, problems: Problems, count: int, target: float | None = None) -> Racer:
    part = problems.first(count)
    x_ref, G, h = (torch.tensor(value, requires_grad=True) for value in (part.x_ref, part.G, part.h))
    outer = torch.tensor(part.outer)

    def run() -> tuple[np.ndarray, np.ndarray]:
        for leaf in (x_ref, G, h):
            leaf.grad = None
        x = solve(x_ref, G, h)
        x.backward(outer)
        return x.detach().numpy(), x_ref.grad.numpy()

    return Racer(len(part.x_ref), run, target)


def with_box(G: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The box as six more rows."""
    identity = torch.eye(N, dtype=G.dtype).expand(len(G), N, N)
    side = torch.full((len(G), 2 * N), BOX, dtype=G.dtype)
    return torch.cat([G, -identity, identity], dim=1), torch.cat([h, side], dim=1)


def ours(problems: Problems, count: int) -> Racer:
    layer = QPProjection()
    bound = torch.full((N,), BOX, dtype=torch.float64)
    return torch_racer(lambda x_ref, G, h: layer(x_ref, G, h, -bound, bound), problems, count)


def cvxpylayers(problems: Problems, count: int, solver: str | None = None, target: float | None = None) -> Racer:
    import cvxpy as cp
    from cvxpylayers.torch import CvxpyLayer

    if solver == "MOREAU":
        import moreau.torch  # noqa: F401
    x, x_ref, G, h = cp.Variable(N), cp.Parameter(N), cp.Parameter((ROWS, N)), cp.Parameter(ROWS)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(x - x_ref)), [G @ x <= h, x >= -BOX, x <= BOX])
    layer = CvxpyLayer(problem, [x_ref, G, h], [x], solver=solver)
    return torch_racer(lambda *leaves: layer(*leaves)[0], problems, count, target)


def moreau(problems: Problems, count: int) -> Racer:
    import moreau
    import moreau.torch

    rows = ROWS + 2 * N
    count = min(count, len(problems.x_ref))
    # Rows of G are dense, those of the box have one entry each.
    offsets = np.concatenate([np.arange(ROWS + 1) * N, ROWS * N + np.arange(1, 2 * N + 1)])
    columns = np.concatenate([np.tile(np.arange(N), ROWS), np.tile(np.arange(N), 2)])
    solver = moreau.torch.Solver(
        N, rows, torch.arange(N + 1), torch.arange(N), torch.from_numpy(offsets), torch.from_numpy(columns),
        cones=moreau.Cones(num_nonneg_cones=rows),
        settings=moreau.Settings(device="cpu", batch_size=count, enable_grad=True),
    )  # fmt: skip
    identity = torch.ones(count, N, dtype=torch.float64)
    side = torch.full((count, 2 * N), BOX, dtype=torch.float64)

    def solve(x_ref: Tensor, G: Tensor, h: Tensor) -> Tensor:
        A = torch.cat([G.reshape(count, ROWS * N), -identity, identity], dim=1)
        return solver.solve(identity, A, -x_ref, torch.cat([h, side], dim=1)).x

    return torch_racer(solve, problems, count, 40)


def qpth(problems: Problems, count: int) -> Racer:
    from qpth.qp import QPFunction

    function, none = QPFunction(verbose=-1, check_Q_spd=False), torch.empty(0, dtype=torch.float64)
    Q = torch.eye(N, dtype=torch.float64).expand(min(count, len(problems.x_ref)), N, N)
    return torch_racer(lambda x_ref, G, h: function(Q, -x_ref, *with_box(G, h), none, none), problems, count, 200)


def qplayer(problems: Problems, count: int) -> Racer:
    from proxsuite.torch.qplayer import QPFunction

    function, none = QPFunction(omp_parallel=True), torch.empty(0, dtype=torch.float64)
    Q = torch.eye(N, dtype=torch.float64)

    def solve(x_ref: Tensor, G: Tensor, h: Tensor) -> Tensor:
        rows, sides = with_box(G, h)
        return function(Q, -x_ref, none, none, rows, torch.full_like(sides, -1e20), sides)[0]

    return torch_racer(solve, problems, count, 200)


def qpax(problems: Problems, count: int) -> Racer:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    import qpax

    part = problems.first(count)
    identity, none = jnp.eye(N), jnp.zeros((0, N))

    def project(x_ref: Any, G: Any, h: Any) -> Any:
        rows, sides = jnp.vstack([G, -identity, identity]), jnp.concatenate([h, jnp.full(2 * N, BOX)])
        return qpax.solve_qp_primal(identity, -x_ref, none, jnp.zeros(0), rows, sides)

    @jax.jit
    def both(x_ref: Any, G: Any, h: Any, outer: Any) -> Any:
        x, pull = jax.vjp(jax.vmap(project), x_ref, G, h)
        return x, pull(outer)

    leaves = [jnp.asarray(value) for value in (part.x_ref, part.G, part.h, part.outer)]

    def run() -> tuple[np.ndarray, np.ndarray]:
        x, grads = jax.block_until_ready(both(*leaves))
        return np.asarray(x), np.asarray(grads[0])

    return Racer(len(part.x_ref), run)


def turn(racer: Racer) -> list[float]:
    """Problems per second of each call, for at least ``TURN`` seconds."""
    rates, begin = [], time.perf_counter()
    while not rates or time.perf_counter() - begin < TURN:
        start = time.perf_counter()
        racer.run()
        rates.append(racer.count / (time.perf_counter() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16_384, help="problems; slow peers get fewer")
    parser.add_argument("--rounds", type=int, default=5, help="how often each has its turn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    problems, most = random_problems(options.count, options.seed), options.count
    entrants: dict[str, Callable[[], Racer]] = {
        "planararm": lambda: ours(problems, most),
        "moreau": lambda: moreau(problems, most),
        "cvxpylayers, MOREAU": lambda: cvxpylayers(problems, most, "MOREAU"),
        "cvxpylayers, default": lambda: cvxpylayers(problems, 512, None, 1000),
        "qpth": lambda: qpth(problems, most),
        "proxsuite QPLayer": lambda: qplayer(problems, 4096),
        "qpax": lambda: qpax(problems, most),
    }
    with Progress(transient=True) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        racers, missing = {}, []
        for name, build in entrants.items():
            try:
                racers[name] = build()
            except ImportError as cause:
                what = "--no-deps qpth==0.0.18" if cause.name == "qpth" else "-r benchmarks/requirements.txt"
                missing.append(f"{name}: not installed ({cause}): pip install {what}")
        task = progress.add_task("projecting", total=options.rounds * len(racers))
        rates: dict[str, list[float]] = {name: [] for name in racers}
        answers = {}
        for _ in range(options.rounds):
            for name, racer in racers.items():
                answers[name] = tuple(part.copy() for part in racer.run())
                rates[name] += turn(racer)
                progress.advance(task)
    median = {name: statistics.median(values) for name, values in rates.items()}
    x, grad = answers["planararm"]
    active = np.mean(np.abs(x - problems.x_ref).max(axis=1) > 0)
    table = Table(
        title=f"planararm {planararm.__version__}, torch {torch.__version__}, {os.cpu_count()} cores: forward and "
        f"backward, n = {N}, {ROWS} half-spaces and a box, {100 * active:.0f} % of the problems with an active row"
    )
    for column in ("layer", "problems", "per second", "we are faster by", "target", "x off", "gradient off", "x wrong"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for name, racer in racers.items():
        cells = [name, f"{racer.count:,}", f"{median[name]:,.0f}"]
        if name != "planararm":
            away = np.abs(answers[name][0] - x[: racer.count]).max(axis=1)
            off = np.abs(answers[name][1] - grad[: racer.count]).max(axis=1)
            cells += [
                f"{median['planararm'] / median[name]:,.0f}",
                "" if racer.target is None else f"{racer.target:,.0f}",
                f"{np.quantile(away, 0.99):.0e}",
                f"{np.quantile(off, 0.99):.0e}",
                f"{int((away > AWAY).sum()):,}",
            ]
        table.add_row(*cells)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    for line in missing:
        console.print(line)


if __name__ == "__main__":
    main()
