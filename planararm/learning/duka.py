"""Training of ``numpy-mlp``: the Duka network on joint angles, then through the forward kinematics.

Three networks of the same size, one after the other, all by Levenberg-Marquardt:

* ``joint``: 1,000 random configurations, split 70/15/15, error in the joint angles, as in the paper.
* ``position`` and ``pose``: from there on, with the error in the task space. The residual is
  ``r = (p(q) - p*) / reach`` (for ``pose`` also ``phi(q) - phi*``), and the chain rule goes through the arm,
  ``dr/dtheta = J(q) dq/dtheta``, with the Jacobian of the kinematics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arm import FloatArray
from ..nn import LevenbergMarquardt, normal_equations, split
from ..policies.numpy_mlp import KINDS, PoseNetwork, duka_arm, new_pose_network, tensors_of

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
