"""The scenes to choose from in the window, and where the arm begins in them."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

import numpy as np

from ..arm import FloatArray
from ..collision import clearance
from ..errors import InvalidSceneError
from ..scene import Scene, available_scenes, make_scene
from . import edits

RANDOM_DISCS = 5
START_CANDIDATES, START_ROUNDS = 256, 20
ARC = 2.1
"""Angle by which an arm of many joints bends altogether where it begins, if there is room [rad]."""

START_ROOM = 0.05
"""Clearance that is enough for a start, as a fraction of the reach."""


class Scenes:
    """The named scenes, and the one to begin with.

    Args:
        first: The scene to begin with, as :func:`planararm.scene.make_scene` takes it.
        arm: The arm of named scenes; None: each scene's own.

    Attributes:
        names: The names to choose from.
    """

    def __init__(self, first: Any = "clutter", arm: Any = None) -> None:
        self._arm, self._seed = arm, 0
        self._specs: dict[str, Any] = {name: name for name in available_scenes()}
        known = isinstance(first, str) and first in self._specs
        label = first if known else _label(first)
        if not known:
            self._specs = {label: first, **self._specs}
        self.names = list(self._specs)
        self._index = self.names.index(label)

    @property
    def name(self) -> str:
        """Name of the present scene."""
        return self.names[self._index]

    def turn(self, by: int = 1) -> None:
        """Go ``by`` names on; ``"random"`` is another scene each time."""
        self._index = (self._index + by) % len(self.names)
        self._seed += self.name == "random"

    def build(self) -> Scene:
        """The present scene as it begins, without empty slots.

        Raises:
            PlanarArmError: It cannot be made, or is a batch.
        """
        spec = self._specs[self.name]
        options: dict[str, Any] = {}
        if isinstance(spec, str) and spec in available_scenes():
            options |= {} if self._arm is None else {"arm": self._arm}
            options |= {"seed": self._seed, "num_obstacles": RANDOM_DISCS} if spec == "random" else {}
        scene = make_scene(spec, **options)
        if scene.batch_shape:
            raise InvalidSceneError(f"The window shows one scene, got a batch {scene.batch_shape}; index it first.")
        return edits.without_empty_slots(scene)


def free_start(scene: Scene) -> FloatArray:
    """A configuration with much room, the same one for the same scene: the best of some random ones.

    Args:
        scene: Unbatched; shuttling discs are where they are at time 0.

    Returns:
        ``(n,)`` [rad].

    Raises:
        InvalidSceneError: None of thousands of random configurations is free.
    """
    rng = np.random.default_rng(0)
    arm, limits = scene.arm, scene.arm.joint_limits
    # Near an open arc first: a curled arm is hard to read, a stretched one at the edge of what it can do.
    middle = arm.clip(np.array([0.3, *([ARC / arm.num_joints] * (arm.num_joints - 1))]))
    for spread in np.linspace(0.1, 1.0, START_ROUNDS):
        drawn = rng.uniform(limits[:, 0], limits[:, 1], (START_CANDIDATES, arm.num_joints))
        q = arm.clip(middle + spread * (drawn - middle))
        room = np.minimum(np.asarray(clearance(q, arm, scene.obstacles)), START_ROOM * arm.reach)
        best = int(np.argmax(room))
        if room[best] >= scene.safety_margin:
            return np.array(q[best])
    raise InvalidSceneError("No free configuration found to start from: the discs leave the arm no room.")


def _label(scene: Any) -> str:
    """What a scene is called that has no name; none of these is a bundled name."""
    return PurePath(scene).name if isinstance(scene, str | os.PathLike) else "your scene"
