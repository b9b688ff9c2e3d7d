"""Changes to the discs of a scene, each a function from a scene to the changed scene, or an error that says why not.

What may never happen is that a disc comes onto, or passes through, the arm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import geometry
from ..arm import FloatArray
from ..collision import clearance
from ..errors import InvalidSceneError
from ..obstacles import Obstacles
from ..scene import Scene

MAX_DISCS = 32
SMALLEST_RADIUS, LARGEST_RADIUS = 0.02, 0.3
"""Of a disc, as fractions of the reach."""

_BISECTIONS = 30


class RefusedEdit(InvalidSceneError):
    """A change of the discs that the arm, its base or the workspace does not allow."""


def without_empty_slots(scene: Scene) -> Scene:
    """The same scene with the masked discs left out, so that a disc's number is its place."""
    if scene.obstacles.mask is None:
        return scene
    return Scene(scene.arm, _taken(scene.obstacles, np.flatnonzero(scene.obstacles.mask)), scene.safety_margin)


def disc_at(scene: Scene, position: Any) -> int | None:
    """Number of the disc that covers a point; the nearest centre decides between several; None: no disc.

    Args:
        scene: Unbatched, as it is now.
        position: ``(2,)`` [m].
    """
    discs = scene.obstacles
    if discs.num_obstacles == 0:
        return None
    away = geometry.norm(np.asarray(discs.positions()) - np.asarray(position, dtype=np.float64))
    nearest = int(np.argmin(np.where(away <= discs.radii, away, np.inf)))
    return nearest if away[nearest] <= discs.radii[nearest] else None


def add_disc(scene: Scene, q: FloatArray, center: Any, radius: float) -> Scene:
    """The scene with one more disc, a static one.

    Args:
        scene: Unbatched.
        q: ``(n,)`` the configuration of the arm, which the disc must not touch [rad].
        center: ``(2,)`` [m].
        radius: [m].

    Raises:
        RefusedEdit: Too many discs, or the disc would lie on the base, on the arm or outside the workspace.
    """
    discs = scene.obstacles
    if discs.num_obstacles >= MAX_DISCS:
        raise RefusedEdit(f"There are {discs.num_obstacles} discs already; remove one first.")
    shuttle = None if discs.shuttle is None else np.concatenate([discs.shuttle, np.zeros((1, 4))])
    centers = np.concatenate([discs.centers, np.asarray(center, dtype=np.float64)[None]])
    return _checked(scene, q, Obstacles(centers, np.append(discs.radii, radius), shuttle), discs.num_obstacles)


def remove_disc(scene: Scene, index: int) -> Scene:
    """The scene without disc ``index``."""
    kept = np.delete(np.arange(scene.obstacles.num_obstacles), index)
    return Scene(scene.arm, _taken(scene.obstacles, kept), scene.safety_margin)


def resize_disc(scene: Scene, q: FloatArray, index: int, factor: float) -> Scene:
    """The scene with the radius of disc ``index`` multiplied, within 0.02 and 0.3 of the reach.

    Args:
        scene: Unbatched.
        q: ``(n,)`` [rad].
        index: Number of the disc.
        factor: > 0.

    Raises:
        RefusedEdit: The disc would lie on the base or on the arm.
    """
    discs, reach = scene.obstacles, scene.arm.reach
    radii = np.array(discs.radii)
    radii[index] = np.clip(factor * radii[index], SMALLEST_RADIUS * reach, LARGEST_RADIUS * reach)
    changed = Obstacles(discs.centers, radii, discs.shuttle)
    if factor <= 1:
        return Scene(scene.arm, changed, scene.safety_margin)
    return _checked(scene, q, changed, index)


def move_disc(scene: Scene, q: FloatArray, index: int, center: Any) -> Scene:
    """The scene with disc ``index`` moved straight towards ``center``, as far as the arm lets it.

    A disc that is in contact already may move away. A shuttling disc takes its track along.

    Args:
        scene: Unbatched.
        q: ``(n,)`` [rad].
        index: Number of the disc.
        center: ``(2,)`` where the disc's centre shall be now [m].

    Raises:
        RefusedEdit: The place is outside the workspace, or the disc's track would run over the base.
    """
    discs = scene.obstacles
    start, goal = np.asarray(discs.positions())[index], np.asarray(center, dtype=np.float64)
    _check_inside(scene, goal)
    joints = np.asarray(scene.arm.forward_kinematics(q))

    def room(fraction: float) -> float:
        """Distance of the disc's centre to the arm's axis, over that part of the way."""
        end = start + fraction * (goal - start)
        return float(geometry.segment_distance(start, end, joints[:-1], joints[1:]).min())

    # Of a motion that starts too near, only its end can be asked to be no nearer.
    needed = min(float(discs.radii[index]) + scene.arm.link_radius + scene.safety_margin, room(0.0))
    free, blocked = (1.0, 1.0) if room(1.0) >= needed else (0.0, 1.0)
    for _ in range(_BISECTIONS if free < blocked else 0):
        middle = (free + blocked) / 2
        free, blocked = (middle, blocked) if room(middle) >= needed else (free, middle)
    centers = np.array(discs.centers)
    centers[index] += free * (goal - start)
    return _clear_of_base(scene, Obstacles(centers, discs.radii, discs.shuttle))


def set_speed(scene: Scene, index: int, speed: float) -> Scene:
    """The scene with another speed [m/s] of disc ``index``, if discs shuttle at all."""
    discs = scene.obstacles
    if discs.shuttle is None:
        return scene
    shuttle = np.array(discs.shuttle)
    shuttle[index, 2] = speed
    return Scene(scene.arm, Obstacles(discs.centers, discs.radii, shuttle), scene.safety_margin)


def _taken(discs: Obstacles, rows: Any) -> Obstacles:
    shuttle = None if discs.shuttle is None else discs.shuttle[rows]
    return Obstacles(np.asarray(discs.centers)[rows], np.asarray(discs.radii)[rows], shuttle)


def _check_inside(scene: Scene, center: Any) -> None:
    if float(np.linalg.norm(center - scene.arm.base)) > scene.arm.reach:
        raise RefusedEdit("No disc outside the workspace, the shaded circle: the arm cannot get there.")


def _clear_of_base(scene: Scene, discs: Obstacles) -> Scene:
    try:
        return Scene(scene.arm, discs, scene.safety_margin)
    except InvalidSceneError as cause:
        raise RefusedEdit("No disc over the base: the arm could not move at all.") from cause


def _checked(scene: Scene, q: FloatArray, discs: Obstacles, index: int) -> Scene:
    """The scene with these discs, after a look at the one that has changed: the others may well touch the arm."""
    _check_inside(scene, np.asarray(discs.positions())[index])
    changed = _clear_of_base(scene, discs)
    alone = Obstacles(np.asarray(discs.positions())[index][None], np.asarray(discs.radii)[index][None])
    if float(clearance(q, scene.arm, alone)) < scene.safety_margin:
        raise RefusedEdit("No room here: the arm is in the way.")
    return changed
