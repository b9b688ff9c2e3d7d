"""How well a hidden polytope is recovered from pairs of points and their projections.

    python benchmarks/learned_polytope.py [--pairs 2000] [--repeats 5] [--steps 400] [--noise 0.01]

Hidden polytopes are boxes and sets of 6 random half-spaces (drawn until bounded) in 2 and 3 dimensions, away from the
origin. Points are uniform over twice the polytope's bounding box. Errors are relative to the polytope's width: the RMSE
of the projection on as many fresh pairs, and the largest difference of the support function in 64 directions; the
worst of all repeats is shown. Beside it: the layer before training (as constructed, and circumscribed about the data),
and a layer whose coefficients are independent random numbers of the order 1e-4, as one might write it at first.
Exits with status 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from planararm.projection.learned import LearnedPolytope, polytope_support, spread_directions
from planararm.projection.learned_fit import fit
from planararm.projection.qp import solve_qp
from planararm.projection.torch_layer import QPProjection

MOST_RMSE = 1e-2
MOST_SUPPORT = 2e-2
UNTRAINED_FACTOR = 10
ROWS = {2: 12, 3: 20}

Hidden = tuple[np.ndarray, np.ndarray]


def box(rng: np.random.Generator, n: int) -> Hidden:
    return np.vstack([np.eye(n), -np.eye(n)]), rng.uniform(0.5, 1.5, 2 * n)


def six_half_spaces(rng: np.random.Generator, n: int) -> Hidden:
    while True:
        G = rng.normal(size=(6, n))
        G /= np.linalg.norm(G, axis=1, keepdims=True)
        h = rng.uniform(0.5, 1.5, 6)
        if polytope_support(G, h, np.vstack([np.eye(n), -np.eye(n)])).max() < 4:
            return G, h


class SmallRandomQP(torch.nn.Module):
    """min 1/2 |P (z - y)|^2 + q z subject to G z <= h, every coefficient free, 1e-4 times a normal number at first."""

    def __init__(self, n: int, m: int, rng: torch.Generator) -> None:
        super().__init__()
        shapes = {"P": (n, n), "q": (n,), "G": (m, n), "h": (m,)}
        for name, shape in shapes.items():
            values = 1e-4 * torch.randn(*shape, generator=rng, dtype=torch.float64)
            self.register_parameter(name, torch.nn.Parameter(values))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Solve for y."""
        # Without the small multiple of the identity it is not even strictly convex.
        H = self.P.T @ self.P + 1e-12 * torch.eye(len(self.q), dtype=torch.float64)
        return QPProjection()(y - torch.linalg.solve(H, self.q), self.G, self.h, H=H)


def train_small_random(layer: SmallRandomQP, raw: torch.Tensor, target: torch.Tensor, steps: int) -> bool:
    """Adam at the same rate; whether the first gradient was zero in every entry, so that nothing can ever change."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(((layer(raw) - target) ** 2).sum(dim=1).mean())
        if step == 0 and all(not parameter.grad.any() for parameter in layer.parameters()):
            return True
        optimizer.step()
    return False


class Task:
    """One hidden polytope with its pairs."""

    def __init__(self, hidden: Hidden, rng: np.random.Generator, count: int) -> None:
        G, h = hidden
        self.n = G.shape[1]
        shift = rng.choice([-1.0, 1.0], self.n) * rng.uniform(1, 2, self.n)
        self.G, self.h = G, h + G @ shift
        ends = polytope_support(self.G, self.h, np.vstack([np.eye(self.n), -np.eye(self.n)]))
        low, high = -ends[self.n :], ends[: self.n]
        self.width = (high - low).max()
        raw = (low + high) / 2 + (high - low) * rng.uniform(-1, 1, (2 * count, self.n))
        target = solve_qp(raw, self.G, self.h).x
        self.raw, self.target, self.fresh, self.expected = raw[:count], target[:count], raw[count:], target[count:]

    def rmse(self, layer: torch.nn.Module) -> float:
        """On fresh pairs, relative to the width; nan if the layer's set is empty."""
        with torch.no_grad():
            answer = layer(torch.from_numpy(self.fresh)).numpy()
        return float(np.sqrt(((answer - self.expected) ** 2).sum(axis=1).mean())) / self.width

    def support_error(self, layer: LearnedPolytope) -> float:
        """The largest difference of the support function in 64 directions, relative to the width."""
        directions = spread_directions(64, self.n)
        return (
            float(np.abs(layer.support(directions) - polytope_support(self.G, self.h, directions)).max()) / self.width
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument(
        "--noise", type=float, default=0.01, help="of the targets, in a second run; fraction of the width"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    console = Console()
    kinds = {
        f"{name}, n = {n}": (draw, n) for n in ROWS for name, draw in (("box", box), ("6 half-spaces", six_half_spaces))
    }
    names = (
        "RMSE as constructed", "RMSE circumscribed", "RMSE trained", "support trained", "RMSE trained, noise",
        "support trained, noise", "seconds", "no gradient", "RMSE small random",
    )  # fmt: skip
    measured = {kind: {name: [] for name in names} for kind in kinds}
    work = [(kind, seed) for kind in kinds for seed in range(options.seed, options.seed + options.repeats)]
    for kind, seed in track(work, "training", console=console):
        draw, n = kinds[kind]
        rng, found = np.random.default_rng([seed, n, len(kind)]), measured[kind]
        task = Task(draw(rng, n), rng, options.pairs)
        layer = LearnedPolytope(n, ROWS[n])
        found["RMSE as constructed"].append(task.rmse(layer))
        layer.enclose(task.target)
        found["RMSE circumscribed"].append(task.rmse(layer))
        start = time.perf_counter()
        fit(layer, task.raw, task.target, steps=options.steps, seed=seed)
        found["seconds"].append(time.perf_counter() - start)
        found["RMSE trained"].append(task.rmse(layer))
        found["support trained"].append(task.support_error(layer))
        noise = options.noise * task.width * rng.normal(size=task.target.shape)
        fit(layer, task.raw, task.target + noise, steps=options.steps, seed=seed)
        found["RMSE trained, noise"].append(task.rmse(layer))
        found["support trained, noise"].append(task.support_error(layer))
        # Fewer rows, so that not every draw of them is empty from the start.
        small = SmallRandomQP(n, 6, torch.Generator().manual_seed(seed))
        raw, target = torch.from_numpy(task.raw), torch.from_numpy(task.target)
        found["no gradient"].append(train_small_random(small, raw, target, options.steps))
        found["RMSE small random"].append(task.rmse(small))

    table = Table(title=f"{options.pairs:,} pairs, {options.repeats} polytopes each, seed {options.seed}")
    for column in ("hidden polytope", "what", "measured", "target"):
        table.add_column(column, justify="left" if column in ("hidden polytope", "what") else "right")
    missed = 0

    def add(kind: str, what: str, value: str, target: str = "", met: bool = True) -> None:
        nonlocal missed
        missed += not met
        table.add_row(kind, what, value if met else f"[red]{value}[/red]", target)

    for kind, found in measured.items():
        worst = {name: max(values) for name, values in found.items()}
        least = min(found["RMSE as constructed"])
        must = UNTRAINED_FACTOR * MOST_RMSE
        add(kind, "RMSE before training, least", f"{least:.2g}", f"> {must:g}", least > must)
        add("", "RMSE circumscribed about the data, worst", f"{worst['RMSE circumscribed']:.2g}")
        for label, suffix in (("", ""), (f", noise {options.noise:g}", ", noise")):
            rmse, support = worst[f"RMSE trained{suffix}"], worst[f"support trained{suffix}"]
            add("", f"RMSE trained{label}, worst", f"{rmse:.2g}", f"< {MOST_RMSE:g}", rmse < MOST_RMSE)
            add(
                "",
                f"support error trained{label}, worst",
                f"{support:.2g}",
                f"< {MOST_SUPPORT:g}",
                support < MOST_SUPPORT,
            )
        add("", "seconds of training, median", f"{np.median(found['seconds']):.1f}")
        best = np.nan_to_num(found["RMSE small random"], nan=np.inf).min()
        text = "infeasible" if best == np.inf else f"{best:.2g}"
        add("", "1e-4 random coefficients: RMSE trained, best", text, f"fails: > {MOST_RMSE:g}", best > MOST_RMSE)
        unanswered = np.isnan(found["RMSE small random"]).sum()
        counts = f"{int(sum(found['no gradient']))} / {unanswered} of {options.repeats}"
        add("", "their set is empty at the start / at the end", counts)
        table.add_section()
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
