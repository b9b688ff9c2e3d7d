"""A scene: one arm among discs, with the margin that everybody keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import geometry
from ..arm import PlanarArm
from ..errors import InvalidSceneError
from ..obstacles import Obstacles

DEFAULT_SAFETY_MARGIN = 1e-3


@dataclass(frozen=True, eq=False)
class Scene:
    """An arm, the discs around it (possibly one set per batch element) and the safety margin.

    A configuration is *free* where its clearance is at least ``safety_margin``.

    Args:
        arm: The arm.
        obstacles: The discs; their batch axes are the scene's.
        safety_margin: [m], >= 0.

    Raises:
        InvalidSceneError: A margin below zero, or a disc that covers the base at some time, so that no
            configuration could be free.
    """

    arm: PlanarArm
    obstacles: Obstacles
    safety_margin: float = DEFAULT_SAFETY_MARGIN

    def __post_init__(self) -> None:
        if not isinstance(self.arm, PlanarArm):
            raise InvalidSceneError(f"A scene needs a PlanarArm, got {type(self.arm).__name__}; see make_arm.")
        if not isinstance(self.obstacles, Obstacles):
            raise InvalidSceneError(f"A scene needs Obstacles, got {type(self.obstacles).__name__}.")
        try:
            margin = float(self.safety_margin)
        except (TypeError, ValueError, OverflowError) as cause:
            raise InvalidSceneError(f"safety_margin must be a number, got {self.safety_margin!r}.") from cause
        if not (np.isfinite(margin) and margin >= 0):
            raise InvalidSceneError(f"safety_margin must be finite and >= 0, got {margin}.")
        object.__setattr__(self, "safety_margin", margin)
        room = np.where(self._mask(), self.base_clearance(), np.inf)
        # Observations carry float32 discs: a disc at exactly the margin may come back a little nearer.
        covers = room < margin - 1e-6 * (self.arm.reach + np.abs(self.arm.base).max())
        if covers.any():
            where = tuple(int(i) for i in np.argwhere(covers)[0])
            center = np.asarray(self.obstacles.centers)[where].tolist()
            radius = float(np.asarray(self.obstacles.radii)[where])
            raise InvalidSceneError(
                f"Disc {where[-1]} (center {center}, radius {radius}) covers the base {self.arm.base.tolist()}: "
                f"the first link's clearance there is {room[where]:.6g} m, below the safety margin {margin} m."
            )

    def _mask(self) -> Any:
        if self.obstacles.mask is None:
            return np.ones(self.obstacles.radii.shape, dtype=bool)
        return np.asarray(self.obstacles.mask)

    def base_clearance(self) -> Any:
        """Signed distance of the base joint to every disc, over its whole shuttle: ``(*batch, m)`` [m]."""
        centers, radii = np.asarray(self.obstacles.centers), np.asarray(self.obstacles.radii)
        far = centers if self.obstacles.shuttle is None else centers + np.asarray(self.obstacles.shuttle)[..., :2]
        nearest = geometry.closest_point(np.broadcast_to(self.arm.base, centers.shape), centers, far)
        return geometry.norm(nearest - self.arm.base) - radii - self.arm.link_radius

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes of the obstacles."""
        return self.obstacles.batch_shape

    def __getitem__(self, index: Any) -> Scene:
        """Index the batch axes."""
        part = object.__new__(Scene)
        # Past __post_init__: some of the discs that were checked need no second check.
        part.__dict__.update(arm=self.arm, obstacles=self.obstacles[index], safety_margin=self.safety_margin)
        return part

    def __len__(self) -> int:
        """Length of the first batch axis."""
        if not self.batch_shape:
            raise TypeError("This scene has no batch axis.")
        return self.batch_shape[0]

    @classmethod
    def stack(cls, scenes: Sequence[Scene]) -> Scene:
        """One batched scene from unbatched ones of the same arm and margin; discs are padded and masked.

        Raises:
            InvalidSceneError: No scene, or scenes of different arms or margins, or already batched.
        """
        if not scenes:
            raise InvalidSceneError("Scene.stack needs at least one scene.")
        first = scenes[0]
        for scene in scenes:
            if scene.arm != first.arm or scene.safety_margin != first.safety_margin:
                raise InvalidSceneError("Scene.stack needs scenes of one arm and one safety margin.")
            if scene.batch_shape:
                raise InvalidSceneError(f"Scene.stack needs unbatched scenes, got batch shape {scene.batch_shape}.")
        slots = max(scene.obstacles.num_obstacles for scene in scenes)
        shape = (len(scenes), slots)
        centers, radii, mask = np.zeros((*shape, 2)), np.ones(shape), np.zeros(shape, dtype=bool)
        moving = any(scene.obstacles.shuttle is not None for scene in scenes)
        shuttle = np.zeros((*shape, 4)) if moving else None
        # Empty slots stand far away: a reader that forgets the mask is not told of a disc at the base.
        centers[..., 0] = 10 * first.arm.reach + first.arm.base[0]
        for i, scene in enumerate(scenes):
            m = scene.obstacles.num_obstacles
            centers[i, :m], radii[i, :m], mask[i, :m] = scene.obstacles.centers, scene.obstacles.radii, scene._mask()
            if shuttle is not None and scene.obstacles.shuttle is not None:
                shuttle[i, :m] = scene.obstacles.shuttle
        return cls(first.arm, Obstacles(centers, radii, shuttle, mask), first.safety_margin)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {
            "arm": self.arm.to_dict(),
            "obstacles": self.obstacles.to_dict(),
            "safety_margin": self.safety_margin,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scene):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]
