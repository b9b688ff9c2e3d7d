"""Paths of straight edges: line, polygon, star."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import InvalidInputError
from .base import FloatArray, Path
from .checks import corners, number, point, positive, set_fields, whole


@dataclass(frozen=True, eq=False)
class _PiecewiseLinear(Path):
    """Straight edges between corners; the natural parameter takes equal times per edge."""

    @abstractmethod
    def _vertices(self) -> FloatArray:
        """Corners in order ``(k, 2)`` [m], the first one repeated at the end if the path is closed."""

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        corners = self._vertices()
        return (
            corners,
            np.diff(corners, axis=0),
            np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))]),
        )

    @property
    def length(self) -> float:
        """Sum of the edges' lengths [m]."""
        return float(self._table[2][-1])

    def _natural(self, fraction: FloatArray) -> FloatArray:
        cumulative = self._table[2]
        return np.asarray(np.interp(fraction * cumulative[-1], cumulative, np.linspace(0.0, 1.0, cumulative.size)))

    def _edge(self, u: FloatArray) -> tuple[Any, FloatArray]:
        num_edges = len(self._table[1])
        # A corner that rounding puts just before itself must still belong to the edge that begins there.
        place = u * num_edges
        place = np.where(np.abs(place - np.round(place)) <= 4e-16 * num_edges, np.round(place), place)
        edge = np.minimum(place.astype(np.int64), num_edges - 1)
        return edge, place - edge

    def _points(self, u: FloatArray) -> FloatArray:
        corners, steps, _ = self._table
        edge, share = self._edge(u)
        return np.asarray(corners[edge] + share[:, None] * steps[edge])

    def _derivatives(self, u: FloatArray) -> FloatArray:
        steps = self._table[1]
        edge, _ = self._edge(u)
        return np.asarray(steps[edge] * len(steps))


@dataclass(frozen=True, eq=False)
class Line(_PiecewiseLinear):
    """The segment from ``start`` to ``end``: ``p = start + t (end - start)``.

    Args:
        start: ``(2,)`` [m].
        end: ``(2,)`` [m], not ``start``.
        parameter: See :class:`planararm.paths.Path`; here both are the same.
    """

    kind: ClassVar[str] = "line"
    start: FloatArray
    end: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(self, start=point("start", self.start), end=point("end", self.end))
        if (self.start == self.end).all():
            raise InvalidInputError(f"start and end of a line must differ, both are {self.start.tolist()}.")

    @property
    def is_closed(self) -> bool:
        """False."""
        return False

    def _vertices(self) -> FloatArray:
        return np.stack([self.start, self.end])


@dataclass(frozen=True, eq=False)
class Polygon(_PiecewiseLinear):
    """Straight edges through ``vertices``, back to the first one if ``closed``.

    Args:
        vertices: ``(k, 2)`` [m]; at least 3 if closed, else 2; neighbours differ.
        closed: Whether the last vertex is joined to the first.
        parameter: See :class:`planararm.paths.Path`.
    """

    kind: ClassVar[str] = "polygon"
    vertices: FloatArray
    closed: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(self, closed=bool(self.closed))
        set_fields(self, vertices=corners("vertices", self.vertices, self.closed))

    @property
    def is_closed(self) -> bool:
        """Whether the last vertex is joined to the first."""
        return self.closed

    def _vertices(self) -> FloatArray:
        return np.concatenate([self.vertices, self.vertices[:1]]) if self.closed else self.vertices


@dataclass(frozen=True, eq=False)
class Star(_PiecewiseLinear):
    """A star: tips on a circle of ``radius``, notches on one of ``inner_radius``, in turn.

    Args:
        center: ``(2,)`` [m].
        radius: Of the tips [m].
        inner_radius: Of the notches [m], below ``radius``.
        num_tips: At least 2.
        angle: Direction of the first tip [rad].
        parameter: See :class:`planararm.paths.Path`.
    """

    kind: ClassVar[str] = "star"
    center: FloatArray
    radius: float
    inner_radius: float
    num_tips: int = 5
    angle: float = np.pi / 2

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(
            self,
            center=point("center", self.center),
            radius=positive("radius", self.radius),
            inner_radius=positive("inner_radius", self.inner_radius),
            num_tips=whole("num_tips", self.num_tips, 2),
            angle=number("angle", self.angle),
        )
        if self.inner_radius >= self.radius:
            raise InvalidInputError(f"inner_radius {self.inner_radius} must be below radius {self.radius}.")

    @property
    def is_closed(self) -> bool:
        """True."""
        return True

    def _vertices(self) -> FloatArray:
        angles = self.angle + np.pi * np.arange(2 * self.num_tips) / self.num_tips
        radii = np.where(np.arange(2 * self.num_tips) % 2 == 0, self.radius, self.inner_radius)
        corners = self.center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        return np.concatenate([corners, corners[:1]])
