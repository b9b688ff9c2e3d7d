from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm import Obstacles, PlanarArm, Scene, certify_motion, clearance, make_arm, signed_distance
from planararm.collision import self_clearance
from planararm.errors import InvalidInputError
from planararm.projection.constraints import constraint_rows, curvature_bound, self_distance_gradient
from planararm.projection.qp import solve_qp
from planararm.scene.generator import sample_scene


def random_scene(seed: int, n: int, num_obstacles: int = 3) -> tuple[Scene, np.random.Generator]:
    rng = np.random.default_rng(seed)
    arm = PlanarArm(rng.uniform(0.4, 1.2, n), link_radius=0.02, base=rng.normal(size=2))
    return sample_scene(rng, arm, num_obstacles), rng


def test_rows_are_the_linearised_distances() -> None:
    scene, rng = random_scene(0, 4)
    q = rng.uniform(-2, 2, (6, 4))
    rows = constraint_rows(q, scene)
    for shift in rng.normal(size=(5, 6, 4)) * 1e-4:
        there = signed_distance(q + shift, scene.arm, scene.obstacles).reshape(6, -1) - scene.safety_margin
        linear = rows.h - np.einsum("brn,bn->br", rows.G, q + shift)
        np.testing.assert_allclose(linear, there, atol=1e-6)
    np.testing.assert_array_equal(rows.lb, np.broadcast_to(scene.arm.joint_limits[:, 0], (6, 4)))
    np.testing.assert_allclose(constraint_rows(q, scene, margin=0.5).h, rows.h + scene.safety_margin - 0.5)


@pytest.mark.parametrize("certified", [False, True])
@pytest.mark.parametrize("self_collision", [False, True])
def test_torch_gives_the_same_rows_with_gradients(certified: bool, self_collision: bool) -> None:
    scene, rng = random_scene(1, 4)
    q = rng.uniform(-2, 2, (3, 4))
    options = {"certified": certified, "self_collision": self_collision, "trust": 0.1 if certified else None}
    plain = constraint_rows(q, scene, **options)
    leaf = torch.tensor(q, requires_grad=True)
    rows = constraint_rows(leaf, scene, **options)
    for ours, theirs in zip(plain, rows, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), atol=1e-13)
    weights = [torch.tensor(rng.normal(size=part.shape)) for part in plain[:2]]
    (rows.G * weights[0]).sum().backward(retain_graph=True)
    (rows.h * weights[1]).sum().backward()
    step = 1e-6
    for index in ((0, 0), (1, 2), (2, 3)):
        moved = np.zeros_like(q)
        moved[index] = step
        up, down = constraint_rows(q + moved, scene, **options), constraint_rows(q - moved, scene, **options)
        difference = sum(
            (((a - b) / (2 * step)) * weight.numpy()).sum()
            for a, b, weight in zip(up[:2], down[:2], weights, strict=True)
        )
        assert leaf.grad[index].item() == pytest.approx(difference, abs=1e-5, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.floats(0.02, 0.4))
def test_certified_polytope_contains_safe_motions_only(seed: int, n: int, trust: float) -> None:
    scene, rng = random_scene(seed, n)
    arm, discs = scene.arm, scene.obstacles
    q = arm.clip(rng.uniform(-2.5, 2.5, (30, n)))
    q = q[clearance(q, arm, discs) > scene.safety_margin]
    rows = constraint_rows(q, scene, trust=trust, certified=True)
    found = solve_qp(q + trust * rng.normal(size=q.shape), *rows)
    inside = found.status == 1
    start, end = q[inside], found.x[inside]
    share = np.linspace(0, 1, 60)[:, None, None]
    along = clearance(start + share * (end - start), arm, discs)
    assert (along >= scene.safety_margin - 1e-9).all()
    certificate = certify_motion(start, end, arm, discs, margin=max(scene.safety_margin - 1e-9, 0.0))
    assert (certificate.status == 1).all()


def test_standing_still_is_in_the_polytope_where_there_is_room() -> None:
    scene, rng = random_scene(3, 3)
    q = rng.uniform(-2, 2, (200, 3))
    bend = float(curvature_bound(np.full(3, 0.05), scene.arm.link_lengths).max())
    q = q[clearance(q, scene.arm, scene.obstacles) >= scene.safety_margin + bend]
    rows = constraint_rows(q, scene, trust=0.05, certified=True)
    assert len(q) > 50
    assert (np.einsum("brn,bn->br", rows.G, q) <= rows.h + 1e-12).all()


def test_curvature_bound_is_an_upper_bound_and_met() -> None:
    rng = np.random.default_rng(4)
    lengths = np.array([1.0, 0.7, 0.4])
    arm = PlanarArm(lengths)
    trust = np.array([0.1, 0.05, 0.2])
    bound = curvature_bound(trust, lengths)
    # The second derivative of a joint's place along a motion D, whose size is largest in a straight arm.
    worst = np.zeros(4)
    for q in [np.zeros(3), *rng.uniform(-3, 3, (200, 3))]:
        step = trust * rng.choice([-1, 1], 3) if q.any() else trust
        e = 1e-3
        second = (
            arm.forward_kinematics(q + e * step) - 2 * arm.forward_kinematics(q) + arm.forward_kinematics(q - e * step)
        )
        worst = np.maximum(worst, np.linalg.norm(second / e**2, axis=-1) / 2)
    assert (worst <= bound + 1e-6).all()
    np.testing.assert_allclose(worst, bound, rtol=1e-3)


def test_self_collision_rows() -> None:
    arm = make_arm("unit5")
    rng = np.random.default_rng(5)
    q = rng.uniform(-2.5, 2.5, (60, 5))
    distance, gradient = self_distance_gradient(q, arm)
    assert distance.shape == (60, 6)
    np.testing.assert_allclose(distance.min(axis=-1), self_clearance(q, arm), atol=1e-14)
    apart = distance > -2 * arm.link_radius + 1e-3
    step = 1e-7
    for i in range(5):
        up, _ = self_distance_gradient(q + step * np.eye(5)[i], arm)
        down, _ = self_distance_gradient(q - step * np.eye(5)[i], arm)
        right = np.abs((up - down) / (2 * step) - gradient[..., i])[apart] < 1e-5
        # (At the kinks, where another pair of points becomes the nearest, one side is right.)
        assert right.mean() > 0.995
    assert (gradient[~apart & (distance <= -2 * arm.link_radius)] == 0).all()
    rows = constraint_rows(q, Scene(arm, Obstacles([[9.0, 9.0]], [0.1])), self_collision=True)
    assert rows.G.shape == (60, 5 + 6, 5)
    np.testing.assert_allclose(rows.h[:, 5:] - np.einsum("brn,bn->br", rows.G[:, 5:], q), distance - 1e-3, atol=1e-13)
    assert constraint_rows(np.zeros(2), Scene(make_arm("unit2"), Obstacles.none()), self_collision=True).G.shape == (
        0,
        2,
    )


@pytest.mark.parametrize("certified", [False, True])
def test_masked_discs_never_act(certified: bool) -> None:
    arm = make_arm("unit3")
    mask = np.array([True, False])
    scene = Scene(arm, Obstacles([[1.0, 1.0], [2.0, 0.0]], [0.3, 0.4], mask=mask))
    rows = constraint_rows(np.array([0.1, 0.2, 0.3]), scene, trust=0.1, certified=certified)
    ghosts = np.tile(~mask, len(rows.h) // 2)
    assert np.isinf(rows.h[ghosts]).all()
    assert not rows.G[ghosts].any()
    alone = Scene(arm, Obstacles([[1.0, 1.0]], [0.3]))
    expected = constraint_rows(np.array([0.1, 0.2, 0.3]), alone, trust=0.1, certified=certified)
    np.testing.assert_array_equal(rows.G[~ghosts], expected.G)


def test_trust_box_and_starts_outside_the_limits() -> None:
    arm = make_arm("duka")
    scene = Scene(arm, Obstacles.none())
    rows = constraint_rows(np.array([0.05, -1.0, 2.0]), scene, trust=[0.1, 0.2, 0.3])
    np.testing.assert_allclose(rows.lb, [0.0, -1.2, np.pi / 2])
    np.testing.assert_allclose(rows.ub, [0.15, -0.8, np.pi / 2])
    each = constraint_rows(np.zeros((2, 3)), scene, trust=np.array([[0.1] * 3, [0.2] * 3]))
    np.testing.assert_allclose(each.ub[:, 0], [0.1, 0.2])


def test_one_scene_per_row() -> None:
    scene, rng = random_scene(6, 3)
    other, _ = random_scene(7, 3)
    stacked = Scene.stack([scene, Scene(scene.arm, Obstacles(other.obstacles.centers + 1, other.obstacles.radii))])
    q = rng.uniform(-1, 1, (2, 3))
    rows = constraint_rows(q, stacked)
    for i in range(2):
        np.testing.assert_allclose(rows.G[i], constraint_rows(q[i], stacked[i]).G, atol=1e-15)


@pytest.mark.parametrize(
    ("q", "options", "message"),
    [
        (np.zeros(3), {"certified": True}, "certified=True needs a trust box"),
        (np.zeros(3), {"trust": 0.0}, r"trust must be > 0 \[rad\], got 0.0"),
        (np.zeros(3), {"trust": [0.1, -0.1, 0.1]}, r"trust must be > 0"),
        (np.zeros(4), {}, r"q must have shape \(\*batch, 3\)"),
        ("here", {}, "q must be numbers"),
    ],
)
def test_bad_input(q: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        constraint_rows(q, Scene(make_arm("unit3"), Obstacles.none()), **options)
