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
from planararm.obstacles import Obstacles
from planararm.scene import Scene


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
