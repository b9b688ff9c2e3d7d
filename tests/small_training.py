"""Trainees that are done in milliseconds, here and in processes of their own."""

import sys
import time

import numpy as np

from planararm.learning import duka
from planararm.learning.run import train
from planararm.policies.numpy_mlp import new_pose_network

TINY = {"width": 16, "depth": 1, "disc_width": 8, "correction_width": 8}


class Fit:
    """A straight line by gradient descent with momentum on random samples: order and history matter."""

    def __init__(self, steps=20, seed=0, *, pause=0.0, losses=None, scores=None):
        self.num_steps, self.step_count, self.pause = steps, 0, pause
        self.losses, self.scores = losses or {}, scores
        self.rng = np.random.default_rng(seed)
        self.weight, self.speed = np.zeros(2), np.zeros(2, dtype=np.float32)

    def step(self):
        time.sleep(self.pause)
        x = np.array([self.rng.normal(), 1.0])
        off = self.weight @ x - (3 * x[0] - 1)
        self.speed = (0.9 * self.speed - 0.01 * off * x).astype(np.float32)
        self.weight = self.weight + self.speed
        self.step_count += 1
        return {"loss": self.losses.get(self.step_count, off * off), "lr": 0.01}

    def validate(self):
        if self.scores is not None:
            return {"score": self.scores[self.step_count]}
        return {"score": np.float32(np.abs(self.weight - [3, -1]).sum())}

    def state(self):
        arrays = {"weight": self.weight, "speed": self.speed, "none": np.zeros((0, 3)), "one": np.array(2)}
        return arrays, {"step_count": self.step_count, "rng": self.rng.bit_generator.state}

    def load_state(self, arrays, numbers):
        assert arrays["one"].shape == ()
        assert arrays["none"].shape == (0, 3)
        self.weight, self.speed, self.step_count = arrays["weight"], arrays["speed"], numbers["step_count"]
        self.rng.bit_generator.state = numbers["rng"]

    def export(self):
        return {"weight": self.weight.copy()}, {"policy": "line", "inputs": 1}


def make_fit(arm, scenes, seed, steps, device="cpu", init=None):
    """As a recipe names it."""
    return Fit(steps, seed)


def make_slow_fit(arm, scenes, seed, steps, device="cpu", init=None):
    """The same, with time to be interrupted."""
    return Fit(steps, seed, pause=0.01)


def make_bad_fit(arm, scenes, seed, steps, device="cpu", init=None):
    """The same, with a loss that is no number."""
    return Fit(steps, seed, losses={2: float("nan")})


def proposal_trainee(steps=6, **options):
    """A proposal network of a few hundred numbers."""
    from planararm.learning.proposals_torch import ProposalTrainee

    return ProposalTrainee("unit3", "clutter", 3, steps, batch_size=16, network=TINY, **options)


def duka_trainee(monkeypatch, steps=12, **options):
    """The networks of numpy-mlp with eight hidden units, on few samples."""
    for name, value in {"NUM_JOINT_SAMPLES": 60, "NUM_TASK_SAMPLES": 30, "NUM_VALIDATION": 20}.items():
        monkeypatch.setattr(duka, name, value)
    monkeypatch.setattr(duka, "ITERATIONS", {"joint": 4, "position": 4, "pose": 4})
    monkeypatch.setattr(duka, "new_pose_network", lambda rng, box, hidden=8: new_pose_network(rng, box, 8))
    return duka.DukaTrainee(0, steps, **options)


if __name__ == "__main__":
    train(Fit(80, pause=0.004), sys.argv[1], settings={"seed": 0}, resume="--resume" in sys.argv, validate_every=7,
          checkpoint_seconds=float(sys.argv[2]))  # fmt: skip
