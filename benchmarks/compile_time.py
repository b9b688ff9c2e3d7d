"""Time that the kernels take to compile the first time, and to load from the cache after that.

    python benchmarks/compile_time.py

Runs what a newcomer runs first, each in a fresh interpreter with an empty cache folder, then again with the filled
one: an environment (reset and step); the ground truth and the closed form; the projections and the command filter;
everything there is (also witness paths, certificates, control steps, arms of more than three links). Target: 15 s the
first time, for each of the first three.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

TARGET = 15.0
ENVIRONMENT = """
import gymnasium as gym, planararm
env = gym.make("planararm/Reach-v0"); env.reset(seed=0); env.step(env.action_space.sample())
"""
GROUND_TRUTH = """
import numpy as np, planararm
rng = np.random.default_rng(0)
scene = planararm.sample_scene(rng, "unit3")
planararm.reachability([1.0, 1.0], scene)
planararm.make_policy("closed-form").solve(np.array([1.0, 1.0]), np.full(3, 0.3), scene)
"""
EVERYTHING = """
import numpy as np, gymnasium as gym, planararm
from planararm.dynamics import advance
env = gym.make("planararm/Track-v0"); env.reset(seed=0); env.step(env.action_space.sample())
rng = np.random.default_rng(0)
for arm in ("unit3", "unit5"):
    scene = planararm.sample_scene(rng, arm)
    q = np.full(scene.arm.num_joints, 0.3)
    planararm.reachability(scene.arm.end_effector(q), scene)
    planararm.certify_motion(q, q + 0.1, scene.arm, scene.obstacles)
    planararm.witness_path(rng, scene, 10)
    advance(q, q + 0.1, scene)
scene = planararm.sample_scene(rng, "unit3")
planararm.make_policy("closed-form").solve(np.array([1.0, 1.0]), np.full(3, 0.3), scene)
"""
PROJECTION = """
import numpy as np, planararm
scene = planararm.make_scene("pillars")
planararm.make_policy("projected-dls").solve([1.2, 1.3], [0.1, 0.2, 0.3], scene)
planararm.filter_command([0.1, 0.2, 0.3], [0.2, 0.2, 0.3], scene, duration=0.05)
planararm.solve_qp(np.zeros(3), np.ones((2, 3)), np.ones(2)).vjp(np.ones(3))
"""
PROGRAMS = {
    "environment": ENVIRONMENT,
    "ground truth": GROUND_TRUTH,
    "projection": PROJECTION,
    "everything": EVERYTHING + PROJECTION,
}


def seconds(cache: str, program: str) -> float:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return time.perf_counter() - start


def main() -> int:
    slowest = 0.0
    print(f"{'what':<16}{'first start':>12}{'next start':>12}   (target of the first: at most {TARGET:.0f} s)")
    for name, program in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as cache:
            first, again = seconds(cache, program), seconds(cache, program)
        print(f"{name:<16}{first:>10.1f} s{again:>10.1f} s")
        slowest = max(slowest, first if name != "everything" else 0.0)
    return 0 if slowest <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
