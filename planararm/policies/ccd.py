"""Cyclic coordinate descent."""

from __future__ import annotations

import numpy as np

from ..arm import FloatArray, PlanarArm
from .iterative import Chain, IterativePolicy


class CyclicCoordinateDescent(IterativePolicy):
    """Turns one joint at a time, from the last to the first, to bring the end effector nearest to the target.

    Alone, joint i does best where the end effector, the joint and the target are in line; within its limits,
    where the angle to that line is smallest. One iteration turns every joint once; the distance never grows.
    Ignores the discs; see :class:`~planararm.policies.iterative.IterativePolicy` for what it claims.

    Wang and Chen, 1991, doi:10.1109/70.86079.

    Args:
        max_iterations: Sweeps over all joints in one descent.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        num_restarts: Further descents from random starts, for rows not solved.
        seed: Of the restarts.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self, *, max_iterations: int = 300, tolerance: float = 1e-5, num_restarts: int = 0, seed: int = 0
    ) -> None:
        super().__init__(max_iterations=max_iterations, tolerance=tolerance, num_restarts=num_restarts, seed=seed)

    def step(self, chain: Chain, target: np.ndarray, trust: FloatArray, arm: PlanarArm) -> FloatArray:
        """One sweep; see :meth:`IterativePolicy.step`."""
        q = chain.q.copy()
        end = chain.levers[0].copy()
        joints = end - chain.levers
        for i in reversed(range(arm.num_joints)):
            lever = end - joints[i]
            turn = np.angle((target - joints[i]) * lever.conj())
            angle = best_within(q[i] + turn, *arm.joint_limits[i])
            end = joints[i] + lever * np.exp(1j * (angle - q[i]))
            q[i] = angle
        return q


def best_within(angle: FloatArray, low: float, high: float) -> FloatArray:
    """The angle in [low, high] that is nearest to ``angle`` as a direction.

    That is ``angle`` itself, or itself a turn away, if one of them is within; otherwise the limit whose
    direction is nearer.

    Args:
        angle: any shape [rad].
        low: [rad].
        high: [rad].

    Returns:
        The same shape [rad].
    """
    full = 2 * np.pi
    turned = np.where(angle > high, angle - full * np.ceil((angle - high) / full), angle)
    turned = np.where(turned < low, turned + full * np.ceil((low - turned) / full), turned)
    limit = np.where(np.cos(turned - low) >= np.cos(turned - high), low, high)
    return np.where((turned >= low) & (turned <= high), turned, limit)
