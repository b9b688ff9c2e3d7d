"""``planararm render``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, UnknownNameError
from .parsing import add_command, find_modules_here, whole

PICTURE_SUFFIXES = (".png", ".gif", ".mp4")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    render = add_command(commands, common, "render", run, "draw an episode of a policy as PNG, GIF or MP4")
    render.add_argument("--policy", default="closed-form", help="default: %(default)s")
    render.add_argument("--scene", help="name or TOML file of a scene (default: random; with --path, empty)")
    render.add_argument("--path", help="name or CSV file of a target path (default: one known to be trackable)")
    render.add_argument("--arm", help="name of the arm (default: the scene's, else unit3)")
    render.add_argument("--env", help="id of the environment (default: planararm/Track-v0)")
    render.add_argument("--seed", type=whole, default=0, help="seed of the episode (default: 0)")
    render.add_argument("--steps", type=int, default=200, help="control steps at most (default: %(default)s)")
    render.add_argument("--out", type=Path, required=True, help="file ending in .png (last frame), .gif or .mp4")


def run(arguments: argparse.Namespace) -> int:
    """Run the episode, write the pictures."""
    import gymnasium as gym

    from ..policies import make_policy
    from ..rendering.recording import write_frames

    find_modules_here()
    if arguments.steps < 1:
        raise InvalidInputError(f"--steps must be at least 1, got {arguments.steps}.")
    # Before the episode is run, not after it.
    if arguments.out.suffix.lower() not in PICTURE_SUFFIXES:
        raise InvalidInputError(f"--out must end in {', '.join(PICTURE_SUFFIXES)}, got {str(arguments.out)!r}.")
    if not arguments.out.parent.is_dir():
        raise InvalidInputError(f"--out names the folder {str(arguments.out.parent)!r}, which does not exist.")
    policy = make_policy(arguments.policy)
    # A bundled path knows nothing of random discs: without a scene of its own it gets free space.
    scene = arguments.scene or ("empty" if arguments.path else None)
    given = {"arm": arguments.arm, "scene": scene, "path": arguments.path}
    options = {name: value for name, value in given.items() if value is not None}
    environment = arguments.env or "planararm/Track-v0"
    known = [name for name in gym.registry if name.startswith("planararm/")]
    if environment not in known:
        raise UnknownNameError("environment", environment, known)
    env = gym.make(environment, render_mode="rgb_array", max_episode_steps=arguments.steps, **options)
    with env:
        policy.bind(env)
        policy.reset()
        observation, info = env.reset(seed=arguments.seed)
        frames, over = [env.render()], False
        errors, contacts = [], 0
        while not over:
            action, _ = policy.predict(observation)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            frames.append(env.render())
            errors.append(info["tracking_error"])
            contacts += info["collision"]
        fps = env.metadata["render_fps"]
    last_only = arguments.out.suffix.lower() == ".png"
    write_frames(frames[-1:] if last_only else frames, arguments.out, fps=fps)
    mean = sum(errors) / len(errors)
    print(f"{arguments.out}: {len(errors)} steps, mean tracking error {mean:.2g} m, stopped by a disc {contacts} times")
    return 0
