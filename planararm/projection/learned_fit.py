"""Training of learned constraints on pairs of a point and its projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InvalidInputError, MissingExtraError
from ..validate import finite_array
from .qp import FloatArray

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.learned_fit", "torch") from cause

from ..validate import real_number, whole_number
from .learned import LearnedPolytope, LearnedQP

Progress = Callable[[int, float], None]

_TRIALS = 100
_TOUCHING = 1e-9
_SURE = 0.05
"""A pair gives a cut only if it is at least this far apart, in units of the scale: else noise decides the direction."""


def _loss(layer: LearnedPolytope | LearnedQP, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    polytope = layer.polytope if isinstance(layer, LearnedQP) else layer
    return ((layer(raw) - target) ** 2).sum(dim=1).mean() / polytope.scale**2


@torch.no_grad()
def _move_row(layer: LearnedPolytope, raw: torch.Tensor, target: torch.Tensor, rng: np.random.Generator) -> int | None:
    """Move the row that fewest pairs press against to the cut of a pair drawn by its error, if that lowers the loss.

    Returns:
        The row, or None: it stays.
    """
    answer = layer(raw)
    G, h = layer.rows()
    moved = (raw - answer).norm(dim=1) > _TOUCHING * layer.scale
    pressed = ((h - answer @ G.T <= _TOUCHING * layer.scale) & moved[:, None]).sum(dim=0)
    error = ((answer - target) ** 2).sum(dim=1) * ((raw - target).norm(dim=1) > _SURE * layer.scale)
    total = float(error.sum())
    if total <= (_TOUCHING * float(layer.scale)) ** 2:
        return None
    row, pair = int(pressed.argmin()), int(rng.choice(len(raw), p=(error / total).cpu().numpy()))
    before, direction, openness = _loss(layer, raw, target), layer.directions[row].clone(), layer.openness[row].clone()
    layer.cut(row, raw[pair], target[pair])
    if _loss(layer, raw, target) < before:
        return row
    layer.directions[row], layer.openness[row] = direction, openness
    return None


def fit(
    layer: LearnedPolytope | LearnedQP,
    raw: Any,
    target: Any,
    *,
    steps: int = 400,
    learning_rate: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> FloatArray:
    """Train on pairs by Adam with a one-cycle rate, starting from the polytope that circumscribes the targets.

    The loss is the mean squared distance of the layer's answers from the targets, in units of the layer's scale. A row
    that few pairs press against has little or no gradient; every few steps, until a fifth of them is left, the least
    pressed row of a :class:`LearnedPolytope` is moved to the cut ``(raw - target) (x - target) <= 0`` of a pair drawn
    by its error, provided that the loss falls.

    Args:
        layer: What to train, in place.
        raw: ``(N, n)`` points before the projection.
        target: ``(N, n)`` and after it.
        steps: Of the optimiser, each over all pairs.
        learning_rate: The largest, relative to parameters of order one.
        seed: Of the pairs whose cuts are tried.
        progress: Called with the number of the step and its loss.

    Returns:
        ``(steps,)`` the loss before each step.

    Raises:
        InvalidInputError: Not finite numbers of these shapes, no pair, or an option out of range.
    """
    steps, learning_rate = whole_number("steps", steps, 1, 10**9), real_number("learning_rate", learning_rate, 0.0, 1e6)
    polytope = layer.polytope if isinstance(layer, LearnedQP) else layer
    arrays = {"raw": raw, "target": target}
    pairs = {name: finite_array(name, value, (polytope.num_variables,)) for name, value in arrays.items()}
    if pairs["raw"].shape != pairs["target"].shape or pairs["raw"].ndim != 2:
        shapes = f"{pairs['raw'].shape} and {pairs['target'].shape}"
        raise InvalidInputError(f"raw and target must both have shape (N, {polytope.num_variables}), got {shapes}.")
    layer.enclose(pairs["target"])
    before, after = (torch.from_numpy(np.array(pairs[name])).to(polytope.offset) for name in ("raw", "target"))
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps + 1, pct_start=0.1, final_div_factor=1e3
    )
    trials = set(range(0, 4 * steps // 5, max(1, steps // _TRIALS)))
    losses = np.empty(steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss = _loss(layer, before, after)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        losses[step] = loss.item()
        if isinstance(layer, LearnedPolytope) and step in trials:
            row = _move_row(layer, before, after, rng)
            if row is not None:
                _forget(optimizer, layer, row)
        if progress is not None:
            progress(step, float(losses[step]))
    return losses


def _forget(optimizer: torch.optim.Optimizer, layer: LearnedPolytope, row: int) -> None:
    """Drop the momentum of a row that was moved."""
    for parameter in (layer.directions, layer.openness):
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][row] = 0.0
