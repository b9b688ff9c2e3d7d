"""The single environment: checkers that others wrote, episodes, options, rewards, bad input, wrappers."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import planararm
from planararm.arm import PlanarArm, make_arm
from planararm.collision import clearance
from planararm.errors import InvalidArmError, InvalidInputError, InvalidSceneError, UnknownNameError
from planararm.inverse import reachability
from planararm.obstacles import Obstacles
from planararm.registration import ENVIRONMENTS, register_environments
from planararm.scene import Scene
from planararm.scene.library import make_scene

IDS = sorted(ENVIRONMENTS)
INFO_KEYS = {
    "tracking_error", "is_success", "clearance", "collision", "reachable", "cost", "constraint_values",
    "constraint_violation", "reward_distance",
}  # fmt: skip
SHUTTLING = {"num_obstacles": [0, 5], "dials": {"shuttling": 0.6, "max_speed": 0.3}}
VARIANTS = [
    ("planararm/Reach-v0", {}),
    ("planararm/Reach-v0", {"arm": "unit2", "num_obstacles": 0}),
    ("planararm/Reach-v0", {"arm": {"link_lengths": [0.5], "base": [10.0, -3.0]}, "num_obstacles": 1}),
    ("planararm/ReachSparse-v0", {"arm": "duka", **SHUTTLING}),
    ("planararm/Reach-v0", {"arm": "unit5", "on_collision": "terminate", "num_obstacles": 6}),
    ("planararm/Track-v0", {"num_preview": 4, **SHUTTLING}),
    ("planararm/Track-v0", {"scene": "shuttle", "path": "lemniscate", "num_steps": 40, "on_collision": "ignore"}),
]


def same(a, b):
    """Bitwise equality of nested dicts, tuples, arrays and numbers."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


def actions(env, count, seed=0):
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    return [space.sample() for _ in range(count)]


class TestCheckers:
    @pytest.mark.parametrize("control_mode", ["position", "delta"])
    @pytest.mark.parametrize("name", IDS)
    def test_gymnasium(self, name, control_mode):
        env = gym.make(name, control_mode=control_mode, render_mode="rgb_array")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env.unwrapped)
        messages = [str(warning.message) for warning in caught]
        advice = [text for text in messages if "recommend using a symmetric and normalized space" in text]
        assert len(advice) == (control_mode == "position")
        assert messages == advice

    @pytest.mark.parametrize("name", ["planararm/Reach-v0", "planararm/Track-v0"])
    @pytest.mark.filterwarnings("ignore:.*symmetric and normalized.*")
    def test_gymnasium_with_everything_moving(self, name):
        check_env(gym.make(name, arm="unit5", **SHUTTLING).unwrapped, skip_render_check=True)

    @pytest.mark.parametrize("control_mode", ["position", "delta"])
    @pytest.mark.parametrize("name", IDS)
    @pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized:UserWarning")
    def test_stable_baselines(self, name, control_mode):
        check_env_sb3(gym.make(name, control_mode=control_mode).unwrapped)

    def test_hindsight_replay(self):
        env = gym.make("planararm/ReachSparse-v0", num_obstacles=1)
        model = SAC(
            "MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer,
            replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future", "copy_info_dict": True},
            learning_starts=110, batch_size=16, train_freq=5, policy_kwargs={"net_arch": [16]}, seed=0, device="cpu",
        )  # fmt: skip
        model.learn(200)
        sample = model.replay_buffer.sample(100)
        rewards = sample.rewards.numpy()[:, 0]
        goals = {key: value.numpy() for key, value in sample.next_observations.items()}
        np.testing.assert_array_equal(
            rewards, env.unwrapped.compute_reward(goals["achieved_goal"], goals["desired_goal"], None)
        )
        assert set(rewards) == {-1.0, 0.0}


class TestRegistration:
    def test_import_by_module_prefix(self):
        env = gym.make("planararm:planararm/Reach-v0")
        assert env.spec.id == "planararm/Reach-v0"
        assert env.spec.max_episode_steps == 100

    @pytest.mark.parametrize(("name", "steps"), [(name, ENVIRONMENTS[name][0]) for name in IDS])
    def test_time_limit(self, name, steps):
        env = gym.make(name)
        env.reset(seed=0)
        truncations = [env.step(action)[3] for action in actions(env, steps)]
        assert truncations == [False] * (steps - 1) + [True]

    def test_twice_is_legal(self):
        register_environments()
        assert gym.spec("planararm/Reach-v0").kwargs == {"task": "reach"}

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("planararm/Reach-v0", {"arm": {"link_lengths": [1.0, 0.5], "base": [1.0, 0.0]}}),
            ("planararm/Reach-v0", {"scene": "ring", "control_mode": "delta", "dt": 0.02}),
            ("planararm/Track-v0", {"path": {"kind": "circle", "radius": 0.4}, "num_steps": 50}),
            ("planararm/Track-v0", {"num_obstacles": [1, 4], "dials": {"shuttling": 0.5}, "num_preview": 2}),
        ],
    )
    def test_specification_survives_json(self, name, arguments):
        env = gym.make(name, **arguments)
        text = env.spec.to_json()
        assert json.loads(text)["kwargs"].items() >= json.loads(json.dumps(arguments)).items()
        again = gym.make(EnvSpec.from_json(text))
        assert same(env.reset(seed=3), again.reset(seed=3))
        for action in actions(env, 5):
            assert same(env.step(action), again.step(action))

    def test_objects_are_taken_too(self):
        arm = PlanarArm([1.0, 0.7])
        scene = Scene(arm, Obstacles([[1.0, 0.8]], [0.2]), safety_margin=0.01)
        env = gym.make("planararm/Track-v0", scene=scene, path=planararm.make_path("circle", arm=arm))
        env.reset(seed=0)
        assert env.unwrapped.arm == arm
        assert env.unwrapped.scene == scene
        assert env.unwrapped.interface.safety_margin == 0.01
        assert gym.make("planararm/Reach-v0", arm=arm).unwrapped.arm == arm


class TestEpisodes:
    @pytest.mark.parametrize(("name", "arguments"), VARIANTS)
    def test_every_step(self, name, arguments):
        env = gym.make(name, **arguments)
        inner = env.unwrapped
        observation, info = env.reset(seed=1)
        kinds = {key: type(value) for key, value in info.items()}
        assert set(info) == INFO_KEYS
        assert inner.scene.arm is inner.arm
        for action in actions(env, 40):
            previous = observation, inner.state
            snapshot = copy.deepcopy(previous)
            observation, reward, terminated, truncated, info = env.step(action)
            assert same(previous[0], snapshot[0])
            assert same(tuple(previous[1]), tuple(snapshot[1]))
            assert env.observation_space.contains(observation)
            assert all(value.dtype == np.float32 for value in observation.values())
            assert {key: type(value) for key, value in info.items()} == kinds
            assert type(reward) is float
            assert type(terminated) is type(truncated) is bool
            goals = observation["achieved_goal"], observation["desired_goal"]
            assert reward == env.unwrapped.compute_reward(*goals, info)
            state, arm = inner.state, inner.arm
            tip = arm.end_effector(state.q)
            np.testing.assert_allclose(state.joint_positions, arm.forward_kinematics(state.q), atol=1e-12)
            np.testing.assert_array_equal(observation["achieved_goal"], state.joint_positions[-1].astype(np.float32))
            np.testing.assert_array_equal(observation["desired_goal"], state.target_position.astype(np.float32))
            error = np.hypot(*(tip - state.target_position))
            assert info["tracking_error"] == pytest.approx(error, abs=1e-12)
            assert info["reward_distance"] == pytest.approx(-error, abs=1e-5)
            assert info["is_success"] == (-info["reward_distance"] <= inner.task.success_tolerance)
            exact = clearance(state.q, arm, inner.scene.obstacles)
            assert info["clearance"] == pytest.approx(exact, abs=1e-12)
            assert info["cost"] == float(info["collision"])
            margin = inner.interface.safety_margin
            expected = np.concatenate(
                [[exact - margin], state.q - arm.joint_limits[:, 0], arm.joint_limits[:, 1] - state.q]
            )
            np.testing.assert_allclose(info["constraint_values"], expected, atol=1e-12)
            assert info["constraint_violation"] == pytest.approx(max(0.0, -expected.min()), abs=1e-12)
            assert terminated == (info["collision"] and arguments.get("on_collision") == "terminate")
            if terminated:
                observation, info = env.reset()

    @pytest.mark.parametrize(("name", "arguments"), VARIANTS)
    def test_same_seed_same_episodes(self, name, arguments):
        first, again, other = (gym.make(name, **arguments).unwrapped for _ in range(3))
        assert same(first.reset(seed=5), again.reset(seed=5))
        other.reset(seed=6)
        assert not same(first.state.q, other.state.q)
        for _ in range(3):
            for action in actions(first, 10):
                assert same(first.step(action), again.step(action))
            assert same(first.reset(), again.reset())

    def test_unseeded_episodes_differ(self):
        first, other = gym.make("planararm/Reach-v0"), gym.make("planararm/Reach-v0")
        assert not same(first.reset()[0], other.reset()[0])
        assert not same(first.reset()[0], first.reset()[0])

    def test_commands_are_float32_and_reached_exactly(self):
        env = gym.make("planararm/Reach-v0", scene="empty").unwrapped
        env.reset(seed=0, options={"q": [0.5, 0.5, 0.5]})
        command = np.float32([0.55, 0.45, 0.5123])
        env.step(command)
        np.testing.assert_array_equal(env.state.q, command.astype(float))
        env.step(command.astype(float) + 1e-12)
        np.testing.assert_array_equal(env.state.q, command.astype(float))

    def test_delta_control(self):
        env = gym.make("planararm/Reach-v0", scene="empty", control_mode="delta", dt=0.1).unwrapped
        env.reset(seed=0, options={"q": [0.5, 0.5, 0.5]})
        env.step(np.float32([1.0, -0.5, 0.0]))
        np.testing.assert_allclose(env.state.q, [0.7, 0.4, 0.5], atol=1e-12)
        np.testing.assert_allclose(env.state.joint_velocity, [2.0, -1.0, 0.0], atol=1e-12)
        env.step(np.float32([7.0, 0.0, 0.0]))
        np.testing.assert_allclose(env.state.q, [0.9, 0.4, 0.5], atol=1e-12)

    def test_contact_rules(self):
        """A link swings at a disc: it stops before it, the episode ends, or it goes on."""
        scene = {"arm": {"link_lengths": [1.0]}, "obstacles": {"centers": [[0.0, 0.8]], "radii": [0.2]}}
        for rule in ("stop", "terminate", "ignore"):
            env = gym.make("planararm/Reach-v0", scene=scene, on_collision=rule).unwrapped
            env.reset(seed=0, options={"q": [1.0]})
            steps = [env.step(np.float32([3.0])) for _ in range(8)]
            hits = [info["collision"] for *_, info in steps]
            assert any(hits)
            assert [terminated for _, _, terminated, _, _ in steps] == [hit and rule == "terminate" for hit in hits]
            assert (env.state.q[0] > 1.7) == (rule == "ignore")
            assert all((info["clearance"] > 0) == (rule != "ignore" or not info["collision"]) for *_, info in steps)
            if rule == "ignore":
                assert steps[-1][-1]["constraint_violation"] > 0
            else:
                env.step(np.float32([0.0]))
                assert env.state.joint_velocity[0] == pytest.approx(-2.0)

    def test_moving_discs_are_where_the_clock_says(self):
        env = gym.make("planararm/Reach-v0", scene="shuttle", arm="unit3").unwrapped
        env.reset(seed=0)
        discs = make_scene("shuttle", arm=make_arm("unit3")).obstacles
        for step in range(1, 60):
            env.step(env.state.q.astype(np.float32))
            assert env.state.time == pytest.approx(0.05 * step)
            for ahead in (0.0, 0.3):
                np.testing.assert_allclose(
                    env.scene.obstacles.positions(ahead), discs.positions(0.05 * step + ahead), atol=1e-9
                )


class TestGoals:
    @pytest.mark.parametrize("arguments", [{}, {"path": "circle"}])
    def test_preview_is_the_next_goal(self, arguments):
        env = gym.make("planararm/Track-v0", num_steps=30, num_preview=3, **arguments).unwrapped
        observation, _ = env.reset(seed=0)
        path = env.state.target_path
        assert path.shape == (31, 2)
        for step in range(40):
            np.testing.assert_array_equal(observation["desired_goal"], path[min(step, 30)].astype(np.float32))
            preview = env.interface.unpack(observation).preview
            for ahead in range(3):
                np.testing.assert_array_equal(preview[ahead], path[min(step + 1 + ahead, 30)].astype(np.float32))
            observation, *_ = env.step(env.state.q.astype(np.float32))

    def test_random_paths_are_started_on(self):
        env = gym.make("planararm/Track-v0").unwrapped
        for seed in range(20):
            assert env.reset(seed=seed)[1]["tracking_error"] < 1e-12

    @pytest.mark.parametrize("name", IDS)
    def test_reward_is_a_function_of_the_goals(self, name):
        env = gym.make(name).unwrapped
        env.reset(seed=0)
        rows = [env.step(action) for action in actions(env, 20)]
        achieved, desired = (np.array([row[0][key] for row in rows]) for key in ("achieved_goal", "desired_goal"))
        rewards = env.compute_reward(achieved, desired, np.array([row[4] for row in rows]))
        assert rewards.tolist() == [row[1] for row in rows]
        grid = env.compute_reward(achieved[:, None], desired[None], None)
        assert grid.shape == (20, 20)
        assert np.diag(grid).tolist() == rewards.tolist()
        assert not np.any(env.compute_terminated(achieved, desired, None))
        assert env.compute_truncated(achieved, desired, None).shape == (20,)
        assert env.compute_terminated(achieved[0], desired[0], {}) is False

    def test_success_tolerance_is_a_share_of_the_reach(self):
        env = gym.make("planararm/ReachSparse-v0", arm="duka", success_tolerance=0.02).unwrapped
        assert env.compute_reward(np.float32([1.0, 0.0]), np.float32([1.119, 0.0]), {}) == 0.0
        assert env.compute_reward(np.float32([1.0, 0.0]), np.float32([1.121, 0.0]), {}) == -1.0


class TestOptions:
    def test_start_target_and_discs(self):
        env = gym.make("planararm/Reach-v0").unwrapped
        options = {
            "q": [0.3, 0.2, 0.1],
            "target_position": [-1.0, 1.5],
            "obstacles": {"centers": [[0.0, -2.0], [1.0, 2.0]], "radii": [0.3, 0.2]},
        }
        kept = copy.deepcopy(options)
        _, info = env.reset(seed=0, options=options)
        assert options == kept
        state = env.state
        np.testing.assert_array_equal(state.q, options["q"])
        np.testing.assert_array_equal(state.target_position, [-1.0, 1.5])
        assert env.scene.obstacles == Obstacles(**options["obstacles"])
        assert info["reachable"] == 1
        env.reset(options={"obstacles": Obstacles([[2.0, 2.0]], [0.5], [[0.1, 0.0, 0.2, 0.0]])})
        assert not env.scene.obstacles.is_static

    @given(st.integers(0, 10**6))
    @settings(max_examples=20)
    def test_verdict_is_the_ground_truth(self, seed):
        rng = np.random.default_rng(seed)
        env = gym.make("planararm/Reach-v0", num_obstacles=4).unwrapped
        target = rng.uniform(-3, 3, 2)
        _, info = env.reset(seed=seed, options={"target_position": target})
        assert info["reachable"] == reachability(target, env.scene).verdict

    def test_verdicts(self):
        env = gym.make("planararm/Reach-v0", scene="empty").unwrapped
        assert env.reset(options={"target_position": [1.0, 1.0]})[1]["reachable"] == 1
        assert env.reset(options={"target_position": [2.5, 2.5]})[1]["reachable"] == 0
        assert env.reset()[1]["reachable"] == 1

    def test_random_discs_suit_the_start(self):
        env = gym.make("planararm/Reach-v0", num_obstacles=8).unwrapped
        for seed in range(30):
            _, info = env.reset(seed=seed, options={"q": [0.2, 0.3, -0.4]})
            assert info["clearance"] >= 1e-3

    @pytest.mark.parametrize("scene", [None, "ring"])
    def test_the_next_episode_knows_nothing_of_them(self, scene):
        arguments = {"scene": scene, "path": "circle", "task": "track"} if scene else {}
        env = gym.make("planararm/Reach-v0", **arguments).unwrapped
        plain = gym.make("planararm/Reach-v0", **arguments).unwrapped
        env.reset(
            seed=4,
            options={
                "q": [0.0, 0.1, 0.0],
                "target_position": [0.0, 2.0],
                "obstacles": {"centers": [[-2.0, 0.0]], "radii": [0.5]},
            },
        )
        env.step(actions(env, 1)[0])
        plain.reset(seed=4)
        assert same(env.reset(), plain.reset())
        assert same(env.step(actions(env, 1)[0]), plain.step(actions(env, 1)[0]))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"target_pos": [1, 1]}, UnknownNameError, "reset option 'target_pos'. Did you mean 'target_position'"),
            ({"q": [0.0, 0.0]}, InvalidInputError, r"q must have shape .*, got \(2,\)"),
            ({"q": [0.0, np.nan, 0.0]}, InvalidInputError, "q must be finite, got nan"),
            ({"q": [0.0, 4.0, 0.0]}, InvalidInputError, r"The start q=\[0.0, 4.0, 0.0\] is outside the joint limits"),
            ({"target_position": [1.0]}, InvalidInputError, r"target_position must have shape .*, got \(1,\)"),
            ({"target_position": [np.inf, 0]}, InvalidInputError, "target_position must be finite, got inf"),
            ({"target_position": [6.1, 0]}, InvalidInputError, r"target_position must lie within 6\.0 m of the base"),
            (
                {"obstacles": {"centers": [[7.0, 0.0]], "radii": [0.1]}},
                InvalidInputError,
                r"Disc centers must lie within 6\.0 m of the base",
            ),
            (
                {"obstacles": Obstacles([[5.0, 0.0]], [0.1], [[2.0, 0.0, 0.1, 0.0]])},
                InvalidInputError,
                r"Shuttle ends must lie within 6\.0 m of the base",
            ),
            (
                {"obstacles": {"centers": np.ones((9, 2)), "radii": np.full(9, 0.1)}},
                InvalidSceneError,
                "9 discs do not fit into max_obstacles=8 slots",
            ),
            (
                {"obstacles": {"centers": [[0.0, 0.1]], "radii": [0.2]}},
                InvalidSceneError,
                r"Disc 0 .* covers the base \[0.0, 0.0\]",
            ),
            (
                {"obstacles": Obstacles(np.ones((2, 1, 2)), np.full((2, 1), 0.1))},
                InvalidSceneError,
                r"needs one unbatched scene, got batch shape \(2,\)",
            ),
            (
                {"q": [0.0, 0.0, 0.0], "obstacles": {"centers": [[2.0, 0.0]], "radii": [0.1]}},
                InvalidSceneError,
                r"The start q=\[0.0, 0.0, 0.0\] is in collision: its clearance -0\.13 m",
            ),
        ],
    )
    def test_bad_option(self, options, error, message):
        env = gym.make("planararm/Reach-v0").unwrapped
        env.reset(seed=0)
        with pytest.raises(error, match=message):
            env.reset(options=options)
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)"):
            env.step(np.zeros(3, np.float32))
        env.reset(seed=0)
        env.step(np.zeros(3, np.float32))

    def test_no_room(self):
        around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        ring = Obstacles(np.stack([np.cos(around), np.sin(around)], axis=-1), np.full(8, 0.45))
        env = gym.make("planararm/Reach-v0", scene=Scene(PlanarArm([1.0]), ring)).unwrapped
        with pytest.raises(InvalidSceneError, match=r"No configuration with clearance >= 0\.001 m was found"):
            env.reset(seed=0)

    def test_the_largest_disc_fits_the_observation(self):
        env = gym.make("planararm/Reach-v0", scene="empty").unwrapped
        corner = {"centers": [[6.0, 6.0]], "radii": [8.0]}
        observation, _ = env.reset(seed=0, options={"obstacles": corner, "target_position": [6.0, -6.0]})
        assert env.observation_space.contains(observation)


class TestBadInput:
    @pytest.mark.parametrize(
        ("action", "message"),
        [
            ([0.0, np.nan, 0.0], "The action must be finite, got nan among its numbers"),
            ([0.0, np.inf, 0.0], "The action must be finite, got inf among its numbers"),
            ([0.0, 1e300, 0.0], r"The action must be finite, got 1e\+300 among its numbers"),
            ([0.0, 0.0], r"The action must have shape \(3,\), got \(2,\)"),
            ([[0.0, 0.0, 0.0]], r"The action must have shape \(3,\), got \(1, 3\)"),
            (0.0, r"The action must have shape \(3,\), got \(\)"),
            ([[0.0], [0.0, 0.0]], r"The action must have shape \(3,\), got \[\[0\.0\]"),
            ("left", "The action must be real numbers, got 'left'"),
            (None, "The action must be real numbers, got None"),
            ([1j, 0.0, 0.0], "The action must be real numbers, got"),
        ],
    )
    def test_action(self, action, message):
        env = gym.make("planararm/Reach-v0").unwrapped
        env.reset(seed=0)
        env.step(np.float32([0.1, 0.2, 0.3]))
        before, twin = env.state, copy.deepcopy(env)
        with pytest.raises(InvalidInputError, match=message):
            env.step(action)
        assert same(tuple(env.state), tuple(before))
        assert same(env.step(np.float32([0.1, 0.2, 0.3])), twin.step(np.float32([0.1, 0.2, 0.3])))

    def test_whole_numbers_are_an_action(self):
        env = gym.make("planararm/Reach-v0").unwrapped
        env.reset(seed=0)
        env.step([0, 1, 0])

    def test_step_before_reset(self):
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)"):
            gym.make("planararm/Reach-v0").unwrapped.step(np.zeros(3, np.float32))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"arm": "unit33"}, UnknownNameError, "Unknown arm 'unit33'. Did you mean 'unit3'"),
            ({"arm": 3}, InvalidArmError, "arm must be a preset's name, a mapping or a PlanarArm, got int"),
            ({"scene": "rings"}, UnknownNameError, "Unknown scene 'rings'. Did you mean 'ring'"),
            ({"task": "rech"}, UnknownNameError, "Unknown task 'rech'. Did you mean 'reach'"),
            ({"task": "track", "path": "circel"}, UnknownNameError, "Unknown path 'circel'. Did you mean 'circle'"),
            ({"path": "circle"}, InvalidInputError, r'path is for task="track"'),
            ({"control_mode": "delt"}, UnknownNameError, "Unknown control_mode 'delt'. Did you mean 'delta'"),
            ({"reward": "sparce"}, UnknownNameError, "Unknown reward 'sparce'. Did you mean 'sparse'"),
            ({"on_collision": "ignor"}, UnknownNameError, "Unknown on_collision 'ignor'. Did you mean 'ignore'"),
            ({"render_mode": "rgb"}, UnknownNameError, "Unknown render_mode 'rgb'.* Known: human, rgb_array"),
            ({"dials": {"shutling": 1}}, UnknownNameError, "Unknown scene dial 'shutling'. Did you mean 'shuttling'"),
            ({"dials": 3}, InvalidInputError, "dials must be a mapping of names to numbers, got 3"),
            ({"dials": {"shuttling": 2.0}}, InvalidSceneError, r"shuttling must be a number in \[0.0, 1.0\], got 2.0"),
            ({"num_obstacles": 9}, InvalidSceneError, "num_obstacles=9 does not fit into max_obstacles=8"),
            ({"num_obstacles": [3, 1]}, InvalidSceneError, r"in order, got \[3, 1\]"),
            ({"success_tolerance": -0.01}, InvalidInputError, r"success_tolerance must be .* got -0\.01"),
            ({"success_tolerance": "1 %"}, InvalidInputError, "success_tolerance must be .* got '1 %'"),
            ({"safety_margin": -1.0}, InvalidInputError, r"safety_margin must be a finite number >= 0, got -1\.0"),
            ({"safety_margin": "wide"}, InvalidInputError, "safety_margin must be a finite number >= 0, got 'wide'"),
            ({"num_steps": 0}, InvalidInputError, r"num_steps must be a whole number in \[1, 100000\], got 0"),
            ({"dt": -0.1}, InvalidInputError, r"dt must be a number of seconds > 0, got -0\.1"),
            ({"scene": "duka-single", "arm": "unit3", "max_obstacles": 0}, InvalidSceneError, "1 discs do not fit"),
            (
                {"scene": Scene(make_arm("unit2"), Obstacles.none()), "arm": "unit3"},
                InvalidInputError,
                "arm and scene name two different arms",
            ),
            (
                {"task": "track", "path": {"kind": "circle", "radius": 9.0}},
                InvalidInputError,
                r"path must lie within 6\.0 m of the base",
            ),
        ],
    )
    def test_argument(self, arguments, error, message):
        with pytest.raises(error, match=message):
            planararm.envs.ArmEnv(**arguments)


class TestCopies:
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
    @pytest.mark.parametrize(("name", "arguments"), VARIANTS)
    def test_go_on_identically(self, duplicate, name, arguments):
        env = gym.make(name, render_mode="rgb_array" if name.endswith("Reach-v0") else None, **arguments)
        env.reset(seed=2)
        for action in actions(env, 5):
            env.step(action)
        twin = duplicate(env)
        before = twin.unwrapped.state
        for action in actions(env, 10, seed=1):
            here = env.step(action)
            assert same(tuple(twin.unwrapped.state), tuple(before))
            assert same(here, twin.step(action))
            before = twin.unwrapped.state
        assert same(env.reset(), twin.reset())

    def test_state_is_a_copy(self):
        env = gym.make("planararm/Reach-v0").unwrapped
        observation, info = env.reset(seed=0)
        twin = copy.deepcopy(env)
        for value in (*env.state, *observation.values(), *info.values()):
            if isinstance(value, np.ndarray):
                value[...] = 0.123
        assert same(env.step(np.zeros(3, np.float32)), twin.step(np.zeros(3, np.float32)))


class TestWrappers:
    def test_flattened_observations(self):
        env = gym.wrappers.FlattenObservation(gym.make("planararm/Reach-v0"))
        observation, _ = env.reset(seed=0)
        assert observation.shape == env.observation_space.shape == (56 + 4,)
        assert env.observation_space.contains(observation)

    def test_statistics(self):
        env = gym.wrappers.RecordEpisodeStatistics(gym.make("planararm/ReachSparse-v0"))
        env.reset(seed=0)
        rewards = [env.step(action) for action in actions(env, 50)]
        episode = rewards[-1][4]["episode"]
        assert episode["l"] == 50
        assert episode["r"] == pytest.approx(sum(row[1] for row in rewards))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning:moviepy")
    def test_video(self, tmp_path):
        env = gym.make("planararm/Reach-v0", render_mode="rgb_array", max_episode_steps=5)
        env = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
        env.reset(seed=0)
        for action in actions(env, 5):
            env.step(action)
        env.close()
        (video,) = tmp_path.glob("videos/*.mp4")
        assert video.stat().st_size > 1000

    def test_frames(self):
        env = gym.make("planararm/Track-v0", render_mode="rgb_array")
        env.reset(seed=0)
        first = env.render()
        assert first.dtype == np.uint8
        assert first.ndim == 3
        assert first.shape[2] == 3
        for action in actions(env, 3):
            env.step(action)
        assert (env.render() != first).any()
        env.close()
        env.close()

    def test_window(self, monkeypatch):
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        env = gym.make("planararm/Track-v0", render_mode="human")
        env.reset(seed=0)
        for action in actions(env, 3):
            env.step(action)
        assert env.render() is None
        env.close()
        env.close()

    def test_rendering_without_a_mode_warns(self):
        env = gym.make("planararm/Reach-v0").unwrapped
        env.reset(seed=0)
        with pytest.warns(UserWarning, match=r"render\(\) was called without a render mode"):
            assert env.render() is None
