"""How often the convex relaxations of inverse kinematics are tight, and how exact they are then.

    python benchmarks/convex_ik.py [--targets 500] [--seed 0]

The arm is ``duka`` (three links of 2 m, asymmetric limits). A target is the end effector of a configuration drawn
uniformly within the limits; the proposal is that configuration plus normal noise of the given standard deviation.
Printed beside the measured shares, with their 95 % intervals (Wilson), are reference shares of another implementation,
measured with 60 targets (cone, limits, disc; 95 % intervals up to 24 percent points wide) and 25 (convex iteration; up
to 34), and the difference. The last lines count the rows that are within 5 points, and those whose difference two
samples of these sizes of one share would exceed in fewer than 5 of 100 cases.

* cone: the second-order cone program, no limits, no discs, as a cvxpylayers layer and in closed form;
* limits: the semidefinite program with the joint limits;
* disc: with one disc as well, of which the true configuration is clear; it is in the way of few answers;
* iteration: convex iteration where the program with disc is not tight; *verified* answers are free, within the limits
  and on the target by planararm's own kinematics and distances;
* disc met, and iteration after it: only targets whose answer of the program with limits is tight and touches the disc.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planararm
from planararm import Obstacles, Scene, clearance
from planararm.projection.convex_cone import nearest_point_socp
from planararm.projection.convex_ik import relax
from planararm.projection.convex_layer import ConeIK

SIGMAS = (0.05, 0.2, 0.5, 1.0, 3.0)
REFERENCE = {
    "cone": {0.05: 100, 0.2: 98, 0.5: 82, 1.0: 75},
    "limits": {0.05: 100, 0.2: 100, 0.5: 68},
    "disc": {0.05: 100, 0.2: 95, 0.5: 65},
    "iteration, verified": {0.2: 100, 0.5: 96, 1.0: 92, 3.0: 72},
}
REFERENCE_TARGETS = {"cone": 60, "limits": 60, "disc": 60, "iteration, verified": 25}
ITERATIONS = 10
WITHIN = 5.0
NORMAL_95 = 1.96


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927, doi:10.1080/01621459.1927.10502953)."""
    z2 = NORMAL_95**2 / count
    middle, half = share + z2 / 2, NORMAL_95 * math.sqrt(share * (1 - share) / count + z2 / 4 / count)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def differs(share: float, count: int, other: float, other_count: int) -> bool:
    """Whether two measured shares differ by more than chance allows in 95 of 100 cases (Newcombe, 1998, method 10)."""
    low, high = wilson(share, count)
    other_low, other_high = wilson(other, other_count)
    if share < other:
        return other - share > math.hypot(other - other_low, high - share)
    return share - other > math.hypot(share - low, other_high - other)


def draw_disc(rng: np.random.Generator, arm: planararm.PlanarArm, q: np.ndarray) -> Obstacles:
    """A disc that the configuration is clear of, near the arm."""
    while True:
        disc = Obstacles([rng.uniform(-0.8, 0.8, 2) * arm.reach], [rng.uniform(0.05, 0.12) * arm.reach])
        room = np.linalg.norm(disc.centers[0] - arm.base) - disc.radii[0]
        if room > 0.1 * arm.reach and clearance(q, arm, disc) > 0.01:
            return disc


def draw_met(
    rng: np.random.Generator, arm: planararm.PlanarArm, q: np.ndarray, answer: np.ndarray, margin: float
) -> Obstacles | None:
    """A disc that the configuration is clear of and another one touches; None if 50 draws give none."""
    joints = np.asarray(arm.forward_kinematics(answer))
    for _ in range(50):
        link, share = rng.integers(arm.num_joints), rng.uniform()
        point = joints[link] + share * (joints[link + 1] - joints[link])
        radius = rng.uniform(0.05, 0.12) * arm.reach
        disc = Obstacles([point + rng.uniform(-1, 1, 2) * radius], [radius])
        room = np.linalg.norm(disc.centers[0] - arm.base) - radius
        if room > 0.1 * arm.reach and clearance(q, arm, disc) > 0.01 and clearance(answer, arm, disc) < margin:
            return disc
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=500, help="targets per row of the table (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    arm = planararm.make_arm("duka")
    low, high = arm.joint_limits.T
    empty = Scene(arm, Obstacles.none())
    layer = ConeIK(arm)
    table = Table(title=f"Convex relaxations, {options.targets} targets per row")
    table.add_column("program")
    for column in ("sigma [rad]", "tight [%]", "95 %", "reference [%]", "difference", "goal error [m]", "ms each"):
        table.add_column(column, justify="right")
    worst = 0.0
    compared: list[tuple[str, float, float, bool]] = []

    def add(
        name: str, sigma: float, errors: np.ndarray, tight: np.ndarray, counted: np.ndarray, seconds: float
    ) -> None:
        nonlocal worst
        worst = max(worst, float(errors[tight].max(initial=0.0)))
        share, count = float(counted.mean()), len(counted)
        reference = REFERENCE.get(name, {}).get(sigma)
        low, high = wilson(share, count)
        gap = math.nan if reference is None else 100 * share - reference
        if reference is not None:
            compared.append((name, sigma, gap, differs(share, count, reference / 100, REFERENCE_TARGETS[name])))
        table.add_row(
            name, f"{sigma:g}", f"{100 * share:.1f}", f"{100 * low:.0f}-{100 * high:.0f}",
            "" if reference is None else str(reference), "" if reference is None else f"{gap:+.1f}",
            f"{errors[counted].max(initial=0.0):.1e}", f"{1e3 * seconds / count:.2f}",
        )  # fmt: skip

    for sigma in track(SIGMAS, description="sigma", console=Console(stderr=True)):
        rng = np.random.default_rng([options.seed, int(1000 * sigma)])
        q = rng.uniform(low, high, (options.targets, 3))
        target = np.asarray(arm.end_effector(q))
        proposal = q + sigma * rng.normal(size=q.shape)

        def miss(answer: np.ndarray, target: np.ndarray = target) -> np.ndarray:
            return np.linalg.norm(np.asarray(arm.end_effector(answer)) - target, axis=-1)

        start = time.perf_counter()
        cone = nearest_point_socp(target, proposal, arm)
        seconds = time.perf_counter() - start
        add("cone, closed form", sigma, miss(cone.q), cone.tight, cone.tight, seconds)
        start = time.perf_counter()
        with torch.no_grad():
            answer, layer_tight = layer(torch.from_numpy(proposal), torch.from_numpy(target))
        seconds = time.perf_counter() - start
        add("cone", sigma, miss(answer.numpy()), layer_tight.numpy(), layer_tight.numpy(), seconds)
        discs = [draw_disc(rng, arm, one) for one in q]
        scenes = {"limits": [empty] * options.targets, "disc": [Scene(arm, disc) for disc in discs]}
        for name, iterations in (("limits", 0), ("disc", 0), ("disc", ITERATIONS)):
            start = time.perf_counter()
            found = [
                relax(point, guess, scene, max_iterations=iterations)
                for point, guess, scene in zip(target, proposal, scenes[name], strict=True)
            ]
            seconds = time.perf_counter() - start
            errors = miss(np.array([one.q for one in found]))
            tight = np.array([one.tight for one in found])
            verified = np.array([one.verified for one in found])
            if iterations:
                add("iteration, verified", sigma, errors, tight, verified, seconds)
            else:
                add(name, sigma, errors, tight, tight, seconds)
            if name == "limits":
                touched = [
                    draw_met(rng, arm, own, one.q, empty.safety_margin) if one.tight else None
                    for own, one in zip(q, found, strict=True)
                ]
        touching = {i: Scene(arm, disc) for i, disc in enumerate(touched) if disc is not None}
        rows = list(touching)
        for name, iterations in (("disc met", 0), ("disc met, iteration, verified", ITERATIONS)):
            start = time.perf_counter()
            found = [relax(target[i], proposal[i], touching[i], max_iterations=iterations) for i in rows]
            seconds = time.perf_counter() - start
            if rows:
                errors = miss(np.array([one.q for one in found]), target[rows])
                tight = np.array([one.tight for one in found])
                counted = np.array([one.verified for one in found]) if iterations else tight
                add(f"{name} ({len(rows)})", sigma, errors, tight, counted, seconds)
    Console().print(table)
    far = [f"{name} at {sigma:g} ({gap:+.1f})" for name, sigma, gap, _ in compared if abs(gap) > WITHIN]
    apart = [f"{name} at {sigma:g}" for name, sigma, _, other in compared if other]
    print(f"goal error when tight: {worst:.1e} m, target 1e-5 m")
    print(f"within {WITHIN:g} points: {len(compared) - len(far)} of {len(compared)}; not: {', '.join(far) or 'none'}")
    print(f"beyond what chance allows: {', '.join(apart) or 'none'}")


if __name__ == "__main__":
    main()
