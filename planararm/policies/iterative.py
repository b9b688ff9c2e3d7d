"""What the iterative policies share: the loop over unfinished rows, joint limits, restarts, the verdict.

Inside, arrays have the rows last, ``(n, N)``: every operation then runs along the long axis, and sums over
joints have one order whatever the batch, so that a row's answer does not depend on its neighbours.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np

from ..arm import FloatArray, PlanarArm
from ..scene import Scene
from ..validate import real_number, whole_number
from .problem import Problem, make_problem
from .protocol import IKPolicy, IKSolution, Reason

SMALLEST_TRUST = 1e-8
KICK = 0.1


class Chain(NamedTuple):
    """Joint angles of N rows and what follows from them; points of the plane as complex numbers.

    Attributes:
        q: ``(n, N)`` [rad].
        levers: ``(n, N)`` complex, from joint i to the end effector [m]; ``1j`` times it is the Jacobian's
            column.
        error: ``(N,)`` complex, from the end effector to the target [m].
        distance: ``(N,)`` its length [m].
    """

    q: FloatArray
    levers: np.ndarray
    error: np.ndarray
    distance: FloatArray

    def take(self, rows: np.ndarray) -> Chain:
        """Some of the rows."""
        return Chain(*(part[..., rows] for part in self))


def make_chain(q: FloatArray, target: np.ndarray, arm: PlanarArm) -> Chain:
    """The chain at joint angles.

    ``lever_i = sum_{k >= i} l_k exp(i phi_k)``: the same numbers as :func:`planararm.kinematics.jacobian`'s.

    Args:
        q: ``(n, N)`` [rad].
        target: ``(N,)`` complex, relative to the base [m].
        arm: The arm.
    """
    heading = np.cumsum(q, axis=0)
    links = np.empty(q.shape, dtype=np.complex128)
    np.multiply(arm.link_lengths[:, None], np.cos(heading), out=links.real)
    np.multiply(arm.link_lengths[:, None], np.sin(heading), out=links.imag)
    levers = np.cumsum(links[::-1], axis=0)[::-1]
    error = target - levers[0]
    return Chain(q, levers, error, np.abs(error))


def gradient(chain: Chain) -> FloatArray:
    """``J^T e``, the direction of steepest descent of ``|e|^2 / 2``: ``(n, N)`` [m^2/rad]."""
    # Column i is 1j * lever_i, and the dot product of two vectors is Re(conj(a) b).
    return np.asarray(chain.levers.real * chain.error.imag - chain.levers.imag * chain.error.real)


class IterativePolicy(IKPolicy):
    """A policy that improves joint angles step by step, ignoring the discs.

    The discs play no part in the search, which is why these policies do badly in clutter; but ``solved`` is
    claimed only of answers that meet the target within the tolerance, hold the limits and are free
    (``BLOCKED`` if they are not free). A target outside the annulus that the links span is
    replaced by the annulus' nearest point.

    A step is taken only if it brings the end effector nearer, otherwise the row's trust shrinks by 4 (it
    doubles after every step taken, up to 1). Joints are clipped to their limits at every step. A start at
    which the gradient vanishes, such as a straight arm with the target on its line, is left by a bend of 0.1
    rad in every joint.

    Args:
        max_iterations: Steps of one descent.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        num_restarts: Further descents, for rows not solved yet, from starts drawn in the joint limits. The
            same starts serve every row, so answers do not depend on the batch.
        seed: Of the restarts.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(self, *, max_iterations: int, tolerance: float, num_restarts: int, seed: int) -> None:
        self.max_iterations = whole_number("max_iterations", max_iterations, 1, 1_000_000)
        self.tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        self.num_restarts = whole_number("num_restarts", num_restarts, 0, 10_000)
        self.seed = whole_number("seed", seed, 0, 2**63 - 1)

    @abstractmethod
    def step(self, chain: Chain, target: np.ndarray, trust: FloatArray, arm: PlanarArm) -> FloatArray:
        """The next joint angles ``(n, N)`` [rad]; they are clipped to the limits afterwards.

        Args:
            chain: Where the rows are.
            target: ``(N,)`` complex, relative to the base [m].
            trust: ``(N,)`` in (0, 1]; a step must get shorter, towards a descent direction, as it falls.
            arm: The arm.
        """

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Descend from ``q``; see :meth:`IKPolicy.solve`."""
        orientation = f"{type(self).__name__} solves for positions only; 'closed-form' honours orientations."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=orientation)
        tolerance = self.tolerance * problem.arm.reach
        answer, iterations = self._descend(problem)
        reason = problem.reasons(answer, tolerance)
        error = problem.error(answer)
        low, high = problem.arm.joint_limits.T
        starts = low + np.random.default_rng(self.seed).random((self.num_restarts, low.size)) * (high - low)
        for start in starts:
            rows = np.flatnonzero((reason != Reason.SOLVED) & (reason != Reason.OUT_OF_REACH))
            if rows.size == 0:
                break
            part = problem.take(rows)
            tried, steps = self._descend(part, np.broadcast_to(start, part.q.shape))
            tried_reason, tried_error = part.reasons(tried, tolerance), part.error(tried)
            # An answer that meets the target but is blocked is kept against nearer ones that are blocked too.
            better = (tried_reason == Reason.SOLVED) | (
                (tried_error < error[rows]) & (reason[rows] == Reason.NOT_CONVERGED)
            )
            iterations[rows] += steps
            taken = rows[better]
            answer[taken], reason[taken], error[taken] = (
                tried[better],
                tried_reason[better],
                tried_error[better],
            )
        return problem.solution(answer, reason, {"iterations": iterations, "error": error})

    def _descend(self, problem: Problem, start: FloatArray | None = None) -> tuple[FloatArray, np.ndarray]:
        """Joint angles ``(N, n)`` at the end of one descent, and the steps it took ``(N,)``."""
        arm = problem.arm
        low, high = arm.joint_limits[:, :1], arm.joint_limits[:, 1:]
        # A little inside, so that rounding cannot turn "met" here into "missed" in the verdict.
        tolerance = 0.99 * self.tolerance * arm.reach
        away = problem.target_position - arm.base
        target = _into_annulus(away[:, 0] + 1j * away[:, 1], arm)
        q = np.ascontiguousarray((problem.q if start is None else start).T)
        chain = _kicked(make_chain(q, target, arm), target, arm, tolerance)
        answer, iterations = chain.q.copy(), np.zeros(problem.num_rows, dtype=np.int64)
        rows, trust = np.arange(problem.num_rows), np.ones(problem.num_rows)
        for _ in range(self.max_iterations):
            unfinished = (chain.distance > tolerance) & (trust > SMALLEST_TRUST)
            if not unfinished.all():
                answer[:, rows] = chain.q
                rows, target, trust, chain = (
                    rows[unfinished],
                    target[unfinished],
                    trust[unfinished],
                    chain.take(unfinished),
                )
            if rows.size == 0:
                break
            proposal = np.clip(self.step(chain, target, trust, arm), low, high)
            there = make_chain(proposal, target, arm)
            nearer = there.distance < chain.distance
            iterations[rows] += 1
            chain = Chain(*(np.where(nearer, new, old) for new, old in zip(there, chain, strict=True)))
            trust = np.where(nearer, np.minimum(2 * trust, 1.0), trust / 4)
        answer[:, rows] = chain.q
        return np.ascontiguousarray(answer.T), iterations


def _into_annulus(target: np.ndarray, arm: PlanarArm) -> np.ndarray:
    """The point of the links' annulus nearest to a target ``(N,)``, complex, relative to the base [m]."""
    distance = np.abs(target)
    # At the base itself no direction is nearer than another.
    direction = np.where(distance > 0, target, 1.0) / np.where(distance > 0, distance, 1.0)
    outside = (distance > arm.reach) | (distance < arm.inner_reach)
    return np.where(outside, np.clip(distance, arm.inner_reach, arm.reach) * direction, target)


def _kicked(chain: Chain, target: np.ndarray, arm: PlanarArm, tolerance: float) -> Chain:
    """The chain, with rows bent that stand at a stationary point without having met the target."""
    slope = np.abs(gradient(chain)).max(axis=0)
    stuck = (slope < 1e-9 * arm.reach * chain.distance) & (chain.distance > tolerance)
    if not stuck.any():
        return chain
    low, high = arm.joint_limits[:, :1], arm.joint_limits[:, 1:]
    inwards = np.where(chain.q <= (low + high) / 2, KICK, -KICK)
    return make_chain(np.clip(chain.q + stuck * inwards, low, high), target, arm)
