"""Smooth paths: circle, lemniscate, Lissajous, spline through way-points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import InvalidInputError
from .base import FloatArray, Path
from .checks import corners, exact_array, number, point, positive, set_fields, whole


@dataclass(frozen=True, eq=False)
class Circle(Path):
    """A circle or an arc: ``p = center + radius (cos a, sin a)``, ``a = start_angle + sweep t``.

    Args:
        center: ``(2,)`` [m].
        radius: [m], > 0.
        start_angle: [rad].
        sweep: Angle run through [rad], negative for clockwise; default a full turn.
        parameter: See :class:`planararm.paths.Path`; here both are the same.
    """

    kind: ClassVar[str] = "circle"
    center: FloatArray
    radius: float
    start_angle: float = 0.0
    sweep: float = 2 * np.pi

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(
            self,
            center=point("center", self.center),
            radius=positive("radius", self.radius),
            start_angle=number("start_angle", self.start_angle),
            sweep=number("sweep", self.sweep),
        )
        if self.sweep == 0:
            raise InvalidInputError("sweep of a circle must not be 0; a full turn is 2 pi.")

    @property
    def is_closed(self) -> bool:
        """Whether ``sweep`` is a whole number of turns (to 1e-12)."""
        turns = abs(self.sweep) / (2 * np.pi)
        return round(turns) >= 1 and math.isclose(turns, round(turns), rel_tol=1e-12)

    @property
    def length(self) -> float:
        """``radius |sweep|`` [m]."""
        return self.radius * abs(self.sweep)

    def _natural(self, fraction: FloatArray) -> FloatArray:
        return fraction

    def _points(self, u: FloatArray) -> FloatArray:
        a = self.start_angle + self.sweep * u
        return self.center + self.radius * np.stack([np.cos(a), np.sin(a)], axis=-1)

    def _derivatives(self, u: FloatArray) -> FloatArray:
        a = self.start_angle + self.sweep * u
        return self.radius * self.sweep * np.stack([-np.sin(a), np.cos(a)], axis=-1)


@dataclass(frozen=True, eq=False)
class Lemniscate(Path):
    """Bernoulli's lemniscate, a lying eight turned by ``angle``.

    ``(x, y) = half_width (cos a, sin a cos a) / (1 + sin^2 a)`` with ``a = 2 pi t`` in its own frame.

    Args:
        center: ``(2,)`` [m].
        half_width: From the centre to the far end of a loop [m].
        angle: [rad].
        parameter: See :class:`planararm.paths.Path`.
    """

    kind: ClassVar[str] = "lemniscate"
    center: FloatArray
    half_width: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(
            self,
            center=point("center", self.center),
            half_width=positive("half_width", self.half_width),
            angle=number("angle", self.angle),
        )

    @property
    def is_closed(self) -> bool:
        """True."""
        return True

    def _turned(self, x: FloatArray, y: FloatArray) -> FloatArray:
        c, s = np.cos(self.angle), np.sin(self.angle)
        return self.half_width * np.stack([c * x - s * y, s * x + c * y], axis=-1)

    def _points(self, u: FloatArray) -> FloatArray:
        c, s = np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)
        return self.center + self._turned(c / (1 + s * s), s * c / (1 + s * s))

    def _derivatives(self, u: FloatArray) -> FloatArray:
        c, s = np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)
        below = (1 + s * s) ** 2
        dx = -s * (1 + s * s + 2 * c * c) / below
        dy = ((c * c - s * s) * (1 + s * s) - 2 * s * s * c * c) / below
        return 2 * np.pi * self._turned(dx, dy)


@dataclass(frozen=True, eq=False)
class Lissajous(Path):
    """``p = center + (A_x sin(2 pi a t + phase), A_y sin(2 pi b t))``.

    Args:
        center: ``(2,)`` [m].
        amplitudes: ``(2,)`` A_x, A_y [m], > 0.
        frequencies: ``(2,)`` whole numbers a, b >= 1.
        phase: [rad].
        parameter: See :class:`planararm.paths.Path`.
    """

    kind: ClassVar[str] = "lissajous"
    center: FloatArray
    amplitudes: FloatArray
    frequencies: tuple[int, int] = (3, 2)
    phase: float = np.pi / 2

    def __post_init__(self) -> None:
        super().__post_init__()
        amplitudes = point("amplitudes", self.amplitudes)
        if (amplitudes <= 0).any():
            raise InvalidInputError(f"amplitudes must be > 0, got {amplitudes.tolist()}.")
        a, b = (whole("frequencies", value, 1, 100) for value in point("frequencies", self.frequencies))
        set_fields(
            self,
            center=point("center", self.center),
            amplitudes=amplitudes,
            frequencies=(a, b),
            phase=number("phase", self.phase),
        )

    @property
    def is_closed(self) -> bool:
        """True."""
        return True

    def _breaks(self) -> FloatArray:
        return np.linspace(0.0, 1.0, 16 * max(self.frequencies) + 1)

    def _angles(self, u: FloatArray) -> FloatArray:
        return np.asarray(2 * np.pi * u[:, None] * np.asarray(self.frequencies) + np.array([self.phase, 0.0]))

    def _points(self, u: FloatArray) -> FloatArray:
        return self.center + self.amplitudes * np.sin(self._angles(u))

    def _derivatives(self, u: FloatArray) -> FloatArray:
        return 2 * np.pi * np.asarray(self.frequencies) * self.amplitudes * np.cos(self._angles(u))


@dataclass(frozen=True, eq=False)
class Spline(Path):
    """Cubic spline through way-points, with continuous curvature (periodic if closed, else not-a-knot).

    Args:
        waypoints: ``(k, 2)`` [m]; at least 3 if closed, else 2; neighbours differ.
        closed: Whether the curve returns to the first way-point.
        times: When each way-point is passed [s], increasing; for a closed path one more, the time of the
            return. Only ratios count (t is in [0, 1]). None: spaced by the distances between way-points.
        parameter: See :class:`planararm.paths.Path`; ``"time"`` passes the way-points at ``times``.
    """

    kind: ClassVar[str] = "spline"
    waypoints: FloatArray
    closed: bool = False
    times: FloatArray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(self, closed=bool(self.closed))
        points = corners("waypoints", self.waypoints, self.closed)
        set_fields(self, waypoints=points)
        if self.times is not None:
            times = exact_array("times", self.times, (len(points) + self.closed,))
            if (np.diff(times) <= 0).any():
                raise InvalidInputError(f"times must increase, got {times.tolist()}.")
            set_fields(self, times=times)

    @property
    def is_closed(self) -> bool:
        """Whether the curve returns to the first way-point."""
        return self.closed

    @cached_property
    def _curve(self) -> Any:
        from scipy.interpolate import CubicSpline

        points = np.concatenate([self.waypoints, self.waypoints[:1]]) if self.closed else self.waypoints
        knots = self.times
        if knots is None:
            knots = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        knots = (knots - knots[0]) / (knots[-1] - knots[0])
        return CubicSpline(knots, points, bc_type="periodic" if self.closed else "not-a-knot")

    def _breaks(self) -> FloatArray:
        return np.asarray(self._curve.x)

    def _points(self, u: FloatArray) -> FloatArray:
        return np.asarray(self._curve(u))

    def _derivatives(self, u: FloatArray) -> FloatArray:
        return np.asarray(self._curve(u, 1))
