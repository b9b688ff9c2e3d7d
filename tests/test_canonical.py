"""The frame in which networks see a scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planararm import Obstacles, PlanarArm, make_arm, signed_distance
from planararm.learning.projected_torch import joint_angles
from planararm.policies.canonical import canonical_batch, joint_angles_from_directions

ANGLE = st.floats(-10, 10)
SEED = st.integers(0, 2**32 - 1)


def drawn(seed: int, arm: PlanarArm, count: int = 6, discs: int = 3):
    rng = np.random.default_rng(seed)
    q = rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (count, arm.num_joints))
    target = arm.base + rng.uniform(-0.7, 0.7, (count, 2)) * arm.reach
    centers = arm.base + rng.uniform(-1, 1, (count, discs, 2)) * arm.reach
    return target, q, Obstacles(centers, rng.uniform(0.05, 0.2, (count, discs)) * arm.reach)


def frame(target, q, arm, obstacles, link_radius=0.01):
    return canonical_batch(target, q, arm, obstacles, link_radius=link_radius)


@settings(max_examples=50, deadline=None)
@given(SEED, ANGLE, st.floats(0.1, 20))
def test_turning_and_scaling_everything_changes_nothing(seed: int, angle: float, factor: float):
    arm = make_arm("unit3")
    larger = PlanarArm(arm.link_lengths * factor, link_radius=arm.link_radius * factor, base=[3.0, -1.0])
    target, q, discs = drawn(seed, arm)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = Obstacles(larger.base + factor * discs.centers @ turn, factor * np.asarray(discs.radii))
    first, second = (
        frame(target, q, arm, discs),
        frame(larger.base + factor * target @ turn, q + np.array([angle, 0, 0]), larger, moved),
    )
    for name in ("distance", "discs", "present"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=2e-5)


def test_the_target_lies_on_the_positive_x_axis():
    arm = make_arm("unit3")
    target, q, discs = drawn(1, arm)
    batch = frame(target, q, arm, discs)
    np.testing.assert_allclose(batch.distance, np.linalg.norm(target, axis=1) / arm.reach, rtol=1e-6)
    miss = np.linalg.norm(batch.discs[..., :2] - np.stack([batch.distance, 0 * batch.distance], -1)[:, None], axis=-1)
    np.testing.assert_allclose(miss, np.linalg.norm(discs.centers - target[:, None], axis=-1) / arm.reach, atol=1e-6)


def test_thicker_links_become_larger_discs():
    thin, thick = make_arm("unit3"), PlanarArm([1.0, 1.0, 1.0], link_radius=0.1)
    target, q, discs = drawn(2, thick)
    batch = frame(target, q, thick, discs, link_radius=thin.link_radius / thin.reach)
    grown = Obstacles(discs.centers, batch.discs[..., 2].astype(float) * thick.reach)
    np.testing.assert_allclose(signed_distance(q, thin, grown), signed_distance(q, thick, discs), atol=1e-6)


def test_masked_discs_and_no_discs():
    arm = make_arm("unit3")
    target, q, discs = drawn(3, arm)
    mask = np.array([True, False, True])
    batch = frame(target, q, arm, Obstacles(discs.centers, discs.radii, mask=np.broadcast_to(mask, (6, 3))))
    assert (batch.mask == mask).all()
    assert (batch.discs[:, 1] == 0).all()
    empty = frame(target, q, arm, Obstacles.none())
    assert empty.discs.shape == (6, 1, 3)
    assert not empty.mask.any()


@settings(max_examples=50, deadline=None)
@given(SEED, st.sampled_from(["unit3", "unit5", "duka"]))
def test_angles_of_the_present_directions_are_where_the_arm_is(seed: int, name: str):
    arm = make_arm(name)
    target, q, discs = drawn(seed, arm)
    batch = frame(target, q, arm, discs)
    again = joint_angles_from_directions(batch.present[:, None], batch.bearing, arm, q)[:, 0]
    # A joint at its limit may come back at the other end of a full range, a turn away.
    turns = (again - q) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)
    assert (np.abs(again - q) < 1e-4).mean() > 0.9
    assert (arm.limit_violation(again) == 0).all()


def test_the_first_joint_takes_the_turn_nearest_to_where_it_is():
    arm = make_arm("unit3")
    up = np.array([[[[0.0, 1.0]] * 3]])
    for first, expected in ((5.0, np.pi / 2), (-5.0, -1.5 * np.pi), (1.0, np.pi / 2), (-1.5, np.pi / 2)):
        found = joint_angles_from_directions(up, np.zeros(1), arm, np.array([[first, 0.0, 0.0]]))
        assert found[0, 0, 0] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(SEED)
def test_the_chosen_turn_is_the_best_of_all_within_the_limits(seed: int):
    rng = np.random.default_rng(seed)
    middle, half = rng.uniform(-4, 4, 4), rng.uniform(0.2, 8, 4)
    limits = np.stack([middle - half, middle + half], axis=-1)
    arm = PlanarArm(rng.uniform(0.3, 2, 4), limits)
    q, bearing = rng.uniform(limits[:, 0], limits[:, 1], (5, 4)), rng.uniform(-np.pi, np.pi, 5)
    directions = rng.uniform(0.1, 3, (5, 3, 4, 1)) * _unit(rng.uniform(-np.pi, np.pi, (5, 3, 4)))
    found = joint_angles_from_directions(directions, bearing, arm, q)
    assert (arm.limit_violation(found) == 0).all()
    heading = np.arctan2(directions[..., 1], directions[..., 0]) + bearing[:, None, None]
    relative = np.diff(heading, axis=-1, prepend=0.0)
    turns = relative[..., None] + 2 * np.pi * np.arange(-6, 7)
    inside = (turns >= limits[:, :1]) & (turns <= limits[:, 1:])
    away = np.where(inside, np.abs(turns - q[:, None, :, None]), np.inf)
    possible = inside.any(axis=-1)
    best = np.take_along_axis(turns, away.argmin(axis=-1)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found[possible], best[possible], atol=1e-9)
    low, high = (np.broadcast_to(side, found.shape) for side in limits.T)
    assert ((found == low) | (found == high))[~possible].all()


def _unit(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def test_an_angle_at_its_limit_stays_there():
    arm = make_arm("unit3")
    q = np.array([[2 * np.pi, np.pi, -np.pi], [-2 * np.pi, -np.pi, np.pi]])
    for bearing in np.linspace(-np.pi, np.pi, 41):
        heading = np.cumsum(q, axis=-1) - bearing
        found = joint_angles_from_directions(_unit(heading)[:, None], np.full(2, bearing), arm, q)[:, 0]
        np.testing.assert_allclose(found, q, atol=1e-9)


def test_a_target_at_the_base_and_discs_that_all_rows_share():
    arm = PlanarArm([1.0, 1.0], base=[2.0, 3.0])
    shared = Obstacles([[3.0, 3.0], [2.0, 4.0]], [0.2, 0.1])
    batch = frame(np.array([[2.0, 3.0], [2.0, 4.0]]), np.zeros((2, 2)), arm, shared)
    np.testing.assert_array_equal(batch.bearing, [0.0, np.pi / 2])
    np.testing.assert_allclose(batch.distance, [0.0, 0.5])
    np.testing.assert_allclose(batch.discs[0, :, :2], [[0.5, 0.0], [0.0, 0.5]], atol=1e-7)
    np.testing.assert_allclose(batch.discs[1, :, :2], [[0.0, -0.5], [0.5, 0.0]], atol=1e-7)
    assert batch.mask.all()


def test_seam():
    arm = make_arm("unit3")
    for bearing in (np.pi, -np.pi, np.pi - 1e-9, -np.pi + 1e-9):
        found = joint_angles_from_directions(np.array([[[[1.0, 0.0]] * 3]]), np.array([bearing]), arm, np.zeros((1, 3)))
        np.testing.assert_allclose(arm.end_effector(found[0, 0]), [-3.0, 0.0], atol=1e-8)


def test_the_twin_for_tensors():
    rng = np.random.default_rng(0)
    for name in ("unit3", "unit5"):
        arm = make_arm(name)
        directions = rng.normal(size=(8, 2, arm.num_joints, 2))
        bearing, q = rng.uniform(-3, 3, 8), np.zeros((8, arm.num_joints))
        tensor = torch.tensor(directions, requires_grad=True)
        found = joint_angles(tensor, torch.tensor(bearing), arm)
        np.testing.assert_allclose(
            found.detach().numpy(), joint_angles_from_directions(directions, bearing, arm, q), atol=1e-12
        )
        assert torch.autograd.gradcheck(joint_angles, (tensor, torch.tensor(bearing), arm))


def test_the_twin_keeps_to_the_middle_of_each_range():
    rng = np.random.default_rng(1)
    arm = make_arm("duka")
    angle, bearing = torch.tensor(rng.uniform(-3, 3, (200, 1, 3))), torch.tensor(rng.uniform(-3, 3, 200))
    directions = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    found = joint_angles(directions.float(), bearing, arm)
    assert found.dtype == torch.float64
    assert (np.abs(found.numpy() - arm.joint_limits.mean(axis=1)) <= np.pi + 1e-6).all()
    # Where every angle is within its limits, there is one way only, and both find it.
    within = arm.limit_violation(found.numpy())[:, 0] == 0
    assert within.sum() > 10
    exact = joint_angles_from_directions(directions.float().numpy(), bearing.numpy(), arm, np.ones((200, 3)))
    np.testing.assert_allclose(found.numpy()[within], exact[within], atol=1e-12)
