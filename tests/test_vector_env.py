"""The native vector environment against single environments, bit for bit; processes, threads, wrappers."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from planararm.envs import ArmVectorEnv
from planararm.errors import InvalidInputError, InvalidSceneError, UnknownNameError

SHUTTLING = {"num_obstacles": [0, 6], "dials": {"shuttling": 0.6, "max_speed": 0.3}}
VARIANTS = {
    "reach": ("planararm/Reach-v0", {}),
    "reach-delta": ("planararm/Reach-v0", {"control_mode": "delta", "arm": "unit2", "num_obstacles": [0, 3]}),
    "sparse": ("planararm/ReachSparse-v0", {"dials": {"narrow_passages": 2}, "num_obstacles": 5}),
    "terminate": ("planararm/Reach-v0", {"on_collision": "terminate", "num_obstacles": 8, "arm": "unit5"}),
    "terminate-shuttling": ("planararm/ReachSparse-v0", {"on_collision": "terminate", **SHUTTLING}),
    "track": ("planararm/Track-v0", {"num_preview": 3, "num_steps": 30, "arm": "duka"}),
    "track-shuttling": ("planararm/Track-v0", {"control_mode": "delta", "num_steps": 12, **SHUTTLING}),
    "scene-path": ("planararm/Track-v0", {"scene": "shuttle", "path": "circle", "on_collision": "ignore"}),
    "placed": ("planararm/Reach-v0", {"arm": {"link_lengths": [0.7, 0.4], "base": [5.0, -2.0]}, "dt": 0.1}),
}


def assert_same(here, there):
    """Bitwise equality of nested dicts, tuples and arrays."""
    if isinstance(here, dict):
        assert set(here) == set(there)
        for key in here:
            assert_same(here[key], there[key])
    elif isinstance(here, tuple):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            assert_same(a, b)
    else:
        here, there = np.asarray(here), np.asarray(there)
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there)


def action_batches(env, count, seed=0):
    """Half of the actions go far, half stay near, so that episodes with and without contact occur."""
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    batches = [space.sample() for _ in range(count)]
    return [batch * (0.3 if i % 2 else 1.0) for i, batch in enumerate(batches)]


@pytest.mark.parametrize("variant", VARIANTS)
class TestEquality:
    def test_is_gymnasiums_vector_of_single_environments(self, variant):
        """Observations, rewards, ends, infos and autoresets, over several episodes of 5 elements."""
        name, arguments = VARIANTS[variant]
        native = gym.make_vec(name, 5, max_episode_steps=13, **arguments)
        looped = gym.make_vec(name, 5, vectorization_mode="sync", max_episode_steps=13, **arguments)
        assert isinstance(native.unwrapped, ArmVectorEnv)
        assert isinstance(looped.unwrapped, SyncVectorEnv)
        assert native.single_action_space == looped.single_action_space
        assert native.single_observation_space == looped.single_observation_space
        assert native.observation_space == looped.observation_space
        assert_same(native.reset(seed=11), looped.reset(seed=11))
        ended = 0
        for action in action_batches(native, 45):
            here = native.step(action)
            assert_same(here, looped.step(action))
            ended += (here[2] | here[3]).sum()
        assert ended >= 15
        assert_same(native.reset(), looped.reset())
        assert_same(native.reset(seed=[3, None, 5, 9, 3]), looped.reset(seed=[3, None, 5, 9, 3]))

    def test_elements_are_single_environments(self, variant):
        name, arguments = VARIANTS[variant]
        native = gym.make_vec(name, 4, max_episode_steps=-1, **arguments)
        observations, infos = native.reset(seed=20)
        single = [gym.make(name, max_episode_steps=-1, **arguments).unwrapped for _ in range(4)]
        for i, env in enumerate(single):
            observation, info = env.reset(seed=20 + i)
            assert_same({key: value[i] for key, value in observations.items()}, observation)
            assert_same({key: infos[key][i] for key in info}, info)
        alive = np.ones(4, bool)
        for action in action_batches(native, 20, seed=1):
            observations, rewards, terminated, truncated, infos = native.step(action)
            assert not truncated.any()
            for i in np.flatnonzero(alive):
                observation, reward, ended, _, info = single[i].step(action[i])
                assert_same({key: value[i] for key, value in observations.items()}, observation)
                assert_same({key: infos[key][i] for key in info}, info)
                assert (rewards[i], terminated[i]) == (reward, ended)
            alive &= ~terminated

    def test_threads_do_not_change_the_result(self, variant, monkeypatch):
        name, arguments = VARIANTS[variant]
        envs = [gym.make_vec(name, 1024, max_episode_steps=4, **arguments) for _ in range(2)]
        results = ([], [])
        for env, threads, result in zip(envs, ("1", "2"), results, strict=True):
            monkeypatch.setenv("PLANARARM_NUM_THREADS", threads)
            result.append(env.reset(seed=1))
            result.extend(env.step(action) for action in action_batches(env, 6))
        for here, there in zip(*results, strict=True):
            assert_same(here, there)


class TestAutoreset:
    def test_next_step(self):
        env = gym.make_vec("planararm/Reach-v0", 3, max_episode_steps=4)
        assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
        single = gym.make("planararm/Reach-v0").unwrapped
        single.reset(seed=7)
        env.reset(seed=7)
        action = np.zeros((3, 3), np.float32)
        for _ in range(3):
            assert not env.step(action)[3].any()
        *_, truncated, _ = env.step(action)
        assert truncated.all()
        observations, rewards, terminated, truncated, infos = env.step(action)
        assert (rewards == 0).all()
        assert not (terminated | truncated).any()
        observation, info = single.reset()
        assert_same({key: value[0] for key, value in observations.items()}, observation)
        assert infos["tracking_error"][0] == info["tracking_error"]
        assert (infos["reachable"] == 1).all()

    def test_time_limits(self):
        assert gym.make_vec("planararm/Track-v0", 2).unwrapped.max_episode_steps == 200
        assert gym.make_vec("planararm/ReachSparse-v0", 2).unwrapped.max_episode_steps == 50
        endless = gym.make_vec("planararm/Reach-v0", 2, max_episode_steps=-1, scene="empty")
        endless.reset(seed=0)
        assert not any(endless.step(np.zeros((2, 3), np.float32))[3].any() for _ in range(150))


class TestOptions:
    CHOSEN = {  # noqa: RUF012
        "q": [0.1, 0.2, 0.3],
        "target_position": [-1.0, 1.0],
        "obstacles": {"centers": [[-2.0, 0.0]], "radii": [0.4]},
    }

    @pytest.mark.parametrize("arguments", [{}, {"scene": "ring"}, {"task": "track", "path": "circle"}])
    def test_for_every_element_and_one_episode(self, arguments):
        native = gym.make_vec("planararm/Reach-v0", 3, max_episode_steps=3, **arguments)
        looped = gym.make_vec("planararm/Reach-v0", 3, vectorization_mode="sync", max_episode_steps=3, **arguments)
        assert_same(native.reset(seed=1, options=self.CHOSEN), looped.reset(seed=1, options=self.CHOSEN))
        for action in action_batches(native, 9):
            assert_same(native.step(action), looped.step(action))
        assert_same(native.reset(options=self.CHOSEN), looped.reset(options=self.CHOSEN))
        assert_same(native.reset(), looped.reset())

    @pytest.mark.parametrize("arguments", [{}, {"scene": "ring"}])
    def test_a_refused_option_leaves_nothing_behind(self, arguments):
        env, plain = (gym.make_vec("planararm/Reach-v0", 3, **arguments) for _ in range(2))
        env.reset(seed=0)
        with pytest.raises(InvalidInputError, match="target_position must be finite"):
            env.reset(options=self.CHOSEN | {"target_position": [np.nan, 0.0]})
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)"):
            env.step(np.zeros((3, 3), np.float32))
        assert_same(env.reset(seed=3), plain.reset(seed=3))
        for action in action_batches(env, 3):
            assert_same(env.step(action), plain.step(action))


class TestFreshArrays:
    def test_nothing_is_shared(self):
        env = gym.make_vec("planararm/Reach-v0", 4, **SHUTTLING)
        twin = gym.make_vec("planararm/Reach-v0", 4, **SHUTTLING)
        for output in (env.reset(seed=0), env.step(action_batches(env, 1)[0])):
            named = [part if isinstance(part, dict) else {"": part} for part in output]
            # Gymnasium's masks are all True; one array of them per call serves.
            arrays = [array for part in named for key, array in part.items() if not key.startswith("_")]
            arrays.append(output[-1]["_cost"])
            for i, array in enumerate(arrays):
                assert not any(np.shares_memory(array, other) for other in arrays[:i])
                array[...] = 0
        twin.reset(seed=0)
        twin.step(action_batches(env, 1)[0])
        assert_same(env.step(action_batches(env, 2)[1]), twin.step(action_batches(env, 2)[1]))

    def test_earlier_results_stay(self):
        env = gym.make_vec("planararm/Reach-v0", 4, max_episode_steps=2)
        results = [env.reset(seed=0)]
        kept = []
        for action in action_batches(env, 6):
            kept.append(copy.deepcopy(results[-1]))
            results.append(env.step(action))
        for earlier, copied in zip(results, kept, strict=False):
            assert_same(earlier, copied)

    def test_actions_are_not_touched(self):
        env = gym.make_vec("planararm/Reach-v0", 4, control_mode="delta")
        env.reset(seed=0)
        action = np.full((4, 3), 2.0, np.float32)
        env.step(action)
        assert (action == 2.0).all()


class TestCopies:
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
    @pytest.mark.parametrize("variant", ["terminate-shuttling", "track", "scene-path"])
    def test_go_on_identically(self, duplicate, variant):
        name, arguments = VARIANTS[variant]
        env = gym.make_vec(name, 4, max_episode_steps=10, **arguments).unwrapped
        env.reset(seed=2)
        for action in action_batches(env, 6):
            env.step(action)
        twin = duplicate(env)
        for action in action_batches(env, 12, seed=1):
            assert_same(env.step(action), twin.step(action))


class TestSeeds:
    def test_elements_differ(self):
        observation, _ = gym.make_vec("planararm/Reach-v0", 50).reset(seed=0)
        assert len(np.unique(observation["observation"], axis=0)) == 50

    def test_unseeded_runs_differ(self):
        first, other = (gym.make_vec("planararm/Reach-v0", 2).reset()[0]["observation"] for _ in range(2))
        assert (first != other).any()

    def test_numpy_seeds(self):
        env = gym.make_vec("planararm/Reach-v0", 2)
        assert_same(env.reset(seed=np.int64(4)), env.reset(seed=np.array([4, 5])))

    def test_wrong_number_of_seeds(self):
        with pytest.raises(InvalidInputError, match="seed must be a number or a list of 2, got a list of 3"):
            gym.make_vec("planararm/Reach-v0", 2).reset(seed=[1, 2, 3])


class TestBadInput:
    @pytest.mark.parametrize(
        ("action", "message"),
        [
            (np.zeros(3), r"The actions must have shape \(2, 3\), got \(3,\)"),
            (np.zeros((3, 2)), r"The actions must have shape \(2, 3\), got \(3, 2\)"),
            (np.full((2, 3), np.nan), "The actions must be finite, got nan among"),
            ([[0.0, 0.0, 0.0], [0.0, np.inf, 0.0]], "The actions must be finite, got inf among"),
            (None, "The actions must be real numbers, got None"),
        ],
    )
    def test_action(self, action, message):
        env = gym.make_vec("planararm/Reach-v0", 2)
        env.reset(seed=0)
        twin = copy.deepcopy(env)
        with pytest.raises(InvalidInputError, match=message):
            env.step(action)
        assert_same(env.step(np.zeros((2, 3))), twin.step(np.zeros((2, 3))))

    def test_step_before_reset(self):
        with pytest.raises(InvalidInputError, match=r"Call reset\(\) before step\(\)"):
            gym.make_vec("planararm/Reach-v0", 2).step(np.zeros((2, 3), np.float32))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"num_envs": 0}, InvalidInputError, "num_envs must be a whole number >= 1, got 0"),
            ({"num_envs": 2.0}, InvalidInputError, r"num_envs must be a whole number >= 1, got 2\.0"),
            ({"max_episode_steps": 0}, InvalidInputError, "max_episode_steps must be .* got 0"),
            ({"render_mode": "human"}, UnknownNameError, "Unknown render_mode 'human'. Known: rgb_array"),
            ({"arm": "unit33"}, UnknownNameError, "Unknown arm 'unit33'. Did you mean 'unit3'"),
            ({"num_obstacles": 9}, InvalidSceneError, "num_obstacles=9 does not fit"),
        ],
    )
    def test_argument(self, arguments, error, message):
        with pytest.raises(error, match=message):
            ArmVectorEnv(**arguments)


class TestProcesses:
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
    @pytest.mark.parametrize("context", ["fork", "forkserver"])
    def test_workers_after_threads(self, monkeypatch, context):
        """The workers of a process that has used the threads run the same episodes."""
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
        many = gym.make_vec("planararm/Reach-v0", 1024)
        many.reset(seed=0)
        for action in action_batches(many, 2):
            many.step(action)
        native = gym.make_vec("planararm/Reach-v0", 2, max_episode_steps=5)
        spec = gym.spec("planararm/Reach-v0")
        workers = AsyncVectorEnv([lambda: gym.make(spec, max_episode_steps=5)] * 2, context=context)
        try:
            assert_same(native.reset(seed=4), workers.reset(seed=4))
            for action in action_batches(native, 12):
                assert_same(native.step(action), workers.step(action))
        finally:
            workers.close()
        many.step(action_batches(many, 1)[0])

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
    def test_threads_in_a_forked_worker(self, monkeypatch):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
        arguments = {"scene": "empty", "max_episode_steps": -1}
        here = Many(1024, arguments)
        here.reset(seed=0)
        workers = AsyncVectorEnv([lambda: Many(1024, arguments)] * 2, context="fork")
        try:
            assert (workers.reset(seed=0)[0] == here.reset(seed=0)[0]).all()
            assert (workers.step(np.zeros((2, 1), np.float32))[1] == here.step(None)[1]).all()
        finally:
            workers.close()


class Many(gym.Env):
    """A native vector environment inside a single one, so that a worker runs it."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, count, arguments):
        self.inner = gym.make_vec("planararm/Reach-v0", count, **arguments)

    def reset(self, *, seed=None, options=None):
        observation, _ = self.inner.reset(seed=0)
        return observation["observation"].sum(dtype=np.float64, keepdims=True)[0], {}

    def step(self, action):
        observation, rewards, *_ = self.inner.step(np.zeros(self.inner.action_space.shape, np.float32))
        return observation["observation"].sum(dtype=np.float64, keepdims=True)[0], rewards.sum(), False, False, {}


class TestWrappers:
    def test_statistics(self):
        env = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("planararm/ReachSparse-v0", 3))
        env.reset(seed=0)
        rows = [env.step(action) for action in action_batches(env, 50)]
        episode = rows[-1][4]["episode"]
        assert episode["l"].tolist() == [50] * 3
        np.testing.assert_allclose(episode["r"], sum(row[1] for row in rows))

    def test_flattened_observations(self):
        env = gym.wrappers.vector.FlattenObservation(gym.make_vec("planararm/Reach-v0", 3))
        observation, _ = env.reset(seed=0)
        assert observation.shape == (3, 60)

    def test_frames(self):
        env = gym.make_vec("planararm/Reach-v0", 2, render_mode="rgb_array", max_episode_steps=3)
        env.reset(seed=0)
        first = env.render()
        assert len(first) == 2
        assert all(frame.dtype == np.uint8 and frame.ndim == 3 for frame in first)
        for action in action_batches(env, 5):
            env.step(action)
        assert all((a != b).any() for a, b in zip(first, env.render(), strict=True))
        env.close()

    def test_rendering_without_a_mode_warns(self):
        env = gym.make_vec("planararm/Reach-v0", 1)
        env.reset(seed=0)
        with pytest.warns(UserWarning, match=r"render\(\) was called without a render mode"):
            assert env.render() is None
