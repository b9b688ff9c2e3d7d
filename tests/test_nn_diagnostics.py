"""Gradient checks, vanishing gradients, validation, ensembles: each must tell the good case from the bad one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm import nn
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.nn.ensembles import angles_of
from planararm.nn.layers import ACTIVATIONS, Activation


def quadrants(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, and whether they are in the first or the third quadrant."""
    x = rng.uniform(-1, 1, size=(count, 2))
    return x, (x[:, :1] * x[:, 1:] > 0).astype(float)


def deep(activation: str, initialisation: str, skips: bool, depth: int, width: int, seed: int) -> nn.Network:
    """``depth`` linear layers from two inputs to one logit; the inner ones may be skipped over."""
    linear = functools.partial(nn.Linear, rng=np.random.default_rng(seed), initialisation=initialisation)
    layers: list[nn.Layer] = [linear(2, width), ACTIVATIONS[activation]()]
    for _ in range(depth - 2):
        block = [linear(width, width), ACTIVATIONS[activation]()]
        layers += [nn.Residual(*block)] if skips else block
    return nn.Network(*layers, linear(width, 1))


LOSSES: dict[str, tuple[Any, Callable[[np.random.Generator], Any]]] = {
    "squares": (nn.mean_squared_error, lambda rng: rng.normal(size=(6, 3))),
    "binary": (nn.binary_cross_entropy_with_logits, lambda rng: rng.integers(2, size=(6, 3)).astype(float)),
    "softmax": (nn.softmax_cross_entropy, lambda rng: rng.integers(3, size=6)),
}


class TestCheckGradients:
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
    def test_right_gradients(self, activation: str, loss: str) -> None:
        rng = np.random.default_rng(1)
        block = nn.Residual(nn.Linear(5, 5, rng=rng), ACTIVATIONS[activation]())
        network = nn.Network(nn.Linear(2, 5, rng=rng), block, nn.Linear(5, 3, rng=rng))
        before = network.get_vector()
        assert nn.check_gradients(network, LOSSES[loss][0], rng.normal(size=(6, 2)), LOSSES[loss][1](rng)) < 1e-7
        np.testing.assert_array_equal(network.get_vector(), before)

    def test_wrong_gradients(self) -> None:
        class Forgetful(nn.Tanh):
            def value_and_slope(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                y, _ = super().value_and_slope(x)
                return y, 1.0 - y

        rng = np.random.default_rng(0)
        network = nn.Network(nn.Linear(2, 5, rng=rng), Forgetful(), nn.Linear(5, 1, rng=rng))
        x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))
        assert nn.check_gradients(network, nn.mean_squared_error, x, y) > 1e-2
        right = nn.mlp((2, 5, 1), rng=rng)

        def half(prediction: Any, target: Any) -> tuple[float, np.ndarray]:
            value, grad = nn.mean_squared_error(prediction, target)
            return value, grad / 2

        assert nn.check_gradients(right, half, x, y) == pytest.approx(0.5, abs=1e-6)

    def test_an_error_puts_the_parameters_back(self) -> None:
        network, calls = nn.mlp((2, 3, 1), rng=np.random.default_rng(0)), []
        before = network.get_vector()

        def fragile(prediction: Any, target: Any) -> tuple[float, np.ndarray]:
            calls.append(1)
            return nn.mean_squared_error(prediction, target if len(calls) < 5 else [np.nan])

        with pytest.raises(InvalidInputError, match="target must be finite"):
            nn.check_gradients(network, fragile, np.ones((1, 2)), np.ones((1, 1)))
        np.testing.assert_array_equal(network.get_vector(), before)

    def test_nothing_to_check(self) -> None:
        with pytest.raises(InvalidInputError, match="a network with parameters"):
            nn.check_gradients(nn.Network(nn.Tanh()), nn.mean_squared_error, np.ones((1, 1)), np.ones((1, 1)))


class TestVanishingGradient:
    def ratio(self, activation: str, initialisation: str, skips: bool) -> float:
        """Gradient of the first layer over that of the last, ten layers of 32, median over ten seeds."""
        x, y = quadrants(np.random.default_rng(0), 200)
        ratios = []
        for seed in range(10):
            network = deep(activation, initialisation, skips, 10, 32, seed)
            network.backward(nn.binary_cross_entropy_with_logits(network.forward(x), y)[1])
            norms = nn.layer_gradient_norms(network)
            assert norms.shape == (10,)
            ratios.append(norms[0] / norms[-1])
        return float(np.median(ratios))

    def test_what_vanishes_and_what_does_not(self) -> None:
        assert self.ratio("sigmoid", "plain", False) < 1e-15
        assert self.ratio("sigmoid", "xavier", False) < 1e-4
        assert self.ratio("relu", "he", False) > 1e-1
        assert self.ratio("tanh", "xavier", False) > 1e-1

    def test_skips_bring_most_of_it_back(self) -> None:
        """Not all: the outputs of sigmoids add up along the skips, and with them the last layer's gradient."""
        assert self.ratio("sigmoid", "plain", True) > 1e12 * self.ratio("sigmoid", "plain", False)
        for initialisation in ("plain", "xavier"):
            assert self.ratio("sigmoid", initialisation, True) > 1e-4
        assert self.ratio("tanh", "xavier", True) > 1e-1

    def test_sigmoid_loses_at_least_three_quarters_per_layer_times_the_weights(self) -> None:
        network = deep("sigmoid", "xavier", False, 10, 32, 0)
        network.forward(quadrants(np.random.default_rng(0), 50)[0])
        grad = np.random.default_rng(1).normal(size=(50, 1))
        for layer in reversed(network.layers):
            grad, before = layer.backward(grad), grad
            most = 0.25 if isinstance(layer, nn.Sigmoid) else np.linalg.norm(layer.parameters["weight"], 2)
            assert np.linalg.norm(grad) <= most * np.linalg.norm(before) * (1 + 1e-12)

    def test_norms_need_a_backward_pass(self) -> None:
        network = nn.mlp((2, 3, 1), rng=np.random.default_rng(0))
        network.forward(np.ones((1, 2)))
        with pytest.raises(InvalidInputError, match="needs a forward and a backward pass first"):
            nn.layer_gradient_norms(network)

    @pytest.mark.parametrize(("activation", "initialisation"), [("sigmoid", "xavier"), ("relu", "plain")])
    def test_twenty_layers_train_with_skips_only(self, activation: str, initialisation: str) -> None:
        """Of 16 seeds all train with skips and none without; tanh with plain weights, 10 of 16 and none."""
        for seed in range(3):
            for skips in (False, True):
                rng = np.random.default_rng(seed)
                network, (x, y) = deep(activation, initialisation, skips, 20, 16, seed), quadrants(rng, 1000)
                nn.fit(
                    network, nn.binary_cross_entropy_with_logits, nn.Adam(network, 0.01), x, y, num_epochs=60,
                    batch_size=100, rng=rng,
                )  # fmt: skip
                accuracy = float(((network.forward(x) > 0) == y).mean())
                assert accuracy > 0.9 if skips else accuracy < 0.6


class TestSplits:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(2, 60), st.data())
    def test_k_folds_are_a_partition(self, count: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(2, count))
        folds = nn.k_fold_indices(count, k, rng=np.random.default_rng(data.draw(st.integers(0, 9))))
        assert len(folds) == k
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(count))
        for train, test in folds:
            assert sorted([*train, *test]) == list(range(count))
            assert count // k <= len(test) <= count // k + 1

    @settings(max_examples=30, deadline=None)
    @given(st.integers(7, 500), st.integers(0, 9))
    def test_split_is_a_partition(self, count: int, seed: int) -> None:
        parts = nn.split(count, rng=np.random.default_rng(seed))
        assert sorted(np.concatenate(parts)) == list(range(count))
        for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
            assert abs(len(part) - share * count) <= 1

    def test_seeded(self) -> None:
        first, second = (nn.split(100, rng=np.random.default_rng(3)) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda rng: nn.k_fold_indices(5, 6, rng=rng), r"k must be a whole number in \[2, 5\], got 6"),
            (lambda rng: nn.k_fold_indices(5, 1, rng=rng), r"k must be a whole number in \[2, 5\], got 1"),
            (lambda rng: nn.k_fold_indices(5, 2, rng=0), "rng must be a numpy.random.Generator"),
            (lambda rng: nn.split(0, rng=rng), "count must be a whole number .* got 0"),
            (lambda rng: nn.split(10, (0.5, 0.4), rng=rng), r"shares must be >= 0 and sum to one, got \(0.5, 0.4\)"),
            (lambda rng: nn.split(10, (1.5, -0.5), rng=rng), "shares must be >= 0 and sum to one"),
            (lambda rng: nn.split(10, (np.nan, 1.0), rng=rng), "shares must be finite, got nan"),
            (lambda rng: nn.split(3, rng=rng), "3 rows are too few for the shares"),
            (lambda rng: nn.cross_validate(cube, [1, 2], [1], rng=rng), r"as many rows, got shapes \(2,\) and \(1,\)"),
            (
                lambda rng: nn.cross_validate(lambda *_: 1.0, [1, 2], [1, 2], k=2, rng=rng),
                "score must return .* got 1.0",
            ),
            (
                lambda rng: nn.learning_curve(cube, [1, 2], [1, 2], [3], validation=([1], [1]), rng=rng),
                r"sizes must be a whole number in \[1, 2\], got 3",
            ),
        ],
    )
    def test_errors(self, call: Callable[[np.random.Generator], Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call(np.random.default_rng(0))


NOISE = 0.2


def wave(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A sine with noise: no straight line, and hardly more than a polynomial of degree five."""
    x = rng.uniform(-1, 1, size=count)
    return x, np.sin(np.pi * x) + NOISE * rng.normal(size=count)


def polynomial_score(degree: int, x: Any, y: Any, x_new: Any, y_new: Any) -> tuple[float, float]:
    fitted = np.polynomial.Legendre.fit(x, y, degree, domain=[-1, 1])
    return float(np.mean((fitted(x) - y) ** 2)), float(np.mean((fitted(x_new) - y_new) ** 2))


cube = functools.partial(polynomial_score, 3)


class TestBiasAndVariance:
    def curve(self, degree: int, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Errors on both sides, medians over 20 draws of the data."""
        errors = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            score = functools.partial(polynomial_score, degree)
            errors.append(nn.learning_curve(score, *wave(rng, 400), sizes, validation=wave(rng, 500), rng=rng))
        train, test = np.median(np.array(errors), axis=0)
        return train, test

    def test_a_line_has_bias(self) -> None:
        """Both errors meet, far above the noise: more data do not help."""
        train, test = self.curve(1, [20, 100, 400])
        assert train[-1] > 3 * NOISE**2
        assert test[-1] == pytest.approx(train[-1], rel=0.15)
        assert test[-1] > 0.8 * test[1]

    def test_a_high_degree_has_variance(self) -> None:
        """Far apart with few data, below and above the noise; both come to the noise with many."""
        train, test = self.curve(12, [20, 100, 400])
        assert train[0] < 0.7 * NOISE**2
        assert test[0] > 3 * NOISE**2
        assert (np.diff(test) < 0).all()
        assert (np.diff(train) > 0).all()
        assert test[-1] == pytest.approx(NOISE**2, rel=0.15)

    def test_cross_validation_picks_a_degree_between(self) -> None:
        rng = np.random.default_rng(0)
        x, y = wave(rng, 60)
        train, test = np.array(
            [
                [e.mean() for e in nn.cross_validate(functools.partial(polynomial_score, d), x, y, k=6, rng=rng)]
                for d in range(16)
            ]
        ).T
        assert 3 <= int(np.argmin(test)) <= 7
        assert int(np.argmin(train)) >= 14

    def test_cross_validation_equals_the_loop(self) -> None:
        x, y = wave(np.random.default_rng(0), 23)
        found = nn.cross_validate(cube, x, y, k=4, rng=np.random.default_rng(1))
        folds = nn.k_fold_indices(23, 4, rng=np.random.default_rng(1))
        expected = [cube(x[train], y[train], x[test], y[test]) for train, test in folds]
        np.testing.assert_array_equal(np.stack(found, axis=1), expected)

    def test_sets_of_the_learning_curve_are_nested(self) -> None:
        met: list[set[int]] = []

        def score(x: Any, y: Any, *_: Any) -> tuple[float, float]:
            np.testing.assert_array_equal(x, y)
            met.append(set(x.tolist()))
            return 0.0, 0.0

        rows = np.arange(30)
        nn.learning_curve(score, rows, rows, [3, 10, 30], validation=(rows, rows), rng=np.random.default_rng(0))
        assert [len(part) for part in met] == [3, 10, 30]
        assert met[0] < met[1] < met[2]


ANGLES = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


class TestDirections:
    def test_across_the_seam_the_mean_of_raw_angles_points_backwards(self) -> None:
        angles = np.radians([[179.0], [-179.0]])
        mean, spread = nn.directional_mean(angles)
        assert abs(angles.mean()) < 1e-12
        assert abs(mean[0]) == pytest.approx(np.pi)
        assert spread[0] == pytest.approx(1 - np.cos(np.radians(1)), abs=1e-12)

    @settings(max_examples=80, deadline=None)
    @given(ANGLES, st.floats(-10, 10), st.lists(st.integers(-2, 2), min_size=8, max_size=8))
    def test_whole_turns_do_not_matter_and_rotations_go_through(
        self, angles: list[float], by: float, turns: list[int]
    ) -> None:
        mean, spread = nn.directional_mean(angles)
        assert 0 <= spread <= 1
        assert -np.pi <= mean <= np.pi
        other = nn.directional_mean(np.array(angles) + by + 2 * np.pi * np.array(turns[: len(angles)]))
        assert other.spread == pytest.approx(spread, abs=1e-12)
        if spread < 1 - 1e-3:
            assert np.exp(1j * (other.mean - mean - by)) == pytest.approx(1.0, abs=1e-9)

    def test_spread(self) -> None:
        assert nn.directional_mean(np.full(5, 2.0)).spread == pytest.approx(0.0, abs=1e-15)
        assert nn.directional_mean([0.0, np.pi]).spread == pytest.approx(1.0)
        assert nn.directional_mean(2 * np.pi * np.arange(6) / 6).spread == pytest.approx(1.0)

    def test_angles_of_pairs_of_any_length(self) -> None:
        angles = np.random.default_rng(0).uniform(-np.pi, np.pi, size=(5, 3))
        length = np.random.default_rng(1).uniform(0.1, 4, size=(5, 3))
        pairs = np.concatenate([length * np.cos(angles), length * np.sin(angles)], axis=-1)
        np.testing.assert_allclose(angles_of(pairs), angles, atol=1e-14)


class TestEnsemble:
    def test_of_one_is_that_one(self) -> None:
        network = nn.mlp((2, 6, 3), rng=np.random.default_rng(0), initialisation="he")
        network.set_vector(10 * network.get_vector())
        x = np.random.default_rng(1).normal(size=(20, 2))
        q, spread = nn.Ensemble([network]).predict(x)
        np.testing.assert_allclose(q, network.forward(x), atol=1e-12)
        np.testing.assert_allclose(spread, 0.0, atol=1e-12)

    def test_the_mean_arm_points_where_the_members_links_point(self) -> None:
        answers = np.random.default_rng(0).uniform(-3, 3, size=(4, 50, 3))
        q, spread = nn.Ensemble([functools.partial(np.add, a) for a in answers]).predict(0.0)
        links = np.exp(1j * np.cumsum(answers, axis=-1)).mean(axis=0)
        np.testing.assert_allclose(np.exp(1j * np.cumsum(q, axis=-1)), links / abs(links), atol=1e-9)
        np.testing.assert_allclose(spread, (1 - abs(links)).max(axis=-1), atol=1e-12)

    def test_directions_and_angles_agree(self) -> None:
        answers = np.random.default_rng(0).uniform(-3, 3, size=(4, 10, 2))
        by_angle = nn.Ensemble([lambda x, a=a: a for a in answers]).predict(None)
        pairs = 2 * np.concatenate([np.cos(answers), np.sin(answers)], axis=-1)
        by_direction = nn.Ensemble([lambda x, p=p: p for p in pairs], outputs="directions").predict(None)
        for one, other in zip(by_direction, by_angle, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: nn.Ensemble([]), "at least one member"),
            (lambda: nn.Ensemble([3]), "a network or a function, got 3"),
            (lambda: nn.directional_mean(0.0), r"first axis of members, got shape \(\)"),
            (lambda: nn.directional_mean([np.nan]), "angles must be finite"),
            (lambda: angles_of([1.0, 0.0, 1.0]), r"\(\*batch, 2 n\), cosines then sines, got \(3,\)"),
            (lambda: angles_of([1.0, 0.0, 1.0, 0.0]), r"a pair \(0, 0\): it points nowhere"),
            (lambda: nn.Ensemble([lambda x: x, lambda x: x[:1]]).predict(np.ones((2, 1))), "must answer in one shape"),
            (lambda: nn.Ensemble([lambda x: x * np.nan]).predict(np.ones((2, 1))), "answer must be finite, got nan"),
        ],
    )
    def test_errors(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            call()

    def test_unknown_outputs(self) -> None:
        with pytest.raises(UnknownNameError, match=r"kind of outputs 'angle'\. Did you mean 'angles'\?"):
            nn.Ensemble([np.sin], outputs="angle")


@functools.cache
def compass(seed: int) -> dict[str, np.ndarray]:
    """Five networks that learn the heading of a point, which jumps at the seam and is undefined at the center."""
    x = np.random.default_rng([seed, 0]).uniform(-1, 1, size=(150, 2))
    networks = []
    for member in range(5):
        rng = np.random.default_rng([seed, 1, member])
        chosen = x[rng.integers(len(x), size=len(x))]
        y = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
        network = nn.mlp((2, 16, 2), rng=rng)
        nn.fit(network, nn.mean_squared_error, nn.Adam(network, 0.02), chosen, y, num_epochs=60, batch_size=30, rng=rng)
        networks.append(network)
    new = np.random.default_rng([seed, 2]).uniform(-1, 1, size=(3000, 2))
    ensemble = nn.Ensemble(networks, outputs="directions")
    answers, (mean, spread) = ensemble.answers(new)[..., 0], ensemble.predict(new)
    truth = np.arctan2(new[:, 1], new[:, 0])

    def off(angle: np.ndarray) -> np.ndarray:
        return np.abs(np.angle(np.exp(1j * (angle - truth))))

    return {
        "distance": np.linalg.norm(new, axis=1), "spread": spread, "members": off(answers), "mean": off(mean[:, 0]),
        "raw": off(answers.mean(axis=0)),
    }  # fmt: skip


class TestEnsembleOfTrainedNetworks:
    @pytest.mark.parametrize("seed", range(4))
    def test_the_mean_is_better_than_the_average_member_and_than_raw_angles(self, seed: int) -> None:
        found = compass(seed)
        assert found["mean"].mean() < 0.9 * found["members"].mean()
        assert found["mean"].mean() < 0.9 * found["raw"].mean()

    def test_raw_angles_are_wrong_at_the_seam(self) -> None:
        """Where k of 5 members are a turn away, the mean of raw angles is off by 2 pi k / 5; the direction is not."""
        found = compass(0)
        seam = (found["distance"] > 0.5) & (found["raw"] > 1.0)
        assert seam.sum() > 10
        assert found["raw"][seam].max() == pytest.approx(2 * np.pi * 2 / 5, abs=0.3)
        assert found["mean"][seam].max() < 0.3

    def test_the_spread_tells_where_the_errors_are(self) -> None:
        """Median over data sets: the correlation of one alone was between 0.1 and 0.8, as members share errors too."""
        found = [compass(seed) for seed in range(8)]
        assert np.median([np.corrcoef(one["spread"], one["mean"])[0, 1] for one in found]) > 0.5
        for one in found:
            near, far = one["distance"] < 0.1, one["distance"] > 0.5
            assert one["spread"][near].mean() > 10 * one["spread"][far].mean()


def test_activations_need_their_two_formulas() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Activation()
