"""Groups of tasks: random starts, targets of stated kinds, paths; each labelled by the ground truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray, make_arm
from ...errors import InvalidSceneError
from ...inverse import nearest_free, reachability
from ...metrics import Truth, is_valid
from ...obstacles import Obstacles
from ...paths import make_path
from ...scene import Scene
from ...targets import sample_targets
from ...witness import witness_path
from ..tasks import TaskGroup, rounded, rounded_scene

MAX_ATTEMPTS = 2000
_ATTEMPTS_AT_ONCE = 20


def find_free(
    rng: np.random.Generator, scene: Scene, *, attempts: int = MAX_ATTEMPTS, at_once: int = _ATTEMPTS_AT_ONCE
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """One free configuration per scene, uniform among the free ones within limits and [-pi, pi], where one is found.

    Args:
        rng: Source of randomness.
        scene: Batch shape ``(N,)``.
        attempts: Draws per scene before it is given up.
        at_once: Draws of one round.

    Returns:
        ``(N, n)`` [rad], zero where none was found, and ``(N,)`` whether one was.
    """
    arm, count = scene.arm, len(scene)
    low = np.maximum(arm.joint_limits[:, 0], -np.pi)
    high = np.minimum(arm.joint_limits[:, 1], np.pi)
    q, found = np.zeros((count, arm.num_joints)), np.zeros(count, dtype=bool)
    missing = np.arange(count)
    for _ in range(attempts // at_once):
        draws = rounded(rng.uniform(low, high, (at_once, len(missing), arm.num_joints)))
        free = is_valid(draws, scene[missing])
        hit = free.any(axis=0)
        first = free.argmax(axis=0)
        q[missing[hit]] = draws[first[hit], np.flatnonzero(hit)]
        found[missing[hit]] = True
        missing = missing[~hit]
        if not missing.size:
            break
    return q, found


def free_configurations(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """One free configuration per scene: :func:`find_free` where every scene must have one.

    Args:
        rng: Source of randomness.
        scene: Batch shape ``(N,)``.

    Returns:
        ``(N, n)`` [rad].

    Raises:
        InvalidSceneError: A scene in which none of many draws was free.
    """
    q, found = find_free(rng, scene)
    if not found.all():
        raise InvalidSceneError(
            f"No free configuration found in scene {int(np.argmin(found))} in {MAX_ATTEMPTS} draws; "
            "its discs leave the arm no room."
        )
    return q


def free_scenes(arm: str, count: int) -> Scene:
    """The same empty scene, ``count`` times."""
    empty = Obstacles(np.zeros((count, 0, 2)), np.zeros((count, 0)), None, np.zeros((count, 0), dtype=bool))
    return Scene(make_arm(arm), empty)


def beyond(rng: np.random.Generator, scene: Scene, count: int) -> FloatArray:
    """Targets up to a fifth farther away than the arm reaches: ``(count, 2)`` [m]."""
    distance, angle = rng.uniform(1.01, 1.2, count) * scene.arm.reach, rng.uniform(-np.pi, np.pi, count)
    return np.asarray(scene.arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1))


def ik_group(
    rng: np.random.Generator, name: str, arm: str, scene: Scene, kinds: dict[str, int], *, per_scene: int = 1
) -> TaskGroup:
    """Targets of given kinds in given scenes, one random free start each, labelled by the ground truth.

    Scene after scene; for many scenes :func:`planararm.benchmark.suites.drawing.drawn_ik_group` is faster.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        scene: Batch of scenes, ``per_scene`` tasks of one kind in each.
        kinds: How many scenes of each kind: one of :func:`planararm.targets.sample_targets`, or ``"beyond"``,
            targets up to a fifth farther away than the arm reaches.
        per_scene: Tasks in each scene.
    """
    scene = rounded_scene(scene)
    kind_of = [kind for kind, count in kinds.items() for _ in range(count)]
    drawn = [_targets(rng, scene[i], per_scene, kind) for i, kind in enumerate(kind_of)]
    targets = rounded(np.concatenate(drawn))
    scene = scene[np.repeat(np.arange(len(kind_of)), per_scene)]
    labels = tuple(kind for kind in kind_of for _ in range(per_scene))
    q_start = free_configurations(rng, scene)
    truth = reachability(targets, scene).verdict
    return TaskGroup(name, arm, scene, q_start, targets, truth, labels)


def _targets(rng: np.random.Generator, scene: Scene, count: int, kind: str) -> FloatArray:
    return beyond(rng, scene, count) if kind == "beyond" else sample_targets(rng, scene, count, kind=kind)


def named_path_group(
    name: str, arm: str, paths: tuple[str, ...], num_steps: int, start: FloatArray, dt: float = 0.05
) -> TaskGroup:
    """Bundled paths in free space, begun at the exact solution nearest to ``start``.

    The truth is about the path's points alone; :func:`planararm.benchmark.suites.tracks.path_group` knows a motion.

    Args:
        name: Of the group.
        arm: Name of the arm.
        paths: Names of paths, one per task.
        num_steps: Control steps T.
        start: ``(n,)`` where the arm comes from [rad].
        dt: Control step [s].
    """
    scene = free_scenes(arm, len(paths))
    targets = rounded([make_path(path, arm).sample(num_steps + 1) for path in paths])
    q_start, found = nearest_free(targets[:, 0], np.broadcast_to(start, (len(paths), start.size)), scene)
    if not found.all():
        raise InvalidSceneError(f"Path {paths[int(np.argmin(found))]!r} starts where the arm cannot be.")
    truth = reachability(targets.reshape(-1, 2), Scene(scene.arm, Obstacles.none())).verdict
    worst = truth.reshape(len(paths), -1).min(axis=1)
    verdict = np.where(worst == Truth.REACHABLE, Truth.REACHABLE, Truth.UNKNOWN)
    return TaskGroup(name, arm, scene, q_start, targets, verdict, paths, dt)


def witness_group(
    rng: np.random.Generator, name: str, arm: str, scene: Scene, num_steps: int, dt: float = 0.05
) -> TaskGroup:
    """Paths among given discs that a certified, velocity-feasible motion from the start is known to follow.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        scene: Batch shape ``(N,)``, one scene per path.
        num_steps: Control steps T.
        dt: Control step [s].
    """
    scene = rounded_scene(scene)
    witness = witness_path(rng, scene, num_steps, dt)
    count = len(scene)
    truth = np.full(count, Truth.REACHABLE)
    labels = ("witness",) * count
    return TaskGroup(name, arm, scene, witness.q_path[:, 0], witness.target_path, truth, labels, dt)
