"""Agents: what they observe is what the environments show, and their episodes are the environments', bit for bit."""

import gymnasium as gym
import numpy as np
import pytest

from planararm.arm import make_arm
from planararm.errors import InvalidInputError, PolicyError
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import AgentPolicy
from planararm.scene import Scene
from planararm.scene.generator import sample_scene

MOVING = {"num_obstacles": (0, 5), "dials": {"shuttling": 1.0, "max_speed": 1.0}}


class Restless:
    """Moves by all that it observes, each row by itself; its state counts the steps of the episode."""

    def __init__(self, num_joints, dtype=np.float32):
        self.num_joints, self.dtype = num_joints, dtype

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        vector, n = observation["observation"].astype(float), self.num_joints
        count = np.zeros(vector.shape[:-1]) if state is None else state
        if episode_start is not None:
            count = np.where(episode_start, 0.0, count)
        seen = vector @ np.cos(np.arange(vector.shape[-1])) + observation["achieved_goal"].sum(axis=-1)
        wave = np.sin(seen + count)[..., None] + vector[..., :n] + 0.3 * vector[..., n : 2 * n]
        return (2.0 * np.sin(wave)).astype(self.dtype), count + 1


def task_of(world, seed):
    """Start, target and scene of an episode that the environment draws."""
    world.reset(seed=seed)
    inner = world.unwrapped
    return inner.state.q, inner.state.target_position, inner.scene


def by_hand(world, agent, q, target, scene, steps):
    """An episode of the environment itself: where the arm was, and whether it met a disc."""
    observation, _ = world.reset(options={"q": q, "target_position": target, "obstacles": scene.obstacles})
    path, touched, state = [q], False, None
    for step in range(steps):
        action, state = agent.predict(observation, state=state, episode_start=np.array(step == 0))
        observation, *_, info = world.step(action)
        path.append(world.unwrapped.state.q)
        touched |= info["collision"]
    return np.array(path), touched


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        ("planararm/Reach-v0", {}),
        ("planararm/Reach-v0", {"arm": "snake10", "dt": 0.03, "num_preview": 3}),
        ("planararm/ReachSparse-v0", {"max_obstacles": 6}),
    ],
)
def test_an_episode_is_the_environments_bit_for_bit(env, arguments, dtype):
    world = gym.make(env, **arguments, **MOVING)
    layout = world.unwrapped.interface
    agent = Restless(layout.arm.num_joints, dtype)
    policy = AgentPolicy(agent, layout, episode_steps=30)
    contacts = 0
    for seed in range(8):
        q, target, scene = task_of(world, seed)
        path, touched = by_hand(world, agent, q, target, scene, 30)
        episode = policy.run_episode(target, q, scene)
        np.testing.assert_array_equal(episode.q_path, path)
        assert episode.collision == touched
        contacts += touched
    assert 0 < contacts < 8


@pytest.mark.parametrize("batch", [(4,), (2, 2)])
def test_episodes_side_by_side(batch):
    world = gym.make("planararm/Reach-v0", **{**MOVING, "num_obstacles": 3})
    layout = world.unwrapped.interface
    policy = AgentPolicy(Restless(3), layout)
    tasks = [task_of(world, seed) for seed in range(4)]
    q, targets = (np.array([task[k] for task in tasks]).reshape(*batch, -1) for k in (0, 1))
    discs = [task[2].obstacles for task in tasks]
    shapes = {"centers": (3, 2), "radii": (3,), "shuttle": (3, 4)}
    together = {name: np.stack([getattr(d, name) for d in discs]).reshape(*batch, *s) for name, s in shapes.items()}
    scene = Scene(layout.arm, Obstacles(**together))
    episode = policy.run_episode(targets, q, scene, 20)
    assert episode.q_path.shape == (*batch, 21, 3)
    assert episode.collision.shape == batch
    for index, task in zip(np.ndindex(*batch), tasks, strict=True):
        path, touched = by_hand(world, policy.model, *task, 20)
        np.testing.assert_array_equal(episode.q_path[index], path)
        assert episode.collision[index] == touched


def test_an_answer_takes_discs_where_they_are_at_time_zero():
    world = gym.make("planararm/Reach-v0", **MOVING)
    policy = AgentPolicy(Restless(3), world.unwrapped.interface, episode_steps=25)
    moved = 0
    for seed in range(6):
        q, target, scene = task_of(world, seed)
        still = Scene(scene.arm, scene.obstacles.frozen_at(0.0), scene.safety_margin)
        answer = policy.solve(target, q, scene)
        np.testing.assert_array_equal(answer.q, policy.run_episode(target, q, still).q_path[-1])
        moved += not np.array_equal(answer.q, policy.run_episode(target, q, scene).q_path[-1])
    assert moved > 0


@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        ("planararm/Reach-v0", {}),
        ("planararm/Track-v0", {"num_preview": 4, "num_steps": 20}),
        ("planararm/ReachSparse-v0", {"arm": "unit5", "dt": 0.1}),
    ],
)
def test_packs_what_the_environment_shows(env, arguments):
    world = gym.make(env, **arguments, **MOVING)
    inner = world.unwrapped
    layout, rng = inner.interface, np.random.default_rng(0)
    for seed in range(6):
        observation, _ = world.reset(seed=seed)
        scene = inner.scene
        for step in range(25):
            state = inner.state
            coming = np.minimum(np.arange(step + 1, step + 1 + layout.num_preview), len(state.target_path) - 1)
            packed = layout.pack(
                state.q,
                state.target_path[coming],
                scene,
                joint_velocity=state.joint_velocity,
                desired_goal=state.target_position,
                time=step * layout.dt,
            )
            assert packed.keys() == observation.keys()
            for key, value in observation.items():
                assert packed[key].dtype == value.dtype
                # Moving centres are added up there and computed anew here; rounding may differ by a bit.
                np.testing.assert_allclose(packed[key], value, rtol=3e-7, atol=1e-12)
            wish = state.q + layout.max_step * rng.uniform(-1, 1, state.q.shape)
            observation, *_ = world.step(layout.encode_action(state.q, wish))


def test_packing_refuses_what_does_not_fit():
    layout = EnvInterface(make_arm("unit3"), max_obstacles=1, num_preview=2)
    scene = sample_scene(np.random.default_rng(0), "unit3", 2)
    with pytest.raises(InvalidInputError, match="has room for 1 discs, the scene has 2"):
        layout.pack(np.zeros(3), np.zeros((2, 2)), scene)
    free = Scene(layout.arm, Obstacles.none())
    with pytest.raises(InvalidInputError, match=r"preview must have shape \(2, 2\), got \(1, 2\)"):
        layout.pack(np.zeros(3), np.zeros((1, 2)), free)


def test_the_length_of_an_episode():
    reach, sparse = gym.make("planararm/Reach-v0"), gym.make("planararm/ReachSparse-v0")
    layout = reach.unwrapped.interface
    assert AgentPolicy(Restless(3)).episode_steps is None
    assert AgentPolicy(Restless(3), layout).episode_steps is None
    assert AgentPolicy(Restless(3), reach).episode_steps == 100
    assert AgentPolicy(Restless(3), sparse).episode_steps == 50
    assert AgentPolicy(Restless(3)).bind(sparse).episode_steps == 50
    assert AgentPolicy(Restless(3)).bind(gym.make_vec("planararm/Reach-v0", 2)).episode_steps == 100
    assert AgentPolicy(Restless(3)).bind(layout).episode_steps is None
    assert AgentPolicy(Restless(3), reach).bind(layout).episode_steps == 100
    assert AgentPolicy(Restless(3), episode_steps=7).bind(reach).episode_steps == 7
    assert AgentPolicy(Restless(3), reach, episode_steps=0).episode_steps == 0
    endless = gym.make("planararm/Reach-v0", max_episode_steps=-1)
    assert AgentPolicy(Restless(3), endless).episode_steps is None
    with pytest.raises(InvalidInputError, match=r"episode_steps must be a whole number in \[0, 100000\], got 2.5"):
        AgentPolicy(Restless(3), episode_steps=2.5)


def test_without_steps_one_command_is_the_answer():
    world = gym.make("planararm/ReachSparse-v0")
    q, target, scene = task_of(world, 1)
    for steps in (0, None):
        policy = AgentPolicy(Restless(3), world.unwrapped.interface, episode_steps=steps)
        answer = policy.solve(target, q, scene)
        step = np.abs(answer.q - q)
        assert 0 < step.max() <= world.unwrapped.interface.max_step.max() + 1e-12
        assert "collision" not in answer.info
    with pytest.raises(InvalidInputError, match="num_steps must be a whole number"):
        policy.run_episode(target, q, scene)


def test_no_rows():
    policy = AgentPolicy(Restless(3), gym.make("planararm/Reach-v0"))
    free = Scene(policy.interface.arm, Obstacles.none())
    assert policy.solve(np.zeros((0, 2)), np.zeros((0, 3)), free).q.shape == (0, 3)
    assert policy.run_episode(np.zeros((0, 2)), np.zeros((0, 3)), free).q_path.shape == (0, 101, 3)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full((1, 3), 1e39), r"AgentPolicy\(Fixed\).predict must return finite joint angles, got \[inf"),
        (np.zeros((1, 2)), r"must return joint angles of shape \(1, 3\), got shape \(1, 2\)"),
        (None, "returned None"),
    ],
)
def test_actions_that_are_none(action, message):
    class Fixed:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return action, state

    policy = AgentPolicy(Fixed(), gym.make("planararm/Reach-v0"))
    with pytest.raises(PolicyError, match=message):
        policy.solve([1.0, 1.0], np.zeros(3), Scene(policy.interface.arm, Obstacles.none()))
