"""Observations taken apart, actions put together."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.errors import InvalidInputError, UnknownNameError
from planararm.interface import EnvInterface

DIALS = {"shuttling": 0.6, "max_speed": 0.2}


@st.composite
def interfaces(draw):
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    limits = np.sort(rng.uniform(-4, 4, (n, 2)), axis=1)
    return EnvInterface(
        PlanarArm(rng.uniform(0.2, 2.0, n), limits, rng.uniform(0.1, 4.0, n), base=rng.normal(size=2)),
        max_obstacles=draw(st.integers(0, 9)),
        num_preview=draw(st.integers(1, 4)),
        control_mode=draw(st.sampled_from(["position", "delta"])),
        dt=draw(st.floats(1e-3, 1.0)),
    )


class TestLayout:
    @given(interfaces())
    def test_blocks(self, interface):
        n, p, m = interface.arm.num_joints, interface.num_preview, interface.max_obstacles
        lengths = np.diff(interface.offsets).tolist()
        assert lengths == [n, n, 2 * p, 2 * m, m, 2 * m, m]
        assert interface.observation_size == sum(lengths)
        assert interface.observation_space["observation"].shape == (sum(lengths),)

    @given(interfaces())
    def test_spaces_are_finite_float32(self, interface):
        spaces = [*interface.observation_space.values(), interface.action_space]
        assert list(interface.observation_space) == ["achieved_goal", "desired_goal", "observation"] or set(
            interface.observation_space
        ) == {"observation", "achieved_goal", "desired_goal"}
        for space in spaces:
            assert space.dtype == np.float32
            assert np.isfinite(space.low).all()
            assert np.isfinite(space.high).all()
            assert (space.low <= space.high).all()

    @given(interfaces())
    def test_limits_rounded_to_float32_are_inside(self, interface):
        arm, n = interface.arm, interface.arm.num_joints
        box = interface.observation_space["observation"]
        for values in (*arm.joint_limits.T,):
            rounded = values.astype(np.float32)
            assert (box.low[:n] <= rounded).all()
            assert (rounded <= box.high[:n]).all()
        speed = arm.joint_velocity_limits.astype(np.float32)
        assert (speed <= box.high[n : 2 * n]).all()
        np.testing.assert_allclose(box.low[:n], arm.joint_limits[:, 0], atol=1e-6)


class TestUnpack:
    @pytest.mark.parametrize("arm", ["unit2", "unit5", {"link_lengths": [0.5, 0.7], "base": [3.0, -2.0]}])
    @pytest.mark.parametrize("dials", [{}, DIALS])
    def test_is_the_environments_state(self, arm, dials):
        env = gym.make("planararm/Track-v0", arm=arm, num_obstacles=[1, 4], max_obstacles=5, num_preview=3, dials=dials)
        space = env.action_space
        for seed in range(5):
            observation, _ = env.reset(seed=seed)
            for _ in range(5):
                inner = env.unwrapped
                observed, state, scene = inner.interface.unpack(observation), inner.state, inner.scene
                assert observed.q.dtype == np.float64
                np.testing.assert_array_equal(observed.q, state.q.astype(np.float32))
                np.testing.assert_array_equal(observed.joint_velocity, state.joint_velocity.astype(np.float32))
                coming = state.target_path[state.steps + 1 : state.steps + 4]
                np.testing.assert_array_equal(observed.preview, coming.astype(np.float32))
                there = observed.scene.obstacles.mask
                assert there.sum() == scene.obstacles.num_obstacles
                np.testing.assert_array_equal(
                    observed.scene.obstacles.radii[there], scene.obstacles.radii.astype(np.float32)
                )
                for time in (0.0, inner.interface.dt):
                    np.testing.assert_allclose(
                        observed.scene.obstacles.positions(time)[there],
                        scene.obstacles.positions(time),
                        atol=2e-6,
                    )
                assert observed.scene.safety_margin == scene.safety_margin
                observation, *_ = env.step(space.sample())

    def test_batch_is_loop(self):
        envs = gym.make_vec("planararm/Reach-v0", 6, num_obstacles=(0, 4), dials=DIALS)
        observation, _ = envs.reset(seed=0)
        observed = envs.interface.unpack(observation)
        assert observed.scene.batch_shape == (6,)
        for i in range(6):
            one = envs.interface.unpack({key: value[i] for key, value in observation.items()})
            np.testing.assert_array_equal(one.q, observed.q[i])
            np.testing.assert_array_equal(one.preview, observed.preview[i])
            np.testing.assert_array_equal(one.scene.obstacles.mask, observed.scene.obstacles.mask[i])
            np.testing.assert_allclose(
                one.scene.obstacles.positions(0.02), observed.scene.obstacles.positions(0.02)[i], atol=1e-12
            )
        reshaped = {key: value.reshape(2, 3, -1) for key, value in observation.items()}
        assert envs.interface.unpack(reshaped).q.shape == (2, 3, 3)

    def test_no_slots(self):
        interface = EnvInterface(make_arm("unit2"), max_obstacles=0)
        observed = interface.unpack({"observation": np.zeros(interface.observation_size)})
        assert observed.scene.obstacles.num_obstacles == 0

    @pytest.mark.parametrize(
        ("observation", "message"),
        [
            (np.zeros(20), "must be the environment's Dict with the key 'observation', got ndarray"),
            ({"achieved_goal": np.zeros(2)}, "Dict with the key 'observation', got dict"),
            ({"observation": np.zeros(5)}, r"must have length 56, got shape \(5,\)"),
            ({"observation": np.float32(1.0)}, r"must have length 56, got shape \(\)"),
        ],
    )
    def test_bad_observation(self, observation, message):
        with pytest.raises(InvalidInputError, match=message):
            EnvInterface(make_arm("unit3")).unpack(observation)


class TestActions:
    @given(interfaces(), st.integers(0, 10**6))
    def test_round_trip(self, interface, seed):
        rng, arm = np.random.default_rng(seed), interface.arm
        q, command = (rng.uniform(*arm.joint_limits.T, (4, arm.num_joints)) for _ in range(2))
        if interface.control_mode == "delta":
            command = q + rng.uniform(-1, 1, q.shape) * interface.max_step
        action = interface.encode_action(q, command)
        assert action.dtype == np.float32
        assert all(interface.action_space.contains(row) for row in action)
        np.testing.assert_allclose(interface.decode_action(q, action), command, atol=2e-6, rtol=1e-6)

    @given(interfaces(), st.integers(0, 10**6))
    def test_far_commands(self, interface, seed):
        rng, arm = np.random.default_rng(seed), interface.arm
        q, command = rng.uniform(*arm.joint_limits.T), rng.uniform(-9, 9, arm.num_joints)
        action = interface.encode_action(q, command)
        assert interface.action_space.contains(action)
        decoded = interface.decode_action(q, action)
        if interface.control_mode == "position":
            np.testing.assert_allclose(decoded, arm.clip(command), atol=1e-6)
        else:
            # Straight towards the command, as far as one step goes.
            factor = min(1.0, (interface.max_step / np.maximum(np.abs(command - q), 1e-300)).min())
            np.testing.assert_allclose(decoded - q, factor * (command - q), atol=1e-6)

    def test_delta_beyond_one_is_clipped(self):
        interface = EnvInterface(make_arm("unit2"), control_mode="delta")
        np.testing.assert_allclose(interface.decode_action([0.0, 0.0], [3.0, -0.5]), [0.1, -0.05])

    def test_action_spaces(self):
        duka = EnvInterface(make_arm("duka")).action_space
        np.testing.assert_allclose(duka.low, [0.0, -np.pi, -np.pi / 2], atol=1e-6)
        np.testing.assert_allclose(duka.high, [np.pi, 0.0, np.pi / 2], atol=1e-6)
        delta = EnvInterface(make_arm("duka"), control_mode="delta").action_space
        assert (delta.low == -1).all()
        assert (delta.high == 1).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_obstacles": -1}, InvalidInputError, r"max_obstacles must be a whole number in \[0, 1000\], got -1"),
        ({"max_obstacles": 2.0}, InvalidInputError, r"max_obstacles must be a whole number .* got 2\.0"),
        ({"num_preview": 0}, InvalidInputError, r"num_preview must be a whole number in \[1, 1000\], got 0"),
        ({"num_preview": True}, InvalidInputError, "num_preview must be .* got True"),
        ({"control_mode": "positon"}, UnknownNameError, "Unknown control_mode 'positon'. Did you mean 'position'"),
        ({"dt": 0.0}, InvalidInputError, r"dt must be a number of seconds > 0, got 0\.0"),
        ({"dt": float("nan")}, InvalidInputError, "dt must be a number of seconds > 0, got nan"),
        ({"dt": "fast"}, InvalidInputError, "dt must be a number of seconds > 0, got 'fast'"),
        ({"safety_margin": -1e-3}, InvalidInputError, r"safety_margin must be .* got -0\.001"),
        ({"safety_margin": float("nan")}, InvalidInputError, r"safety_margin must be .* got nan"),
    ],
)
def test_bad_interface(options, error, message):
    with pytest.raises(error, match=message):
        EnvInterface(make_arm("unit3"), **options)


def test_whole_numbers_become_floats():
    interface = EnvInterface(make_arm("unit3"), dt=1, safety_margin=np.int64(0))
    assert type(interface.dt) is type(interface.safety_margin) is float
