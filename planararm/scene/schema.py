"""A scene from a plain mapping, as a TOML file or JSON holds it; every key and type is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ..arm import PlanarArm, make_arm
from ..errors import InvalidSceneError, UnknownNameError
from ..obstacles import Obstacles
from .core import DEFAULT_SAFETY_MARGIN, Scene

SCENE_KEYS = ("safety_margin", "arm", "obstacles")
OBSTACLE_KEYS = ("center", "radius", "shuttle")
SHUTTLE_KEYS = ("displacement", "speed", "phase")
OBSTACLES_KEYS = ("centers", "radii", "shuttle", "mask")


def _check_keys(kind: str, values: Mapping[str, Any], known: Sequence[str], required: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            raise UnknownNameError(f"{kind} key", key, known)
    for key in required:
        if key not in values:
            raise InvalidSceneError(f"{kind} needs {key!r}, got only {sorted(values)}.")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidSceneError(f"{name} must be a number, got {_show(value)}.")
    try:
        number = float(value)
    except OverflowError as cause:
        raise InvalidSceneError(f"{name} is too large a number.") from cause
    if not np.isfinite(number):
        raise InvalidSceneError(f"{name} must be finite, got {number}.")
    return number


def _pair(name: str, value: Any) -> list[float]:
    if isinstance(value, str | Mapping) or not hasattr(value, "__len__") or len(value) != 2:
        raise InvalidSceneError(f"{name} must be two numbers [x, y], got {_show(value)}.")
    return [_number(name, part) for part in value]


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _numbers(name: str, value: Any) -> Any:
    """A number or nested list of numbers, checked one by one; None is left out by the caller."""
    if isinstance(value, list | tuple):
        return [_numbers(name, part) for part in value]
    if isinstance(value, np.ndarray):
        return value
    return _number(name, value)


def arm_from_mapping(values: Any) -> PlanarArm:
    """An arm from ``{"preset": name}``, :class:`PlanarArm`'s arguments, both (the preset changed), or a name.

    Raises:
        InvalidSceneError: Neither, or a value of a wrong type.
        UnknownNameError: No such preset or key.
        InvalidArmError: The numbers do not describe an arm.
    """
    if isinstance(values, str | PlanarArm):
        return make_arm(values)
    if not isinstance(values, Mapping):
        raise InvalidSceneError(f"arm must be a table with preset or link_lengths, got {_show(values)}.")
    known = ["preset", *(item.name for item in fields(PlanarArm))]
    _check_keys("arm", values, known, ())
    given = {key: _numbers(key, value) for key, value in values.items() if key != "preset"}
    if "preset" not in values:
        return make_arm(given)
    if not isinstance(values["preset"], str):
        raise InvalidSceneError(f"preset must be an arm's name, got {_show(values['preset'])}.")
    preset = make_arm(values["preset"])
    return make_arm({**preset.to_dict(), **given}) if given else preset


def _obstacles(values: Any) -> Obstacles:
    if isinstance(values, Obstacles):
        return values
    if isinstance(values, Mapping):
        _check_keys("obstacles", values, OBSTACLES_KEYS, ("centers", "radii"))
        return Obstacles(**values)
    if not isinstance(values, list | tuple):
        raise InvalidSceneError(f"obstacles must be a list of tables with center and radius, got {_show(values)}.")
    centers, radii, shuttles = [], [], []
    for i, disc in enumerate(values):
        where = f"obstacles[{i}]"
        if not isinstance(disc, Mapping):
            raise InvalidSceneError(f"{where} must be a table with center and radius, got {_show(disc)}.")
        _check_keys(where, disc, OBSTACLE_KEYS, ("center", "radius"))
        centers.append(_pair(f"{where}.center", disc["center"]))
        radii.append(_number(f"{where}.radius", disc["radius"]))
        shuttles.append(_shuttle(f"{where}.shuttle", disc["shuttle"]) if "shuttle" in disc else None)
    moving = any(shuttle is not None for shuttle in shuttles)
    return Obstacles(
        np.array(centers).reshape(-1, 2),
        np.array(radii),
        np.array([[0.0] * 4 if shuttle is None else shuttle for shuttle in shuttles]) if moving else None,
    )


def _shuttle(where: str, values: Any) -> list[float]:
    if not isinstance(values, Mapping):
        raise InvalidSceneError(f"{where} must be a table with displacement and speed, got {_show(values)}.")
    _check_keys(where, values, SHUTTLE_KEYS, ("displacement", "speed"))
    return [
        *_pair(f"{where}.displacement", values["displacement"]),
        _number(f"{where}.speed", values["speed"]),
        _number(f"{where}.phase", values.get("phase", 0.0)),
    ]


def scene_from_mapping(values: Mapping[str, Any]) -> Scene:
    """A scene from ``{"arm": ..., "obstacles": [...], "safety_margin": ...}``.

    Args:
        values: ``arm`` as :func:`arm_from_mapping` takes it; ``obstacles`` (default none) a list of
            ``{"center": [x, y], "radius": r, "shuttle": {"displacement": [x, y], "speed": v, "phase": p}}``
            with ``shuttle`` and ``phase`` optional, or what :meth:`Obstacles.to_dict` gives;
            ``safety_margin`` [m], default 1e-3.

    Raises:
        InvalidSceneError: A key is missing, a value has a wrong type, or the numbers are no usable scene.
        UnknownNameError: A key or a preset that does not exist.
        InvalidArmError: The numbers do not describe an arm.
    """
    _check_keys("scene", values, SCENE_KEYS, ("arm",))
    return Scene(
        arm_from_mapping(values["arm"]),
        _obstacles(values.get("obstacles", [])),
        _number("safety_margin", values.get("safety_margin", DEFAULT_SAFETY_MARGIN)),
    )
