"""Rows and their tasks: where the targets are, and how much each row counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray
from ..frame import Results, codes
from ..tasks import Suite


def task_codes(results: Results) -> npt.NDArray[np.int64]:
    """``(N,)`` the same number for rows of the same task."""
    group, _ = codes(results["group"])
    return group * (int(results["number"].max(initial=0)) + 1) + results["number"]


def task_weights(results: Results) -> FloatArray:
    """``(N,)`` one over the number of rows of the same task: the rows of several seeds are one task.

    Args:
        results: Rows of one policy.
    """
    _, inverse, counts = np.unique(task_codes(results), return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]


def target_positions(results: Results, suite: Suite) -> FloatArray:
    """``(N, 2)`` targets relative to the base, fractions of the reach; of a path, its farthest point.

    Args:
        results: Rows of the suite.
        suite: The suite.
    """
    places = np.full((len(results), 2), np.nan)
    for group in suite.groups:
        mine = np.flatnonzero(results["group"] == group.name)
        if not mine.size:
            continue
        arm = group.scene.arm
        targets = (group.targets - arm.base) / arm.reach
        if group.kind == "track":
            farthest = np.hypot(targets[..., 0], targets[..., 1]).argmax(axis=1)
            targets = targets[np.arange(len(targets)), farthest]
        places[mine] = targets[results["number"][mine]]
    return places
