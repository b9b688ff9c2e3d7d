"""The environment's docstring against the environment."""

from __future__ import annotations

import inspect
import re

import gymnasium as gym
import numpy as np
import pytest

from planararm.dynamics.batch import RESET_OPTIONS
from planararm.envs import ArmEnv
from planararm.envs.config import build_task
from planararm.interface import EnvInterface
from planararm.registration import ENVIRONMENTS

DOCUMENT = inspect.getdoc(ArmEnv)
SECTIONS = {
    part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]
}


def table(section):
    """Rows of a section's table, without its header."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_sections_in_gymnasiums_order():
    assert list(SECTIONS) == [
        "Description", "Action space", "Observation space", "Rewards", "Info", "Starting state", "Episode end",
        "Arguments", "Vectorized environment", "Version history",
    ]  # fmt: skip


@pytest.mark.parametrize("row", table("Action space"), ids=lambda row: row[0])
def test_actions(row):
    mode, _, low, high, unit = row
    env = ArmEnv(arm="duka", control_mode=mode.strip('`"'))
    bounds = {
        "lower joint limit": env.arm.joint_limits[:, 0],
        "upper joint limit": env.arm.joint_limits[:, 1],
        "-1": -1.0,
        "1": 1.0,
    }
    assert env.action_space.shape == (3,)
    assert env.action_space.dtype == np.float32
    np.testing.assert_allclose(env.action_space.low, bounds[low], atol=1e-6)
    np.testing.assert_allclose(env.action_space.high, bounds[high], atol=1e-6)
    assert unit == ("rad" if mode == '`"position"`' else "-")


class TestObservations:
    rows = table("Observation space")
    vector = rows[:-2]

    def test_keys(self):
        env = ArmEnv()
        named = [row[0].strip("`") for row in self.rows if row[0]]
        assert set(named) == set(env.observation_space)
        for key, _, length, _ in self.rows[-2:]:
            assert env.observation_space[key.strip("`")].shape == (int(length),)

    @pytest.mark.parametrize("arguments", [{}, {"arm": "unit5", "max_obstacles": 6, "num_preview": 3}])
    def test_lengths_and_order(self, arguments):
        """Each block, found where the table puts it, holds what the table says."""
        env = gym.make(
            "planararm/Track-v0", num_obstacles=4, dials={"shuttling": 1.0, "max_speed": 0.3}, **arguments
        ).unwrapped
        env.reset(seed=0)
        observation, *_ = env.step(env.action_space.sample())
        interface: EnvInterface = env.interface
        sizes = {"n": interface.arm.num_joints, "P": interface.num_preview, "M": interface.max_obstacles}
        lengths = [int((parts := row[2].split())[0]) * sizes[parts[1]] if " " in row[2] else sizes[row[2]]
                   for row in self.vector]  # fmt: skip
        assert interface.offsets == (0, *np.cumsum(lengths))
        state, discs, m = env.state, env.scene.obstacles, interface.max_obstacles - 4
        velocity = (discs.positions(interface.dt) - discs.positions()) / interface.dt
        expected = {
            "joint angles q": state.q,
            "joint velocity": state.joint_velocity,
            "preview: coming targets x, y": state.target_path[2 : 2 + interface.num_preview].ravel(),
            "disc centres x, y": np.pad(discs.positions().ravel(), (0, 2 * m)),
            "disc radii": np.pad(discs.radii, (0, m)),
            "disc velocities x, y": np.pad(velocity.ravel(), (0, 2 * m)),
            "disc mask: 1 present, 0 empty slot": np.pad(np.ones(4), (0, m)),
        }
        assert [row[1] for row in self.vector] == list(expected)
        for block, start, length in zip(expected.values(), interface.offsets, lengths, strict=False):
            np.testing.assert_allclose(observation["observation"][start : start + length], block, atol=1e-5)
        np.testing.assert_allclose(observation["achieved_goal"], env.arm.end_effector(state.q), atol=1e-5)

    def test_units(self):
        units = {row[1].split(":")[0]: row[3] for row in self.rows}
        assert units["joint angles q"] == "rad"
        assert units["joint velocity"] == "rad/s"
        assert units["disc velocities x, y"] == "m/s"
        assert units["end effector x, y"] == units["target x, y"] == units["disc radii"] == "m"


def test_info_keys():
    env = ArmEnv()
    _, info = env.reset(seed=0)
    named = [name for name in re.findall(r"`(\w+)`", SECTIONS["Info"]) if name in info]
    assert named == list(info)


def test_reset_options():
    start = SECTIONS["Starting state"]
    assert all(f"`{name}`" in start for name in RESET_OPTIONS)


def test_episode_lengths():
    for name, (steps, _) in ENVIRONMENTS.items():
        assert re.search(rf"\b{steps} \(`{name.split('/')[1]}`\)", SECTIONS["Episode end"])


def test_render_modes():
    assert re.findall(r'`"(\w+)"`', SECTIONS["Arguments"]) == ArmEnv.metadata["render_modes"]


def test_every_argument_is_described():
    described = re.findall(r"^    (\w+): ", inspect.getdoc(build_task).split("Raises:")[0], flags=re.MULTILINE)
    assert described == list(inspect.signature(build_task).parameters)


def test_versions():
    versions = set(re.findall(r"^\* (v\d+):", SECTIONS["Version history"], flags=re.MULTILINE))
    assert versions == {name.rsplit("-", 1)[1] for name in ENVIRONMENTS}
