"""The network behind ``torch-mlp`` and ``projected-mlp``: several configurations for a target among discs.

It sees a scene in the frame of the target (:mod:`planararm.policies.canonical`): the target's distance, the discs as a
set (an encoder shared by all discs, pooled by sum and by maximum: Zaheer et al. 2017, *Deep Sets*, arXiv:1703.06114),
and the arm where it is. It answers with K + 1 proposals: K that do not look at where the arm is, one branch each if
training goes well, and one that continues from where it is. Every link is a unit vector, so that forward kinematics
is a sum, ``p = sum l_i u_i``, and no angle can wrap.

What was proposed is then corrected by a second, small network that sees how far the end effector is from the target
(error feedback: Carreira et al. 2016, arXiv:1507.06550). The correction is scaled by that distance, which lets it
converge like an iteration and keeps it from disturbing what is right already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..arm import PlanarArm
from ..errors import InvalidInputError, MissingExtraError
from ..kernels.proposal import EMPTY, TINY
from .canonical import CanonicalBatch
from .proposal_settings import ProposalSettings, settings_for

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as cause:
    raise MissingExtraError("planararm.policies.proposal_torch", "torch") from cause


class Proposals(NamedTuple):
    """What the network answers for N targets.

    Attributes:
        stages: The directions ``(N, K + 1, n, 2)``, as first proposed and after each correction; unit vectors in the
            frame of the target. The last proposal continues from where the arm is.
        logits: ``(N, K + 1)`` of the probability that the proposal (after its last correction) reaches and is free.
    """

    stages: list[torch.Tensor]
    logits: torch.Tensor

    @property
    def directions(self) -> torch.Tensor:
        """The final ones."""
        return self.stages[-1]


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors brought to length one; those of length zero stay short instead of becoming NaN."""
    return vectors / (vectors.norm(dim=-1, keepdim=True) + TINY)


def target_features(distance: torch.Tensor) -> torch.Tensor:
    """What the network is told of the target's distance: ``(*batch,) -> (*batch, 5)``.

    Directions behave like the square root of the distance to the workspace's boundary, so that is among them.
    """
    d = distance.clamp(0.0, 1.0)
    return torch.stack([d, d * d, torch.sqrt(1 - d * d), torch.acos(d), 1 - d], dim=-1)


class ProposalNetwork(nn.Module):
    """K + 1 proposals for a target among discs, with a confidence each.

    Args:
        link_lengths: ``(n,)`` as fractions of the reach.
        **sizes: See :class:`planararm.policies.proposal_settings.ProposalSettings`.

    Raises:
        InvalidInputError: A number is out of range.
    """

    lengths: torch.Tensor

    def __init__(self, link_lengths: Any, **sizes: Any) -> None:
        super().__init__()
        made = ProposalSettings(link_lengths, **sizes)
        self.settings = made.as_dict()
        self.num_joints, self.first_joint_turns = made.num_joints, made.first_joint_turns
        self.num_proposals, self.num_corrections = made.num_proposals, made.num_corrections
        # As a scaled column, so that lengths times directions is one product; no parameter, not in the weights.
        column = torch.tensor(made.link_lengths, dtype=torch.float32)[:, None]
        self.register_buffer("lengths", column, persistent=False)
        layers = {name: nn.Linear(*size) for name, size in made.layers().items()}
        self.disc_in, self.disc_hidden = layers["disc_in"], layers["disc_hidden"]
        self.trunk_in = layers["trunk_in"]
        self.trunk = nn.ModuleList(layers[f"trunk.{i}"] for i in range(made.depth))
        self.heads, self.confidences, self.context = layers["heads"], layers["confidences"], layers["context"]
        self.onward_in, self.onward_hidden = layers["onward_in"], layers["onward_hidden"]
        self.onward_out = layers["onward_out"]
        self.correction_in, self.correction_hidden = layers["correction_in"], layers["correction_hidden"]
        self.correction_out = layers["correction_out"]
        nn.init.zeros_(self.correction_out.weight)
        nn.init.zeros_(self.correction_out.bias)

    def forward(
        self,
        distance: torch.Tensor,
        discs: torch.Tensor,
        mask: torch.Tensor,
        present: torch.Tensor,
        bearing: torch.Tensor | None = None,
        *,
        most: int | None = None,
    ) -> Proposals:
        """Propose.

        Args:
            distance: ``(N,)`` of the targets, fraction of the reach.
            discs: ``(N, M, 3)`` x, y, radius in the frame of the target, M >= 1.
            mask: ``(N, M)`` bool, which of them are there.
            present: ``(N, n, 2)`` directions of the links where the arm is.
            bearing: ``(N,)`` of the targets [rad]; looked at if the first joint does not turn fully.
            most: Answer only so many proposals of each target, the most confident ones, instead of all K + 1.
        """
        count, n, k = len(distance), self.num_joints, self.num_proposals
        about = target_features(distance)
        if not self.first_joint_turns:
            if bearing is None:
                raise InvalidInputError("bearing must be given: the arm's first joint does not turn fully.")
            about = torch.cat([about, torch.cos(bearing)[:, None], torch.sin(bearing)[:, None]], dim=-1)
        hidden = F.silu(self.trunk_in(torch.cat([about, self._pooled(about, distance, discs, mask)], dim=-1)))
        for layer in self.trunk:
            hidden = hidden + F.silu(layer(hidden))
        context = self.context(hidden)
        onward, onward_logit = self._onward(context, distance, present)
        proposed = torch.cat([self.heads(hidden).view(count, k, n, 2), onward[:, None]], dim=1)
        logits = torch.cat([self.confidences(hidden), onward_logit], dim=1)
        if most is not None and most <= k:
            logits, chosen = logits.topk(most, dim=1)
            proposed = proposed.gather(1, chosen[:, :, None, None].expand(-1, -1, n, 2))
        stages = [unit(proposed)]
        # The context's share of the first layer is the same for all proposals: computed once.
        shared = F.linear(context, self.correction_in.weight[:, 2 * n + 3 :], self.correction_in.bias)[:, None]
        for _ in range(self.num_corrections):
            stages.append(self._corrected(stages[-1], distance, shared))
        return Proposals(stages, logits)

    def _pooled(
        self, about: torch.Tensor, distance: torch.Tensor, discs: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The set of discs as one vector: sum and maximum over an encoding of each."""
        center, radius = discs[..., :2], discs[..., 2:]
        from_base = center.norm(dim=-1, keepdim=True)
        from_target = torch.hypot(center[..., :1] - distance[:, None, None], center[..., 1:])
        features = torch.cat([center, radius, from_base, from_target, from_base - radius, from_target - radius], dim=-1)
        width = features.shape[-1]
        # The target's share of the first layer is the same for all discs: computed once.
        first = F.linear(features, self.disc_in.weight[:, :width])
        first = first + F.linear(about, self.disc_in.weight[:, width:], self.disc_in.bias)[:, None]
        encoded = F.silu(self.disc_hidden(F.silu(first)))
        there = mask[..., None]
        return torch.cat(
            [
                torch.where(there, encoded, 0.0).sum(dim=1),
                torch.where(there, encoded, EMPTY).amax(dim=1),
            ],
            dim=-1,
        )

    def _miss(self, directions: torch.Tensor, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From the target to the end effector ``(*batch, 2)``, and the length of that ``(*batch, 1)``."""
        end = (self.lengths * directions).sum(dim=-2)
        aim = torch.stack([distance, torch.zeros_like(distance)], dim=-1)
        miss = end - aim.view(len(distance), *[1] * (end.ndim - 2), 2)
        return miss, miss.norm(dim=-1, keepdim=True)

    def _onward(
        self, context: torch.Tensor, distance: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The proposal that continues from where the arm is, and its logit."""
        miss, length = self._miss(present, distance)
        seen = torch.cat([context, present.flatten(-2), miss / (length + 1e-4), torch.log(length + 1e-5) / 5], dim=-1)
        hidden = F.silu(self.onward_in(seen))
        hidden = hidden + F.silu(self.onward_hidden(hidden))
        out = self.onward_out(hidden)
        # The change is scaled as that of the corrections; a far target may need a large one.
        return present + length[..., None] * out[:, :-1].view_as(present), out[:, -1:]

    def _corrected(self, directions: torch.Tensor, distance: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        miss, length = self._miss(directions, distance)
        seen = torch.cat([directions.flatten(-2), miss / (length + 1e-4), torch.log(length + 1e-5) / 5], dim=-1)
        hidden = F.silu(F.linear(seen, self.correction_in.weight[:, : seen.shape[-1]]) + shared)
        hidden = F.silu(self.correction_hidden(hidden))
        return unit(directions + length[..., None] * self.correction_out(hidden).view_as(directions))


def network_for(arm: PlanarArm, **sizes: Any) -> ProposalNetwork:
    """A new network for an arm's proportions."""
    return ProposalNetwork(**settings_for(arm, **sizes).as_dict())


class TorchForward:
    """The forward pass of a trained network on another device than the CPU.

    Arguments and result as those of :class:`planararm.policies.proposal_forward.ProposalForward`, and the device.
    """

    def __init__(self, tensors: Mapping[str, Any], settings: ProposalSettings, device: str) -> None:
        self._device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            network = ProposalNetwork(**settings.as_dict())
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()})
        self._network = network.to(self._device).eval()

    def __call__(self, frame: CanonicalBatch, num: int) -> tuple[Any, Any]:
        """Propose."""
        parts = (frame.distance, frame.discs, frame.mask, frame.present, frame.bearing.astype(np.float32))
        with torch.inference_mode():
            answered = self._network(*(torch.from_numpy(part).to(self._device) for part in parts), most=num)
        return answered.directions.cpu().numpy(), answered.logits.cpu().numpy()
