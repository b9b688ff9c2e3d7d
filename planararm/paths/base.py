"""What every target path is: a frozen curve p(t) over t in [0, 1] with its derivative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, UnknownNameError
from ..validate import finite_array
from .arc_length import ArcLength

FloatArray = npt.NDArray[np.float64]
Parameter = Literal["arc-length", "time"]
PARAMETERS: tuple[Parameter, ...] = ("arc-length", "time")


def _rebuild(kind: type[Path], values: dict[str, Any]) -> Path:
    return kind(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


# Where a curve stands still its tangent is that of a point this much further on.
_STANDSTILL = 1e-9
_STEP_ON = 1e-6


@dataclass(frozen=True, eq=False)
class Path(ABC):
    """A target path.

    ``parameter`` says what ``t`` measures: ``"arc-length"`` (default) runs through the curve at constant
    speed, ``"time"`` at the curve's own pace (equal times per edge of a polygon, the way-points' times of a
    spline, the angle of a lemniscate).

    Outside [0, 1] a closed path goes round again, and an open one rests at its end with velocity 0.
    At a corner the velocity is the one from the right: that of the edge which begins there (at the end of an
    open path, that of its last edge).
    """

    kind: ClassVar[str]
    parameter: Parameter = field(default="arc-length", kw_only=True)

    def __post_init__(self) -> None:
        if self.parameter not in PARAMETERS:
            raise UnknownNameError("path parameter", self.parameter, PARAMETERS)

    @abstractmethod
    def _points(self, u: FloatArray) -> FloatArray:
        """Positions ``(k, 2)`` [m] at the natural parameter ``u (k,)`` in [0, 1]."""

    @abstractmethod
    def _derivatives(self, u: FloatArray) -> FloatArray:
        """``dp/du (k, 2)`` [m] at ``u (k,)``, from the right."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether the path ends where it begins."""

    def _breaks(self) -> FloatArray:
        """Values of the natural parameter between which the curve is smooth."""
        return np.linspace(0.0, 1.0, 33)

    @cached_property
    def _arc_length(self) -> ArcLength:
        return ArcLength(lambda u: np.hypot(*self._derivatives(u).T), self._breaks())

    @property
    def length(self) -> float:
        """Arc length [m]."""
        return self._arc_length.total

    def _natural(self, fraction: FloatArray) -> FloatArray:
        """Natural parameter at a fraction ``(k,)`` of the arc length."""
        return self._arc_length.parameter_at(fraction)

    def _fold(self, t: Any) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
        """Flat ``t`` as given, the natural parameter there, and the shape to give back."""
        given = finite_array("t", t)
        flat = given.reshape(-1)
        inside = np.mod(flat, 1.0) if self.is_closed else np.clip(flat, 0.0, 1.0)
        return flat, inside if self.parameter == "time" else self._natural(inside), given.shape

    def position(self, t: Any) -> FloatArray:
        """Positions on the path.

        Args:
            t: A number or an array of any shape, in [0, 1].

        Returns:
            ``(*t.shape, 2)`` [m].

        Raises:
            InvalidInputError: ``t`` is not finite.
        """
        _, u, shape = self._fold(t)
        return self._points(u).reshape(*shape, 2)

    def velocity(self, t: Any) -> FloatArray:
        """Derivative ``dp/dt``; its norm is :attr:`length` everywhere if ``parameter`` is ``"arc-length"``.

        Args:
            t: A number or an array of any shape, in [0, 1].

        Returns:
            ``(*t.shape, 2)`` [m].

        Raises:
            InvalidInputError: ``t`` is not finite.
        """
        flat, u, shape = self._fold(t)
        derivative = self._derivatives(u)
        if self.parameter == "arc-length":
            speed = np.hypot(*derivative.T)
            stands = speed <= _STANDSTILL * self.length
            if stands.any():
                derivative[stands] = self._tangent_further_on(u[stands])
                speed = np.hypot(*derivative.T)
            derivative = self.length * derivative / speed[:, None]
        if not self.is_closed:
            derivative = np.where(((flat < 0) | (flat > 1))[:, None], 0.0, derivative)
        return derivative.reshape(*shape, 2)

    def _tangent_further_on(self, u: FloatArray) -> FloatArray:
        end = u + _STEP_ON > 1
        if self.is_closed:
            return self._derivatives(np.mod(u + _STEP_ON, 1.0))
        return self._derivatives(np.where(end, u - _STEP_ON, u + _STEP_ON))

    def sample(self, num: int) -> FloatArray:
        """``num`` positions at equally spaced ``t`` from 0 to 1, both included: ``(num, 2)`` [m].

        Raises:
            InvalidInputError: ``num`` is below 1.
        """
        if num < 1:
            raise InvalidInputError(f"num must be >= 1, got {num}.")
        return self.position(np.linspace(0.0, 1.0, num))

    def to_dict(self) -> dict[str, Any]:
        """Plain names, numbers and lists; :func:`planararm.paths.make_path` rebuilds the path from them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"kind": self.kind, **{name: _plain(value) for name, value in values.items()}}

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that copies are validated and tables are not sent."""
        return _rebuild, (type(self), {item.name: getattr(self, item.name) for item in fields(self)})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]
