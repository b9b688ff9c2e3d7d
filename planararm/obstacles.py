"""Discs, static or shuttling, with batch axes and a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from .errors import InvalidSceneError

Array = Any
"""A NumPy array or a torch tensor."""


def _numbers(name: str, values: Any, trailing: tuple[int, ...]) -> Array:
    array: Any
    if is_torch_array(values):
        array = values
        finite = bool(array.isfinite().all())
    else:
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as cause:
            raise InvalidSceneError(f"Obstacle {name} must be numbers, got {values!r}.") from cause
        finite = bool(np.isfinite(array).all())
        array.flags.writeable = False
    if array.ndim < len(trailing) + 1 or tuple(array.shape[array.ndim - len(trailing) :]) != trailing:
        shape = ", ".join(["*batch", "m", *map(str, trailing)])
        raise InvalidSceneError(f"Obstacle {name} must have shape ({shape}), got {tuple(array.shape)}.")
    if not finite:
        raise InvalidSceneError(f"Obstacle {name} must be finite, got {values!r}.")
    return array


@dataclass(frozen=True, eq=False)
class Obstacles:
    """Discs in the plane.

    A shuttling disc runs to and fro on the segment from ``center`` to ``center + shuttle[:2]`` at the speed
    ``shuttle[2]`` [m/s], starting at the phase ``shuttle[3]`` (0 at the centre, 1 at the far end, 2 back).

    Args:
        centers: ``(*batch, m, 2)`` [m].
        radii: ``(*batch, m)`` [m], > 0.
        shuttle: ``(*batch, m, 4)``: displacement x, y [m], speed [m/s], phase in [0, 2); None: all static.
        mask: ``(*batch, m)`` bool, False where the slot is empty; None: all present.

    Raises:
        InvalidSceneError: Wrong shapes, NaN, or a radius or speed that is not allowed.
    """

    centers: Array
    radii: Array
    shuttle: Array | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        centers = self.centers
        if isinstance(centers, list | tuple) and not centers:
            centers = np.zeros((0, 2))
        centers = _numbers("centers", centers, (2,))
        radii = _numbers("radii", self.radii, ())
        shape = tuple(centers.shape[:-1])
        if tuple(radii.shape) != shape:
            raise InvalidSceneError(
                f"Obstacle radii must have shape {shape} like the centers, got {tuple(radii.shape)}."
            )
        mask = self.mask
        if mask is not None:
            mask = mask if is_torch_array(mask) else np.array(mask, dtype=bool)
            if tuple(mask.shape) != shape:
                raise InvalidSceneError(f"Obstacle mask must have shape {shape}, got {tuple(mask.shape)}.")
        present = radii if mask is None else radii[mask]
        if bool((present <= 0).any()):
            raise InvalidSceneError(f"Obstacle radii must be > 0, got {radii.tolist()}.")
        shuttle = self.shuttle
        if shuttle is not None:
            shuttle = _numbers("shuttle", shuttle, (4,))
            if tuple(shuttle.shape[:-1]) != shape:
                raise InvalidSceneError(f"Obstacle shuttle must have shape {(*shape, 4)}, got {tuple(shuttle.shape)}.")
            if bool((shuttle[..., 2] < 0).any()):
                raise InvalidSceneError(f"Shuttle speeds must be >= 0, got {shuttle[..., 2].tolist()}.")
            if bool(((shuttle[..., 3] < 0) | (shuttle[..., 3] >= 2)).any()):
                raise InvalidSceneError(f"Shuttle phases must be in [0, 2), got {shuttle[..., 3].tolist()}.")
        for name, value in (("centers", centers), ("radii", radii), ("shuttle", shuttle), ("mask", mask)):
            object.__setattr__(self, name, value)

    @classmethod
    def none(cls) -> Obstacles:
        """No obstacle at all."""
        return cls(np.zeros((0, 2)), np.zeros(0))

    @property
    def num_obstacles(self) -> int:
        """Number of slots m, masked ones included."""
        return int(self.radii.shape[-1])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes before the disc axis."""
        return tuple(self.radii.shape[:-1])

    @property
    def is_static(self) -> bool:
        """Whether no disc moves."""
        if self.shuttle is None:
            return True
        moving = self.shuttle[..., 2] > 0
        return not bool((moving if self.mask is None else moving & self.mask).any())

    def positions(self, time: float | Array = 0.0) -> Array:
        """Centres at a time: ``center + s d`` with the triangle wave ``s = 1 - |1 - (phase + v t / |d|) mod 2|``.

        Args:
            time: A number or ``(*batch,)`` [s].

        Returns:
            ``(*batch, m, 2)`` [m].
        """
        if self.shuttle is None:
            return self.centers
        xp = array_namespace(self.centers)
        return self.centers + (1.0 - xp.abs(1.0 - self._phase(time)))[..., None] * self.shuttle[..., :2]

    def _phase(self, time: float | Array) -> Array:
        assert self.shuttle is not None
        xp = array_namespace(self.centers)
        displacement = self.shuttle[..., :2]
        length = xp.sqrt(xp.sum(displacement * displacement, axis=-1))
        moving = length > 0
        length = xp.where(moving, length, xp.ones_like(length))
        rate = xp.where(moving, self.shuttle[..., 2] / length, xp.zeros_like(length))
        elapsed = time[..., None] if not isinstance(time, float | int) and time.ndim else time
        phase = (self.shuttle[..., 3] + rate * elapsed) % 2.0
        # A remainder of a tiny negative number rounds up to the divisor.
        return xp.where(phase < 2.0, phase, xp.zeros_like(phase))

    def after(self, time: float | Array) -> Obstacles:
        """The same discs with their clock set ``time`` [s] ahead: shuttles go on from where they are then."""
        if self.shuttle is None:
            return self
        xp = array_namespace(self.centers)
        phase = self._phase(time)
        shuttle = xp.concat([self.shuttle[..., :3], phase[..., None]], axis=-1)
        return Obstacles(self.centers, self.radii, shuttle, self.mask)

    def frozen_at(self, time: float) -> Obstacles:
        """The static discs that these are at ``time`` [s]."""
        return Obstacles(self.positions(time), self.radii, None, self.mask)

    def compact(self) -> Obstacles:
        """Unbatched discs without their empty slots; batched ones, or without a mask, as they are."""
        if self.mask is None or self.batch_shape:
            return self
        shuttle = None if self.shuttle is None else self.shuttle[self.mask]
        return Obstacles(self.centers[self.mask], self.radii[self.mask], shuttle)

    def __getitem__(self, index: Any) -> Obstacles:
        """Index the batch axes."""
        if not self.batch_shape:
            raise InvalidSceneError("These obstacles have no batch axis to index.")
        parts = (self.centers, self.radii, self.shuttle, self.mask)
        return Obstacles(*(None if part is None else part[index] for part in parts))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, the keyword arguments that rebuild these discs."""
        return {
            name: None if value is None else value.tolist()
            for name, value in (
                ("centers", self.centers),
                ("radii", self.radii),
                ("shuttle", self.shuttle),
                ("mask", self.mask),
            )
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Obstacles):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]
