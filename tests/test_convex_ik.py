from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from cvxpylayers.torch import CvxpyLayer

from planararm import Obstacles, PlanarArm, Scene, clearance, make_arm
from planararm.errors import InvalidInputError
from planararm.inverse import self_motion
from planararm.projection.convex_cone import nearest_point_socp
from planararm.projection.convex_ik import (
    INFEASIBLE,
    OPTIMAL,
    lifted_problem,
    relax,
    socp_problem,
    within_limits,
)
from planararm.projection.convex_layer import ConeIK, LiftedIK

# cvxpylayers 1.2.0 converts torch tensors by np.array, which NumPy 2 remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

DUKA = make_arm("duka")
LOW, HIGH = DUKA.joint_limits.T
DISC = Scene(DUKA, Obstacles([[3.0, 3.5], [-2.0, 1.0]], [0.5, 0.6]))


def draw(seed: int, count: int, sigma: float, margin: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q = rng.uniform(LOW + margin, HIGH - margin, (count, 3))
    return q, np.asarray(DUKA.end_effector(q)), q + sigma * rng.normal(size=q.shape)


def test_cone_in_closed_form_equals_cvxpy_and_says_when_it_is_tight() -> None:
    _, target, proposal = draw(0, 60, 0.8)
    problem = socp_problem(DUKA.link_lengths)
    assert problem.is_dpp()
    parameters = {one.name(): one for one in problem.parameters()}
    found = nearest_point_socp(target, proposal, DUKA)
    assert 10 < found.tight.sum() < 55
    for i in range(60):
        heading = np.cumsum(proposal[i])
        parameters["proposal"].value = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        parameters["goal"].value = target[i]
        problem.solve(solver=cp.CLARABEL)
        U = problem.variables()[0].value
        assert found.tight[i] == (np.linalg.norm(U, axis=1).min() > 1 - 1e-5)
        if found.tight[i]:
            ours = np.exp(1j * np.cumsum(found.q[i]))
            np.testing.assert_allclose(ours, U[:, 0] + 1j * U[:, 1], atol=1e-3)


def test_cone_is_on_the_target_when_tight_and_nearest() -> None:
    _, target, proposal = draw(1, 300, 0.3)
    found = nearest_point_socp(target, proposal, DUKA)
    rows = found.tight
    assert rows.mean() > 0.8
    assert np.abs(DUKA.end_effector(found.q)[rows] - target[rows]).max() < 1e-6
    # No other configuration on the target has directions nearer to the proposed ones.
    rng = np.random.default_rng(2)
    for i in rng.choice(np.flatnonzero(rows), 20, replace=False):

        def nearness(q: np.ndarray, i: int = i) -> np.ndarray:
            return np.cos(np.cumsum(q, axis=-1) - np.cumsum(proposal[i])).sum(-1)

        for curve in self_motion(target[i], DUKA, num_points=400):
            assert nearness(np.asarray(curve)).max() <= nearness(found.q[i]) + 1e-9


def test_cone_batches_and_targets_out_of_reach() -> None:
    _, target, proposal = draw(3, 12, 0.2)
    whole = nearest_point_socp(target.reshape(3, 4, 2), proposal.reshape(3, 4, 3), DUKA)
    for i in range(12):
        one = nearest_point_socp(target[i], proposal[i], DUKA)
        np.testing.assert_allclose(one.q, whole.q.reshape(12, 3)[i], atol=1e-9)
    far = nearest_point_socp([0.0, 9.0], proposal[0], DUKA)
    assert not far.reachable
    assert not far.tight
    np.testing.assert_allclose(np.cumsum(far.q), np.pi / 2, atol=1e-9)
    assert nearest_point_socp(np.zeros((0, 2)), np.zeros((0, 3)), DUKA).q.shape == (0, 3)


@pytest.mark.parametrize("scene", [Scene(DUKA, Obstacles.none()), DISC], ids=["limits", "discs"])
def test_lifted_answers_hold_everything_when_tight(scene: Scene) -> None:
    q, target, proposal = draw(4, 40, 0.2)
    free = clearance(q, DUKA, scene.obstacles) > 0.2 if scene.obstacles.num_obstacles else np.ones(40, dtype=bool)
    tight = 0
    for i in np.flatnonzero(free):
        found = relax(target[i], proposal[i], scene)
        assert found.status == OPTIMAL
        if not found.tight:
            continue
        tight += 1
        assert np.abs(DUKA.end_effector(found.q) - target[i]).max() < 1e-5
        assert DUKA.limit_violation(found.q) <= 1e-6
        assert clearance(found.q, DUKA, scene.obstacles) >= scene.safety_margin - 1e-6
    assert tight > 0.8 * free.sum()


def test_programs_are_dpp() -> None:
    for oriented in (False, True):
        assert lifted_problem(DUKA, 2, oriented=oriented).problem.is_dpp()


def test_real_embedding_equals_the_hermitian_program() -> None:
    _, target, proposal = draw(5, 3, 0.4)
    for p, guess in zip(target, proposal, strict=True):
        ours = relax(p, guess, Scene(DUKA, Obstacles.none()))
        W = cp.Variable((4, 4), hermitian=True)
        middle, half = DUKA.joint_limits.mean(axis=1), np.diff(DUKA.joint_limits, axis=1)[:, 0] / 2
        rows = [W >> 0, cp.diag(cp.real(W)) == 1]
        rows += [cp.real(W[k, k - 1] * np.exp(-1j * middle[k - 1])) >= np.cos(half[k - 1]) for k in range(1, 4)]
        rows += [DUKA.link_lengths @ cp.real(W[1:, 0]) == p[0], DUKA.link_lengths @ cp.imag(W[1:, 0]) == p[1]]
        unit = np.exp(1j * np.cumsum(guess))
        objective = sum(cp.real(np.conj(unit[k]) * W[k + 1, 0]) for k in range(3))
        value = cp.Problem(cp.Maximize(objective), rows).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose((np.conj(unit) * ours.W[1:, 0]).real.sum(), value, atol=1e-6)
        np.testing.assert_allclose(ours.W, W.value, atol=1e-3)


@pytest.mark.parametrize("inflated", [True, False])
def test_verified_is_what_the_arm_itself_says(inflated: bool) -> None:
    _, target, proposal = draw(11, 60, 1.0)
    seen = {True: 0, False: 0}
    for i in range(60):
        found = relax(target[i], proposal[i], DISC, inflated=inflated)
        if found.status != OPTIMAL:
            assert not found.verified
            continue
        met = np.linalg.norm(DUKA.end_effector(found.q) - target[i]) <= 1e-5 * DUKA.reach
        free = clearance(found.q, DUKA, DISC.obstacles) >= DISC.safety_margin
        assert found.verified == (met and free and DUKA.limit_violation(found.q) <= 0)
        seen[found.verified] += 1
    assert min(seen.values()) > 5


def test_convex_iteration_makes_loose_relaxations_tight() -> None:
    _, target, proposal = draw(6, 40, 1.0)
    empty = Scene(DUKA, Obstacles.none())
    loose = [i for i in range(40) if not relax(target[i], proposal[i], empty).tight]
    assert len(loose) > 5
    after = [relax(target[i], proposal[i], empty, max_iterations=10) for i in loose]
    made = [one for one in after if one.tight]
    assert len(made) > 0.5 * len(loose)
    assert all(one.iterations > 1 for one in made)
    for one, i in zip(after, loose, strict=True):
        if one.tight:
            assert np.abs(DUKA.end_effector(one.q) - target[i]).max() < 1e-5


def test_orientation() -> None:
    q, target, proposal = draw(7, 5, 0.1)
    for i in range(5):
        found = relax(target[i], proposal[i], Scene(DUKA, Obstacles.none()), target_orientation=float(q[i].sum()))
        assert found.tight
        np.testing.assert_allclose(found.q, q[i], atol=1e-3)


def test_infeasible_is_a_certificate() -> None:
    # A disc around the target: with the true radius no configuration reaches it.
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[1.5, 1.5]], [0.4]))
    assert relax([1.5, 1.6], [0.3, 0.3, 0.3], scene, inflated=False).status == INFEASIBLE
    assert relax([4.0, 0.0], [0.3, 0.3, 0.3], scene).status == INFEASIBLE
    assert relax([1.5, -1.5], [0.3, 0.3, 0.3], scene, inflated=False).status == OPTIMAL
    # Narrow limits: the folded arm cannot stretch.
    folded = PlanarArm([1.0, 1.0], joint_limits=[[-0.1, 0.1], [2.0, 2.5]])
    assert relax([1.9, 0.0], [0.0, 2.2], Scene(folded, Obstacles.none())).status == INFEASIBLE


def test_geometry_rules_out_what_the_lift_cannot_see() -> None:
    empty = Obstacles.none()
    hollow = Scene(PlanarArm([2.0, 0.5]), empty)
    for target, status in (([1.4, 0.0], INFEASIBLE), ([1.6, 0.0], OPTIMAL), ([2.6, 0.0], INFEASIBLE)):
        found = relax(target, [0.1, 2.0], hollow)
        assert found.status == status
        assert found.iterations == (status == OPTIMAL)


@pytest.mark.parametrize("name", ["unit2", "duka", "unit5"])
def test_rounding_never_rules_out_a_stretched_arm(name: str) -> None:
    arm = make_arm(name)
    bend = np.random.default_rng(10).choice([0.0, -1e-8], (40, arm.num_joints))
    bend[:, 0] = np.linspace(0.1, 3.0, 40)
    for q in bend:
        found = relax(np.asarray(arm.end_effector(q)), q + 0.1, Scene(arm, Obstacles.none()))
        assert found.status != INFEASIBLE


def test_a_free_configuration_is_never_ruled_out() -> None:
    rng = np.random.default_rng(8)
    for _ in range(25):
        q = rng.uniform(LOW, HIGH)
        disc = Obstacles([rng.uniform(-4, 4, 2)], [rng.uniform(0.2, 0.8)])
        if np.linalg.norm(disc.centers[0]) < 1.2 or clearance(q, DUKA, disc) < 2e-3:
            continue
        found = relax(np.asarray(DUKA.end_effector(q)), q + rng.normal(size=3), Scene(DUKA, disc), inflated=False)
        assert found.status != INFEASIBLE


def test_whole_turns_bring_answers_within_the_limits() -> None:
    arm = PlanarArm([1.0, 1.0], joint_limits=[[3.0, 6.2], [-1.0, 1.0]])
    np.testing.assert_allclose(within_limits(np.array([-1.0, 0.5]), np.array([5.0, 0.0]), arm), [2 * np.pi - 1, 0.5])


@pytest.mark.parametrize("kind", ["cone", "limits", "discs"])
def test_layers_equal_the_programs_and_their_gradients_finite_differences(kind: str) -> None:
    _, target, proposal = draw(9, 3, 0.1, margin=0.4)
    scene = DISC if kind == "discs" else None
    layer = ConeIK(DUKA) if kind == "cone" else LiftedIK(DUKA, 2 if kind == "discs" else 0, samples=4)
    extra: tuple[Any, ...] = () if scene is None else (scene,)
    leaves = [torch.tensor(part, requires_grad=True) for part in (proposal, target)]
    answer, tight = layer(*leaves, *extra)
    assert tight.all()
    assert np.abs(DUKA.end_effector(answer.detach().numpy()) - target).max() < 1e-6
    if kind == "cone":
        np.testing.assert_allclose(answer.detach(), nearest_point_socp(target, proposal, DUKA).q, atol=1e-6)
    weight = torch.tensor(np.random.default_rng(0).normal(size=(3, 3)))
    gradients = torch.autograd.grad((answer * weight).sum(), leaves)
    # Wide enough that the solver's 1e-10 is not felt.
    step = 1e-3
    with torch.no_grad():
        for which, size in ((0, 3), (1, 2)):
            for axis in range(size):
                sides = []
                for sign in (1, -1):
                    moved = [leaf.detach().clone() for leaf in leaves]
                    moved[which][:, axis] += sign * step
                    sides.append((layer(*moved, *extra)[0] * weight).sum(-1))
                difference = (sides[0] - sides[1]) / (2 * step)
                np.testing.assert_allclose(gradients[which][:, axis], difference, atol=1e-5)


def test_one_layer_serves_scenes_of_fewer_discs_and_their_batches() -> None:
    _, target, proposal = draw(12, 4, 0.1, margin=0.4)
    empty = Scene(DUKA, Obstacles.none())
    nearest = np.array([relax(*pair, empty).q for pair in zip(target, proposal, strict=True)])
    # A disc that the nearest configuration without discs would touch with its second link.
    elbow, wrist = np.moveaxis(np.asarray(DUKA.forward_kinematics(nearest))[:, 1:3], 1, 0)
    beside = (wrist - elbow)[:, ::-1] * [-1, 1] / 2
    centers = (elbow + wrist) / 2 + 0.3 * beside
    scenes = [Scene(DUKA, Obstacles(centers[[i]], [0.3])) for i in range(3)] + [empty]
    scenes[1] = Scene(DUKA, Obstacles([centers[1], [-9.0, 0.0]], [0.3, 0.5]))
    assert all(clearance(nearest[i], DUKA, scenes[i].obstacles) < -0.01 for i in range(3))
    layer = LiftedIK(DUKA, 3, samples=4)
    leaves = [torch.tensor(part).reshape(2, 2, -1) for part in (proposal, target)]
    stacked = Scene.stack(scenes)
    batched = Scene(
        DUKA,
        Obstacles(
            stacked.obstacles.centers.reshape(2, 2, -1, 2), stacked.obstacles.radii.reshape(2, 2, -1),
            mask=None if stacked.obstacles.mask is None else stacked.obstacles.mask.reshape(2, 2, -1),
        ),
    )  # fmt: skip
    answer, tight = layer(*leaves, batched)
    assert answer.shape == (2, 2, 3)
    for i, scene in enumerate(scenes):
        alone, one_tight = layer(torch.tensor(proposal[i]), torch.tensor(target[i]), scene)
        np.testing.assert_allclose(answer.reshape(4, 3)[i], alone, atol=1e-6)
        found = relax(target[i], proposal[i], scene, samples=4)
        assert bool(one_tight) == bool(tight.reshape(4)[i]) == found.tight
        moved = np.abs(alone.numpy() - layer(torch.tensor(proposal[i]), torch.tensor(target[i]))[0].numpy()).max()
        assert (moved > 1e-3) if scene.obstacles.num_obstacles else (moved < 1e-6)
        if found.tight:
            # Clarabel stops at 1e-8 in value, and about an optimum the value is flat: 1e-4 in angle.
            np.testing.assert_allclose(alone, found.q, atol=1e-3)


def test_oriented_layer_and_empty_batches() -> None:
    q, target, proposal = draw(13, 4, 0.1, margin=0.4)
    layer = LiftedIK(DUKA, oriented=True)
    heading = torch.tensor(q.sum(-1))
    answer, tight = layer(torch.tensor(proposal), torch.tensor(target), target_orientation=heading)
    assert tight.all()
    np.testing.assert_allclose(answer, q, atol=1e-3)
    none, nothing = ConeIK(DUKA)(torch.zeros(0, 3), torch.zeros(0, 2))
    assert none.shape == (0, 3)
    assert nothing.shape == (0,)
    assert layer(torch.zeros(0, 3), torch.zeros(0, 2), target_orientation=heading[:0])[0].shape == (0, 3)


def test_layer_trains_through_float32_and_shared_targets() -> None:
    proposal = torch.tensor([[0.9, -1.2, 0.3], [0.6, -0.9, 0.1]], requires_grad=True)
    answer, tight = ConeIK(DUKA)(proposal, torch.tensor([3.0, 2.0]))
    assert answer.dtype == torch.float32
    assert tight.all()
    answer.sum().backward()
    assert torch.isfinite(proposal.grad).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relax([1.0, np.nan], np.zeros(3), DISC), "target_position must be finite"),
        (lambda: relax([1.0, 1.0], np.zeros(4), DISC), r"q_ref must have shape"),
        (
            lambda: relax([1.0, 1.0], np.zeros(3), Scene.stack([DISC, DISC])),
            r"relax takes one scene, got batch shape \(2,\)",
        ),
        (lambda: lifted_problem(DUKA, 1, samples=1), "samples must be at least 2"),
        (
            lambda: nearest_point_socp([1.0, 1.0, 1.0], np.zeros(3), DUKA),
            r"target_position must have shape \(\*batch, 2\)",
        ),
        (lambda: ConeIK(DUKA)(np.zeros(3), torch.zeros(2)), "q_ref must be a floating-point torch tensor, got ndarray"),
        (lambda: ConeIK(DUKA)(torch.zeros(4), torch.zeros(2)), r"q_ref must have shape \(\*batch, 3\), got \(4,\)"),
        (lambda: ConeIK(DUKA)(torch.zeros(3) * np.nan, torch.zeros(2)), "q_ref must be finite"),
        (lambda: LiftedIK(DUKA, -1), "num_discs must be a whole number in"),
        (
            lambda: LiftedIK(DUKA, oriented=True)(torch.zeros(3), torch.ones(2)),
            "target_orientation must be given: the layer was built with oriented=True",
        ),
        (
            lambda: LiftedIK(DUKA)(torch.zeros(3), torch.ones(2), target_orientation=torch.ones(())),
            "target_orientation must be None",
        ),
        (
            lambda: LiftedIK(DUKA, oriented=True)(torch.zeros(3), torch.ones(2), target_orientation=torch.ones(4)),
            r"target_orientation must have shape \(\), got \(4,\)",
        ),
        (
            lambda: LiftedIK(DUKA, 1)(torch.zeros(3), torch.ones(2), DISC),
            "at most 1 discs, got batch shape .* and 2 discs",
        ),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()


def eigenvalue_gradient_error(method: str) -> float:
    """How wrong the layer's gradient of ``max <C, X>, tr X = 1, X >= 0`` is; it is the leading eigenvector's square."""
    X, C = cp.Variable((4, 4), symmetric=True), cp.Parameter((4, 4))
    layer = CvxpyLayer(cp.Problem(cp.Maximize(cp.sum(cp.multiply(C, X))), [X >> 0, cp.trace(X) == 1]), [C], [X])
    rng = np.random.default_rng(0)
    root, weight = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    C0 = root + root.T
    options = {"solve_method": method} | ({"eps": 1e-10} if method == "SCS" else {})
    leaf = torch.tensor(C0, requires_grad=True)
    (layer(leaf, solver_args=options | {"mode": "dense"})[0] * torch.tensor(weight)).sum().backward()

    def value(matrix: np.ndarray) -> float:
        leading = np.linalg.eigh((matrix + matrix.T) / 2)[1][:, -1]
        return float((np.outer(leading, leading) * weight).sum())

    numeric = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            shift = np.zeros((4, 4))
            shift[i, j] = 1e-6
            numeric[i, j] = (value(C0 + shift) - value(C0 - shift)) / 2e-6
    found = leaf.grad.numpy()
    return float(np.abs((found + found.T) - (numeric + numeric.T)).max())


def test_derivatives_of_semidefinite_programs_need_scs() -> None:
    assert eigenvalue_gradient_error("SCS") < 1e-4
    # diffcp 1.1.9 permutes Clarabel's dual matrices the wrong way from size 4 on. When this fails, upstream has
    # mended it, and the layers may use Clarabel, which is faster.
    assert eigenvalue_gradient_error("Clarabel") > 1e-2, "diffcp differentiates Clarabel's matrices rightly now"
