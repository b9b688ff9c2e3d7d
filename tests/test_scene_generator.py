from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.errors import InvalidSceneError, UnknownNameError
from planararm.scene import Scene, sample_scene, sample_scenes


@given(st.integers(0, 10_000), st.sampled_from(["unit2", "unit3", "duka"]), st.floats(0.0, 1.0))
def test_discs_are_as_the_dials_say(seed, arm, shuttling):
    batch = sample_scenes(
        np.random.default_rng(seed),
        20,
        arm,
        (1, 6),
        min_radius=0.02,
        max_radius=0.2,
        base_clearance=0.1,
        shuttling=shuttling,
    )
    discs, reach = batch.obstacles, batch.arm.reach
    there = discs.mask
    counts = there.sum(axis=-1)
    assert batch.batch_shape == (20,)
    assert ((counts >= 1) & (counts <= 6)).all()
    assert ((discs.radii[there] >= 0.02 * reach) & (discs.radii[there] <= 0.2 * reach)).all()
    assert (np.hypot(*(discs.centers - batch.arm.base)[there].T) <= reach).all()
    assert (batch.base_clearance()[there] >= 0.1 * reach - 1e-12).all()
    if discs.shuttle is not None:
        assert shuttling > 0
        assert (discs.shuttle[..., 2] <= 0.1 * reach).all()


def test_one_scene_has_no_batch_axis_and_no_empty_slot():
    scene = sample_scene(np.random.default_rng(0), "unit5", 7)
    assert scene.batch_shape == ()
    assert (scene.obstacles.num_obstacles, scene.obstacles.mask, scene.obstacles.shuttle) == (7, None, None)
    assert sample_scene(np.random.default_rng(0), "unit5", 7) == scene
    assert sample_scene(np.random.default_rng(1), "unit5", 7) != scene
    assert sample_scene(np.random.default_rng(0), "unit5", 0).obstacles.num_obstacles == 0


def test_a_batch_of_scenes_is_reproducible_and_its_scenes_differ():
    first, again = (sample_scenes(np.random.default_rng(3), 30, num_obstacles=2) for _ in range(2))
    assert first == again
    assert len(np.unique(first.obstacles.radii)) == 60
    assert sample_scenes(np.random.default_rng(3), 0).batch_shape == (0,)


def test_narrow_passages_just_let_a_link_through():
    batch = sample_scenes(np.random.default_rng(0), 50, "unit3", 4, narrow_passages=2)
    discs, arm = batch.obstacles, batch.arm
    for first in (0, 2):
        pair = discs.mask[:, first] & discs.mask[:, first + 1]
        assert pair.mean() > 0.9
        apart = np.hypot(*(discs.centers[:, first] - discs.centers[:, first + 1])[pair].T)
        gap = apart - discs.radii[pair][:, [first, first + 1]].sum(axis=-1)
        assert (gap > 2 * (arm.link_radius + batch.safety_margin)).all()
        assert (gap < 2 * arm.link_radius + 0.04 * arm.reach).all()


def test_all_discs_shuttle_if_asked_for_and_those_without_room_are_left_out():
    assert (sample_scene(np.random.default_rng(0), shuttling=1.0).obstacles.shuttle[:, 2] > 0).all()
    crowded = sample_scenes(np.random.default_rng(0), 5, base_clearance=1.0)
    assert isinstance(crowded, Scene)
    assert not crowded.obstacles.mask.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_radius": 0.3, "max_radius": 0.2}, "min_radius must be > 0 and <= max_radius, got 0.3 and 0.2"),
        ({"min_radius": 0.0}, "min_radius must be > 0 and <= max_radius, got 0.0 and 0.15"),
        ({"max_radius": float("nan")}, r"max_radius must be a number in \[0.0, 1.0\], got nan"),
        ({"shuttling": 2}, r"shuttling must be a number in \[0.0, 1.0\], got 2"),
        ({"base_clearance": "far"}, r"base_clearance must be a number in \[0.0, 1.0\], got 'far'"),
        ({"narrow_passages": True}, r"narrow_passages must be a number in \[0, 500\], got True"),
        ({"narrow_passages": 1.5}, "narrow_passages must be a whole number, got 1.5"),
        ({"num_obstacles": -1}, r"num_obstacles must be in \[0, 1000\] and in order, got -1"),
        ({"num_obstacles": (3, 2)}, r"num_obstacles must be in \[0, 1000\] and in order, got \(3, 2\)"),
        ({"num_obstacles": 10**9}, r"num_obstacles must be in \[0, 1000\]"),
        ({"num_obstacles": None}, "num_obstacles must be a whole number or a pair of them, got None"),
        ({"num_obstacles": (1, 2, 3)}, "num_obstacles must be a whole number or a pair of them"),
        ({"num_obstacles": 2.5}, "num_obstacles must be a whole number or a pair of them, got 2.5"),
        ({"safety_margin": "wide"}, "safety_margin must be a number, got 'wide'"),
        ({"safety_margin": -1.0}, "safety_margin must be finite and >= 0, got -1.0"),
    ],
)
def test_dials_out_of_range_are_refused(arguments, message):
    with pytest.raises(InvalidSceneError, match=message):
        sample_scene(np.random.default_rng(0), **arguments)


def test_other_arguments_that_are_refused():
    with pytest.raises(UnknownNameError, match=r"Unknown scene dial 'shutling'. Did you mean 'shuttling'\?"):
        sample_scene(np.random.default_rng(0), shutling=0.5)
    with pytest.raises(InvalidSceneError, match="num_scenes must be a whole number >= 0, got -1"):
        sample_scenes(np.random.default_rng(0), -1)
