"""A suite of a second or less, and policies that fail in every way, for the benchmark's tests."""

from __future__ import annotations

import sys
import time
from functools import cache

import numpy as np

from planararm.arm import make_arm
from planararm.benchmark.suites import free_configurations, witness_group
from planararm.benchmark.tasks import Suite, TaskGroup
from planararm.policies import IKPolicy, IKSolution, Reason, make_policy
from planararm.scene import sample_scenes


def ik_tasks(name: str, arm: str, count: int, seed: int) -> TaskGroup:
    """Targets that a free configuration reaches, every fourth one out of reach."""
    rng = np.random.default_rng(seed)
    scene = sample_scenes(rng, count, arm, (0, 3))
    start, goal = free_configurations(rng, scene), free_configurations(rng, scene)
    targets = np.array(make_arm(arm).end_effector(goal))
    truth = np.ones(count, dtype=np.int8)
    targets[::4] = [1.2 * make_arm(arm).reach, 0.0]
    truth[::4] = 0
    labels = tuple("beyond" if verdict == 0 else "reachable" for verdict in truth)
    return TaskGroup(name, arm, scene, start, targets, truth, labels)


@cache
def small_suite() -> Suite:
    """Three groups, 12 + 5 + 3 tasks."""
    rng = np.random.default_rng(5)
    paths = witness_group(rng, "track", "unit3", sample_scenes(rng, 3, "unit3", 2), 12)
    groups = (ik_tasks("ik", "unit3", 12, 1), ik_tasks("ik-unit5", "unit5", 5, 2), paths)
    return Suite("test/small", "For tests.", groups)


class Base(IKPolicy):
    """Answers that keep the contract, from a classical solver."""

    def __init__(self) -> None:
        self.inner = make_policy("damped-least-squares")

    def solve(self, target_position, q, scene, *, target_orientation=None):
        return self.inner.solve(target_position, q, scene)


def fails(target_position):
    """The rows on which the policies below fail: a pure function of the target."""
    return np.asarray(target_position)[..., 0] > 0


class RaisesSometimes(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        if fails(target_position).any():
            raise RuntimeError("no idea\nwhat to do " + "x" * 400)
        return super().solve(target_position, q, scene)


class NaNSometimes(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        answer = np.where(fails(target_position)[..., None], np.nan, solution.q)
        return IKSolution(answer, solution.solved, solution.reason)


class ExitsSometimes(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        if fails(target_position).any():
            sys.exit("goodbye")
        return super().solve(target_position, q, scene)


class NoneSometimes(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        return None if fails(target_position).any() else super().solve(target_position, q, scene)


class WrongShapeSometimes(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        if fails(target_position).any():
            return IKSolution(solution.q[..., :-1], solution.solved, solution.reason)
        return solution


class Scribbles(Base):
    """Overwrites its arguments after having read them."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position.copy(), q.copy(), scene)
        target_position[:] = 99.0
        q[:] = 99.0
        return solution


class Boasts(IKPolicy):
    """Stays where it is and claims success."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.ones(np.shape(q)[:-1], dtype=bool)
        return IKSolution(np.array(q), solved, np.full(solved.shape, Reason.SOLVED, dtype=np.int8))


class BeyondLimits(IKPolicy):
    """Turns the first joint five times round."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        reason = np.full(solved.shape, Reason.NOT_CONVERGED, dtype=np.int8)
        return IKSolution(np.array(q) + 10 * np.pi, solved, reason)


class OnlyThreeJoints(Base):
    def supports(self, scene):
        return None if scene.arm.num_joints == 3 else "it was made for three joints"


class CannotSay(Base):
    def supports(self, scene):
        raise RuntimeError("supports is broken")


class CannotBeBuilt(IKPolicy):
    def __init__(self) -> None:
        raise OSError("weights are gone")

    def solve(self, target_position, q, scene, *, target_orientation=None):
        raise AssertionError("is never built")


class Seeded(IKPolicy):
    """Answers depend on its seed."""

    def __init__(self, seed: int = -1) -> None:
        self.seed = seed

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        return IKSolution(np.array(q) + 1e-3 * self.seed, solved, np.full(solved.shape, 4, dtype=np.int8))


class Remembers(Base):
    """Thinks for 5 ms about what it was not asked before."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[bytes] = set()

    def solve(self, target_position, q, scene, *, target_orientation=None):
        asked = {row.tobytes() for row in np.asarray(target_position)}
        if not asked <= self.known:
            time.sleep(0.005)
        self.known |= asked
        return super().solve(target_position, q, scene)


def point_east(target_position, q, scene):
    """A plain function: stretch out along +x."""
    return np.zeros_like(q)


class Slow(Base):
    """Takes its time, so that a run can be interrupted."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        time.sleep(0.02)
        return super().solve(target_position, q, scene)
