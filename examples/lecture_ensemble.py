"""Several networks are better than one, and where they disagree they are wrong.

python examples/lecture_ensemble.py
python examples/lecture_ensemble.py --members 16 --samples 1000
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lecture_bias_variance import ARM, draw_task, train
from lecture_common import COLORS, MARKERS, answer, figure_of, label, parser, save, table

from planararm.nn.ensembles import Ensemble
from planararm.nn.network import Network

FloatArray = npt.NDArray[np.float64]

NUM_BINS = 8
HELP = """Networks answer (x, y, orientation) of Duka's arm with directions, cosine and sine of every joint angle. Each
is trained on a resampling of the same few samples. The mean of the directions in which their links point is compared
with the members, and with the mean of their raw angles: one turn apart is the same place, but not the same number.

The spread of the members' link directions, written as a circular standard deviation, is set against the error,
over the distance from base to wrist. At both ends of it the arm is singular: folded back (the first joint may be
anywhere) and stretched (where the elbow's angle changes fastest)."""


class Flock(NamedTuple):
    """An ensemble and its members.

    Attributes:
        member_errors: ``(members,)`` mean end-effector error, fraction of the reach.
        error: That of the ensemble.
        raw_error: That of the mean of the members' raw angles.
        joint_error: ``(targets,)`` largest joint error of the ensemble [rad].
        effector_error: ``(targets,)`` end-effector error, fraction of the reach.
        spread: ``(targets,)`` largest spread of a link's direction, 0 (all agree) to 1.
        wrist: ``(targets,)`` distance of the wrist from the base [m].
    """

    member_errors: FloatArray
    error: float
    raw_error: float
    joint_error: FloatArray
    effector_error: FloatArray
    spread: FloatArray
    wrist: FloatArray

    @property
    def deviation(self) -> FloatArray:
        """``(targets,)`` the spread as a circular standard deviation [rad], ``sqrt(-2 log(1 - spread))``."""
        return np.sqrt(-2 * np.log1p(-self.spread))

    def correlation(self, error: FloatArray) -> float:
        """Of the deviation and an error."""
        return float(np.corrcoef(self.deviation, error)[0, 1])

    def by_wrist(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean distance of the wrist [m] and mean of the values in bins of equally many targets."""
        order = np.array_split(np.argsort(self.wrist), NUM_BINS)
        return np.array([self.wrist[i].mean() for i in order]), np.array([values[i].mean() for i in order])


def directions(q: FloatArray) -> FloatArray:
    """``(batch, 6)``: cosine and sine of every joint angle."""
    return np.concatenate([np.cos(q), np.sin(q)], axis=-1)


def joint_angles(network: Network, x: FloatArray) -> FloatArray:
    """``(batch, 3)`` [rad] from a network's cosines and sines."""
    outputs = network.forward(x)
    return np.arctan2(outputs[:, 3:], outputs[:, :3])


def study(given: argparse.Namespace) -> Flock:
    """Networks with directions as outputs, each trained on a resampling of the data; their mean direction."""
    test = draw_task(np.random.default_rng([given.seed, 1]), 4000)
    rng = np.random.default_rng([given.seed, 8])
    data, networks = draw_task(rng, given.samples), []
    for i in range(given.members):
        chosen = rng.integers(given.samples, size=given.samples)
        x, y = data.x[chosen], directions(data.q[chosen])
        networks.append(train([3, 30, 30, 30, 6], x, y, given.steps, 0.01, [given.seed, 9, i]))
    target = np.asarray(ARM.end_effector(test.q))

    def effector_error(q: FloatArray) -> FloatArray:
        return np.linalg.norm(np.asarray(ARM.end_effector(q)) - target, axis=-1) / ARM.reach

    members = [functools.partial(joint_angles, network) for network in networks]
    angles = np.array([member(test.x) for member in members])
    q, spread = Ensemble(members).predict(test.x)
    off = np.abs(np.angle(np.exp(1j * (q - test.q)))).max(axis=-1)
    wrist = np.asarray(ARM.forward_kinematics(test.q))[:, -2]
    return Flock(
        effector_error(angles).mean(axis=-1), float(effector_error(q).mean()),
        float(effector_error(angles.mean(axis=0)).mean()), off, effector_error(q), spread,
        np.linalg.norm(wrist, axis=-1),
    )  # fmt: skip


def draw(out: Path, flock: Flock) -> Path:
    """Errors of the members, the ensemble, the raw mean; spread and error over the wrist's distance."""
    figure, grid = figure_of(1, 2, (9.2, 3.4), width_ratios=(1, 1.3))
    left, right = grid[0]
    left.bar(np.arange(1, flock.member_errors.size + 1), flock.member_errors, color=COLORS[0], alpha=0.7, width=0.7)
    left.axhline(flock.member_errors.mean(), color=COLORS[6], linestyle=":", label="mean of the members")
    left.axhline(flock.raw_error, color=COLORS[1], linestyle="--", label="mean of raw angles")
    left.axhline(flock.error, color=COLORS[2], linewidth=2, label="mean of directions")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.set_ylim(0, 1.4 * max(flock.raw_error, flock.member_errors.max()))
    left.legend(fontsize=8, frameon=False, loc="upper left")
    label(left, "End effector", "member", "mean error, share of the reach")
    look = {"markersize": 5, "linewidth": 1.5}
    wrist, off = flock.by_wrist(flock.joint_error)
    right.plot(wrist, off, "-", marker=MARKERS[0], color=COLORS[0], label="joint error of the ensemble", **look)
    wrist, spread = flock.by_wrist(flock.deviation)
    right.plot(wrist, spread, "--", marker=MARKERS[1], color=COLORS[1], label="spread of the members", **look)
    right.set_ylim(0, None)
    right.legend(fontsize=8, frameon=False, loc="upper center")
    label(
        right, "The spread knows where: folded 0, stretched 4", "distance of the wrist from the base [m]", "mean [rad]"
    )
    return save(figure, out, "lecture-ensemble")


def run(given: argparse.Namespace) -> Flock:
    """Train, compare, draw, print."""
    flock = study(given)
    members = flock.member_errors
    rows = [
        ("members: best, mean, worst", f"{members.min():.2%}, {members.mean():.2%}, {members.max():.2%}"),
        ("mean of directions", f"{flock.error:.2%}"),
        ("mean of raw angles", f"{flock.raw_error:.2%}"),
    ]
    print(table(("mean end-effector error, share of the reach", ""), rows))
    print(
        f"correlation of the spread with the joint error {flock.correlation(flock.joint_error):.2f}, "
        f"with the end-effector error {flock.correlation(flock.effector_error):.2f}"
    )
    wrist, off = flock.by_wrist(flock.joint_error)
    rows = [
        (f"{a:.2f}", f"{b:.4f}", f"{c:.3f}")
        for a, b, c in zip(wrist, flock.by_wrist(flock.deviation)[1], off, strict=True)
    ]
    print(table(("wrist [m]", "spread [rad]", "joint error [rad]"), rows))
    print(draw(given.out, flock))
    return flock


def main(arguments: Sequence[str] | None = None) -> Flock:
    """Read the command line and run the example.

    Args:
        arguments: The command line; None: that of the program.
    """
    made = parser(HELP)
    made.add_argument("--members", type=int, default=8, help="networks; default %(default)s")
    made.add_argument("--samples", type=int, default=300, help="to train on; default %(default)s")
    made.add_argument("--steps", type=int, default=3000, help="of Adam; default %(default)s")
    given = made.parse_args(arguments)
    for name, least in (("members", 2), ("samples", 1), ("steps", 1)):
        if getattr(given, name) < least:
            made.error(f"--{name} must be >= {least}, got {getattr(given, name)}")
    return answer(made, given, lambda: run(given))


if __name__ == "__main__":
    main()
