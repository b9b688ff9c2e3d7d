"""Layers, networks, losses: against PyTorch's autograd, finite differences and closed forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm import nn
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.nn.layers import ACTIVATIONS, Activation

TORCH = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}


class TorchResidual(torch.nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


def to_torch(layer: nn.Layer) -> torch.nn.Module:
    """The same function, with the same weights under the same names."""
    if isinstance(layer, nn.Network):
        kind = TorchResidual if isinstance(layer, nn.Residual) else torch.nn.Sequential
        return kind(*map(to_torch, layer.layers))
    if isinstance(layer, nn.Linear):
        module = torch.nn.Linear(layer.num_inputs, layer.num_outputs, dtype=torch.float64)
        module.load_state_dict({name: torch.tensor(value) for name, value in layer.parameters.items()})
        return module
    return TORCH[next(name for name, kind in ACTIVATIONS.items() if type(layer) is kind)]()


def random_network(seed: int, blocks: list[tuple[str, int, bool]], sizes: tuple[int, int]) -> nn.Network:
    """Linear layers with activations, some of them followed by a skip over two more."""
    rng, width, layers = np.random.default_rng(seed), sizes[0], []
    for activation, features, skip in blocks:
        layers += [nn.Linear(width, features, rng=rng), ACTIVATIONS[activation]()]
        if skip:
            inner = [nn.Linear(features, 3, rng=rng), ACTIVATIONS[activation](), nn.Linear(3, features, rng=rng)]
            layers.append(nn.Residual(*inner))
        width = features
    network = nn.Network(*layers, nn.Linear(width, sizes[1], rng=rng))
    network.set_vector(network.get_vector() + 0.1 * rng.normal(size=network.num_parameters))
    return network


NETWORKS = {
    "seed": st.integers(0, 10**6),
    "blocks": st.lists(st.tuples(st.sampled_from(sorted(ACTIVATIONS)), st.integers(1, 6), st.booleans()), max_size=7),
    "sizes": st.tuples(st.integers(1, 5), st.integers(1, 4)),
    "batch": st.integers(1, 6),
}


@settings(max_examples=60, deadline=None)
@given(**NETWORKS)
def test_gradients_equal_autograd(
    seed: int, blocks: list[tuple[str, int, bool]], sizes: tuple[int, int], batch: int
) -> None:
    network, rng = random_network(seed, blocks, sizes), np.random.default_rng([seed, 1])
    module = to_torch(network)
    x, grad_y = rng.normal(size=(batch, sizes[0])), rng.normal(size=(batch, sizes[1]))
    x_torch = torch.tensor(x, requires_grad=True)
    y = network.forward(x)
    y_torch = module(x_torch)
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=0, atol=1e-12)
    grad_x = network.backward(grad_y)
    y_torch.backward(torch.tensor(grad_y))
    np.testing.assert_allclose(grad_x, x_torch.grad.numpy(), rtol=1e-10, atol=1e-10)
    named = dict(module.named_parameters())
    assert list(named) == list(network.parameters) == list(network.gradients)
    for name, gradient in network.gradients.items():
        np.testing.assert_allclose(gradient, named[name].grad.numpy(), rtol=1e-10, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(**NETWORKS)
def test_output_jacobian_equals_autograd(
    seed: int, blocks: list[tuple[str, int, bool]], sizes: tuple[int, int], batch: int
) -> None:
    network = random_network(seed, blocks, sizes)
    x = np.random.default_rng([seed, 1]).normal(size=(batch, sizes[0]))
    module = to_torch(network)
    named = dict(module.named_parameters())
    parts = torch.func.jacrev(lambda p: torch.func.functional_call(module, p, torch.tensor(x)))(named)
    expected = np.concatenate([parts[name].detach().numpy().reshape(batch, sizes[1], -1) for name in named], axis=-1)
    np.testing.assert_allclose(network.output_jacobian(x), expected, rtol=1e-10, atol=1e-10)


def test_output_jacobian_equals_finite_differences() -> None:
    network = random_network(3, [("tanh", 4, False), ("silu", 3, True)], (2, 3))
    x, start = np.random.default_rng(0).normal(size=(5, 2)), network.get_vector()
    jacobian = network.output_jacobian(x)
    assert jacobian.shape == (5, 3, network.num_parameters)
    for i in range(start.size):
        either = []
        for h in (1e-6, -1e-6):
            moved = start.copy()
            moved[i] += h
            network.set_vector(moved)
            either.append(network.forward(x))
        np.testing.assert_allclose(jacobian[..., i], (either[0] - either[1]) / 2e-6, atol=1e-8)


def test_output_jacobian_sums_to_the_gradient() -> None:
    network = random_network(4, [("relu", 6, True)], (3, 2))
    rng = np.random.default_rng(1)
    x, grad_y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    network.forward(x)
    network.backward(grad_y)
    expected = np.einsum("bo,bop->p", grad_y, network.output_jacobian(x))
    np.testing.assert_allclose(network.gradient_vector(), expected, atol=1e-12)


def test_output_jacobian_refuses_other_layers_with_parameters() -> None:
    class Scale(Activation):
        def __init__(self) -> None:
            super().__init__()
            self.parameters = {"scale": np.ones(1)}

        def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return x, np.ones_like(x)

    with pytest.raises(InvalidInputError, match="linear layers only, not Scale"):
        nn.Network(Scale()).output_jacobian(np.ones((1, 2)))


class TestInitialisers:
    @pytest.mark.parametrize("fan_in", [30, 200])
    @pytest.mark.parametrize(
        ("name", "variance"), [("plain", lambda n: 1e-4), ("xavier", lambda n: 1 / n), ("he", lambda n: 2 / n)]
    )
    def test_variance(self, name: str, variance: Callable[[int], float], fan_in: int) -> None:
        layer = nn.Linear(fan_in, 400, rng=np.random.default_rng(0), initialisation=name)
        weight = layer.parameters["weight"]
        assert weight.shape == (400, fan_in)
        assert np.var(weight) == pytest.approx(variance(fan_in), rel=0.05)
        assert abs(weight.mean()) < 4 * weight.std() / np.sqrt(weight.size)
        assert not layer.parameters["bias"].any()

    def test_he_keeps_the_mean_square_through_relu_and_plain_does_not(self) -> None:
        """In expectation: one draw of ten layers of 100 units is off by a factor of two, the mean of many is not."""
        x = np.random.default_rng(0).normal(size=(20, 100))
        gains: dict[str, list[float]] = {"he": [], "plain": []}
        for name, found in gains.items():
            for seed in range(60):
                rng, layers = np.random.default_rng(seed), []
                for _ in range(10):
                    layers += [nn.Linear(100, 100, rng=rng, initialisation=name), nn.ReLU()]
                found.append(float(np.mean(nn.Network(*layers).forward(x) ** 2) / np.mean(x**2)))
        assert np.mean(gains["he"]) == pytest.approx(1.0, abs=3 * np.std(gains["he"]) / np.sqrt(60))
        assert np.std(gains["he"]) < 1.5
        assert max(gains["plain"]) < 1e-20

    def test_same_seed_same_weights(self) -> None:
        first, second = (nn.mlp((3, 5, 2), rng=np.random.default_rng(7)).get_vector() for _ in range(2))
        np.testing.assert_array_equal(first, second)


class TestActivations:
    @pytest.mark.parametrize("name", sorted(ACTIVATIONS))
    def test_large_inputs_give_no_warnings_and_finite_numbers(self, name: str) -> None:
        layer = ACTIVATIONS[name]()
        x = np.array([[-1e4, -745.0, -710.0, -1.0, 0.0, 1.0, 710.0, 745.0, 1e4]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = layer.forward(x)
            grad = layer.backward(np.ones_like(x))
        expected = torch.tensor(x, requires_grad=True)
        result = TORCH[name]()(expected)
        result.sum().backward()
        np.testing.assert_allclose(y, result.detach().numpy(), rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(grad, expected.grad.numpy(), atol=1e-12)

    def test_sigmoid_is_symmetric(self) -> None:
        x = np.linspace(-40, 40, 801)
        np.testing.assert_allclose(nn.sigmoid(x) + nn.sigmoid(-x), 1.0, atol=1e-15)
        assert nn.Sigmoid().value_and_slope(np.zeros(1))[1] == 0.25


class TestLosses:
    @pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
    def test_binary_cross_entropy_equals_torch(self, scale: float) -> None:
        rng = np.random.default_rng(0)
        logits, labels = scale * rng.normal(size=(50, 2)), rng.uniform(size=(50, 2)).round(1)
        value, grad = nn.binary_cross_entropy_with_logits(logits, labels)
        z = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(labels))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-12)
        np.testing.assert_allclose(grad, z.grad.numpy(), atol=1e-12)

    def test_binary_cross_entropy_equals_the_naive_formula_and_stays_finite_beyond_it(self) -> None:
        z, y = np.linspace(-8, 8, 33), np.tile([0.0, 1.0, 0.5], 11)
        p = 1 / (1 + np.exp(-z))
        naive = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        assert nn.binary_cross_entropy_with_logits(z, y)[0] == pytest.approx(naive, rel=1e-12)
        assert nn.binary_cross_entropy_with_logits([1e4, -1e4], [1.0, 0.0])[0] == 0.0
        assert nn.binary_cross_entropy_with_logits([1e4, -1e4], [0.0, 1.0])[0] == 1e4

    @pytest.mark.parametrize("scale", [1.0, 1e4])
    def test_softmax_cross_entropy_equals_torch(self, scale: float) -> None:
        rng = np.random.default_rng(0)
        logits, labels = scale * rng.normal(size=(40, 5)), rng.integers(5, size=40)
        value, grad = nn.softmax_cross_entropy(logits, labels)
        z = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(z, torch.tensor(labels))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-12)
        np.testing.assert_allclose(grad, z.grad.numpy(), atol=1e-12)
        np.testing.assert_allclose(nn.softmax(logits).sum(axis=1), 1.0, atol=1e-12)

    def test_mean_squared_error_equals_torch(self) -> None:
        p, t = np.random.default_rng(0).normal(size=(2, 7, 3))
        value, grad = nn.mean_squared_error(p, t)
        z = torch.tensor(p, requires_grad=True)
        expected = torch.nn.functional.mse_loss(z, torch.tensor(t))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-14)
        np.testing.assert_allclose(grad, z.grad.numpy(), atol=1e-15)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: nn.mean_squared_error([[1.0]], [1.0]), r"same shape, not empty, got \(1, 1\) and \(1,\)"),
            (lambda: nn.mean_squared_error([], []), "not empty"),
            (lambda: nn.mean_squared_error([np.nan], [1.0]), "prediction must be finite, got nan"),
            (lambda: nn.binary_cross_entropy_with_logits([0.0], [1.5]), r"labels must be in \[0, 1\], got 1.5"),
            (lambda: nn.binary_cross_entropy_with_logits([0.0], [-1.0]), r"got -1.0"),
            (lambda: nn.softmax_cross_entropy([[0.0, 1.0]], [2]), r"whole numbers in \[0, 2\), got 2"),
            (lambda: nn.softmax_cross_entropy([[0.0, 1.0]], [-1]), "got -1"),
            (lambda: nn.softmax_cross_entropy([[0.0, 1.0]], [0.5]), "whole numbers, got an array of float64"),
            (lambda: nn.softmax_cross_entropy([0.0, 1.0], [1]), r"must be \(batch, classes\)"),
            (lambda: nn.softmax_cross_entropy([[0.0, 1.0]], [[1]]), r"got \(1, 2\) and \(1, 1\)"),
            (lambda: nn.softmax_cross_entropy([[np.inf, 1.0]], [1]), "logits must be finite, got inf"),
        ],
    )
    def test_errors(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call()


def small(seed: int = 0) -> nn.Network:
    return nn.mlp((2, 3, 1), rng=np.random.default_rng(seed))


class TestNetwork:
    def test_vector_and_state_round_trips(self) -> None:
        first, second = small(1), small(2)
        second.set_vector(first.get_vector())
        np.testing.assert_array_equal(second.get_vector(), first.get_vector())
        assert list(first.parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert first.num_parameters == first.get_vector().size == 13
        state = first.state_dict()
        first.set_vector(np.zeros(13))
        assert state["0.weight"].any()
        first.load_state_dict(state)
        np.testing.assert_array_equal(first.get_vector(), second.get_vector())

    def test_parameters_are_the_layers_own(self) -> None:
        network = small()
        network.parameters["0.weight"][0, 0] = 5.0
        assert network.layers[0].parameters["weight"][0, 0] == 5.0

    def test_names_inside_a_residual_block(self) -> None:
        rng = np.random.default_rng(0)
        network = nn.Network(nn.Linear(2, 3, rng=rng), nn.Tanh(), nn.Residual(nn.Linear(3, 3, rng=rng), nn.Tanh()))
        assert list(network.parameters) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]

    def test_a_residual_block_of_nothing_is_the_identity(self) -> None:
        inner = nn.Linear(3, 3, rng=np.random.default_rng(0))
        inner.parameters["weight"][...] = 0
        block, x = nn.Residual(inner), np.arange(6.0).reshape(2, 3)
        np.testing.assert_array_equal(block.forward(x), x)
        np.testing.assert_array_equal(block.backward(x), x)

    def test_without_parameters(self) -> None:
        network = nn.Network(nn.Tanh(), nn.ReLU())
        network.backward(network.forward(np.ones((2, 3))))
        assert network.get_vector().size == network.gradient_vector().size == network.num_parameters == 0
        assert network.output_jacobian(np.ones((2, 3))).shape == (2, 3, 0)

    def test_a_failed_load_changes_nothing(self) -> None:
        network = small()
        before, state = network.get_vector(), small(5).state_dict()
        state["2.bias"] = np.zeros(2)
        with pytest.raises(InvalidInputError, match=r"2.bias must have shape .*1.*got \(2,\)"):
            network.load_state_dict(state)
        np.testing.assert_array_equal(network.get_vector(), before)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("0.bias"), r"missing \['0.bias'\], unknown \[\]"),
            (lambda s: s.update({"4.weight": np.zeros(1)}), r"missing \[\], unknown \['4.weight'\]"),
            (lambda s: s.update({"0.bias": np.full(3, np.nan)}), "0.bias must be finite, got nan"),
            (lambda s: s.update({"0.bias": "three"}), "0.bias must be numbers, got 'three'"),
        ],
    )
    def test_load_errors(self, change: Callable[[dict], Any], message: str) -> None:
        state = small().state_dict()
        change(state)
        with pytest.raises(InvalidInputError, match=message):
            small().load_state_dict(state)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: nn.Network(), r"A network needs layers, got \[\]"),
            (lambda: nn.Network(nn.Tanh(), "relu"), r"got \['Tanh', 'str'\]"),
            (lambda: small().forward(np.ones((4, 3))), r"Linear needs x of shape \(batch, 2\), got \(4, 3\)"),
            (lambda: small().forward(np.ones(2)), r"\(batch, 2\), got \(2,\)"),
            (lambda: small().forward([[np.nan, 1.0]]), "x must be finite, got nan"),
            (lambda: small().forward([["a", "b"]]), "x must be numbers"),
            (lambda: small().backward(np.ones((1, 1))), "Linear.backward needs a forward pass first"),
            (lambda: nn.Tanh().backward(np.ones((1, 1))), "Tanh.backward needs a forward pass first"),
            (lambda: small().gradient_vector(), "needs a forward and a backward pass first"),
            (lambda: small().set_vector(np.ones(12)), r"vector must have shape .*13.*got \(12,\)"),
            (lambda: small().set_vector(np.full(13, np.inf)), "vector must be finite, got inf"),
            (lambda: small().load_state_dict([1]), "state must map names to arrays, got list"),
            (lambda: nn.mlp((3,), rng=np.random.default_rng(0)), r"the inputs and the outputs at least, got \[3\]"),
            (lambda: nn.mlp((3, 0), rng=np.random.default_rng(0)), r"num_outputs must be a whole number .* got 0"),
            (lambda: nn.Linear(2.5, 1, rng=np.random.default_rng(0)), "num_inputs must be a whole number .* got 2.5"),
            (lambda: nn.Linear(2, 1, rng=0), r"rng must be a numpy.random.Generator, .* got 0"),
        ],
    )
    def test_errors(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call()

    def test_a_gradient_of_the_wrong_shape(self) -> None:
        network = small()
        network.forward(np.ones((4, 2)))
        with pytest.raises(
            InvalidInputError, match=r"needs a gradient of shape \(4, 1\) like its output, got \(4, 2\)"
        ):
            network.backward(np.ones((4, 2)))

    def test_a_residual_block_must_keep_the_shape(self) -> None:
        block = nn.Residual(nn.Linear(3, 2, rng=np.random.default_rng(0)))
        with pytest.raises(InvalidInputError, match=r"must keep the shape, \(1, 3\) became \(1, 2\)"):
            block.forward(np.ones((1, 3)))

    def test_a_layer_twice_is_refused_also_inside_a_block(self) -> None:
        linear, tanh = nn.Linear(2, 2, rng=np.random.default_rng(0)), nn.Tanh()
        for layers in ((linear, tanh, nn.Residual(linear)), (tanh, linear, tanh)):
            with pytest.raises(InvalidInputError, match="once only"):
                nn.Network(*layers)

    def test_unknown_names_suggest_the_nearest(self) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(UnknownNameError, match=r"Unknown initialisation 'xaviar'\. Did you mean 'xavier'\?"):
            nn.Linear(2, 2, rng=rng, initialisation="xaviar")
        with pytest.raises(UnknownNameError, match=r"Unknown activation 'sigmoide'\. Did you mean 'sigmoid'\?"):
            nn.mlp((2, 2), "sigmoide", rng=rng)


class TestPredict:
    def test_equals_the_loop_over_rows(self) -> None:
        network, rng = small(), np.random.default_rng(0)
        network.set_vector(4 * network.get_vector())
        x, y = rng.normal(size=(50, 2)), rng.integers(2, size=(50, 1))
        for threshold in (0.3, 0.5, 0.8):
            labels, probabilities, accuracy = nn.predict(network, x, y, threshold=threshold)
            right = 0
            for i in range(50):
                probability = 1 / (1 + np.exp(-network.forward(x[i : i + 1])[0, 0]))
                assert probabilities[i, 0] == pytest.approx(probability, abs=1e-14)
                assert labels[i, 0] == (1 if probability >= threshold else 0)
                right += labels[i, 0] == y[i, 0]
            assert accuracy == right / 50
        assert 0 < labels.mean() < 1

    def test_without_labels_and_at_the_ends(self) -> None:
        x = np.random.default_rng(0).normal(size=(5, 2))
        assert nn.predict(small(), x).accuracy is None
        assert nn.predict(small(), x, threshold=0).labels.all()
        assert not nn.predict(small(), x, threshold=1).labels.any()

    def test_the_threshold_itself_counts_as_one(self) -> None:
        network = small()
        network.set_vector(np.zeros(13))
        assert nn.predict(network, [[1.0, 2.0]]).labels[0, 0] == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"threshold": 1.5}, r"threshold must be a number in \[0, 1\], got 1.5"),
            ({"threshold": np.nan}, "threshold .* got nan"),
            ({"x": np.ones((0, 2))}, "at least one row"),
            ({"y": np.ones(3)}, r"y must have shape \(3, 1\), got \(3,\)"),
            ({"y": np.full((3, 1), 2)}, "y must be labels 0 or 1, got 2.0"),
            ({"y": np.full((3, 1), np.nan)}, "y must be finite, got nan"),
        ],
    )
    def test_errors(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            nn.predict(small(), **({"x": np.ones((3, 2))} | options))
