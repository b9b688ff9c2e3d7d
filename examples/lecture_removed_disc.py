"""Removing a disc from the training data does not make a network avoid it; a projection behind it does.

python examples/lecture_removed_disc.py
python examples/lecture_removed_disc.py --center 1 4 --radius 0.6 --samples 10000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_common import COLORS, answer, color, figure_of, label, parser, save, table

from planararm import Obstacles, PlanarArm, Scene, clearance, make_arm, project, reachability
from planararm.errors import InvalidInputError
from planararm.nn.layers import Linear, Tanh
from planararm.nn.losses import mean_squared_error
from planararm.nn.network import Network
from planararm.nn.optimisers import Adam
from planararm.nn.schedules import cosine
from planararm.nn.training import fit
from planararm.rendering.palette import PALETTE

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HIDDEN, BATCH, LEARNING_RATE = 100, 256, 0.01
RESAMPLES = 2000
REACHED = 1e-3
"""Distance to the target that counts as reached, fraction of the reach."""

HELP = """The lecture put a disc in the arm's way by leaving it out of the training data. Here the arm is Duka's (three
links of 2 m, narrow joint ranges), the network 2-100-3 from target to joint angles, and the training data are drawn

  all       at random
  effector  at random, without those whose end effector is in the disc
  links     at random, without those of which any link touches the disc

each with the same number of samples. The network learns the joint angles of the samples (regression), or to put the
end effector on the target (task: back-propagation through the kinematics). It is asked for fresh targets outside the
disc, to each of which a free configuration is known to exist, and for targets inside. Counted are the answers whose
arm touches the disc. The difference to training on all data is paired: same targets, same first weights; its interval
is a bootstrap over targets and seeds. The last two columns: the same answers behind planararm.project."""

CUTS = ("all", "effector", "links")
SIGNALS = ("regression", "task")


class Answers(NamedTuple):
    """What one way of training leads to.

    Attributes:
        touches: ``(seeds, targets)`` whether the answer's arm touches the disc, targets outside it.
        touches_inside: ``(seeds, targets)`` the same for targets inside.
        error: Mean distance of the end effector to the target, fraction of the reach.
        samples_inside: Training samples that the cut should have removed and did not.
        difference: Share of touching answers minus that of training on all data.
        interval: Of the difference, 95 %.
        touches_projected: Answers that touch after the projection, of all targets, inside and outside.
        error_projected: Mean distance to the target after the projection alone, fraction of the reach.
        reached_projected: Share of the targets outside that are reached after the projection with the target.
    """

    touches: BoolArray
    touches_inside: BoolArray
    error: float
    samples_inside: int
    difference: float
    interval: tuple[float, float]
    touches_projected: int
    error_projected: float
    reached_projected: float


class Setting(NamedTuple):
    """Arm, disc and targets.

    Attributes:
        scene: Duka's arm and the disc.
        outside: ``(targets, 2)`` reachable by a free configuration, outside the disc [m].
        inside: ``(targets, 2)`` inside the disc [m].
    """

    scene: Scene
    outside: FloatArray
    inside: FloatArray

    @property
    def arm(self) -> PlanarArm:
        """Duka's arm."""
        return self.scene.arm

    def in_disc(self, points: FloatArray) -> BoolArray:
        """``(*batch,)`` whether points lie in the disc."""
        obstacles = self.scene.obstacles
        return np.asarray(np.linalg.norm(points - obstacles.centers[0], axis=-1) <= obstacles.radii[0])

    def touches(self, q: FloatArray) -> BoolArray:
        """``(*batch,)`` whether any link touches the disc."""
        return np.asarray(clearance(q, self.arm, self.scene.obstacles) <= 0)


def random_configurations(arm: PlanarArm, rng: np.random.Generator, count: int) -> FloatArray:
    """``(count, n)`` uniform within the joint limits [rad]."""
    return rng.uniform(*arm.joint_limits.T, (count, arm.num_joints))


def make_setting(given: argparse.Namespace) -> Setting:
    """Draw the targets."""
    scene = Scene(make_arm("duka"), Obstacles([given.center], [given.radius]))
    rng = np.random.default_rng([given.seed, 1])
    candidates = np.asarray(scene.arm.end_effector(random_configurations(scene.arm, rng, 4 * given.targets)))
    setting = Setting(scene, candidates, candidates)
    candidates = candidates[~setting.in_disc(candidates)]
    outside = candidates[reachability(candidates, scene).verdict == 1][: given.targets]
    if len(outside) < given.targets:
        raise InvalidInputError(
            f"Only {len(outside)} of {given.targets} targets outside the disc (center {given.center}, radius "
            f"{given.radius}) can be reached without touching it; give a smaller disc or one further from the base."
        )
    angle, share = rng.uniform(0, 2 * np.pi, given.targets // 4), rng.uniform(0, 1, given.targets // 4)
    around = given.radius * np.sqrt(share)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return Setting(scene, outside, np.asarray(given.center) + around)


def training_data(setting: Setting, cut: str, rng: np.random.Generator, count: int) -> FloatArray:
    """``(count, n)`` joint angles [rad], the first of a random stream that the cut leaves over."""
    kept = np.empty((0, setting.arm.num_joints))
    while len(kept) < count:
        q = random_configurations(setting.arm, rng, count)
        if cut == "effector":
            q = q[~setting.in_disc(np.asarray(setting.arm.end_effector(q)))]
        elif cut == "links":
            q = q[~setting.touches(q)]
        if len(q) == 0:
            raise InvalidInputError("No random configuration is left over: the disc is too large or too near the base.")
        kept = np.concatenate([kept, q])
    return kept[:count]


class Policy:
    """A network from a target to joint angles; the last tanh, scaled, keeps them within the joint limits.

    Args:
        arm: The arm.
        rng: Draws the weights.
    """

    def __init__(self, arm: PlanarArm, rng: np.random.Generator) -> None:
        self.arm = arm
        self.middle = arm.joint_limits.mean(axis=-1)
        self.half = np.ptp(arm.joint_limits, axis=-1) / 2
        self.network = Network(Linear(2, HIDDEN, rng=rng), Tanh(), Linear(HIDDEN, arm.num_joints, rng=rng), Tanh())

    def __call__(self, target: FloatArray) -> FloatArray:
        """Joint angles ``(batch, n)`` [rad] for targets ``(batch, 2)`` [m]."""
        return self.middle + self.half * self.network.forward(target / self.arm.reach)

    def task_loss(self, outputs: FloatArray, target: FloatArray) -> tuple[float, FloatArray]:
        """Mean squared distance to the target, and back-propagation through the kinematics: ``J^T`` error."""
        q = self.middle + self.half * outputs
        error = np.asarray(self.arm.end_effector(q)) - target
        grad_q = np.einsum("bij,bi->bj", np.asarray(self.arm.jacobian(q)), error) * (2 / len(q))
        return float(np.mean(np.sum(error**2, axis=-1))), grad_q * self.half

    def learn(self, q: FloatArray, signal: str, rng: np.random.Generator, num_epochs: int) -> None:
        """Fit to samples, by their joint angles or by their end effectors only."""
        target = np.asarray(self.arm.end_effector(q))
        wanted = (q - self.middle) / self.half if signal == "regression" else target
        fit(
            self.network,
            mean_squared_error if signal == "regression" else self.task_loss,
            Adam(self.network, LEARNING_RATE),
            target / self.arm.reach,
            wanted,
            num_epochs=num_epochs,
            batch_size=BATCH,
            schedule=cosine(num_epochs * -(-len(q) // BATCH)),
            rng=rng,
        )


def bootstrap(difference: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean of ``(seeds, targets)``, both resampled."""
    num_seeds, num_targets = difference.shape
    means = []
    for _ in range(RESAMPLES):
        rows = difference[rng.integers(num_seeds, size=num_seeds)].mean(axis=0)
        means.append(rows[rng.integers(num_targets, size=num_targets)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def evaluate(given: argparse.Namespace, setting: Setting, cut: str, signal: str, base: BoolArray | None) -> Answers:
    """Train one network per seed and look at its answers.

    Args:
        given: The command line.
        setting: Arm, disc and targets.
        cut: What the training data lack.
        signal: What the network learns from.
        base: ``touches`` of training on all data; None: this is it.
    """
    arm, scene = setting.arm, setting.scene
    outside, inside, inside_count = [], [], 0
    for i in range(given.num_seeds):
        q = training_data(setting, cut, np.random.default_rng([given.seed, 2, i]), given.samples)
        removed = setting.in_disc(np.asarray(arm.end_effector(q))) if cut == "effector" else setting.touches(q)
        inside_count += int(removed.sum())
        policy = Policy(arm, np.random.default_rng([given.seed, 3, i]))
        policy.learn(q, signal, np.random.default_rng([given.seed, 4, i]), given.epochs)
        outside.append(policy(setting.outside))
        inside.append(policy(setting.inside))
    q_out, q_in = np.array(outside), np.array(inside)
    touches = setting.touches(q_out)
    difference = touches.astype(float) - (touches if base is None else base)
    alone = project(np.concatenate([q_out, q_in], axis=1), scene).q
    on_target = project(q_out, scene, target_position=setting.outside)

    def distance(q: FloatArray) -> FloatArray:
        return np.linalg.norm(np.asarray(arm.end_effector(q)) - setting.outside, axis=-1) / arm.reach

    return Answers(
        touches, setting.touches(q_in), float(distance(q_out).mean()), inside_count, float(difference.mean()),
        bootstrap(difference, np.random.default_rng([given.seed, 5])),
        int(setting.touches(alone).sum() + setting.touches(on_target.q).sum()),
        float(distance(alone[:, : len(setting.outside)]).mean()),
        float((distance(on_target.q) <= REACHED).mean()),
    )  # fmt: skip


def _disc(axes: Any, setting: Setting) -> None:
    from matplotlib.patches import Circle

    center, radius = setting.scene.obstacles.centers[0], setting.scene.obstacles.radii[0]
    axes.add_patch(Circle(center, radius, facecolor=color(PALETTE["obstacle"]), alpha=0.35, zorder=3))


def draw(given: argparse.Namespace, setting: Setting, answers: dict[tuple[str, str], Answers]) -> Path:
    """The hole in the data, the arms that go through it, and the rates."""
    figure, grid = figure_of(1, 3, (10.4, 3.6), width_ratios=(1, 1, 1.15))
    first, second, third = grid[0]
    arm, rng = setting.arm, np.random.default_rng([given.seed, 2, 0])
    q = training_data(setting, "effector", rng, given.samples)
    first.plot(*np.asarray(arm.end_effector(q[:1500])).T, ".", markersize=2, color=COLORS[0])
    label(first, "Training data without the disc", "x [m]", "y [m]")
    policy = Policy(arm, np.random.default_rng([given.seed, 3, 0]))
    policy.learn(q, "regression", np.random.default_rng([given.seed, 4, 0]), given.epochs)
    found = policy(setting.outside)
    bad = found[setting.touches(found)]
    for i, chain in enumerate(np.asarray(arm.forward_kinematics(bad[:: max(1, len(bad) // 12)]))[:12]):
        second.plot(*chain.T, "-", color=COLORS[1], linewidth=1.1, alpha=0.8, label=None if i else "arm that touches")
        second.plot(*chain[-1], "o", color=COLORS[1], markersize=3.5)
    label(second, "Some of its answers, targets outside", "x [m]", "y [m]")
    for axes in (first, second):
        _disc(axes, setting)
        axes.set(xlim=(-6.2, 6.2), ylim=(-5.2, 6.2), aspect="equal")
    second.legend(fontsize=8, frameon=False, loc="lower left")
    _bars(third, answers)
    return save(figure, given.out, "lecture-removed-disc")


def _bars(axes: Any, answers: dict[tuple[str, str], Answers]) -> None:
    """Share of touching answers, a dot per seed."""
    for i, signal in enumerate(SIGNALS):
        for j, cut in enumerate(CUTS):
            x, rates = j + 0.4 * i - 0.2, answers[signal, cut].touches.mean(axis=-1)
            look = {"color": COLORS[3 * i], "alpha": 0.55, "hatch": "//" if i else None}
            axes.bar(x, rates.mean(), width=0.36, label=signal if j == 0 else None, **look)
            axes.plot(np.full(rates.size, x), rates, "o", markersize=3.5, color=COLORS[3 * i])
    axes.set_xticks([*range(len(CUTS)), len(CUTS)], [*CUTS, "projected"], fontsize=8.5)
    axes.text(len(CUTS), 0.002, "0", ha="center", fontsize=11, color=color(PALETTE["text"]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(fontsize=8, frameon=False, title="learns by", title_fontsize=8, loc="upper right")
    axes.set_xlim(-0.5, len(CUTS) + 0.5)
    highest = max(found.touches.mean(axis=-1).max() for found in answers.values())
    axes.set_ylim(0, 1.35 * highest + 0.01)
    axes.set_yticks(np.arange(0, 1.35 * highest + 0.01, 0.05))
    label(axes, "Answers that touch, targets outside", "removed from the training data", "share of answers")


def run(given: argparse.Namespace) -> dict[tuple[str, str], Answers]:
    """Train, count, draw, print.

    Returns:
        By signal and cut.
    """
    setting = make_setting(given)
    answers: dict[tuple[str, str], Answers] = {}
    for signal in SIGNALS:
        for cut in CUTS:
            base = answers[signal, "all"].touches if (signal, "all") in answers else None
            answers[signal, cut] = evaluate(given, setting, cut, signal, base)
    rows = [
        (
            f"{signal}, {cut}", a.samples_inside, f"{a.error:.2%}", f"{a.touches.mean():.2%}",
            f"{a.difference:+.2%} [{a.interval[0]:+.2%}, {a.interval[1]:+.2%}]", f"{a.touches_inside.mean():.1%}",
            a.touches_projected, f"{a.reached_projected:.2%}",
        )
        for (signal, cut), a in answers.items()
    ]  # fmt: skip
    header = (
        "learns by, cut", "samples in it", "error / reach", "touch", "difference to all [95 %]", "touch, inside",
        "projected: touch", "reached",
    )  # fmt: skip
    print(f"{given.num_seeds} seeds, {given.samples} samples each, {len(setting.outside)} fresh targets outside")
    print(table(header, rows))
    print(draw(given, setting, answers))
    return answers


def main(arguments: Sequence[str] | None = None) -> dict[tuple[str, str], Answers]:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--center", type=float, nargs=2, default=(2.0, 3.0), metavar=("X", "Y"), help="of the disc [m]")
    made.add_argument("--radius", type=float, default=0.8, help="of the disc [m]; default %(default)s")
    made.add_argument("--samples", type=int, default=4000, help="to train on; default %(default)s")
    made.add_argument("--targets", type=int, default=4000, help="outside the disc; default %(default)s")
    made.add_argument("--epochs", type=int, default=300, help="default %(default)s")
    made.add_argument("--num-seeds", type=int, default=6, help="of weights and data; default %(default)s")
    given = made.parse_args(arguments)
    for name, least in (("samples", 1), ("targets", 4), ("epochs", 1), ("num_seeds", 1)):
        if getattr(given, name) < least:
            made.error(f"--{name.replace('_', '-')} must be >= {least}, got {getattr(given, name)}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
