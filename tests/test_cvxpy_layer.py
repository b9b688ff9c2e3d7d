from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import quadprog
import torch

from planararm.errors import InvalidInputError
from planararm.projection.cvxpy_layer import CvxpyProjection, projection_problem
from planararm.projection.torch_layer import QPProjection

# cvxpylayers 1.2.0 converts torch tensors by np.array, which NumPy 2 remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

Problem = dict[str, Any]


def random_problems(rng: np.random.Generator, count: int, n: int, m: int, metric: bool = False) -> Problem:
    """Feasible problems; most have active rows."""
    inside = rng.uniform(-1, 1, (count, n))
    G = rng.normal(size=(count, m, n))
    h = (G @ inside[..., None])[..., 0] + rng.exponential(0.3, (count, m))
    x_ref = rng.choice([0.1, 2.5], (count, 1)) * rng.normal(size=(count, n))
    problem = {
        "x_ref": x_ref, "G": G, "h": h, "lb": np.full((count, n), -1.4), "ub": np.full((count, n), 1.4),
    }  # fmt: skip
    if metric:
        root = rng.normal(size=(count, n, n))
        problem["H"] = root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(n)
    return problem


def tensors(problem: Problem, **options: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, **options) for name, value in problem.items()}


def by_quadprog(problem: Problem, i: int) -> np.ndarray:
    x_ref, G, h, lb, ub = (problem[name][i] for name in ("x_ref", "G", "h", "lb", "ub"))
    n = len(x_ref)
    H = problem["H"][i] if "H" in problem else np.eye(n)
    rows, sides = np.vstack([G, -np.eye(n), np.eye(n)]), np.concatenate([h, -lb, ub])
    acts = np.isfinite(sides)
    return quadprog.solve_qp(H, H @ x_ref, -rows[acts].T, -sides[acts])[0]


def gradients(layer: torch.nn.Module, problem: Problem, weight: np.ndarray) -> dict[str, np.ndarray]:
    given = tensors(problem, requires_grad=True)
    x = layer(**given)
    (x * torch.tensor(weight))[~torch.isnan(x)].sum().backward()
    return {name: tensor.grad.numpy() for name, tensor in given.items()}


@pytest.mark.parametrize(
    ("n", "m", "metric"), [(1, 2, False), (3, 9, False), (3, 9, True), (6, 15, False), (2, 0, True)]
)
def test_equals_quadprog(n: int, m: int, metric: bool) -> None:
    rng = np.random.default_rng([n, m])
    problem = random_problems(rng, 12, n, m, metric)
    with torch.no_grad():
        x = CvxpyProjection()(**tensors(problem)).numpy()
    for i in range(12):
        np.testing.assert_allclose(x[i], by_quadprog(problem, i), atol=1e-8)


@pytest.mark.parametrize("elastic", [None, 0.3])
@pytest.mark.parametrize("metric", [False, True])
def test_gradients_equal_central_differences(elastic: float | None, metric: bool) -> None:
    rng = np.random.default_rng(11)
    problem = random_problems(rng, 3, 2, 3, metric)
    if elastic is not None:
        problem["h"][0] -= 1.5
    weight = rng.normal(size=(3, 2))
    layer = CvxpyProjection(elastic)
    found = gradients(layer, problem, weight)

    def value(**changed: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return (layer(**tensors(problem | changed)).numpy() * weight).sum(axis=1)

    step = 1e-4
    for name in problem:
        for index in np.ndindex(problem[name].shape[1:]):
            change = np.zeros(problem[name].shape)
            change[(slice(None), *index)] = step / 2
            if name == "H":
                change += np.swapaxes(change, -1, -2)
            else:
                change *= 2
            slope = (value(**{name: problem[name] + change}) - value(**{name: problem[name] - change})) / (2 * step)
            np.testing.assert_allclose(found[name][(slice(None), *index)], slope, atol=1e-6, err_msg=f"{name} {index}")


def test_box_is_a_clamp_and_its_gradient_that_of_a_clamp() -> None:
    rng = np.random.default_rng(0)
    x_ref = torch.tensor(3 * rng.normal(size=(20, 3)), requires_grad=True)
    low, high = torch.tensor([-1.0, -2.0, -np.inf]).double(), torch.tensor([1.0, np.inf, 0.5]).double()
    x = CvxpyProjection()(x_ref, torch.zeros(0, 3).double(), torch.zeros(0).double(), low, high)
    weight = torch.tensor(rng.normal(size=(20, 3)))
    (found,) = torch.autograd.grad((x * weight).sum(), x_ref)
    clamped = torch.minimum(torch.maximum(x_ref, low), high)
    (expected,) = torch.autograd.grad((clamped * weight).sum(), x_ref)
    torch.testing.assert_close(x, clamped, atol=1e-9, rtol=0)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


def test_one_half_space_in_closed_form() -> None:
    x_ref = torch.tensor([[2.0, 1.0], [-3.0, 0.5]], dtype=torch.float64, requires_grad=True)
    g = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    x = CvxpyProjection()(x_ref, g, torch.tensor([1.0]).double())
    expected = x_ref - torch.relu(x_ref @ g.T - 1.0) * g
    torch.testing.assert_close(x, expected, atol=1e-9, rtol=0)
    jacobian = torch.autograd.grad(x[0].sum(), x_ref)[0][0]
    torch.testing.assert_close(jacobian, torch.ones(2).double() - g.sum() * g[0], atol=1e-8, rtol=0)


@pytest.mark.parametrize(("elastic", "metric"), [(None, False), (None, True), (0.4, False), (0.4, True)])
def test_agrees_with_the_fast_layer_on_random_problems(elastic: float | None, metric: bool) -> None:
    rng = np.random.default_rng([5, int(metric), 0 if elastic is None else 1])
    problem = random_problems(rng, 50, 3, 7, metric)
    problem["lb"][rng.random((50, 3)) < 0.2] = -np.inf
    problem["h"][::10, 2] = np.inf
    if elastic is not None:
        problem["h"][::4] -= 1.0
    weight = rng.normal(size=(50, 3))
    reference, fast = CvxpyProjection(elastic), QPProjection(elastic)
    torch.testing.assert_close(reference(**tensors(problem)), fast(**tensors(problem)), atol=1e-6, rtol=0)
    expected, found = gradients(reference, problem, weight), gradients(fast, problem, weight)
    for name in problem:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)


def test_shared_arguments_get_the_sum_of_their_gradients() -> None:
    rng = np.random.default_rng(3)
    one = {name: value[0] for name, value in random_problems(rng, 1, 3, 4, metric=True).items()}
    shared = one | {"x_ref": 2 * rng.normal(size=(2, 3, 3)), "h": np.abs(rng.normal(size=(3, 4)))}
    each = {
        name: np.broadcast_to(value, (2, 3, *value.shape[-2 if name in "GH" else -1 :])).copy()
        for name, value in shared.items()
    }
    weight = rng.normal(size=(2, 3, 3))
    layer = CvxpyProjection()
    torch.testing.assert_close(layer(**tensors(shared)), layer(**tensors(each)), atol=1e-9, rtol=0)
    found, parts = gradients(layer, shared, weight), gradients(layer, each, weight)
    for name in shared:
        extra = parts[name].ndim - found[name].ndim
        np.testing.assert_allclose(found[name], parts[name].sum(axis=tuple(range(extra))), atol=1e-8, err_msg=name)


def test_infeasible_elements_leave_the_others_alone() -> None:
    rng = np.random.default_rng(5)
    problem = random_problems(rng, 6, 3, 5)
    layer, weight = CvxpyProjection(), rng.normal(size=(6, 3))
    alone, alone_gradients = layer(**tensors(problem)).numpy(), gradients(layer, problem, weight)
    problem["h"][1], problem["h"][4, 2] = -50.0, -np.inf
    problem["ub"][2, 0] = problem["lb"][2, 0] = -np.inf
    x, found = layer(**tensors(problem)).numpy(), gradients(layer, problem, weight)
    good, bad = [0, 3, 5], [1, 2, 4]
    np.testing.assert_allclose(x[good], alone[good], atol=1e-9)
    assert np.isnan(x[bad]).all()
    for name, value in found.items():
        assert not value[bad].any()
        np.testing.assert_allclose(value[good], alone_gradients[name][good], atol=1e-8)
    soft = CvxpyProjection(elastic=10.0)(**tensors(problem | {"h": np.full((6, 5), -50.0), "ub": np.full((6, 3), 1.4)}))
    assert torch.isfinite(soft).all()


def test_batches_of_none_of_one_and_without_an_axis() -> None:
    problem = random_problems(np.random.default_rng(2), 1, 3, 4)
    layer = CvxpyProjection()
    expected = by_quadprog(problem, 0)
    single = layer(**tensors({name: value[0] for name, value in problem.items()}))
    assert single.shape == (3,)
    np.testing.assert_allclose(single, expected, atol=1e-8)
    np.testing.assert_allclose(layer(**tensors(problem)), expected[None], atol=1e-8)
    given = tensors({"x_ref": np.zeros((2, 0, 3)), "G": problem["G"][0], "h": problem["h"][0]}, requires_grad=True)
    nothing = layer(**given)
    assert nothing.shape == (2, 0, 3)
    nothing.sum().backward()
    assert given["G"].grad is not None
    assert not given["G"].grad.any()
    free = layer(torch.ones(2, 3).double(), torch.zeros(0, 3).double(), torch.zeros(0).double())
    torch.testing.assert_close(free, torch.ones(2, 3).double(), atol=1e-9, rtol=0)


def test_single_precision_and_scattered_memory() -> None:
    problem = random_problems(np.random.default_rng(8), 5, 3, 4)
    expected = CvxpyProjection()(**tensors(problem))
    given = tensors(problem, dtype=torch.float32)
    given["x_ref"].requires_grad_()
    x = CvxpyProjection()(**given)
    assert x.dtype == torch.float32
    x.sum().backward()
    assert given["x_ref"].grad.dtype == torch.float32
    torch.testing.assert_close(x.double(), expected, atol=1e-5, rtol=0)
    scattered = {
        name: value.mT.contiguous().mT if value.ndim > 1 else value for name, value in tensors(problem).items()
    }
    assert not scattered["G"].is_contiguous()
    torch.testing.assert_close(CvxpyProjection()(**scattered), expected, atol=1e-9, rtol=0)


def test_trains_a_network_through_the_layer() -> None:
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 2)
    layer = CvxpyProjection()
    rows = functools.partial(layer, G=torch.tensor([[1.0, 1.0]]), h=torch.tensor([0.5]))
    target = torch.tensor([[0.4, -0.3], [-0.2, 0.3]])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = ((rows(network(torch.eye(2))) - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_the_problem_is_disciplined_and_names_its_parameters() -> None:
    problem, parameters, x = projection_problem(
        3,
        2,
        bounded_below=np.array([True, False, True]),
        bounded_above=np.zeros(3, dtype=bool),
        metric=True,
        elastic=2.0,
    )
    assert problem.is_dpp()
    assert [(name, value.shape) for name, value in parameters.items()] == [
        ("target", (3,)), ("root", (3, 3)), ("G", (2, 3)), ("h", (2,)), ("lb", (2,)),
    ]  # fmt: skip
    assert x.shape == (3,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_ref": [0.0, 0.0]}, "x_ref must be a floating-point torch tensor, got list"),
        ({"h": torch.ones(1, dtype=torch.int64)}, "h must be a floating-point torch tensor, got dtype torch.int64"),
        ({"G": torch.ones(1, 3)}, r"G must have shape \(\*batch, 1, 2\), since x_ref has 2 coordinates.*got \(1, 3\)"),
        ({"h": torch.tensor([np.nan])}, r"h must not be nan, got nan at \(0,\)"),
        ({"G": torch.tensor([[1.0, np.inf]])}, r"G must be finite, got inf at \(0, 1\)"),
        ({"lb": torch.ones(2), "ub": torch.zeros(2)}, r"lb must not exceed ub; at \(0,\) lb is 1 and ub is 0"),
        ({"H": torch.diag(torch.tensor([1.0, -1.0]))}, "H must be positive definite; its smallest eigenvalue is -1"),
        ({"x_ref": torch.zeros(2, 2), "h": torch.ones(3, 1)}, "Batch shapes do not broadcast"),
    ],
)
def test_bad_input(change: Problem, message: str) -> None:
    arguments: Problem = {"x_ref": torch.zeros(2), "G": torch.ones(1, 2), "h": torch.ones(1)}
    with pytest.raises(InvalidInputError, match=message):
        CvxpyProjection()(**(arguments | change))


@pytest.mark.parametrize("price", [0, -1.0, float("nan"), float("inf")])
def test_prices_are_positive_numbers(price: float) -> None:
    with pytest.raises(InvalidInputError, match=r"elastic must be > 0 \(the price of one unit of violation\), got"):
        CvxpyProjection(elastic=price)
