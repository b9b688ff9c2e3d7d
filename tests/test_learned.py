from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm.errors import InvalidInputError
from planararm.projection.learned import LearnedPolytope, LearnedQP, polytope_support, spread_directions
from planararm.projection.learned_fit import fit
from planararm.projection.qp import INFEASIBLE, solve_qp
from planararm.projection.torch_layer import QPProjection

HEXAGON = (
    np.array([[1.0, 0.2], [0.1, 1.0], [-0.7, 0.8], [-1.0, -0.3], [-0.2, -1.0], [0.8, -0.6]]),
    np.array([3.2, 1.9, 0.3, -0.9, 0.4, 1.8]),
)
"""Six half-spaces around (2, 1): the origin is outside."""

BOX = (np.vstack([np.eye(3), -np.eye(3)]), np.array([2.0, 1.5, -0.5, -0.2, 0.7, 1.4]))
"""0.2 <= x <= 2, -0.7 <= y <= 1.5, -1.4 <= z <= -0.5."""


def pairs(hidden: tuple[np.ndarray, np.ndarray], seed: int, count: int = 2000) -> tuple[np.ndarray, np.ndarray, float]:
    """Points around a hidden polytope, their projections, and its width."""
    n = hidden[0].shape[1]
    ends = polytope_support(*hidden, np.vstack([np.eye(n), -np.eye(n)]))
    low, high = -ends[n:], ends[:n]
    raw = (low + high) / 2 + (high - low) * np.random.default_rng(seed).uniform(-1, 1, (count, n))
    return raw, solve_qp(raw, *hidden).x, float((high - low).max())


def errors(layer: LearnedPolytope, hidden: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Relative to the width: RMSE on fresh pairs, and the largest difference of the support in 64 directions."""
    raw, target, width = pairs(hidden, 99)
    answer = layer(torch.from_numpy(raw)).detach().numpy()
    directions = spread_directions(64, hidden[0].shape[1], seed=5)
    support = layer.support(directions) - polytope_support(*hidden, directions)
    return float(np.sqrt(((answer - target) ** 2).sum(-1).mean())) / width, float(np.abs(support).max()) / width


@pytest.mark.parametrize(("hidden", "num_rows"), [(HEXAGON, 12), (BOX, 16)])
@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_recovers_a_hidden_polytope_where_the_untrained_layer_fails(
    hidden: tuple[np.ndarray, np.ndarray], num_rows: int, unit: float
) -> None:
    hidden = (hidden[0], hidden[1] * unit)
    layer = LearnedPolytope(hidden[0].shape[1], num_rows)
    untrained = errors(layer, hidden)
    raw, target, _ = pairs(hidden, 0)
    layer.enclose(target)
    circumscribed = errors(layer, hidden)
    losses = fit(layer, raw, target, steps=250)
    trained = errors(layer, hidden)
    assert untrained[0] > 0.1
    assert untrained[1] > 0.2
    assert circumscribed[0] > 10 * trained[0], "training added nothing to the start"
    assert trained[0] < 1e-2
    assert trained[1] < 2e-2
    assert losses[-1] < 1e-4 * losses[0]


def test_noise_in_the_targets_is_averaged_out() -> None:
    raw, target, width = pairs(HEXAGON, 0)
    noise = 0.02 * width
    layer = LearnedPolytope(2, 12)
    fit(layer, raw, target + noise * np.random.default_rng(1).normal(size=target.shape), steps=250)
    rmse, support = errors(layer, HEXAGON)
    assert rmse < 0.01 < noise / width
    assert support < 0.02


class LectureQP(torch.nn.Module):
    """All coefficients small random numbers, without any tie between them; the input enters the objective."""

    def __init__(self, num_variables: int, num_rows: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)

        def small(*shape: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(1e-4 * torch.randn(*shape, generator=rng, dtype=torch.float64))

        self.P, self.q = small(num_variables, num_variables), small(num_variables)
        self.G, self.h = small(num_rows, num_variables), small(num_rows)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        H = self.P.T @ self.P + 1e-12 * torch.eye(len(self.q), dtype=torch.float64)
        return QPProjection()(z - torch.linalg.solve(H, self.q), self.G, self.h, H=H)


def test_small_random_coefficients_do_not_learn_it() -> None:
    raw, target, width = pairs(HEXAGON, 0, 500)
    before, after = torch.from_numpy(raw), torch.from_numpy(target)
    empty, best = 0, np.inf
    for seed in range(8):
        layer = LectureQP(2, 12, seed)
        start = [parameter.detach().clone() for parameter in layer.parameters()]
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            answer = layer(before)
            torch.autograd.backward(((answer - after) ** 2).sum(dim=1).mean())
            optimizer.step()
        rmse = float(((layer(before).detach() - after) ** 2).sum(dim=1).mean().sqrt()) / width
        best = min(best, np.nan_to_num(rmse, nan=np.inf))
        if torch.equal(layer.G, start[2]) and torch.isnan(answer).all():
            assert all(torch.equal(mine, first) for mine, first in zip(layer.parameters(), start, strict=True))
            empty += 1
    # Twelve half-spaces of random sign have a point in common in 2 % of all cases; an empty set has no gradient.
    assert empty >= 6
    assert best > 0.1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 20), st.integers(0, 4), st.sampled_from([0.1, 1.0, 30.0])
)
def test_well_posed_whatever_the_parameters_become(seed: int, n: int, m: int, p: int, spread: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    layer = LearnedQP(n, m, min(p, n - 1))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    G, h = layer.polytope.rows()
    z0 = layer.polytope.center
    # Softplus is never zero, but may be less than what h resolves.
    assert (G @ z0 <= h + 1e-15 * (1 + h.abs())).all()
    assert (G @ z0 < h).all() or spread > 1
    assert torch.linalg.eigvalsh(layer.metric()).min() >= layer.eps * (1 - 1e-6) - 1e-12 * layer.metric().norm()
    rows, sides = layer.rows()
    assert (rows @ z0 <= sides + 1e-9 * (1 + spread**2)).all()
    projected = layer.polytope(3 * torch.randn(20, n, generator=rng, dtype=torch.float64))
    assert torch.isfinite(projected).all()
    assert (projected @ G.T <= h + 1e-9 * (1 + h.abs())).all()


def test_learned_qp_solves_the_program_it_states() -> None:
    layer = LearnedQP(3, 8, 1, eps=0.1, seed=3)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    output = 2 * torch.randn(200, 3, generator=rng, dtype=torch.float64)
    z = layer(output).detach()
    P, (G, h) = layer.metric().detach(), layer.polytope.rows()
    A, z0, q = layer.equalities.detach(), layer.polytope.center.detach(), (layer.linear * layer.polytope.scale).detach()
    assert ((z - z0) @ A.T).abs().max() < 1e-10
    assert (z @ G.T - h).max() < 1e-10

    def cost(z: torch.Tensor) -> torch.Tensor:
        return ((z - output) @ P * (z - output)).sum(-1) / 2 + z @ q

    # No feasible step lowers the cost: towards other answers, which are feasible, and the set is convex.
    for share, shift in itertools.product((1e-3, 0.1, 1.0), range(1, 200, 7)):
        assert (cost(z + share * (z.roll(shift, 0) - z)) >= cost(z) - 1e-10).all()


@pytest.mark.parametrize("num_equalities", [0, 1])
def test_learned_qp_learns_metric_tilt_rows_and_equality(num_equalities: int) -> None:
    rng = np.random.default_rng(1)
    root = np.tril(0.3 * rng.normal(size=(3, 3))) + np.eye(3)
    P, q, A = root @ root.T, 0.5 * rng.normal(size=3), np.array([[0.6, 0.0, 0.8]])[:num_equalities]
    rows, sides = np.vstack([BOX[0], A, -A]), np.concatenate([BOX[1], *np.zeros((2, num_equalities))])
    center = np.array([1.1, 0.4, -0.9])

    def program(y: np.ndarray) -> np.ndarray:
        return solve_qp(y - np.linalg.solve(P, q), rows, sides, H=P).x

    raw = center + 2.5 * rng.uniform(-1, 1, (2000, 3))
    target = program(raw)
    layer = LearnedQP(3, 12, num_equalities)
    fit(layer, raw[:1000], target[:1000], steps=500)
    rmse = np.sqrt(((layer(torch.from_numpy(raw[1000:])).detach().numpy() - target[1000:]) ** 2).sum(-1).mean())
    assert rmse < 1e-2 * 2.2
    if not num_equalities:
        learned = layer.metric().detach().numpy()
        np.testing.assert_allclose(learned / learned.trace(), P / P.trace(), atol=0.02)


def test_gradients_reach_every_parameter_and_the_network() -> None:
    layer = LearnedQP(3, 10, 1, seed=1)
    network = torch.nn.Linear(4, 3)
    z = layer(3 * network(torch.randn(300, 4, generator=torch.Generator().manual_seed(0))))
    assert z.dtype == torch.float32
    z.square().sum().backward()
    for name, parameter in [*layer.named_parameters(), *network.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_same_seed_same_training_and_state_dict_round_trip() -> None:
    raw, target, _ = pairs(HEXAGON, 0, 200)
    seen: list[tuple[int, float]] = []
    layers = [LearnedPolytope(2, 8), LearnedPolytope(2, 8)]
    before = torch.random.get_rng_state()
    first = fit(layers[0], raw, target, steps=30, seed=4, progress=lambda step, loss: seen.append((step, loss)))
    second = fit(layers[1], raw, target, steps=30, seed=4)
    np.testing.assert_array_equal(first, second)
    assert seen == list(enumerate(first))
    assert torch.equal(before, torch.random.get_rng_state())
    copy = LearnedPolytope(2, 8, scale=7.0, seed=3)
    copy.load_state_dict(layers[0].state_dict())
    torch.testing.assert_close(copy(torch.from_numpy(raw)), layers[0](torch.from_numpy(raw)), rtol=0, atol=0)


def test_enclosing_rows_touch_the_points() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3)) + 5
    layer = LearnedPolytope(3, 9)
    layer.enclose(points)
    G, h = (part.detach().numpy() for part in layer.rows())
    np.testing.assert_allclose((points @ G.T).max(axis=0), h, atol=1e-12)
    layer.enclose(np.full((5, 3), 2.0))
    np.testing.assert_allclose(layer.center.detach(), [2.0, 2.0, 2.0])
    assert torch.isfinite(layer(torch.zeros(3, dtype=torch.float64))).all()


def test_a_cut_holds_the_target_and_stops_the_point() -> None:
    layer = LearnedPolytope(2, 4)
    raw, target = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.2], dtype=torch.float64)
    layer.cut(1, raw, target)
    torch.testing.assert_close(layer(raw), target)


@pytest.mark.parametrize(("num_directions", "num_variables"), [(1, 1), (2, 1), (12, 2), (20, 3), (40, 5)])
def test_directions_are_spread_evenly(num_directions: int, num_variables: int) -> None:
    directions = spread_directions(num_directions, num_variables)
    assert directions.shape == (num_directions, num_variables)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    if num_variables == 2:
        angles = np.sort(np.arctan2(directions[:, 1], directions[:, 0]))
        np.testing.assert_allclose(np.diff(angles), 2 * np.pi / num_directions, rtol=0.1)
    if num_directions >= 2 * num_variables:
        rng = np.random.default_rng(0)
        probes = rng.normal(size=(200, num_variables))
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        assert (probes @ directions.T).max(axis=1).min() > 0.3


def test_support_of_bounded_unbounded_and_empty_polytopes() -> None:
    np.testing.assert_allclose(polytope_support(*BOX, np.eye(3)), [2.0, 1.5, -0.5])
    assert polytope_support([[1.0, 0.0]], [2.0], [[1.0, 0.0], [0.0, 1.0]]).tolist() == [2.0, np.inf]
    assert polytope_support([[1.0], [-1.0]], [-1.0, -1.0], [[1.0]]).tolist() == [-np.inf]
    assert solve_qp([0.0], [[1.0], [-1.0]], [-1.0, -1.0]).status == INFEASIBLE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedPolytope(0, 3), r"num_variables must be a whole number in \[1, 10000\], got 0"),
        (lambda: LearnedPolytope(2, 1.5), r"num_rows must be a whole number in \[1, 10000\], got 1.5"),
        (lambda: LearnedPolytope(2, True), r"num_rows must be a whole number in \[1, 10000\], got True"),
        (lambda: LearnedPolytope(2, 3, scale=0.0), r"scale must be a number in \(0.0, .*, got 0.0"),
        (lambda: LearnedPolytope(2, 3, scale="1"), r"scale must be a number in \(0.0, .*, got '1'"),
        (lambda: LearnedQP(3, 4, 3), "num_equalities must be below num_variables = 3, got 3"),
        (lambda: LearnedQP(3, 4, -1), r"num_equalities must be a whole number in \[0, 10000\], got -1"),
        (lambda: LearnedQP(3, 4, eps=-1.0), r"eps must be a number in \(0.0, .*, got -1.0"),
        (lambda: LearnedPolytope(2, 3).enclose(np.zeros((0, 2))), "at least one point"),
        (lambda: LearnedPolytope(2, 3).enclose([[1.0, np.nan]]), "points must be finite"),
        (lambda: LearnedPolytope(2, 3).enclose(np.zeros((4, 3))), r"points must have shape \(\*batch, 2\)"),
        (lambda: LearnedPolytope(2, 3)(torch.zeros(4, 3)), "x_ref"),
        (lambda: fit(LearnedPolytope(2, 3), np.zeros((4, 2)), np.zeros((3, 2))), r"shape \(N, 2\), got \(4, 2\) and"),
        (lambda: fit(LearnedPolytope(2, 3), np.zeros((4, 2)), np.full((4, 2), np.inf)), "target must be finite"),
        (lambda: fit(LearnedPolytope(2, 3), np.zeros((0, 2)), np.zeros((0, 2))), "at least one point"),
        (lambda: fit(LearnedPolytope(2, 3), np.zeros((4, 2)), np.zeros((4, 2)), steps=0), "steps must be"),
        (lambda: fit(LearnedPolytope(2, 3), [[0, 0]], [[0, 0]], learning_rate=0), "learning_rate must be a number in"),
        (lambda: polytope_support([1.0, 2.0], [1.0], [[1.0]]), r"G must have shape \(m, n\), got \(2,\)"),
    ],
)
def test_what_is_refused(make, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()
