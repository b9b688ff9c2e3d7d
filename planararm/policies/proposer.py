"""A trained proposal network at work: targets among discs in, measured and ordered configurations out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray, PlanarArm
from ..errors import InvalidInputError, WeightsError
from .canonical import canonical_batch, joint_angles_from_directions
from .device import find_device
from .pretrained import check_tensors, list_pretrained, load_pretrained, read_config, save_pretrained
from .problem import Problem
from .proposal_forward import ProposalForward
from .proposal_settings import ProposalSettings, turns_fully

CHUNK = 2048
"""Rows that the network is given at once, so that memory stays bounded and the cache serves."""

SAME_PROPORTIONS = 1e-6


class Offer(NamedTuple):
    """K + 1 proposals for each of N targets; the last continues from where the arm is.

    Attributes:
        q: ``(N, K + 1, n)`` within the joint limits [rad].
        logits: ``(N, K + 1)`` the network's confidence.
        error: ``(N, K + 1)`` distance of the end effector to the target [m], measured.
        clearance: ``(N, K + 1)`` [m], measured.
        travel: ``(N, K + 1)`` largest change of a joint from where the arm is [rad].
        order: ``(N, K + 1)`` indices: first those that meet the target and keep the margin, the nearest to the present
            configuration first; then the others, the most confident first.
    """

    q: FloatArray
    logits: FloatArray
    error: FloatArray
    clearance: FloatArray
    travel: FloatArray
    order: npt.NDArray[np.int64]


class Proposer:
    """A trained proposal network, for one arm's proportions and joint limits.

    On the CPU it runs as a compiled kernel, elsewhere in torch.

    Args:
        tensors: The network's weights by name.
        config: What its config.json says: ``network`` has the arguments of
            :class:`planararm.policies.proposal_settings.ProposalSettings`, ``arm`` has ``link_lengths``,
            ``joint_limits`` and ``link_radius`` of the arm that it was trained with.
        device: Where it runs.

    Raises:
        InvalidInputError: A number is out of range, or no such device here.
        WeightsError: The tensors are not those of such a network.
    """

    def __init__(self, tensors: Mapping[str, Any], config: Mapping[str, Any], device: str = "cpu") -> None:
        self.tensors, self.config, self.device = dict(tensors), dict(config), find_device(device)
        self.settings = ProposalSettings(**config["network"])
        check_tensors(self.tensors, self.settings.shapes())
        trained: Mapping[str, Any] = config["arm"]
        self.arm = PlanarArm(trained["link_lengths"], trained["joint_limits"], link_radius=trained["link_radius"])
        self._forward: Any
        if self.device.startswith("cpu"):
            self._forward = ProposalForward(self.tensors, self.settings)
        else:
            from .proposal_torch import TorchForward

            self._forward = TorchForward(self.tensors, self.settings, self.device)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, policy: str, device: str = "cpu") -> Self:
        """Load a network that was saved by :meth:`save_pretrained` or shipped with planararm.

        Args:
            name_or_folder: A bundled name (:func:`planararm.policies.pretrained.list_pretrained`) or a folder.
            policy: Whose weights they must be.
            device: Where it runs.

        Raises:
            WeightsError: Missing, damaged or of something else; the message says which.
            InvalidInputError: No such device.
        """
        device = find_device(device)
        tensors, config = load_pretrained(name_or_folder, policy=policy)
        try:
            made = cls(tensors, config, device)
        except WeightsError:
            raise
        except (KeyError, TypeError, ValueError) as cause:
            raise WeightsError(
                f"config.json of {str(name_or_folder)!r} describes no proposal network: {cause}"
            ) from cause
        shares, seen = (made.arm.link_lengths / made.arm.reach).tolist(), list(made.settings.link_lengths)
        if len(shares) != len(seen) or not np.allclose(shares, seen, rtol=0, atol=SAME_PROPORTIONS):
            raise WeightsError(
                f"config.json of {str(name_or_folder)!r} describes an arm of links {shares} of its reach, but a "
                f"network for links {seen}."
            )
        return made

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json``, each completely or not at all."""
        return save_pretrained(folder, self.tensors, self.config)

    def supports(self, arm: PlanarArm) -> str | None:
        """None if the network was trained for an arm of these proportions and limits, else the reason why not."""
        mine = self.arm
        if arm.num_joints != mine.num_joints:
            return f"the weights are for {mine.num_joints} links, the arm has {arm.num_joints}."
        shares, trained = arm.link_lengths / arm.reach, mine.link_lengths / mine.reach
        if np.abs(shares - trained).max() > SAME_PROPORTIONS:
            return f"the weights are for links in the proportions {np.round(trained, 6).tolist()}."
        narrower = (arm.joint_limits[:, 0] > mine.joint_limits[:, 0]) | (
            arm.joint_limits[:, 1] < mine.joint_limits[:, 1]
        )
        if turns_fully(arm):
            narrower[0] = False
        if narrower.any():
            return f"the weights are for the joint limits {np.round(mine.joint_limits, 4).tolist()} or wider ones."
        return None

    def __call__(self, problem: Problem, tolerance: float, most: int | None = None) -> Offer:
        """Propose, measure, order.

        Args:
            problem: N targets.
            tolerance: Distance to the target that counts as met [m].
            most: Only so many proposals of each target, the most confident ones; the continuing one is among them or
                not.
        """
        num = self.settings.num_proposals + 1 if most is None else min(most, self.settings.num_proposals + 1)
        arm, count = problem.arm, problem.num_rows
        q, logits = np.empty((count, num, arm.num_joints)), np.empty((count, num))
        aim = problem.aim
        for first in range(0, count, CHUNK):
            rows = slice(first, first + CHUNK)
            discs = problem.obstacles
            frame = canonical_batch(
                aim[rows], problem.q[rows], arm, discs[rows] if discs.batch_shape else discs,
                link_radius=self.arm.link_radius / self.arm.reach,
            )  # fmt: skip
            directions, logits[rows] = self._forward(frame, num)
            q[rows] = joint_angles_from_directions(directions, frame.bearing, arm, problem.q[rows])
        measured = problem.measure(q)
        held = (measured.error <= tolerance) & (measured.clearance >= problem.safety_margin)
        # No joint travels 1e9 rad: those that hold come first.
        rank = np.where(held, measured.travel - 1e9, -logits)
        return Offer(q, logits, *measured, np.argsort(rank, axis=-1, kind="stable"))


class ProposerSet:
    """The networks of a policy: one that the user named, or the bundled ones, each loaded when an arm asks for it.

    Args:
        policy: The policy's name, which its weights must have in their config.
        weights: A bundled name, a folder, or None: whichever bundled one fits the arm.
        device: Where the networks run.

    Attributes:
        batch_tolerance: See :attr:`planararm.policies.protocol.IKPolicy.batch_tolerance`; torch's answers depend on the
            batch, those of compiled kernels do not.
    """

    def __init__(self, policy: str, weights: str | Path | None, device: str = "cpu") -> None:
        self.policy, self.device = policy, device
        self.batch_tolerance = 1e-9 if find_device(device).startswith("cpu") else 1e-5
        self._loaded: dict[str, Proposer] = {}
        self._found: tuple[PlanarArm, Proposer] | None = None
        self._named = None if weights is None else Proposer.from_pretrained(weights, policy=policy, device=device)

    def bundled(self) -> list[str]:
        """Names of the bundled weights of this policy."""
        return [name for name in list_pretrained() if read_config(name).get("policy") == self.policy]

    def find_bundled(self, arm: PlanarArm) -> str | None:
        """The name of the bundled weights for an arm."""
        for name in self.bundled():
            if name not in self._loaded:
                self._loaded[name] = Proposer.from_pretrained(name, policy=self.policy, device=self.device)
            if self._loaded[name].supports(arm) is None:
                return name
        return None

    def find(self, arm: PlanarArm) -> Proposer | str:
        """The network for an arm, or the reason why there is none."""
        if self._named is not None:
            return self._named.supports(arm) or self._named
        name, names = self.find_bundled(arm), self.bundled()
        if name is not None:
            return self._loaded[name]
        return (
            f"no bundled weights fit this arm ({arm.num_joints} links; bundled: {', '.join(names) or 'none'}); train "
            f"some: planararm train {self.policy} --arm ... --out DIR, then weights=DIR."
        )

    def require(self, arm: PlanarArm) -> Proposer:
        """The network for an arm.

        Raises:
            InvalidInputError: There is none.
        """
        if self._found is None or self._found[0] is not arm:
            found = self.find(arm)
            if isinstance(found, str):
                raise InvalidInputError(f"{self.policy}: {found}")
            self._found = (arm, found)
        return self._found[1]

    def only(self) -> Proposer:
        """The one network there is, for saving.

        Raises:
            InvalidInputError: Several bundled ones: none was named.
        """
        if self._named is None:
            raise InvalidInputError(
                f"{self.policy} has several bundled weights; name one: {', '.join(self.bundled())}."
            )
        return self._named
