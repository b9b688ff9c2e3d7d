"""Time that the kernels take to compile the first time, and to load from the cache after that.

    python benchmarks/compile_time.py

Runs the whole of it (environment reset and step, certificate, witness path, ground truth for 3 and 5 links, the
nearest free solution, a control step) in fresh interpreters with an empty cache folder, then with the filled one.
Target: 15 s the first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

TARGET = 15.0
EVERYTHING = """
import numpy as np, gymnasium as gym, planararm
env = gym.make("planararm/Track-v0"); env.reset(seed=0); env.step(env.action_space.sample())
rng = np.random.default_rng(0)
for arm in ("unit3", "unit5"):
    scene = planararm.sample_scene(rng, arm)
    q = np.full(scene.arm.num_joints, 0.3)
    planararm.reachability(scene.arm.end_effector(q), scene)
    planararm.certify_motion(q, q + 0.1, scene.arm, scene.obstacles)
    planararm.witness_path(rng, scene, 10)
scene = planararm.sample_scene(rng)
policy = planararm.make_policy("closed-form")
policy.solve(np.array([1.0, 1.0]), np.full(3, 0.3), scene)
from planararm.dynamics import advance
advance(np.full(3, 0.3), np.full(3, 0.4), scene)
"""


def seconds(cache: str, program: str) -> float:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return time.perf_counter() - start


def main() -> int:
    with tempfile.TemporaryDirectory() as cache:
        imports = seconds(cache, "import numpy, gymnasium, numba, scipy.linalg")
        first = seconds(cache, EVERYTHING)
        again = seconds(cache, EVERYTHING)
    print(f"first start, kernels compiled    {first:6.1f} s   (target: at most {TARGET:.0f} s)")
    print(f"next start, kernels from cache   {again:6.1f} s")
    print(f"of which interpreter and imports {imports:6.1f} s")
    return 0 if first <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
