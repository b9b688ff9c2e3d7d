"""Closed-form branches, the self-motion curve and the nearest free solution against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.collision import clearance
from planararm.errors import InvalidInputError
from planararm.inverse import (
    BLOCKED,
    FREE,
    OUT_OF_REACH,
    closed_form,
    nearest_free,
    nearest_solution,
    self_motion,
    within_reach,
)
from planararm.kinematics import wrap_angle
from planararm.obstacles import Obstacles
from planararm.scene import Scene

lengths = st.floats(0.1, 3.0)
angles = st.floats(-np.pi, np.pi)


def draw(arm: PlanarArm, count: int, seed: int) -> np.ndarray:
    low, high = arm.joint_limits.T
    return np.random.default_rng(seed).uniform(low, high, (count, arm.num_joints))


def same_pose(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference of any joint angle modulo 2 pi."""
    return np.abs(wrap_angle(a - b)).max(axis=-1)


@pytest.mark.parametrize("name", ["unit2", "unit3", "duka"])
def test_closed_form_reaches_the_target(name: str) -> None:
    arm = make_arm(name)
    targets = arm.end_effector(draw(arm, 500, 1))
    q, valid = closed_form(targets, arm)
    assert valid.any(axis=-1).mean() > 0.9
    miss = np.linalg.norm(arm.end_effector(q) - targets[:, None], axis=-1)
    assert miss.max() < 1e-12 * arm.reach
    assert arm.limit_violation(q[valid]).max() == 0


@given(l1=lengths, l2=lengths, q1=angles, q2=angles)
def test_two_links_have_both_elbows(l1: float, l2: float, q1: float, q2: float) -> None:
    arm = PlanarArm([l1, l2], [[-4, 4], [-4, 4]])
    target = arm.end_effector(np.array([q1, q2]))
    q, valid = closed_form(target, arm)
    assert valid.all()
    np.testing.assert_allclose(arm.end_effector(q), np.stack([target, target]), atol=1e-12 * arm.reach)
    if abs(np.sin(q2)) > 1e-4 and np.linalg.norm(target) > 1e-4:
        # Neither straight nor folded: one branch is where we came from, the other its mirror.
        assert same_pose(q, np.array([q1, q2])).min() < 1e-9
        assert q[0, 1] == pytest.approx(-q[1, 1], abs=1e-9)


def test_one_link_reaches_its_circle_only() -> None:
    arm = PlanarArm([2.0], base=[1.0, -1.0])
    q, valid = closed_form([[1.0, 1.0], [1.0, 1.5]], arm)
    assert valid.tolist() == [[True], [False]]
    assert q[0, 0, 0] == pytest.approx(np.pi / 2)
    assert closed_form([1.0, 1.0], arm, target_orientation=np.pi / 2)[1].all()
    assert not closed_form([1.0, 1.0], arm, target_orientation=0.3)[1].any()


@pytest.mark.parametrize("arm", [make_arm("unit3"), PlanarArm([1.5, 0.4, 0.8], base=[0.3, 0.2])])
def test_orientation_is_held_and_both_elbows_are_found(arm: PlanarArm) -> None:
    truth = np.random.default_rng(2).uniform(-np.pi, np.pi, (400, 3))
    target, orientation = arm.end_effector(truth), truth.sum(axis=-1)
    q, valid = closed_form(target, arm, target_orientation=orientation)
    assert q.shape == (400, 2, 3)
    assert valid.all()
    assert np.abs(arm.end_effector(q) - target[:, None]).max() < 1e-12 * arm.reach
    assert np.abs(wrap_angle(q.sum(axis=-1) - orientation[:, None])).max() < 1e-12
    assert same_pose(q, truth[:, None]).min(axis=1).max() < 1e-6


def test_brute_force_finds_no_further_branch() -> None:
    """Every grid configuration that happens to meet the target lies next to a branch."""
    arm = make_arm("unit2")
    grid = np.stack(np.meshgrid(*[np.linspace(-np.pi, np.pi, 721)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    tips = arm.end_effector(grid)
    for target in ([0.7, 0.9], [-1.5, 0.2], [0.1, -1.1]):
        hits = grid[np.linalg.norm(tips - target, axis=-1) < 0.01]
        q, valid = closed_form(target, arm)
        assert len(hits) > 1
        assert valid.all()
        assert same_pose(hits[:, None], q).min(axis=1).max() < 0.05
        assert same_pose(hits[:, None], q).min(axis=0).max() < 0.05


def test_angles_are_turned_into_the_limits() -> None:
    arm = PlanarArm([1.0, 1.0], [[5.0, 8.0], [3.5, 6.0]])
    q, valid = closed_form(arm.end_effector(np.array([6.0, 4.0])), arm)
    assert valid.tolist() == [False, True]
    np.testing.assert_allclose(q[1], [6.0, 4.0], atol=1e-12)


def test_invalid_branches_are_finite() -> None:
    for name in ("unit2", "unit3"):
        q, valid = closed_form([[9.0, 0.0], [0.0, 0.0]], make_arm(name))
        assert np.isfinite(q).all()
        assert not valid[0].any()
        assert valid[1].any()


def test_samples_cover_the_whole_curve() -> None:
    arm = make_arm("unit3")
    truth = draw(arm, 100, 3)
    q, valid = closed_form(arm.end_effector(truth), arm, num_branches=2000)
    assert valid.all()
    assert same_pose(q, truth[:, None]).min(axis=1).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_position": [0.0, np.nan]}, "target_position must be finite"),
        ({"target_position": [0.0, 1.0, 2.0]}, r"target_position must have shape \(\*batch, 2\)"),
        ({"target_position": 1.0}, r"target_position must have shape \(\*batch, 2\)"),
        ({"target_position": "far"}, "target_position must be numbers"),
        ({"target_position": [[1.0, 0.0]] * 3, "target_orientation": [0.0, 1.0]}, "do not broadcast"),
        (
            {"target_position": [1.0, 0.0], "num_branches": 6},
            "num_branches must be a positive multiple of 4, got 6",
        ),
    ],
)
def test_closed_form_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        closed_form(arm=make_arm("unit3"), **arguments)


def test_more_links_have_no_closed_form() -> None:
    with pytest.raises(InvalidInputError, match="arms of 1 to 3 links, this one has 5"):
        closed_form([1.0, 1.0], make_arm("unit5"))
    with pytest.raises(InvalidInputError, match="arms of 1 to 3 links, this one has 10"):
        nearest_free([1.0, 1.0], np.zeros(10), Scene(make_arm("snake10"), Obstacles.none()))
    with pytest.raises(InvalidInputError, match="arms of 3 links, this one has 2"):
        self_motion([1.0, 1.0], make_arm("unit2"))


@given(links=st.tuples(lengths, lengths, lengths), q=st.tuples(angles, angles, angles))
def test_self_motion_is_closed_and_exact(links: tuple[float, ...], q: tuple[float, ...]) -> None:
    arm = PlanarArm(links, base=[0.5, -0.25])
    target = arm.end_effector(np.array(q))
    curves = self_motion(target, arm, num_points=64)
    assert 1 <= len(curves) <= 2
    for curve in curves:
        assert curve.shape == (64, 3)
        assert np.abs(arm.end_effector(curve) - target).max() < 1e-12 * arm.reach


@pytest.mark.parametrize(
    ("link_lengths", "distance", "num_curves"),
    [
        ([1.0, 1.0, 1.0], 2.0, 1),
        ([1.0, 1.0, 1.0], 0.5, 2),
        ([1.0, 1.0, 0.3], 1.0, 2),
        ([2.0, 0.5, 1.0], 0.9, 1),
        ([2.0, 0.5, 1.0], 2.0, 2),
        ([1.0, 1.0, 0.4], 0.0, 2),
    ],
)
def test_self_motion_steps_are_small(link_lengths: list[float], distance: float, num_curves: int) -> None:
    """Neighbours on the curve are neighbours in the joint angles, the last and the first included."""
    curves = self_motion([0.6 * distance, -0.8 * distance], PlanarArm(link_lengths), num_points=4000)
    assert len(curves) == num_curves
    for curve in curves:
        assert same_pose(curve, np.roll(curve, 1, axis=0)).max() < 0.05
        assert np.abs(np.diff(curve, axis=0)).max() < 0.05


def test_self_motion_meets_every_solution() -> None:
    arm = make_arm("unit3")
    for truth in draw(arm, 20, 4):
        curves = np.concatenate(self_motion(arm.end_effector(truth), arm, num_points=4000))
        assert same_pose(curves, truth).min() < 0.05


def test_self_motion_out_of_reach_is_empty() -> None:
    assert self_motion([3.1, 0.0], make_arm("unit3")) == []
    assert self_motion([0.5, 0.0], PlanarArm([3.0, 1.0, 1.0])) == []
    with pytest.raises(InvalidInputError, match=r"one target of shape \(2,\), got \(1, 2\)"):
        self_motion([[1.0, 0.0]], make_arm("unit3"))
    with pytest.raises(InvalidInputError, match="num_points must be at least 8, got 3"):
        self_motion([1.0, 0.0], make_arm("unit3"), num_points=3)


def scene_with_discs(arm: PlanarArm, count: int, num_discs: int, seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    radii = arm.reach * rng.uniform(0.04, 0.15, (count, num_discs))
    away = radii + arm.link_radius + arm.reach * rng.uniform(0.05, 0.9, radii.shape)
    angle = rng.uniform(-np.pi, np.pi, radii.shape)
    centers = arm.base + np.stack([away * np.cos(angle), away * np.sin(angle)], axis=-1)
    return Scene(arm, Obstacles(centers, radii, mask=rng.random(radii.shape) < 0.9))


def targets_in_reach(arm: PlanarArm, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    radius, angle = 1.05 * arm.reach * np.sqrt(rng.random(count)), rng.uniform(-np.pi, np.pi, count)
    return arm.base + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def turned_towards(q: np.ndarray, q_from: np.ndarray, arm: PlanarArm) -> tuple[np.ndarray, np.ndarray]:
    """Brute force over turns: largest change from ``q_from`` within the limits, and whether within them."""
    turns = q[..., None] + 2 * np.pi * np.arange(-3, 4)
    low, high = arm.joint_limits.T
    inside = (turns >= low[:, None]) & (turns <= high[:, None])
    change = np.where(inside, np.abs(turns - q_from[..., None]), np.inf)
    return change.min(axis=-1).max(axis=-1), inside.any(axis=-1).all(axis=-1)


@pytest.mark.parametrize(
    "arm",
    [
        make_arm("unit2"),
        make_arm("unit3"),
        make_arm("duka"),
        PlanarArm([1.4, 0.5, 0.9], [[-2.0, 2.5], [-2.0, 2.6], [-1.5, 2.0]], base=[0.2, -0.1]),
    ],
    ids=["unit2", "unit3", "duka", "unequal"],
)
def test_nearest_free_is_free_exact_and_nearest(arm: PlanarArm) -> None:
    count = 60
    scene, targets, q_from = (
        scene_with_discs(arm, count, 3, 5),
        targets_in_reach(arm, count, 6),
        draw(arm, count, 7),
    )
    q, status = nearest_solution(targets, q_from, scene)
    assert np.isfinite(q).all()
    assert arm.limit_violation(q).max() == 0
    exact = status != OUT_OF_REACH
    assert np.abs(arm.end_effector(q) - targets)[exact].max() < 1e-9
    free = clearance(q, arm, scene.obstacles) >= scene.safety_margin
    assert free[status == FREE].all()
    assert len(np.unique(status)) == 3
    branches, valid = closed_form(targets, arm, num_branches=4000)
    discs = scene.obstacles
    for i in range(count):
        cost, inside = turned_towards(branches[i], q_from[i], arm)
        usable = valid[i].any() & inside
        usable &= np.abs(arm.end_effector(branches[i]) - targets[i]).max(axis=-1) < 1e-9
        here = clearance(branches[i], arm, discs[i]) >= scene.safety_margin
        best_any, best_free = (np.where(mask, cost, np.inf).min() for mask in (usable, usable & here))
        mine = np.abs(q[i] - q_from[i]).max()
        if status[i] == FREE:
            assert mine <= best_free + 1e-6
        elif status[i] == BLOCKED:
            assert np.isinf(best_free)
            assert mine <= best_any + 1e-6
        else:
            assert np.isinf(best_any)


def test_nearest_solution_out_of_reach_points_at_the_target() -> None:
    for name in ("unit2", "unit3"):
        scene = Scene(make_arm(name), Obstacles.none())
        q, status = nearest_solution([0.0, 9.0], np.zeros(scene.arm.num_joints), scene)
        assert status == OUT_OF_REACH
        np.testing.assert_allclose(scene.arm.end_effector(q), [0.0, scene.arm.reach], atol=1e-9)
    hollow = Scene(PlanarArm([3.0, 1.0, 1.0], base=[1.0, 1.0]), Obstacles.none())
    for target in ([1.2, 1.0], [1.0, 1.0]):
        q, status = nearest_solution(target, np.zeros(3), hollow)
        assert status == OUT_OF_REACH
        assert np.linalg.norm(hollow.arm.end_effector(q) - [1.0, 1.0]) == pytest.approx(1.0)


def test_nearest_from_a_solution_is_that_solution() -> None:
    for name in ("unit2", "unit3", "duka"):
        arm = make_arm(name)
        q_from = draw(arm, 50, 8)
        q, found = nearest_free(arm.end_effector(q_from), q_from, Scene(arm, Obstacles.none()))
        assert found.all()
        assert np.abs(q - q_from).max() < 1e-5


def test_nearest_batch_equals_loop_and_leaves_input_alone() -> None:
    arm = make_arm("unit3")
    scene, targets, q_from = scene_with_discs(arm, 40, 3, 9), targets_in_reach(arm, 40, 10), draw(arm, 40, 11)
    before = targets.copy(), q_from.copy()
    q, found = nearest_free(targets.reshape(5, 8, 2), q_from.reshape(5, 8, 3), scene_grid(scene, (5, 8)))
    assert q.shape == (5, 8, 3)
    for i in range(40):
        q_one, found_one = nearest_free(targets[i], q_from[i], scene[i])
        assert (q_one == q.reshape(40, 3)[i]).all()
        assert found_one == found.reshape(40)[i]
    assert (targets == before[0]).all()
    assert (q_from == before[1]).all()


def scene_grid(scene: Scene, shape: tuple[int, ...]) -> Scene:
    discs = scene.obstacles
    m = discs.num_obstacles
    return Scene(
        scene.arm,
        Obstacles(
            np.reshape(discs.centers, (*shape, m, 2)),
            np.reshape(discs.radii, (*shape, m)),
            mask=np.reshape(discs.mask, (*shape, m)),
        ),
        scene.safety_margin,
    )


def test_nearest_solution_refuses() -> None:
    scene = Scene(make_arm("unit3"), Obstacles.none())
    with pytest.raises(InvalidInputError, match=r"q must have shape \(\*batch, 3\), got \(2,\)"):
        nearest_solution([1.0, 1.0], [0.0, 0.0], scene)
    with pytest.raises(InvalidInputError, match="q must be finite"):
        nearest_solution([1.0, 1.0], [0.0, 0.0, np.inf], scene)
    with pytest.raises(InvalidInputError, match="do not broadcast"):
        nearest_solution(np.ones((3, 2)), np.zeros((2, 3)), scene)


def test_within_reach_knows_limits() -> None:
    arm = make_arm("duka")
    assert within_reach([[0.0, 6.0], [0.0, 6.1], [0.0, -5.0]], arm).tolist() == [True, False, False]
    assert within_reach([0.5, 0.0], PlanarArm([3.0, 1.0, 1.0])).tolist() is False
