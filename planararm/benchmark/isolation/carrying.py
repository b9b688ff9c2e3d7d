"""Scenes and layouts as messages carry them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ...arm import PlanarArm
from ...interface import EnvInterface
from ...obstacles import Obstacles
from ...scene import Scene
from .messages import Message

_arms: dict[str, PlanarArm] = {}
_KEPT = 64
"""Arms that are remembered: a call should not check the same one again."""


def arm_text(arm: PlanarArm) -> str:
    """An arm as text."""
    return json.dumps(arm.to_dict())


def arm_from(text: str) -> PlanarArm:
    """The arm of a text."""
    if text not in _arms:
        if len(_arms) >= _KEPT:
            _arms.clear()
        _arms[text] = PlanarArm(**json.loads(text))
    return _arms[text]


def scene_parts(scene: Scene) -> tuple[dict[str, Any], dict[str, Any]]:
    """A scene as values and arrays of a message."""
    discs = scene.obstacles
    arrays = {"centers": discs.centers, "radii": discs.radii}
    if discs.shuttle is not None:
        arrays["shuttle"] = discs.shuttle
    if discs.mask is not None:
        arrays["mask"] = np.asarray(discs.mask, dtype=bool)
    return {"arm": arm_text(scene.arm), "safety_margin": float(scene.safety_margin)}, arrays


def scene_from(message: Message) -> Scene:
    """The scene of a message."""
    values, arrays = message.values, message.arrays
    obstacles = Obstacles(arrays["centers"], arrays["radii"], arrays.get("shuttle"), arrays.get("mask"))
    return Scene(arm_from(values["arm"]), obstacles, values["safety_margin"])


def interface_values(interface: EnvInterface) -> dict[str, Any]:
    """A layout as values of a message."""
    return {
        "arm": arm_text(interface.arm),
        "max_obstacles": int(interface.max_obstacles),
        "num_preview": int(interface.num_preview),
        "control_mode": interface.control_mode,
        "dt": interface.dt,
        "safety_margin": interface.safety_margin,
    }


def interface_from(values: dict[str, Any]) -> EnvInterface:
    """The layout of a message."""
    return EnvInterface(**{**values, "arm": arm_from(values["arm"])})
