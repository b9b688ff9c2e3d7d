from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import quadprog
from hypothesis import given, settings
from hypothesis import strategies as st
from qp_problems import positive_definite, random_problems

from planararm.errors import InvalidInputError
from planararm.projection.qp import INFEASIBLE, INVALID, SOLVED, QPSolution, solve_qp

FORMS = ("x_ref", "G", "h", "lb", "ub", "H")


def by_quadprog(x_ref: Any, G: Any, h: Any, lb: Any, ub: Any, H: Any = None) -> np.ndarray | None:
    n = len(x_ref)
    H = np.eye(n) if H is None else np.array(H)
    rows = -np.vstack([G, -np.eye(n), np.eye(n)]).T
    try:
        return quadprog.solve_qp(H, H @ x_ref, rows, -np.concatenate([h, -lb, ub]))[0]
    except ValueError:
        return None


def check_kkt(solution: QPSolution, bound: float = 1e-9) -> None:
    assert np.nanmax(solution.primal_residual(), initial=0.0) <= bound
    assert np.nanmax(solution.dual_residual(), initial=0.0) <= bound
    assert (solution.active_multipliers >= 0).all()


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 9), (3, 0), (5, 30), (7, 60), (16, 512)])
@pytest.mark.parametrize("metric", ["identity", "one H", "an H each"])
def test_equals_quadprog_and_meets_the_optimality_conditions(n: int, m: int, metric: str) -> None:
    rng = np.random.default_rng([n, m])
    count = 40 if m < 100 else 6
    problem = random_problems(rng, count, n, m)
    if metric != "identity":
        problem["H"] = positive_definite(rng, *(() if metric == "one H" else (count,)), n)
    solution = solve_qp(**problem)
    assert (solution.status == SOLVED).all()
    check_kkt(solution, 1e-12)
    assert ((solution.x >= problem["lb"]) & (solution.x <= problem["ub"])).all()
    for i in range(count):
        H = None if metric == "identity" else np.broadcast_to(problem["H"], (count, n, n))[i]
        expected = by_quadprog(problem["x_ref"][i], problem["G"][i], problem["h"][i], problem["lb"], problem["ub"], H)
        np.testing.assert_allclose(solution.x[i], expected, atol=1e-10)


def test_batch_equals_loop_to_the_bit() -> None:
    problem = random_problems(np.random.default_rng(3), 700, 4, 12)
    together = solve_qp(**problem)
    for i in range(0, 700, 23):
        alone = solve_qp(problem["x_ref"][i], problem["G"][i], problem["h"][i], problem["lb"], problem["ub"])
        np.testing.assert_array_equal(alone.x, together.x[i])
        np.testing.assert_array_equal(alone.active, together.active[i])
        np.testing.assert_array_equal(alone.multipliers, together.multipliers[i])


def test_box_alone_is_a_clamp() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)) * 3
    solution = solve_qp(x, np.zeros((0, 3)), np.zeros(0), [-1, -2, -np.inf], [1, np.inf, 0.5])
    np.testing.assert_array_equal(solution.x, np.clip(x, [-1, -2, -np.inf], [1, np.inf, 0.5]))
    np.testing.assert_allclose(solution.lower_multipliers - solution.upper_multipliers, solution.x - x, atol=1e-15)


def test_points_inside_stay_to_the_bit() -> None:
    problem = random_problems(np.random.default_rng(1), 60, 3, 8)
    first = solve_qp(**problem).x
    inside = solve_qp(first * (1 - 1e-6), problem["G"], problem["h"] + 1e-3, problem["lb"], problem["ub"])
    np.testing.assert_array_equal(inside.x, first * (1 - 1e-6))
    assert (inside.iterations == 0).all()
    assert (inside.active == -1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 14))
def test_projection_is_nonexpansive_and_idempotent(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    problem = random_problems(rng, 1, n, m)
    other = problem | {"x_ref": problem["x_ref"] + rng.normal(size=(1, n))}
    one, two = solve_qp(**problem).x, solve_qp(**other).x
    assert np.linalg.norm(one - two) <= np.linalg.norm(problem["x_ref"] - other["x_ref"]) + 1e-12
    again = solve_qp(**(problem | {"x_ref": one})).x
    np.testing.assert_allclose(again, one, atol=1e-11)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.0, 1e-9, 1e-7, 1e-5, 1e-3]))
def test_degenerate_duplicate_and_near_parallel_rows(seed: int, n: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-1, 1, n)
    G = rng.normal(size=(n + 3, n))
    G = np.vstack([G, G[:2] + angle * rng.normal(size=(2, n)), 10.0 ** rng.uniform(-4, 4) * G[:1]])
    h = G @ corner + np.where(rng.random(len(G)) < 0.7, 0.0, rng.exponential(0.3, len(G))) * np.linalg.norm(G, axis=1)
    solution = solve_qp(3 * rng.normal(size=n), G, h, np.full(n, -5.0), np.full(n, 5.0))
    assert solution.status == SOLVED
    check_kkt(solution)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(-9, 0))
def test_verdict_of_infeasibility_down_to_a_margin(seed: int, n: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    margin = 2 * 10.0**exponent
    # Rows whose positive combination is zero leave a point, or miss it by the margin: Farkas' lemma.
    rows = rng.normal(size=(n, n))
    weights = rng.uniform(0.2, 1.0, n)
    last = -(weights @ rows)
    G = np.vstack([rows, last])
    size = np.linalg.norm(G, axis=1)
    G /= size[:, None]
    point = rng.uniform(-0.5, 0.5, n)
    outside = np.full(n + 1, margin)
    x_ref = point + rng.normal(size=n)
    feasible = solve_qp(x_ref, G, G @ point + outside, np.full(n, -1e6), np.full(n, 1e6))
    infeasible = solve_qp(x_ref, G, G @ point - outside, np.full(n, -1e6), np.full(n, 1e6))
    assert (feasible.status, infeasible.status) == (SOLVED, INFEASIBLE)
    assert np.isnan(infeasible.x).all()


def test_infeasible_element_leaves_the_others_alone() -> None:
    problem = random_problems(np.random.default_rng(5), 9, 3, 7)
    alone = solve_qp(**problem)
    problem["h"][4] = -50.0
    solution = solve_qp(**problem)
    others = np.arange(9) != 4
    np.testing.assert_array_equal(solution.status, np.where(others, SOLVED, INFEASIBLE))
    np.testing.assert_array_equal(solution.x[others], alone.x[others])
    gradients = solution.vjp(np.ones((9, 3)))
    assert not any(gradients[i][4].any() for i in range(3))
    assert np.isfinite(gradients.lb).all()


def test_elastic_is_the_l1_penalty() -> None:
    rng = np.random.default_rng(7)
    for n, m, price in ((2, 5, 0.3), (3, 9, 1.0), (5, 20, 0.2), (3, 9, 50.0)):
        problem = random_problems(rng, 30, n, m)
        problem["h"][::2] -= rng.uniform(0.5, 2.0, (15, m))
        solution = solve_qp(**problem, elastic=price)
        assert (solution.status == SOLVED).all()
        check_kkt(solution, 1e-12)
        assert (solution.multipliers <= price * (1 + 1e-12)).all()
        slack = np.einsum("bmn,bn->bm", problem["G"], solution.x) - problem["h"]
        assert (slack[~solution.saturated] <= 1e-11).all()
        assert (slack[solution.saturated] >= -1e-11).all()
        for i in range(0, 30, 3):
            # The same with slack variables, whose square makes quadprog's matrix definite.
            tiny = 1e-7
            H = np.diag([1.0] * n + [tiny] * m)
            target = np.concatenate([problem["x_ref"][i], np.full(m, -price / tiny)])
            G = np.hstack([problem["G"][i], -np.eye(m)])
            low = np.concatenate([problem["lb"], np.zeros(m)])
            high = np.concatenate([problem["ub"], np.full(m, 1e4)])
            expected = by_quadprog(target, G, problem["h"][i], low, high, H)
            assert expected is not None
            np.testing.assert_allclose(solution.x[i], expected[:n], atol=2e-5)


def test_elastic_equals_hard_where_the_multipliers_allow() -> None:
    problem = random_problems(np.random.default_rng(2), 80, 3, 9)
    hard = solve_qp(**problem)
    price = 1.0001 * hard.multipliers.max()
    soft = solve_qp(**problem, elastic=price)
    np.testing.assert_allclose(soft.x, hard.x, atol=1e-12)
    assert not soft.saturated.any()


def differences(
    problem: dict[str, Any], name: str, weight: np.ndarray, step: float = 1e-6, **options: Any
) -> np.ndarray:
    """Central differences of ``sum(weight * x)`` with respect to one argument."""
    value = np.array(problem[name], dtype=float)
    result = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        sides = []
        for sign in (1, -1):
            moved = value.copy()
            moved[index] += sign * step
            if name == "H":
                moved = (moved + np.swapaxes(moved, -1, -2)) / 2
            sides.append((weight * solve_qp(**(problem | {name: moved}), **options).x).sum())
        result[index] = (sides[0] - sides[1]) / (2 * step)
    return result


@pytest.mark.parametrize("elastic", [None, 0.4])
@pytest.mark.parametrize("metric", [False, True])
def test_gradients_equal_central_differences(elastic: float | None, metric: bool) -> None:
    rng = np.random.default_rng(11)
    problem = random_problems(rng, 6, 3, 5)
    if metric:
        problem["H"] = positive_definite(rng, 3)
    solution = solve_qp(**problem, elastic=elastic)
    # Away from kinks: no active row with a multiplier near zero, no saturated row near its plane.
    assert (solution.active_multipliers[solution.active >= 0] > 1e-3).all()
    if elastic is not None:
        assert solution.saturated.any()
    weight = rng.normal(size=(6, 3))
    gradients = solution.vjp(weight)
    for name in problem:
        found = getattr(gradients, name)
        assert found.shape == problem[name].shape
        np.testing.assert_allclose(found, differences(problem, name, weight, elastic=elastic), atol=1e-7)
    assert gradients.H is not None or not metric


def test_gradients_of_shared_arguments_are_sums_over_the_batch() -> None:
    rng = np.random.default_rng(4)
    shared = random_problems(rng, 1, 3, 6)
    shared = {name: value[0] if np.ndim(value) > 1 else value for name, value in shared.items()}
    shared["x_ref"] = 2 * rng.normal(size=(5, 4, 3))
    shared["lb"] = np.broadcast_to(shared["lb"], (4, 3)).copy()
    each = {
        name: np.broadcast_to(value, (5, 4, *value.shape[-2 if name == "G" else -1 :])).copy()
        for name, value in shared.items()
    }
    weight = rng.normal(size=(5, 4, 3))
    for elastic in (None, 0.3):
        one, many = (solve_qp(**arguments, elastic=elastic).vjp(weight) for arguments in (shared, each))
        np.testing.assert_allclose(one.x_ref, many.x_ref, atol=1e-14)
        np.testing.assert_allclose(one.G, many.G.sum((0, 1)), atol=1e-12)
        np.testing.assert_allclose(one.h, many.h.sum((0, 1)), atol=1e-12)
        np.testing.assert_allclose(one.lb, many.lb.sum(0), atol=1e-12)
        np.testing.assert_allclose(one.ub, many.ub.sum((0, 1)), atol=1e-12)


def test_batches_of_every_shape() -> None:
    problem = random_problems(np.random.default_rng(6), 6, 3, 4)
    grid = solve_qp(problem["x_ref"].reshape(2, 3, 3), problem["G"].reshape(2, 3, 4, 3), problem["h"].reshape(2, 3, 4))
    flat = solve_qp(problem["x_ref"], problem["G"], problem["h"])
    np.testing.assert_array_equal(grid.x.reshape(6, 3), flat.x)
    assert grid.multipliers.shape == (2, 3, 4)
    empty = solve_qp(np.zeros((0, 3)), problem["G"][0], problem["h"][0], np.zeros(3), np.ones(3))
    assert empty.x.shape == (0, 3)
    gradients = empty.vjp(np.zeros((0, 3)))
    assert gradients.G.shape == (4, 3)
    assert not gradients.G.any()
    no_rows = solve_qp([[3.0, 3.0]], np.zeros((1, 0, 2)), np.zeros((1, 0)), None, [1.0, np.inf])
    np.testing.assert_array_equal(no_rows.x, [[1.0, 3.0]])
    assert no_rows.primal_residual() == 0
    backwards = solve_qp(problem["x_ref"][::-1], problem["G"][::-1], problem["h"][::-1])
    np.testing.assert_array_equal(backwards.x[::-1], flat.x)


def test_arguments_are_left_alone() -> None:
    problem = random_problems(np.random.default_rng(8), 20, 3, 4)
    copies = {name: value.copy() for name, value in problem.items()}
    for value in problem.values():
        value.flags.writeable = False
    solve_qp(**problem).vjp(np.ones((20, 3)))
    for name, value in copies.items():
        np.testing.assert_array_equal(problem[name], value)


@pytest.mark.parametrize("name", FORMS)
def test_nan_is_named_and_costs_its_own_element_only(name: str) -> None:
    rng = np.random.default_rng(9)
    problem = random_problems(rng, 5, 3, 4)
    problem["lb"], problem["ub"] = np.tile(problem["lb"], (5, 1)), np.tile(problem["ub"], (5, 1))
    problem["H"] = positive_definite(rng, 5, 3)
    whole = solve_qp(**problem)
    problem[name][2, ..., 1] = np.nan
    with pytest.raises(InvalidInputError, match=rf"{name} must .*nan at \(2, .*check_finite=False"):
        solve_qp(**problem)
    if name == "H":
        return
    solution = solve_qp(**problem, check_finite=False)
    others = np.arange(5) != 2
    np.testing.assert_array_equal(solution.status, np.where(others, SOLVED, INVALID))
    np.testing.assert_array_equal(solution.x[others], whole.x[others])
    assert np.isnan(solution.x[2]).all()


def test_infinities() -> None:
    x, G, h = np.zeros((2, 2)), np.array([[1.0, 0.0]]), np.array([[np.inf], [-np.inf]])
    np.testing.assert_array_equal(solve_qp(x, G, h).status, [SOLVED, INFEASIBLE])
    for name, arguments in (("x_ref", ([np.inf, 0], G, [1.0])), ("G", ([0.0, 0], [[-np.inf, 1]], [1.0]))):
        with pytest.raises(InvalidInputError, match=f"{name} must be finite, got -?inf"):
            solve_qp(*arguments)


def test_far_proposals_and_row_scales() -> None:
    rng = np.random.default_rng(10)
    problem = random_problems(rng, 50, 3, 8)
    scale = 10.0 ** rng.uniform(-8, 8, (50, 8))
    scaled = problem | {"G": problem["G"] * scale[..., None], "h": problem["h"] * scale}
    np.testing.assert_allclose(solve_qp(**scaled).x, solve_qp(**problem).x, atol=1e-10)
    far = solve_qp(**(problem | {"x_ref": 1e6 * problem["x_ref"]}))
    assert (far.status == SOLVED).all()
    assert far.primal_residual().max() < 1e-6
    zero_row = problem | {"G": problem["G"] * (np.arange(8) > 0)[:, None], "h": np.abs(problem["h"])}
    assert (solve_qp(**zero_row).status == SOLVED).all()
    zero_row["h"] = np.where(np.arange(8) > 0, 10.0, -1e-3) * np.ones((50, 1))
    assert (solve_qp(**zero_row).status == INFEASIBLE).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_ref": "far"}, "x_ref must be numbers, got 'far'"),
        ({"x_ref": 1.0}, r"x_ref must have 1 axes or more .*got shape \(\)"),
        ({"x_ref": np.zeros((4, 0))}, "x_ref must have at least one coordinate"),
        ({"G": np.zeros(3)}, r"G must have 2 axes or more .*got shape \(3,\)"),
        ({"G": np.zeros((2, 4))}, r"G must have shape \(\*batch, 2, 3\).*got \(2, 4\)"),
        ({"h": np.zeros(3)}, r"h must have shape \(\*batch, 2\).*2 rows; got \(3,\)"),
        ({"lb": np.zeros(2)}, r"lb must have shape \(\*batch, 3\)"),
        (
            {"x_ref": np.zeros((4, 3)), "h": np.zeros((5, 2))},
            r"Batch shapes do not broadcast: .*x_ref \(4,\).*h \(5,\)",
        ),
        ({"lb": [0, 0, 2.0], "ub": [1, 1, 1.0]}, r"lb must not exceed ub; at \(2,\) lb is 2 and ub is 1"),
        ({"elastic": 0.0}, "elastic must be > 0"),
        ({"elastic": float("nan")}, "elastic must be > 0"),
        ({"H": np.diag([1, 1, -1.0])}, "H must be positive definite; its smallest eigenvalue is -1"),
        (
            {"H": np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1.0]])},
            "H must be symmetric; it differs from its transpose by 1",
        ),
        ({"H": np.eye(2)}, r"H must have shape \(\*batch, 3, 3\)"),
        ({"G": np.zeros((40000, 3)), "h": np.zeros(40000)}, "G may have 32761 rows at most, got 40000"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"x_ref": np.zeros(3), "G": np.ones((2, 3)), "h": np.ones(2)}
    with pytest.raises(InvalidInputError, match=message):
        solve_qp(**(arguments | change))


def test_wrong_shape_of_the_outer_gradient() -> None:
    with pytest.raises(InvalidInputError, match=r"grad_x must have the shape \(3,\) of x, got \(2,\)"):
        solve_qp(np.zeros(3), np.ones((2, 3)), np.ones(2)).vjp(np.ones(2))
