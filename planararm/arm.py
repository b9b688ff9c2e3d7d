"""The arm: lengths, limits and thickness, frozen and validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kinematics
from .errors import InvalidArmError, UnknownNameError

FloatArray = npt.NDArray[np.float64]

MAX_JOINTS = 64
WORKSPACE = 2.0
"""Targets and discs of an environment lie within this many reaches of the base, in x and in y."""

DEFAULT_VELOCITY_LIMIT = 2.0
RELATIVE_LINK_RADIUS = 0.01


def frozen_array(name: str, values: Any, shape: tuple[int, ...], error: type[Exception]) -> FloatArray:
    """A read-only float64 copy of ``values`` broadcast to ``shape``; a clear error for anything else."""
    try:
        array = np.array(np.broadcast_to(np.asarray(values, dtype=np.float64), shape))
    except (TypeError, ValueError, OverflowError) as cause:
        raise error(f"{name} must be numbers of shape {shape}, got {values!r}.") from cause
    if not np.isfinite(array).all():
        raise error(f"{name} must be finite, got {array.tolist()}.")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, repr=False)
class PlanarArm:
    """A serial chain of revolute joints in the plane, each link a capsule.

    Args:
        link_lengths: ``(n,)`` [m], each > 0.
        joint_limits: ``(n, 2)`` lower and upper limit of each relative angle [rad]; default the first joint
            in [-2 pi, 2 pi], the others in [-pi, pi]. Equal limits fix a joint.
        joint_velocity_limits: ``(n,)`` or a number [rad/s]; default 2.
        link_radius: Capsule radius [m]; default 0.01 of the reach.
        base: ``(2,)`` position of the first joint [m].

    Raises:
        InvalidArmError: The numbers do not describe an arm; the message says which.
    """

    link_lengths: FloatArray
    joint_limits: FloatArray = None  # type: ignore[assignment]
    joint_velocity_limits: FloatArray = DEFAULT_VELOCITY_LIMIT  # type: ignore[assignment]
    link_radius: float = None  # type: ignore[assignment]
    base: FloatArray = (0.0, 0.0)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        raw = np.asarray(self.link_lengths, dtype=object)
        if raw.ndim != 1 or not 1 <= raw.size <= MAX_JOINTS:
            raise InvalidArmError(
                f"link_lengths must be a list of 1 to {MAX_JOINTS} numbers, got {self.link_lengths!r}."
            )
        n = raw.size
        lengths = frozen_array("link_lengths", self.link_lengths, (n,), InvalidArmError)
        if (lengths <= 0).any():
            raise InvalidArmError(f"link_lengths must be > 0, got {lengths.tolist()}.")
        limits = self.joint_limits
        if limits is None:
            limits = np.tile([-np.pi, np.pi], (n, 1))
            limits[0] *= 2
        limits = frozen_array("joint_limits", limits, (n, 2), InvalidArmError)
        reversed_joints = np.flatnonzero(limits[:, 0] > limits[:, 1])
        if reversed_joints.size:
            i = int(reversed_joints[0])
            raise InvalidArmError(
                f"joint_limits of joint {i} are reversed: lower {limits[i, 0]} > upper {limits[i, 1]}."
            )
        velocity = frozen_array("joint_velocity_limits", self.joint_velocity_limits, (n,), InvalidArmError)
        if (velocity <= 0).any():
            raise InvalidArmError(f"joint_velocity_limits must be > 0, got {velocity.tolist()}.")
        radius = RELATIVE_LINK_RADIUS * lengths.sum() if self.link_radius is None else self.link_radius
        radius = float(frozen_array("link_radius", radius, (), InvalidArmError))
        if radius < 0:
            raise InvalidArmError(f"link_radius must be >= 0, got {radius}.")
        base = frozen_array("base", self.base, (2,), InvalidArmError)
        for name, value in zip(
            ("link_lengths", "joint_limits", "joint_velocity_limits", "link_radius", "base"),
            (lengths, limits, velocity, radius, base),
            strict=True,
        ):
            object.__setattr__(self, name, value)

    @property
    def num_joints(self) -> int:
        """Number of joints, which is the number of links."""
        return int(self.link_lengths.size)

    @property
    def reach(self) -> float:
        """Sum of the link lengths [m]: the outer radius of the workspace without limits."""
        return float(self.link_lengths.sum())

    @property
    def inner_reach(self) -> float:
        """Inner radius of the workspace annulus [m]: ``max(0, 2 max(l) - sum(l))``, limits aside."""
        return float(max(0.0, 2 * self.link_lengths.max() - self.reach))

    def forward_kinematics(self, q: Any) -> Any:
        """:func:`planararm.kinematics.forward_kinematics` of this arm."""
        return kinematics.forward_kinematics(q, self.link_lengths, self.base)

    def end_effector(self, q: Any) -> Any:
        """:func:`planararm.kinematics.end_effector` of this arm."""
        return kinematics.end_effector(q, self.link_lengths, self.base)

    def jacobian(self, q: Any) -> Any:
        """:func:`planararm.kinematics.jacobian` of this arm."""
        return kinematics.jacobian(q, self.link_lengths)

    def limit_violation(self, q: Any) -> FloatArray:
        """By how much the worst joint is outside its limits [rad]; 0 if none is.

        Args:
            q: ``(*batch, n)`` [rad].

        Returns:
            ``(*batch,)`` [rad].
        """
        q = np.asarray(q, dtype=np.float64)
        over = np.maximum(self.joint_limits[:, 0] - q, q - self.joint_limits[:, 1])
        return np.maximum(over, 0.0).max(axis=-1)

    def clip(self, q: Any) -> FloatArray:
        """``q`` with every joint clipped to its limits."""
        return np.clip(q, self.joint_limits[:, 0], self.joint_limits[:, 1])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, the keyword arguments that rebuild this arm."""
        return {
            "link_lengths": self.link_lengths.tolist(),
            "joint_limits": self.joint_limits.tolist(),
            "joint_velocity_limits": self.joint_velocity_limits.tolist(),
            "link_radius": self.link_radius,
            "base": self.base.tolist(),
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlanarArm):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.link_lengths.tobytes(), self.joint_limits.tobytes(), self.link_radius))

    def __repr__(self) -> str:
        return f"PlanarArm({', '.join(f'{key}={value}' for key, value in self.to_dict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that copies are validated and read-only too."""
        return _from_dict, (self.to_dict(),)


def _from_dict(values: dict[str, Any]) -> PlanarArm:
    return PlanarArm(**values)


PRESETS: dict[str, dict[str, Any]] = {
    "unit2": {"link_lengths": [1.0] * 2},
    "unit3": {"link_lengths": [1.0] * 3},
    "unit5": {"link_lengths": [1.0] * 5},
    "snake10": {"link_lengths": [1.0] * 10},
    "duka": {
        "link_lengths": [2.0] * 3,
        "joint_limits": [[0.0, np.pi], [-np.pi, 0.0], [-np.pi / 2, np.pi / 2]],
    },
}


def make_arm(arm: str | Mapping[str, Any] | PlanarArm = "unit3") -> PlanarArm:
    """An arm from a preset's name, a mapping of :class:`PlanarArm`'s arguments, or an arm (returned as is).

    Raises:
        UnknownNameError: No such preset, or a key that is no argument.
        InvalidArmError: The numbers do not describe an arm.
    """
    if isinstance(arm, PlanarArm):
        return arm
    if isinstance(arm, str):
        if arm not in PRESETS:
            raise UnknownNameError("arm", arm, PRESETS)
        return PlanarArm(**PRESETS[arm])
    if isinstance(arm, Mapping):
        known = [field.name for field in fields(PlanarArm)]
        for key in arm:
            if key not in known:
                raise UnknownNameError("arm argument", key, known)
        if "link_lengths" not in arm:
            raise InvalidArmError("An arm needs link_lengths, e.g. {'link_lengths': [1.0, 1.0, 1.0]}.")
        return PlanarArm(**arm)
    raise InvalidArmError(f"arm must be a preset's name, a mapping or a PlanarArm, got {type(arm).__name__}.")
