"""Policies in environments: bind and predict, alone, vectorised, under Stable-Baselines3; and agents."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import planararm  # noqa: F401 - registers the environments
from planararm.arm import make_arm
from planararm.errors import PolicyError
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import AgentPolicy, ClosedForm, DampedLeastSquares, Hold, IKPolicy, make_policy
from planararm.policies.agent import pack_observation
from planararm.scene import Scene
from planararm.scene.generator import sample_scene, sample_scenes


def free_space(arm="unit3"):
    return Scene(make_arm(arm), Obstacles.none())


class TestPredict:
    @pytest.mark.parametrize("mode", ["position", "delta"])
    @pytest.mark.parametrize("policy", [ClosedForm, DampedLeastSquares])
    def test_moves_to_the_coming_target(self, mode, policy):
        scene = free_space()
        interface = EnvInterface(scene.arm, max_obstacles=2, num_preview=2, control_mode=mode)
        rng = np.random.default_rng(0)
        q = rng.uniform(0.4, 1.5, (5, 3))
        targets = scene.arm.end_effector(q + 0.05)
        bound = policy().bind(interface)
        observation = pack_observation(targets, q, scene, interface)
        action, state = bound.predict(observation, state="kept")
        assert state == "kept"
        assert action.dtype == np.float32
        command = interface.decode_action(q, action)
        np.testing.assert_allclose(scene.arm.end_effector(command), targets, atol=1e-5)
        single, _ = bound.predict({key: value[2] for key, value in observation.items()})
        np.testing.assert_allclose(single, action[2], atol=1e-6)
        assert interface.action_space.contains(single)

    def test_unbound(self):
        with pytest.raises(PolicyError, match=r"Hold must be bound to an environment: policy.bind\(env\)"):
            Hold().predict({"observation": np.zeros(5)})

    def test_bind_needs_an_environment(self):
        with pytest.raises(PolicyError, match=r"bind needs a planararm environment .* got int"):
            Hold().bind(3)

    def test_bind_finds_the_interface(self):
        interface = EnvInterface(make_arm("unit3"))

        class Env:
            @property
            def unwrapped(self):
                return self

        class Wrapped:
            unwrapped = Env()

        class Several:
            def get_attr(self, name):
                return [interface, interface] if name == "interface" else []

        Wrapped.unwrapped.interface = interface
        for env in (interface, Wrapped(), Several()):
            assert Hold().bind(env).interface is interface

    def test_bind_through_several_without_one(self):
        class Several:
            def get_attr(self, name):
                raise AttributeError(name)

        with pytest.raises(PolicyError, match="bind needs a planararm environment"):
            Hold().bind(Several())

    def test_resets_the_episodes_that_start(self):
        class Counting(Hold):
            def reset(self, mask=None):
                self.mask = mask

        interface = EnvInterface(make_arm("unit3"))
        policy = Counting().bind(interface)
        observation = pack_observation(np.ones((2, 2)), np.zeros((2, 3)), free_space(), interface)
        policy.predict(observation, episode_start=np.array([False, False]))
        assert not hasattr(policy, "mask")
        policy.predict(observation, episode_start=np.array([True, False]))
        assert policy.mask.tolist() == [True, False]

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (None, "Bad.solve must return an IKSolution, got NoneType"),
            ((np.zeros(3), True), "Bad.solve must return an IKSolution, got tuple"),
        ],
    )
    def test_broken_policy(self, answer, message):
        class Bad(IKPolicy):
            def solve(self, target_position, q, scene, *, target_orientation=None):
                return answer

        interface = EnvInterface(make_arm("unit3"))
        observation = pack_observation(np.ones(2), np.zeros(3), free_space(), interface)
        with pytest.raises(PolicyError, match=message):
            Bad().bind(interface).predict(observation)


class Agent:
    """What a trained model looks like: steps half-way to a posture."""

    def __init__(self, interface):
        self.interface = interface

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        observed = self.interface.unpack(observation)
        answer = DampedLeastSquares().solve(observed.preview[..., 0, :], observed.q, observed.scene)
        return self.interface.encode_action(observed.q, answer.q), state


class TestAgentPolicy:
    @pytest.mark.parametrize("mode", ["position", "delta"])
    def test_solves_by_its_action(self, mode):
        scenes = sample_scenes(np.random.default_rng(0), 6, "unit3", 3)
        interface = EnvInterface(scenes.arm, control_mode=mode)
        policy = AgentPolicy(Agent(interface), interface)
        q = np.random.default_rng(1).uniform(0.4, 1.2, (6, 3))
        targets = scenes.arm.end_effector(q + 0.05)
        solution = policy.solve(targets, q, scenes)
        np.testing.assert_allclose(scenes.arm.end_effector(solution.q), targets, atol=1e-5)
        assert solution.solved.any()
        observation = pack_observation(targets, q, scenes, interface)
        np.testing.assert_array_equal(policy.predict(observation)[0], policy.model.predict(observation)[0])

    def test_observation_is_what_the_interface_unpacks(self):
        scenes = sample_scenes(np.random.default_rng(0), 4, "unit3", (1, 4))
        interface = EnvInterface(scenes.arm, max_obstacles=6, num_preview=3)
        q, targets = np.random.default_rng(1).normal(size=(4, 3)), np.ones((4, 2))
        observed = interface.unpack(pack_observation(targets, q, scenes, interface))
        np.testing.assert_allclose(observed.q, q, atol=1e-6)
        np.testing.assert_array_equal(observed.preview, 1.0)
        m = scenes.obstacles.num_obstacles
        there = scenes.obstacles.mask
        np.testing.assert_array_equal(observed.scene.obstacles.mask[:, :m], there)
        assert not observed.scene.obstacles.mask[:, m:].any()
        np.testing.assert_allclose(
            observed.scene.obstacles.centers[:, :m][there], scenes.obstacles.centers[there], atol=1e-6
        )
        assert observed.scene.obstacles.is_static

    def test_interface_from_the_models_environment(self):
        interface = EnvInterface(make_arm("unit3"))
        agent = Agent(interface)
        agent.get_env = lambda: interface
        assert AgentPolicy(agent).interface is interface

    def test_without_interface(self):
        policy = AgentPolicy(Agent(None))
        with pytest.raises(PolicyError, match=r"AgentPolicy\(Agent\) needs the layout of its observations"):
            policy.solve([1.0, 1.0], np.zeros(3), free_space())

    def test_without_predict(self):
        with pytest.raises(PolicyError, match="an object with a predict method, got int"):
            AgentPolicy(3)

    def test_scenes_that_it_was_not_trained_for(self):
        policy = AgentPolicy(Agent(None), EnvInterface(make_arm("unit3"), max_obstacles=1))
        with pytest.raises(PolicyError, match="trained for another arm"):
            policy.solve([1.0, 1.0], np.zeros(2), free_space("unit2"))
        with pytest.raises(PolicyError, match="observes 1 discs, the scene has 2"):
            policy.solve([1.0, 1.0], np.zeros(3), sample_scene(np.random.default_rng(0), "unit3", 2))

    def test_wrong_action(self):
        class Wrong:
            def predict(self, observation, state=None, episode_start=None, deterministic=False):
                return np.full(3, np.nan), state

        policy = AgentPolicy(Wrong(), EnvInterface(make_arm("unit3")))
        with pytest.raises(
            PolicyError, match=r"AgentPolicy\(Wrong\).predict must return joint angles of shape \(1, 3\)"
        ):
            policy.solve([1.0, 1.0], np.zeros(3), free_space())


TRACKERS = ["closed-form", "damped-least-squares", "pseudo-inverse", "cyclic-coordinate-descent"]


class TestInEnvironments:
    @pytest.mark.parametrize("name", TRACKERS)
    def test_tracks_a_path(self, name):
        env = gym.make("planararm/Track-v0")
        policy = make_policy(name).bind(env)
        observation, _ = env.reset(seed=3)
        for _ in range(40):
            observation, _, _, _, info = env.step(policy.predict(observation, deterministic=True)[0])
        # The action is float32, so the answer comes back rounded.
        assert info["tracking_error"] < 1e-4 * env.unwrapped.arm.reach

    def test_packs_what_the_environment_packs(self):
        env = gym.make("planararm/Reach-v0")
        observation, _ = env.reset(seed=0)
        interface = env.unwrapped.interface
        observed = interface.unpack(observation)
        packed = pack_observation(observed.preview[0], observed.q, observed.scene, interface)
        for key, value in observation.items():
            np.testing.assert_allclose(packed[key], value, atol=1e-6)

    @pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
    def test_several_at_once(self, mode):
        env = gym.make_vec("planararm/Track-v0", num_envs=3, vectorization_mode=mode)
        policy = ClosedForm().bind(env)
        observation, _ = env.reset(seed=0)
        for _ in range(20):
            observation, _, _, _, info = env.step(policy.predict(observation)[0])
        assert (info["tracking_error"] < 1e-3).all()
        env.close()

    def test_stable_baselines_evaluates_it(self):
        env = gym.make("planararm/Reach-v0")
        mean, _ = evaluate_policy(ClosedForm().bind(env), Monitor(env), n_eval_episodes=2)
        several = DummyVecEnv([lambda: Monitor(gym.make("planararm/Reach-v0"))] * 2)
        other, _ = evaluate_policy(ClosedForm().bind(several), several, n_eval_episodes=2)
        held, _ = evaluate_policy(Hold().bind(several), several, n_eval_episodes=4)
        assert np.isfinite([mean, other, held]).all()
