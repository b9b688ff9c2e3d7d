"""Optimisers step by step against PyTorch; schedules; training, its reproduction and its errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from planararm import nn
from planararm.errors import InvalidInputError

MakeOptimiser = Callable[[nn.Network], Any]

OPTIMISERS: dict[str, tuple[MakeOptimiser, Callable[[Any], torch.optim.Optimizer]]] = {
    "gradient descent": (lambda n: nn.GradientDescent(n, 0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (lambda n: nn.GradientDescent(n, 0.05, 0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "Adam": (lambda n: nn.Adam(n, 0.02), lambda p: torch.optim.Adam(p, lr=0.02)),
    "Adam, other options": (
        lambda n: nn.Adam(n, 0.01, (0.5, 0.9), 1e-4),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.9), eps=1e-4),
    ),
}


def toy(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A smooth map from two numbers to one."""
    x = np.random.default_rng(seed).uniform(-1, 1, size=(count, 2))
    return x, np.sin(2 * x[:, :1]) * x[:, 1:]


def new_network(seed: int = 0) -> nn.Network:
    return nn.mlp((2, 8, 1), "tanh", rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_equal_torch(name: str) -> None:
    network, (x, y) = new_network(), toy()
    module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    module.load_state_dict({key: torch.tensor(value) for key, value in network.parameters.items()})
    ours, theirs = OPTIMISERS[name][0](network), OPTIMISERS[name][1](module.parameters())
    for step in range(60):
        if step == 40:
            ours.learning_rate /= 10
            theirs.param_groups[0]["lr"] /= 10
        network.backward(nn.mean_squared_error(network.forward(x), y)[1])
        ours.step()
        theirs.zero_grad()
        torch.nn.functional.mse_loss(module(torch.tensor(x)), torch.tensor(y)).backward()
        theirs.step()
        for key, value in module.named_parameters():
            np.testing.assert_allclose(network.parameters[key], value.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_factor_counts_for_one_step_only(name: str) -> None:
    (x, y), results = toy(), []
    for by_factor in (True, False):
        network = new_network()
        optimiser = OPTIMISERS[name][0](network)
        rate = optimiser.learning_rate
        for factor in (1.0, 0.25, 0.0, 0.5):
            network.backward(nn.mean_squared_error(network.forward(x), y)[1])
            if by_factor:
                optimiser.step(factor)
                assert optimiser.learning_rate == rate
            elif factor:
                optimiser.learning_rate = rate * factor
                optimiser.step()
            else:
                before = network.get_vector()
                optimiser.step(0.0)
                np.testing.assert_array_equal(network.get_vector(), before)
        results.append(network.get_vector())
    np.testing.assert_array_equal(*results)


class TestOptimiserErrors:
    @pytest.mark.parametrize("rate", [0.0, -0.1, math.nan, math.inf, "fast", True])
    def test_learning_rate(self, rate: Any) -> None:
        for make in (nn.GradientDescent, nn.Adam):
            with pytest.raises(InvalidInputError, match=r"learning_rate must be a number in \(0.0, 1000000.0\], got "):
                make(new_network(), rate)
        optimiser = nn.Adam(new_network())
        with pytest.raises(InvalidInputError, match="learning_rate must be a number"):
            optimiser.learning_rate = rate

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda n: nn.GradientDescent(n, 0.1, 1.0), r"momentum must be a number in \[0, 1\), got 1.0"),
            (lambda n: nn.GradientDescent(n, 0.1, -0.5), "momentum .* got -0.5"),
            (lambda n: nn.Adam(n, betas=(0.9, 1.0)), r"betas\[1\] must be a number in \[0, 1\), got 1.0"),
            (lambda n: nn.Adam(n, epsilon=0.0), "epsilon must be a number"),
            (lambda n: nn.Adam(n.layers[0]), "needs a Network, got Linear"),
            (lambda n: nn.Adam(n).step(), "step needs a forward and a backward pass first"),
            (lambda n: nn.Adam(n).load_state_dict(3), "state must map names to values, got int"),
        ],
    )
    def test_options(self, call: Callable[[nn.Network], Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call(new_network())

    @pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf])
    def test_factor(self, factor: float) -> None:
        network = new_network()
        network.backward(network.forward(np.ones((1, 2))))
        with pytest.raises(InvalidInputError, match="factor must be a number >= 0, got"):
            nn.Adam(network).step(factor)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("mean.0.bias"), r"fit this Adam: missing \['mean.0.bias'\], unknown \[\]"),
            (lambda s: s.update({"velocity.0.bias": 0}), r"missing \[\], unknown \['velocity.0.bias'\]"),
            (lambda s: s.update({"mean.0.bias": np.ones(2)}), r"mean.0.bias must have shape .*8.*got \(2,\)"),
            (lambda s: s.update({"square.2.bias": np.array([np.nan])}), "square.2.bias must be finite, got nan"),
            (lambda s: s.update(num_steps=-1), "num_steps must be a whole number .* got -1"),
            (lambda s: s.update(learning_rate=0.0), "learning_rate must be a number .* got 0.0"),
        ],
    )
    def test_a_state_that_does_not_fit_changes_nothing(self, change: Callable[[dict], Any], message: str) -> None:
        network = new_network()
        optimiser = nn.Adam(network)
        network.backward(network.forward(np.ones((1, 2))))
        optimiser.step()
        before, state = optimiser.state_dict(), optimiser.state_dict()
        state["mean.0.weight"] = state["mean.0.weight"] + 1
        change(state)
        with pytest.raises(InvalidInputError, match=message):
            optimiser.load_state_dict(state)
        for key, value in optimiser.state_dict().items():
            np.testing.assert_array_equal(value, before[key])


class TestSchedules:
    def test_shapes(self) -> None:
        assert [nn.constant()(step) for step in (0, 9)] == [1.0, 1.0]
        assert [nn.step_decay(3, 0.1)(step) for step in (0, 2, 3, 6)] == pytest.approx([1.0, 1.0, 0.1, 0.01])
        cosine = nn.cosine(100, last=0.1)
        assert [cosine(step) for step in (0, 50, 100, 500)] == pytest.approx([1.0, 0.55, 0.1, 0.1])

    def test_one_cycle_equals_torch(self) -> None:
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        # Torch's peak is at pct_start * total_steps - 1, its end at total_steps - 1.
        theirs = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, 1.0, total_steps=101, pct_start=0.3, div_factor=25.0, final_div_factor=400.0
        )
        ours, rates = nn.one_cycle(100, warm_up=(0.3 * 101 - 1) / 100, first=0.04, last=1e-4), []
        for _ in range(101):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            if len(rates) < 101:
                theirs.step()
        assert [ours(step) for step in range(101)] == pytest.approx(rates, abs=1e-12)

    def test_one_cycle_rises_then_falls(self) -> None:
        for warm_up in (0.3, 1.0):
            factors = [nn.one_cycle(200, warm_up=warm_up)(step) for step in range(201)]
            top = int(200 * warm_up)
            assert factors[0] == pytest.approx(0.04)
            assert max(factors[: top + 1]) == pytest.approx(factors[min(top, 199)], abs=1e-3)
            assert (np.diff(factors[:top]) > 0).all()
            assert (np.diff(factors[top:]) < 0).all()
            assert factors[200] == pytest.approx(1e-4)

    @pytest.mark.parametrize(
        "call",
        [lambda: nn.cosine(0), lambda: nn.one_cycle(10, warm_up=0.0), lambda: nn.step_decay(5, 2.0)],
    )
    def test_errors(self, call: Callable[[], Any]) -> None:
        with pytest.raises(InvalidInputError, match=r"must be a (whole )?number in"):
            call()


class TestFit:
    def test_learns_and_the_history_is_complete(self) -> None:
        network, (x, y) = new_network(), toy()
        seen = []
        history = nn.fit(
            network, nn.mean_squared_error, nn.Adam(network, 0.02), x, y, num_epochs=200, batch_size=10,
            rng=np.random.default_rng(0), schedule=nn.cosine(800), watch_gradients=True,
            progress=lambda epoch, so_far: seen.append((epoch, so_far.train_loss[-1])),
        )  # fmt: skip
        assert history.train_loss[-1] < 0.01 * history.train_loss[0]
        assert seen == list(enumerate(history.train_loss))
        assert history.learning_rate[0] == pytest.approx(0.02, rel=1e-3)
        assert history.learning_rate[-1] == pytest.approx(0.02 * nn.cosine(800)(799))
        assert np.shape(history.gradient_norms) == (200, 2)
        assert history.validation_loss == []
        assert history.best_epoch == 199
        assert not history.stopped_early

    def test_full_batches_are_gradient_descent_by_hand(self) -> None:
        (x, y), network, by_hand = toy(), new_network(), new_network()
        nn.fit(network, nn.mean_squared_error, nn.GradientDescent(network, 0.1), x, y, num_epochs=20)
        for _ in range(20):
            by_hand.backward(nn.mean_squared_error(by_hand.forward(x), y)[1])
            for name, value in by_hand.parameters.items():
                value -= 0.1 * by_hand.gradients[name]
        np.testing.assert_array_equal(network.get_vector(), by_hand.get_vector())

    def test_every_row_is_met_once_an_epoch(self) -> None:
        network, (x, y), met = new_network(), toy(count=23), []

        def loss(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
            met.append(target.ravel().tolist())
            return nn.mean_squared_error(prediction, target)

        nn.fit(
            network, loss, nn.Adam(network), x, y, num_epochs=2, batch_size=5, rng=np.random.default_rng(0)
        )  # fmt: skip
        assert [len(batch) for batch in met] == [5, 5, 5, 5, 3] * 2
        first, second = ([row for batch in part for row in batch] for part in (met[:5], met[5:]))
        assert sorted(first) == sorted(second) == sorted(y.ravel().tolist())
        assert first != second

    def test_same_seed_same_result_to_the_bit(self) -> None:
        (x, y), results = toy(), []
        for seed in (3, 3, 4):
            network = new_network()
            history = nn.fit(
                network, nn.mean_squared_error, nn.Adam(network), x, y, num_epochs=5, batch_size=7,
                rng=np.random.default_rng(seed), validation=toy(1),
            )  # fmt: skip
            results.append((network.get_vector(), history.train_loss, history.validation_loss))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert results[0][1:] == results[1][1:]
        assert (results[0][0] != results[2][0]).any()

    @pytest.mark.parametrize("name", OPTIMISERS)
    def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(self, name: str) -> None:
        x, y = toy()

        def go_on(network: nn.Network, optimiser: Any, rng: np.random.Generator, epochs: int, **more: Any) -> list:
            return nn.fit(
                network, nn.mean_squared_error, optimiser, x, y, num_epochs=epochs, batch_size=7, rng=rng,
                schedule=nn.one_cycle(60), **more,
            ).train_loss  # fmt: skip

        whole, rng = new_network(), np.random.default_rng(5)
        losses = go_on(whole, OPTIMISERS[name][0](whole), rng, 10)

        first, rng, kept = new_network(), np.random.default_rng(5), {}
        optimiser = OPTIMISERS[name][0](first)

        def interrupt(epoch: int, history: nn.History) -> None:
            if epoch == 3:
                kept.update(
                    network=first.state_dict(), optimiser=optimiser.state_dict(), rng=rng.bit_generator.state,
                    losses=history.train_loss,
                )  # fmt: skip
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            go_on(first, optimiser, rng, 10, progress=interrupt)
        second, rng = new_network(99), np.random.default_rng()
        second.load_state_dict(kept["network"])
        optimiser = OPTIMISERS[name][0](second)
        optimiser.load_state_dict(kept["optimiser"])
        rng.bit_generator.state = kept["rng"]
        rest = go_on(second, optimiser, rng, 6)
        assert kept["losses"] + rest == losses
        np.testing.assert_array_equal(second.get_vector(), whole.get_vector())

    def test_early_stopping_restores_the_best_parameters(self) -> None:
        rng = np.random.default_rng(0)
        x, y = toy(count=12)
        noisy, (x_new, y_new) = y + rng.normal(size=y.shape), toy(1, 200)
        network, vectors = nn.mlp((2, 40, 1), rng=rng), []
        history = nn.fit(
            network, nn.mean_squared_error, nn.Adam(network, 0.02), x, noisy, num_epochs=2000,
            validation=(x_new, y_new), patience=30, progress=lambda epoch, _: vectors.append(network.get_vector()),
        )  # fmt: skip
        losses = history.validation_loss
        assert history.stopped_early
        assert history.best_epoch == int(np.argmin(losses))
        assert len(losses) == history.best_epoch + 31
        np.testing.assert_array_equal(network.get_vector(), vectors[history.best_epoch])
        assert nn.mean_squared_error(network.forward(x_new), y_new)[0] == min(losses)

    def test_interrupted_with_validation_it_ends_with_the_best_so_far(self) -> None:
        network, (x, y), vectors = new_network(), toy(), []

        def interrupt(epoch: int, history: nn.History) -> None:
            vectors.append(network.get_vector())
            if epoch == 5:
                network.set_vector(np.full(network.num_parameters, 7.0))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            nn.fit(
                network, nn.mean_squared_error, nn.GradientDescent(network, 0.05), x, y, num_epochs=10,
                validation=toy(1), progress=interrupt,
            )  # fmt: skip
        assert any((network.get_vector() == vector).all() for vector in vectors)

    def test_no_epochs_change_nothing(self) -> None:
        network = new_network()
        before = network.get_vector()
        history = nn.fit(network, nn.mean_squared_error, nn.Adam(network), *toy(), num_epochs=0, validation=toy())
        np.testing.assert_array_equal(network.get_vector(), before)
        assert history == nn.History()

    @pytest.mark.parametrize("rate", [10.0, 1e6])
    def test_divergence_says_what_to_do(self, rate: float) -> None:
        rng, (x, y) = np.random.default_rng(0), toy()
        network = nn.Network(nn.Linear(2, 8, rng=rng), nn.ReLU(), nn.Linear(8, 1, rng=rng))
        with pytest.raises(InvalidInputError, match=rf"diverged: .* rate below {re.escape(f'{rate:g}')} may help"):
            nn.fit(
                network, nn.mean_squared_error, nn.GradientDescent(network, rate), 100 * x, y, num_epochs=200
            )  # fmt: skip

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_loss_that_is_not_finite(self, bad: float) -> None:
        network = new_network()
        before = network.get_vector()
        with pytest.raises(InvalidInputError, match=f"Training diverged: the loss became {bad} after 0 steps"):
            nn.fit(network, lambda p, t: (bad, np.zeros_like(p)), nn.Adam(network), *toy(), num_epochs=1)
        with pytest.raises(InvalidInputError, match=r"the gradient became (nan|inf) after 0 steps"):
            nn.fit(network, lambda p, t: (1.0, np.full_like(p, bad)), nn.Adam(network), *toy(), num_epochs=1)
        np.testing.assert_array_equal(network.get_vector(), before)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": 0}, r"batch_size must be a whole number in \[1, .* got 0"),
            ({"batch_size": 2.0}, "batch_size must be a whole number .* got 2.0"),
            ({"batch_size": 4}, "batch_size needs rng"),
            ({"batch_size": 4, "rng": 3}, "rng must be a numpy.random.Generator, .* got 3"),
            ({"num_epochs": -1}, "num_epochs must be a whole number .* got -1"),
            ({"patience": 0, "validation": toy()}, "patience must be a whole number .* got 0"),
            ({"patience": 3}, r"patience needs validation=\(x, y\)"),
            ({"x": np.ones((3, 2))}, r"x must be \(N, inputs\) .* got \(3, 2\) and \(40, 1\)"),
            ({"x": np.ones(40)}, r"got \(40,\) and \(40, 1\)"),
            ({"x": np.full((40, 2), np.nan)}, "x must be finite, got nan"),
            ({"x": np.ones((0, 2)), "y": np.ones((0, 1))}, "N > 0"),
            ({"y": np.full((40, 1), np.nan)}, "target must be finite, got nan"),
            ({"x": np.ones((40, 3))}, r"Linear needs x of shape \(batch, 2\), got \(40, 3\)"),
            ({"validation": (np.ones((3, 2)), np.ones((2, 1)))}, r"validation must be \(N, inputs\) .* got \(3, 2\)"),
            ({"optimiser": nn.Adam(new_network())}, "optimiser must be that of the network"),
        ],
    )
    def test_errors(self, options: dict[str, Any], message: str) -> None:
        network, (x, y) = new_network(), toy()
        given = {"x": x, "y": y, "optimiser": nn.Adam(network), "num_epochs": 1} | options
        with pytest.raises(InvalidInputError, match=message):
            nn.fit(network, nn.mean_squared_error, **given)
