"""The nearest configuration on a target without joint limits and discs, by a cone program solved through its dual.

With the links' directions as unit complex numbers u_k and those of a proposal u^_k, the program is

    max  Re sum conj(u^_k) u_k   subject to   sum l_k u_k = p,  |u_k| <= 1.

Its dual is a geometric-median problem in the plane, ``min_lambda sum |u^_k - l_k lambda| + Re(conj(lambda) p)``, with
``u_k = (u^_k - l_k lambda) / |u^_k - l_k lambda|`` at the minimum. The relaxation is tight, all ``|u_k| = 1`` and the
target met, unless the minimum is at one of the kinks u^_k / l_k. Newton's method finds it for whole batches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arm import PlanarArm
from ..kinematics import wrap_angle
from ..validate import broadcast_batch, finite_array

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

_ANCHOR = 1e-9
_TINY = 1e-300

CONE_MISS = 1e-7
"""The answer is called tight if it misses the target by less than this share of the reach."""


class ConeAnswer(NamedTuple):
    """What :func:`nearest_point_socp` found.

    Attributes:
        q: ``(*batch, n)`` joint angles of the directions, each in (-pi, pi] [rad].
        tight: ``(*batch,)`` bool.
        reachable: ``(*batch,)`` bool: whether the target is within the reach; if not, q points at it.
        multiplier: ``(*batch,)`` complex lambda.
    """

    q: FloatArray
    tight: npt.NDArray[np.bool_]
    reachable: npt.NDArray[np.bool_]
    multiplier: npt.NDArray[np.complex128]


def angles_of(directions: npt.NDArray[np.complex128]) -> FloatArray:
    """Joint angles in (-pi, pi] of link directions ``(*batch, n)`` complex."""
    heading = np.angle(directions)
    return np.asarray(wrap_angle(np.diff(heading, axis=-1, prepend=0.0)), dtype=np.float64)


def nearest_point_socp(target_position: Any, q_ref: Any, arm: PlanarArm, *, max_iterations: int = 60) -> ConeAnswer:
    """The nearest configuration to a proposal that is on a target, without limits and discs, where that is tight.

    Args:
        target_position: ``(*batch, 2)`` [m].
        q_ref: ``(*batch, n)`` [rad].
        arm: The arm.
        max_iterations: Newton steps.

    Raises:
        InvalidInputError: Wrong shapes or NaN.
    """
    n = arm.num_joints
    target = finite_array("target_position", target_position, (2,)) - arm.base
    q_ref = finite_array("q_ref", q_ref, (n,))
    batch = broadcast_batch(target_position=target.shape[:-1], q_ref=q_ref.shape[:-1])
    p = np.broadcast_to(target[..., 0] + 1j * target[..., 1], batch).reshape(-1)
    proposed = np.broadcast_to(np.exp(1j * np.cumsum(q_ref, axis=-1)), (*batch, n)).reshape(-1, n)
    lengths = arm.link_lengths
    reachable = np.abs(p) <= arm.reach
    # On the edge of the reach the dual's minimum is at infinity.
    goal = np.where(np.abs(p) < arm.reach, p, p / np.maximum(np.abs(p), _TINY) * arm.reach * (1 - 1e-12))
    lam = _minimise(proposed, lengths, goal, max_iterations)
    away = proposed - lengths * lam[:, None]
    directions = away / np.maximum(np.abs(away), _TINY)
    miss = np.abs((lengths * directions).sum(-1) - p)
    tight = reachable & (miss < CONE_MISS * arm.reach)
    straight = np.exp(1j * np.angle(p))[:, None]
    q = angles_of(np.where(reachable[:, None], directions, straight))
    return ConeAnswer(q.reshape(*batch, n), tight.reshape(batch), reachable.reshape(batch), lam.reshape(batch))


def _value(lam: ComplexArray, proposed: ComplexArray, lengths: FloatArray, goal: ComplexArray) -> FloatArray:
    return np.asarray(np.abs(proposed - lengths * lam[:, None]).sum(-1) + (lam.conj() * goal).real)


def _minimise(proposed: ComplexArray, lengths: FloatArray, goal: ComplexArray, max_iterations: int) -> ComplexArray:
    """The dual's minimum, by Newton's method with backtracking."""
    lam = _below_the_anchors(proposed, lengths, goal)
    here = _value(lam, proposed, lengths, goal)
    for _ in range(max_iterations):
        step, slope = _newton_step(lam, proposed, lengths, goal)
        promised = 1e-4 * np.abs((slope.conj() * step).real)
        share = np.ones(lam.size)
        for _ in range(30):
            there = _value(lam + share * step, proposed, lengths, goal)
            worse = there > here - share * promised
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        taken = there < here
        lam = np.where(taken, lam + share * step, lam)
        gain, here = here - there, np.where(taken, there, here)
        if not (taken & (gain > 1e-15 * (1 + np.abs(here)))).any():
            break
    return lam


def _newton_step(
    lam: ComplexArray, proposed: ComplexArray, lengths: FloatArray, goal: ComplexArray
) -> tuple[ComplexArray, ComplexArray]:
    """Newton's step and the slope, each ``(N,)`` with x in the real part and y in the imaginary."""
    away = proposed - lengths * lam[:, None]
    size = np.maximum(np.abs(away), _ANCHOR)
    unit = away / size
    slope = goal - (lengths * unit).sum(-1)
    # d/dlambda of the unit vectors: the part across them, divided by their distance from the anchor.
    weight = lengths**2 / size
    xx, yy = (weight * unit.imag**2).sum(-1), (weight * unit.real**2).sum(-1)
    xy = -(weight * unit.real * unit.imag).sum(-1)
    damp = 1e-12 * (xx + yy)
    xx, yy = xx + damp, yy + damp
    determinant = xx * yy - xy * xy
    determinant = np.where(determinant > 0, determinant, 1.0)
    step = (yy * slope.real - xy * slope.imag) + 1j * (xx * slope.imag - xy * slope.real)
    return -step / determinant, slope


def _below_the_anchors(proposed: ComplexArray, lengths: FloatArray, goal: ComplexArray) -> ComplexArray:
    """A start that is lower than every kink (lambda = u^_k / l_k) of the dual, unless a kink is its minimum.

    From there descent cannot end at a kink. Vardi & Zhang, 2000, doi:10.1073/pnas.97.4.1423.
    """
    start = np.zeros(len(proposed), dtype=np.complex128)
    lowest = _value(start, proposed, lengths, goal)
    for k in range(len(lengths)):
        anchor = proposed[:, k] / lengths[k]
        others = np.delete(np.arange(len(lengths)), k)
        away = proposed[:, others] - lengths[others] * anchor[:, None]
        pull = (lengths[others] * away / np.maximum(np.abs(away), _TINY)).sum(-1) - goal
        strength = np.abs(pull)
        # Within the kink's own slope it is the minimum; otherwise the pull leads down from it.
        step = np.where(strength > lengths[k], pull / np.maximum(strength, _TINY) / lengths[k], 0.0)
        at = _value(anchor, proposed, lengths, goal)
        for _ in range(40):
            there = _value(anchor + step, proposed, lengths, goal)
            worse = (there >= at) & (step != 0)
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        better = there < lowest
        start, lowest = np.where(better, anchor + step, start), np.where(better, there, lowest)
    return start
