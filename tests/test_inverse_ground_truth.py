"""Reachability verdicts against sweeps and against targets that are reachable by construction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.collision import clearance
from planararm.errors import InvalidInputError
from planararm.inverse import REACHABLE, UNDECIDED, UNREACHABLE, reachability
from planararm.obstacles import Obstacles
from planararm.scene import Scene

MARGIN = 1e-3


def random_limits(rng: np.random.Generator, n: int) -> np.ndarray:
    """Wide, narrow, right-angled and fixed joints in turn."""
    limits = np.empty((n, 2))
    for i in range(n):
        kind = rng.integers(5)
        if kind == 0:
            limits[i] = [-2 * np.pi, 2 * np.pi]
        elif kind == 1:
            limits[i] = np.sort(rng.uniform(-2 * np.pi, 2 * np.pi, 2))
        elif kind == 2:
            limits[i] = rng.choice([0.0, np.pi / 2, 1.0, np.pi])
        elif kind == 3:
            limits[i] = np.sort(rng.choice(np.arange(-4, 5) * np.pi / 2, 2, replace=False))
        else:
            limits[i] = np.sort(rng.uniform(-np.pi, np.pi, 2))
    return limits


def random_scene(rng: np.random.Generator, n: int, count: int) -> Scene:
    lengths = rng.uniform(0.2, 2.0, n) if rng.random() < 0.5 else rng.choice([0.5, 1.0, 1.5], n)
    arm = PlanarArm(lengths, random_limits(rng, n), base=rng.uniform(-1, 1, 2))
    m = int(rng.integers(0, 5))
    radii = arm.reach * rng.uniform(0.03, 0.2, (count, m))
    away, angle = (
        radii + arm.link_radius + arm.reach * rng.uniform(0.02, 1.0, (count, m)),
        rng.uniform(0, 7, (count, m)),
    )
    centers = arm.base + np.stack([away * np.cos(angle), away * np.sin(angle)], axis=-1)
    return Scene(arm, Obstacles(centers, radii, mask=rng.random((count, m)) < 0.8), MARGIN)


def check_witnesses(targets: np.ndarray, scene: Scene, result: tuple) -> None:
    verdict, q, room = result
    arm, reached = scene.arm, verdict == REACHABLE
    assert np.isnan(q[~reached]).all()
    assert np.isnan(room[~reached]).all()
    if reached.any():
        here = scene[reached] if scene.batch_shape else scene
        assert np.linalg.norm(arm.end_effector(q[reached]) - targets[reached], axis=-1).max() < 3e-12 * arm.reach
        assert arm.limit_violation(q[reached]).max() == 0
        measured = clearance(q[reached], arm, here.obstacles)
        assert measured.min() >= scene.safety_margin
        np.testing.assert_allclose(measured, room[reached], atol=1e-7)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 3))
def test_what_is_reachable_by_construction_is_never_denied(seed: int, n: int) -> None:
    """Targets come from configurations within the limits, often at a limit, straight or folded."""
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, n, 30)
    arm = scene.arm
    low, high = arm.joint_limits.T
    q = rng.uniform(low, high, (30, n))
    snap = rng.random((30, n))
    q = np.where(snap < 0.15, low, np.where(snap < 0.3, high, q))
    for special in (0.0, np.pi, -np.pi):
        q = np.where((rng.random((30, n)) < 0.1) & (low <= special) & (special <= high), special, q)
    targets = arm.end_effector(q)
    result = reachability(targets, scene)
    check_witnesses(targets, scene, result)
    room = clearance(q, arm, scene.obstacles)
    free = room >= MARGIN + 1e-6
    assert (result.verdict[free] == REACHABLE).all()
    assert (result.clearance[free] >= room[free] - 1e-3).all()


def sweep(target: np.ndarray, scene: Scene, count: int) -> float:
    """Best clearance within the limits over headings of the last link, by the law of cosines in NumPy."""
    arm = scene.arm
    l1, l2, l3 = arm.link_lengths
    local = target - arm.base
    edge = np.linspace(-np.pi, np.pi, count)
    turn = np.concatenate([edge, *(0.5 * (a + b) - 0.5 * (b - a) * np.cos(edge) for a, b in spans(local, arm))])
    heading = np.arctan2(local[1], local[0]) + turn
    wx, wy = local[0] - l3 * np.cos(heading), local[1] - l3 * np.sin(heading)
    cosine = (wx**2 + wy**2 - l1**2 - l2**2) / (2 * l1 * l2)
    possible = np.abs(cosine) <= 1
    bend = np.arccos(np.clip(cosine, -1, 1))
    best = -np.inf
    for q2 in (bend, -bend):
        q1 = np.arctan2(wy, wx) - np.arctan2(l2 * np.sin(q2), l1 + l2 * np.cos(q2))
        q = np.stack([q1, q2, heading - q1 - q2], axis=-1)
        low, high = arm.joint_limits.T
        q = q[possible & ((q - low) % (2 * np.pi) <= high - low).all(axis=-1)]
        if len(q):
            best = max(best, clearance(q, arm, scene.obstacles).max())
    return float(best)


def spans(local: np.ndarray, arm: PlanarArm) -> list[tuple[float, float]]:
    d, l3 = np.linalg.norm(local), arm.link_lengths[2]
    wrist = [abs(arm.link_lengths[0] - arm.link_lengths[1]), arm.link_lengths[:2].sum()]
    a, b = (np.arccos(np.clip((d**2 + l3**2 - w**2) / (2 * d * l3), -1, 1)) for w in wrist)
    return [(a, b), (-b, -a)]


@pytest.mark.parametrize("name", ["unit3", "duka", "random", "random too"])
def test_verdicts_agree_with_a_sweep(name: str) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    num_scenes = 60 if name in ("unit3", "duka") else 12
    for _ in range(1 if num_scenes == 60 else 5):
        scene = random_scene(rng, 3, num_scenes)
        if num_scenes == 60:
            arm = make_arm(name)
            scale = arm.reach / scene.arm.reach
            discs = scene.obstacles
            away = (np.asarray(discs.centers) - scene.arm.base) * scale
            scene = Scene(arm, Obstacles(away, np.asarray(discs.radii) * scale * 0.9, mask=discs.mask), MARGIN)
        arm = scene.arm
        radius, angle = arm.reach * np.sqrt(rng.random(num_scenes)), rng.uniform(0, 2 * np.pi, num_scenes)
        targets = arm.base + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        result = reachability(targets, scene)
        check_witnesses(targets, scene, result)
        for i in range(num_scenes):
            best = sweep(targets[i], scene[i], 3000)
            if result.verdict[i] == REACHABLE:
                assert best <= result.clearance[i] + 1e-3
            else:
                assert best < MARGIN + 1e-9


def test_smaller_tolerance_gives_a_better_witness() -> None:
    rng = np.random.default_rng(11)
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[1.2, 0.4], [-0.8, 1.5], [0.3, -1.7]], [0.3, 0.3, 0.3]))
    targets = arm.end_effector(rng.uniform(-np.pi, np.pi, (50, 3)))
    rough, fine = (reachability(targets, scene, tolerance=t) for t in (0.3, 1e-5))
    reached = rough.verdict == REACHABLE
    assert (rough.verdict == fine.verdict).all()
    assert (fine.clearance[reached] >= rough.clearance[reached] - 1e-5).all()
    assert (fine.clearance[reached] <= rough.clearance[reached] + 0.3).all()
    assert (fine.clearance[reached] > rough.clearance[reached] + 1e-4).any()


def test_without_discs_the_annulus_decides() -> None:
    scene = Scene(PlanarArm([2.0, 0.5, 0.5]), Obstacles.none())
    verdict, q, room = reachability([[3.0, 0.0], [3.0001, 0.0], [0.0, 1.0], [0.0, 0.9999], [0.0, 0.0]], scene)
    assert verdict.tolist() == [1, 0, 1, 0, 0]
    assert verdict.dtype == np.int8
    assert np.isinf(room[verdict == 1]).all()
    np.testing.assert_allclose(q[0], 0.0, atol=1e-7)


@pytest.mark.parametrize("target", [(0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (0.0, 1.0 + 1e-11), (1e-13, 0.0), (0.6, 0.8)])
def test_singular_targets(target: tuple[float, float]) -> None:
    """At the base, where two links fold away, fully stretched: a sweep of the first joint agrees."""
    arm = make_arm("unit3")
    scene = Scene(arm, Obstacles([[-1.0, 0.9], [0.0, -1.2]], [0.4, 0.5]))
    result = reachability(np.array([target]), scene)
    check_witnesses(np.array([target]), scene, result)
    best = -np.inf
    for q1 in np.linspace(-np.pi, np.pi, 1441):
        elbow = np.array([np.cos(q1), np.sin(q1)])
        gap = np.asarray(target) - elbow
        r = np.hypot(*gap)
        if r <= 2:
            bend = np.arccos(np.clip(r * r / 2 - 1, -1, 1))
            for q3 in (bend, -bend):
                q2 = np.arctan2(gap[1], gap[0]) - np.arctan2(np.sin(q3), 1 + np.cos(q3)) - q1
                best = max(best, float(clearance(np.array([q1, q2, q3]), arm, scene.obstacles)))
    assert result.verdict[0] == REACHABLE
    assert best <= result.clearance[0] + 1e-3


def test_two_links_folded_back_may_point_anywhere() -> None:
    """At the base equal links fold: only the first heading matters, and one gap is left free."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    fence = Obstacles(0.7 * np.stack([np.cos(angle), np.sin(angle)], axis=-1), np.full(12, 0.17))
    assert reachability([0.0, 0.0], Scene(make_arm("unit2"), fence)).verdict == UNREACHABLE
    gap = Obstacles(fence.centers, fence.radii, mask=np.arange(12) != 4)
    scene = Scene(make_arm("unit2"), gap)
    result = reachability([[0.0, 0.0]], scene)
    check_witnesses(np.zeros((1, 2)), scene, result)
    assert result.q[0, 0] % (2 * np.pi) == pytest.approx(angle[4], abs=0.02)


def test_fixed_joints_leave_single_points() -> None:
    """With all but the first joint fixed, straight or bent, the targets on one circle are reachable, no others."""
    for bend in (0.0, 1.0, np.pi):
        arm = PlanarArm([0.3, 1.5, 1.6], [[-2 * np.pi, 0.0], [0.0, 0.0], [bend, bend]], base=[0.5, 0.1])
        scene = Scene(arm, Obstacles([[4.2, 4.2]], [0.3]))
        q = np.stack([np.linspace(-6.0, -0.1, 40), np.zeros(40), np.full(40, bend)], axis=-1)
        targets = arm.end_effector(q)
        result = reachability(targets, scene)
        check_witnesses(targets, scene, result)
        assert (result.verdict == REACHABLE).all()
        assert (reachability(0.999 * (targets - arm.base) + arm.base, scene).verdict == UNREACHABLE).all()


def test_target_inside_a_disc_is_unreachable() -> None:
    for n in (1, 2, 3, 5):
        arm = PlanarArm([1.0] * n)
        target = np.array([0.7 * n if n > 1 else 1.0, 0.0])
        assert reachability(target, Scene(arm, Obstacles([target], [0.05]))).verdict == UNREACHABLE


def test_absent_discs_do_not_count_and_shuttles_stand_at_time_zero() -> None:
    arm, target = make_arm("unit3"), [2.0, 0.0]
    disc = {"centers": [[2.0, 0.5]], "radii": [0.2]}
    assert reachability(target, Scene(arm, Obstacles([target], [0.2], mask=[False]))).verdict == REACHABLE
    # At phase 1 the disc stands at the far end of its shuttle, on the target.
    away, onto = (Obstacles(**disc, shuttle=[[0.0, -0.5, 0.1, phase]]) for phase in (0.0, 1.0))
    assert reachability(target, Scene(arm, away)).verdict == REACHABLE
    assert reachability(target, Scene(arm, onto)).verdict == UNREACHABLE


def test_batch_equals_loop_and_broadcasts() -> None:
    rng = np.random.default_rng(12)
    for n in (2, 3, 5):
        scene = random_scene(rng, n, 6)
        targets = scene.arm.end_effector(rng.uniform(-np.pi, np.pi, (4, 6, n)))
        batch = reachability(targets, scene)
        assert batch.verdict.shape == (4, 6)
        assert batch.q.shape == (4, 6, n)
        for i, j in np.ndindex(4, 6):
            one = reachability(targets[i, j], scene[j])
            assert one.verdict.shape == ()
            assert one.verdict == batch.verdict[i, j]
            np.testing.assert_array_equal(one.q, batch.q[i, j])
            np.testing.assert_array_equal(one.clearance, batch.clearance[i, j])
    assert reachability(np.zeros((0, 2)), Scene(make_arm("unit3"), Obstacles.none())).verdict.shape == (0,)


@pytest.mark.parametrize("name", ["unit5", "snake10"])
def test_more_links(name: str) -> None:
    """Witnesses hold, free forward kinematics is never denied, and few targets stay undecided."""
    rng = np.random.default_rng(13)
    arm = make_arm(name)
    radii = arm.reach * rng.uniform(0.05, 0.15, (200, 4))
    away = radii + arm.link_radius + arm.reach * rng.uniform(0.05, 0.8, radii.shape)
    angle = rng.uniform(0, 2 * np.pi, radii.shape)
    scene = Scene(arm, Obstacles(np.stack([away * np.cos(angle), away * np.sin(angle)], axis=-1), radii))
    q = rng.uniform(-np.pi / 2, np.pi / 2, (200, arm.num_joints))
    targets = arm.end_effector(q)
    result = reachability(targets, scene)
    check_witnesses(targets, scene, result)
    free = clearance(q, arm, scene.obstacles) >= MARGIN
    assert free.sum() > 20
    assert (result.verdict[free] != UNREACHABLE).all()
    assert (result.verdict == UNDECIDED).mean() < 0.05
    assert (result.verdict == UNREACHABLE).any()
    outside = reachability([arm.reach + 0.01, 0.0], scene[0])
    assert outside.verdict == UNREACHABLE


def test_more_links_with_limits_are_never_denied_what_they_reach() -> None:
    rng = np.random.default_rng(14)
    for _ in range(10):
        scene = random_scene(rng, int(rng.integers(4, 7)), 20)
        arm = scene.arm
        q = rng.uniform(*arm.joint_limits.T, (20, arm.num_joints))
        targets = arm.end_effector(q)
        result = reachability(targets, scene)
        check_witnesses(targets, scene, result)
        free = clearance(q, arm, scene.obstacles) >= MARGIN
        assert (result.verdict[free] != UNREACHABLE).all()


@pytest.mark.parametrize(
    ("target", "tolerance", "message"),
    [
        ([np.nan, 0.0], 1e-3, "target_position must be finite, got nan"),
        ([1.0], 1e-3, r"target_position must have shape \(\*batch, 2\), got \(1,\)"),
        ([1.0, 0.0], 0.0, "tolerance must be a number > 0"),
        ([1.0, 0.0], np.nan, "tolerance must be finite"),
        ([1.0, 0.0], [1.0, 2.0], "tolerance must be a number > 0"),
        (np.zeros((3, 2)), 1e-3, "do not broadcast"),
    ],
)
def test_reachability_refuses(target: object, tolerance: object, message: str) -> None:
    scene = Scene(make_arm("unit3"), Obstacles(np.full((2, 1, 2), 2.0), np.full((2, 1), 0.1)))
    with pytest.raises(InvalidInputError, match=message):
        reachability(target, scene, tolerance=tolerance)  # type: ignore[arg-type]
