"""How many proposals become free configurations, how many starts reach their target, and how fast.

    python benchmarks/sequential_projection.py [--proposals 100000] [--targets 3000] [--seed 0]

*Proposals*: uniform within the limits of a three-link arm, one random scene of four discs each. Answered means that
:func:`planararm.project` calls the answer safe (it never holds without ``q_start``). All answers called safe are
checked by code that shares nothing with the projection.

*Targets*: uniform over the disc that the arm reaches, of which those count that the ground truth calls reachable, with
16 random starts each and no further restarts. A start succeeds if its answer is within 1e-3 of the reach of the target
and free by the independent check; a target, if one of its starts does. ``nearest`` goes on to the configuration on the
target that is nearest to the start. The hard scenes have two narrow passages and six discs.

Exits with status 1 where a target figure is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planararm
from planararm import Scene, project, reachability
from planararm.projection.sequential import Projection, Source
from planararm.scene.generator import sample_scenes

STARTS = 16
REACHED = 1e-3
ANSWERED, STARTS_REACHED, STARTS_PER_SECOND = 0.995, 0.995, 20_000
ROUNDS = 3


def is_free(q: np.ndarray, scene: Scene) -> np.ndarray:
    """Whether configurations keep the margin and the limits, from scratch."""
    arm, discs = scene.arm, scene.obstacles
    heading = np.cumsum(q, axis=-1)
    steps = arm.link_lengths[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    joints = np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps, axis=1)], axis=1) + arm.base
    start, along = joints[:, :-1, None], steps[:, :, None]
    away = discs.centers[:, None] - start
    share = np.clip((away * along).sum(-1) / (along**2).sum(-1), 0, 1)
    gap = np.linalg.norm(away - share[..., None] * along, axis=-1) - discs.radii[:, None] - arm.link_radius
    if discs.mask is not None:
        gap = np.where(discs.mask[:, None], gap, np.inf)
    held = ((q >= arm.joint_limits[:, 0]) & (q <= arm.joint_limits[:, 1])).all(axis=-1)
    return (gap.min(axis=(1, 2)) >= scene.safety_margin) & held


def timed(call) -> tuple[Projection, float]:
    """The answer, and the median time of several calls."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return answer, statistics.median(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=3_000, help="drawn; those that are reachable count")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    arm = planararm.make_arm("unit3")
    low, high = arm.joint_limits.T
    console, fine = Console(), True

    scene = sample_scenes(rng, options.proposals, arm, num_obstacles=4)
    proposals = rng.uniform(low, high, (options.proposals, 3))
    table = Table(title=f"{options.proposals:,} random proposals, 3 links, 4 discs")
    for column in ("restarts", "answered [%]", "not free", "converged [%]", "per second", "sources"):
        table.add_column(column, justify="right")
    for restarts in (0, 8):
        answer, seconds = timed(lambda restarts=restarts: project(proposals, scene, num_restarts=restarts))
        wrong = int((answer.safe & ~is_free(answer.q, scene)).sum())
        shares = np.bincount(answer.source, minlength=len(Source)) / options.proposals
        named = ", ".join(f"{source.name.lower()} {100 * shares[source]:.2f}" for source in Source if shares[source])
        table.add_row(
            str(restarts), f"{100 * answer.safe.mean():.3f}", str(wrong), f"{100 * answer.converged.mean():.2f}",
            f"{options.proposals / seconds:,.0f}", named,
        )  # fmt: skip
        fine &= wrong == 0 and (restarts == 0 or answer.safe.mean() >= ANSWERED)
    console.print(table)
    print(f"target: {100 * ANSWERED} % answered, 0 not free")

    table = Table(title=f"Targets called reachable, {STARTS} random starts each")
    for column in (
        "scenes",
        "nearest",
        "targets",
        "targets reached [%]",
        "starts reached [%]",
        "median error",
        "starts/s",
    ):
        table.add_column(column, justify="right")
    kinds = {"4 discs": {"num_obstacles": 4}, "hard": {"num_obstacles": 6, "narrow_passages": 2}}
    for name, dials in track(kinds.items(), description="targets", console=Console(stderr=True)):
        scenes = sample_scenes(rng, options.targets, arm, **dials)
        radius = arm.reach * np.sqrt(rng.random(options.targets))
        angle = rng.uniform(-np.pi, np.pi, options.targets)
        targets = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        rows = np.repeat(np.flatnonzero(reachability(targets, scenes).verdict == 1), STARTS)
        starts, crowd = rng.uniform(low, high, (len(rows), 3)), scenes[rows]
        for nearest in (False, True):
            answer, seconds = timed(
                lambda nearest=nearest, starts=starts, crowd=crowd, goal=targets[rows]: project(
                    starts, crowd, target_position=goal, nearest=nearest, num_restarts=0
                )
            )
            miss = np.linalg.norm(np.asarray(arm.end_effector(answer.q)) - targets[rows], axis=-1)
            good = answer.safe & is_free(answer.q, crowd) & (miss <= REACHED * arm.reach)
            reached = good.reshape(-1, STARTS).any(axis=1).mean()
            table.add_row(
                name, "yes" if nearest else "no", f"{len(rows) // STARTS:,}", f"{100 * reached:.3f}",
                f"{100 * good.mean():.1f}", f"{np.median(miss[good]):.0e}", f"{len(rows) / seconds:,.0f}",
            )  # fmt: skip
            fine &= reached >= STARTS_REACHED and len(rows) / seconds >= STARTS_PER_SECOND
    console.print(table)
    print(f"target: {100 * STARTS_REACHED} % of the targets, {STARTS_PER_SECOND:,} starts/s")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
