"""Named scenes, for any arm: all lengths are fractions of its reach, all angles from its base."""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import PlanarArm
from ..errors import InvalidInputError, InvalidSceneError, UnknownNameError
from ..obstacles import Obstacles
from .core import DEFAULT_SAFETY_MARGIN, Scene
from .files import load_scene
from .generator import Dials, sample_scene
from .schema import arm_from_mapping, scene_from_mapping

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def _polar(distance: Any, angle: Any) -> npt.NDArray[np.float64]:
    distance, angle = np.broadcast_arrays(np.asarray(distance, dtype=np.float64), angle)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=-1)


def _discs(arm: PlanarArm, centers: Any, radii: Any, shuttle: Any = None) -> Obstacles:
    """Discs from centres relative to the base, in fractions of the reach (speeds in reaches per second)."""
    centers = np.asarray(centers, dtype=np.float64).reshape(-1, 2)
    radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), centers.shape[:-1])
    scaled = None if shuttle is None else np.asarray(shuttle) * np.array([arm.reach, arm.reach, arm.reach, 1.0])
    return Obstacles(arm.base + arm.reach * centers, arm.reach * radii, scaled)


def _empty(arm: PlanarArm) -> Obstacles:
    """No disc."""
    return Obstacles.none()


def _single(arm: PlanarArm, distance: float = 0.6, angle: float = np.pi / 2, radius: float = 0.12) -> Obstacles:
    """One disc."""
    return _discs(arm, _polar(distance, angle), radius)


def _corridor(
    arm: PlanarArm, gap: float = 0.2, distance: float = 0.55, angle: float = 0.0, radius: float = 0.15
) -> Obstacles:
    """Two discs with a gap between them, on the ray at ``angle``."""
    sideways = np.array([[0.0, 1.0], [0.0, -1.0]]) * (gap / 2 + radius)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _discs(arm, (np.array([distance, 0.0]) + sideways) @ turn, radius)


def _narrow_passage(
    arm: PlanarArm, gap: float = 0.06, distance: float = 0.55, angle: float = 0.0, radius: float = 0.15
) -> Obstacles:
    """A corridor that a link just fits through."""
    return _corridor(arm, gap, distance, angle, radius)


def _clutter(arm: PlanarArm, num: int = 8) -> Obstacles:
    """Discs of three sizes all around, on a sunflower's spiral."""
    i = np.arange(num)
    return _discs(arm, _polar(0.35 + 0.55 * np.sqrt((i + 0.5) / max(num, 1)), i * GOLDEN_ANGLE), 0.05 + 0.02 * (i % 3))


def _pillars(arm: PlanarArm, spacing: float = 0.5, radius: float = 0.05) -> Obstacles:
    """Small discs on a square grid; the base has its own place in the middle of four."""
    if not spacing >= 0.1:
        raise InvalidSceneError(f"spacing must be at least 0.1 of the reach, got {spacing}.")
    steps = (np.arange(-np.ceil(1 / spacing), np.ceil(1 / spacing)) + 0.5) * spacing
    centers = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return _discs(arm, centers[np.hypot(*centers.T) < 1.0], radius)


def _ring(arm: PlanarArm, num: int = 6, distance: float = 0.7, radius: float = 0.08, angle: float = 0.3) -> Obstacles:
    """Equal discs on a circle around the base."""
    return _discs(arm, _polar(distance, angle + 2 * np.pi * np.arange(num) / max(num, 1)), radius)


def _wall(arm: PlanarArm, distance: float = 0.6, angle: float = np.pi / 2, num: int = 5) -> Obstacles:
    """A row of touching discs across the ray at ``angle``."""
    radius = 0.07
    along = 2 * radius * (np.arange(num) - (num - 1) / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _discs(arm, np.stack([np.full(num, distance), along], axis=-1) @ turn, radius)


def _shuttle(arm: PlanarArm, num: int = 3, speed: float = 0.1, radius: float = 0.08) -> Obstacles:
    """Discs that run to and fro, each on a chord of the workspace."""
    angle = 0.4 + 2 * np.pi * np.arange(num) / max(num, 1)
    start, end = _polar(0.55, angle), _polar(0.85, angle + 0.8)
    phase = np.arange(num)[:, None] * 2 / max(num, 1)
    return _discs(arm, start, radius, np.concatenate([end - start, np.full((num, 1), speed), phase], axis=-1))


def _duka_single(arm: PlanarArm) -> Obstacles:
    """One disc in the work area of the arm ``duka``, which is this scene's default."""
    return _discs(arm, _polar(0.55, np.deg2rad(80)), 0.1)


_SCENES: dict[str, Callable[..., Obstacles]] = {
    "empty": _empty,
    "single": _single,
    "corridor": _corridor,
    "narrow-passage": _narrow_passage,
    "clutter": _clutter,
    "pillars": _pillars,
    "ring": _ring,
    "wall": _wall,
    "shuttle": _shuttle,
    "duka-single": _duka_single,
}
_DEFAULT_ARMS = {"duka-single": "duka"}


def available_scenes() -> list[str]:
    """Names that :func:`make_scene` knows."""
    return sorted([*_SCENES, "random"])


def _random(arm: PlanarArm, safety_margin: float, seed: Any = 0, **dials: Any) -> Scene:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidSceneError(f"seed must be a whole number >= 0, got {seed!r}.")
    return sample_scene(np.random.default_rng(seed), arm, safety_margin=safety_margin, **dials)


def _named(name: str, arm: Any = None, safety_margin: float = DEFAULT_SAFETY_MARGIN, **arguments: Any) -> Scene:
    if name not in available_scenes():
        raise UnknownNameError("scene", name, available_scenes())
    built = arm_from_mapping(_DEFAULT_ARMS.get(name, "unit3") if arm is None else arm)
    known = _known_arguments(name)
    for key in arguments:
        if key not in known:
            raise UnknownNameError(f"argument of scene {name!r}", key, [*known, "arm", "safety_margin"])
    if name == "random":
        return _random(built, safety_margin, **arguments)
    for key, value in arguments.items():
        _check_argument(key, value)
    return Scene(built, _SCENES[name](built, **arguments), safety_margin)


def _known_arguments(name: str) -> list[str]:
    if name == "random":
        return ["seed", "num_obstacles", *(dial.name for dial in fields(Dials))]
    return [key for key in inspect.signature(_SCENES[name]).parameters if key != "arm"]


def _check_argument(name: str, value: Any) -> None:
    if name == "num":
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= 1000:
            raise InvalidSceneError(f"num must be a whole number from 0 to 1000, got {value!r}.")
    elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise InvalidSceneError(f"{name} must be a finite number, got {value!r}.")


def make_scene(spec: str | os.PathLike[str] | Mapping[str, Any] | Scene, **arguments: Any) -> Scene:
    """A scene from a name, a mapping, a TOML file or a scene (returned as is).

    Args:
        spec: One of :func:`available_scenes`; a mapping with ``"name"`` and arguments of that scene; a
            mapping ``{"arm": ..., "obstacles": [...], "safety_margin": ...}`` as in a scene file
            (:mod:`planararm.scene.files`); the path of a ``.toml`` file; or a :class:`Scene`.
        **arguments: Of a named scene: ``arm`` (default ``unit3``), ``safety_margin`` and its own, e.g.
            ``gap`` of ``"corridor"``, as fractions of the reach; ``"random"`` takes ``seed``,
            ``num_obstacles`` and the dials of :func:`planararm.scene.generator.sample_scene`. They complete
            a mapping; files and scenes take none.

    Raises:
        UnknownNameError: No such scene, argument or key.
        InvalidSceneError: The values do not describe a usable scene.
        InvalidArmError: The arm's numbers do not describe one.
        FileFormatError: The file is unreadable or malformed.
        InvalidInputError: ``spec`` has a wrong type, or arguments where none are taken, or one given twice.
    """
    is_file = isinstance(spec, os.PathLike) or (
        isinstance(spec, str) and pathlib.PurePath(spec).suffix.lower() == ".toml"
    )
    if isinstance(spec, Scene) or is_file:
        if arguments:
            raise InvalidInputError(f"A finished scene takes no arguments, got {sorted(arguments)}.")
        return spec if isinstance(spec, Scene) else load_scene(spec)  # type: ignore[arg-type]
    if isinstance(spec, str):
        return _named(spec, **arguments)
    if not isinstance(spec, Mapping):
        raise InvalidInputError(f"A scene is given by a name, a mapping, a .toml file or a Scene, got {spec!r}.")
    twice = sorted(set(spec) & set(arguments))
    if twice:
        raise InvalidInputError(f"{twice[0]!r} is in the scene's mapping and among the arguments; give it once.")
    values = {**spec, **arguments}
    if "name" in values:
        return _named(**values)
    return scene_from_mapping({"arm": "unit3", **values})
