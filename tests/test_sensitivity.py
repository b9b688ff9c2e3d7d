from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planararm import Obstacles, PlanarArm, Scene, make_arm
from planararm.collision import signed_distance_gradient
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.projection.sensitivity import end_effector_hessian, signed_distance_hessian
from planararm.projection.sequential import Projection, Source, mirror_branch, project
from planararm.scene.generator import sample_scene

EXACT: dict[str, Any] = {"max_iterations": 400}


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_hessians_equal_differences_of_gradients(n: int) -> None:
    rng = np.random.default_rng(n)
    arm = PlanarArm(rng.uniform(0.5, 1.2, n), base=rng.normal(size=2))
    discs = sample_scene(rng, arm, 4).obstacles
    q = rng.uniform(-2.5, 2.5, (40, n))
    step = 1e-6
    hessian = signed_distance_hessian(q, arm, discs)
    bend = end_effector_hessian(q, arm)
    for i in range(n):
        shift = step * np.eye(n)[i]
        up, down = (signed_distance_gradient(q + sign * shift, arm, discs)[1] for sign in (1, -1))
        wrong = np.abs((up - down) / (2 * step) - hessian[..., i]) > 1e-5
        # (Where the nearest point enters or leaves the link's end, the second derivative jumps.)
        assert wrong.mean() < 1e-3
        up, down = (np.asarray(arm.jacobian(q + sign * shift)) for sign in (1, -1))
        np.testing.assert_allclose(bend[..., i], (up - down) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, -1, -2), atol=1e-12)


def test_hessian_is_zero_at_masked_discs_and_through_centres() -> None:
    arm = make_arm("unit2")
    discs = Obstacles([[0.5, 0.0], [1.0, 1.0]], [0.1, 0.1], mask=np.array([True, False]))
    hessian = signed_distance_hessian(np.zeros(2), arm, discs)
    assert not hessian[:, 1].any()
    assert not hessian[0, 0].any()


def differences(make: Any, value: np.ndarray, weight: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of ``sum(weight * q)`` with respect to ``value (n,)``."""
    return np.array([
        ((make(value + shift).q - make(value - shift).q) * weight).sum() / (2 * step)
        for shift in step * np.eye(len(value))
    ])  # fmt: skip


def active_pairs(answer: Projection) -> int:
    distance, _ = signed_distance_gradient(answer.q, answer.scene.arm, answer.scene.obstacles)
    return int((np.asarray(distance) < answer.scene.safety_margin + 1e-6).sum())


def one_disc() -> tuple[Scene, np.ndarray]:
    # The disc stands where the second link wants to be.
    return Scene(make_arm("unit3"), Obstacles([[1.4, 0.35]], [0.3])), np.array([0.1, 0.3, -0.2])


def test_one_active_disc_needs_the_curvature() -> None:
    scene, q_ref = one_disc()
    answer = project(q_ref, scene, **EXACT)
    assert answer.converged
    assert active_pairs(answer) == 1
    weight = np.array([0.3, -1.0, 0.7])
    exact, rough = (answer.vjp(weight, mode=mode)[0] for mode in ("exact", "gauss-newton"))
    numeric = differences(lambda value: project(value, scene, **EXACT), q_ref, weight)
    np.testing.assert_allclose(exact, numeric, atol=1e-6)
    assert np.abs(rough - numeric).max() > 1e-2


def test_vertices_agree_and_do_not_move() -> None:
    arm = PlanarArm([1.0, 1.0])
    # One disc for each link.
    scene = Scene(arm, Obstacles([[0.5, 0.3], [1.5, -0.25]], [0.25, 0.4]))
    answer = project([0.4, -0.5], scene, **EXACT)
    if active_pairs(answer) < 2:
        answer = project([0.6, -1.2], scene, **EXACT)
    assert answer.converged
    assert active_pairs(answer) == 2
    weight = np.array([1.0, -2.0])
    for mode in ("exact", "gauss-newton"):
        np.testing.assert_allclose(answer.vjp(weight, mode=mode)[0], 0.0, atol=1e-9)


def test_joint_limits() -> None:
    scene = Scene(make_arm("duka"), Obstacles.none())
    q_ref = np.array([4.0, -1.0, 2.0])
    answer = project(q_ref, scene)
    for mode in ("exact", "gauss-newton"):
        np.testing.assert_allclose(answer.vjp([1.0, 1.0, 1.0], mode=mode)[0], [0.0, 1.0, 0.0], atol=1e-11)


@pytest.mark.parametrize("with_disc", [False, True])
def test_target_and_proposal(with_disc: bool) -> None:
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[1.45, -0.2]], [0.18])) if with_disc else Scene(arm, Obstacles.none())
    q_ref, target = np.array([0.2, 0.5, 0.4]), np.array([1.9, 1.2])
    answer = project(q_ref, scene, target_position=target, **EXACT)
    assert answer.converged
    assert answer.source == Source.PROJECTED
    assert active_pairs(answer) == (1 if with_disc else 0)
    weight = np.array([0.5, -0.8, 1.1])
    found = answer.vjp(weight)
    assert found[1] is not None
    numeric = differences(lambda value: project(value, scene, target_position=target, **EXACT), q_ref, weight)
    np.testing.assert_allclose(found[0], numeric, atol=2e-5)
    numeric = differences(lambda value: project(q_ref, scene, target_position=value, **EXACT), target, weight)
    np.testing.assert_allclose(found[1], numeric, atol=2e-5)
    if with_disc:
        # A vertex: two rows of the target and one of the disc.
        np.testing.assert_allclose(answer.vjp(weight, mode="gauss-newton")[1], found[1], atol=1e-7)
    else:
        assert np.abs(answer.vjp(weight, mode="gauss-newton")[0] - found[0]).max() > 1e-3


def test_many_random_rows_against_differences() -> None:
    rng = np.random.default_rng(0)
    arm = make_arm("unit3")
    scene = Scene.stack([sample_scene(rng, arm, 4) for _ in range(80)])
    q_ref = rng.uniform(-1.5, 1.5, (80, 3))
    answer = project(q_ref, scene, **EXACT)
    weight = rng.normal(size=(80, 3))
    exact, _ = answer.vjp(weight)
    step, numeric = 1e-5, np.zeros((80, 3))
    for i in range(3):
        up, down = (project(q_ref + sign * step * np.eye(3)[i], scene, **EXACT) for sign in (1, -1))
        numeric[:, i] = ((up.q - down.q) * weight).sum(-1) / (2 * step)
    moved = answer.converged & (answer.source == Source.PROJECTED)
    assert moved.sum() > 8
    error = np.abs(exact - numeric).max(axis=-1)
    assert (error[moved] < 1e-4).mean() >= 0.85
    assert np.median(error[moved]) < 1e-6
    still = answer.source == Source.PROPOSAL
    np.testing.assert_allclose(exact[still], weight[still], atol=1e-12)


def test_mirrored_branch_is_differentiated_through_the_mirror() -> None:
    arm = make_arm("unit2")
    q_ref = np.array([0.4, 1.0])
    # The elbow is blocked on one side: the target itself cannot be met there.
    target = np.asarray(arm.end_effector(q_ref)) * 1.02
    elbow = np.asarray(arm.forward_kinematics(q_ref))[1]
    scene = Scene(arm, Obstacles([elbow * 1.05], [0.2]))
    answer = project(q_ref, scene, target_position=target, num_restarts=0, **EXACT)
    assert answer.source == Source.BRANCH
    weight = np.array([0.7, -0.4])
    found = answer.vjp(weight)
    assert found[1] is not None
    # Two links on a target have no freedom left: only the target moves them.
    np.testing.assert_allclose(found[0], 0.0, atol=1e-9)
    make = lambda value: project(q_ref, scene, target_position=value, num_restarts=0, **EXACT)  # noqa: E731
    np.testing.assert_allclose(found[1], differences(make, target, weight), atol=1e-5)


def test_mirror_has_the_right_derivative() -> None:
    from planararm.projection.sensitivity import _mirror_vjp

    rng = np.random.default_rng(2)
    scene = Scene(make_arm("unit3"), Obstacles.none())
    q, weight, step = rng.uniform(-2, 2, (10, 3)), rng.normal(size=(10, 3)), 1e-6
    numeric = np.stack([
        ((mirror_branch(q + step * e, scene) - mirror_branch(q - step * e, scene)) * weight).sum(-1) / (2 * step)
        for e in np.eye(3)
    ], axis=-1)  # fmt: skip
    np.testing.assert_allclose(_mirror_vjp(q, weight, scene.arm), numeric, atol=1e-7)


def test_nothing_flows_where_the_answer_does_not_depend_on_the_proposal() -> None:
    scene, q_ref = one_disc()
    start = np.array([2.5, 0.1, 0.1])
    led = project(q_ref - 2.0, scene, q_start=start)
    gradient, _ = led.vjp(np.ones(3))
    if led.source in (Source.STOPPED, Source.HELD):
        assert not gradient.any()
    covered = Scene(scene.arm, Obstacles([[0.35, 0.0], [-0.35, 0.0], [0.0, 0.35], [0.0, -0.35]], [0.24] * 4))
    none = project(q_ref, covered)
    assert none.source == Source.NONE
    assert not none.vjp(np.ones(3))[0].any()


def test_shared_proposals_get_the_sum() -> None:
    scene, q_ref = one_disc()
    other = Scene(scene.arm, Obstacles([[1.0, 1.9]], [0.3]))
    both = Scene.stack([scene, other])
    weight = np.array([[0.3, -1.0, 0.7], [1.0, 1.0, 1.0]])
    together, _ = project(q_ref, both, **EXACT).vjp(weight)
    parts = [project(q_ref, both[i], **EXACT).vjp(weight[i])[0] for i in range(2)]
    np.testing.assert_allclose(together, parts[0] + parts[1], atol=1e-12)
    assert together.shape == (3,)


def test_bad_input() -> None:
    scene, q_ref = one_disc()
    answer = project(q_ref, scene)
    with pytest.raises(InvalidInputError, match=r"grad_q must have the shape \(3,\) of q, got \(2,\)"):
        answer.vjp(np.ones(2))
    with pytest.raises(UnknownNameError, match=r"Unknown mode 'newton'.*Known: exact, gauss-newton"):
        answer.vjp(np.ones(3), mode="newton")
