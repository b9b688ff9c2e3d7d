"""Environments behind the safety filter: closed loops that never touch, wrappers, vectors, bad input."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import planararm
from planararm import Obstacles, clearance
from planararm.collision import signed_distance
from planararm.envs import SafetyFilter, VectorSafetyFilter
from planararm.envs.wrappers import INFO_KEYS
from planararm.errors import InvalidInputError
from planararm.projection.command_filter import FilterStatus

ROOT = Path(__file__).resolve().parent.parent
MOVING = {"num_obstacles": [1, 5], "dials": {"shuttling": 0.7, "max_speed": 0.4}}
TIGHT = {"num_obstacles": [2, 5], "max_obstacles": 5, "dials": {"narrow_passages": 1}}
NEAR = {"obstacles": {"centers": [[1.5, 0.6]], "radii": [0.2]}, "q": [0.1, 0.1, 0.1]}


def script(folder, name):
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


benchmark = script("benchmarks", "safety_filter")


def same(here, there):
    """Bitwise equality of nested dicts, tuples, arrays and numbers."""
    if isinstance(here, dict):
        return here.keys() == there.keys() and all(same(here[key], there[key]) for key in here)
    if isinstance(here, tuple):
        return len(here) == len(there) and all(same(a, b) for a, b in zip(here, there, strict=True))
    here, there = np.asarray(here), np.asarray(there)
    return here.dtype == there.dtype and np.array_equal(here, there)


def wild_actions(env, count, seed=0):
    """Actions that go far, and each for some steps."""
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    drawn = [space.sample() for _ in range(-(-count // 4))]
    return [drawn[i // 4] for i in range(count)]


def make(name="planararm/Reach-v0", **arguments):
    return SafetyFilter(gym.make(name, **arguments))


class TestClosedLoops:
    @pytest.mark.parametrize("name", benchmark.AGENTS)
    @pytest.mark.parametrize("mode", ["position", "delta"])
    @pytest.mark.parametrize("arm", ["unit2", "unit3", "unit5"])
    def test_no_contact_at_200_poses_per_step(self, arm, mode, name):
        inner = gym.make_vec("planararm/Reach-v0", num_envs=4, arm=arm, control_mode=mode, **TIGHT)
        env, base = VectorSafetyFilter(inner), inner.unwrapped
        agent = benchmark.make_agent(name, base.interface)
        observation, _ = env.reset(seed=7)
        env.action_space.seed(7)
        for _ in range(50):
            q, scene = base.q, base.scene
            target = base.interface.unpack(observation).preview[:, 0]
            observation, _, _, _, info = env.step(agent(q, scene, target, env.action_space.sample()))
            assert benchmark.smallest_clearances(q, base.q, scene, 200).min() > 5e-4 - 1e-7
            assert base.arm.limit_violation(base.q).max() <= 0
            assert not info["collision"].any()
            assert (info["fallback"] != FilterStatus.UNCERTIFIED).all()

    def test_the_check_finds_the_contacts_without_the_filter(self):
        env = gym.make_vec("planararm/Reach-v0", num_envs=16, on_collision="ignore", **TIGHT)
        env.reset(seed=7)
        smallest = np.inf
        for action in wild_actions(env, 50):
            q, scene = env.unwrapped.q, env.unwrapped.scene
            env.step(action)
            smallest = min(smallest, benchmark.smallest_clearances(q, env.unwrapped.q, scene, 50).min())
        assert smallest < -0.05

    @pytest.mark.parametrize("on_collision", ["stop", "terminate", "ignore"])
    def test_what_contact_would_do_does_not_matter(self, on_collision):
        env = make(on_collision=on_collision, num_obstacles=5)
        env.reset(seed=3)
        for action in wild_actions(env, 100):
            *_, terminated, _, info = env.step(action)
            assert not terminated
            assert info["cost"] == 0.0

    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_moving_discs_touch_only_where_no_certified_step_was_found(self, mode):
        env = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=32, control_mode=mode, **MOVING))
        free = gym.make_vec("planararm/Reach-v0", num_envs=32, control_mode=mode, **MOVING)
        env.reset(seed=5)
        free.reset(seed=5)
        touched, uncertified, without = 0, 0, 0
        in_contact = np.zeros(32, dtype=bool)
        for action in wild_actions(env, 95):
            info, unfiltered = env.step(action)[-1], free.step(action)[-1]
            fresh = info["collision"] & ~in_contact
            assert (info["fallback"][fresh] == FilterStatus.UNCERTIFIED).all()
            in_contact = info["clearance"] <= 1e-6
            touched += int(info["collision"].sum())
            uncertified += int((info["fallback"] == FilterStatus.UNCERTIFIED).sum())
            without += int(unfiltered["collision"].sum())
        assert uncertified < 0.05 * 32 * 95
        assert touched < 0.3 * without

    def test_without_discs_it_is_the_environment_itself(self):
        env, plain = make(num_obstacles=0), gym.make("planararm/Reach-v0", num_obstacles=0)
        env.reset(seed=1)
        plain.reset(seed=1)
        for action in wild_actions(env, 100):
            *filtered, info = env.step(action)
            *expected, _ = plain.step(action)
            assert same(tuple(filtered), tuple(expected))
            assert not info["intervened"]
            assert info["executed_action"].tobytes() == action.tobytes()

    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_it_changes_what_it_must_and_nothing_else(self, mode):
        env = make(control_mode=mode, num_obstacles=4)
        env.reset(seed=2)
        inner, seen = env.unwrapped, set()
        for action in wild_actions(env, 100):
            nominal = inner.interface.decode_action(inner.state.q, action)
            margin = inner.interface.safety_margin / 2
            step = np.clip(nominal, *inner.arm.joint_limits.T) - inner.state.q
            step /= max(1.0, (np.abs(step) / inner.interface.max_step).max())
            q, discs = inner.state.q, inner.scene.obstacles
            free = planararm.certify_motion(q, q + step, inner.arm, discs, margin=margin).status == 1
            *_, info = env.step(action)
            seen.add(bool(free))
            assert info["intervened"] == (not free)
            assert info["nominal_action"].tobytes() == action.tobytes()
            assert (info["executed_action"].tobytes() == action.tobytes()) == free
            assert env.action_space.contains(info["executed_action"])
            assert info["intervention_distance"] == pytest.approx(
                np.linalg.norm(inner.state.q - q - step), abs=1e-9
            )  # fmt: skip
            assert info["active_constraints"][:, : discs.num_obstacles].any() <= info["intervened"]
            assert not info["active_constraints"][:, discs.num_obstacles :].any()
        assert seen == {True, False}

    def test_episodes_that_the_user_starts_inside_are_seen(self):
        """Discs that stand still are kept between steps, but not when they are others."""
        env = make()
        env.reset(seed=0, options=NEAR)
        for _ in range(5):
            env.step(np.float32([0.1, 0.1, 0.1]))
        env.unwrapped.reset(seed=0, options={**NEAR, "obstacles": {"centers": [[2.6, 0.2]], "radii": [0.1]}})
        for _ in range(20):
            *_, info = env.step(np.float32([-1.0, 0.1, 0.1]))
            assert info["cost"] == 0.0
        env.unwrapped.reset(seed=0, options={"obstacles": {"centers": [[2.0, -0.4]], "radii": [0.1]}, "q": NEAR["q"]})
        hits = [env.step(np.float32([-1.0, 0.1, 0.1]))[-1] for _ in range(20)]
        assert any(info["intervened"] for info in hits)
        assert not any(info["cost"] for info in hits)

    def test_slots_are_those_of_the_observation(self):
        discs = {"centers": [[0.0, 9.0], [1.5, 0.45]], "radii": [0.1, 0.2], "mask": [False, True]}
        scene = planararm.Scene(planararm.make_arm("unit3"), Obstacles(**discs))
        env = make(scene=scene)
        observation, _ = env.reset(seed=0, options={"q": [0.0, 0.0, 0.0]})
        *_, mask = np.split(observation["observation"], [-env.unwrapped.interface.max_obstacles])
        pressed = np.zeros((3, 8), dtype=bool)
        for _ in range(10):
            pressed |= env.step(np.float32([1.0, 0.7, -0.5]))[-1]["active_constraints"]
        np.testing.assert_array_equal(pressed.any(axis=0), mask > 0.5)


class TestVector:
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("planararm/Reach-v0", {"num_obstacles": [0, 5]}),
            ("planararm/Reach-v0", {"control_mode": "delta", "arm": "unit2", **TIGHT}),
            ("planararm/ReachSparse-v0", {"on_collision": "terminate", **MOVING}),
            ("planararm/Track-v0", {"num_steps": 30, "max_episode_steps": 30, "arm": "unit5", **MOVING}),
        ],
    )
    def test_element_is_single_to_the_bit(self, name, arguments):
        many = VectorSafetyFilter(gym.make_vec(name, num_envs=3, **arguments))
        singles = [make(name, **arguments) for _ in range(3)]
        batch = many.reset(seed=11)
        alone = [env.reset(seed=11 + i) for i, env in enumerate(singles)]
        done, interventions = [False] * 3, 0
        for actions in [None, *wild_actions(many, 130)]:
            if actions is not None:
                batch = many.step(actions)
                for i, env in enumerate(singles):
                    if done[i]:
                        alone[i] = env.reset()
                        continue
                    alone[i] = env.step(actions[i])
                    for k in range(1, 4):
                        assert same(batch[k][i], np.asarray(alone[i][k]))
                done = [bool(a[2] or a[3]) if len(a) == 5 else False for a in alone]
            for i, one in enumerate(alone):
                assert same({key: value[i] for key, value in batch[0].items()}, one[0])
                for key in one[-1]:
                    assert same(batch[-1][key][i], one[-1][key]), key
                    assert batch[-1][f"_{key}"].all()
                interventions += one[-1]["intervened"]
        assert interventions > 5

    def test_elements_that_are_reset_ignore_their_action(self):
        env = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2, max_episode_steps=3, scene="ring"))
        env.reset(seed=0)
        actions = np.full((2, 3), 3.0, dtype=np.float32)
        *_, truncated, _ = [env.step(actions) for _ in range(3)][-1]
        assert truncated.all()
        *_, info = env.step(actions)
        assert not info["intervened"].any()
        holding = env.unwrapped.interface.encode_action(env.unwrapped.q, env.unwrapped.q)
        np.testing.assert_array_equal(info["executed_action"], holding)
        np.testing.assert_array_equal(info["nominal_action"], holding)

    @pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
    def test_gymnasiums_vectors_of_filtered_environments(self, kind):
        env = kind([lambda: make(num_obstacles=4)] * 2)
        native = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2, num_obstacles=4))
        _, info = env.reset(seed=4)
        _, expected = native.reset(seed=4)
        for actions in [None, *wild_actions(native, 20)]:
            if actions is not None:
                info, expected = env.step(actions)[-1], native.step(actions)[-1]
            for key in INFO_KEYS:
                assert info[key].shape == expected[key].shape
                np.testing.assert_array_equal(info[key], expected[key])
        env.close()

    def test_arrays_are_fresh(self):
        env = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2, num_obstacles=4))
        env.reset(seed=0)
        first, *rest = wild_actions(env, 20)
        given = first.copy()
        info = env.step(first)[-1]
        kept = copy.deepcopy(info)
        first[:] = 0
        for actions in rest:
            env.step(actions)
        assert same(info, kept)
        np.testing.assert_array_equal(info["nominal_action"], given)

    def test_state_of_the_vector_environment(self):
        env = gym.make_vec("planararm/Reach-v0", num_envs=3, **MOVING).unwrapped
        single = gym.make("planararm/Reach-v0", **MOVING).unwrapped
        env.reset(seed=8)
        single.reset(seed=9)
        for action in wild_actions(env, 10):
            env.step(action)
            single.step(action[1])
        np.testing.assert_array_equal(env.q[1], single.state.q)
        here, there = env.scene[1].obstacles.compact(), single.scene.obstacles
        np.testing.assert_array_equal(here.positions(0.1), there.positions(0.1))
        assert env.scene.obstacles.radii.shape == (3, 8)


class TestInfo:
    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_keys_shapes_and_types_stay(self, mode):
        env = make(control_mode=mode)
        _, start = env.reset(seed=0)
        assert set(INFO_KEYS) < set(start)
        assert not start["intervened"]
        assert start["fallback"] == FilterStatus.PASSED
        q = env.unwrapped.state.q
        np.testing.assert_array_equal(start["executed_action"], env.unwrapped.interface.encode_action(q, q))
        for action in wild_actions(env, 20):
            *_, info = env.step(action)
            assert list(info) == list(start)
            for key in INFO_KEYS:
                assert type(info[key]) is type(start[key])
            for key in ("nominal_action", "executed_action"):
                assert info[key].dtype == np.float32
                assert info[key].shape == (3,)
            assert info["active_constraints"].shape == (3, 8)
            assert info["active_constraints"].dtype == bool
            assert type(info["intervened"]) is bool
            assert type(info["fallback"]) is int
            assert type(info["intervention_distance"]) is float


class TestWrappers:
    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_gymnasiums_checker(self, mode):
        env = SafetyFilter(gym.make("planararm/Reach-v0", control_mode=mode, render_mode="rgb_array").unwrapped)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env)
        advice = ("symmetric and normalized space", "is different from the unwrapped version")
        assert all(any(text in str(warning.message) for text in advice) for warning in caught)

    @pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized:UserWarning")
    def test_stable_baselines_checker(self):
        check_env_sb3(make("planararm/ReachSparse-v0"))

    def test_specification_survives_json(self):
        env = SafetyFilter(gym.make("planararm/Reach-v0", num_obstacles=5, max_episode_steps=7), motion_margin=0.01)
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert same(env.reset(seed=1), again.reset(seed=1))
        for action in wild_actions(env, 7):
            step = env.step(action)
            assert same(step, again.step(action))
        assert step[3]

    def test_time_limits_inside_and_outside(self):
        for env in (
            SafetyFilter(gym.make("planararm/Reach-v0", max_episode_steps=4)),
            gym.wrappers.TimeLimit(SafetyFilter(gym.make("planararm/Reach-v0").unwrapped), 4),
        ):
            env.reset(seed=0)
            assert [env.step(action)[3] for action in wild_actions(env, 4)] == [False, False, False, True]

    def test_other_wrappers_around_and_below(self):
        inner = gym.wrappers.RecordEpisodeStatistics(gym.make("planararm/Reach-v0", num_obstacles=5))
        env = SafetyFilter(gym.wrappers.FlattenObservation(inner))
        env = gym.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0))
        env.reset(seed=0)
        changed = 0
        for action in wild_actions(env, 100):
            *_, info = env.step(action)
            changed += info["intervened"]
            assert info["cost"] == 0.0
        assert changed > 5
        assert info["episode"]["l"] == 100

    def test_an_automatic_reset_below_is_a_reset(self):
        env = SafetyFilter(gym.wrappers.Autoreset(gym.make("planararm/Reach-v0", max_episode_steps=2)))
        env.reset(seed=0)
        infos = [env.step(action)[-1] for action in wild_actions(env, 7)]
        holding = [np.array_equal(info["executed_action"], info["nominal_action"]) for info in infos]
        assert holding[2]
        q = env.unwrapped.state.q
        assert env.unwrapped.state.steps == 1
        assert q.shape == (3,)

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
    def test_copies_go_on_alone(self, copied):
        envs = [make(num_obstacles=5), VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2))]
        for env in envs:
            env.reset(seed=3)
            first, *rest = wild_actions(env, 25)
            env.step(first)
            other = copied(env)
            steps = [env.step(action) for action in rest]
            for action, step in zip(rest, steps, strict=True):
                assert same(other.step(action), step)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning:moviepy")
    def test_video(self, tmp_path):
        env = SafetyFilter(gym.make("planararm/Reach-v0", render_mode="rgb_array", max_episode_steps=4))
        env = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
        env.reset(seed=0)
        for action in wild_actions(env, 4):
            env.step(action)
        env.close()
        (video,) = tmp_path.glob("videos/*.mp4")
        assert video.stat().st_size > 1000

    def test_frames_and_windows(self, monkeypatch):
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        env = make(render_mode="rgb_array")
        env.reset(seed=0)
        first = env.render()
        env.step(np.float32([1.0, 1.0, 1.0]))
        assert env.render().shape == first.shape
        assert (env.render() != first).any()
        env.close()
        env = make(render_mode="human")
        env.reset(seed=0)
        env.step(np.float32([1.0, 1.0, 1.0]))
        env.close()
        env.close()
        many = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2, render_mode="rgb_array"))
        many.reset(seed=0)
        assert len(many.render()) == 2
        many.close()

    def test_rewards_and_ends_of_goals_are_the_environments(self):
        env = make("planararm/ReachSparse-v0")
        goals = np.zeros((2, 2), dtype=np.float32), np.float32([[0.0, 0.0], [1.0, 0.0]])
        np.testing.assert_array_equal(env.compute_reward(*goals, None), [0.0, -1.0])
        assert not env.compute_terminated(*goals, None).any()
        assert not env.compute_truncated(*goals, None).any()


class Turned(gym.Wrapper):
    """Turns every action round, and does not say so."""

    def step(self, action):
        return self.env.step(-np.asarray(action))


class Twice(gym.Wrapper):
    def step(self, action):
        self.env.step(action)
        return self.env.step(action)


class TestBadInput:
    @pytest.mark.parametrize(
        ("action", "message"),
        [
            ([0.0, np.nan, 0.0], r"The action must be finite, got nan among its numbers"),
            ([0.0, np.inf, 0.0], r"The action must be finite, got inf among its numbers"),
            ([0.0, 0.0], r"The action must have shape \(3,\), got \(2,\)"),
            ("left", r"The action must be real numbers, got 'left'"),
            (None, r"The action must be real numbers, got None"),
            ([[0.0], [0.0, 1.0], 2.0], r"The action must have shape \(3,\), got \[\[0\.0\]"),
        ],
    )
    def test_nothing_moves(self, action, message):
        env = SafetyFilter(gym.make("planararm/Reach-v0").unwrapped)
        env.reset(seed=0)
        before = env.unwrapped.state
        for unwrapped in (env, env.unwrapped):
            with pytest.raises(InvalidInputError, match=message):
                unwrapped.step(action)
        assert same(tuple(env.unwrapped.state), tuple(before))

    def test_vector(self):
        env = VectorSafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2))
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)\."):
            env.step(np.zeros((2, 3), dtype=np.float32))
        env.reset(seed=0)
        before = env.unwrapped.q
        with pytest.raises(InvalidInputError, match=r"The actions must have shape \(2, 3\), got \(3,\)"):
            env.step(np.zeros(3, dtype=np.float32))
        with pytest.raises(InvalidInputError, match=r"The actions must be finite, got nan"):
            env.step(np.full((2, 3), np.nan, dtype=np.float32))
        np.testing.assert_array_equal(env.unwrapped.q, before)

    def test_before_a_reset(self):
        env = SafetyFilter(gym.make("planararm/Reach-v0").unwrapped)
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)\."):
            env.step(np.zeros(3, dtype=np.float32))
        with pytest.raises(gym.error.ResetNeeded):
            make().step(np.zeros(3, dtype=np.float32))

    def test_other_environments(self):
        with pytest.raises(InvalidInputError, match=r"needs a single planararm environment, got CartPoleEnv; see"):
            SafetyFilter(gym.make("CartPole-v1"))
        with pytest.raises(InvalidInputError, match=r"needs the native ArmVectorEnv, got SyncVectorEnv; in other"):
            VectorSafetyFilter(SyncVectorEnv([lambda: gym.make("planararm/Reach-v0")]))
        with pytest.raises(TypeError, match=r"Expected env to be a `gymnasium\.Env`"):
            SafetyFilter(gym.make_vec("planararm/Reach-v0", num_envs=2))

    @pytest.mark.parametrize("margin", [-1e-3, np.nan, np.inf, "wide", [0.1]])
    def test_margin(self, margin):
        with pytest.raises(InvalidInputError, match=r"motion_margin must be a finite number >= 0, got"):
            SafetyFilter(gym.make("planararm/Reach-v0"), motion_margin=margin)
        with pytest.raises(InvalidInputError, match=r"motion_margin must be a finite number >= 0, got"):
            VectorSafetyFilter(gym.make_vec("planararm/Reach-v0"), motion_margin=margin)

    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (gym.wrappers.ClipAction, ()), (gym.wrappers.RescaleAction, (np.float32(-1), np.float32(1))),
            (gym.wrappers.StickyAction, (0.5,)), (gym.wrappers.RepeatAction, (3,)),
        ],
    )  # fmt: skip
    def test_wrappers_below_that_change_actions_are_refused(self, kind, arguments):
        changed = kind(gym.make("planararm/Reach-v0"), *arguments)
        with pytest.raises(InvalidInputError, match=rf"{kind.__name__} lies between the filter and the environment"):
            SafetyFilter(gym.wrappers.TimeLimit(changed, 50))

    def test_vector_wrappers_below_that_change_actions_are_refused(self):
        changed = gym.wrappers.vector.RescaleAction(
            gym.make_vec("planararm/Reach-v0", num_envs=2), np.float32(-1), np.float32(1)
        )  # fmt: skip
        with pytest.raises(InvalidInputError, match=r"RescaleAction lies between the filter and the environment"):
            VectorSafetyFilter(changed)

    @pytest.mark.parametrize("kind", [Turned, Twice])
    def test_wrappers_below_that_change_actions_are_noticed(self, kind):
        env = SafetyFilter(kind(gym.make("planararm/Reach-v0")))
        env.reset(seed=0)
        with pytest.raises(InvalidInputError, match=r"did not execute the certified action .* changes or repeats"):
            env.step(np.float32([1.0, 0.5, 0.2]))


class TestScripts:
    def test_benchmark(self):
        result = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "safety_filter.py", "--steps", "4000", "--poses", "5"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        assert "0 contacts, 0 outside the limits" in result.stdout
        assert "good" in result.stdout

    def test_dense_check_is_right(self):
        scene = planararm.sample_scene(np.random.default_rng(0), "unit3", 4)
        batch = planararm.Scene.stack([scene, scene])
        rng = np.random.default_rng(1)
        start, end = rng.uniform(-1, 1, (2, 2, 3))
        smallest = benchmark.smallest_clearances(start, end, batch, 11)
        for i in range(2):
            poses = [start[i] + share * (end[i] - start[i]) for share in np.linspace(0, 1, 11)]
            expected = min(float(clearance(q, scene.arm, scene.obstacles)) for q in poses)
            assert smallest[i] == pytest.approx(expected, abs=1e-12)
            assert signed_distance(poses, scene.arm, scene.obstacles).min() == pytest.approx(expected)

    def test_example(self, tmp_path, capsys):
        example = script("examples", "safety_filter")
        example.main(["--steps", "30", "--out", str(tmp_path / "filter.gif")])
        out = capsys.readouterr().out
        assert "behind the filter" in out
        assert (tmp_path / "filter.gif").stat().st_size > 1000
        with pytest.raises(SystemExit):
            example.main(["--steps", "0"])
        assert "--steps must be >= 1, got 0" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            example.main(["--scene", "cluttr"])
        assert "Did you mean 'clutter'" in capsys.readouterr().err
