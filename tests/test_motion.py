"""Motions that policies say they take are taken again, and looked at."""

from itertools import pairwise

import numpy as np
import pytest
from small_suite import Base, small_suite

from planararm.arm import make_arm
from planararm.benchmark.calls import solve_rows
from planararm.benchmark.entrants import Entrant, Limits
from planararm.benchmark.isolation.messages import reply_limit
from planararm.benchmark.motion import MOST_COMMANDS, contacts_on_the_way
from planararm.benchmark.runner import run
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import AgentPolicy, IKSolution
from planararm.scene import Scene

ARM = make_arm("unit3")
WALLED = Scene(ARM, Obstacles([[[1.2, 2.0]]], [[0.3]]), 1e-3)
"""The straight way from START to GOAL meets the disc; folded, the arm passes below it."""

START, GOAL = np.array([[0.0, 0.2, 0.2]]), np.array([[2.0, 0.2, 0.2]])
FOLDED = [[0.0, 2.5, -2.5], [2.0, 2.5, -2.5]]
DT = 0.05


def way(*through):
    """Commands of at most 0.05 rad per joint from START through some configurations to GOAL."""
    points = [START[0], *np.array(through, dtype=float).reshape(-1, 3), GOAL[0]]
    parts = []
    for begin, end in pairwise(points):
        steps = int(np.ceil(np.abs(end - begin).max() / 0.05))
        parts.append(begin + np.linspace(0, 1, steps + 1)[1:, None] * (end - begin))
    return np.concatenate(parts)[None]


class Plans(Base):
    """Answers with GOAL, and tells a way."""

    def __init__(self, commands=None, **claims):
        super().__init__()
        self.commands, self.claims = commands, claims

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        info = {**self.claims, **({} if self.commands is None else {"commands": self.commands})}
        return IKSolution(GOAL.copy(), solution.solved, solution.reason, info)


def test_a_way_around_is_seen():
    assert contacts_on_the_way(way(*FOLDED), START, GOAL, WALLED, DT) == [0]
    assert contacts_on_the_way(way(), START, GOAL, WALLED, DT) == [-1]
    # Stopped by the disc, taken back, and led around it after all.
    blocked = np.concatenate([way(), way()[:, ::-1], way(*FOLDED)], axis=1)
    assert contacts_on_the_way(blocked, START, GOAL, WALLED, DT) == [1]


def test_rows_are_judged_apart():
    both = np.concatenate([way(*FOLDED), way(*FOLDED)])
    both[1, -1] += 0.01
    scene = Scene(ARM, Obstacles(np.repeat([[[1.2, 2.0]]], 2, axis=0), [[0.3], [0.3]]), 1e-3)
    found = contacts_on_the_way(both, np.repeat(START, 2, axis=0), np.repeat(GOAL, 2, axis=0), scene, DT)
    assert found.tolist() == [0, -1]


def test_moving_discs_stand_where_they_are_at_time_zero():
    shuttle = np.array([[[0.0, -3.0, 1.0, 0.0]]])
    moving = Scene(ARM, Obstacles([[[1.2, 2.0]]], [[0.3]], shuttle), 1e-3)
    still = Scene(ARM, moving.obstacles.frozen_at(0.0), 1e-3)
    for commands in (way(), way(*FOLDED)):
        found = contacts_on_the_way(commands, START, GOAL, moving, DT)
        assert found == contacts_on_the_way(commands, START, GOAL, still, DT)


def test_steps_beyond_the_velocity_limits_do_not_arrive():
    jump = np.array([[FOLDED[0], FOLDED[1], GOAL[0]]])
    assert contacts_on_the_way(jump, START, GOAL, WALLED, DT) == [-1]
    assert contacts_on_the_way(jump, START, GOAL, WALLED, dt=2.0) == [0]


@pytest.mark.parametrize(
    "commands",
    [
        None,
        "left, then right",
        1.0,
        np.zeros((1, 0, 3)),
        np.zeros((1, 5, 2)),
        np.zeros((2, 5, 3)),
        np.zeros((5, 3)),
        np.zeros((1, 5, 3), dtype=int),
        np.full((1, 5, 3), np.nan),
        np.broadcast_to(GOAL, (1, MOST_COMMANDS + 1, 3)),
    ],
    ids=str,
)
def test_what_is_no_way_says_nothing(commands):
    assert contacts_on_the_way(commands, START, GOAL, WALLED, DT).tolist() == [-1]


def test_a_policy_is_not_believed_about_contacts():
    arguments = (np.array([[1.0, 1.0]]), START, WALLED)
    boasts = Plans(collision=np.zeros(1, dtype=bool))
    boasts.episode_steps = 7
    assert solve_rows(boasts, *arguments).contact.tolist() == [-1]
    assert solve_rows(Plans(way()), *arguments).contact.tolist() == [-1]
    assert solve_rows(Plans(way(*FOLDED)), *arguments).contact.tolist() == [0]


class Drifts:
    """An agent that turns everything to the left."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((*np.shape(observation["observation"])[:-1], 3), 0.5, dtype=np.float32), state


AGENT = AgentPolicy(Drifts(), EnvInterface(ARM, control_mode="delta"), episode_steps=30)


def test_an_agent_tells_its_commands():
    group = small_suite().group("ik")
    solution = AGENT.solve(group.targets, group.q_start, group.scene)
    found = contacts_on_the_way(solution.info["commands"], group.q_start, solution.q, group.scene, DT)
    np.testing.assert_array_equal(found, solution.info["collision"])
    assert 0 < found.sum() < len(found)
    single = AGENT.solve(group.targets[0], group.q_start[0], group.scene[0])
    assert single.info["commands"].shape == (30, 3)


def test_the_rows_say_how_agents_got_there(tmp_path):
    rows = list(run([Entrant("agent", "test_motion:AGENT")], small_suite(), tmp_path, limits=Limits("always")))
    rows = [row for row in rows if row["task"].startswith("ik/")]
    group = small_suite().group("ik")
    touched = AGENT.solve(group.targets, group.q_start, group.scene).info["collision"]
    assert [row["motion"] for row in rows] == ["contact" if met else "certified" for met in touched]


def test_there_is_room_for_the_commands_of_long_episodes():
    assert reply_limit(1000) < reply_limit(1000, 10**5)
    assert reply_limit(10**6, 10**6) == reply_limit(1 << 40)
