"""Scenes as TOML files, to be read and edited by people.

::

    safety_margin = 0.001

    [arm]
    preset = "unit3"            # or link_lengths = [1.0, 0.8], joint_limits = [[-3, 3], [-2, 2]], ...

    [[obstacles]]
    center = [1.5, 1.0]
    radius = 0.3

    [[obstacles]]
    center = [-1.5, 0.0]
    radius = 0.2
    shuttle = { displacement = [0.0, 1.0], speed = 0.5, phase = 0.25 }

Lengths are metres, angles radians, speeds metres per second. ``arm`` takes the arguments of
:class:`planararm.arm.PlanarArm`, or a ``preset``, or both (the preset with some of them changed). ``shuttle``
is as in :class:`planararm.obstacles.Obstacles`: the disc runs from ``center`` to ``center + displacement``
and back; ``phase`` may be left out.
"""

from __future__ import annotations

import os
import pathlib
import re
import secrets
import tomllib
from collections.abc import Sequence

from ..arm import PRESETS, PlanarArm, make_arm
from ..errors import FileFormatError, InvalidInputError, InvalidSceneError, UnknownNameError
from ..paths.files import read_text
from .core import Scene
from .schema import scene_from_mapping

# The standard parser takes time quadratic in the parts of a dotted key: a small file could take minutes.
MAX_LINE_LENGTH = 2000
MAX_KEY_PARTS = 20


def load_scene(file: str | os.PathLike[str]) -> Scene:
    """A scene from a TOML file (format in the module's docstring).

    Raises:
        FileFormatError: Unreadable, larger than 1 MB, not UTF-8, not TOML, or with a key that does not exist.
        InvalidSceneError: A key is missing, a value has a wrong type, or the numbers are no usable scene.
    """
    name = repr(os.fspath(file))
    text = read_text(file, "scene")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE_LENGTH:
            raise FileFormatError(f"{name}, line {number} has more than {MAX_LINE_LENGTH} characters.")
        if any(part.count(".") > MAX_KEY_PARTS for part in re.split(r"[\[\]{}=,]", line)):
            raise FileFormatError(f"{name}, line {number} has a key of more than {MAX_KEY_PARTS} parts.")
    try:
        values = tomllib.loads(text)
    except ValueError as cause:
        raise FileFormatError(f"{name} is not valid TOML: {cause}.") from cause
    except RecursionError as cause:
        raise FileFormatError(f"{name} is nested too deeply for a scene.") from cause
    try:
        return scene_from_mapping(values)
    except UnknownNameError as cause:
        raise FileFormatError(f"{name}: {cause}") from cause
    except InvalidInputError as cause:
        raise InvalidSceneError(f"{name}: {cause}") from cause


def save_scene(scene: Scene, file: str | os.PathLike[str]) -> None:
    """Write a scene as TOML; :func:`load_scene` gives it back exactly.

    Empty slots of a masked scene are not written. The file appears whole or not at all.

    Args:
        scene: Without batch axes.
        file: Where to.

    Raises:
        InvalidSceneError: The scene has batch axes.
        OSError: The file cannot be written.
    """
    if scene.batch_shape:
        raise InvalidSceneError(f"A scene file holds one scene, got batch shape {scene.batch_shape}; save scene[i].")
    target = pathlib.Path(file)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(_toml(scene))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _toml(scene: Scene) -> str:
    lines = [f"safety_margin = {scene.safety_margin!r}", "", "[arm]", *_arm_lines(scene.arm)]
    discs = scene.obstacles.to_dict()
    for i, (center, radius) in enumerate(zip(discs["centers"], discs["radii"], strict=True)):
        if discs["mask"] is not None and not discs["mask"][i]:
            continue
        lines += ["", "[[obstacles]]", f"center = {_list(center)}", f"radius = {float(radius)!r}"]
        if discs["shuttle"] is not None:
            x, y, speed, phase = (float(value) for value in discs["shuttle"][i])
            lines.append(f"shuttle = {{ displacement = {_list([x, y])}, speed = {speed!r}, phase = {phase!r} }}")
    return "\n".join(lines) + "\n"


def _arm_lines(arm: PlanarArm) -> list[str]:
    for name in PRESETS:
        if make_arm(name) == arm:
            return [f'preset = "{name}"']
    values = arm.to_dict()
    limits = [f"    {_list(pair)}," for pair in values.pop("joint_limits")]
    return [
        *(f"{key} = {_list(value) if isinstance(value, list) else repr(value)}" for key, value in values.items()),
        "joint_limits = [",
        *limits,
        "]",
    ]


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"
