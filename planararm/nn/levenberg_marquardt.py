"""Levenberg-Marquardt: least squares with a damped Gauss-Newton step.

K. Levenberg 1944, doi:10.1090/qam/10666; D. Marquardt 1963, doi:10.1137/0111030; for neural networks M. T. Hagan and
M. B. Menhaj 1994, doi:10.1109/72.329697.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..errors import InvalidInputError
from ..validate import finite_array, real_number, whole_number
from .layers import FloatArray

Residuals = Callable[[FloatArray], FloatArray]
NormalEquations = Callable[[FloatArray], tuple[float, FloatArray, FloatArray]]
Progress = Callable[[int, "LMResult"], None]

LEAST_MU, MOST_MU = 1e-20, 1e10
MOST = 10**9


@dataclass
class LMResult:
    """Where Levenberg-Marquardt ended.

    Attributes:
        theta: ``(P,)`` the parameters: those of the lowest validation error if there is one, else the last.
        train_error: Sum of squares after each accepted step, the first before any.
        validation_error: The same of the validation; empty without.
        mu: Damping after each accepted step.
        best_iteration: Which of these ``theta`` is.
        reason: Why it stopped: ``"patience"``, ``"gradient"``, ``"damping"`` or ``"iterations"``.
    """

    theta: FloatArray
    train_error: list[float] = field(default_factory=list)
    validation_error: list[float] = field(default_factory=list)
    mu: list[float] = field(default_factory=list)
    best_iteration: int = 0
    reason: str = "iterations"


def normal_equations(jacobian_blocks: Any, num_parameters: int) -> tuple[float, FloatArray, FloatArray]:
    """Sum of squares ``r^T r``, gradient ``J^T r`` and matrix ``J^T J`` from blocks of rows.

    Args:
        jacobian_blocks: Pairs ``(r (m,), J (m, P))``; only one block is in memory at a time.
        num_parameters: P.
    """
    square, gradient = 0.0, np.zeros(num_parameters)
    matrix = np.zeros((num_parameters, num_parameters))
    for residuals, jacobian in jacobian_blocks:
        square += float(residuals @ residuals)
        gradient += jacobian.T @ residuals
        matrix += jacobian.T @ jacobian
    return square, gradient, matrix


def levenberg_marquardt(
    equations: NormalEquations,
    square: Callable[[FloatArray], float],
    theta: Any,
    *,
    mu: float = 1e-3,
    mu_decrease: float = 0.1,
    mu_increase: float = 10.0,
    max_iterations: int = 1000,
    validation: Callable[[FloatArray], float] | None = None,
    patience: int = 6,
    gradient_tolerance: float = 1e-7,
    progress: Progress | None = None,
) -> LMResult:
    """Minimise the sum of squares of residuals r(theta).

    Each step solves ``(J^T J + mu I) D = J^T r`` and goes to ``theta - D``: like Gauss-Newton where mu is small, a
    short step downhill where it is large. A step that lowers the sum of squares is taken and mu decreased; otherwise mu
    is increased and the step computed anew.

    Args:
        equations: ``theta -> (r^T r, J^T r, J^T J)``, see :func:`normal_equations`.
        square: ``theta -> r^T r``.
        theta: ``(P,)`` where to begin.
        mu: First damping.
        mu_decrease: Factor after a step taken, < 1.
        mu_increase: Factor after a step refused, > 1.
        max_iterations: Steps taken at most.
        validation: ``theta -> error`` on other data; after ``patience`` steps in a row without a new lowest one it
            stops.
        patience: See there.
        gradient_tolerance: Largest entry of ``J^T r`` at which it stops, relative to the first.
        progress: Called after every step with its number and the result so far.

    Raises:
        InvalidInputError: Numbers out of range, or residuals that are not finite at the start.
    """
    theta = finite_array("theta", theta).copy()
    mu = real_number("mu", mu, 0.0, MOST_MU)
    mu_decrease = real_number("mu_decrease", mu_decrease, 0.0, 1.0)
    mu_increase = real_number("mu_increase", mu_increase, 1.0, 1e6)
    max_iterations = whole_number("max_iterations", max_iterations, 0, MOST)
    patience = whole_number("patience", patience, 1, MOST)
    value, gradient, matrix = equations(theta)
    if not (np.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(matrix).all()):
        raise InvalidInputError("The residuals or their derivatives are not finite at the start.")
    result = LMResult(theta.copy(), [value], [], [mu])
    steepest = max(float(np.abs(gradient).max()), np.finfo(float).tiny)
    lowest = np.inf
    if validation is not None:
        lowest = validation(theta)
        result.validation_error.append(lowest)
    for iteration in range(1, max_iterations + 1):
        if np.abs(gradient).max() <= gradient_tolerance * steepest:
            result.reason = "gradient"
            break
        moved = _downhill(square, theta, value, gradient, matrix, mu, mu_increase)
        if moved is None:
            result.reason = "damping"
            break
        theta, mu = moved
        mu = max(mu * mu_decrease, LEAST_MU)
        value, gradient, matrix = equations(theta)
        result.train_error.append(value)
        result.mu.append(mu)
        if validation is None:
            result.theta, result.best_iteration = theta.copy(), iteration
        else:
            result.validation_error.append(validation(theta))
            if result.validation_error[-1] < lowest:
                lowest, result.theta, result.best_iteration = result.validation_error[-1], theta.copy(), iteration
        if progress is not None:
            progress(iteration, result)
        if iteration - result.best_iteration >= patience:
            result.reason = "patience"
            break
    return result


def _downhill(
    square: Callable[[FloatArray], float],
    theta: FloatArray,
    value: float,
    gradient: FloatArray,
    matrix: FloatArray,
    mu: float,
    mu_increase: float,
) -> tuple[FloatArray, float] | None:
    """The first damped step that lowers the sum of squares, and its mu; None if no damping gives one."""
    diagonal = np.arange(len(theta))
    while mu <= MOST_MU:
        damped = matrix.copy()
        damped[diagonal, diagonal] += mu
        try:
            step = cho_solve(cho_factor(damped, overwrite_a=True, check_finite=False), gradient, check_finite=False)
        except np.linalg.LinAlgError:
            # Too little damping for a matrix that rounding has made indefinite.
            mu *= mu_increase
            continue
        trial = theta - step
        if square(trial) < value:
            return trial, mu
        mu *= mu_increase
    return None
