from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from planararm import Obstacles, PlanarArm, Scene, certify_motion, clearance, make_arm, reachability
from planararm.errors import InvalidInputError
from planararm.projection.sequential import Projection, Source, mirror_branch, project
from planararm.scene.generator import sample_scenes


def clutter(seed: int, count: int, preset: str = "unit3", num_obstacles: int = 4) -> tuple[Scene, np.ndarray, Any]:
    rng = np.random.default_rng(seed)
    arm = make_arm(preset)
    scene = sample_scenes(rng, count, arm, num_obstacles=num_obstacles)
    low, high = arm.joint_limits.T
    return scene, rng.uniform(low, high, (count, arm.num_joints)), rng


def free(q: np.ndarray, scene: Scene) -> np.ndarray:
    arm = scene.arm
    held = ((q >= arm.joint_limits[:, 0]) & (q <= arm.joint_limits[:, 1])).all(axis=-1)
    return held & (clearance(q, arm, scene.obstacles) >= scene.safety_margin)


def check_honest(answer: Projection) -> None:
    """What is called safe is free, and the reported numbers are right."""
    arm = answer.scene.arm
    assert np.isfinite(answer.q).all()
    np.testing.assert_array_equal(answer.safe, free(answer.q, answer.scene))
    np.testing.assert_allclose(answer.clearance, clearance(answer.q, arm, answer.scene.obstacles), atol=1e-12)
    np.testing.assert_allclose(answer.distance, np.linalg.norm(answer.q - answer.q_ref, axis=-1))
    if answer.target_position is not None:
        miss = np.linalg.norm(np.asarray(arm.end_effector(answer.q)) - answer.target_position, axis=-1)
        np.testing.assert_allclose(answer.task_error, miss, atol=1e-12)


@pytest.mark.parametrize("preset", ["unit2", "unit3", "unit5", "snake10", "duka"])
@pytest.mark.parametrize("num_obstacles", [0, 4])
def test_answers_called_safe_are_free(preset: str, num_obstacles: int) -> None:
    scene, q_ref, rng = clutter(0, 120, preset, num_obstacles)
    answer = project(q_ref + rng.normal(size=q_ref.shape), scene)
    check_honest(answer)
    assert answer.safe.mean() >= 0.995
    assert answer.converged.mean() >= 0.95


def test_free_proposals_come_back_to_the_bit() -> None:
    scene, q_ref, _ = clutter(1, 300)
    answer = project(q_ref, scene)
    untouched = free(q_ref, scene) & (clearance(q_ref, scene.arm, scene.obstacles) >= scene.safety_margin + 1e-6)
    assert untouched.sum() > 100
    np.testing.assert_array_equal(answer.q[untouched], q_ref[untouched])
    assert (answer.source[untouched] == Source.PROPOSAL).all()
    assert (answer.source[~free(q_ref, scene)] != Source.PROPOSAL).all()


@pytest.mark.parametrize("with_target", [False, True])
def test_batch_equals_loop_and_threads_do_not_matter(with_target: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, q_ref, rng = clutter(2, 300)
    target = rng.uniform(-2, 2, (300, 2)) if with_target else None
    together = project(q_ref, scene, target_position=target)
    monkeypatch.setenv("PLANARARM_NUM_THREADS", "1")
    np.testing.assert_array_equal(project(q_ref, scene, target_position=target).q, together.q)
    for i in range(0, 300, 17):
        alone = project(q_ref[i], scene[i], target_position=None if target is None else target[i])
        np.testing.assert_array_equal(alone.q, together.q[i])
        assert alone.source == together.source[i]
        assert alone.status == together.status[i]


@pytest.mark.parametrize("with_target", [False, True])
def test_converged_answers_are_locally_nearest(with_target: bool) -> None:
    scene, q_ref, rng = clutter(3, 150)
    arm = scene.arm
    target = np.asarray(arm.end_effector(project(q_ref[::-1], scene).q)) if with_target else None
    answer = project(q_ref, scene, target_position=target, max_iterations=200)
    rows = np.flatnonzero(answer.converged & (answer.source == Source.PROJECTED))
    assert len(rows) > 20
    near = answer.q[rows] + 1e-3 * rng.normal(size=(400, len(rows), 3))
    near = np.clip(near, *arm.joint_limits.T)
    allowed = clearance(near, arm, scene[rows].obstacles) >= scene.safety_margin + 1e-7
    if target is not None:
        # Of the neighbours on the target: Newton's method brings them back onto it.
        for _ in range(3):
            miss = target[rows] - np.asarray(arm.end_effector(near))
            near = near + np.einsum("...nk,...k->...n", np.linalg.pinv(np.asarray(arm.jacobian(near))), miss)
        inside = ((near >= arm.joint_limits[:, 0]) & (near <= arm.joint_limits[:, 1])).all(-1)
        allowed = inside & (clearance(near, arm, scene[rows].obstacles) >= scene.safety_margin + 1e-7)
    distance = np.where(allowed, np.linalg.norm(near - q_ref[rows], axis=-1), np.inf)
    assert (distance.min(axis=0) >= answer.distance[rows] - 1e-6).all()


def test_two_links_against_a_grid() -> None:
    scene, q_ref, _ = clutter(4, 120, "unit2", 5)
    answer = project(q_ref, scene, max_iterations=200)
    axes = [np.linspace(low, high, 500) for low, high in scene.arm.joint_limits]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    ratios = []
    for i in np.flatnonzero(answer.source != Source.PROPOSAL):
        allowed = grid[clearance(grid, scene.arm, scene[i].obstacles) >= scene.safety_margin]
        best = np.linalg.norm(allowed - q_ref[i], axis=-1).min()
        ratios.append((answer.distance[i] - best, best))
    excess = np.array(ratios)[:, 0]
    assert len(excess) > 15
    # The grid's own answers are too far by less than its spacing; the search is local, so some are farther than that.
    assert excess.min() > -0.03
    assert np.median(excess) < 0.0
    assert (excess < 0.0).mean() > 0.7


def test_reachable_targets_are_reached_from_random_starts() -> None:
    scene, _, rng = clutter(5, 120)
    target = rng.uniform(-2.1, 2.1, (120, 2))
    rows = np.repeat(np.flatnonzero(reachability(target, scene).verdict == 1), 16)
    starts = rng.uniform(*scene.arm.joint_limits.T, (len(rows), 3))
    answer = project(starts, scene[rows], target_position=target[rows], num_restarts=0)
    check_honest(answer)
    good = answer.safe & (answer.task_error <= 1e-3 * scene.arm.reach)
    assert good.reshape(-1, 16).any(axis=1).mean() >= 0.995
    solved = answer.safe & (answer.task_error <= 1e-8 * scene.arm.reach)
    assert solved.sum() >= 0.99 * good.sum()


def test_nearest_is_nearer_and_restarts_help() -> None:
    scene, q_ref, rng = clutter(6, 200)
    target = rng.uniform(-1.8, 1.8, (200, 2))
    quick, near = (
        project(q_ref, scene, target_position=target, nearest=flag, num_restarts=0) for flag in (False, True)
    )
    both = (quick.task_error < 3e-8) & (near.task_error < 3e-8)
    same = both & (quick.source == near.source) & (quick.source == Source.PROJECTED)
    assert same.sum() > 80
    assert (near.distance[same] <= quick.distance[same] + 1e-9).all()
    assert np.median(near.distance[same]) < 0.95 * np.median(quick.distance[same])
    helped = project(q_ref, scene, target_position=target, num_restarts=8)
    assert (helped.task_error < 3e-8).sum() > (near.task_error < 3e-8).sum()
    assert {Source.BRANCH, Source.RESTART} <= set(helped.source)


def test_unreachable_targets_get_a_free_answer_near_them() -> None:
    scene, q_ref, _ = clutter(7, 40)
    answer = project(q_ref, scene, target_position=[5.0, 0.0], num_restarts=1)
    check_honest(answer)
    assert answer.safe.mean() > 0.9
    assert (answer.task_error >= 2.0 - 1e-9).all()
    assert np.median(answer.task_error) < 3.0


def test_far_proposals_and_limits() -> None:
    scene, q_ref, rng = clutter(8, 60, "duka")
    for scale in (1e2, 1e6):
        answer = project(scale * rng.normal(size=q_ref.shape), scene)
        check_honest(answer)
        assert answer.safe.all()
    alone = project([9.0, 9.0, -9.0], Scene(make_arm("duka"), Obstacles.none()))
    np.testing.assert_array_equal(alone.q, [np.pi, 0.0, -np.pi / 2])


def test_no_free_configuration_is_not_called_safe() -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = Obstacles(0.6 * np.stack([np.cos(angles), np.sin(angles)], axis=-1), np.full(12, 0.2))
    scene = Scene(make_arm("unit3"), ring)
    answer = project(np.zeros((3, 3)), scene)
    check_honest(answer)
    assert (answer.source == Source.NONE).all()
    assert not answer.safe.any()
    gradient, _ = answer.vjp(np.ones((3, 3)))
    assert not gradient.any()


def test_led_by_certified_steps() -> None:
    scene, q_ref, _ = clutter(9, 60)
    start = project(q_ref[::-1], scene).q
    rows = clearance(start, scene.arm, scene.obstacles) >= scene.safety_margin
    start, q_ref, scene = start[rows], q_ref[rows], scene[rows]
    answer = project(q_ref, scene, q_start=start)
    check_honest(answer)
    way = answer.waypoints
    assert way is not None
    np.testing.assert_array_equal(way[0], start)
    np.testing.assert_array_equal(way[-1], answer.q)
    for one, two in itertools.pairwise(way):
        share = np.linspace(0, 1, 25)[:, None, None]
        assert (clearance(one + share * (two - one), scene.arm, scene.obstacles) >= scene.safety_margin - 1e-9).all()
        assert (certify_motion(one, two, scene.arm, scene.obstacles).status == 1).all()
    arrived = np.isin(answer.source, (Source.PROPOSAL, Source.PROJECTED, Source.BRANCH, Source.RESTART))
    direct = project(q_ref, scene)
    assert arrived.mean() > 0.15
    np.testing.assert_allclose(answer.q[arrived], direct.q[arrived], atol=1e-6)
    assert ((answer.source == Source.STOPPED) | (answer.source == Source.HELD) | arrived).all()
    assert (answer.distance[~arrived] < np.linalg.norm(start - q_ref, axis=-1)[~arrived] + 1e-9).mean() > 0.95


def test_boxed_in_arm_holds() -> None:
    arm = PlanarArm([1.0])
    # Discs on both sides of the link, a hair away.
    scene = Scene(arm, Obstacles([[0.7, 0.2], [0.7, -0.2]], [0.1885, 0.1885]))
    assert clearance(np.zeros(1), arm, scene.obstacles) < 2.1e-3
    answer = project([2.0], scene, q_start=[0.0])
    assert answer.safe
    assert answer.source in (Source.HELD, Source.STOPPED)
    assert abs(answer.q[0]) < 5e-3


def test_shared_arguments_and_empty_batches() -> None:
    scene, q_ref, _ = clutter(10, 7)
    one = project(q_ref[0], scene)
    assert one.q.shape == (7, 3)
    np.testing.assert_array_equal(one.q[3], project(q_ref[0], scene[3]).q)
    grid = project(q_ref[:6].reshape(2, 3, 3), scene[0])
    assert grid.q.shape == (2, 3, 3)
    assert grid.status.shape == (2, 3)
    empty = project(np.zeros((0, 3)), scene[0], target_position=[1.0, 1.0], q_start=np.zeros(3))
    assert empty.q.shape == (0, 3)
    scalar = project(q_ref[0], scene[0], target_position=[1.0, 1.0])
    assert scalar.status.shape == ()


def test_mirror_branch_keeps_the_end_effector() -> None:
    scene, q_ref, _ = clutter(11, 50)
    mirrored = mirror_branch(q_ref, scene)
    arm = scene.arm
    np.testing.assert_allclose(arm.end_effector(mirrored), arm.end_effector(q_ref), atol=1e-12)
    np.testing.assert_array_equal(mirrored[:, 1:], -q_ref[:, 1:])
    assert (np.abs(mirrored[:, 0]) <= 2 * np.pi).all()


def test_arguments_are_left_alone() -> None:
    scene, q_ref, rng = clutter(12, 20)
    target = rng.normal(size=(20, 2))
    copies = q_ref.copy(), target.copy()
    project(q_ref, scene, target_position=target, q_start=q_ref)
    np.testing.assert_array_equal(q_ref, copies[0])
    np.testing.assert_array_equal(target, copies[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_ref": [0.0, np.nan, 0.0]}, "q_ref must be finite, got nan"),
        ({"q_ref": [0.0, 0.0]}, r"q_ref must have shape \(\*batch, 3\), got \(2,\)"),
        ({"target_position": [1.0, np.inf]}, "target_position must be finite, got inf"),
        ({"target_position": [1.0]}, r"target_position must have shape \(\*batch, 2\)"),
        ({"q_start": [0.0, 0.0]}, r"q_start must have shape"),
        ({"q_ref": np.zeros((2, 3)), "target_position": np.zeros((3, 2))}, "Batch shapes do not broadcast"),
        ({"num_restarts": -1}, r"num_restarts must be a whole number in \[0, 10000\], got -1"),
        ({"max_iterations": 1.5}, "max_iterations must be a whole number"),
        ({"task_tolerance": 0.0}, r"task_tolerance must be in \(0, 1\)"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    scene = Scene(make_arm("unit3"), Obstacles([[1.0, 1.0]], [0.2]))
    with pytest.raises(InvalidInputError, match=message):
        project(**({"q_ref": np.zeros(3), "scene": scene} | change))


def test_restarts_begin_at_the_halton_sequence():
    from scipy.stats import qmc

    from planararm.projection.sequential import _offsets

    reference = qmc.Halton(64, scramble=False).random(41)[1:]
    np.testing.assert_allclose(_offsets(64, 40), reference, atol=1e-15)
