from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import quadprog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm.projection import torch_layer, torch_solver
from planararm.projection.qp import INFEASIBLE, INVALID, SOLVED, UNDECIDED, solve_qp
from planararm.projection.torch_triangular import cholesky, factorise, solve_lower, solve_upper

NAMES = ("x_ref", "G", "h", "lb", "ub", "H")
Problem = dict[str, np.ndarray]


def random_problem(seed: int, count: int, n: int, m: int, *, metric: bool = False, feasible: bool = True) -> Problem:
    rng = np.random.default_rng(seed)
    inside = rng.uniform(-1, 1, (count, n))
    G = rng.normal(size=(count, m, n))
    h = (G @ inside[..., None])[..., 0] + (
        rng.exponential(0.3, (count, m)) if feasible else rng.normal(size=(count, m))
    )
    problem = {
        "x_ref": 2.5 * rng.normal(size=(count, n)), "G": G, "h": h,
        "lb": inside - rng.uniform(0.05, 1.5, (count, n)), "ub": inside + rng.uniform(0.05, 1.5, (count, n)),
    }  # fmt: skip
    if metric:
        root = rng.normal(size=(count, n, n))
        problem["H"] = root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(n)
    return problem


def solve(problem: Problem, elastic: float | None = None) -> list[np.ndarray]:
    found = torch_solver.solve_batch(**{name: torch.from_numpy(a) for name, a in problem.items()}, elastic=elastic)
    return [part.numpy() for part in found]


def all_rows(problem: Problem, i: int) -> tuple[np.ndarray, np.ndarray]:
    """G and the bounds as rows of ``rows x <= sides``."""
    identity = np.eye(problem["x_ref"].shape[1])
    rows = np.vstack([problem["G"][i], -identity, identity])
    return rows, np.concatenate([problem["h"][i], -problem["lb"][i], problem["ub"][i]])


def by_quadprog(problem: Problem, i: int, elastic: float | None = None) -> np.ndarray | None:
    """The answer of another active-set code; slacks with a price make the elastic problem (a little regularised)."""
    x_ref, m = problem["x_ref"][i], problem["G"].shape[1]
    n = len(x_ref)
    H = problem["H"][i] if "H" in problem else np.eye(n)
    rows, sides = all_rows(problem, i)
    linear = H @ x_ref
    if elastic is not None:
        H = np.block([[H, np.zeros((n, m))], [np.zeros((m, n)), 1e-10 * np.eye(m)]])
        linear = np.concatenate([linear, np.full(m, -elastic)])
        slack = np.vstack([-np.eye(m), np.zeros((2 * n, m))])
        rows = np.block([[rows, slack], [np.zeros((m, n)), -np.eye(m)]])
        sides = np.concatenate([sides, np.zeros(m)])
    try:
        return quadprog.solve_qp(H, linear, -rows.T, -sides)[0][:n]
    except ValueError:
        return None


def check_optimality(problem: Problem, found: list[np.ndarray], elastic: float = math.inf, bound: float = 1e-9) -> None:
    """Karush, Kuhn and Tucker's conditions, from the problem alone."""
    x, active, pressing, saturated, status, _ = found
    m = problem["G"].shape[1]
    for i in np.flatnonzero(status == SOLVED):
        rows, sides = all_rows(problem, i)
        size = np.maximum(np.linalg.norm(rows, axis=1), 1e-300)
        full = np.zeros(len(rows))
        held = active[i] >= 0
        assert (pressing[i][~held] == 0).all()
        assert len(set(active[i][held])) == held.sum()
        full[active[i][held]] = pressing[i][held]
        assert not saturated[i][active[i][held & (active[i] < m)]].any()
        full[:m][saturated[i]] = elastic
        assert (full >= 0).all()
        assert (full[:m] <= elastic * (1 + 1e-12)).all()
        excess = (rows @ x[i] - sides) / size
        assert np.all(
            np.where(np.arange(len(rows)) < m, ~np.pad(saturated[i], (0, len(rows) - m)), True) * excess <= bound
        )
        assert (excess[:m][saturated[i]] >= -bound).all()
        assert (np.abs(excess[active[i][held]]) <= bound).all()
        H = problem["H"][i] if "H" in problem else np.eye(len(x[i]))
        balance = H @ (x[i] - problem["x_ref"][i]) + rows.T @ full
        assert np.abs(balance).max() <= bound * (1 + (size * full).sum())


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 9), (3, 0), (6, 30), (16, 24)])
@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("feasible", [True, False])
def test_equals_quadprog_and_meets_the_optimality_conditions(n: int, m: int, metric: bool, feasible: bool) -> None:
    problem = random_problem(n + m, 60, n, m, metric=metric, feasible=feasible)
    found = solve(problem)
    check_optimality(problem, found)
    for i, (x, status) in enumerate(zip(found[0], found[4], strict=True)):
        expected = by_quadprog(problem, i)
        assert status == (INFEASIBLE if expected is None else SOLVED)
        if expected is None:
            assert np.isnan(x).all()
            assert (found[1][i] == -1).all()
        else:
            np.testing.assert_allclose(x, expected, atol=1e-10)


@pytest.mark.parametrize("elastic", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("feasible", [True, False])
def test_elastic_problem_equals_the_one_with_slacks(elastic: float, metric: bool, feasible: bool) -> None:
    problem = random_problem(17, 60, 3, 9, metric=metric, feasible=feasible)
    found = solve(problem, elastic)
    assert (found[4] == SOLVED).all()
    assert found[3].any()
    check_optimality(problem, found, elastic)
    for i, x in enumerate(found[0]):
        np.testing.assert_allclose(x, by_quadprog(problem, i, elastic), atol=1e-6)


def test_rows_that_saturate_and_leave_on_the_way() -> None:
    problem = random_problem(5, 400, 2, 12, feasible=False)
    found = solve(problem, 0.7)
    check_optimality(problem, found, 0.7)
    longest = found[5].max()
    assert longest > 12, "no element had to drop rows"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([None, 0.5, 5.0]), st.booleans())
def test_degenerate_and_duplicate_rows(seed: int, n: int, elastic: float | None, metric: bool) -> None:
    rng = np.random.default_rng(seed)
    problem = random_problem(seed, 30, n, 8, metric=metric)
    corner = rng.integers(-1, 2, (30, n)).astype(float)
    G = rng.integers(-1, 2, (30, 8, n)).astype(float)
    G[:, 4:] = G[:, :4] * rng.choice([1.0, 2.0, 1e-3], (30, 4, 1))
    problem |= {"G": G, "h": (G @ corner[..., None])[..., 0] + rng.integers(0, 2, (30, 8))}
    problem |= {"lb": corner - 1, "ub": corner + rng.integers(0, 2, (30, n))}
    found = solve(problem, elastic)
    assert (found[4] == SOLVED).all()
    check_optimality(problem, found, math.inf if elastic is None else elastic)
    expected = solve_qp(**problem, elastic=elastic)
    np.testing.assert_allclose(found[0], expected.x, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([1e-10, 1e-8, 1e-6, 1e-3]))
def test_near_parallel_rows(seed: int, n: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    problem = random_problem(seed, 20, n, 4)
    G = np.concatenate([problem["G"], problem["G"] + angle * rng.normal(size=(20, 4, n))], axis=1)
    corner = rng.uniform(-0.1, 0.1, (20, n))
    problem |= {"G": G, "h": (G @ corner[..., None])[..., 0]}
    problem |= {"lb": np.full((20, n), -9.0), "ub": np.full((20, n), 9.0)}
    found = solve(problem)
    assert (found[4] == SOLVED).all()
    check_optimality(problem, found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(-9, 0))
def test_verdict_of_infeasibility_down_to_a_margin(seed: int, n: int, exponent: float) -> None:
    """n + 1 rows around a point: moved inwards by any margin they leave nothing, outwards they leave a simplex."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(n, n))
    normals = np.vstack([normals, -rng.uniform(0.2, 1, n) @ normals])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    center, margin = rng.uniform(-1, 1, n), 10.0**exponent
    h = normals @ center + np.array([[-margin], [margin]])
    wide = np.full((2, n), 50.0)
    x_ref = np.tile(3 * rng.normal(size=n), (2, 1))
    status = solve({"x_ref": x_ref, "G": np.stack([normals, normals]), "h": h, "lb": -wide, "ub": wide})[4]
    assert status.tolist() == [INFEASIBLE, SOLVED]


def test_points_inside_stay_to_the_bit_and_a_box_alone_is_a_clamp() -> None:
    x = 2 * np.random.default_rng(0).normal(size=(50, 3))
    problem = {"x_ref": x, "G": np.zeros((50, 0, 3)), "h": np.zeros((50, 0)), "lb": np.full((50, 3), -np.inf)}
    free = solve(problem | {"ub": np.full((50, 3), np.inf)})
    np.testing.assert_array_equal(free[0], x)
    assert (free[5] == 0).all()
    boxed = solve(problem | {"lb": np.full((50, 3), -0.5), "ub": np.full((50, 3), 0.7)})
    np.testing.assert_allclose(boxed[0], np.clip(x, -0.5, 0.7), atol=1e-15)
    assert ((boxed[0] >= -0.5) & (boxed[0] <= 0.7)).all()


def test_one_bad_element_leaves_the_others_alone() -> None:
    problem = random_problem(2, 9, 3, 6, metric=True)
    clean = solve(problem)
    soiled = {name: values.copy() for name, values in problem.items()}
    soiled["x_ref"][0, 1], soiled["G"][1, 2, 0], soiled["h"][2, 3] = np.nan, np.inf, np.nan
    soiled["lb"][3, 0], soiled["ub"][4, 2], soiled["H"][5, 0, 0] = np.nan, np.nan, np.nan
    soiled["H"][6] = np.diag([1.0, -1.0, 1.0])
    soiled["H"][7, 0, 1] += 1.0
    found = solve(soiled)
    assert found[4].tolist() == [INVALID] * 8 + [SOLVED]
    assert np.isnan(found[0][:8]).all()
    for mine, expected in zip(found, clean, strict=True):
        np.testing.assert_array_equal(mine[8], expected[8])
    gradients = torch_solver.vjp_batch(
        torch.ones(9, 3, dtype=torch.float64), *(torch.from_numpy(found[0]),),
        *(torch.from_numpy(soiled[name]) for name in ("x_ref", "G", "H")), *map(torch.from_numpy, found[1:5]),
    )  # fmt: skip
    for gradient in gradients:
        assert gradient is not None
        assert (gradient[:8] == 0).all()
        assert torch.isfinite(gradient).all()
    assert gradients[1] is not None
    assert gradients[1][8].abs().max() > 0


def test_infinite_sides_and_zero_rows() -> None:
    x, open_box = np.array([[2.0, 0.0]]), {"lb": np.full((1, 2), -np.inf), "ub": np.full((1, 2), np.inf)}
    rows = {"x_ref": x, "G": np.array([[[1.0, 0.0], [0.0, 0.0]]])}
    assert solve(rows | open_box | {"h": np.array([[np.inf, 0.0]])})[0].tolist() == [[2.0, 0.0]]
    assert solve(rows | open_box | {"h": np.array([[1.0, -1.0]])})[4] == INFEASIBLE
    assert solve(rows | open_box | {"h": np.array([[-np.inf, 0.0]])})[4] == INFEASIBLE
    priced = solve(rows | open_box | {"h": np.array([[1.0, -1.0]])}, 0.25)
    assert priced[0].tolist() == [[1.75, 0.0]]
    assert priced[3].tolist() == [[True, True]]


def test_empty_batch_and_overflow() -> None:
    empty = solve(random_problem(0, 0, 3, 4))
    assert [part.shape for part in empty] == [(0, 3), (0, 3), (0, 3), (0, 4), (0,), (0,)]
    huge = random_problem(0, 1, 2, 1)
    huge |= {"x_ref": np.full((1, 2), 1e308), "G": np.full((1, 1, 2), 1e200), "h": np.full((1, 1), -1e308)}
    assert solve(huge | {"lb": np.full((1, 2), -np.inf)})[4] in (UNDECIDED, SOLVED, INFEASIBLE)


def test_large_batch_equals_loop() -> None:
    problem = random_problem(8, 500, 3, 9, metric=True, feasible=False)
    together = solve(problem, 2.0)
    for i in range(0, 500, 41):
        alone = solve({name: values[i : i + 1] for name, values in problem.items()}, 2.0)
        for mine, expected in zip(alone, together, strict=True):
            np.testing.assert_allclose(mine[0], expected[i], atol=1e-12)


def test_every_tensor_is_made_on_the_device_of_the_arguments() -> None:
    # Whatever lands on the default device instead cannot be used together with the arguments.
    problem = {name: torch.from_numpy(a) for name, a in random_problem(4, 20, 3, 6, metric=True).items()}
    with torch.device("meta"):
        x, *rest, _ = torch_solver.solve_batch(**problem, elastic=1.0)
        gradients = torch_solver.vjp_batch(x, x, problem["x_ref"], problem["G"], problem["H"], *rest, elastic=1.0)
    assert all(tensor is not None and tensor.device.type == "cpu" for tensor in (x, *rest, *gradients))


@pytest.fixture
def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer treats tensors on the CPU as if they were elsewhere."""
    monkeypatch.setattr(torch_layer, "_backend", torch_layer._Accelerator)


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("elastic", [None, 0.8])
def test_gradients_of_the_layer_pass_autograds_own_check(metric: bool, elastic: float | None) -> None:
    problem = random_problem(11, 2, 3, 4)
    shared = {name: torch.from_numpy(problem[name][0]).requires_grad_() for name in ("h", "lb")}
    each = {name: torch.from_numpy(problem[name]).requires_grad_() for name in ("x_ref", "G", "ub")}
    tensors = each | shared
    root = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3))).requires_grad_()

    def project(root: torch.Tensor, *tensors: torch.Tensor) -> Any:
        x_ref, G, ub, h, lb = tensors
        H = root @ root.mT + 0.5 * torch.eye(3, dtype=torch.float64) if metric else None
        return torch_layer.QPProjection(elastic)(x_ref, G, h.abs() + 1, lb - 1, ub + 1, H)

    assert torch.autograd.gradcheck(project, (root, *tensors.values()), atol=1e-6)


@pytest.mark.parametrize("elastic", [None, 0.8])
def test_layer_gives_the_same_on_an_accelerator(elastic: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(31, 50, 3, 7, metric=True, feasible=False)
    answers = []
    for backend in (torch_layer._Kernel, torch_layer._Accelerator):
        monkeypatch.setattr(torch_layer, "_backend", backend)
        tensors = {name: torch.from_numpy(values).float().requires_grad_() for name, values in problem.items()}
        x, solution = torch_layer.QPProjection(elastic, return_solution=True)(**tensors)
        assert isinstance(x, torch.Tensor)
        solved = torch.from_numpy(solution.status == SOLVED)
        assert 0 < int(solved.sum()) <= 50
        x[solved].square().sum().backward()
        assert x.dtype == torch.float32
        assert np.nanmax(solution.primal_residual()) < 1e-9
        assert np.nanmax(solution.dual_residual()) < 1e-9
        gradients = [tensor.grad for tensor in tensors.values()]
        answers.append([x.detach(), *gradients])
        assert all((gradient[~solved] == 0).all() for gradient in gradients if gradient is not None)
    torch.testing.assert_close(*answers, equal_nan=True)


@pytest.mark.parametrize("elastic", [None, 0.8])
def test_gradients_equal_central_differences_of_another_solver(elastic: float | None) -> None:
    problem = random_problem(23, 8, 3, 6, metric=True)
    found = solve(problem, elastic)
    rng = np.random.default_rng(0)
    outer = rng.normal(size=(8, 3))
    gradients = torch_solver.vjp_batch(
        torch.from_numpy(outer), torch.from_numpy(found[0]),
        *(torch.from_numpy(problem[name]) for name in ("x_ref", "G", "H")), *map(torch.from_numpy, found[1:5]),
        elastic=elastic,
    )  # fmt: skip
    for name, gradient in zip(NAMES, gradients, strict=True):
        assert gradient is not None
        way = rng.normal(size=problem[name].shape)
        if name == "H":
            way = way + np.swapaxes(way, -1, -2)
        ahead, behind = (
            solve_qp(**(problem | {name: problem[name] + step * way}), elastic=elastic).x for step in (1e-6, -1e-6)
        )
        slope = (outer * (ahead - behind)).sum(-1) / 2e-6
        mine = (gradient.numpy() * way).reshape(8, -1).sum(-1)
        np.testing.assert_allclose(mine, slope, atol=1e-7)


def test_gradient_at_a_vertex_is_zero_for_the_point_alone() -> None:
    problem = {
        "x_ref": np.array([[3.0, 2.0]]), "G": np.zeros((1, 0, 2)), "h": np.zeros((1, 0)),
        "lb": np.full((1, 2), -1.0), "ub": np.ones((1, 2)),
    }  # fmt: skip
    found = solve(problem)
    assert sorted(found[1][0].tolist()) == [2, 3]
    gradients = torch_solver.vjp_batch(
        torch.tensor([[5.0, 7.0]], dtype=torch.float64), torch.from_numpy(found[0]), torch.from_numpy(problem["x_ref"]),
        torch.from_numpy(problem["G"]), None, *map(torch.from_numpy, found[1:5]),
    )  # fmt: skip
    assert gradients[0].tolist() == [[0.0, 0.0]]
    assert gradients[4].tolist() == [[5.0, 7.0]]
    assert gradients[5] is None


def test_triangular_factors() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(20, 5, 5)))
    rows[:, 3] = rows[:, 1] + 1e-9 * rows[:, 3]
    rows[:10, 4] = 0.0
    Q, L = factorise(rows)
    torch.testing.assert_close(L @ Q, rows, atol=1e-14, rtol=0)
    torch.testing.assert_close(L, L.tril(), atol=0, rtol=0)
    torch.testing.assert_close(Q[10:] @ Q[10:].mT, torch.eye(5, dtype=Q.dtype).expand(10, 5, 5), atol=1e-13, rtol=0)
    assert (Q[:10, 4] == 0).all()
    values = torch.from_numpy(rng.normal(size=(20, 5)))
    lower, upper = solve_lower(L, values), solve_upper(L, values)
    # Backward stable: the residual is small beside the solution, which the near-parallel rows make large.
    for matrix, found in ((L, lower), (L.mT, upper)):
        residual = (matrix @ found[..., None])[..., 0] - values
        assert (residual.abs().amax(1) <= 1e-14 * (1 + found.abs().amax(1))).all()
    factor, valid = cholesky(torch.stack([4 * torch.eye(2), -torch.eye(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])]))
    assert valid.tolist() == [True, False, False]
    torch.testing.assert_close(factor[:2], torch.stack([2 * torch.eye(2), torch.eye(2)]))
