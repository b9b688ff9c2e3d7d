"""What the network of Duka's paper reaches, trained on joint angles and through the forward kinematics.

    python benchmarks/numpy_mlp.py [--poses 5000] [--study]

The three bundled networks 3-100-3 on fresh poses: *joint* (Levenberg-Marquardt on joint angles, 1,000 samples, split
70/15/15), *position* and *pose* (the same network trained on in the task space, back-propagation through the
kinematics). Errors of the end effector are in % of the reach; the circle is that of the paper's kind (centre 2.5, 2.5,
radius 0.75, heading 0.2). A correlation R near 1 says little: look at the end effector.

``--study`` trains more of them (a minute or two): a network that is told (x, y) only, which is no function of them;
deep against wide at about equal numbers of parameters, the mean and the range over three starts and data sets; and an
ensemble of five, which begin as the bundled ones do (Nguyen and Widrow) and not as the others do (Xavier).

No seed here is used in training. Exits with status 1 where a target figure is missed.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from planararm import make_policy
from planararm.errors import WeightsError
from planararm.learning.duka import (
    JointResiduals,
    PoseData,
    Problem,
    circle_poses,
    draw_poses,
    input_range,
    train_networks,
)
from planararm.nn import Ensemble, levenberg_marquardt, mlp
from planararm.policies.numpy_mlp import PoseNetwork, duka_arm

FRESH_SEED = 990_001
TARGETS = {"joint": (2.7, None, None), "position": (0.1, None, 0.1), "pose": (0.5, 0.01, 0.5)}
"""Largest mean error [%], orientation error [rad], largest error on the circle [%]."""

STARTS = 3

CONSOLE = Console(width=None if sys.stdout.isatty() else 120)


def miss(q: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Distance of the end effector, % of the reach."""
    arm = duka_arm()
    heading = np.cumsum(q, axis=1)
    end = np.stack([(arm.link_lengths * np.cos(heading)).sum(1), (arm.link_lengths * np.sin(heading)).sum(1)], axis=1)
    return 100 * np.linalg.norm(end / arm.reach - pose[:, :2], axis=1)


def bundled(data: PoseData) -> bool:
    """The three bundled networks."""
    try:
        networks = make_policy("numpy-mlp").networks
    except WeightsError as error:
        print(f"numpy-mlp is left out: {error}")
        return False
    fine, arm, circle = True, duka_arm(), circle_poses()
    table = Table(title=f"numpy-mlp on {len(data.q):,} fresh poses, end effector in % of the reach")
    for column in ("network", "R", "mean", "median", "p95", "turn", "limits", "circle", "largest"):
        table.add_column(column, justify="right")
    for kind, net in networks.items():
        q, on_circle = net(data.pose), miss(net(circle), circle)
        error, turn = miss(q, data.pose), np.abs(q.sum(axis=1) - data.pose[:, 2]).mean()
        beyond = (np.abs(q - arm.clip(q)) > 1e-9).any(axis=1).mean()
        correlation = np.corrcoef(q.ravel(), data.q.ravel())[0, 1]
        wanted = TARGETS[kind]
        table.add_row(
            kind, f"{correlation:.4f}", f"{error.mean():.3f}", f"{np.median(error):.3f}",
            f"{np.quantile(error, 0.95):.3f}", f"{turn:.4f}", f"{100 * beyond:.2f}", f"{on_circle.mean():.3f}",
            f"{on_circle.max():.3f}",
        )  # fmt: skip
        measured = (error.mean(), turn, on_circle.max())
        fine &= all(w is None or m <= w for m, w in zip(measured, wanted, strict=True))
        fine &= kind != "joint" or correlation >= 0.99
    CONSOLE.print(table)
    print("turn: mean orientation error [rad]; limits: % of answers beyond them; largest: on the circle")
    for kind, wanted in TARGETS.items():
        named = zip(("mean", "turn", "largest"), wanted, strict=True)
        print(f"target of {kind}: " + ", ".join(f"{name} <= {w}" for name, w in named if w is not None))
    return bool(fine)


def fit_joint(net: PoseNetwork, inputs: int, data: PoseData, held_out: PoseData) -> None:
    """Levenberg-Marquardt on joint angles with the first ``inputs`` of x, y, phi."""
    problems = [Problem(net, JointResiduals(net, part)) for part in (data, held_out)]
    for problem in problems:
        problem.inputs = problem.inputs[:, :inputs]
    train, check = problems
    found = levenberg_marquardt(
        train.equations, train.square, net.network.get_vector(), validation=check.mean, max_iterations=200
    )
    net.network.set_vector(found.theta)


def study(data: PoseData) -> None:
    """What the inputs, an ensemble and depth change."""
    limits = duka_arm().joint_limits
    table = Table(title="The same training, other networks")
    for column in ("network", "parameters", "mean", "from, to", "median", "p95"):
        table.add_column(column, justify="right")

    def row(name: str, parameters: int, errors: np.ndarray) -> None:
        means = errors.mean(axis=1)
        cells = (np.median(errors, axis=1).mean(), np.quantile(errors, 0.95, axis=1).mean())
        spread = f"{means.min():.2f}, {means.max():.2f}" if len(means) > 1 else ""
        table.add_row(name, str(parameters), f"{means.mean():.2f}", spread, *(f"{cell:.2f}" for cell in cells))

    for inputs, sizes in ((2, (100,)), (3, (100,)), (3, (22, 22)), (3, (16, 16, 16))):
        errors = []
        for start in range(STARTS):
            rng = np.random.default_rng([990_002, start])
            net = PoseNetwork(mlp((inputs, *sizes, 3), "tanh", rng=rng), input_range(), limits)
            fit_joint(net, inputs, draw_poses([990_003, start], 700), draw_poses([990_004, start], 150))
            q = net.angles(net.network.forward(net.scaled(data.pose)[:, :inputs]))
            errors.append(miss(q, data.pose))
        name = f"{'x, y' if inputs == 2 else 'x, y, phi'} -> {'-'.join(map(str, sizes))} -> q"
        row(name, net.network.num_parameters, np.array(errors))

    members = [train_networks(seed, kinds=())["joint"] for seed in range(1, 6)]
    errors = np.array([miss(member(data.pose), data.pose) for member in members])
    q, spread = Ensemble(members).predict(data.pose)
    combined = miss(q, data.pose)
    row("one of five, on average", members[0].network.num_parameters, errors)
    row("mean of the five", 5 * members[0].network.num_parameters, combined[None])
    CONSOLE.print(table)
    print(f"correlation of the ensemble's spread with its error: {np.corrcoef(np.sqrt(spread), combined)[0, 1]:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=5_000)
    parser.add_argument("--study", action="store_true", help="train further networks to compare with")
    options = parser.parse_args()
    data = draw_poses(FRESH_SEED, options.poses)
    fine = bundled(data)
    if options.study:
        study(data)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
