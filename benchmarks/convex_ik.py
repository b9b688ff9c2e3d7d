"""How often the convex relaxations of inverse kinematics are tight, and how exact they are then.

    python benchmarks/convex_ik.py [--targets 200] [--seed 0]

The arm is ``duka`` (three links of 2 m, asymmetric limits). A target is the end effector of a configuration drawn
uniformly within the limits; the proposal is that configuration plus normal noise of the given standard deviation.
Printed beside the measured shares are reference shares, from 60 (cone, limits) and 25 (convex iteration) targets of
another implementation: they are uncertain by 5 to 10 percent points themselves.

* cone: the second-order cone program, no limits, no discs, as a cvxpylayers layer and in closed form;
* limits: the semidefinite program with the joint limits;
* disc: with one disc as well, of which the true configuration is clear;
* iteration: convex iteration where the program with disc is not tight; *verified* answers are free, within the limits
  and on the target by planararm's own kinematics and distances.
"""

from __future__ import annotations

import argparse
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
ITERATIONS = 10


def draw_disc(rng: np.random.Generator, arm: planararm.PlanarArm, q: np.ndarray) -> Obstacles:
    """A disc that the configuration is clear of, near the arm."""
    while True:
        disc = Obstacles([rng.uniform(-0.8, 0.8, 2) * arm.reach], [rng.uniform(0.05, 0.12) * arm.reach])
        room = np.linalg.norm(disc.centers[0] - arm.base) - disc.radii[0]
        if room > 0.1 * arm.reach and clearance(q, arm, disc) > 0.01:
            return disc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=200, help="targets per row of the table (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    arm = planararm.make_arm("duka")
    low, high = arm.joint_limits.T
    empty = Scene(arm, Obstacles.none())
    layer = ConeIK(arm)
    table = Table(title=f"Convex relaxations, {options.targets} targets per row")
    for column in ("program", "sigma [rad]", "tight [%]", "reference [%]", "goal error [m]", "ms each"):
        table.add_column(column, justify="left" if column == "program" else "right")
    worst = 0.0

    def add(name: str, sigma: float, tight: np.ndarray, errors: np.ndarray, seconds: float) -> None:
        nonlocal worst
        largest = errors.max(initial=0.0)
        worst = max(worst, float(largest))
        reference = REFERENCE.get(name, {}).get(sigma)
        table.add_row(
            name, f"{sigma:g}", f"{100 * tight.mean():.1f}", "" if reference is None else str(reference),
            f"{largest:.0e}", f"{1e3 * seconds / len(tight):.2f}",
        )  # fmt: skip

    for sigma in track(SIGMAS, description="sigma", console=Console(stderr=True)):
        rng = np.random.default_rng([options.seed, int(1000 * sigma)])
        q = rng.uniform(low, high, (options.targets, 3))
        target = np.asarray(arm.end_effector(q))
        proposal = q + sigma * rng.normal(size=q.shape)

        def miss(answer: np.ndarray, rows: np.ndarray, target: np.ndarray = target) -> np.ndarray:
            return np.linalg.norm(np.asarray(arm.end_effector(answer)) - target, axis=-1)[rows]

        start = time.perf_counter()
        cone = nearest_point_socp(target, proposal, arm)
        add("cone, closed form", sigma, cone.tight, miss(cone.q, cone.tight), time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad():
            answer, tight = layer(torch.from_numpy(proposal), torch.from_numpy(target))
        add("cone", sigma, tight.numpy(), miss(answer.numpy(), tight.numpy()), time.perf_counter() - start)
        discs = [draw_disc(rng, arm, one) for one in q]
        scenes = {"limits": [empty] * options.targets, "disc": [Scene(arm, disc) for disc in discs]}
        for name, iterations in (("limits", 0), ("disc", 0), ("disc", ITERATIONS)):
            start = time.perf_counter()
            found = [
                relax(point, guess, scene, max_iterations=iterations)
                for point, guess, scene in zip(target, proposal, scenes[name], strict=True)
            ]
            seconds = time.perf_counter() - start
            answers = np.array([one.q for one in found])
            if iterations:
                free = np.array([
                    clearance(one.q, arm, scene.obstacles) >= scene.safety_margin
                    for one, scene in zip(found, scenes[name], strict=True)
                ])  # fmt: skip
                held = arm.limit_violation(answers) <= 1e-6
                verified = free & held & (np.nan_to_num(miss(answers, slice(None)), nan=np.inf) < 1e-4)
                add("iteration, verified", sigma, verified, miss(answers, verified), seconds)
            else:
                tight = np.array([one.tight for one in found])
                add(name, sigma, tight, miss(answers, tight), seconds)
    Console().print(table)
    print(f"goal error when tight: {worst:.1e} m, target 1e-5 m")


if __name__ == "__main__":
    main()
