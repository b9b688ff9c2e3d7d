"""Error and clearance over the workspace."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray
from ...metrics import clearance, tracking_error
from ...obstacles import Obstacles
from ...scene import Scene
from ..frame import Results
from ..leaderboard import Section
from ..tasks import Suite, TaskGroup
from .distributions import solvable_rows
from .packing import pack_levels, pack_signed_levels
from .tasks import target_positions

HALF_WIDTH = 1.05
"""Targets are shown up to here in x and y from the base, fractions of the reach."""

FEWEST, MOST = 12, 40
PER_CELL = 3
"""A map is as fine as leaves about so many targets to a cell, within these numbers of cells along each axis."""

ERROR_LOW, ERROR_HIGH = -9.0, 0.5
"""Common logarithms of the errors that are told apart, fractions of the reach."""

CLEARANCE = 0.25
"""Largest clearance that is told apart, fraction of the reach."""

PATHS = 24
"""Paths per policy whose steps are read from the file for the maps."""


class Points(NamedTuple):
    """What a map is made of.

    Attributes:
        places: ``(N, 2)`` positions relative to the base, fractions of the reach.
        error: ``(N,)`` fractions of the reach.
        clearance: ``(N,)`` fractions of the reach; NaN without discs or answer.
    """

    places: FloatArray
    error: FloatArray
    clearance: FloatArray


def target_points(results: Results, suite: Suite) -> Points:
    """One point per single target."""
    reach = results["reach"]
    return Points(target_positions(results, suite), results["error_max"] / reach, results["clearance"] / reach)


def path_points(results: Results, suite: Suite) -> Points:
    """One point per step of some of the paths, evenly spread over them."""
    chosen = np.unique(np.linspace(0, len(results) - 1, min(PATHS, len(results))).round().astype(int))
    parts: list[Points] = []
    for row, name, number in zip(
        results.rows(chosen), results["group"][chosen], results["number"][chosen], strict=True
    ):
        if row["q"] is not None:
            parts.append(_steps(np.array(row["q"]), suite.group(name), int(number)))
    if not parts:
        return Points(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    return Points(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _steps(q_path: FloatArray, group: TaskGroup, number: int) -> Points:
    arm, targets = group.scene.arm, group.targets[number, 1:]
    moments = group.dt * np.arange(1, len(q_path))
    scene = scene_over_time(group.scene[number], moments)
    error = tracking_error(arm.end_effector(q_path[1:]), targets) / arm.reach
    distance = clearance(q_path[1:], scene) / arm.reach
    return Points((targets - arm.base) / arm.reach, error, np.where(np.isfinite(distance), distance, np.nan))


def scene_over_time(scene: Scene, moments: npt.NDArray[np.floating]) -> Scene:
    """The scene at several moments [s], one each: batch shape ``(T,)``."""
    discs, count = scene.obstacles, len(moments)
    repeated = Obstacles(
        np.repeat(np.asarray(discs.centers)[None], count, axis=0),
        np.repeat(np.asarray(discs.radii)[None], count, axis=0),
        None if discs.shuttle is None else np.repeat(np.asarray(discs.shuttle)[None], count, axis=0),
        None if discs.mask is None else np.repeat(np.asarray(discs.mask)[None], count, axis=0),
    )
    centers = repeated.positions(moments)
    return Scene(scene.arm, Obstacles(centers, repeated.radii, None, repeated.mask), scene.safety_margin)


def map_size(num_points: int) -> int:
    """Cells along each axis for so many points."""
    return int(np.clip(round((num_points / PER_CELL) ** 0.5), FEWEST, MOST))


def cells_of(places: FloatArray, size: int) -> np.ndarray:
    """``(N,)`` number of the cell, row by row from below; -1 outside of the map."""
    index = np.floor((places + HALF_WIDTH) / (2 * HALF_WIDTH) * size)
    inside = np.asarray(((index >= 0) & (index < size)).all(axis=1))
    cell = np.where(inside[:, None], index, 0.0).astype(np.int64)
    return np.where(inside, cell[:, 1] * size + cell[:, 0], -1)


def mean_grid(values: FloatArray, cells: np.ndarray, size: int) -> FloatArray:
    """``(size**2,)`` mean of the values in each cell; NaN where there is none."""
    used = (cells >= 0) & np.isfinite(values)
    count = np.bincount(cells[used], minlength=size * size)
    total = np.bincount(cells[used], values[used], minlength=size * size)
    return np.divide(total, count, out=np.full(size * size, np.nan), where=count > 0)


def least_grid(values: FloatArray, cells: np.ndarray, size: int) -> FloatArray:
    """``(size**2,)`` smallest of the values in each cell; NaN where there is none."""
    used = (cells >= 0) & np.isfinite(values)
    grid = np.full(size * size, np.inf)
    np.minimum.at(grid, cells[used], values[used])
    return np.where(np.isfinite(grid), grid, np.nan)


def add_maps(payload: dict[str, Any], section: Section, by_policy: dict[str, Results], suite: Suite) -> None:
    """Add the maps to the payload of a section.

    Args:
        payload: See :func:`planararm.benchmark.report.board.section_payload`; is changed.
        section: The section.
        by_policy: Rows of the section per policy.
        suite: Their suite.
    """
    collect = target_points if section.kind == "ik" else path_points
    points = [collect(solvable_rows(by_policy[score.policy]), suite) for score in section.scores]
    size = map_size(max((len(own.error) for own in points), default=0))
    payload["map_size"] = size
    for own, score in zip(points, payload["scores"], strict=True):
        cells = cells_of(own.places, size)
        level = np.log10(np.maximum(own.error, 10**ERROR_LOW))
        score["map_error"] = pack_levels(mean_grid(level, cells, size), ERROR_LOW, ERROR_HIGH)
        score["map_clearance"] = pack_signed_levels(least_grid(own.clearance, cells, size), CLEARANCE)
