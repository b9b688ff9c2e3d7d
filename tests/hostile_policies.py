"""Policies that nobody wants in their own process. What they do depends on the first target's x, in metres."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import numpy as np
from small_suite import Base

from planararm.policies import IKPolicy, IKSolution, Reason

held: list[np.ndarray] = []


def asked_to(target_position) -> bool:
    """Whether a target is one of those that the policies below misbehave at."""
    return bool((np.asarray(target_position)[..., 0] > 5).any())


class Misbehaves(Base):
    def misbehave(self):
        raise NotImplementedError

    def solve(self, target_position, q, scene, *, target_orientation=None):
        if asked_to(target_position):
            self.misbehave()
        return super().solve(target_position, q, scene)


class Raises(Misbehaves):
    def misbehave(self):
        raise RuntimeError("no idea\nat all")


class Exits(Misbehaves):
    def misbehave(self):
        sys.exit("goodbye")


class ExitsHard(Misbehaves):
    def misbehave(self):
        os._exit(7)


class Segfaults(Misbehaves):
    def misbehave(self):
        ctypes.string_at(0)


class Hangs(Misbehaves):
    def misbehave(self):
        while True:
            time.sleep(60)


class Spins(Misbehaves):
    def misbehave(self):
        while True:
            pass


class EatsMemory(Misbehaves):
    def misbehave(self):
        held.append(np.ones(1 << 34))


class Leaks(Base):
    """Holds on to 100 MiB more with each call."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        held.append(np.ones(100 << 17))
        return super().solve(target_position, q, scene)


class Prints(Base):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        print("hello")
        os.write(1, b"PLAR" + b"\xff" * 64)
        return super().solve(target_position, q, scene)


class WritesGarbage(Misbehaves):
    """Writes to every file that is open."""

    def misbehave(self):
        for number in range(3, 30):
            try:
                os.write(number, b"garbage" * 10)
            except OSError:
                continue


class ClosesFiles(Misbehaves):
    def misbehave(self):
        os.closerange(0, 30)


class ReturnsMuch(IKPolicy):
    """One answer of the right shape, with an info that is 3 GB."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        info = {"much": np.broadcast_to(np.zeros(1), 400_000_000)}
        return IKSolution(np.array(q), solved, np.full(solved.shape, Reason.HELD, dtype=np.int8), info)


class Counts(Base):
    """Recurrent: commands the number of calls since the episode began."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        count = 0 if state is None else state["count"]
        n = self.interface.arm.num_joints
        shape = (*np.shape(observation["observation"])[:-1], n)
        return np.full(shape, 0.1 * count, dtype=np.float32), {"count": count + 1, "secret": object()}


class CannotBeBuilt(Base):
    def __init__(self, mood: str = "good") -> None:
        raise OSError(f"weights are gone, mood {mood}")


class Seeded(Base):
    def __init__(self, seed: int = -1, shift: float = 0.0) -> None:
        super().__init__()
        self.seed, self.shift = seed, shift

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        reason = np.full(solved.shape, Reason.HELD, dtype=np.int8)
        return IKSolution(np.array(q) + 1e-3 * self.seed + self.shift, solved, reason)
