from __future__ import annotations

import numpy as np
import pytest

from planararm import kinematics
from planararm.arm import PlanarArm, make_arm
from planararm.errors import InvalidInputError, InvalidSceneError, UnknownNameError
from planararm.inverse import reachability
from planararm.obstacles import Obstacles
from planararm.scene import Scene, make_scene, sample_scene
from planararm.targets import BOUNDARY_BAND, sample_targets

KINDS = ["uniform", "reachable", "near-singular", "blocked"]
HOLED = PlanarArm([3.0, 1.0, 0.5], base=[1.0, -2.0])


def scene_of(arm: object, seed: int = 0) -> Scene:
    return sample_scene(np.random.default_rng(seed), arm, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_reproducible_and_inside_the_annulus(kind):
    for arm in ("unit2", "unit3", HOLED):
        scene = scene_of(arm)
        target = sample_targets(np.random.default_rng(1), scene, 7, kind=kind)
        assert target.shape == (7, 2)
        np.testing.assert_array_equal(target, sample_targets(np.random.default_rng(1), scene, 7, kind=kind))
        distance = np.hypot(*(target - scene.arm.base).T)
        assert ((distance >= scene.arm.inner_reach - 1e-12) & (distance <= scene.arm.reach + 1e-12)).all()
        assert sample_targets(np.random.default_rng(1), scene, 0, kind=kind).shape == (0, 2)


def test_uniform_targets_are_uniform_over_the_area():
    target = sample_targets(np.random.default_rng(0), Scene(HOLED, Obstacles.none()), 20_000) - HOLED.base
    distance = np.hypot(*target.T)
    share = (distance**2 - HOLED.inner_reach**2) / (HOLED.reach**2 - HOLED.inner_reach**2)
    np.testing.assert_allclose(np.quantile(share, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)
    np.testing.assert_allclose(target.mean(axis=0), 0.0, atol=0.1)


@pytest.mark.parametrize("arm", ["unit2", "unit3", "duka", "unit5", HOLED], ids=str)
@pytest.mark.parametrize(("kind", "verdict"), [("reachable", 1), ("near-singular", 1), ("blocked", 0)])
def test_the_ground_truth_agrees_with_the_kind(arm, kind, verdict):
    for seed in range(3):
        scene = scene_of(arm, seed)
        target = sample_targets(np.random.default_rng(seed), scene, 10, kind=kind)
        # The kinds are drawn so that they survive the float32 of observations.
        for given in (target, target.astype(np.float32)):
            truth = reachability(given, scene).verdict
            if verdict == 1 and scene.arm.num_joints > 3:
                assert (truth != 0).all()
            elif given is target or verdict == 1:
                assert (truth == verdict).all()
        if kind == "blocked":
            assert (reachability(target, Scene(scene.arm, Obstacles.none())).verdict == 1).all()


@pytest.mark.parametrize("arm", ["unit3", HOLED], ids=str)
def test_near_singular_targets_have_only_near_singular_solutions(arm):
    scene = Scene(make_arm(arm), Obstacles.none())
    arm = scene.arm
    target = sample_targets(np.random.default_rng(0), scene, 200, kind="near-singular")
    distance = np.hypot(*(target - arm.base).T)
    outer, inner = (
        distance >= (1 - BOUNDARY_BAND) * arm.reach,
        distance <= arm.inner_reach + BOUNDARY_BAND * arm.reach,
    )
    assert (outer | (inner if arm.inner_reach > 0 else False)).all()
    assert outer.any()
    assert arm.inner_reach == 0 or inner.any()
    everywhere = np.random.default_rng(1).uniform(*arm.joint_limits.T, (20_000, 3))
    largest = kinematics.manipulability(everywhere, arm.link_lengths).max()
    q = reachability(target, scene).q
    assert (kinematics.manipulability(q, arm.link_lengths) < 0.5 * largest).all()


def test_blocked_targets_prefer_places_where_the_tip_would_fit():
    scene = make_scene("ring", num=8, radius=0.12)
    target = sample_targets(np.random.default_rng(0), scene, 5, kind="blocked")
    room = np.linalg.norm(target[:, None] - scene.obstacles.centers, axis=-1) - scene.obstacles.radii
    assert (room.min(axis=-1) > scene.arm.link_radius + scene.safety_margin).all()


def test_masked_discs_block_nothing():
    discs = Obstacles([[2.0, 0.0], [0.0, 2.0]], [0.9, 0.9], mask=[True, False])
    target = sample_targets(np.random.default_rng(0), Scene(make_arm("unit3"), discs), 20, kind="blocked")
    assert (target[:, 0] > 0.5).all()


def test_a_one_link_arm_has_targets_too():
    scene = Scene(PlanarArm([1.0]), Obstacles([[0.0, 1.0]], [0.3]))
    for kind in KINDS:
        target = sample_targets(np.random.default_rng(0), scene, 3, kind=kind)
        np.testing.assert_allclose(np.hypot(*target.T), 1.0)


def test_what_cannot_be_drawn_is_an_error():
    rng, scene = np.random.default_rng(0), make_scene("single")
    with pytest.raises(UnknownNameError, match=r"Unknown kind of target 'bloked'. Did you mean 'blocked'\?"):
        sample_targets(rng, scene, 1, kind="bloked")
    for num in (-1, 2.0, True, 10**9):
        with pytest.raises(InvalidInputError, match=f"num must be a whole number from 0 to 1000000, got {num}"):
            sample_targets(rng, scene, num)
    with pytest.raises(InvalidSceneError, match=r"one scene, got batch shape \(2,\); pass scene\[i\]"):
        sample_targets(rng, Scene.stack([scene, scene]), 1)
    with pytest.raises(InvalidSceneError, match="No blocked target: this scene has no discs"):
        sample_targets(rng, make_scene("empty"), 1, kind="blocked")
    out_of_the_way = Scene(make_arm("unit3"), Obstacles([[50.0, 0.0]], [1.0]))
    with pytest.raises(InvalidSceneError, match="Only 0 of 2 blocked targets found in 24576 draws: the 1 discs"):
        sample_targets(rng, out_of_the_way, 2, kind="blocked")


def test_an_arm_that_cannot_stretch_has_no_near_singular_target():
    bent = Scene(PlanarArm([1.0, 1.0], joint_limits=[[-3, 3], [1.0, 2.0]]), Obstacles.none())
    with pytest.raises(InvalidSceneError, match="Only 0 of 1 near-singular targets found in 102400 draws"):
        sample_targets(np.random.default_rng(0), bent, 1, kind="near-singular")


def test_an_arm_walled_in_has_no_reachable_target():
    angles = 2 * np.pi * np.arange(12) / 12
    wall = Obstacles(0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=-1), np.full(12, 0.2))
    with pytest.raises(InvalidSceneError, match="the joint limits and the 12 discs of this scene leave too few"):
        sample_targets(np.random.default_rng(0), Scene(make_arm("unit2"), wall), 1, kind="reachable")
