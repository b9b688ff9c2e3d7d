from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planararm import collision
from planararm.arm import PlanarArm
from planararm.obstacles import Obstacles

SEEDS = st.integers(0, 2**32 - 1)


def random_case(seed: int, batch: tuple[int, ...] = (), discs: int = 4) -> tuple[np.ndarray, PlanarArm, Obstacles]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    arm = PlanarArm(rng.uniform(0.3, 1.0, n), base=rng.uniform(-1, 1, 2), link_radius=rng.uniform(0.0, 0.1))
    centers = arm.base + rng.uniform(-n, n, (*batch, discs, 2))
    obstacles = Obstacles(centers, rng.uniform(0.05, 0.5, (*batch, discs)))
    return rng.uniform(-3, 3, (*batch, n)), arm, obstacles


def sampled_distance(q: np.ndarray, arm: PlanarArm, obstacles: Obstacles, num: int = 4001) -> np.ndarray:
    """Brute force: points along every link's axis."""
    positions = arm.forward_kinematics(q)
    shares = np.linspace(0, 1, num)[:, None, None]
    points = positions[:-1] + shares * (positions[1:] - positions[:-1])
    away = np.hypot(*np.moveaxis(points[:, :, None] - obstacles.centers, -1, 0)).min(axis=0)
    return away - obstacles.radii - arm.link_radius


@given(SEEDS)
def test_signed_distances_agree_with_sampled_links(seed):
    q, arm, obstacles = random_case(seed)
    got, brute = collision.signed_distance(q, arm, obstacles), sampled_distance(q, arm, obstacles)
    assert got.shape == (arm.num_joints, 4)
    assert (got <= brute + 1e-12).all()
    assert (got >= brute - arm.link_lengths[:, None] / 8000 - 1e-12).all()
    assert collision.clearance(q, arm, obstacles) == got.min()


@given(SEEDS)
def test_clearance_is_1_lipschitz_in_a_disc_s_centre_and_radius(seed):
    q, arm, obstacles = random_case(seed)
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=(4, 2))
    moved = Obstacles(obstacles.centers + shift, obstacles.radii)
    change = collision.signed_distance(q, arm, moved) - collision.signed_distance(q, arm, obstacles)
    assert (np.abs(change) <= np.hypot(*shift.T) + 1e-12).all()
    grown = Obstacles(obstacles.centers, obstacles.radii + 0.1)
    np.testing.assert_allclose(
        collision.clearance(q, arm, grown), collision.clearance(q, arm, obstacles) - 0.1, atol=1e-12
    )


@given(SEEDS, st.floats(0.1, 10.0))
def test_scaling_everything_scales_the_clearance(seed, scale):
    q, arm, obstacles = random_case(seed)
    larger = PlanarArm(scale * arm.link_lengths, base=scale * arm.base, link_radius=scale * arm.link_radius)
    discs = Obstacles(scale * obstacles.centers, scale * obstacles.radii)
    np.testing.assert_allclose(
        collision.clearance(q, larger, discs), scale * collision.clearance(q, arm, obstacles), atol=1e-10
    )


@given(SEEDS)
def test_gradients_are_the_derivatives_of_the_distances(seed):
    q, arm, obstacles = random_case(seed)
    distance, gradient = collision.signed_distance_gradient(q, arm, obstacles)
    np.testing.assert_allclose(distance, collision.signed_distance(q, arm, obstacles), atol=1e-12)
    step = 1e-6 * np.eye(arm.num_joints)
    ahead, behind = (collision.signed_distance(q + sign * step, arm, obstacles) for sign in (1, -1))
    # The distance to the axis has a kink where the axis passes through a disc's centre.
    smooth = distance + obstacles.radii + arm.link_radius > 1e-3
    np.testing.assert_allclose(
        gradient[smooth], np.moveaxis((ahead - behind) / 2e-6, 0, -1)[smooth], atol=1e-5 * arm.reach
    )
    clearance, row = collision.clearance_gradient(q, arm, obstacles)
    nearest = np.unravel_index(distance.argmin(), distance.shape)
    assert clearance == distance[nearest]
    np.testing.assert_array_equal(row, gradient[nearest])


@given(SEEDS)
def test_torch_autograd_gives_the_same_gradients(seed):
    q, arm, obstacles = random_case(seed)
    tensor = torch.tensor(q)
    by_autograd = torch.autograd.functional.jacobian(lambda x: collision.signed_distance(x, arm, obstacles), tensor)
    distance, gradient = collision.signed_distance_gradient(q, arm, obstacles)
    smooth = distance + obstacles.radii + arm.link_radius > 1e-6
    np.testing.assert_allclose(by_autograd.numpy()[smooth], gradient[smooth], atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_tensors_in_tensors_out(dtype, tolerance):
    q, arm, obstacles = random_case(3, (5,))
    masked = Obstacles(obstacles.centers, obstacles.radii, mask=np.arange(20).reshape(5, 4) % 3 > 0)
    tensor = torch.tensor(q, dtype=dtype)
    for discs in (obstacles, masked):
        for function in (collision.signed_distance, collision.clearance, collision.witness_points):
            got = function(tensor, arm, discs)
            assert got.dtype == dtype
            np.testing.assert_allclose(got.numpy(), function(q, arm, discs), atol=tolerance)
        for function in (collision.signed_distance_gradient, collision.clearance_gradient):
            for got, expected in zip(function(tensor, arm, discs), function(q, arm, discs), strict=True):
                assert got.dtype == dtype
                np.testing.assert_allclose(got.numpy(), expected, atol=10 * tolerance)
    np.testing.assert_allclose(
        collision.self_clearance(tensor, arm).numpy(), collision.self_clearance(q, arm), atol=tolerance
    )


def test_gradients_flow_into_discs_that_are_tensors():
    centers = torch.tensor([[1.5, 1.0]], dtype=torch.float64, requires_grad=True)
    obstacles = Obstacles(centers, torch.tensor([0.2], dtype=torch.float64))
    q = torch.zeros(2, dtype=torch.float64)
    collision.clearance(q, PlanarArm([1.0, 1.0]), obstacles).backward()
    np.testing.assert_allclose(centers.grad.numpy(), [[0.0, 1.0]])


@given(SEEDS)
def test_witness_points_lie_on_both_surfaces_at_the_signed_distance(seed):
    q, arm, obstacles = random_case(seed)
    on_link, on_disc = np.moveaxis(collision.witness_points(q, arm, obstacles), -2, 0)
    distance = collision.signed_distance(q, arm, obstacles)
    np.testing.assert_allclose(np.hypot(*(on_link - on_disc).T).T, np.abs(distance), atol=1e-12)
    from_center = on_disc - obstacles.centers
    np.testing.assert_allclose(np.hypot(*from_center.T).T, np.broadcast_to(obstacles.radii, distance.shape), atol=1e-12)
    positions = arm.forward_kinematics(q)
    for k in range(arm.num_joints):
        axis = positions[k] + np.linspace(0, 1, 4001)[:, None] * (positions[k + 1] - positions[k])
        off_axis = np.hypot(*(axis[:, None] - on_link[k]).transpose(2, 0, 1)).min(axis=0)
        # Inside a deep overlap the point lies across the axis, where the capsule's surface may be nearer.
        outside = distance[k] > 0
        np.testing.assert_allclose(off_axis[outside], arm.link_radius, atol=1e-3)


@given(SEEDS)
def test_self_clearance_agrees_with_sampled_links(seed):
    q, arm, _ = random_case(seed)
    got = collision.self_clearance(q, arm)
    if arm.num_joints < 3:
        assert got == np.inf
        return
    positions = arm.forward_kinematics(q)
    points = positions[:-1] + np.linspace(0, 1, 201)[:, None, None] * (positions[1:] - positions[:-1])
    pairs = [(i, j) for i in range(arm.num_joints) for j in range(i + 2, arm.num_joints)]
    brute = min(np.hypot(*(points[:, i][:, None] - points[:, j][None]).transpose(2, 0, 1)).min() for i, j in pairs)
    brute -= 2 * arm.link_radius
    assert brute - 0.01 <= got <= brute + 1e-12


def test_a_batch_is_a_loop_and_broadcasts_either_way():
    q, arm, obstacles = random_case(7, (3,))
    clearance, gradient = collision.clearance_gradient(q, arm, obstacles)
    for i in range(3):
        one, row = collision.clearance_gradient(q[i], arm, obstacles[i])
        np.testing.assert_allclose((clearance[i], *gradient[i]), (one, *row), atol=1e-13)
    many_scenes, _ = collision.clearance_gradient(q[0], arm, obstacles)
    many_arms, _ = collision.clearance_gradient(q, arm, obstacles[0])
    assert many_scenes.shape == many_arms.shape == (3,)
    np.testing.assert_allclose(many_scenes[1], collision.clearance(q[0], arm, obstacles[1]), atol=1e-13)


def test_masked_discs_are_infinitely_far():
    q, arm, obstacles = random_case(11)
    masked = Obstacles(obstacles.centers, obstacles.radii, mask=[True, False, True, True])
    distance, gradient = collision.signed_distance_gradient(q, arm, masked)
    assert np.isposinf(distance[:, 1]).all()
    assert (gradient[:, 1] == 0).all()
    rest = Obstacles(obstacles.centers[[0, 2, 3]], obstacles.radii[[0, 2, 3]])
    assert collision.clearance(q, arm, masked) == collision.clearance(q, arm, rest)


def test_without_discs_the_clearance_is_infinite():
    arm, q = PlanarArm([1.0, 1.0]), np.zeros((3, 2))
    clearance, gradient = collision.clearance_gradient(q, arm, Obstacles.none())
    assert np.isposinf(clearance).all()
    assert clearance.shape == (3,)
    np.testing.assert_array_equal(gradient, np.zeros((3, 2)))


def test_an_axis_through_a_disc_s_centre_has_finite_gradients():
    arm = PlanarArm([1.0, 1.0])
    distance, gradient = collision.signed_distance_gradient(np.zeros(2), arm, Obstacles([[0.5, 0.0]], [0.2]))
    assert distance[0, 0] == -0.2 - arm.link_radius
    assert np.isfinite(gradient).all()
