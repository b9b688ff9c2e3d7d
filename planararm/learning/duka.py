"""Training of ``numpy-mlp``: the Duka network on joint angles, then through the forward kinematics.

Three networks of the same size, one after the other, all by Levenberg-Marquardt:

* ``joint``: 1,000 random configurations, split 70/15/15, error in the joint angles, as in the paper.
* ``position`` and ``pose``: from there on, with the error in the task space. The residual is
  ``r = (p(q) - p*) / reach`` (for ``pose`` also ``phi(q) - phi*``), and the chain rule goes through the arm,
  ``dr/dtheta = J(q) dq/dtheta``, with the Jacobian of the kinematics.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arm import FloatArray, make_arm
from ..errors import InvalidInputError
from ..nn import LevenbergMarquardt, normal_equations, split
from ..policies.numpy_mlp import (
    HIDDEN,
    KINDS,
    PoseNetwork,
    duka_arm,
    networks_from,
    new_pose_network,
    tensors_of,
)
from ..policies.pretrained import load_pretrained
from ..validate import exact_array, whole_number

NUM_JOINT_SAMPLES, NUM_TASK_SAMPLES, NUM_VALIDATION = 1_000, 4_000, 1_000
ITERATIONS = {"joint": 200, "position": 700, "pose": 350}
PATIENCE = {"joint": 6, "position": 25, "pose": 25}
ORIENTATION_WEIGHT = {"position": 0.0, "pose": 0.25}
"""Reaches per radian: what an error in the orientation counts against one in the position."""
LIMIT_WEIGHT = {"position": 0.003, "pose": 0.05}
"""The same for what an angle is beyond its limit."""
BLOCK = 500
"""Rows whose Jacobian is in memory at once."""

CIRCLE_CENTER, CIRCLE_RADIUS, CIRCLE_HEADING = (2.5, 2.5), 0.75, 0.2


@dataclass(frozen=True)
class PoseData:
    """Configurations and their poses.

    Attributes:
        q: ``(N, 3)`` [rad].
        pose: ``(N, 3)`` x and y as fractions of the reach, phi = sum of q [rad].
    """

    q: FloatArray
    pose: FloatArray


def draw_poses(seed: Any, count: int) -> PoseData:
    """Uniformly drawn configurations within the joint limits, and their poses.

    Args:
        seed: For :func:`numpy.random.default_rng`.
        count: N.
    """
    arm, rng = duka_arm(), np.random.default_rng(seed)
    q = rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (count, 3))
    return PoseData(q, np.concatenate([np.asarray(arm.end_effector(q)) / arm.reach, q.sum(1, keepdims=True)], axis=1))


def circle_poses(count: int = 200) -> FloatArray:
    """The circle of the tracking test: ``(count, 3)`` poses like :class:`PoseData`'s."""
    arm, angle = duka_arm(), np.linspace(0, 2 * np.pi, count, endpoint=False)
    x, y = CIRCLE_CENTER
    points = np.stack([x + CIRCLE_RADIUS * np.cos(angle), y + CIRCLE_RADIUS * np.sin(angle)], axis=1) / arm.reach
    return np.concatenate([points, np.full((count, 1), CIRCLE_HEADING)], axis=1)


class JointResiduals:
    """Residuals ``output - scaled q`` and their derivatives."""

    def __init__(self, net: PoseNetwork, data: PoseData) -> None:
        self.net, self.data = net, data

    def __call__(self, output: FloatArray, rows: slice) -> FloatArray:
        """``(batch, 3)`` from the network's output."""
        middle = self.net.joint_limits.mean(axis=1)
        return np.asarray(output - (self.data.q[rows] - middle) / self.net.angle_scale)

    def by_output(self, output: FloatArray, rows: slice) -> FloatArray:
        """``dr / doutput (batch, 3, 3)``."""
        return np.broadcast_to(np.eye(3), (len(output), 3, 3))


class TaskResiduals:
    """Residuals in the task space: position, orientation, and what is beyond the joint limits.

    Args:
        net: The network.
        data: Poses to be met.
        orientation_weight: Reaches per radian of orientation error; 0: free.
        limit_weight: Reaches per radian beyond a joint limit.
    """

    def __init__(self, net: PoseNetwork, data: PoseData, orientation_weight: float, limit_weight: float) -> None:
        self.net, self.data = net, data
        self.orientation_weight, self.limit_weight = orientation_weight, limit_weight
        self.arm = duka_arm()

    def __call__(self, output: FloatArray, rows: slice) -> FloatArray:
        """``(batch, 6)``: 2 of the position, 1 of the orientation, 3 of the limits."""
        q, pose = self.net.angles(output), self.data.pose[rows]
        position = np.asarray(self.arm.end_effector(q)) / self.arm.reach - pose[:, :2]
        heading = self.orientation_weight * (q.sum(axis=1, keepdims=True) - pose[:, 2:])
        return np.concatenate([position, heading, self.limit_weight * (q - self.arm.clip(q))], axis=1)

    def by_output(self, output: FloatArray, rows: slice) -> FloatArray:
        """``dr / doutput (batch, 6, 3)``: the Jacobian of the arm times the scale of the angles."""
        q = self.net.angles(output)
        beyond = self.limit_weight * (q != self.arm.clip(q))
        by_angle = np.concatenate(
            [
                np.asarray(self.arm.jacobian(q)) / self.arm.reach,
                np.full((len(q), 1, 3), self.orientation_weight),
                beyond[:, :, None] * np.eye(3),
            ],
            axis=1,
        )
        return np.asarray(by_angle * self.net.angle_scale)


Residuals = JointResiduals | TaskResiduals


class Problem:
    """Least squares over the parameters of one network.

    Args:
        net: Changed in place.
        residuals: Of the network's output.
    """

    def __init__(self, net: PoseNetwork, residuals: Residuals) -> None:
        self.net, self.residuals = net, residuals
        self.inputs = net.scaled(residuals.data.pose)

    def square(self, theta: FloatArray) -> float:
        """Sum of squares."""
        self.net.network.set_vector(theta)
        off = self.residuals(self.net.network.forward(self.inputs), slice(None))
        return float((off * off).sum())

    def mean(self, theta: FloatArray) -> float:
        """Mean over the rows of the sum of squares."""
        return self.square(theta) / len(self.inputs)

    def equations(self, theta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """``r^T r``, ``J^T r``, ``J^T J``; see :func:`planararm.nn.normal_equations`."""
        self.net.network.set_vector(theta)
        return normal_equations(self._blocks(), len(theta))

    def _blocks(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        for first in range(0, len(self.inputs), BLOCK):
            rows = slice(first, first + BLOCK)
            jacobian = self.net.network.output_jacobian(self.inputs[rows])
            output = self.net.network.forward(self.inputs[rows])
            chained = self.residuals.by_output(output, rows) @ jacobian
            yield self.residuals(output, rows).ravel(), chained.reshape(-1, jacobian.shape[-1])


def make_search(kind: str, net: PoseNetwork, seed: int) -> LevenbergMarquardt:
    """The search for one network's parameters.

    Args:
        kind: ``"joint"``, ``"position"`` or ``"pose"``.
        net: Where it begins; changed in place.
        seed: Of the data.
    """
    if kind == "joint":
        data = draw_poses([seed, 0], NUM_JOINT_SAMPLES)
        parts = split(NUM_JOINT_SAMPLES, rng=np.random.default_rng([seed, 1]))
        train, held_out = (PoseData(data.q[part], data.pose[part]) for part in parts[:2])
        residuals: Callable[[PoseData], Residuals] = lambda part: JointResiduals(net, part)  # noqa: E731
    else:
        train, held_out = draw_poses([seed, 2], NUM_TASK_SAMPLES), draw_poses([seed, 3], NUM_VALIDATION)
        residuals = lambda part: TaskResiduals(net, part, ORIENTATION_WEIGHT[kind], LIMIT_WEIGHT[kind])  # noqa: E731
    problem, check = Problem(net, residuals(train)), Problem(net, residuals(held_out))
    return LevenbergMarquardt(
        problem.equations, problem.square, net.network.get_vector(), validation=check.mean, patience=PATIENCE[kind]
    )


def input_range() -> FloatArray:
    """``(2, 3)`` what the inputs are scaled from: the annulus and all sums of the joint limits."""
    low, high = duka_arm().joint_limits.sum(axis=0)
    return np.array([[-1.0, -1.0, low], [1.0, 1.0, high]])


def train_networks(
    seed: int = 0, *, kinds: tuple[str, ...] = KINDS, progress: Callable[[str, int, float], None] | None = None
) -> dict[str, PoseNetwork]:
    """Train the networks, each from where ``joint`` ended.

    Args:
        seed: Of weights and data.
        kinds: Which; ``"joint"`` is trained in any case.
        progress: Called with the kind, the iteration and the validation error.
    """
    networks: dict[str, PoseNetwork] = {}
    for kind in ("joint", *(k for k in kinds if k != "joint")):
        net = new_pose_network(np.random.default_rng([seed, 4]), input_range())
        if kind != "joint":
            net.network.set_vector(networks["joint"].network.get_vector())
        search = make_search(kind, net, seed)
        while search.num_steps < ITERATIONS[kind] and search.step():
            if progress is not None:
                progress(kind, search.num_steps, search.result.validation_error[-1])
        net.network.set_vector(search.result.theta)
        networks[kind] = net
    return networks


def weights_of(networks: dict[str, PoseNetwork]) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Tensors and config of trained networks, for :func:`planararm.policies.pretrained.save_pretrained`."""
    arm = duka_arm()
    described = {"link_lengths": arm.link_lengths.tolist(), "joint_limits": arm.joint_limits.tolist()}
    hidden = len(networks["joint"].network.parameters["0.bias"])
    return tensors_of(networks), {"policy": "numpy-mlp", "arm": described, "num_hidden": hidden}


class DukaTrainee:
    """The three networks in training, as :class:`planararm.learning.run.Trainee`; a step is one of Levenberg-Marquardt.

    The networks that come out are those of :func:`train_networks`.

    Args:
        seed: Of weights and data.
        steps: Iterations at most, divided among the three like :data:`ITERATIONS`; a network that is done earlier
            leaves the others theirs.
        start: Networks to begin with; None: ``joint`` from random weights, the others from where ``joint`` ended.
        num_hidden: Hidden units, without ``start``.
    """

    def __init__(
        self,
        seed: int = 0,
        steps: int = sum(ITERATIONS.values()),
        *,
        start: Mapping[str, PoseNetwork] | None = None,
        num_hidden: int = HIDDEN,
    ) -> None:
        self.num_steps = whole_number("steps", steps, len(KINDS), 10**9)
        self.seed, self.step_count, self.stage = seed, 0, 0
        self._given = start is not None
        self._net = new_pose_network(np.random.default_rng([seed, 4]), input_range(), num_hidden)
        begin = self._net.network.get_vector()
        self._best = {kind: begin if start is None else start[kind].network.get_vector() for kind in KINDS}
        if start is not None:
            self._net = start["joint"]
        edges = np.round(np.cumsum([0, *ITERATIONS.values()]) * (steps - len(KINDS)) / sum(ITERATIONS.values()))
        self._limits = [int(width) + 1 for width in np.diff(edges)]
        self._search = self._begin()

    def _begin(self) -> LevenbergMarquardt:
        kind = KINDS[self.stage]
        self._net.network.set_vector(self._best[kind])
        return make_search(kind, self._net, self.seed)

    def step(self) -> dict[str, float]:
        """One iteration: ``loss`` (sum of squares of the network in training), ``mu``, and which network (0, 1, 2)."""
        stage, search = self.stage, self._search
        moved = search.step()
        self.step_count += 1
        self._limits[stage] -= 1
        result = search.result
        self._best[KINDS[stage]] = result.theta.copy()
        if stage == 0 and not self._given:
            self._best |= {kind: result.theta.copy() for kind in KINDS}
        if not moved or result.reason != "iterations" or self._limits[stage] == 0:
            self.stage += 1
            self.num_steps = self.step_count + sum(self._limits[self.stage :])
            if self.stage < len(KINDS):
                self._search = self._begin()
        return {"loss": result.train_error[-1], "mu": search.mu, "network": stage}

    def networks(self) -> dict[str, PoseNetwork]:
        """The networks as good as they are by now; copies."""
        networks: dict[str, PoseNetwork] = {}
        for kind in KINDS:
            networks[kind] = copy.deepcopy(self._net)
            networks[kind].network.set_vector(self._best[kind])
        return networks

    def validate(self) -> dict[str, float]:
        """Mean squared residuals of ``position`` and ``pose`` on poses of their own, and their sum as ``score``."""
        networks, data = self.networks(), draw_poses([self.seed, 3], NUM_VALIDATION)
        errors: dict[str, float] = {}
        for kind in ORIENTATION_WEIGHT:
            net = networks[kind]
            problem = Problem(net, TaskResiduals(net, data, ORIENTATION_WEIGHT[kind], LIMIT_WEIGHT[kind]))
            errors[kind] = problem.mean(self._best[kind])
        return {"score": sum(errors.values()), **errors}

    def state(self) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """All that the next steps depend on; see :class:`planararm.learning.run.Trainee`."""
        arrays, search = self._search.state()
        arrays = {f"search.{name}": value for name, value in arrays.items()}
        arrays |= {f"best.{kind}": value.copy() for kind, value in self._best.items()}
        numbers = {name: getattr(self, name) for name in ("stage", "step_count", "num_steps")}
        return arrays, {**numbers, "limits": list(self._limits), "search": search}

    def load_state(self, arrays: Mapping[str, FloatArray], numbers: Mapping[str, Any]) -> None:
        """Go back to such a state.

        Raises:
            InvalidInputError: It is of another network.
        """
        self.stage, self.step_count = int(numbers["stage"]), int(numbers["step_count"])
        self.num_steps, self._limits = int(numbers["num_steps"]), [int(limit) for limit in numbers["limits"]]
        shape = self._best["joint"].shape
        self._best = {kind: exact_array(kind, arrays[f"best.{kind}"], shape).copy() for kind in KINDS}
        if self.stage < len(KINDS):
            self._search = self._begin()
            under = "search."
            own = {name.removeprefix(under): value for name, value in arrays.items() if name.startswith(under)}
            self._search.load_state(own, numbers["search"])

    def export(self) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """Weights and config, for :func:`planararm.policies.pretrained.save_pretrained`."""
        return weights_of(self.networks())


def make_trainee(
    arm: Any, scenes: str, seed: int, steps: int, device: str = "cpu", init: str | Path | None = None
) -> DukaTrainee:
    """Networks to be trained for ``numpy-mlp``.

    Args:
        arm: ``"duka"``, or an arm like it: no other is supported.
        scenes: ``"free"``: there are no discs in this training.
        seed: Of weights and data.
        steps: Iterations at most, for all three networks.
        device: ``"cpu"`` or ``"auto"``.
        init: A bundled name or a folder with weights of ``numpy-mlp`` to begin with; None: random ones.

    Raises:
        InvalidInputError: Another arm, scenes or device.
        WeightsError: The weights cannot be used.
    """
    asked, mine = make_arm(arm), duka_arm()
    if asked.num_joints != mine.num_joints or not (
        np.array_equal(asked.link_lengths, mine.link_lengths) and np.array_equal(asked.joint_limits, mine.joint_limits)
    ):
        raise InvalidInputError(f"numpy-mlp is trained for the arm 'duka' of its paper, got {arm!r}.")
    if scenes != "free":
        raise InvalidInputError(f"numpy-mlp is trained without discs, scenes 'free', got {scenes!r}.")
    if device not in ("cpu", "auto"):
        raise InvalidInputError(f"numpy-mlp is trained on the CPU, got device {device!r}.")
    if init is None:
        return DukaTrainee(seed, steps)
    return DukaTrainee(seed, steps, start=networks_from(*load_pretrained(init, policy="numpy-mlp"))[0])
