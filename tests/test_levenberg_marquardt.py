"""Levenberg-Marquardt against SciPy and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from planararm import InvalidInputError
from planararm.nn import LevenbergMarquardt, levenberg_marquardt, normal_equations


def least(residuals, jacobian):
    """The two functions that the search takes."""

    def equations(theta):
        return normal_equations([(residuals(theta), jacobian(theta))], len(theta))

    return equations, lambda theta: float(residuals(theta) @ residuals(theta))


ROSENBROCK = least(
    lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]),
    lambda x: np.array([[-20 * x[0], 10.0], [-1.0, 0.0]]),
)

TIME = np.linspace(0, 2, 40)
NOISY = 1.5 * np.exp(-1.2 * TIME) + 0.3 + 0.01 * np.random.default_rng(0).standard_normal(40)


def decay(theta):
    return theta[0] * np.exp(-theta[1] * TIME) + theta[2] - NOISY


def decay_jacobian(theta):
    power = np.exp(-theta[1] * TIME)
    return np.stack([power, -theta[0] * TIME * power, np.ones_like(TIME)], axis=1)


def test_rosenbrock_s_valley():
    found = levenberg_marquardt(*ROSENBROCK, [-1.2, 1.0])
    np.testing.assert_allclose(found.theta, [1.0, 1.0], atol=1e-8)
    assert all(a > b for a, b in zip(found.train_error, found.train_error[1:], strict=False))


def test_an_exponential_fit_agrees_with_scipy():
    found = levenberg_marquardt(*least(decay, decay_jacobian), [1.0, 1.0, 0.0])
    reference = least_squares(decay, [1.0, 1.0, 0.0], jac=decay_jacobian, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(found.theta, reference.x, atol=1e-6)


def test_normal_equations_in_blocks():
    theta = np.array([1.0, 1.1, 0.1])
    r, J = decay(theta), decay_jacobian(theta)
    blocks = [(r[i : i + 7], J[i : i + 7]) for i in range(0, 40, 7)]
    square, gradient, matrix = normal_equations(blocks, 3)
    assert square == pytest.approx(r @ r, rel=1e-13)
    np.testing.assert_allclose(gradient, J.T @ r, rtol=1e-12)
    np.testing.assert_allclose(matrix, J.T @ J, rtol=1e-12)


def test_step_by_step_is_the_run():
    search = LevenbergMarquardt(*ROSENBROCK, [-1.2, 1.0])
    for _ in range(5):
        assert search.step()
    run = levenberg_marquardt(*ROSENBROCK, [-1.2, 1.0], max_iterations=5)
    np.testing.assert_array_equal(search.result.theta, run.theta)
    assert run.reason == "iterations"


class TestReasons:
    def test_gradient(self):
        assert levenberg_marquardt(*least(decay, decay_jacobian), [1.0, 1.0, 0.0]).reason in ("gradient", "damping")

    def test_damping(self):
        # A gradient that points the wrong way: no damping makes a step that helps.
        equations, square = least(lambda x: x, lambda x: -np.eye(len(x)))
        found = levenberg_marquardt(equations, square, [1.0, 2.0])
        assert found.reason == "damping"
        np.testing.assert_array_equal(found.theta, [1.0, 2.0])

    def test_patience_keeps_the_best(self):
        # On the validation side the best is where the first component is 0.5; training goes on to 1.
        errors = []

        def validation(theta):
            errors.append((theta[0] - 0.5) ** 2)
            return errors[-1]

        equations, square = least(lambda x: np.array([x[0] - 1.0]), lambda x: np.array([[1.0]]))
        found = levenberg_marquardt(
            equations, square, [0.0], mu=5.0, mu_decrease=0.9, validation=validation, patience=3
        )
        assert found.reason == "patience"
        assert (found.theta[0] - 0.5) ** 2 == min(errors)
        assert found.validation_error == errors


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mu": 0.0}, "mu must be a number"),
        ({"mu_decrease": 1.5}, "mu_decrease must be"),
        ({"mu_increase": 0.5}, "mu_increase must be"),
        ({"patience": 0}, "patience must be"),
        ({"max_iterations": -1}, "max_iterations must be"),
    ],
)
def test_numbers_out_of_range(options, match: str):
    with pytest.raises(InvalidInputError, match=match):
        levenberg_marquardt(*ROSENBROCK, [-1.2, 1.0], **options)


def test_a_start_that_is_not_finite():
    with pytest.raises(InvalidInputError, match="theta must be finite"):
        levenberg_marquardt(*ROSENBROCK, [np.nan, 1.0])
    equations, square = least(lambda x: np.array([np.inf]), lambda x: np.array([[1.0]]))
    with pytest.raises(InvalidInputError, match="not finite at the start"):
        levenberg_marquardt(equations, square, [1.0])
