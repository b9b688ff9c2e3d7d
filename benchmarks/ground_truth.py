"""Speed of the ground truth, and its verdicts against a brute-force sweep that shares no code with it.

    python benchmarks/ground_truth.py [--arm unit3] [--obstacles 4] [--targets 10000] [--sweep 100000]

The sweep tries ``--sweep`` configurations per target: headings of the last link, half of them even in the
angle, half in the parameter that is dense near the ends of its range, each with both elbows by the law of
cosines. A contradiction is: "unreachable" where the sweep found a free configuration within the limits; a
witness that misses the target, the limits or the margin; a witness whose clearance the sweep beats by more
than the tolerance. Exits with status 1 if there is one.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numba
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from planararm.arm import make_arm
from planararm.collision import clearance
from planararm.inverse import Reachability, reachability
from planararm.scene import Scene
from planararm.scene.generator import sample_scenes

TOLERANCE = 1e-3
CHUNK = 100


@numba.njit(nogil=True, parallel=True)
def sweep(targets, centers, radii, lengths, limits, link_radius, num_points, best):
    """Largest clearance within the limits over a dense sample on each target; -inf: none is within them."""
    l1, l2, l3 = lengths
    count = num_points // 2
    for i in numba.prange(targets.shape[0]):
        tx, ty = targets[i]
        d = math.hypot(tx, ty)
        bearing = math.atan2(ty, tx)
        nearest, furthest = math.pi, 0.0
        for opposite in (abs(l1 - l2), l1 + l2):
            cosine = (d * d + l3 * l3 - opposite * opposite) / (2 * d * l3)
            angle = math.acos(min(1.0, max(-1.0, cosine)))
            nearest, furthest = min(nearest, angle), max(furthest, angle)
        best[i] = -np.inf
        for k in range(count):
            if k % 2:
                turn = nearest + (furthest - nearest) * (k + 0.5) / count
            else:
                turn = 0.5 * (nearest + furthest) - 0.5 * (furthest - nearest) * math.cos(math.pi * k / count)
            absolute = bearing + (turn if k % 4 < 2 else -turn)
            wx, wy = tx - l3 * math.cos(absolute), ty - l3 * math.sin(absolute)
            cosine = (wx * wx + wy * wy - l1 * l1 - l2 * l2) / (2 * l1 * l2)
            if not -1.0 <= cosine <= 1.0:
                continue
            bend = math.acos(cosine)
            for sign in (-1.0, 1.0):
                q2 = sign * bend
                q1 = math.atan2(wy, wx) - math.atan2(l2 * math.sin(q2), l1 + l2 * cosine)
                if not (fits(q1, limits[0]) and fits(q2, limits[1]) and fits(absolute - q1 - q2, limits[2])):
                    continue
                ex, ey = l1 * math.cos(q1), l1 * math.sin(q1)
                smallest = np.inf
                for j in range(radii.shape[1]):
                    cx, cy, radius = centers[i, j, 0], centers[i, j, 1], radii[i, j] + link_radius
                    if radii[i, j] > 0 and smallest > best[i]:
                        smallest = min(smallest, gap(0.0, 0.0, ex, ey, cx, cy) - radius)
                        smallest = min(smallest, gap(ex, ey, wx, wy, cx, cy) - radius)
                        smallest = min(smallest, gap(wx, wy, tx, ty, cx, cy) - radius)
                best[i] = max(best[i], smallest)


@numba.njit(nogil=True)
def fits(angle, limits):
    """Whether the angle lies within the limits after some number of turns."""
    return (angle - limits[0]) % (2 * math.pi) <= limits[1] - limits[0]


@numba.njit(nogil=True)
def gap(ax, ay, bx, by, cx, cy):
    """Distance of c to the segment ab: to an end, or to the line if the foot lies between the ends."""
    ux, uy, vx, vy = bx - ax, by - ay, cx - ax, cy - ay
    length = math.hypot(ux, uy)
    along = (ux * vx + uy * vy) / length
    if along <= 0:
        return math.hypot(vx, vy)
    if along >= length:
        return math.hypot(cx - bx, cy - by)
    return abs(ux * vy - uy * vx) / length


def contradictions(result: Reachability, best: np.ndarray, targets: np.ndarray, scene: Scene) -> dict[str, int]:
    """How many targets break each promise of the ground truth."""
    reached = result.verdict == 1
    q, there = result.q[reached], scene[reached]
    free = clearance(q, scene.arm, there.obstacles)
    miss = np.linalg.norm(scene.arm.end_effector(q) - targets[reached], axis=-1)
    return {
        "unreachable, but the sweep reaches it": int(((result.verdict == 0) & (best >= scene.safety_margin)).sum()),
        "witness misses the target by 1e-12 of the reach": int((miss > 1e-12 * scene.arm.reach).sum()),
        "witness outside the joint limits": int((scene.arm.limit_violation(q) > 0).sum()),
        "witness closer than the margin": int((free < scene.safety_margin).sum()),
        "witness not the best within the tolerance": int((best[reached] > free + TOLERANCE).sum()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", default="unit3", help="a preset of three links")
    parser.add_argument("--obstacles", type=int, default=4)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--sweep", type=int, default=100_000, help="configurations tried per target")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    arm = make_arm(options.arm)
    scene = sample_scenes(rng, options.targets, arm, options.obstacles)
    # Even over the disc of the reach: the rim and, where there is one, the hole at the base are part of it.
    radius, angle = (
        arm.reach * np.sqrt(rng.random(options.targets)),
        rng.uniform(-np.pi, np.pi, options.targets),
    )
    targets = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

    reachability(targets[:1], scene[:1])
    start = time.perf_counter()
    result = reachability(targets, scene, tolerance=TOLERANCE)
    seconds = time.perf_counter() - start

    best = np.empty(options.targets)
    radii = np.where(np.asarray(scene.obstacles.mask), scene.obstacles.radii, -1.0)
    console = Console()
    for first in track(range(0, options.targets, CHUNK), "sweeping", console=console):
        rows = slice(first, first + CHUNK)
        sweep(
            targets[rows], np.asarray(scene.obstacles.centers)[rows], radii[rows], tuple(arm.link_lengths),
            arm.joint_limits, arm.link_radius, options.sweep, best[rows],
        )  # fmt: skip

    table = Table(title=f"{options.arm}, {options.obstacles} discs, {options.targets:,} targets, seed {options.seed}")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("targets per second", f"{options.targets / seconds:,.0f}")
    for name, verdict in (("reachable", 1), ("unreachable", 0), ("undecided", -1)):
        table.add_row(name, f"{(result.verdict == verdict).mean():.2%}")
    missed = int(((result.verdict == 1) & (best < scene.safety_margin)).sum())
    table.add_row(f"reachable, not found by {options.sweep:,} tries", str(missed))
    broken = contradictions(result, best, targets, scene)
    for name, count in broken.items():
        table.add_row(name, f"[red]{count}[/red]" if count else "0")
    console.print(table)
    return 1 if sum(broken.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
