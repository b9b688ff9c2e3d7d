from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qp_problems import positive_definite, random_problems

from planararm.errors import InvalidInputError
from planararm.projection import torch_layer
from planararm.projection.qp import INFEASIBLE, SOLVED, solve_qp
from planararm.projection.torch_layer import QPProjection

NAMES = ("x_ref", "G", "h", "lb", "ub", "H")


def tensors(seed: int, count: int, n: int = 3, m: int = 6, *, metric: bool = False, dtype: Any = torch.float64) -> Any:
    rng = np.random.default_rng(seed)
    problem = random_problems(rng, count, n, m)
    if metric:
        problem["H"] = positive_definite(rng, n)
    return {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in problem.items()}


@pytest.fixture(params=["kernel", "accelerator"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The compiled path, and the one of accelerators, which runs on the CPU as well."""
    if request.param == "accelerator":
        monkeypatch.setattr(torch_layer, "_backend", torch_layer._Accelerator)
    return str(request.param)


@pytest.mark.parametrize("elastic", [None, 0.4])
@pytest.mark.parametrize("metric", [False, True])
def test_gradcheck(path: str, elastic: float | None, metric: bool) -> None:
    problem = tensors(11, 4, m=4, metric=metric)
    layer = QPProjection(elastic)

    def symmetric(*values: torch.Tensor) -> torch.Tensor:
        arguments = dict(zip(problem, values, strict=True))
        if metric:
            arguments["H"] = (arguments["H"] + arguments["H"].T) / 2
        return layer(**arguments)

    assert torch.autograd.gradcheck(symmetric, tuple(problem.values()), atol=1e-6)


def test_equals_solve_qp(path: str) -> None:
    problem = tensors(1, 30, metric=True)
    x, solution = QPProjection(return_solution=True)(**problem)
    expected = solve_qp(**{name: value.detach().numpy() for name, value in problem.items()})
    np.testing.assert_allclose(x.detach(), expected.x, atol=1e-11)
    np.testing.assert_allclose(solution.multipliers, expected.multipliers, atol=1e-9)
    np.testing.assert_array_equal(solution.status, expected.status)
    assert solution.primal_residual().max() < 1e-11
    weight = np.random.default_rng(0).normal(size=(30, 3))
    (x * torch.tensor(weight)).sum().backward()
    for name, gradient in zip(NAMES, expected.vjp(weight), strict=True):
        np.testing.assert_allclose(problem[name].grad, gradient, atol=1e-8)
    np.testing.assert_allclose(solution.vjp(weight).G, expected.vjp(weight).G, atol=1e-8)


def test_used_twice_in_one_graph(path: str) -> None:
    problem = tensors(2, 10)
    layer = QPProjection()
    first = layer(**problem)
    again = layer(**(problem | {"x_ref": 2 * first - 1}))
    (first.square().sum() + again.square().sum()).backward()
    together = {name: value.grad.clone() for name, value in problem.items()}
    fresh = {name: value.detach().clone().requires_grad_() for name, value in problem.items()}

    def loss(x_ref: torch.Tensor) -> torch.Tensor:
        one = layer(**(fresh | {"x_ref": x_ref}))
        two = layer(**(fresh | {"x_ref": 2 * one - 1}))
        return one.square().sum() + two.square().sum()

    step = 1e-6
    for index in ((0, 0), (3, 2), (7, 1)):
        shift = torch.zeros(10, 3, dtype=torch.float64)
        shift[index] = step
        with torch.no_grad():
            difference = (loss(fresh["x_ref"] + shift) - loss(fresh["x_ref"] - shift)) / (2 * step)
        assert together["x_ref"][index].item() == pytest.approx(difference.item(), abs=1e-6)


def test_strided_arguments_and_outer_gradients(path: str) -> None:
    problem = tensors(3, 12)
    layer = QPProjection()
    plain = layer(**problem)
    plain.sum().backward()
    turned = {name: value.grad.clone() for name, value in problem.items()}
    strided = {
        "x_ref": problem["x_ref"].detach().T.contiguous().T.requires_grad_(),
        "G": problem["G"].detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(),
        "h": torch.stack([problem["h"].detach()] * 2, dim=-1)[..., 0].requires_grad_(),
        "lb": problem["lb"].detach(),
        "ub": problem["ub"].detach(),
    }
    assert not strided["x_ref"].is_contiguous()
    x = layer(**strided)
    assert torch.equal(x, plain)
    x.backward(torch.ones((), dtype=torch.float64).expand(12, 3))
    for name in ("x_ref", "G", "h"):
        np.testing.assert_array_equal(strided[name].grad, turned[name])


def test_gradients_of_unbatched_arguments_are_sums(path: str) -> None:
    problem = tensors(4, 1)
    shared = {
        name: value.detach()[0] if value.ndim > 1 and name != "x_ref" else value.detach()
        for name, value in problem.items()
    }
    shared["x_ref"] = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    shared = {name: value.requires_grad_() for name, value in shared.items()}
    each = {
        name: value.detach().expand(5, 4, *value.shape[-2 if name == "G" else -1 :]).clone().requires_grad_()
        for name, value in shared.items()
    }
    for arguments in (shared, each):
        QPProjection()(**arguments).square().sum().backward()
    for name in ("G", "h", "lb", "ub"):
        np.testing.assert_allclose(shared[name].grad, each[name].grad.sum((0, 1)), atol=1e-12)


def test_empty_batch_and_batch_of_one(path: str) -> None:
    problem = tensors(5, 1)
    one = QPProjection()(**problem)
    assert one.shape == (1, 3)
    alone = {name: value.detach()[0] if value.ndim > 1 else value.detach() for name, value in problem.items()}
    alone["G"] = problem["G"].detach()[0]
    assert torch.equal(QPProjection()(**alone), one[0])
    empty = problem | {"x_ref": torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)}
    x = QPProjection()(**empty)
    assert x.shape == (0, 3)
    x.sum().backward()
    assert empty["x_ref"].grad.shape == (0, 3)
    assert not problem["G"].grad.any()


def test_infeasible_element_gets_nan_and_zero_gradient_or_the_elastic_answer(path: str) -> None:
    problem = {name: value.detach().clone() for name, value in tensors(6, 5).items()}
    problem["h"][2] = -40.0
    problem = {name: value.requires_grad_() for name, value in problem.items()}
    x, solution = QPProjection(return_solution=True)(**problem)
    np.testing.assert_array_equal(solution.status, [SOLVED, SOLVED, INFEASIBLE, SOLVED, SOLVED])
    assert torch.isnan(x[2]).all()
    assert torch.isfinite(x[[0, 1, 3, 4]]).all()
    torch.nan_to_num(x).sum().backward()
    for name in ("x_ref", "G", "h"):
        assert not problem[name].grad[2].any()
        assert torch.isfinite(problem[name].grad).all()
    soft = QPProjection(elastic=5.0)(**problem)
    assert torch.isfinite(soft).all()
    expected = solve_qp(**{name: value.detach().numpy() for name, value in problem.items()}, elastic=5.0)
    np.testing.assert_allclose(soft.detach(), expected.x, atol=1e-11)


def test_float32_network_float64_solve(path: str) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    problem = {name: value.detach() for name, value in tensors(7, 20).items()}
    proposal = 3 * network(torch.randn(20, 4))
    x = QPProjection()(**(problem | {"x_ref": proposal}))
    assert x.dtype == torch.float32
    exact = solve_qp(**{name: value.numpy() for name, value in (problem | {"x_ref": proposal.detach()}).items()})
    np.testing.assert_array_equal(x.detach().numpy(), exact.x.astype(np.float32))
    x.square().sum().backward()
    assert all(torch.isfinite(part.grad).all() for part in network.parameters())
    assert any(part.grad.abs().max() > 0 for part in network.parameters())


def test_overwritten_tensors_are_noticed(path: str) -> None:
    problem = tensors(8, 5)
    G = problem["G"] * 1.0
    x = QPProjection()(**(problem | {"G": G}))
    G.data += 0.0
    with torch.no_grad():
        G += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


def test_without_grad_and_without_bounds(path: str) -> None:
    problem = tensors(9, 6)
    with torch.no_grad():
        x = QPProjection()(problem["x_ref"], problem["G"], problem["h"])
    assert not x.requires_grad
    expected = solve_qp(*(problem[name].detach().numpy() for name in ("x_ref", "G", "h")))
    np.testing.assert_allclose(x, expected.x, atol=1e-11)


def test_only_what_needs_a_gradient_gets_one(path: str) -> None:
    problem = {name: value.detach() for name, value in tensors(10, 6).items()}
    problem["h"].requires_grad_()
    QPProjection()(**problem).sum().backward()
    assert problem["h"].grad is not None
    assert all(value.grad is None for name, value in problem.items() if name != "h")


@pytest.mark.parametrize("name", ["x_ref", "G", "h", "lb", "ub"])
def test_nan_is_named(path: str, name: str) -> None:
    problem = {key: value.detach().clone() for key, value in tensors(12, 4).items()}
    whole = QPProjection()(**problem)
    problem[name][..., 0] = float("nan")
    with pytest.raises(InvalidInputError, match=f"{name} must .* got nan"):
        QPProjection()(**problem)
    assert torch.isnan(QPProjection(check_finite=False)(**problem)).all()
    one = {key: value.detach().clone() for key, value in tensors(12, 4).items()}
    one["x_ref"][1, 2] = float("nan")
    x = QPProjection(check_finite=False)(**one)
    assert torch.isnan(x[1]).all()
    np.testing.assert_allclose(x[[0, 2, 3]], whole[[0, 2, 3]], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"G": np.ones((2, 3))}, "G must be a torch tensor, got ndarray"),
        ({"h": torch.ones(2, dtype=torch.int64)}, "h must be a floating-point tensor, got dtype torch.int64"),
        ({"h": torch.ones(2, device="meta")}, "h is on meta, x_ref on cpu; all must be on one device"),
        ({"h": torch.ones(3)}, r"h must have shape \(\*batch, 2\)"),
        ({"G": torch.ones(2, 4)}, r"G must have shape \(\*batch, 2, 3\)"),
        ({"lb": torch.ones(3), "ub": torch.zeros(3)}, "lb must not exceed ub"),
        ({"H": -torch.eye(3)}, "H must be positive definite"),
        ({"x_ref": torch.ones(4, 3), "h": torch.ones(5, 2)}, "Batch shapes do not broadcast"),
    ],
)
def test_bad_input(path: str, change: dict[str, Any], message: str) -> None:
    arguments = {"x_ref": torch.zeros(3), "G": torch.ones(2, 3), "h": torch.ones(2)}
    with pytest.raises(InvalidInputError, match=message):
        QPProjection()(**(arguments | change))


def test_bad_price_and_what_it_says_of_itself() -> None:
    with pytest.raises(InvalidInputError, match="elastic must be > 0"):
        QPProjection(elastic=-1.0)
    assert "elastic=2.0" in repr(QPProjection(2.0))
