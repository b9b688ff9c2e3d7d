"""A random agent among discs, with the safety filter and without: how often the arm touches, and how it looks.

python examples/safety_filter.py
python examples/safety_filter.py --scene ring --steps 200 --out filter.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from planararm.envs import SafetyFilter
from planararm.errors import PlanarArmError
from planararm.rendering.recording import write_frames
from planararm.scene import available_scenes

HELD_STEPS = 15
"""The agent keeps a command for that long, so that the arm gets somewhere."""


def run(env: gym.Env[Any, Any], steps: int, seed: int) -> tuple[int, int, list[Any]]:
    """Let the agent act.

    Args:
        env: The environment, filtered or not.
        steps: Control steps.
        seed: Of the start and of the agent.

    Returns:
        Steps with contact, steps at which the filter intervened, and a frame per step if the environment renders.
    """
    env.reset(seed=seed)
    env.action_space.seed(seed)
    contacts, interventions, frames = 0, 0, []
    for i in range(steps):
        if i % HELD_STEPS == 0:
            action = env.action_space.sample()
        *_, info = env.step(action)
        contacts += info["collision"]
        interventions += info.get("intervened", False)
        if env.render_mode is not None:
            frames.append(env.render())
    env.close()
    return contacts, interventions, frames


def side_by_side(left: Sequence[Any], right: Sequence[Any]) -> list[npt.NDArray[np.uint8]]:
    """Two films as one."""
    return [np.concatenate(pair, axis=1) for pair in zip(left, right, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run both, print the counts.

    Args:
        arguments: The command line; None: that of the program.
    """
    parser = argparse.ArgumentParser(description="A random agent among discs, with the safety filter and without.")
    parser.add_argument("--scene", default="clutter", help=f"a file, or one of {', '.join(available_scenes())}")
    parser.add_argument("--steps", type=int, default=300, help="control steps; default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write both as a .gif or .mp4, the unfiltered arm on the left")
    given = parser.parse_args(arguments)
    if given.steps < 1:
        parser.error(f"--steps must be >= 1, got {given.steps}")
    render_mode = None if given.out is None else "rgb_array"
    try:
        envs = [
            gym.make(
                "planararm/Reach-v0", scene=given.scene, render_mode=render_mode, max_episode_steps=given.steps + 1
            )
            for _ in range(2)
        ]
        contacts, _, unfiltered = run(envs[0], given.steps, given.seed)
        print(f"without the filter: {contacts} of {given.steps} steps touch a disc")
        contacts, interventions, filtered = run(SafetyFilter(envs[1]), given.steps, given.seed)
        print(f"behind the filter:  {contacts} of {given.steps} steps touch a disc; it changed {interventions} actions")
        if given.out is not None:
            print(write_frames(side_by_side(unfiltered, filtered), given.out))
    except (PlanarArmError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
