"""Target paths of which a motion that follows them is known, in free space, among discs, among moving discs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray, make_arm
from ...collision import certify_motion
from ...dynamics import advance
from ...errors import InvalidSceneError
from ...inverse import nearest_free, reachability
from ...metrics import Truth, clearance, path_length, tracking_error
from ...paths import Path, Spline, make_path
from ...scene import Scene
from ...scene.generator import sample_scenes
from ...targets import sample_targets
from ...witness import witness_path
from ..tasks import TaskGroup, rounded, rounded_scene
from .drawing import Drawn, gather, spared
from .groups import find_free, free_scenes

DT = 0.05
FOLLOWED = 1e-6
"""A motion follows a path if it is never farther from it [m]."""

STARTS = 8
SHORTEST = 0.2
"""Witness paths are at least this long, fraction of the reach."""

NEAR = 0.05
WAYPOINTS = 5

_START_ATTEMPTS = 200


def follow_greedily(targets: FloatArray, q_start: FloatArray, scene: Scene, dt: float = DT) -> npt.NDArray[np.bool_]:
    """Whether going to the nearest exact solution at every step follows the paths, the arm moved as in a rollout.

    A path on which this succeeds can be followed; of the others nothing is known.

    Args:
        targets: ``(N, T + 1, 2)`` [m].
        q_start: ``(N, n)`` [rad].
        scene: Batch shape ``(N,)``.
        dt: Control step [s].

    Returns:
        ``(N,)``.
    """
    arm = scene.arm
    alive = np.flatnonzero(tracking_error(arm.end_effector(q_start), targets[:, 0]) <= FOLLOWED)
    q = q_start[alive]
    for step in range(targets.shape[1] - 1):
        goal, here = targets[alive, step + 1], scene[alive]
        command, _ = nearest_free(goal, q, here)
        moved = advance(q, command, here, dt=dt, time=step * dt)
        good = ~moved.collision & (tracking_error(arm.end_effector(moved.q), goal) <= FOLLOWED)
        alive, q = alive[good], moved.q[good]
    followed = np.zeros(len(q_start), dtype=bool)
    followed[alive] = True
    return followed


def path_group(
    rng: np.random.Generator, name: str, arm: str, paths: Mapping[str, Path], num_steps: int, dt: float = DT
) -> TaskGroup:
    """Paths in free space, each begun at an exact solution from which it can be followed, if one is found.

    The truth is 1 where a motion within joint and velocity limits is known (:func:`follow_greedily`), else unknown.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        paths: Labels and paths.
        num_steps: Control steps T: how fast the paths are run through.
        dt: Control step [s].

    Raises:
        InvalidSceneError: A path starts where the arm cannot be.
    """
    count = len(paths)
    targets = rounded([path.sample(num_steps + 1) for path in paths.values()])
    q_start, followed = _starts(rng, arm, targets, dt, STARTS)
    lost = np.flatnonzero(np.isnan(q_start).any(axis=1))
    if lost.size:
        raise InvalidSceneError(f"Path {list(paths)[int(lost[0])]!r} starts where the arm cannot be.")
    truth = np.where(followed, Truth.REACHABLE, Truth.UNKNOWN)
    return TaskGroup(name, arm, free_scenes(arm, count), q_start, targets, truth, tuple(paths), dt)


def _starts(
    rng: np.random.Generator, arm: str, targets: FloatArray, dt: float, tries: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The first of a few random starts from which each path is followed, else the first; NaN where none exists."""
    count = len(targets)
    q_start, followed = np.full((count, make_arm(arm).num_joints), np.nan), np.zeros(count, dtype=bool)
    for attempt in range(tries):
        left = np.flatnonzero(~followed)
        scene, goals = free_scenes(arm, len(left)), targets[left]
        anywhere, _ = find_free(rng, scene)
        q, found = nearest_free(goals[:, 0], anywhere, scene)
        q = rounded(q)
        hit = found & follow_greedily(goals, q, scene, dt)
        taken = hit | (found & (attempt == 0))
        q_start[left[taken]], followed[left] = q[taken], hit
    return q_start, followed


def named_paths(names: tuple[str, ...], arm: str, suffix: str = "") -> dict[str, Path]:
    """Bundled paths, labelled by their names and what is appended to them."""
    return {name + suffix: make_path(name, arm) for name in names}


def spline_group(
    rng: np.random.Generator, name: str, arm: str, count: int, num_steps: int, dt: float = DT
) -> TaskGroup:
    """Splines in free space through random points of the workspace, of which a motion that follows them is known.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        count: Number of splines.
        num_steps: Control steps T.
        dt: Control step [s].
    """

    def draw(size: int) -> Drawn:
        empty = free_scenes(arm, size)
        points = sample_targets(rng, empty[0], size * WAYPOINTS, "uniform").reshape(size, WAYPOINTS, 2)
        targets = rounded([Spline(each).sample(num_steps + 1) for each in points])
        within = (reachability(targets, empty[0]).verdict == Truth.REACHABLE).all(axis=1)
        targets = targets[within]
        q_start, followed = _starts(rng, arm, targets, dt, 1)
        return _known(empty[within], q_start, targets, followed)

    tasks, labels = gather([("random spline", count, draw)], (8, 256))
    return TaskGroup(name, arm, *tasks, labels, dt)


def _known(scene: Scene, q_start: FloatArray, targets: FloatArray, kept: npt.NDArray[np.bool_]) -> Drawn:
    truth = np.full(int(kept.sum()), Truth.REACHABLE, dtype=np.int8)
    return Drawn(scene[kept], q_start[kept], targets[kept], truth)


def drawn_witness_group(
    rng: np.random.Generator,
    name: str,
    arm: str,
    count: int,
    num_steps: int,
    num_obstacles: int | tuple[int, int],
    dt: float = DT,
    **dials: Any,
) -> TaskGroup:
    """Witness paths, each in a random scene of its own, not shorter than 0.2 of the reach.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        count: Number of paths.
        num_steps: Control steps T.
        num_obstacles: Number of discs, or a range to draw it from.
        dt: Control step [s].
        **dials: Of the scenes, see :func:`planararm.scene.sample_scenes`.
    """
    built = make_arm(arm)

    def draw(size: int) -> Drawn:
        scene = rounded_scene(sample_scenes(rng, size, built, num_obstacles, **dials))
        _, roomy = find_free(rng, spared(scene), attempts=_START_ATTEMPTS)
        scene = scene[roomy]
        witness = witness_path(rng, spared(scene), num_steps, dt)
        long_enough = path_length(witness.target_path) >= SHORTEST * built.reach
        return _known(scene, rounded(witness.q_path[:, 0]), rounded(witness.target_path), long_enough)

    tasks, labels = gather([("witness", count, draw)], (64, 2000))
    return TaskGroup(name, arm, *tasks, labels, dt)


class Motions(NamedTuple):
    """Motions among moving discs, kept if they are safe.

    Attributes:
        scene: Batch shape ``(N,)``, with shuttling discs.
        q_path: ``(N, T + 1, n)`` rounded [rad].
        crossing: ``(N,)`` the same motion would meet the discs if they stayed where they are at time 0.
        nearest: ``(N,)`` smallest clearance at the control steps [m].
    """

    scene: Scene
    q_path: FloatArray
    crossing: npt.NDArray[np.bool_]
    nearest: FloatArray


def safe_motions(scene: Scene, q_path: FloatArray, dt: float = DT) -> Motions:
    """Those motions of which every step is certified to keep the margin from the discs as they move meanwhile.

    Args:
        scene: Batch shape ``(N,)``, with shuttling discs.
        q_path: ``(N, T + 1, n)`` within joint and velocity limits [rad].
        dt: Control step [s].
    """
    arm, margin = scene.arm, spared(scene).safety_margin
    alive, nearest = np.arange(len(scene)), np.full(len(scene), np.inf)
    for step in range(q_path.shape[1] - 1):
        discs = scene.obstacles[alive].after(step * dt)
        here, there = q_path[alive, step], q_path[alive, step + 1]
        nearest[alive] = np.minimum(nearest[alive], clearance(here, Scene(arm, discs, scene.safety_margin)))
        certificate = certify_motion(here, there, arm, discs, duration=dt, margin=margin)
        alive = alive[certificate.status == 1]
    scene, q_path = scene[alive], q_path[alive]
    frozen = scene.obstacles[:, None].frozen_at(0.0)
    still = certify_motion(q_path[:, :-1], q_path[:, 1:], arm, frozen)
    return Motions(scene, q_path, np.asarray((still.status == 0).any(axis=1)), nearest[alive])


def draw_safe_motions(
    rng: np.random.Generator, arm: str, size: int, num_steps: int, num_obstacles: int | tuple[int, int], dt: float = DT
) -> Motions:
    """Swinging motions of an arm alone, among shuttling discs drawn independently, that turn out to be safe.

    Args:
        rng: Source of randomness.
        arm: Name of the arm.
        size: How many are drawn; far fewer are safe.
        num_steps: Control steps T.
        num_obstacles: Number of discs, or a range to draw it from; all shuttle.
        dt: Control step [s].
    """
    scene = rounded_scene(sample_scenes(rng, size, make_arm(arm), num_obstacles, shuttling=1.0))
    return safe_motions(scene, rounded(witness_path(rng, free_scenes(arm, size), num_steps, dt).q_path), dt)


def moving_group(
    rng: np.random.Generator,
    name: str,
    arm: str,
    kinds: Mapping[str, int],
    num_steps: int,
    num_obstacles: int | tuple[int, int],
    dt: float = DT,
) -> TaskGroup:
    """Paths among shuttling discs that a motion is known to follow without contact, margin kept all the time.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        kinds: How many paths of each kind: ``"crossing"``, where the same motion would meet a disc that stayed where
            it is at first, and ``"passing"``, where it would not, but a disc comes within 0.05 of the reach.
        num_steps: Control steps T.
        num_obstacles: Number of discs, or a range to draw it from; all shuttle.
        dt: Control step [s].
    """

    def draw_kind(kind: str) -> Any:
        def draw(size: int) -> Drawn:
            motions = draw_safe_motions(rng, arm, size, num_steps, num_obstacles, dt)
            near = motions.nearest <= NEAR * motions.scene.arm.reach
            kept = motions.crossing if kind == "crossing" else near & ~motions.crossing
            targets = rounded(motions.scene.arm.end_effector(motions.q_path))
            kept &= path_length(targets) >= SHORTEST * motions.scene.arm.reach
            return _known(motions.scene, motions.q_path[:, 0], targets, kept)

        return draw

    tasks, labels = gather([(kind, count, draw_kind(kind)) for kind, count in kinds.items()], (500, 2000))
    return TaskGroup(name, arm, *tasks, labels, dt)
