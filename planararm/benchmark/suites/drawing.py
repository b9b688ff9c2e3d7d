"""Tasks drawn in bulk: scene and task together, block by block, until enough of a kind are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arm import FloatArray, PlanarArm, make_arm
from ...errors import InvalidSceneError, UnknownNameError
from ...geometry import norm
from ...inverse import reachability
from ...metrics import Truth
from ...obstacles import Obstacles
from ...scene import Scene
from ...scene.generator import sample_scenes
from ...targets import sample_targets
from ..tasks import TaskGroup, rounded, rounded_scene
from .groups import beyond, find_free

BLOCK = (2_000, 10_000)
"""Fewest and most scenes that are drawn at once; memory for what is not kept is bounded by them."""

MOST_DRAWS = 2_000
"""Scenes drawn per task, and 50 smallest blocks, before a kind of tasks is given up as too rare."""

SPARE = 1e-6
"""Clearance beyond the margin, as a fraction of the reach, of known answers: rounding must not use it up."""

TIGHT = 0.01
PASSAGE_SPREAD = 0.1

_START_ATTEMPTS, _AT_ONCE = 400, 4


class Drawn(NamedTuple):
    """Tasks without their names: one scene each.

    Attributes:
        scene: Batch shape ``(N,)``, rounded.
        q_start: ``(N, n)`` free [rad].
        targets: ``(N, 2)`` or ``(N, T + 1, 2)`` [m], rounded.
        truth: ``(N,)`` int8.
    """

    scene: Scene
    q_start: FloatArray
    targets: FloatArray
    truth: npt.NDArray[np.int8]


Draw = Callable[[int], Drawn]
"""Draws that many scenes and returns the tasks found in them, perhaps fewer."""


def gather(
    plan: Sequence[tuple[str, int, Draw]], block: tuple[int, int] | None = None
) -> tuple[Drawn, tuple[str, ...]]:
    """Draw until every kind has its number of tasks.

    The result is allocated once and filled block by block, so that the peak of memory is what is returned and a block.

    Args:
        plan: Label, number and drawing function of each kind; all draw for one arm and one number of slots.
        block: Fewest and most scenes that are drawn at once; default :data:`BLOCK`.

    Returns:
        The tasks, kind after kind, and their labels.

    Raises:
        InvalidSceneError: Tasks of a kind are too rare.
    """
    fewest, most = block or BLOCK
    total = sum(count for _, count, _ in plan)
    buffers: dict[str, Any] = {}
    example: Scene | None = None
    filled = 0
    for label, count, draw in plan:
        stop, draws = filled + count, 0
        while filled < stop:
            if draws > MOST_DRAWS * count + 50 * fewest:
                raise InvalidSceneError(
                    f"Only {count - (stop - filled)} of {count} {label!r} tasks found in {draws} random scenes."
                )
            size = min(most, max(fewest, stop - filled))
            drawn = draw(size)
            draws += size
            example = drawn.scene
            for key, values in _columns(drawn):
                if key not in buffers:
                    buffers[key] = np.zeros((total, *values.shape[1:]), dtype=values.dtype)
                buffers[key][filled : min(stop, filled + len(values))] = values[: stop - filled]
            filled = min(stop, filled + len(drawn.q_start))
    assert example is not None
    parts = (buffers.pop("centers"), buffers.pop("radii"), buffers.pop("shuttle", None), buffers.pop("mask"))
    discs = Obstacles(*parts)
    del parts
    scene = Scene(example.arm, discs, example.safety_margin)
    return Drawn(scene, **buffers), tuple(label for label, count, _ in plan for _ in range(count))


def _columns(drawn: Drawn) -> list[tuple[str, Any]]:
    discs = drawn.scene.obstacles
    columns = [("centers", discs.centers), ("radii", discs.radii), ("mask", _present(discs))]
    if discs.shuttle is not None:
        columns.append(("shuttle", discs.shuttle))
    return [*columns, ("q_start", drawn.q_start), ("targets", drawn.targets), ("truth", drawn.truth)]


def _present(discs: Obstacles) -> npt.NDArray[np.bool_]:
    return np.ones(discs.radii.shape, dtype=bool) if discs.mask is None else np.asarray(discs.mask)


def spared(scene: Scene) -> Scene:
    """The scene with a little more margin: what is free in it stays free when it is rounded."""
    return Scene(scene.arm, scene.obstacles, scene.safety_margin + SPARE * scene.arm.reach)


class Candidates(NamedTuple):
    """What a kind of targets chooses from.

    Attributes:
        scene: Batch shape ``(N,)``.
        targets: ``(N, 2)`` [m].
        truth: ``(N,)`` verdict of :func:`planararm.inverse.reachability`.
        clearance: ``(N,)`` of its witness [m].
    """

    scene: Scene
    targets: FloatArray
    truth: npt.NDArray[np.int8]
    clearance: FloatArray


def _empty(arm: PlanarArm) -> Scene:
    return Scene(arm, Obstacles.none())


def _everywhere(kind: str) -> Callable[[np.random.Generator, Scene], FloatArray]:
    """Targets of a kind of :func:`sample_targets`, discs aside: one call draws for all scenes."""

    def propose(rng: np.random.Generator, scene: Scene) -> FloatArray:
        return sample_targets(rng, _empty(scene.arm), len(scene), kind)

    return propose


def _of_free_configurations(rng: np.random.Generator, scene: Scene) -> FloatArray:
    q, found = find_free(rng, spared(scene), attempts=_START_ATTEMPTS, at_once=_AT_ONCE)
    return np.where(found[:, None], scene.arm.end_effector(q), np.nan)


def _in_the_passage(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """Around the middle of the gap between the first two discs; NaN where there are not two."""
    discs, arm = scene.obstacles, scene.arm
    one, two = np.asarray(discs.centers[:, 0]), np.asarray(discs.centers[:, 1])
    both = np.asarray(_present(discs)[:, :2].all(axis=1))
    apart = np.where(both, norm(two - one), 1.0)
    share = 0.5 * (1 + (np.asarray(discs.radii[:, 0]) - np.asarray(discs.radii[:, 1])) / apart)
    distance = PASSAGE_SPREAD * arm.reach * np.sqrt(rng.random(len(scene)))
    angle = rng.uniform(-np.pi, np.pi, len(scene))
    around = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.where(both[:, None], one + share[:, None] * (two - one) + around, np.nan)


def _reachable(drawn: Candidates) -> npt.NDArray[np.bool_]:
    return np.asarray(drawn.truth == Truth.REACHABLE)


def _blocked(drawn: Candidates) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(drawn.truth), dtype=bool)
    chosen[drawn.truth == Truth.UNREACHABLE] = True
    without = reachability(drawn.targets[chosen], _empty(drawn.scene.arm)).verdict
    chosen[chosen] = without == Truth.REACHABLE
    return np.asarray(chosen & (tip_clearance(drawn.targets, drawn.scene) > drawn.scene.safety_margin))


def _tight(drawn: Candidates) -> npt.NDArray[np.bool_]:
    scene = drawn.scene
    return np.asarray(_reachable(drawn) & (drawn.clearance < scene.safety_margin + TIGHT * scene.arm.reach))


def tip_clearance(targets: FloatArray, scene: Scene) -> FloatArray:
    """Signed distance to the discs of the end effector alone, were it at the targets: ``(N,)`` [m]."""
    discs = scene.obstacles
    room = norm(targets[:, None] - np.asarray(discs.centers)) - np.asarray(discs.radii) - scene.arm.link_radius
    return np.asarray(np.where(_present(discs), room, np.inf).min(axis=-1, initial=np.inf))


class Kind(NamedTuple):
    """How targets of a kind are found: proposed one per scene, and those that fit are kept."""

    propose: Callable[[np.random.Generator, Scene], FloatArray]
    keep: Callable[[Candidates], npt.NDArray[np.bool_]] | None = None
    by_construction: bool = False


KINDS = {
    "uniform": Kind(_everywhere("uniform")),
    "beyond": Kind(lambda rng, scene: beyond(rng, scene, len(scene))),
    "reachable": Kind(_of_free_configurations, by_construction=True),
    "near-singular": Kind(_everywhere("near-singular"), _reachable),
    "blocked": Kind(_everywhere("uniform"), _blocked),
    "tight": Kind(_everywhere("uniform"), _tight),
    "passage": Kind(_in_the_passage, _reachable),
}
"""Kinds of targets.

* uniform: over the area of the workspace annulus; limits and discs are not looked at.
* beyond: up to a fifth farther away than the arm reaches.
* reachable: the end effector of a free configuration.
* near-singular: reachable, within 0.02 of the reach of the workspace's boundary.
* blocked: reachable without the discs and proven unreachable among them, though the tip alone would have room.
* tight: reachable, but no answer's clearance exceeds the margin by more than 0.01 of the reach (and 1e-3 m, the
  accuracy of the ground truth).
* passage: reachable, within 0.1 of the reach of the middle of the gap between the first two discs.
"""


def drawn_ik_group(
    rng: np.random.Generator,
    name: str,
    arm: str,
    kinds: Mapping[str, int],
    num_obstacles: int | tuple[int, int] = 0,
    **dials: Any,
) -> TaskGroup:
    """Targets of given kinds, each in a random scene and with a random free start of its own.

    Args:
        rng: Source of randomness.
        name: Of the group.
        arm: Name of the arm.
        kinds: How many targets of each of :data:`KINDS`.
        num_obstacles: Number of discs, or a range to draw it from.
        **dials: Of the scenes, see :func:`planararm.scene.sample_scenes`.

    Raises:
        UnknownNameError: No such kind of targets.
        InvalidSceneError: A kind is too rare among such scenes.
    """
    built = make_arm(arm)

    def drawing(kind: Kind) -> Draw:
        def draw(size: int) -> Drawn:
            scene = rounded_scene(sample_scenes(rng, size, built, num_obstacles, **dials))
            return _draw_targets(rng, scene, kind)

        return draw

    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("kind of target", kind, KINDS)
    tasks, labels = gather([(kind, count, drawing(KINDS[kind])) for kind, count in kinds.items()])
    return TaskGroup(name, arm, *tasks, labels)


def _draw_targets(rng: np.random.Generator, scene: Scene, kind: Kind) -> Drawn:
    targets = rounded(kind.propose(rng, scene))
    there = np.isfinite(targets).all(axis=1)
    scene, targets = scene[there], targets[there]
    if kind.by_construction:
        truth = np.full(len(targets), Truth.REACHABLE, dtype=np.int8)
    else:
        found = reachability(targets, scene)
        truth = found.verdict
        if kind.keep is not None:
            kept = kind.keep(Candidates(scene, targets, truth, found.clearance))
            scene, targets, truth = scene[kept], targets[kept], truth[kept]
    q_start, free = find_free(rng, scene, attempts=_START_ATTEMPTS, at_once=_AT_ONCE)
    if free.all():
        return Drawn(scene, q_start, targets, truth)
    return Drawn(scene[free], q_start[free], targets[free], truth[free])
