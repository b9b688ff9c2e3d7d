"""The bundled suites: generated from seeds, labelled by the ground truth, never stored.

Never train or tune on these tasks: their seeds live in :data:`EVALUATION_SEEDS` and nowhere else. Training
data comes from other seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ..arm import FloatArray, make_arm
from ..errors import InvalidSceneError, UnknownNameError
from ..inverse import nearest_free, reachability
from ..metrics import Truth
from ..obstacles import Obstacles
from ..paths import make_path
from ..scene import Scene
from ..scene.generator import sample_scenes
from ..targets import sample_targets
from ..witness import witness_path
from .tasks import Suite, TaskGroup, rounded, rounded_scene

EVALUATION_SEEDS = {"v1/quick": 910_823_641}
"""Reserved for evaluation: never train or tune on what these seeds generate."""

MAX_ATTEMPTS = 2000
_ATTEMPTS_AT_ONCE = 20


def free_configurations(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """One free configuration per scene, uniform among the free ones within limits and [-pi, pi].

    Args:
        rng: Source of randomness.
        scene: Batch shape ``(N,)``.

    Returns:
        ``(N, n)`` [rad].

    Raises:
        InvalidSceneError: A scene in which none of many draws was free.
    """
    from ..metrics import is_valid

    arm, count = scene.arm, len(scene)
    low = np.maximum(arm.joint_limits[:, 0], -np.pi)
    high = np.minimum(arm.joint_limits[:, 1], np.pi)
    q = np.zeros((count, arm.num_joints))
    missing = np.arange(count)
    for _ in range(MAX_ATTEMPTS // _ATTEMPTS_AT_ONCE):
        draws = rounded(rng.uniform(low, high, (_ATTEMPTS_AT_ONCE, len(missing), arm.num_joints)))
        free = is_valid(draws, scene[missing])
        first = free.argmax(axis=0)
        q[missing] = draws[first, np.arange(len(missing))]
        missing = missing[~free.any(axis=0)]
        if not missing.size:
            return q
    raise InvalidSceneError(
        f"No free configuration found in scene {int(missing[0])} in {MAX_ATTEMPTS} draws; "
        "its discs leave the arm no room."
    )


def free_scenes(arm: str, count: int) -> Scene:
    """The same empty scene, ``count`` times."""
    return Scene.stack([Scene(make_arm(arm), Obstacles.none())] * count)


def ik_group(
    rng: np.random.Generator, name: str, arm: str, scene: Scene, kinds: dict[str, int], *, per_scene: int = 1
) -> TaskGroup:
    """Targets of given kinds, one random free start each, labelled by the ground truth.

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
    if kind != "beyond":
        return sample_targets(rng, scene, count, kind=kind)
    distance, angle = rng.uniform(1.01, 1.2, count) * scene.arm.reach, rng.uniform(-np.pi, np.pi, count)
    return scene.arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def named_path_group(
    name: str, arm: str, paths: tuple[str, ...], num_steps: int, start: FloatArray, dt: float = 0.05
) -> TaskGroup:
    """Bundled paths in free space, begun at the exact solution nearest to ``start``.

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
    """Paths among discs that a certified, velocity-feasible motion from the start is known to follow.

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


def _quick() -> Suite:
    name = "v1/quick"
    streams = iter(np.random.default_rng(EVALUATION_SEEDS[name]).spawn(16))
    rng = next(streams)
    free = ik_group(rng, "ik-free", "unit3", free_scenes("unit3", 200), {"uniform": 180, "beyond": 20})
    rng = next(streams)
    clutter_scenes = sample_scenes(rng, 300, "unit3", (1, 6))
    clutter = ik_group(rng, "ik-clutter", "unit3", clutter_scenes, {"uniform": 300})
    rng = next(streams)
    hard_scenes = sample_scenes(rng, 20, "unit3", (2, 5), narrow_passages=1)
    hard_kinds = {"near-singular": 10, "blocked": 10}
    hard = ik_group(rng, "ik-hard", "unit3", hard_scenes, hard_kinds, per_scene=5)
    rng = next(streams)
    two = ik_group(rng, "ik-unit2", "unit2", sample_scenes(rng, 50, "unit2", (0, 4)), {"uniform": 50})
    rng = next(streams)
    five = ik_group(rng, "ik-unit5", "unit5", sample_scenes(rng, 50, "unit5", (0, 4)), {"reachable": 50})
    shapes = ("circle", "square", "star", "lemniscate", "lissajous", "spline")
    track_free = named_path_group("track-free", "unit3", shapes, 200, np.array([0.0, 0.8, 0.8]))
    rng = next(streams)
    track_clutter = witness_group(rng, "track-clutter", "unit3", sample_scenes(rng, 6, "unit3", 3), 200)
    return Suite(
        name,
        "Scores a policy within seconds: targets and paths in free space and among discs.",
        (free, clutter, hard, two, five, track_free, track_clutter),
    )


_BUILDERS: dict[str, Callable[[], Suite]] = {"v1/quick": _quick}


def available_suites() -> list[str]:
    """Names of the bundled suites."""
    return sorted(_BUILDERS)


@cache
def load_suite(name: str) -> Suite:
    """Generate a bundled suite; the second call returns the same object.

    Raises:
        UnknownNameError: There is no such suite.
    """
    if name not in _BUILDERS:
        raise UnknownNameError("suite", name, _BUILDERS)
    return _BUILDERS[name]()
