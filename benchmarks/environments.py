"""Steps per second of the environments against Gymnasium's, all in one run.

    python benchmarks/environments.py [--rounds 7] [--obstacles 4]

Vector: 1,024 native planararm environments (3 links, position control, certificate, observations, info and
autoreset included) against Gymnasium's native CartPole-v1; both are stepped with the same 32 pre-drawn batches of
random actions in turn. Reacher-v5 (MuJoCo) runs as 64 in a SyncVectorEnv. Single: one environment through
``gym.make``. The environments take turns in every round; the table shows medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numba
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import planararm
from planararm.kernels.launch import num_threads

BATCHES = 32


def vector_stepper(env: gym.vector.VectorEnv[Any, Any, Any], steps: int) -> Callable[[], float]:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(BATCHES)]

    def rate() -> float:
        start = time.perf_counter()
        for i in range(steps):
            env.step(actions[i % BATCHES])
        return steps * env.num_envs / (time.perf_counter() - start)

    return rate


def single_stepper(env: gym.Env[Any, Any], steps: int) -> Callable[[], float]:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(BATCHES)]

    def rate() -> float:
        start = time.perf_counter()
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[i % BATCHES])
            if terminated or truncated:
                env.reset()
        return steps / (time.perf_counter() - start)

    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each environment has its turn")
    parser.add_argument("--obstacles", type=int, default=4, help="discs in planararm's scenes")
    options = parser.parse_args()
    ours = {"num_obstacles": options.obstacles}
    racers: dict[str, Callable[[], float]] = {
        "planararm/Reach-v0, native x1024": vector_stepper(
            gym.make_vec("planararm/Reach-v0", num_envs=1024, **ours), 1000
        ),
        "CartPole-v1, native x1024": vector_stepper(gym.make_vec("CartPole-v1", num_envs=1024), 2000),
        "Reacher-v5, sync x64": vector_stepper(gym.make_vec("Reacher-v5", num_envs=64, vectorization_mode="sync"), 100),
        "planararm/Reach-v0, single": single_stepper(gym.make("planararm/Reach-v0", **ours), 10_000),
        "Reacher-v5, single": single_stepper(gym.make("Reacher-v5"), 5_000),
    }
    rates: dict[str, list[float]] = {name: [] for name in racers}
    with Progress(transient=True) as progress:
        task = progress.add_task("stepping", total=(options.rounds + 1) * len(racers))
        for turn in range(options.rounds + 1):
            for name, rate in racers.items():
                measured = rate()
                if turn > 0:
                    rates[name].append(measured)
                progress.advance(task)
    median = {name: statistics.median(values) for name, values in rates.items()}
    table = Table(
        title=f"planararm {planararm.__version__}, gymnasium {gym.__version__}, numpy {np.__version__}, "
        f"numba {numba.__version__}, {num_threads()} threads"
    )
    table.add_column("environment")
    table.add_column("env-steps/s", justify="right")
    for name, value in median.items():
        table.add_row(name, f"{value:,.0f}")
    ratios = Table(title="ratios")
    for column in ("what", "ratio", "target"):
        ratios.add_column(column, justify="left" if column == "what" else "right")
    vector, cartpole, reacher_sync, single, reacher = median.values()
    ratios.add_row("native vector / CartPole-v1 native", f"{vector / cartpole:.2f}", "0.5")
    ratios.add_row("native vector / Reacher-v5 sync x64", f"{vector / reacher_sync:.0f}", "200")
    ratios.add_row("single / Reacher-v5", f"{single / reacher:.1f}", "2")
    console = Console()
    console.print(table)
    console.print(ratios)


if __name__ == "__main__":
    main()
