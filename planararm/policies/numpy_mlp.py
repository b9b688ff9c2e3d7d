"""``numpy-mlp``: a network of 100 hidden units, in plain NumPy.

The setting of A.-V. Duka, *Neural network based inverse kinematics solution for trajectory tracking of a robotic arm*,
Procedia Technology 12 (2014), doi:10.1016/j.protcy.2013.12.451: three links of equal length, limits within which a
pose (x, y, phi) has one configuration, and a network 3-100-3 from poses to joint angles. phi is the sum of the joint
angles, in [-3 pi / 2, 3 pi / 2] and not wrapped: wrapping would tear the map apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray, PlanarArm, make_arm
from ..errors import UnknownNameError, WeightsError
from ..kinematics import wrap_angle
from ..nn import Network, mlp
from ..scene import Scene
from ..validate import real_number, whole_number
from .pretrained import check_tensors, load_pretrained, save_pretrained
from .problem import Problem, make_problem
from .protocol import IKPolicy, IKSolution

KINDS = ("joint", "position", "pose")
"""What the networks were trained for: the joint angles, the end effector's position, position and orientation."""

HIDDEN = 100
SAME = 1e-9


class PoseNetwork:
    """A network from poses to joint angles, with the scaling around it.

    Both sides are scaled to [-1, 1]: the pose from its range in the training data, the angles to the joint limits.

    Args:
        network: Three inputs, three outputs.
        input_range: ``(2, 3)`` lowest and highest x and y (fractions of the reach) and phi [rad].
        joint_limits: ``(3, 2)`` [rad].
    """

    def __init__(self, network: Network, input_range: npt.ArrayLike, joint_limits: npt.ArrayLike) -> None:
        self.network = network
        self.input_range = np.array(input_range, dtype=np.float64)
        self.joint_limits = np.array(joint_limits, dtype=np.float64)

    def scaled(self, pose: FloatArray) -> FloatArray:
        """The network's input for poses ``(batch, 3)``."""
        low, high = self.input_range
        return np.asarray(2 * (pose - low) / (high - low) - 1)

    @property
    def angle_scale(self) -> FloatArray:
        """``dq / doutput``: half the width of each joint's range ``(3,)``."""
        return np.asarray((self.joint_limits[:, 1] - self.joint_limits[:, 0]) / 2)

    def angles(self, output: FloatArray) -> FloatArray:
        """Joint angles [rad] from the network's output."""
        return np.asarray(self.joint_limits.mean(axis=1) + self.angle_scale * output)

    def __call__(self, pose: FloatArray) -> FloatArray:
        """Joint angles ``(batch, 3)`` [rad], not clipped, for poses ``(batch, 3)``."""
        return self.angles(self.network.forward(self.scaled(pose)))

    def tensors(self) -> dict[str, FloatArray]:
        """All numbers by name."""
        return {**self.network.state_dict(), "input_range": self.input_range.copy()}


class NumpyMLP(IKPolicy):
    """The Duka network in NumPy, and the same network trained through the forward kinematics.

    With a target orientation, the network trained for poses answers. Without, the one trained for positions is asked at
    ``num_headings`` orientations: the answer that meets the target and is clear of the discs with the least motion,
    or else the one that comes nearest to the target. Discs are looked at only to choose among these answers. ``info``
    has ``error``, the distance to the target [m].

    Args:
        weights: A bundled name, or a folder written by :meth:`save_pretrained` or ``planararm train``.
        network: ``"position"`` or ``"joint"``: which network is asked for positions.
        num_headings: How many orientations are tried for a position.
        tolerance: Distance to the target that counts as met, fraction of the reach.

    Raises:
        WeightsError: The weights cannot be used; the message says why.
        UnknownNameError: No such network.
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        weights: str | Path = "numpy-mlp",
        *,
        network: str = "position",
        num_headings: int = 24,
        tolerance: float = 1e-3,
    ) -> None:
        if network not in KINDS:
            raise UnknownNameError("network", network, KINDS)
        self.kind = network
        self.num_headings = whole_number("num_headings", num_headings, 1, 10_000)
        self.tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        tensors, self.config = load_pretrained(weights, policy="numpy-mlp")
        self.networks, self.arm = networks_from(tensors, self.config)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **options: Any) -> Self:
        """The policy with these weights; the same as ``NumpyMLP(name_or_folder, **options)``."""
        return cls(name_or_folder, **options)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the weights and their config, each completely or not at all."""
        return save_pretrained(folder, tensors_of(self.networks), self.config)

    def supports(self, scene: Scene) -> str | None:
        """None for arms with the proportions and the joint limits that the networks were trained with."""
        arm, mine = scene.arm, self.arm
        if arm.num_joints != mine.num_joints:
            return f"the networks are for {mine.num_joints} links, the arm has {arm.num_joints}."
        if np.abs(arm.link_lengths / arm.reach - mine.link_lengths / mine.reach).max() > SAME:
            return f"the networks are for links in the proportions {mine.link_lengths.tolist()}."
        if np.abs(arm.joint_limits - mine.joint_limits).max() > SAME:
            return f"the networks are for the joint limits {np.round(mine.joint_limits, 4).tolist()} (preset 'duka')."
        return None

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Ask the network; see :meth:`IKPolicy.solve`."""
        problem = make_problem(target_position, q, scene, target_orientation)
        reason = self.supports(scene)
        if reason is not None:
            raise UnknownNameError("arm for numpy-mlp", reason, ["duka"])
        headings, kind = self._headings(problem), self.kind if target_orientation is None else "pose"
        num = headings.shape[1]
        position = np.repeat((problem.target_position - problem.arm.base) / problem.arm.reach, num, axis=0)
        pose = np.concatenate([position, headings.reshape(-1, 1)], axis=1)
        offered = problem.arm.clip(self.networks[kind](pose)).reshape(problem.num_rows, num, -1)
        tolerance = self.tolerance * problem.arm.reach
        measured = problem.measure(offered)
        cost = measured.error / problem.arm.reach
        if problem.target_orientation is not None:
            cost = cost + np.abs(wrap_angle(offered.sum(axis=-1) - problem.target_orientation[:, None]))
        held = (measured.error <= tolerance) & (measured.clearance >= problem.safety_margin)
        # No joint travels 1e9 rad: those that hold come first, the others by how far off they are.
        rank = np.where(held & (problem.target_orientation is None), measured.travel - 1e9, cost)
        answer = offered[np.arange(problem.num_rows), rank.argmin(axis=1)]
        return problem.solution(answer, problem.reasons(answer, tolerance), {"error": problem.error(answer)})

    def _headings(self, problem: Problem) -> FloatArray:
        """Orientations to ask for, within what the joints can sum to: ``(N, K)`` [rad]."""
        low, high = self.arm.joint_limits.sum(axis=0)
        if problem.target_orientation is None:
            inner = np.linspace(low, high, self.num_headings + 2)[1:-1]
            return np.broadcast_to(inner, (problem.num_rows, self.num_headings))
        turn = 2 * np.pi
        first = problem.target_orientation - turn * np.floor((problem.target_orientation - low) / turn)
        turns = first[:, None] + turn * np.arange(max(1, int(np.ceil((high - low) / turn))))
        # A turn too far is the other one once more.
        return np.where(turns <= high, turns, first[:, None])


def duka_arm() -> PlanarArm:
    """The arm of the paper: three links of 2 m, elbow down."""
    return make_arm("duka")


def new_pose_network(rng: np.random.Generator, input_range: npt.ArrayLike, num_hidden: int = HIDDEN) -> PoseNetwork:
    """An untrained network 3-``num_hidden``-3 with the start of Nguyen and Widrow.

    Each hidden unit's slope has length ``0.7 num_hidden^(1/3)`` in a random direction and its bias puts the steep part
    somewhere in the input range, so that the units share it among themselves. D. Nguyen and B. Widrow, IJCNN 1990,
    doi:10.1109/IJCNN.1990.137819.
    """
    network = mlp((3, num_hidden, 3), "tanh", rng=rng)
    weight, bias = network.parameters["0.weight"], network.parameters["0.bias"]
    slope = 0.7 * num_hidden ** (1 / 3)
    weight[...] = rng.uniform(-1, 1, weight.shape)
    weight *= slope / np.linalg.norm(weight, axis=1, keepdims=True)
    bias[...] = slope * np.linspace(-1, 1, num_hidden) * np.sign(weight[:, 0])
    network.parameters["2.weight"][...] = rng.uniform(-1, 1, (3, num_hidden)) / np.sqrt(num_hidden)
    return PoseNetwork(network, input_range, duka_arm().joint_limits)


def tensors_of(networks: Mapping[str, PoseNetwork]) -> dict[str, FloatArray]:
    """The tensors of several networks, each name preceded by the network's."""
    return {f"{kind}.{name}": value for kind, net in networks.items() for name, value in net.tensors().items()}


def networks_from(
    tensors: Mapping[str, npt.NDArray[Any]], config: Mapping[str, Any]
) -> tuple[dict[str, PoseNetwork], PlanarArm]:
    """Networks from their tensors and config.

    Raises:
        WeightsError: They do not fit each other.
    """
    try:
        arm = PlanarArm(config["arm"]["link_lengths"], config["arm"]["joint_limits"])
        hidden = whole_number("num_hidden", config["num_hidden"], 1, 10_000)
    except (KeyError, TypeError, ValueError) as cause:
        raise WeightsError(f"config.json describes no numpy-mlp: {cause}") from cause
    networks: dict[str, PoseNetwork] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for kind in KINDS:
        net = new_pose_network(np.random.default_rng(0), np.array([[-1.0] * 3, [1.0] * 3]), hidden)
        net.joint_limits = np.array(arm.joint_limits)
        networks[kind] = net
        shapes |= {f"{kind}.{name}": value.shape for name, value in net.tensors().items()}
    check_tensors(tensors, shapes)
    for kind, net in networks.items():
        net.network.load_state_dict({name: tensors[f"{kind}.{name}"] for name in net.network.parameters})
        net.input_range = np.array(tensors[f"{kind}.input_range"], dtype=np.float64)
    return networks, arm
