from __future__ import annotations

import numpy as np
import pytest

from planararm import Obstacles, PlanarArm, Reason, Scene, clearance, make_arm, make_policy, reachability
from planararm.errors import InvalidInputError
from planararm.policies.convex import ConvexIK, Stage
from planararm.projection.sequential import Source, project
from planararm.scene.generator import sample_scenes


def test_claims_are_verified_and_proofs_are_right() -> None:
    rng = np.random.default_rng(0)
    arm = make_arm("unit3")
    scene = sample_scenes(rng, 40, arm, num_obstacles=3)
    target, q = rng.uniform(-2.4, 2.4, (40, 2)), rng.uniform(-2, 2, (40, 3))
    verdict = reachability(target, scene).verdict
    solution = make_policy("convex-ik").solve(target, q, scene)
    stage = solution.info["stage"]
    solved = solution.solved
    assert solved[verdict == 1].mean() > 0.7
    assert not solved[verdict == 0].any()
    assert not (stage == Stage.PROVEN)[verdict == 1].any()
    assert np.abs(arm.end_effector(solution.q)[solved] - target[solved]).max() <= 3e-6
    assert (clearance(solution.q, arm, scene.obstacles)[solved] >= scene.safety_margin).all()
    assert {Stage.CONE, Stage.ITERATION} <= set(stage[solved])


def test_blocked_targets_are_proven_so() -> None:
    scene = Scene(make_arm("unit3"), Obstacles([[1.5, 1.5]], [0.4]))
    solution = ConvexIK().solve([[1.5, 1.6], [4.0, 0.0]], [[0.3, 0.3, 0.3]] * 2, scene)
    np.testing.assert_array_equal(solution.reason, [Reason.BLOCKED, Reason.OUT_OF_REACH])
    assert solution.info["stage"][0] == Stage.PROVEN
    np.testing.assert_allclose(np.asarray(scene.arm.end_effector(solution.q[1])), [3.0, 0.0], atol=1e-6)


def test_limits_send_it_to_the_semidefinite_program() -> None:
    arm = make_arm("duka")
    q = np.array([1.2, -1.4, 0.5])
    target = np.asarray(arm.end_effector(q))
    # From the mirrored side the cone program answers with an elbow that the limits forbid.
    solution = ConvexIK().solve(target, [0.9, -0.2, 0.9], Scene(arm, Obstacles.none()))
    assert solution.solved
    assert arm.limit_violation(solution.q) <= 0


def test_what_it_falls_back_to_is_free_and_no_farther_from_the_target() -> None:
    rng = np.random.default_rng(1)
    arm = make_arm("unit2")
    scene = sample_scenes(rng, 60, arm, num_obstacles=5)
    target, q = rng.uniform(-1.8, 1.8, (60, 2)), rng.uniform(-2, 2, (60, 2))
    solution = ConvexIK(max_iterations=1).solve(target, q, scene)
    rows = ~solution.solved & (clearance(q, arm, scene.obstacles) >= scene.safety_margin)
    assert rows.sum() > 5
    assert (clearance(solution.q, arm, scene.obstacles)[rows] >= scene.safety_margin).all()
    before = np.linalg.norm(arm.end_effector(q) - target, axis=-1)
    after = np.linalg.norm(arm.end_effector(solution.q) - target, axis=-1)
    assert (after <= before + 1e-12)[rows].all()
    assert (after < before - 0.01)[rows].any()


def test_relaxation_as_a_source_of_project() -> None:
    arm = PlanarArm([1.0, 1.0, 1.0], joint_limits=[[-3.1, 3.1], [-2.8, -0.4], [0.3, 2.8]])
    rng = np.random.default_rng(3)
    q = rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (60, 3))
    target = np.asarray(arm.end_effector(q))
    away = np.clip(q + rng.normal(size=q.shape) * 2, -6, 6)
    scene = Scene(arm, Obstacles.none())
    options = {"target_position": target, "num_restarts": 0, "max_iterations": 3, "nearest": False}
    without = project(away, scene, **options)
    helped = project(away, scene, relaxation=True, **options)
    rescued = helped.source == Source.RELAXATION
    assert (without.task_error > 1e-3).any()
    assert rescued.any()
    assert (helped.task_error[rescued] <= 1e-8 * arm.reach).mean() > 0.5
    kept = helped.source == without.source
    np.testing.assert_array_equal(helped.q[kept], without.q[kept])


def test_bad_options() -> None:
    for options, message in (
        ({"samples": 1}, r"samples must be a whole number in \[2, 1000\], got 1"),
        ({"max_iterations": -1}, "max_iterations must be a whole number"),
        ({"tolerance": 2.0}, "tolerance must be a number"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            ConvexIK(**options)
    with pytest.raises(InvalidInputError, match="target_orientation must be None: the cone program"):
        ConvexIK().solve([1.0, 1.0], [0.0, 0.0], Scene(make_arm("unit2"), Obstacles.none()), target_orientation=0.0)
