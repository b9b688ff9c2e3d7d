"""The motions of policies that say by which commands they get to their answers: the arm is moved by them again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..dynamics import advance
from ..scene import Scene

MOST_COMMANDS = 10_000
"""Commands that are looked at; of longer motions the benchmark knows nothing."""

ARRIVED = 1e-9
"""How far from the answer the commands may lead [rad]."""


def contacts_on_the_way(commands: Any, q_start: FloatArray, q: FloatArray, scene: Scene, dt: float) -> npt.NDArray[Any]:
    """Whether commands that lead to an answer meet a disc on the way, one control step after the other.

    The arm moves as in the environments (:func:`planararm.dynamics.advance`), among discs that stand where they are at
    time 0.

    Args:
        commands: ``(N, T, n)`` [rad]; anything else says nothing.
        q_start: ``(N, n)`` where the arms begin [rad].
        q: ``(N, n)`` the answers [rad].
        scene: Batch shape ``(N,)``.
        dt: Control step [s].

    Returns:
        ``(N,)`` int8: 1 a command would have met a disc, 0 none would, -1 the commands do not lead to the answer.
    """
    nothing = np.full(len(q), -1, dtype=np.int8)
    moves = np.asarray(commands)
    right = moves.dtype.kind == "f" and moves.ndim == 3 and moves[:, 0].shape == q.shape if moves.size else False
    if not right or moves.shape[1] > MOST_COMMANDS or not np.isfinite(moves).all():
        return nothing
    still = Scene(scene.arm, scene.obstacles.frozen_at(0.0), scene.safety_margin)
    at, contact = q_start, np.zeros(len(q), dtype=bool)
    for step in range(moves.shape[1]):
        moved = advance(at, moves[:, step], still, dt=dt)
        at, contact = moved.q, contact | moved.collision
    return np.where(np.abs(at - q).max(axis=-1) <= ARRIVED, contact.astype(np.int8), nothing)
