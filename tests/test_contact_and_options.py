"""Corners of contact and of reset options that once went wrong."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import planararm  # noqa: F401  (registers the environments)
from planararm.arm import PlanarArm
from planararm.collision import certify_motion, clearance
from planararm.dynamics import advance
from planararm.errors import PlanarArmError
from planararm.kernels.episode import step_batch
from planararm.obstacles import Obstacles
from planararm.scene import Scene
from planararm.scene.generator import sample_scenes


@pytest.mark.parametrize(("overlap", "tolerance"), [(1e-8, 1e-6), (0.06, 0.5)])
def test_a_start_in_contact_is_a_contact(overlap: float, tolerance: float) -> None:
    arm = PlanarArm([1.0], link_radius=0.01)
    got = certify_motion([0.0], [-1.0], arm, Obstacles([[0.8, 0.21 - overlap]], [0.2]), tolerance=tolerance)
    assert (got.status, got.fraction) == (0, 0.0)


def test_ever_smaller_steps_towards_a_disc_do_not_glue_the_arm_to_it() -> None:
    arm, discs = PlanarArm([1.0], link_radius=0.01), Obstacles([[0.8, 0.31]], [0.2])
    scene, q = Scene(arm, discs), np.zeros(1)
    for _ in range(80):
        q = advance(q, q + min(0.05, 2 * clearance(q, arm, discs)), scene).q
    assert advance(q, q - 0.05, scene).fraction == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"q": np.zeros((1, 3))},
        {"q": np.zeros((4, 3))},
        {"q": np.zeros((0, 3))},
        {"target_position": [[1.0, 1.0]]},
        {"target_position": np.ones((4, 2))},
        {"obstacles": 3},
        {"obstacles": {"center": [[1.0, 1.0]]}},
        {"obstacles": {"centers": [[1.0, 1.0]]}},
        [("q", [0.0, 0.0, 0.0])],
        3,
    ],
)
def test_options_of_another_kind(options: Any) -> None:
    env = gym.make("planararm/Reach-v0").unwrapped
    with pytest.raises(PlanarArmError):
        env.reset(options=options)


def test_a_parked_shuttle_stands_where_its_phase_puts_it() -> None:
    env = gym.make("planararm/Reach-v0").unwrapped
    parked = Obstacles([[1.0, 1.0]], [0.1], [[0.5, 0.0, 0.0, 1.0]])
    env.reset(seed=0, options={"obstacles": parked})
    assert np.allclose(env.scene.obstacles.positions(), [[1.5, 1.0]])  # type: ignore[attr-defined]
    env = gym.make("planararm/Reach-v0", dials={"shuttling": 1.0, "max_speed": 0.0}).unwrapped
    _, info = env.reset(seed=3)
    found = clearance(env.state.q, env.scene.arm, env.scene.obstacles)  # type: ignore[attr-defined]
    assert info["clearance"] == pytest.approx(found, abs=1e-12)


def test_empty_slots_of_a_scene_are_dropped() -> None:
    scenes = sample_scenes(np.random.default_rng(0), 4, num_obstacles=(1, 4))
    for i in range(4):
        env = gym.make("planararm/Reach-v0", scene=scenes[i]).unwrapped
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)


def test_a_scene_with_many_discs_gets_the_slots_it_needs() -> None:
    scene = gym.make("planararm/Reach-v0", scene="pillars").unwrapped.interface  # type: ignore[attr-defined]
    assert scene.max_obstacles == 12


def test_an_arm_in_contact_may_leave_the_disc_but_not_enter_it() -> None:
    scene = Scene(PlanarArm([1.0, 1.0, 1.0]), Obstacles([[1.5, 0.0]], [0.2]))
    q = np.array([0.1, 0.0, 0.0])
    assert clearance(q, scene.arm, scene.obstacles) < 0
    inwards, outwards = advance(q, [-0.1, 0.0, 0.0], scene), advance(q, [0.2, 0.0, 0.0], scene)
    assert (inwards.fraction, outwards.fraction) == (0.0, 1.0)
    assert inwards.collision
    assert outwards.collision
    assert advance(q, [-0.1, 0.0, 0.0], scene, on_collision="ignore").fraction == 1.0


def test_a_short_contact_is_found_whatever_the_tolerance() -> None:
    arm = PlanarArm([1.0], link_radius=0.01)
    discs = Obstacles([[np.cos(0.5), np.sin(0.5)]], [0.01])
    for tolerance in (1e-6, 1e-3, 0.05):
        assert certify_motion([0.0], [1.0], arm, discs, tolerance=tolerance).status == 0


def test_huge_discs_are_rounded_for_too() -> None:
    arm = PlanarArm([1.0, 1.0], link_radius=0.0)
    radius = 1e5
    wall = Obstacles([[radius + 1.5, 0.0]], [radius])
    got = certify_motion([1.2, 0.4], [0.0, 0.0], arm, wall)
    q = np.array([1.2, 0.4]) * (1 - got.fraction)
    assert got.status == 0
    assert 0 <= clearance(q, arm, wall) < 1e-3


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_misspelt_argument_gets_a_suggestion(make: Any) -> None:
    with pytest.raises(PlanarArmError, match=r"argument 'num_obstacle'\. Did you mean 'num_obstacles'"):
        make("planararm/Reach-v0", num_obstacle=3)


def test_time_must_be_finite_and_phases_stay_in_range() -> None:
    scene = Scene(PlanarArm([1.0]), Obstacles([[2.0, 0.0]], [0.1], [[0.5, 0.0, 0.2, 0.0]]))
    with pytest.raises(PlanarArmError, match="time must be finite, got nan"):
        advance([0.0], [0.1], scene, time=float("nan"))
    assert scene.obstacles.after(-1e-18).positions() == pytest.approx(scene.obstacles.positions())


def test_read_only_actions_need_no_new_kernel() -> None:
    env = gym.make_vec("planararm/Reach-v0", num_envs=2)
    env.reset(seed=0)
    action = env.action_space.sample()
    env.step(action)
    known = len(step_batch.signatures)
    action.flags.writeable = False
    env.step(action)
    assert len(step_batch.signatures) == known
