"""The exact projection on problems made to be hard, checked against quadprog and against what is known of them.

    python benchmarks/projection_exactness.py [--count 100000] [--seed 0]

2 to 7 variables, 1 to 40 rows, a box. The families, in equal shares:

* plain: random rows, a random point inside.
* metric: the same with a random H, condition up to 1e4.
* vertex: most rows meet in one point, many more than there are variables.
* duplicates: half of the rows are multiples of the other half, with the same or a looser right-hand side.
* near-parallel: pairs of rows at angles of 1e-9 to 1e-3, half of the rows through one point.
* wedges: the same pairs, but facing each other: the set between them is as thin as the angle, with room for a ball of
  radius 2e-9.
* pinned: near-parallel pairs that press at a known solution, since x_ref is that plus a positive sum of their normals.
* scales: rows of lengths from 1e-8 to 1e8.
* thin: a set of width 1e-8 (rows whose positive combination is zero), among other rows.
* empty: rows of length one whose positive combination is zero miss each other by 1.5e-9 to 1 (Farkas' lemma: no point
  is closer to all of them), among other rows.

Residuals are computed anew here. Those of stationarity and complementarity are relative to one plus the sum of
|multiplier * row|, the forces that balance: the multipliers of wedges are as large as 1e9, and their rounding alone is
1e-7. quadprog, whose tolerances are absolute, gets all rows at length one. A difference from quadprog is divided by the
condition number of the active rows (at length one, in the metric of H): ours, quadprog's, or two of which one is ours
and one quadprog's, whichever is largest: where the two hold different rows of a near-parallel pair, the pair decides
how well the solution is determined. Where more than 1e-11 is left, the dispute is settled in rational arithmetic: the
point under one's active rows that meets all optimality conditions exactly is the solution, and our difference from that
counts; whoever is nearer to it has won. The difference from known solutions counts too. Exits with status 1 where a
target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import quadprog
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from planararm.projection.qp import INFEASIBLE, SOLVED, QPSolution, solve_qp

CHUNK = 250
BOX = 3.0
SAME, DISPUTED = 1e-12, 1e-11
OFF = "off, over condition"
TARGETS: dict[str, float | None] = {
    "violation": 1e-9, "dual residual": 1e-9, "absolute": None, "condition": None, "from quadprog": None, OFF: 1e-9,
}  # fmt: skip
FAMILIES = ("plain", "metric", "vertex", "duplicates", "near-parallel", "wedges", "pinned", "scales", "thin", "empty")

Problem = dict[str, np.ndarray]
Known = tuple[np.ndarray, np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def apply(G: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.matmul(G, x[..., None])[..., 0]


def opposed(rng: np.random.Generator, count: int, n: int, m: int) -> np.ndarray:
    """Rows of length one whose positive combination is zero: k + 1 in k dimensions, at most m."""
    k = int(rng.integers(1, min(m - 1, n) + 1))
    basis = np.linalg.qr(rng.normal(size=(count, n, k)))[0]
    rows = unit(rng.normal(size=(count, k, k)))
    last = -(rng.uniform(0.2, 1.0, (count, 1, k)) @ rows)
    return unit(np.concatenate([rows, last], axis=1) @ np.swapaxes(basis, 1, 2))


def draw(rng: np.random.Generator, family: str, count: int) -> tuple[Problem, Known | None]:
    """Problems of a family; where known, their solutions and the rows that are active there."""
    n, m = int(rng.integers(2, 8)), int(rng.integers(1, 41))
    m = m if family in ("plain", "metric", "vertex", "scales") else max(m, 2)
    inside = rng.uniform(-1, 1, (count, n))
    G = rng.normal(size=(count, m, n))
    slack = rng.exponential(0.3, (count, m))
    if family == "vertex":
        slack[rng.random((count, m)) < 0.8] = 0.0
    if family == "duplicates":
        half = m // 2
        factor = rng.choice([1.0, 2.0, 3.0, 0.1], (count, half))
        G[:, :half] = G[:, m - half :] * factor[..., None]
        slack[:, :half] = slack[:, m - half :] * factor * rng.choice([1.0, 1.5], (count, half))
    if family in ("near-parallel", "wedges", "pinned"):
        half = m // 2
        G = unit(G)
        angle = 10.0 ** rng.uniform(-9, -3, (count, half, 1))
        facing = -1.0 if family == "wedges" else 1.0
        G[:, :half] = facing * G[:, m - half :] + angle * rng.normal(size=(count, half, n))
        slack[rng.random((count, m)) < 0.5] = 2e-9 if family == "wedges" else 0.0
    known = None
    x_ref = rng.choice([0.5, 2.0, 10.0]) * rng.normal(size=(count, n))
    if family == "pinned":
        pairs = int(rng.integers(1, min(n, m) // 2 + 1))
        these = np.concatenate([np.arange(pairs), m - half + np.arange(pairs)])
        slack += 0.1
        slack[:, these] = 0.0
        active = np.full((count, n), -1)
        active[:, : len(these)] = these
        known = inside, active
        x_ref = inside + apply(np.swapaxes(G[:, these], 1, 2), rng.uniform(0.2, 1.0, (count, len(these))))
    h = apply(G, inside) + slack
    if family == "scales":
        scale = 10.0 ** rng.uniform(-8, 8, (count, m))
        G, h = G * scale[..., None], h * scale
    if family in ("thin", "empty"):
        rows = opposed(rng, count, n, m)
        gap = np.full((count, 1), 1e-8) if family == "thin" else -(10.0 ** rng.uniform(np.log10(1.5e-9), 0, (count, 1)))
        where = rng.permutation(m)[: rows.shape[1]]
        G[:, where], h[:, where] = rows, apply(rows, inside) + gap
    problem = {"x_ref": x_ref, "G": G, "h": h, "lb": np.full(n, -BOX), "ub": np.full(n, BOX)}
    if family == "metric":
        frame = np.linalg.qr(rng.normal(size=(count, n, n)))[0]
        H = frame * 10.0 ** rng.uniform(-2, 2, (count, 1, n)) @ np.swapaxes(frame, 1, 2)
        problem["H"] = (H + np.swapaxes(H, 1, 2)) / 2
    return problem, known


def residuals(problem: Problem, solution: QPSolution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Violation, and what stationarity and complementarity are missed by: relative and absolute. One per problem."""
    x, G, h = solution.x, problem["G"], problem["h"]
    (count, n), size = x.shape, np.linalg.norm(problem["G"], axis=-1)
    force = solution.multipliers * size
    slack = (h - apply(G, x)) / size
    walls = np.concatenate([slack, x - problem["lb"], problem["ub"] - x], axis=1)
    pressing = np.concatenate([force, solution.lower_multipliers, solution.upper_multipliers], axis=1)
    normals = np.concatenate(
        [G / size[..., None], *(np.broadcast_to(s * np.eye(n), (count, n, n)) for s in (-1, 1))], 1
    )
    move = apply(problem["H"], x - problem["x_ref"]) if "H" in problem else x - problem["x_ref"]
    balance = np.abs(move + apply(np.swapaxes(normals, 1, 2), pressing)).max(axis=1)
    wrong_sign = np.maximum(0.0, -pressing).max(axis=1)
    missed = np.maximum(np.maximum(balance, wrong_sign), np.abs(pressing * walls).max(axis=1))
    return np.maximum(0.0, -walls).max(axis=1), missed / (1 + pressing.sum(axis=1)), missed


def normals_in_metric(problem: Problem) -> np.ndarray:
    """All rows, those of G, the lower and the upper bounds, at length one: ``(N, m + 2 n, n)``."""
    count, n = problem["x_ref"].shape
    rows = np.concatenate([problem["G"], *(np.broadcast_to(s * np.eye(n), (count, n, n)) for s in (-1, 1))], axis=1)
    if "H" in problem:
        rows = np.swapaxes(np.linalg.solve(np.linalg.cholesky(problem["H"]), np.swapaxes(rows, 1, 2)), 1, 2)
    return unit(rows)


def condition_of(normals: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Condition number of the rows ``active (N, n)``, numbers and then -1; 1 for less than two."""
    used = (active >= 0).sum(axis=1)
    result = np.ones(len(active))
    for k in range(2, active.shape[1] + 1):
        (these,) = np.nonzero(used == k)
        if len(these):
            result[these] = np.linalg.cond(normals[these[:, None], active[these, :k]])
    return result


def condition_between(normals: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Largest condition number of two rows, one of each set, that are not one and the same plane."""
    batch = np.arange(len(one))[:, None]
    first, second = normals[batch, one][:, :, None], normals[batch, two][:, None]
    apart = np.minimum(np.linalg.norm(first - second, axis=-1), np.linalg.norm(first + second, axis=-1))
    counts = (one >= 0)[:, :, None] & (two >= 0)[:, None] & (apart > SAME)
    apart = np.where(counts, apart, np.sqrt(2.0))
    return (np.sqrt(4.0 - apart**2) / apart).max(axis=(1, 2))


def by_quadprog(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Solutions, nan where quadprog calls a problem infeasible, and its active rows as ``conditions`` takes them."""
    count, n = problem["x_ref"].shape
    identity, size = np.eye(n), np.linalg.norm(problem["G"], axis=-1)
    normals, offsets = problem["G"] / size[..., None], problem["h"] / size
    x, active = np.full((count, n), np.nan), np.full((count, n), -1)
    for i in range(count):
        H = problem["H"][i] if "H" in problem else identity
        rows = np.vstack([-normals[i], identity, -identity]).T
        sides = np.concatenate([-offsets[i], problem["lb"], -problem["ub"]])
        try:
            found = quadprog.solve_qp(H, H @ problem["x_ref"][i], rows, sides)
        except ValueError as cause:
            if "inconsistent" not in str(cause):
                raise
            continue
        x[i] = found[0]
        held = found[5][found[5] > 0] - 1
        active[i, : len(held)] = held
    return x, active


def exact_solution(problem: Problem, i: int, active: np.ndarray) -> np.ndarray | None:
    """The solution of problem i if these rows are its active ones, in rational arithmetic; None if they are not.

    ``H (x - x_ref) + A^T lambda = 0, A x = b`` is solved; then ``lambda >= 0`` and every row has to hold.
    """
    n = problem["x_ref"].shape[1]
    identity = np.eye(n)
    rows = np.vstack([problem["G"][i], -identity, identity]).tolist()
    sides = np.concatenate([problem["h"][i], -problem["lb"], problem["ub"]]).tolist()
    rows, sides = [[Fraction(value) for value in row] for row in rows], [Fraction(value) for value in sides]
    H = [[Fraction(value) for value in row] for row in (problem["H"][i] if "H" in problem else identity).tolist()]
    x_ref = [Fraction(value) for value in problem["x_ref"][i].tolist()]
    held = [int(row) for row in active if row >= 0]
    table = [H[a] + [rows[r][a] for r in held] + [_dot(H[a], x_ref)] for a in range(n)]
    table += [rows[r] + [Fraction(0)] * len(held) + [sides[r]] for r in held]
    for column in range(len(table)):
        pivot = next((r for r in range(column, len(table)) if table[r][column]), None)
        if pivot is None:
            return None
        table[column], table[pivot] = table[pivot], table[column]
        table[column] = [value / table[column][column] for value in table[column]]
        for r, row in enumerate(table):
            if r != column and row[column]:
                table[r] = [value - row[column] * top for value, top in zip(row, table[column], strict=True)]
    x, multipliers = [row[-1] for row in table[:n]], [row[-1] for row in table[n:]]
    optimal = min(multipliers, default=0) >= 0 and all(
        _dot(row, x) <= side for row, side in zip(rows, sides, strict=True)
    )
    return np.array([float(value) for value in x]) if optimal else None


def _dot(one: list[Fraction], two: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(one, two, strict=True)), Fraction(0))


@dataclass
class Tally:
    """What is known of a family so far."""

    problems: int = 0
    wrong: int = 0
    wrong_quadprog: int = 0
    disputes: list[int] = field(default_factory=lambda: [0, 0, 0])
    worst: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, values: np.ndarray) -> None:
        """Keep the largest."""
        if values.size:
            self.worst[name] = max(self.worst.get(name, 0.0), float(values.max()))

    def add(self, problem: Problem, known: Known | None, expected: int) -> float:
        """Solve a batch and check it; the seconds that ``solve_qp`` took."""
        start = time.perf_counter()
        solution = solve_qp(**problem)
        seconds = time.perf_counter() - start
        other, other_active = by_quadprog(problem)
        self.problems += len(other)
        self.wrong += int((solution.status != expected).sum())
        self.wrong_quadprog += int((np.isnan(other[:, 0]) != (expected == INFEASIBLE)).sum())
        solved = solution.status == SOLVED
        for name, values in zip(("violation", "dual residual", "absolute"), residuals(problem, solution), strict=True):
            self.note(name, values[solved])
        normals = normals_in_metric(problem)
        condition = np.maximum(condition_of(normals, solution.active), condition_of(normals, other_active))
        condition = np.maximum(condition, condition_between(normals, solution.active, other_active))
        if known is not None:
            condition = np.maximum(condition, condition_of(normals, known[1]))
        if "H" in problem:
            condition *= np.sqrt(np.linalg.cond(problem["H"]))
        self.note("condition", condition[solved])
        both = solved & ~np.isnan(other[:, 0])
        self.note("from quadprog", np.abs(solution.x - other).max(axis=1)[both])
        off = np.abs(solution.x - other).max(axis=1) / condition
        for i in np.flatnonzero(both & (off > DISPUTED)):
            mine, theirs = (exact_solution(problem, i, active[i]) for active in (solution.active, other_active))
            right = theirs if mine is None else mine
            if right is None:
                self.disputes[2] += 1
                continue
            away, quadprog_away = (np.abs(x[i] - right).max() for x in (solution.x, other))
            self.disputes[0 if away <= quadprog_away else 1] += 1
            off[i] = away / condition[i]
        self.note(OFF, off[both])
        if known is not None:
            self.note(OFF, (np.abs(solution.x - known[0]).max(axis=1) / condition)[solved])
        return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    tallies = {family: Tally() for family in FAMILIES}
    begin, seconds, done, turn = time.perf_counter(), 0.0, 0, 0
    with Progress(transient=True) as progress:
        task = progress.add_task("solving and checking", total=options.count)
        while done < options.count:
            family, count = FAMILIES[turn % len(FAMILIES)], min(CHUNK, options.count - done)
            seconds += tallies[family].add(*draw(rng, family, count), INFEASIBLE if family == "empty" else SOLVED)
            done, turn = done + count, turn + 1
            progress.update(task, completed=done)
    table = Table(
        title=f"{done:,} projections, 2-7 variables, 1-40 rows and a box: {seconds:.1f} s of "
        f"{time.perf_counter() - begin:.0f} s"
    )
    for column in ("family", "problems", "wrong verdicts", "quadprog's", *TARGETS, "disputes won, lost, open"):
        table.add_column(column, justify="left" if column == "family" else "right")
    missed = False
    for family, tally in tallies.items():
        cells = [f"{tally.worst[name]:.0e}" if name in tally.worst else "" for name in TARGETS]
        disputes = ", ".join(map(str, tally.disputes)) if any(tally.disputes) else ""
        table.add_row(family, f"{tally.problems:,}", f"{tally.wrong:,}", f"{tally.wrong_quadprog:,}", *cells, disputes)
        missed |= tally.wrong > 0
        missed |= any(tally.worst.get(name, 0.0) > bound for name, bound in TARGETS.items() if bound is not None)
    table.add_row("target", "", "0", "", *("" if bound is None else f"{bound:.0e}" for bound in TARGETS.values()))
    Console(width=None if sys.stdout.isatty() else 170).print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
