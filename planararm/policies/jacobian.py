"""Policies that step along the Jacobian: damped least squares, pseudo-inverse, transpose."""

from __future__ import annotations

import numpy as np

from ..arm import FloatArray, PlanarArm
from ..validate import real_number
from .iterative import Chain, IterativePolicy, gradient

MAX_STEP = 1.0
"""Largest change of a joint in one step [rad]; the whole step is scaled, so its direction stays."""


def free_levers(chain: Chain, arm: PlanarArm) -> np.ndarray:
    """The levers, zero for joints at a limit that the descent direction would push further out.

    Leaving those joints to the clipping alone would let a step count on motion that cannot happen.

    Args:
        chain: Where the rows are.
        arm: The arm.

    Returns:
        ``(n, N)`` complex [m].
    """
    slope = gradient(chain)
    low, high = arm.joint_limits[:, :1], arm.joint_limits[:, 1:]
    stopped = ((chain.q >= high) & (slope > 0)) | ((chain.q <= low) & (slope < 0))
    return np.where(stopped, 0.0, chain.levers)


def gram(levers: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The entries xx, xy, yy of ``J J^T``, each ``(N,)`` [m^2]; column i of J is ``(-lever_y, lever_x)``."""
    x, y = levers.real, levers.imag
    return (y * y).sum(axis=0), -(x * y).sum(axis=0), (x * x).sum(axis=0)


def pull_back(levers: np.ndarray, x: FloatArray, y: FloatArray) -> FloatArray:
    """``J^T (x, y)``: ``(n, N)``."""
    return levers.real * y - levers.imag * x


def limited(dq: FloatArray) -> FloatArray:
    """``dq (n, N)``, scaled so that no joint moves by more than ``MAX_STEP``."""
    return np.asarray(dq * (MAX_STEP / np.maximum(np.abs(dq).max(axis=0), MAX_STEP)))


class DampedLeastSquares(IterativePolicy):
    """Damped least squares: ``dq = J^T (J J^T + lambda^2 I)^-1 e``, the 2 x 2 system solved in closed form.

    The damping follows the error and the success of the last steps, as in the Levenberg-Marquardt method:
    ``lambda^2 = damping^2 reach |e| / trust``, so it is strong far away and at a singularity, and vanishes at
    the target, where convergence is quadratic. Joints that stand at a limit are left out of J. Ignores the
    discs; see :class:`~planararm.policies.iterative.IterativePolicy` for what it claims.

    Wampler, 1986, doi:10.1109/TSMC.1986.289285; Nakamura and Hanafusa, 1986, doi:10.1115/1.3143764; damping
    by the error: Sugihara, 2011, doi:10.1109/TRO.2011.2148230.

    Args:
        max_iterations: Steps of one descent.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        damping: Dimensionless factor of the damping.
        num_restarts: Further descents from random starts, for rows not solved.
        seed: Of the restarts.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self,
        *,
        max_iterations: int = 100,
        tolerance: float = 1e-6,
        damping: float = 0.1,
        num_restarts: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(max_iterations=max_iterations, tolerance=tolerance, num_restarts=num_restarts, seed=seed)
        self.damping = real_number("damping", damping, 0.0, 100.0)

    def step(self, chain: Chain, target: np.ndarray, trust: FloatArray, arm: PlanarArm) -> FloatArray:
        """One damped step; see :meth:`IterativePolicy.step`."""
        levers = free_levers(chain, arm)
        xx, xy, yy = gram(levers)
        damp = self.damping**2 * arm.reach * chain.distance / trust
        xx, yy = xx + damp, yy + damp
        x, y = chain.error.real, chain.error.imag
        determinant = xx * yy - xy * xy
        return chain.q + limited(pull_back(levers, (yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant))


class PseudoInverse(IterativePolicy):
    """Gauss-Newton steps by the pseudo-inverse: ``dq = gain J^T (J J^T)^+ e``.

    At a singularity, where ``det(J J^T)`` is below ``1e-12`` of the squared trace, ``J J^T`` counts as of
    rank one and its pseudo-inverse is itself divided by the squared trace. Steps are limited to 1 rad per
    joint and shortened until they bring the end effector nearer. Ignores the discs; see
    :class:`~planararm.policies.iterative.IterativePolicy` for what it claims.

    Whitney, 1969, doi:10.1109/TMMS.1969.299896.

    Args:
        max_iterations: Steps of one descent.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        gain: Share of the full step, in (0, 1].
        num_restarts: Further descents from random starts, for rows not solved.
        seed: Of the restarts.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self,
        *,
        max_iterations: int = 100,
        tolerance: float = 1e-6,
        gain: float = 1.0,
        num_restarts: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(max_iterations=max_iterations, tolerance=tolerance, num_restarts=num_restarts, seed=seed)
        self.gain = real_number("gain", gain, 0.0, 1.0)

    def step(self, chain: Chain, target: np.ndarray, trust: FloatArray, arm: PlanarArm) -> FloatArray:
        """One pseudo-inverse step, times trust; see :meth:`IterativePolicy.step`."""
        levers = free_levers(chain, arm)
        xx, xy, yy = gram(levers)
        x, y = chain.error.real, chain.error.imag
        trace, determinant = xx + yy, xx * yy - xy * xy
        regular = determinant > 1e-12 * trace * trace
        # A trace of zero: no joint is free to move, J is zero, and so is the step whatever is divided by.
        divisor = np.where(regular, determinant, np.where(trace > 0, trace * trace, 1.0))
        px = np.where(regular, yy * x - xy * y, xx * x + xy * y) / divisor
        py = np.where(regular, xx * y - xy * x, xy * x + yy * y) / divisor
        return chain.q + trust * limited(self.gain * pull_back(levers, px, py))


class JacobianTranspose(IterativePolicy):
    """Steepest descent: ``dq = gain a J^T e`` with ``a = <e, J J^T e> / <J J^T e, J J^T e>``.

    The step length makes the linearised end effector move nearest to the target (Buss, 2004). Convergence is
    linear, and slow near singularities. Ignores the discs; see
    :class:`~planararm.policies.iterative.IterativePolicy` for what it claims.

    Wolovich and Elliott, 1984, doi:10.1109/CDC.1984.272258; step length: Buss, "Introduction to inverse
    kinematics with Jacobian transpose, pseudoinverse and damped least squares methods", 2004.

    Args:
        max_iterations: Steps of one descent.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        gain: Share of the step, in (0, 1].
        num_restarts: Further descents from random starts, for rows not solved.
        seed: Of the restarts.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self,
        *,
        max_iterations: int = 300,
        tolerance: float = 1e-5,
        gain: float = 1.0,
        num_restarts: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(max_iterations=max_iterations, tolerance=tolerance, num_restarts=num_restarts, seed=seed)
        self.gain = real_number("gain", gain, 0.0, 1.0)

    def step(self, chain: Chain, target: np.ndarray, trust: FloatArray, arm: PlanarArm) -> FloatArray:
        """One step down the gradient, times trust; see :meth:`IterativePolicy.step`."""
        levers = free_levers(chain, arm)
        descent = pull_back(levers, chain.error.real, chain.error.imag)
        # J J^T e is the end effector's motion for dq = J^T e.
        motion = (1j * levers * descent).sum(axis=0)
        squared = motion.real**2 + motion.imag**2
        along = (descent * descent).sum(axis=0)
        length = np.where(squared > 0, along / np.where(squared > 0, squared, 1.0), 0.0)
        return chain.q + trust * limited(self.gain * length * descent)
