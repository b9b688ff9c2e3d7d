from __future__ import annotations

import json

import numpy as np
import pytest

from planararm import collision
from planararm.arm import PlanarArm, make_arm
from planararm.errors import InvalidArmError, InvalidInputError, InvalidSceneError, UnknownNameError
from planararm.obstacles import Obstacles
from planararm.scene import Scene, available_scenes, make_scene, save_scene

ARMS = ["unit2", "unit3", "unit5", "snake10", "duka", {"link_lengths": [3.0, 0.5, 0.5], "base": [5.0, -2.0]}]


@pytest.mark.parametrize("name", available_scenes())
@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_every_named_scene_is_usable_with_every_arm(name, arm):
    scene = make_scene(name, arm=arm)
    assert scene.arm == make_arm(arm)
    assert scene.batch_shape == ()
    assert make_scene(name, arm=arm) == scene
    rng = np.random.default_rng(0)
    q = rng.uniform(*scene.arm.joint_limits.T, (500, scene.arm.num_joints))
    # Long arms with free angles curl up; the straighter ones reach the discs.
    q[:, 1:] *= rng.uniform(0, 1, (500, 1))
    for time in (0.0, 1.0):
        free = collision.clearance(q, scene.arm, scene.obstacles.frozen_at(time)) >= scene.safety_margin
        assert free.any()
        assert free.all() == (name == "empty")
    distance = np.hypot(*(scene.obstacles.centers - scene.arm.base).T)
    assert (distance - scene.obstacles.radii < scene.arm.reach).all()


@pytest.mark.parametrize("name", available_scenes())
def test_named_scenes_scale_with_the_arm(name):
    one, ten = (make_scene(name, arm=PlanarArm(size * np.ones(3))).obstacles for size in (1.0, 10.0))
    np.testing.assert_allclose(ten.centers, 10 * one.centers, atol=1e-9)
    np.testing.assert_allclose(ten.radii, 10 * one.radii, atol=1e-9)


def test_the_corridor_has_the_gap_that_was_asked_for():
    for angle in (0.0, 1.0):
        scene = make_scene("corridor", gap=0.1, angle=angle, distance=0.5)
        (a, b), radii = scene.obstacles.centers, scene.obstacles.radii
        np.testing.assert_allclose(np.hypot(*(a - b)) - radii.sum(), 0.1 * scene.arm.reach)
        np.testing.assert_allclose((a + b) / 2, 1.5 * np.array([np.cos(angle), np.sin(angle)]), atol=1e-12)
    narrow = make_scene("narrow-passage")
    stretched = collision.clearance(np.zeros(3), narrow.arm, narrow.obstacles)
    assert narrow.safety_margin < stretched < 0.03 * narrow.arm.reach


def test_only_the_shuttles_move():
    for name in available_scenes():
        assert make_scene(name).obstacles.is_static == (name != "shuttle")


def test_arguments_change_named_scenes():
    assert make_scene("ring", num=4, safety_margin=0.01).safety_margin == 0.01
    assert make_scene("ring", num=4).obstacles.num_obstacles == 4
    for name in ("clutter", "ring", "shuttle", "wall"):
        assert make_scene(name, num=0).obstacles.num_obstacles == 0
    assert make_scene("random", seed=1, num_obstacles=5).obstacles.num_obstacles == 5
    assert make_scene("random", seed=1) != make_scene("random", seed=2)
    assert make_scene("duka-single").arm == make_arm("duka")


def test_a_scene_from_a_mapping_a_file_or_a_scene(tmp_path):
    by_name = {"name": "ring", "num": 4, "arm": {"preset": "unit5"}}
    scene = make_scene(json.loads(json.dumps(by_name)))
    assert scene == make_scene("ring", num=4, arm="unit5")
    save_scene(scene, tmp_path / "ring.toml")
    for spec in (scene, scene.to_dict(), json.loads(json.dumps(scene.to_dict())), tmp_path / "ring.toml"):
        assert make_scene(spec) == scene
    assert make_scene(str(tmp_path / "ring.toml")) == scene
    disc = {"center": [2, 1], "radius": 0.5}
    assert make_scene({"obstacles": [disc]}, arm="unit5").arm == make_arm("unit5")
    assert make_scene({"obstacles": [disc]}) == Scene(make_arm("unit3"), Obstacles([[2, 1]], [0.5]))
    assert make_scene({"obstacles": Obstacles([[2, 1]], [0.5]), "arm": make_arm("duka")}).arm == make_arm("duka")
    assert make_scene({"obstacles": {"centers": np.array([[2, 1]]), "radii": [0.5]}}) == make_scene(
        {"obstacles": [disc]}
    )


@pytest.mark.parametrize(
    ("error", "spec", "arguments", "message"),
    [
        (
            UnknownNameError,
            "cluter",
            {},
            r"Unknown scene 'cluter'. Did you mean 'clutter'\? Known: clutter, corridor",
        ),
        (
            UnknownNameError,
            "ring",
            {"number": 3},
            "Unknown argument of scene 'ring' 'number'. Did you mean 'num'",
        ),
        (UnknownNameError, "random", {"rng": 3}, "Unknown argument of scene 'random' 'rng'"),
        (UnknownNameError, "empty", {"arm": "unit33"}, "Unknown arm 'unit33'"),
        (UnknownNameError, {"nam": "ring"}, {}, "Unknown scene key 'nam'"),
        (InvalidArmError, "empty", {"arm": {"link_lengths": [0.0]}}, "link_lengths must be > 0"),
        (InvalidSceneError, "empty", {"arm": 3}, "arm must be a table with preset or link_lengths, got 3"),
        (InvalidSceneError, "single", {"distance": 0.1}, "covers the base"),
        (InvalidSceneError, "single", {"radius": "big"}, "radius must be a finite number, got 'big'"),
        (InvalidSceneError, "single", {"radius": float("nan")}, "radius must be a finite number, got nan"),
        (InvalidSceneError, "single", {"radius": -1}, "radii must be > 0"),
        (InvalidSceneError, "ring", {"num": 2.5}, "num must be a whole number from 0 to 1000, got 2.5"),
        (InvalidSceneError, "ring", {"num": 10**9}, "num must be a whole number from 0 to 1000"),
        (
            InvalidSceneError,
            "pillars",
            {"spacing": 0.001},
            "spacing must be at least 0.1 of the reach, got 0.001",
        ),
        (InvalidSceneError, "random", {"seed": -1}, "seed must be a whole number >= 0, got -1"),
        (InvalidSceneError, "random", {"seed": "x"}, "seed must be a whole number >= 0, got 'x'"),
        (InvalidInputError, 3, {}, "a name, a mapping, a .toml file or a Scene, got 3"),
        (
            InvalidInputError,
            {"arm": "unit3"},
            {"arm": "unit2"},
            "'arm' is in the scene's mapping and among the arg",
        ),
        (
            InvalidInputError,
            "scene.toml",
            {"arm": "unit2"},
            r"A finished scene takes no arguments, got \['arm'\]",
        ),
        (
            InvalidInputError,
            make_scene("empty"),
            {"num": 2},
            r"A finished scene takes no arguments, got \['num'\]",
        ),
    ],
)
def test_what_names_no_scene_is_refused(error, spec, arguments, message):
    with pytest.raises(error, match=message):
        make_scene(spec, **arguments)
