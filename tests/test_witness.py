"""Witness paths: certified, within limits and speeds, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm
from planararm.collision import certify_motion, clearance
from planararm.errors import InvalidInputError, InvalidSceneError
from planararm.obstacles import Obstacles
from planararm.scene import Scene, sample_scene, sample_scenes
from planararm.witness import witness_path


@given(st.integers(0, 10**6), st.sampled_from(["unit2", "unit3", "unit5", "duka"]), st.integers(1, 150))
def test_certified_and_feasible(seed, arm, num_steps):
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(rng, 5, arm, (0, 6), narrow_passages=1, safety_margin=2e-3)
    arm = scenes.arm
    q, targets = witness_path(rng, scenes, num_steps, dt=0.04)
    assert q.shape == (5, num_steps + 1, arm.num_joints)
    assert targets.shape == (5, num_steps + 1, 2)
    np.testing.assert_allclose(targets, arm.end_effector(q), atol=1e-12)
    assert (arm.limit_violation(q) == 0).all()
    speeds = np.abs(np.diff(q, axis=1)) / 0.04
    assert (speeds <= 0.7 * arm.joint_velocity_limits * (1 + 1e-9)).all()
    for i in range(5):
        discs = scenes[i].obstacles
        certificate = certify_motion(q[i, :-1], q[i, 1:], arm, discs, margin=scenes.safety_margin - 1e-9)
        assert (certificate.status == 1).all()
        assert (clearance(q[i], arm, discs) >= scenes.safety_margin - 1e-12).all()


def test_paths_move_and_differ():
    scenes = sample_scenes(np.random.default_rng(0), 50, "unit3", 4)
    q, targets = witness_path(np.random.default_rng(1), scenes, 200)
    lengths = np.linalg.norm(np.diff(targets, axis=1), axis=-1).sum(axis=1)
    assert np.median(lengths) > 0.3
    assert (lengths > 1e-3).mean() > 0.95
    assert len(np.unique(q[:, 0], axis=0)) == 50


def test_same_seed_same_path():
    scene = sample_scene(np.random.default_rng(0), "unit3", 4)
    first, again, other = (witness_path(np.random.default_rng(seed), scene, 30) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.q_path, again.q_path)
    assert (first.q_path != other.q_path).any()
    assert first.q_path.shape == (31, 3)


def test_batch_is_loop():
    scenes = sample_scenes(np.random.default_rng(0), 8, "unit3", (1, 4))
    batch = witness_path(np.random.default_rng(1), scenes, 20)
    rng = np.random.default_rng(1)
    for i in range(8):
        np.testing.assert_array_equal(witness_path(rng, scenes[i], 20).q_path, batch.q_path[i])


def test_without_discs_and_without_scenes():
    scene = Scene(PlanarArm([1.0, 0.5], base=(2.0, -1.0)), Obstacles.none())
    q, targets = witness_path(np.random.default_rng(0), scene, 10)
    np.testing.assert_allclose(targets, scene.arm.end_effector(q), atol=1e-12)
    none = sample_scenes(np.random.default_rng(0), 0, "unit3", 2)
    assert witness_path(np.random.default_rng(0), none, 10).q_path.shape == (0, 11, 3)


def test_a_fixed_joint_stays():
    scene = Scene(PlanarArm([1.0, 1.0], [[-2.0, 2.0], [0.3, 0.3]]), Obstacles.none())
    assert (witness_path(np.random.default_rng(0), scene, 20).q_path[:, 1] == 0.3).all()


@pytest.mark.parametrize(
    ("num_steps", "dt", "message"),
    [
        (0, 0.05, "num_steps must be a whole number >= 1, got 0"),
        (2.5, 0.05, r"num_steps must be a whole number >= 1, got 2\.5"),
        (10, 0.0, r"dt must be > 0, got 0\.0"),
        (10, np.nan, "dt must be > 0, got nan"),
    ],
)
def test_bad_numbers(num_steps, dt, message):
    with pytest.raises(InvalidInputError, match=message):
        witness_path(np.random.default_rng(0), Scene(PlanarArm([1.0]), Obstacles.none()), num_steps, dt)


def test_no_room():
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = Obstacles(np.stack([np.cos(around), np.sin(around)], axis=-1), np.full(12, 0.3))
    with pytest.raises(InvalidSceneError, match=r"clearance >= 0\.001 m was found in scene 0"):
        witness_path(np.random.default_rng(0), Scene(PlanarArm([1.0]), ring), 5)
