"""The implicit function theorem against finite differences, unrolling, autograd and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from planararm.errors import InvalidInputError
from planararm.nn.diagnostics import check_gradients
from planararm.nn.implicit import Equilibrium, argmin_jacobian, implicit_jacobian, implicit_vjp
from planararm.nn.layers import Linear
from planararm.nn.losses import mean_squared_error
from planararm.nn.network import Network


def central_differences(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """``(outputs, inputs)``."""
    columns = [(f(x + step * unit) - f(x - step * unit)) / (2 * step) for unit in np.eye(x.size)]
    return np.stack(columns, axis=-1)


def positive_definite(rng: np.random.Generator, *shape: int) -> np.ndarray:
    root = rng.normal(size=(*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + np.eye(shape[-1])


class TestImplicitFunction:
    def test_a_circle(self) -> None:
        """On x^2 + y^2 = 1: dy/dx = -x / y."""
        x = np.array([[0.6], [-0.3]])
        y = np.sqrt(1 - x**2)
        assert np.allclose(implicit_jacobian(2 * y[..., None], 2 * x[..., None])[..., 0], -x / y)

    def test_backward_is_the_transpose(self) -> None:
        rng = np.random.default_rng(0)
        f_y, f_x, grad = rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3, 4)), rng.normal(size=(5, 3))
        jacobian = implicit_jacobian(f_y, f_x)
        assert jacobian.shape == (5, 3, 4)
        assert np.allclose(implicit_vjp(f_y, f_x, grad), (grad[:, None] @ jacobian)[:, 0], rtol=1e-12)
        assert np.array_equal(implicit_jacobian(f_y[0], f_x)[0], jacobian[0])

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: implicit_jacobian(np.ones((2, 3)), np.ones((2, 1))), r"f_y must have shape \(\*batch, 3, 3\)"),
            (lambda: implicit_jacobian(np.eye(2), np.ones((3, 1))), r"f_x must have shape \(\*batch, 2, any\)"),
            (lambda: implicit_jacobian(1.0, 1.0), r"f_y must have shape \(\*batch, any, any\), got \(\)"),
            (lambda: implicit_jacobian(np.full((2, 2), np.nan), np.eye(2)), "f_y must be finite"),
            (lambda: implicit_jacobian(np.ones((2, 2)), np.eye(2)), "f_y must be regular .* largest 2"),
            (lambda: implicit_vjp(np.eye(2), np.eye(2), np.ones(3)), r"grad_y must have shape \(\*batch, 2\)"),
            (lambda: implicit_jacobian(np.ones((2, 1, 1)), np.ones((3, 1, 1))), "do not broadcast: f_y"),
        ],
    )
    def test_it_says_what_is_wrong(self, call: Callable[[], object], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call()


class TestArgmin:
    def test_a_quadratic_has_a_closed_form(self) -> None:
        """Argmin of ``1/2 y^T H y - y^T B x`` is ``H^-1 B x``; that of its negative, an argmax, the same."""
        rng = np.random.default_rng(1)
        hessian, mixed = positive_definite(rng, 4, 3), rng.normal(size=(4, 3, 2))
        expected = np.linalg.inv(hessian) @ mixed
        assert np.allclose(argmin_jacobian(hessian, -mixed), expected)
        assert np.allclose(argmin_jacobian(-hessian, mixed), expected)

    def test_a_nonlinear_argmin(self) -> None:
        """Of sum(exp(y) - y x): y = log(x)."""
        x = np.array([0.5, 2.0, 3.0])
        y = np.log(x)
        assert np.allclose(argmin_jacobian(np.diag(np.exp(y)), -np.eye(3)), np.diag(1 / x))

    def test_constant_equalities_are_gould_s_formula(self) -> None:
        rng = np.random.default_rng(2)
        hessian, mixed, rows = positive_definite(rng, 5), rng.normal(size=(5, 3)), rng.normal(size=(2, 5))
        inverse = np.linalg.inv(hessian)
        inner = np.linalg.inv(rows @ inverse @ rows.T)
        expected = (inverse @ rows.T @ inner @ rows @ inverse - inverse) @ mixed
        found = argmin_jacobian(hessian, mixed, rows)
        assert np.allclose(found, expected, rtol=1e-10)
        assert np.allclose(rows @ found, 0, atol=1e-12)

    def test_equalities_that_move_with_x(self) -> None:
        """Of 1/2 |y|^2 subject to A y = x: y = A^T (A A^T)^-1 x. The first matrix may be singular on its own."""
        rng = np.random.default_rng(3)
        rows = rng.normal(size=(2, 4))
        found = argmin_jacobian(np.eye(4), np.zeros((4, 2)), rows, -np.eye(2))
        assert np.allclose(found, np.linalg.pinv(rows))
        assert np.allclose(argmin_jacobian([[0.0]], [[0.0]], [[2.0]], [[-1.0]]), 0.5)

    def test_a_curved_constraint(self) -> None:
        """Nearest point of the unit circle: y = x / |x|, with the Lagrangian's second derivative."""
        x = np.array([1.2, -0.7])
        length = np.linalg.norm(x)
        y = x / length
        multiplier = (length - 1) / 2  # of |y|^2 - 1 = 0, since y - x + 2 nu y = 0
        found = argmin_jacobian((1 + 2 * multiplier) * np.eye(2), -np.eye(2), 2 * y[None])
        assert np.allclose(found, central_differences(lambda x: x / np.linalg.norm(x), x), atol=1e-9)

    def test_batches_broadcast(self) -> None:
        rng = np.random.default_rng(4)
        hessian, mixed, rows = positive_definite(rng, 6, 3), rng.normal(size=(3, 2)), rng.normal(size=(6, 1, 3))
        together = argmin_jacobian(hessian, mixed, rows)
        assert together.shape == (6, 3, 2)
        assert np.allclose(together[4], argmin_jacobian(hessian[4], mixed, rows[4]))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: argmin_jacobian(np.zeros((2, 2)), np.eye(2)), "f_yy must be regular"),
            (lambda: argmin_jacobian(np.eye(2), np.eye(2), np.ones((2, 2))), "The bordered matrix must be regular"),
            (lambda: argmin_jacobian(np.eye(2), np.eye(2), h_x=np.eye(2)), "h_x needs h_y"),
            (lambda: argmin_jacobian(np.eye(2), np.eye(2), np.ones((1, 3))), r"h_y must have shape \(\*batch, any, 2"),
            (lambda: argmin_jacobian(np.eye(2), np.eye(2), np.ones((1, 2)), np.eye(2)), "h_x must have shape"),
        ],
    )
    def test_it_says_what_is_wrong(self, call: Callable[[], object], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call()


class TestEquilibrium:
    def layer(self, num_features: int = 5, **settings: float) -> Equilibrium:
        return Equilibrium(num_features, rng=np.random.default_rng(5), **settings)

    def test_the_output_is_a_fixed_point(self) -> None:
        layer, x = self.layer(), np.random.default_rng(6).normal(size=(7, 5))
        z = layer.forward(x)
        weight = layer.parameters["weight"]
        assert np.linalg.norm(weight, 2) == pytest.approx(0.9)
        assert np.abs(z - np.tanh(z @ weight.T + x)).max() < 1e-12
        assert layer.num_iterations > 10

    def test_gradients_equal_finite_differences(self) -> None:
        layer, rng = self.layer(), np.random.default_rng(7)
        x, grad = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
        layer.forward(x)
        grad_x = layer.backward(grad)
        grad_weight = layer.gradients["weight"].copy()
        expected = central_differences(lambda v: np.sum(grad * layer.forward(v.reshape(3, 5))), x.ravel())
        assert np.allclose(grad_x.ravel(), expected, atol=1e-8)
        weight = layer.parameters["weight"]
        start = weight.copy()

        def loss(v: np.ndarray) -> np.ndarray:
            weight[:] = v.reshape(5, 5)
            return np.sum(grad * layer.forward(x))

        assert np.allclose(grad_weight.ravel(), central_differences(loss, start.ravel()), atol=1e-8)

    def test_gradients_equal_those_of_many_layers(self) -> None:
        layer, rng = self.layer(), np.random.default_rng(8)
        x, grad = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
        layer.forward(x)
        grad_x = layer.backward(grad)
        weight = torch.tensor(layer.parameters["weight"], requires_grad=True)
        inputs = torch.tensor(x, requires_grad=True)
        z = torch.zeros(3, 5, dtype=torch.float64)
        for _ in range(300):
            z = torch.tanh(z @ weight.T + inputs)
        (z * torch.tensor(grad)).sum().backward()
        assert np.allclose(grad_x, inputs.grad.numpy(), rtol=1e-10, atol=1e-12)
        assert np.allclose(layer.gradients["weight"], weight.grad.numpy(), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_features": 0}, "num_features must be a whole number"),
            ({"spectral_norm": 1.0}, "spectral_norm must be a number in"),
            ({"tolerance": 0.0}, "tolerance"),
            ({"max_iterations": 0}, "max_iterations"),
        ],
    )
    def test_it_says_what_is_wrong(self, settings: dict[str, float], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            self.layer(**settings)

    def test_it_says_when_there_is_no_rest(self) -> None:
        layer = Equilibrium(2, rng=np.random.default_rng(0), max_iterations=50)
        layer.parameters["weight"][:] = [[0.0, -3.0], [3.0, 0.0]]
        with pytest.raises(InvalidInputError, match=r"not come to rest in 50 steps .* spectral norm of W is 3 and"):
            layer.forward(np.zeros((1, 2)) + 0.1)
        with pytest.raises(InvalidInputError, match=r"x must have shape \(\*batch, 2\)"):
            layer.forward(np.zeros((1, 3)))

    def test_backward_needs_a_forward_pass(self) -> None:
        layer = self.layer()
        with pytest.raises(InvalidInputError, match="needs a forward pass first"):
            layer.backward(np.zeros((1, 5)))
        layer.forward(np.zeros((2, 5)))
        with pytest.raises(InvalidInputError, match=r"grad_y must have shape \(\*batch, 2, 5\), got \(1, 5\)"):
            layer.backward(np.zeros((1, 5)))

    def test_it_is_a_layer_among_others(self) -> None:
        rng = np.random.default_rng(9)
        network = Network(Linear(2, 5, rng=rng), self.layer(), Linear(5, 1, rng=rng))
        x, target = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
        assert check_gradients(network, mean_squared_error, x, target) < 1e-7
