"""Commands made safe: the nearest command whose whole motion is certified."""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, UnknownNameError
from ..kernels import safeguard
from ..kernels.launch import launch, writable
from ..scene import Scene
from ..validate import broadcast_batch, finite_array

FloatArray = npt.NDArray[np.float64]

ROUNDING = {"exact": safeguard.EXACT, "position": safeguard.POSITION, "delta": safeguard.DELTA}


class FilterStatus(enum.IntEnum):
    """Where a filtered command comes from."""

    PASSED = safeguard.PASSED
    """The command's own motion is certified: nothing was changed."""
    PROJECTED = safeguard.PROJECTED
    """The certified step nearest to the one commanded, or nearly."""
    SHORTENED = safeguard.SHORTENED
    """The certified part of the commanded motion; no projection came nearer. (Standing discs only.)"""
    HELD = safeguard.HELD
    """The arm stays where it is."""
    UNCERTIFIED = safeguard.UNCERTIFIED
    """Not even standing still is certified: a moving disc comes, or the arm is in contact."""


class FilterInfo(NamedTuple):
    """What :func:`filter_command` did.

    Attributes:
        status: ``(*batch,)`` int8, see :class:`FilterStatus`.
        intervened: ``(*batch,)`` bool: whether the command was changed.
        distance: ``(*batch,)`` between where the wanted and the executed step end [rad].
        active_constraints: ``(*batch, n, m)`` bool: pairs of link and disc that held the step back.
        q_end: ``(*batch, n)`` where the certified step ends [rad].
        action: ``(*batch, n)`` the command as it is given to an environment: rounded to float32, and in delta control
            as shares of the largest step.
    """

    status: npt.NDArray[np.int8]
    intervened: npt.NDArray[np.bool_]
    distance: FloatArray
    active_constraints: npt.NDArray[np.bool_]
    q_end: FloatArray
    action: FloatArray


def filter_command(
    q: Any,
    q_command: Any,
    scene: Scene,
    *,
    duration: float,
    time: float = 0.0,
    rounding: str = "exact",
    max_step: Any = None,
    motion_margin: float | None = None,
) -> tuple[FloatArray, FilterInfo]:
    """The command nearest to ``q_command`` whose executed motion is certified.

    What an environment does with a command (clip it to the joint limits, scale the step by one factor to the velocity
    limits) is certified as a whole; see :mod:`planararm.kernels.safeguard`. The motion keeps half the scene's safety
    margin (2e-6 m at least) and its end aims at the whole of it. An arm that stands nearer than that ends no step
    nearer than it began; one in contact is led away, also from a command that would hold it there. In ``"position"``
    control a float32 command of an arm that cannot be led away may move it by the rounding, 1e-7 rad.

    Args:
        q: ``(*batch, n)`` where the arm stands [rad].
        q_command: ``(*batch, n)`` [rad].
        scene: The scene, with batch axes or without.
        duration: Time of the step [s]: velocity limits times this is the largest step; shuttling discs move meanwhile.
        time: Moment of the step's start, for shuttling discs [s].
        rounding: ``"exact"``; ``"position"`` or ``"delta"``: certify the command as an environment of that control
            mode receives it, rounded to float32.
        motion_margin: Distance that the motion keeps [m]; its end aims at the scene's safety margin, or twice this if
            that is more. None: half the safety margin.
        max_step: ``(n,)`` the largest step of each joint [rad], instead of velocity limits times ``duration``.

    Returns:
        The safe command ``(*batch, n)`` [rad] (``q_command`` itself where that is safe) and what was done.

    Raises:
        InvalidInputError: Wrong shapes, NaN, a duration that is not positive, q outside the joint limits.
        UnknownNameError: No such rounding.
    """
    arm, discs = scene.arm, scene.obstacles
    n, m = arm.num_joints, discs.num_obstacles
    q, q_command = finite_array("q", q, (n,)), finite_array("q_command", q_command, (n,))
    if rounding not in ROUNDING:
        raise UnknownNameError("rounding", rounding, ROUNDING)
    if not 0 < duration < np.inf:
        raise InvalidInputError(f"duration must be > 0 and finite, got {duration!r}.")
    if not np.isfinite(time):
        raise InvalidInputError(f"time must be finite, got {time!r}.")
    outside = (q < arm.joint_limits[:, 0] - 1e-6) | (q > arm.joint_limits[:, 1] + 1e-6)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        low, high = arm.joint_limits[where[-1]]
        raise InvalidInputError(
            f"q must be within the joint limits; at {where} it is {q[where]:.6g}, outside [{low:.6g}, {high:.6g}]."
        )
    steps = arm.joint_velocity_limits * duration if max_step is None else finite_array("max_step", max_step, (n,))
    if steps.shape != (n,) or not (steps > 0).all():
        raise InvalidInputError(f"max_step must have shape ({n},) and be > 0, got {steps.tolist()}.")
    keep = scene.safety_margin / 2 if motion_margin is None else float(motion_margin)
    if not 0 <= keep < np.inf:
        raise InvalidInputError(f"motion_margin must be finite and >= 0, got {motion_margin!r}.")
    batch = broadcast_batch(q=q.shape[:-1], q_command=q_command.shape[:-1], scene=scene.batch_shape)
    count = math.prod(batch)

    def rows(values: Any, *trailing: int, dtype: type = np.float64) -> Any:
        return np.array(np.broadcast_to(values, (*batch, *trailing)).reshape(count, *trailing), dtype=dtype, order="C")

    now = discs.positions(time)
    action, end = np.empty((count, n)), np.empty((count, n))
    status, distance = np.empty(count, np.int8), np.empty(count)
    pressed = np.empty((count, n, m), np.bool_)
    command = rows(q_command, n)
    aim = max(scene.safety_margin, 2 * keep)
    chain = writable(arm.joint_limits, steps, arm.link_lengths, arm.base)
    launch(
        safeguard.filter_batch, count, rows(q, n), command, *chain, arm.link_radius, rows(now, m, 2),
        rows(discs.positions(time + duration) - now, m, 2), rows(discs.radii, m),
        rows(True if discs.mask is None else discs.mask, m, dtype=bool), keep, aim, ROUNDING[rounding], action, end,
        status, distance, pressed, grain=64,
    )  # fmt: skip
    safe = np.where((status == safeguard.PASSED)[:, None], command, end)
    if rounding == "position":
        safe = np.where((status == safeguard.PASSED)[:, None], command, action)
    info = FilterInfo(
        status.reshape(batch), (status != safeguard.PASSED).reshape(batch), distance.reshape(batch),
        pressed.reshape(*batch, n, m), end.reshape(*batch, n), action.reshape(*batch, n),
    )  # fmt: skip
    return safe.reshape(*batch, n), info
