"""Every certified motion re-checked by code that shares nothing with the certificate.

    python benchmarks/certificate.py [--motions 1000000] [--points 200] [--seed 0]

Random arms of 2 to 7 links among 1 to 8 discs move straight between random configurations. A motion that is
certified free, and the certified prefix of every other one, is sampled at ``--points`` moments by forward kinematics
and point-to-segment distances written anew here. A contact in a sample is a failure. Of the motions whose dense
clearance exceeds 1e-4 m, the share that was left undecided is reported; where a contact was called, the arm must touch
a disc at the time given. Exits with status 1 where a claim is wrong, or above 1 % undecided.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numba
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from planararm.arm import PlanarArm
from planararm.collision import certify_motion
from planararm.obstacles import Obstacles

CHUNK = 20_000
CLEAR = 1e-4
MOST_UNDECIDED = 0.01
ROUNDING = 1e-12


@numba.njit(parallel=True, nogil=True)
def smallest_clearance(q_start, q_end, until, lengths, link_radius, centers, radii, points):
    """Smallest clearance over ``points`` moments in [0, until] of each motion."""
    count, n = q_start.shape
    result = np.empty(count)
    for i in numba.prange(count):
        smallest = np.inf
        for p in range(points):
            t = until[i] * p / (points - 1)
            angle, x, y = 0.0, 0.0, 0.0
            for k in range(n):
                angle += (1.0 - t) * q_start[i, k] + t * q_end[i, k]
                ux, uy = math.cos(angle), math.sin(angle)
                for j in range(radii.shape[1]):
                    along = (centers[i, j, 0] - x) * ux + (centers[i, j, 1] - y) * uy
                    along = min(max(along, 0.0), lengths[k])
                    gap = math.hypot(x + along * ux - centers[i, j, 0], y + along * uy - centers[i, j, 1])
                    smallest = min(smallest, gap - radii[i, j] - link_radius)
                x, y = x + lengths[k] * ux, y + lengths[k] * uy
        result[i] = smallest
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=200, help="moments at which each motion is re-checked")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    free = contacts = broken_prefixes = clear = clear_undecided = touching = false_alarms = 0
    seconds = 0.0
    done = 0
    with Progress(transient=True) as progress:
        task = progress.add_task("certifying and re-checking", total=options.motions)
        while done < options.motions:
            count = min(CHUNK, options.motions - done)
            n, m = int(rng.integers(2, 8)), int(rng.integers(1, 9))
            arm = PlanarArm(rng.uniform(0.3, 1.5, n))
            q_start = rng.uniform(-np.pi, np.pi, (count, n))
            q_end = q_start + rng.normal(size=(count, n)) * rng.choice([0.03, 0.3, 1.5], (count, 1))
            centers = rng.uniform(-1, 1, (count, m, 2)) * arm.reach
            radii = rng.uniform(0.02, 0.15, (count, m)) * arm.reach
            obstacles = Obstacles(centers, radii)
            certify_motion(q_start[:1], q_end[:1], arm, obstacles[:1])
            start = time.perf_counter()
            certificate = certify_motion(q_start, q_end, arm, obstacles)
            seconds += time.perf_counter() - start
            shared = (arm.link_lengths, arm.link_radius, centers, radii, options.points)
            whole = smallest_clearance(q_start, q_end, np.ones(count), *shared)
            prefix = smallest_clearance(q_start, q_end, certificate.fraction, *shared)
            is_free, started = certificate.status == 1, certificate.fraction > 0
            free += int(is_free.sum())
            contacts += int((is_free & (whole < 0)).sum())
            broken_prefixes += int((started & (prefix < 0)).sum())
            clear += int((whole > CLEAR).sum())
            clear_undecided += int(((whole > CLEAR) & (certificate.status == -1)).sum())
            touching += int((whole < 0).sum())
            there = np.flatnonzero(certificate.status == 0)
            when = certificate.contact_time[there, None]
            q_then = (1.0 - when) * q_start[there] + when * q_end[there]
            one = (arm.link_lengths, arm.link_radius, centers[there], radii[there], 2)
            false_alarms += int((smallest_clearance(q_then, q_then, np.ones(len(there)), *one) > ROUNDING).sum())
            done += count
            progress.update(task, completed=done)
    undecided = clear_undecided / max(1, clear)
    table = Table(title=f"{done:,} motions, 2-7 links, 1-8 discs, re-checked at {options.points} points")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_row("motions certified per second", f"{done / seconds:,.0f}", "")
    table.add_row("certified free", f"{free:,}", "")
    table.add_row("certified free, but a sample is in contact", str(contacts), "0")
    table.add_row("certified prefix, but a sample of it is in contact", str(broken_prefixes), "0")
    table.add_row("samples in contact (all motions)", f"{touching:,}", "")
    table.add_row("called contact, but clear at the contact time", str(false_alarms), "0")
    table.add_row(f"dense clearance > {CLEAR} m, left undecided", f"{100 * undecided:.4f} %", "1 %")
    Console().print(table)
    return int(contacts > 0 or broken_prefixes > 0 or false_alarms > 0 or undecided > MOST_UNDECIDED)


if __name__ == "__main__":
    sys.exit(main())
