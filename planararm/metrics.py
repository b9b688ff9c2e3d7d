"""Measures of answers and of motions, as pure functions of arrays, and the names of ways to fail.

Positions are metres, angles radians; ``relative`` errors are fractions of the arm's reach. Averages are
unconditional: a row whose policy gave no usable answer stays in them, scored at the configuration that the
arm then holds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import collision
from .arm import FloatArray, PlanarArm
from .errors import InvalidInputError
from .scene import Scene

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Success is reported at these tracking errors, fractions of the reach."""

LIMIT_TOLERANCE = 1e-9
"""Excess over a joint limit that is rounding, not violation [rad]."""

CLEARANCE_TOLERANCE = 1e-9
"""Shortfall of the clearance that is rounding [m]."""


class Outcome(StrEnum):
    """How a task ended, by our own check of the answer and the task's ground truth; one per row."""

    OK = "ok"
    """Target met within the tolerance, every joint within its limits, the safety margin kept."""
    INFEASIBLE = "infeasible"
    """Target not met, and proven unreachable: nobody could have."""
    MISSED = "missed"
    """Target not met although it can be, and the policy did not claim it."""
    UNSAFE = "unsafe"
    """The answer leaves joint limits or safety margin, or the commanded motion would have met a disc."""
    CLAIMED_WRONGLY = "claimed wrongly"
    """Target not met, and the policy said that it was."""
    CRASHED = "crashed"
    """The policy raised, or returned something that is no configuration."""
    TIMED_OUT = "timed out"
    """The policy took longer than allowed."""
    UNDECIDED = "undecided"
    """Target not met, and the ground truth does not know whether it can be."""
    UNSUPPORTED = "unsupported"
    """The policy declared beforehand that it does not handle this arm; no average counts the row."""


class Truth:
    """Ground truth of a task, as :func:`planararm.inverse.reachability` codes it."""

    REACHABLE, UNREACHABLE, UNKNOWN = 1, 0, -1


class ErrorSummary(NamedTuple):
    """Statistics of tracking errors, in the errors' unit; NaN for no errors at all."""

    rmse: float
    mean: float
    median: float
    p75: float
    p95: float
    p98: float
    max: float


def tracking_error(position: Any, target_position: Any) -> FloatArray:
    """Distance of the end effector from its target: ``|p - p*|``.

    Args:
        position: ``(*batch, 2)`` [m].
        target_position: ``(*batch, 2)`` [m].

    Returns:
        ``(*batch,)`` [m].
    """
    gap = np.asarray(position, dtype=np.float64) - np.asarray(target_position, dtype=np.float64)
    return np.hypot(gap[..., 0], gap[..., 1])


def answer_error(q: Any, q_held: Any, target_position: Any, arm: PlanarArm) -> FloatArray:
    """Tracking error of answers, where a row that is no configuration counts as the arm holding still.

    Args:
        q: ``(*batch, n)`` answers [rad]; rows with NaN or infinity are failures.
        q_held: ``(*batch, n)`` where the arm stays if there is no answer [rad].
        target_position: ``(*batch, 2)`` [m].
        arm: The arm.

    Returns:
        ``(*batch,)`` [m], finite.
    """
    q, q_held = np.asarray(q, dtype=np.float64), np.asarray(q_held, dtype=np.float64)
    usable = np.isfinite(q).all(axis=-1, keepdims=True)
    return tracking_error(arm.end_effector(np.where(usable, q, q_held)), target_position)


def summarize_errors(errors: Any, axis: int | None = None) -> ErrorSummary | Any:
    """Root mean square, mean, median, percentiles and maximum.

    Args:
        errors: Tracking errors, finite.
        axis: Summarise along this axis; None: all of them.

    Returns:
        An :class:`ErrorSummary` of numbers, or of arrays if an axis is given.

    Raises:
        InvalidInputError: NaN or infinity: score failures by :func:`answer_error`, do not drop them.
    """
    errors = np.asarray(errors, dtype=np.float64)
    if not np.isfinite(errors).all():
        raise InvalidInputError(
            f"Errors must be finite, got {np.count_nonzero(~np.isfinite(errors))} that are not; "
            "score failures with answer_error."
        )
    if errors.size == 0:
        return ErrorSummary(*[float("nan")] * len(ErrorSummary._fields))
    parts = (
        np.sqrt(np.mean(errors**2, axis=axis)),
        np.mean(errors, axis=axis),
        *np.percentile(errors, (50, 75, 95, 98), axis=axis),
        np.max(errors, axis=axis),
    )
    return ErrorSummary(*(float(part) if axis is None else part for part in parts))


def success_rates(relative_error: Any, valid: Any, tolerances: tuple[float, ...] = TOLERANCES) -> tuple[float, ...]:
    """Share of rows that are valid and within each tolerance; NaN for no rows.

    Args:
        relative_error: ``(rows,)`` tracking errors, fractions of the reach.
        valid: ``(rows,)`` bool: limits and safety margin were kept, and there was an answer.
        tolerances: Fractions of the reach.
    """
    error, valid = np.asarray(relative_error, dtype=np.float64), np.asarray(valid, dtype=bool)
    if error.size == 0:
        return tuple(float("nan") for _ in tolerances)
    return tuple(float(np.mean(valid & (error <= tolerance))) for tolerance in tolerances)


def clearance(q: Any, scene: Scene) -> FloatArray:
    """Smallest signed distance of the arm to the discs; inf without discs.

    Args:
        q: ``(*batch, n)`` [rad].
        scene: Its batch axes broadcast against ``q``'s.

    Returns:
        ``(*batch,)`` [m].
    """
    return np.asarray(collision.clearance(np.asarray(q, dtype=np.float64), scene.arm, scene.obstacles))


def is_valid(q: Any, scene: Scene) -> npt.NDArray[np.bool_]:
    """Whether configurations keep joint limits and safety margin, up to rounding; False where not finite.

    Args:
        q: ``(*batch, n)`` [rad].
        scene: Its batch axes broadcast against ``q``'s.

    Returns:
        ``(*batch,)`` bool.
    """
    q = np.asarray(q, dtype=np.float64)
    finite = np.isfinite(q).all(axis=-1)
    usable = np.where(finite[..., None], q, 0.0)
    kept = keeps_limits_and_margin(scene.arm.limit_violation(usable), clearance(usable, scene), scene)
    return np.asarray(finite & kept)


def keeps_limits_and_margin(limit_violation: Any, clearance: Any, scene: Scene) -> npt.NDArray[np.bool_]:
    """Whether measured configurations are valid, up to rounding.

    Args:
        limit_violation: ``(*batch,)`` excess over the joint limits [rad].
        clearance: ``(*batch,)`` [m].
        scene: For its safety margin.

    Returns:
        ``(*batch,)`` bool.
    """
    within = np.asarray(limit_violation) <= LIMIT_TOLERANCE
    return np.asarray(within & (np.asarray(clearance) >= scene.safety_margin - CLEARANCE_TOLERANCE))


def largest_joint_jump(q_path: Any) -> FloatArray:
    """Largest change of any joint between successive configurations: ``max_t |q_t - q_{t-1}|_inf``.

    Joint angles are not wrapped: a turn by 2 pi is a motion that the arm has to make.

    Args:
        q_path: ``(*batch, T + 1, n)`` [rad].

    Returns:
        ``(*batch,)`` [rad]; 0 for a single configuration.
    """
    steps = np.abs(np.diff(np.asarray(q_path, dtype=np.float64), axis=-2))
    return np.asarray(steps.max(axis=(-2, -1), initial=0.0))


def path_length(path: Any) -> FloatArray:
    """Sum of the Euclidean distances between successive points, in joint or in task space.

    Args:
        path: ``(*batch, T + 1, d)``.

    Returns:
        ``(*batch,)`` in the unit of ``path``.
    """
    steps = np.diff(np.asarray(path, dtype=np.float64), axis=-2)
    return np.asarray(np.sqrt((steps**2).sum(axis=-1)).sum(axis=-1))


def rms_jerk(q_path: Any, dt: float) -> FloatArray:
    """Root mean square, over time, of the length of the third derivative of the joint angles.

    By third differences: ``(q_{t+3} - 3 q_{t+2} + 3 q_{t+1} - q_t) / dt^3``.

    Args:
        q_path: ``(*batch, T + 1, n)`` [rad].
        dt: Time between configurations [s].

    Returns:
        ``(*batch,)`` [rad/s^3]; 0 for fewer than four configurations.
    """
    q_path = np.asarray(q_path, dtype=np.float64)
    if q_path.shape[-2] < 4:
        return np.zeros(q_path.shape[:-2])
    jerk = np.diff(q_path, n=3, axis=-2) / dt**3
    return np.asarray(np.sqrt((jerk**2).sum(axis=-1).mean(axis=-1)))


def classify(
    *,
    met: Any,
    valid: Any,
    claimed: Any,
    truth: Any,
    crashed: Any = False,
    timed_out: Any = False,
) -> npt.NDArray[Any]:
    """The one :class:`Outcome` of every row.

    The first that applies: timed out, crashed, unsafe, ok, claimed wrongly, infeasible, undecided, missed. An
    unsafe answer is unsafe whatever the target was; a wrong claim is wrong also where nobody reaches the
    target.

    Args:
        met: ``(rows,)`` bool: the target was met within the tolerance, by our own kinematics.
        valid: ``(rows,)`` bool: limits and safety margin were kept.
        claimed: ``(rows,)`` bool: the policy said that it solved the task.
        truth: ``(rows,)`` one of :class:`Truth`.
        crashed: ``(rows,)`` bool.
        timed_out: ``(rows,)`` bool.

    Returns:
        ``(rows,)`` array of :class:`Outcome`.
    """
    met, valid, claimed, truth, crashed, timed_out = np.broadcast_arrays(met, valid, claimed, truth, crashed, timed_out)
    cases = (
        (timed_out, Outcome.TIMED_OUT),
        (crashed, Outcome.CRASHED),
        (~valid.astype(bool), Outcome.UNSAFE),
        (met, Outcome.OK),
        (claimed, Outcome.CLAIMED_WRONGLY),
        (truth == Truth.UNREACHABLE, Outcome.INFEASIBLE),
        (truth == Truth.UNKNOWN, Outcome.UNDECIDED),
    )
    outcome = np.full(met.shape, Outcome.MISSED, dtype=object)
    open_rows = np.ones(met.shape, dtype=bool)
    for applies, name in cases:
        rows = open_rows & applies.astype(bool)
        outcome[rows] = name
        open_rows &= ~rows
    return outcome
