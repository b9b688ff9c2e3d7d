"""A million steps of random and adversarial agents behind the safety filter, every motion checked at dense poses.

    python benchmarks/safety_filter.py [--steps 1000000] [--seed 0] [--poses 50]

The steps are shared out among agents, control modes and arms with 2, 3 and 5 links. Scenes have 2 to 5 discs that stand
still, half of them with a gap that the arm only just fits through; each episode has its own.

* random: actions drawn from the action space, a new one at each step.
* held: the same, but one action is held for 20 steps.
* deeper: every joint at full speed in the direction in which the clearance falls.
* centre: the end effector is driven at the centre of the disc nearest to it.
* limits: every joint to the limit that is farthest from it.
* goal: damped least squares towards the target, which ignores the discs.

The check knows nothing of the filter and of the certificate: poses evenly spaced along every executed motion (which is
straight in the joint angles), read from the exact state before and after the step, and their clearance in NumPy.
"Unfiltered" is how many of a quarter of the same agents' steps touch a disc without the filter. Exits with status 1
where an arm touches a disc, comes nearer than the filter promises, or leaves its limits.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from planararm import EnvInterface, Obstacles, Scene, clearance, clearance_gradient, make_policy
from planararm.envs import VectorSafetyFilter
from planararm.projection.command_filter import FilterStatus

ARMS = ("unit2", "unit3", "unit5")
MODES = ("position", "delta")
NUM_ENVS = 128
HELD_STEPS = 20
CHECKED_TOGETHER = 32
SPEED_ENVS, SPEED_STEPS = 1024, 100

Array = np.ndarray
Agent = Callable[[Array, Scene, Array, Array], Array]
"""From q, scene, targets and random actions to actions, all batched."""


def make_agent(name: str, interface: EnvInterface) -> Agent:
    """The agent of that name; see the top of the file."""
    arm, towards = interface.arm, make_policy("damped-least-squares")
    held: dict[str, Array] = {}

    def hold(q: Array, scene: Scene, target: Array, drawn: Array) -> Array:
        if not held or held["age"] == HELD_STEPS:
            held.update(action=drawn, age=np.array(0))
        held["age"] += 1
        return held["action"]

    def deeper(q: Array, scene: Scene, target: Array, drawn: Array) -> Array:
        _, gradient = clearance_gradient(q, arm, scene.obstacles)
        return interface.encode_action(q, q - interface.max_step * np.sign(gradient))

    def centre(q: Array, scene: Scene, target: Array, drawn: Array) -> Array:
        discs = scene.obstacles
        away = np.linalg.norm(discs.centers - arm.end_effector(q)[..., None, :], axis=-1) - discs.radii
        nearest = np.argmin(np.where(discs.mask, away, np.inf), axis=-1)
        aim = discs.centers[np.arange(len(nearest)), nearest]
        return interface.encode_action(q, towards.solve(aim, q, scene).q)

    def limits(q: Array, scene: Scene, target: Array, drawn: Array) -> Array:
        low, high = arm.joint_limits.T
        return interface.encode_action(q, np.where(q - low > high - q, low, high))

    def goal(q: Array, scene: Scene, target: Array, drawn: Array) -> Array:
        return interface.encode_action(q, towards.solve(target, q, scene).q)

    return {
        "random": lambda q, scene, target, drawn: drawn,
        "held": hold,
        "deeper": deeper,
        "centre": centre,
        "limits": limits,
        "goal": goal,
    }[name]


AGENTS = ("random", "held", "deeper", "centre", "limits", "goal")


def smallest_clearances(q_start: Array, q_end: Array, scene: Scene, poses: int) -> Array:
    """Of evenly spaced poses along each motion, both ends among them: ``(N,)``, smallest clearance [m]."""
    share = np.linspace(0.0, 1.0, poses)[:, None]
    found = []
    for first in range(0, len(q_start), CHECKED_TOGETHER):
        rows = slice(first, first + CHECKED_TOGETHER)
        discs = scene.obstacles[rows]
        q = (1.0 - share) * q_start[rows, None] + share * q_end[rows, None]
        spread = Obstacles(discs.centers[:, None], discs.radii[:, None], None, discs.mask[:, None])
        found.append(clearance(q, scene.arm, spread).min(axis=-1))
    return np.concatenate(found)


@dataclass
class Tally:
    """What an agent's steps came to."""

    steps: int = 0
    contacts: int = 0
    outside: int = 0
    smallest: float = np.inf
    statuses: Array = field(default_factory=lambda: np.zeros(len(FilterStatus), dtype=np.int64))
    unfiltered_steps: int = 0
    unfiltered_contacts: int = 0

    def add(self, other: Tally) -> None:
        """Count the other's steps too."""
        self.smallest = min(self.smallest, other.smallest)
        for name in ("steps", "contacts", "outside", "statuses", "unfiltered_steps", "unfiltered_contacts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def make_env(arm: str, mode: str, num_envs: int = NUM_ENVS) -> gym.vector.VectorEnv[Any, Any, Any]:
    return gym.make_vec(
        "planararm/Reach-v0",
        num_envs=num_envs,
        arm=arm,
        control_mode=mode,
        num_obstacles=[2, 5],
        max_obstacles=5,
        dials={"narrow_passages": 1},
    )


def run(name: str, arm: str, mode: str, rounds: int, seed: int, poses: int) -> Tally:
    """Let an agent act behind the filter for ``rounds`` steps of every environment, then without for a quarter."""
    tally = Tally()
    for filtered in (True, False):
        inner = make_env(arm, mode)
        env = VectorSafetyFilter(inner) if filtered else inner
        base, interface = inner.unwrapped, inner.unwrapped.interface
        agent = make_agent(name, interface)
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        done = np.zeros(NUM_ENVS, dtype=bool)
        for _ in range(rounds if filtered else rounds // 4):
            q, scene = base.q, base.scene
            target = interface.unpack(observation).preview[:, 0]
            action = agent(q, scene, target, env.action_space.sample())
            observation, _, terminated, truncated, info = env.step(action)
            moved, done = ~done, terminated | truncated
            if not moved.any():
                continue
            if not filtered:
                tally.unfiltered_steps += int(moved.sum())
                tally.unfiltered_contacts += int(info["collision"][moved].sum())
                continue
            room = smallest_clearances(q[moved], base.q[moved], scene[moved], poses)
            tally.steps += int(moved.sum())
            tally.contacts += int((room <= 0).sum())
            tally.outside += int((interface.arm.limit_violation(base.q) > 0).sum())
            tally.smallest = min(tally.smallest, float(room.min()))
            tally.statuses += np.bincount(info["fallback"][moved], minlength=len(FilterStatus))
        env.close()
    return tally


def speeds(mode: str, seed: int) -> tuple[float, float]:
    """Steps per second of random actions, without the filter and with it; best of three in turn."""
    envs = [make_env("unit3", mode, SPEED_ENVS), VectorSafetyFilter(make_env("unit3", mode, SPEED_ENVS))]
    best = [0.0, 0.0]
    for _ in range(3):
        for i, env in enumerate(envs):
            env.action_space.seed(seed)
            actions = [env.action_space.sample() for _ in range(SPEED_STEPS)]
            env.reset(seed=seed)
            env.step(actions[0])
            start = time.perf_counter()
            for action in actions[1:]:
                env.step(action)
            best[i] = max(best[i], (SPEED_STEPS - 1) * SPEED_ENVS / (time.perf_counter() - start))
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="behind the filter, all agents together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--poses", type=int, default=50, help="checked per step")
    options = parser.parse_args()
    runs = [(name, mode, arm) for name in AGENTS for mode in MODES for arm in ARMS]
    # An episode's first step is a reset: one in 101 rounds moves nothing.
    rounds = max(4, -(-options.steps * 102 // (101 * NUM_ENVS * len(runs))) + 1)
    tallies = {name: Tally() for name in AGENTS}
    start = time.perf_counter()
    with Progress(transient=True) as progress:
        task = progress.add_task("stepping", total=len(runs))
        for i, (name, mode, arm) in enumerate(runs):
            tallies[name].add(run(name, arm, mode, rounds, options.seed + i * NUM_ENVS, options.poses))
            progress.advance(task)
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    margin = make_env("unit3", "position", 1).unwrapped.interface.safety_margin
    console = Console(width=140)
    table = Table(title=f"behind the filter: {options.poses} poses per step, {time.perf_counter() - start:.0f} s")
    for column in ("agent", "steps", "contacts", "outside limits", "smallest clearance [mm]", "intervened"):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for status in FilterStatus:
        if status != FilterStatus.PASSED:
            table.add_column(status.name.lower(), justify="right")
    table.add_column("unfiltered: contact", justify="right")
    for name, tally in {**tallies, "all": total}.items():
        shares = tally.statuses / tally.steps
        table.add_row(
            name,
            f"{tally.steps:,}",
            str(tally.contacts),
            str(tally.outside),
            f"{1e3 * tally.smallest:.6f}",
            f"{1 - shares[0]:.1%}",
            *(f"{share:.1%}" for share in shares[1:-1]),
            f"{tally.statuses[-1]:,}",
            f"{tally.unfiltered_contacts / tally.unfiltered_steps:.1%}",
        )
    console.print(table)
    for mode in MODES:
        without, with_filter = speeds(mode, options.seed)
        console.print(
            f"{SPEED_ENVS} environments, {mode} control: {without:,.0f} steps/s without, {with_filter:,.0f} with the "
            f"filter ({1e6 / with_filter - 1e6 / without:.2f} us per step more)"
        )
    kept = total.smallest >= 0.5 * margin - 1e-7
    good = total.contacts == 0 and total.outside == 0 and kept
    console.print(
        f"{total.steps:,} steps, {total.contacts} contacts, {total.outside} outside the limits, smallest clearance "
        f"{1e3 * total.smallest:.6f} mm of {500 * margin} mm promised: {'good' if good else 'MISSED'}"
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
