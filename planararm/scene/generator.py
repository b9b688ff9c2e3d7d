"""Random scenes with difficulty dials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arm import PlanarArm, make_arm
from ..errors import InvalidSceneError
from ..obstacles import Obstacles
from .core import DEFAULT_SAFETY_MARGIN, Scene

MAX_OBSTACLES = 1000


@dataclass(frozen=True)
class Dials:
    """How hard a random scene is; lengths are fractions of the arm's reach.

    Args:
        min_radius: Smallest disc radius.
        max_radius: Largest disc radius.
        base_clearance: Distance that every disc keeps from the base joint's capsule.
        narrow_passages: Number of disc pairs with a gap between them that a link just fits through.
        shuttling: Share of discs that shuttle, in [0, 1].
        max_speed: Largest speed of a shuttling disc, reaches per second.

    Raises:
        InvalidSceneError: A dial is out of range.
    """

    min_radius: float = 0.05
    max_radius: float = 0.15
    base_clearance: float = 0.05
    narrow_passages: int = 0
    shuttling: float = 0.0
    max_speed: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("min_radius", 0.0, 1.0),
            ("max_radius", 0.0, 1.0),
            ("base_clearance", 0.0, 1.0),
            ("narrow_passages", 0, MAX_OBSTACLES // 2),
            ("shuttling", 0.0, 1.0),
            ("max_speed", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InvalidSceneError(f"{name} must be a number in [{low}, {high}], got {value!r}.")
        if not 0 < self.min_radius <= self.max_radius:
            raise InvalidSceneError(
                f"min_radius must be > 0 and <= max_radius, got {self.min_radius} and {self.max_radius}."
            )
        if self.narrow_passages != int(self.narrow_passages):
            raise InvalidSceneError(f"narrow_passages must be a whole number, got {self.narrow_passages!r}.")

    def kernel_arguments(self, reach: float) -> tuple[float, float, float, int, float, float]:
        """The dials in the order that the kernels take them; the speed in m/s."""
        return (
            float(self.min_radius),
            float(self.max_radius),
            float(self.base_clearance),
            int(self.narrow_passages),
            float(self.shuttling),
            float(self.max_speed * reach),
        )


def draw_key(rng: np.random.Generator) -> int:
    """One 64-bit key: everything random in a kernel is a pure function of it."""
    return int(rng.bit_generator.random_raw())


def sample_scenes(
    rng: np.random.Generator,
    num_scenes: int,
    arm: Any = "unit3",
    num_obstacles: int | tuple[int, int] = 3,
    *,
    safety_margin: float = DEFAULT_SAFETY_MARGIN,
    **dials: Any,
) -> Scene:
    """A batch of random scenes, padded to the largest number of discs.

    Args:
        rng: Source of one key per scene.
        num_scenes: Batch size.
        arm: Anything that :func:`planararm.arm.make_arm` takes.
        num_obstacles: Number of discs, or a range (lowest, highest) to draw it from. A disc that finds no
            place (a base clearance near the reach) is left out.
        safety_margin: [m].
        **dials: See :class:`Dials`.

    Returns:
        A scene with batch shape ``(num_scenes,)``.

    Raises:
        InvalidSceneError: A number is out of range.
        UnknownNameError: No such dial.
    """
    from ..kernels.launch import launch, writable
    from ..kernels.sampling import draw_scenes

    if isinstance(num_scenes, bool) or not isinstance(num_scenes, int | np.integer) or num_scenes < 0:
        raise InvalidSceneError(f"num_scenes must be a whole number >= 0, got {num_scenes!r}.")
    built: PlanarArm = make_arm(arm)
    # An empty scene checks the margin before it enters the kernel.
    margin = Scene(built, Obstacles.none(), safety_margin).safety_margin
    low, high = obstacle_range(num_obstacles)
    keys = np.array([draw_key(rng) for _ in range(num_scenes)], dtype=np.uint64)
    counts = rng.integers(low, high + 1, size=num_scenes)
    shape = (num_scenes, high)
    centers, radii, shuttle = np.empty((*shape, 2)), np.empty(shape), np.empty((*shape, 4))
    present = np.empty(shape, dtype=bool)
    launch(
        draw_scenes, num_scenes, keys, counts, built.reach, *writable(built.base), built.link_radius, margin,
        *make_dials(dials).kernel_arguments(built.reach),
        centers, radii, shuttle, present,
    )  # fmt: skip
    return Scene(built, Obstacles(centers, radii, shuttle if shuttle.any() else None, present), margin)


def sample_scene(
    rng: np.random.Generator,
    arm: Any = "unit3",
    num_obstacles: int | tuple[int, int] = 3,
    *,
    safety_margin: float = DEFAULT_SAFETY_MARGIN,
    **dials: Any,
) -> Scene:
    """One random scene: :func:`sample_scenes` without the batch axis and the empty slots."""
    batch = sample_scenes(rng, 1, arm, num_obstacles, safety_margin=safety_margin, **dials)
    discs = batch.obstacles[0]
    there = np.asarray(discs.mask)
    shuttle = None if discs.shuttle is None else discs.shuttle[there]
    return Scene(batch.arm, Obstacles(discs.centers[there], discs.radii[there], shuttle), safety_margin)


def obstacle_range(num_obstacles: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """``(lowest, highest)`` number of discs from a number or a range.

    Raises:
        InvalidSceneError: Not whole numbers in order.
    """
    numbers = tuple(num_obstacles) if isinstance(num_obstacles, list | tuple) else (num_obstacles, num_obstacles)
    if len(numbers) != 2 or not all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in numbers):
        raise InvalidSceneError(f"num_obstacles must be a whole number or a pair of them, got {num_obstacles!r}.")
    low, high = int(numbers[0]), int(numbers[1])
    if not 0 <= low <= high <= MAX_OBSTACLES:
        raise InvalidSceneError(f"num_obstacles must be in [0, {MAX_OBSTACLES}] and in order, got {num_obstacles!r}.")
    return low, high


def make_dials(values: dict[str, Any]) -> Dials:
    """:class:`Dials` from keyword arguments, with a suggestion for a misspelt one."""
    from dataclasses import fields

    from ..errors import UnknownNameError

    known = [field.name for field in fields(Dials)]
    for name in values:
        if name not in known:
            raise UnknownNameError("scene dial", name, known)
    return Dials(**values)
