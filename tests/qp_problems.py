"""Random quadratic programs that the tests of several solvers share."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_problems(rng: np.random.Generator, count: int, n: int, m: int) -> dict[str, Any]:
    """Feasible problems, most with active rows."""
    inside = rng.uniform(-1, 1, (count, n))
    G = rng.normal(size=(count, m, n))
    h = (G @ inside[..., None])[..., 0] + rng.exponential(0.3, (count, m))
    return {
        "x_ref": 2.5 * rng.normal(size=(count, n)), "G": G, "h": h, "lb": np.full(n, -1.4), "ub": np.full(n, 1.4),
    }  # fmt: skip


def positive_definite(rng: np.random.Generator, *shape: int) -> np.ndarray:
    root = rng.normal(size=(*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(shape[-1])
