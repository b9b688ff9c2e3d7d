"""One control step of an arm, outside an environment."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import InvalidInputError, UnknownNameError
from ..kernels import transition
from ..kernels.launch import launch, writable
from ..scene import Scene
from ..validate import broadcast_batch, finite_array

ON_COLLISION = {"stop": transition.STOP, "terminate": transition.TERMINATE, "ignore": transition.IGNORE}


class Transition(NamedTuple):
    """What one control step did.

    Attributes:
        q: ``(*batch, n)`` where the arm ended [rad].
        velocity: ``(*batch, n)`` mean joint velocity of the step [rad/s].
        collision: ``(*batch,)`` bool: the command was not certified to stay clear (to 1e-6 m), or a disc met the arm.
        clearance: ``(*batch,)`` signed distance where it ended [m]; inf without discs.
        fraction: ``(*batch,)`` executed part of the command, after its scaling to the velocity limits.
    """

    q: FloatArray
    velocity: FloatArray
    collision: npt.NDArray[np.bool_]
    clearance: FloatArray
    fraction: FloatArray


def on_collision_code(on_collision: str) -> int:
    """The kernels' number of a contact rule.

    Raises:
        UnknownNameError: No such rule.
    """
    if not isinstance(on_collision, str) or on_collision not in ON_COLLISION:
        raise UnknownNameError("on_collision", on_collision, ON_COLLISION)
    return ON_COLLISION[on_collision]


def advance(
    q: Any,
    q_command: Any,
    scene: Scene,
    *,
    dt: float = 0.05,
    time: float = 0.0,
    on_collision: str = "stop",
) -> Transition:
    """One control step, as the environments take it.

    The command is clipped to the joint limits; the step is scaled by one factor for all joints to the velocity
    limits, so that what is executed is a prefix of the straight motion to the command; the motion is certified as a
    whole (:mod:`planararm.kernels.certificate`) and, on contact, stops just before it. An arm that a moving disc has
    run into may move away from it, not into it.

    Args:
        q: ``(*batch, n)`` present configuration [rad].
        q_command: ``(*batch, n)`` commanded configuration [rad].
        scene: The scene, with batch axes or without.
        dt: Control step [s].
        time: Moment of the step's start, for shuttling discs [s].
        on_collision: ``"stop"`` or ``"terminate"``: stop just before contact; ``"ignore"``: pass through.

    Raises:
        InvalidInputError: Wrong shapes, NaN, or a ``dt`` that is not positive.
        UnknownNameError: No such contact rule.
    """
    arm, discs = scene.arm, scene.obstacles
    n, m = arm.num_joints, discs.num_obstacles
    code = on_collision_code(on_collision)
    q, q_command = finite_array("q", q, (n,)), finite_array("q_command", q_command, (n,))
    if not (np.isfinite(dt) and dt > 0):
        raise InvalidInputError(f"dt must be > 0, got {dt!r}.")
    if not np.isfinite(time):
        raise InvalidInputError(f"time must be finite, got {time!r}.")
    batch = broadcast_batch(q=q.shape[:-1], q_command=q_command.shape[:-1], scene=scene.batch_shape)
    count = math.prod(batch)

    def rows(values: Any, *trailing: int) -> Any:
        spread = np.broadcast_to(np.asarray(values), (*batch, *trailing)).reshape(count, *trailing)
        return np.array(spread, dtype=bool if spread.dtype == bool else np.float64, order="C")

    now = discs.positions(time)
    drift = rows(discs.positions(time + dt) - now, m, 2)
    end = rows(q, n)
    fraction, collided, clear = np.empty(count), np.empty(count, dtype=bool), np.empty(count)
    none_skipped = np.zeros(count, dtype=bool)
    scratch = (np.empty((3, m, count)), np.empty((n, m, count)))
    launch(
        transition.advance_batch, count, none_skipped, end, rows(q_command, n), *writable(arm.joint_limits),
        arm.joint_velocity_limits * dt, *writable(arm.link_lengths, arm.base), arm.link_radius, rows(now, m, 2), drift,
        rows(discs.radii, m), rows(True if discs.mask is None else discs.mask, m), code, np.empty((count, n + 1, 2)),
        np.full(count, m), drift.any(axis=(1, 2)), *scratch, fraction, collided, clear,
    )  # fmt: skip
    end = end.reshape(*batch, n)
    return Transition(end, (end - q) / dt, collided.reshape(batch), clear.reshape(batch), fraction.reshape(batch))
