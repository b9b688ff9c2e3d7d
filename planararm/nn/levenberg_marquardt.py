"""Levenberg-Marquardt: least squares with a damped Gauss-Newton step.

K. Levenberg 1944, doi:10.1090/qam/10666; D. Marquardt 1963, doi:10.1137/0111030; for neural networks M. T. Hagan and
M. B. Menhaj 1994, doi:10.1109/72.329697.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..errors import InvalidInputError
from ..validate import exact_array, finite_array, real_number, whole_number
from .layers import FloatArray

Residuals = Callable[[FloatArray], FloatArray]
NormalEquations = Callable[[FloatArray], tuple[float, FloatArray, FloatArray]]
Progress = Callable[[int, "LMResult"], None]

LEAST_MU, MOST_MU = 1e-20, 1e10
_LISTS = ("train_error", "validation_error", "mu")
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


class LevenbergMarquardt:
    """Minimises the sum of squares of residuals r(theta), one :meth:`step` at a time.

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
        validation: ``theta -> error`` on other data; after ``patience`` steps in a row without a new lowest one it
            stops.
        patience: See there.
        gradient_tolerance: Largest entry of ``J^T r`` at which it stops, relative to the first.

    Attributes:
        result: Where it stands.
        theta: ``(P,)`` the parameters now.

    Raises:
        InvalidInputError: Numbers out of range, or residuals that are not finite at the start.
    """

    def __init__(
        self,
        equations: NormalEquations,
        square: Callable[[FloatArray], float],
        theta: Any,
        *,
        mu: float = 1e-3,
        mu_decrease: float = 0.1,
        mu_increase: float = 10.0,
        validation: Callable[[FloatArray], float] | None = None,
        patience: int = 6,
        gradient_tolerance: float = 1e-7,
    ) -> None:
        self.equations, self.square, self.validation = equations, square, validation
        self.theta = finite_array("theta", theta).copy()
        self.mu = real_number("mu", mu, 0.0, MOST_MU)
        self.mu_decrease = real_number("mu_decrease", mu_decrease, 0.0, 1.0)
        self.mu_increase = real_number("mu_increase", mu_increase, 1.0, 1e6)
        self.patience = whole_number("patience", patience, 1, MOST)
        self.num_steps, self._linear = 0, equations(self.theta)
        value, gradient, matrix = self._linear
        if not (np.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(matrix).all()):
            raise InvalidInputError("The residuals or their derivatives are not finite at the start.")
        self._flat = gradient_tolerance * max(float(np.abs(gradient).max()), np.finfo(float).tiny)
        self.result = LMResult(self.theta.copy(), [value], [], [self.mu])
        if validation is not None:
            self.result.validation_error.append(validation(self.theta))

    def step(self) -> bool:
        """One step; False if there is none to take any more (``result.reason`` says why)."""
        value, gradient, matrix = self._linear
        if self.result.reason in ("gradient", "damping", "patience"):
            return False
        if np.abs(gradient).max() <= self._flat:
            self.result.reason = "gradient"
            return False
        moved = _downhill(self.square, self.theta, value, gradient, matrix, self.mu, self.mu_increase)
        if moved is None:
            self.result.reason = "damping"
            return False
        self.theta, self.mu = moved[0], max(moved[1] * self.mu_decrease, LEAST_MU)
        self._linear = self.equations(self.theta)
        self.num_steps += 1
        self._record()
        if self.num_steps - self.result.best_iteration >= self.patience:
            self.result.reason = "patience"
        return True

    def state(self) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """All that the next steps depend on: arrays and numbers."""
        result = self.result
        arrays = {"theta": self.theta.copy(), "best": result.theta.copy()}
        arrays |= {name: np.array(getattr(result, name), dtype=np.float64) for name in _LISTS}
        numbers = {
            "mu": self.mu,
            "num_steps": self.num_steps,
            "flat": self._flat,
            "best_iteration": result.best_iteration,
            "reason": result.reason,
        }
        return arrays, numbers

    def load_state(self, arrays: Mapping[str, FloatArray], numbers: Mapping[str, Any]) -> None:
        """Go back to a state of a search for the same residuals.

        Raises:
            InvalidInputError: Of another number of parameters.
        """
        self.theta = exact_array("theta", arrays["theta"], self.theta.shape).copy()
        best = exact_array("best", arrays["best"], self.theta.shape).copy()
        lists = {name: [float(value) for value in arrays[name]] for name in _LISTS}
        self.mu, self.num_steps, self._flat = float(numbers["mu"]), int(numbers["num_steps"]), float(numbers["flat"])
        self.result = LMResult(
            best, **lists, best_iteration=int(numbers["best_iteration"]), reason=str(numbers["reason"])
        )
        self._linear = self.equations(self.theta)

    def _record(self) -> None:
        result = self.result
        result.train_error.append(self._linear[0])
        result.mu.append(self.mu)
        better = True
        if self.validation is not None:
            error = self.validation(self.theta)
            better = error < min(result.validation_error)
            result.validation_error.append(error)
        if better:
            result.theta, result.best_iteration = self.theta.copy(), self.num_steps


def levenberg_marquardt(
    equations: NormalEquations,
    square: Callable[[FloatArray], float],
    theta: Any,
    *,
    max_iterations: int = 1000,
    progress: Progress | None = None,
    **options: Any,
) -> LMResult:
    """Minimise the sum of squares of residuals; :class:`LevenbergMarquardt`, run to its end.

    Args:
        equations: ``theta -> (r^T r, J^T r, J^T J)``.
        square: ``theta -> r^T r``.
        theta: ``(P,)`` where to begin.
        max_iterations: Steps at most.
        progress: Called after every step with its number and the result so far.
        **options: Of :class:`LevenbergMarquardt`.

    Raises:
        InvalidInputError: Numbers out of range, or residuals that are not finite at the start.
    """
    max_iterations = whole_number("max_iterations", max_iterations, 0, MOST)
    search = LevenbergMarquardt(equations, square, theta, **options)
    while search.num_steps < max_iterations and search.step():
        if progress is not None:
            progress(search.num_steps, search.result)
    return search.result


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
