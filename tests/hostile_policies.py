"""Policies that nobody wants in their own process. Most misbehave only at targets whose x is more than 5 m."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import threading
import time

import numpy as np
from small_suite import Base

from planararm.arm import make_arm
from planararm.errors import MissingExtraError
from planararm.interface import EnvInterface
from planararm.policies import AgentPolicy, IKPolicy, IKSolution, Reason

held: list[np.ndarray] = []


def asked_to(target_position) -> bool:
    """Whether a target is one of those that the policies below misbehave at."""
    return bool((np.asarray(target_position)[..., 0] > 5).any())


class Stays(IKPolicy):
    """Answers with where the arm is; ready sooner than ``Base``."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        return IKSolution(np.array(q), solved, np.full(solved.shape, Reason.HELD, dtype=np.int8))


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


class Leaks(Stays):
    """Holds on to 100 MiB more with each call."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        held.append(np.empty(100 << 17))
        return super().solve(target_position, q, scene)


class StopsTheClock(Stays):
    """Takes 50 ms, of which its process knows nothing."""

    def __init__(self) -> None:
        now = time.perf_counter()
        time.perf_counter = lambda: now

    def solve(self, target_position, q, scene, *, target_orientation=None):
        time.sleep(0.05)
        return super().solve(target_position, q, scene)


class Prints(Stays):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        print("hello")
        os.write(1, b"PLAR" + b"\xff" * 64)
        return super().solve(target_position, q, scene)


def write_everywhere(content):
    """Write to every file that is open."""
    for number in range(3, 30):
        try:
            os.write(number, content)
        except OSError:
            continue


def forged(values, arrays=(), body=b""):
    """A message as the process itself would send it."""
    header = json.dumps({"values": values, "arrays": list(arrays)}).encode()
    return struct.pack("<4sIQ", b"PLAR", len(header), len(body)) + header + body


def an_answer(values):
    """A forged answer to two targets of three joints."""
    arrays = [["q", "float64", [2, 3]], ["solved", "bool", [2]], ["reason", "int8", [2]]]
    return forged({"ok": True, **values}, arrays, bytes(2 * 3 * 8 + 2 + 2))


def dies_beside_a_child():
    """Its child keeps its pipes open."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), 11)


def eats_all_memory():
    """In pieces so small that nothing is left at all; where there is no limit, 1 GiB."""
    for _ in range(1 << 20):
        held.append(bytearray(1000))


class CannotSay(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def cannot_say():
    raise CannotSay


def interrupts():
    raise KeyboardInterrupt


def hangs_in_c():
    """No other thread of the process gets to run."""
    ctypes.PyDLL(None).sleep(60)


def starts_a_process():
    started = subprocess.Popen(["sleep", "300"])
    raise RuntimeError(f"started {started.pid}")


DEEDS = {
    "raises": Raises().misbehave,
    "exits": Exits().misbehave,
    "interrupts": interrupts,
    "cannot say": cannot_say,
    "exits hard": ExitsHard().misbehave,
    "segfaults": Segfaults().misbehave,
    "hangs": Hangs().misbehave,
    "spins": Spins().misbehave,
    "hangs in C": hangs_in_c,
    "eats memory": EatsMemory().misbehave,
    "eats all memory": eats_all_memory,
    "dies beside a child": dies_beside_a_child,
    "writes garbage": lambda: write_everywhere(b"garbage" * 10),
    "forges another answer": lambda: write_everywhere(an_answer({"elapsed": float("nan"), "number": 0})),
    "announces much": lambda: write_everywhere(struct.pack("<4sIQ", b"PLAR", 2, 1 << 27)),
    "closes files": lambda: os.closerange(0, 30),
    "starts a process": starts_a_process,
}


class BadOnDemand(Stays):
    """Does what the first target's y says, the place of one of ``DEEDS``; stays where it is otherwise."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        if asked_to(target_position):
            list(DEEDS.values())[int(target_position[0, 1])]()
        return super().solve(target_position, q, scene)


class ForgesItsBuilding(Stays):
    def __init__(self) -> None:
        write_everywhere(forged({"ok": True, "number": 1, "name": "Honest", "batch_tolerance": "much"}))


class WritesAhead(Stays):
    """Sends an answer to a question that has not been asked."""

    def reset(self, mask=None):
        threading.Timer(0.1, write_everywhere, [an_answer({"elapsed": 0.0})]).start()


class LeaksUnsaid(Stays):
    """Holds on to 100 MiB more with each call; that there are no more it tells as other libraries do."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        try:
            held.append(np.empty(100 << 17))
        except MemoryError:
            pass
        else:
            return super().solve(target_position, q, scene)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


class Careless(IKPolicy):
    """What an answer may look like that is of use all the same."""

    episode_steps = np.int64(7)
    batch_tolerance = 1e-5

    def solve(self, target_position, q, scene, *, target_orientation=None):
        shape = np.shape(q)
        answer = q.astype(np.float32)
        # Its arguments are its own.
        q.shape = (-1,)
        info = {
            "trace": [[1], [2, 3]],
            "notes": "none",
            "big_endian": np.arange(2, dtype=">f8"),
            "nominal_q": answer.astype(np.float16),
            "iterations": 3,
            "threads": [int(os.environ[name]) for name in ("OMP_NUM_THREADS", "PLANARARM_NUM_THREADS")],
        }
        return IKSolution(answer, np.zeros(shape[:-1], dtype=bool), np.full(shape[:-1], 4), info)


class NoAnswers(Stays):
    """What it returns instead of an answer is told by the first target's y."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        if not asked_to(target_position):
            return super().solve(target_position, q, scene)
        solved = np.zeros(np.shape(q)[:-1], dtype=bool)
        answers = [None, q * np.nan, q[..., :-1], np.zeros((1 << 20, 3)), q.astype(object), object()]
        answer = answers[int(target_position[0, 1])]
        return answer if answer is None else IKSolution(answer, solved, solved.astype(np.int8))


class ReturnsMuch(Stays):
    """Answers of the right shape, with an info that is 3 GB."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        much = {"much": np.broadcast_to(np.zeros(1), 400_000_000)}
        return IKSolution(solution.q, solution.solved, solution.reason, much if asked_to(target_position) else {})


class Counts(Stays):
    """Recurrent: commands the number of calls since the episode began."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        count = 0 if state is None else state["count"]
        n = self.interface.arm.num_joints
        shape = (*np.shape(observation["observation"])[:-1], n)
        return np.full(shape, 0.1 * count, dtype=np.float32), {"count": count + 1, "secret": object()}


class CannotBeBuilt(Stays):
    def __init__(self, mood: str = "good") -> None:
        raise OSError(f"weights are gone, mood {mood}")


class NeedsMore(Stays):
    def __init__(self) -> None:
        raise MissingExtraError("NeedsMore", "torch")


class SlowToBuild(Stays):
    def __init__(self) -> None:
        time.sleep(60)


class Turns:
    """A trained model: turns all joints by half of what they may in a control step."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((*np.shape(observation["observation"])[:-1], 3), 0.5, dtype=np.float32), None


agent = AgentPolicy(Turns(), EnvInterface(make_arm("unit3"), control_mode="delta", dt=0.1), episode_steps=5)


class Seeded(Stays):
    def __init__(self, seed: int = -1, shift: float = 0.0) -> None:
        self.seed, self.shift = seed, shift

    def solve(self, target_position, q, scene, *, target_orientation=None):
        return super().solve(target_position, q + 1e-3 * self.seed + self.shift, scene)
