"""Paths by name, from a mapping, or from a file; default sizes fit the arm."""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arm import PlanarArm, make_arm
from ..errors import FileFormatError, InvalidInputError, UnknownNameError
from .base import FloatArray, Path
from .checks import number, point, positive, whole
from .curves import Circle, Lemniscate, Lissajous, Spline
from .files import read_waypoints
from .polygons import Line, Polygon, Star

# Default paths stay within this share of the workspace annulus' width around a point of it.
_CENTER_SHARE = 0.6
_RADIUS_SHARE = 0.15
_CENTER_ANGLE = np.pi / 4


@dataclass(frozen=True)
class _Place:
    """Where a path goes whose numbers were not given: well inside the arm's workspace annulus."""

    center: FloatArray
    radius: float

    @classmethod
    def of(cls, arm: PlanarArm) -> _Place:
        # A one-link arm's annulus is a bare circle; its paths go through the disc, out of its reach.
        inner = arm.inner_reach if arm.inner_reach < arm.reach else 0.0
        width = arm.reach - inner
        distance = inner + _CENTER_SHARE * width
        return cls(
            arm.base + distance * np.array([np.cos(_CENTER_ANGLE), np.sin(_CENTER_ANGLE)]),
            _RADIUS_SHARE * width,
        )


def _around(place: _Place, center: Any, radius: Any) -> tuple[FloatArray, float]:
    return (
        place.center if center is None else point("center", center),
        place.radius if radius is None else positive("radius", radius),
    )


def _line(place: _Place, start: Any = None, end: Any = None, **rest: Any) -> Path:
    half = place.radius * np.array([-1.0, 1.0]) * np.sqrt(2)
    return Line(place.center - half if start is None else start, place.center + half if end is None else end, **rest)


def _circle(place: _Place, center: Any = None, radius: Any = None, **rest: Any) -> Path:
    return Circle(*_around(place, center, radius), **rest)


def _regular(num_sides: int, first: float) -> Callable[..., Path]:
    def build(place: _Place, center: Any = None, radius: Any = None, angle: float = first, **rest: Any) -> Path:
        middle, size = _around(place, center, radius)
        angles = number("angle", angle) + 2 * np.pi * np.arange(num_sides) / num_sides
        return Polygon(middle + size * np.stack([np.cos(angles), np.sin(angles)], axis=-1), **rest)

    return build


def _polygon(place: _Place, vertices: Any = None, num_sides: Any = None, **rest: Any) -> Path:
    if vertices is None:
        return _regular(6 if num_sides is None else whole("num_sides", num_sides, 3), 0.0)(place, **rest)
    if num_sides is not None:
        raise InvalidInputError("A polygon takes vertices or num_sides, not both.")
    return Polygon(vertices, **rest)


def _star(place: _Place, center: Any = None, radius: Any = None, inner_radius: Any = None, **rest: Any) -> Path:
    middle, size = _around(place, center, radius)
    return Star(middle, size, 0.45 * size if inner_radius is None else inner_radius, **rest)


def _lemniscate(
    place: _Place, center: Any = None, half_width: Any = None, angle: float = 3 * np.pi / 4, **rest: Any
) -> Path:
    middle, size = _around(place, center, None)
    return Lemniscate(middle, 1.5 * size if half_width is None else half_width, angle, **rest)


def _lissajous(place: _Place, center: Any = None, amplitudes: Any = None, **rest: Any) -> Path:
    middle, size = _around(place, center, None)
    return Lissajous(middle, np.array([size, size]) if amplitudes is None else amplitudes, **rest)


def _spline(place: _Place, waypoints: Any = None, **rest: Any) -> Path:
    if waypoints is None:
        angles = 2 * np.pi * np.arange(7) / 7
        radii = place.radius * np.array([1.0, 0.5, 1.2, 0.7, 1.3, 0.6, 0.9])
        waypoints = place.center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        rest = {"closed": True, **rest}
    return Spline(waypoints, **rest)


def _csv(place: _Place, file: Any = None, interpolation: str = "spline", closed: bool = False, **rest: Any) -> Path:
    if not isinstance(file, str | os.PathLike):
        raise InvalidInputError(f"A path of kind 'csv' needs 'file', the path of a .csv file, got {file!r}.")
    if interpolation not in ("spline", "linear"):
        raise UnknownNameError("interpolation", interpolation, ("spline", "linear"))
    points, times = read_waypoints(file)
    # A closed file may repeat its first point; with times it must, or the time of the return is unknown.
    returns = closed and len(points) > 2 and bool((points[0] == points[-1]).all())
    if times is not None and interpolation == "linear":
        raise FileFormatError(f"{os.fspath(file)!r}: a column t needs interpolation 'spline', not 'linear'.")
    if times is not None and closed and not returns:
        raise FileFormatError(
            f"{os.fspath(file)!r}: a closed path with times must end on its first point, to say when it returns."
        )
    points = points[:-1] if returns else points
    try:
        if interpolation == "linear":
            return Polygon(points, closed=closed, **rest)
        return Spline(points, closed=closed, times=times, **({} if times is None else {"parameter": "time"}) | rest)
    except InvalidInputError as cause:
        raise FileFormatError(f"{os.fspath(file)!r}: {cause}") from cause


# Per name: how it is built, and the arguments that pass through to the shape.
_BUILDERS: dict[str, tuple[Callable[..., Path], tuple[str, ...]]] = {
    "line": (_line, ()),
    "circle": (_circle, ("start_angle", "sweep")),
    "triangle": (_regular(3, np.pi / 2), ()),
    "square": (_regular(4, np.pi / 4), ()),
    "polygon": (_polygon, ("center", "radius", "angle", "closed")),
    "star": (_star, ("num_tips", "angle")),
    "lemniscate": (_lemniscate, ()),
    "lissajous": (_lissajous, ("frequencies", "phase")),
    "spline": (_spline, ("closed", "times")),
    "csv": (_csv, ()),
}


def available_paths() -> list[str]:
    """Names that :func:`make_path` knows; one more kind, ``"csv"``, needs a file."""
    return sorted(name for name in _BUILDERS if name != "csv")


def _known_arguments(kind: str) -> list[str]:
    builder, passed_through = _BUILDERS[kind]
    own = [
        item.name
        for item in inspect.signature(builder).parameters.values()
        if item.kind is not item.VAR_KEYWORD and item.name != "place"
    ]
    return [*own, *passed_through, "parameter"]


def make_path(spec: str | os.PathLike[str] | Mapping[str, Any] | Path, arm: Any = "unit3") -> Path:
    """A path from a name, a mapping, a CSV file or a path (returned as is).

    Args:
        spec: One of :func:`available_paths`; a mapping with ``"kind"`` and the arguments of that shape
            (``"polygon"``, ``"square"`` and ``"triangle"`` also take ``center``, ``radius`` and ``angle``);
            the path of a ``.csv`` file of way-points, which ``{"kind": "csv", "file": ..., "interpolation":
            "spline" | "linear", "closed": ...}`` controls further (a column ``t`` makes ``parameter="time"``
            the default); or a :class:`Path`.
        arm: Anything that :func:`planararm.arm.make_arm` takes. Lengths that are not given are fractions of
            the width of its workspace annulus: the default circle has its centre at 0.6 of the reach in the
            direction of 45 degrees and the radius 0.15 of the reach, if the annulus has no hole.

    Raises:
        UnknownNameError: No such path, or no such argument.
        InvalidInputError: The numbers do not describe a path.
        FileFormatError: The file is unreadable or malformed.
    """
    if isinstance(spec, Path):
        return spec
    if isinstance(spec, os.PathLike) or (isinstance(spec, str) and pathlib.PurePath(spec).suffix.lower() == ".csv"):
        return make_path({"kind": "csv", "file": spec}, arm)
    if isinstance(spec, str):
        if spec not in available_paths():
            raise UnknownNameError("path", spec, available_paths())
        return make_path({"kind": spec}, arm)
    if not isinstance(spec, Mapping):
        raise InvalidInputError(f"A path is given by a name, a mapping, a .csv file or a Path, got {spec!r}.")
    arguments = dict(spec)
    kind = arguments.pop("kind", None)
    if kind is None:
        raise InvalidInputError(f"A path's mapping needs 'kind', e.g. {{'kind': 'circle'}}, got the keys {list(spec)}.")
    if kind not in _BUILDERS:
        raise UnknownNameError("path", kind, _BUILDERS)
    known = _known_arguments(kind)
    for name in arguments:
        if name not in known:
            raise UnknownNameError(f"argument of path {kind!r}", name, known)
    return _BUILDERS[kind][0](_Place.of(make_arm(arm)), **arguments)
