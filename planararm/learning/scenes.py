"""What the proposal networks are trained on: random scenes and targets, drawn on the fly from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arm import FloatArray, PlanarArm
from ..errors import UnknownNameError
from ..obstacles import Obstacles
from ..scene import DEFAULT_SAFETY_MARGIN, Scene
from ..scene.generator import sample_scenes

NEAR_BOUNDARY = 0.1
"""Share of the targets drawn from the outer 5 % of the reach, where arms are almost stretched."""
BOUNDARY_BAND = 0.05
REDRAWS = 4
"""How often a target that a disc covers is drawn again."""


@dataclass(frozen=True)
class Part:
    """One kind of scene in a mix: its share of the batch, and the dials of its generator."""

    share: float
    num_obstacles: tuple[int, int]
    narrow_passages: int = 0


MIXES: dict[str, tuple[Part, ...]] = {
    "free": (Part(1.0, (0, 0)),),
    "clutter": (Part(1.0, (0, 6)),),
    "hard": (Part(1.0, (6, 6), narrow_passages=2),),
    "mixed": (Part(0.1, (0, 0)), Part(0.7, (0, 8)), Part(0.2, (4, 8), narrow_passages=2)),
}
"""Kinds of training scenes by name; ``mixed`` is what the shipped networks are trained on."""


class Batch(NamedTuple):
    """N targets, one scene each.

    Attributes:
        target_position: ``(N, 2)`` [m].
        scene: Of batch shape ``(N,)``.
    """

    target_position: FloatArray
    scene: Scene


def find_mix(name: str) -> tuple[Part, ...]:
    """A mix by name.

    Raises:
        UnknownNameError: No such mix.
    """
    if name not in MIXES:
        raise UnknownNameError("kind of training scenes", name, MIXES)
    return MIXES[name]


def draw_batch(seed: Any, count: int, arm: PlanarArm, mix: str = "mixed") -> Batch:
    """Draw scenes and targets; a pure function of its arguments.

    Targets are uniform over the annulus that the arm reaches without discs, a tenth of them near its outer boundary,
    and outside the discs where four redraws find room. Whether the rest of the arm has room is not looked at.

    Args:
        seed: A number or a sequence of numbers, as for :func:`numpy.random.default_rng`.
        count: N.
        arm: The arm.
        mix: Name in :data:`MIXES`.

    Raises:
        UnknownNameError: No such mix.
    """
    rng = np.random.default_rng(seed)
    parts = find_mix(mix)
    edges = np.round(np.cumsum([0.0, *(part.share for part in parts)]) * count).astype(int)
    most = max(part.num_obstacles[1] for part in parts)
    centers = np.full((count, most, 2), 10.0 * arm.reach) + arm.base
    radii, mask = np.ones((count, most)), np.zeros((count, most), dtype=bool)
    for part, start, stop in zip(parts, edges[:-1], edges[1:], strict=True):
        drawn = sample_scenes(
            rng, int(stop - start), arm, part.num_obstacles, narrow_passages=part.narrow_passages
        ).obstacles
        width = drawn.num_obstacles
        centers[start:stop, :width], radii[start:stop, :width] = drawn.centers, drawn.radii
        mask[start:stop, :width] = True if drawn.mask is None else drawn.mask
    scene = Scene(arm, Obstacles(centers, radii, mask=mask), DEFAULT_SAFETY_MARGIN)
    return Batch(_targets(rng, scene, count), scene)


def _targets(rng: np.random.Generator, scene: Scene, count: int) -> FloatArray:
    target = _anywhere(rng, scene.arm, count)
    for _ in range(REDRAWS):
        covered = np.flatnonzero(_covered(target, scene))
        if covered.size == 0:
            break
        target[covered] = _anywhere(rng, scene.arm, covered.size)
    return target


def _anywhere(rng: np.random.Generator, arm: PlanarArm, count: int) -> FloatArray:
    inner = np.where(rng.random(count) < NEAR_BOUNDARY, (1 - BOUNDARY_BAND) * arm.reach, arm.inner_reach)
    distance = np.sqrt(rng.uniform(inner**2, arm.reach**2))
    angle = rng.uniform(-np.pi, np.pi, count)
    return np.asarray(arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1))


def _covered(target: FloatArray, scene: Scene) -> np.ndarray:
    """Whether the tip of the arm touches a disc there: ``(N,)`` bool."""
    discs = scene.obstacles
    room = np.linalg.norm(target[:, None] - discs.centers, axis=-1) - discs.radii - scene.arm.link_radius
    there = True if discs.mask is None else discs.mask
    return np.asarray(((room < scene.safety_margin) & there).any(axis=-1))
