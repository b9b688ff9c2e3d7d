"""What a good proposal is: on the target, clear of the discs, within the limits; the loss of the proposal networks.

No branch is ever prescribed: every proposal is judged by where its links are. All lengths are fractions of the reach,
all vectors are in the frame of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from ..arm import PlanarArm

FAR = 9.0
"""Distance to a disc that is not there."""


class Judged(NamedTuple):
    """Proposals, measured.

    Attributes:
        miss: ``(N, K)`` distance of the end effector to the target.
        signed_distance: ``(N, K, n, M)`` of every link to every disc; > 0 apart.
        limit_violation: ``(N, K)`` sum over the joints of ``relu(cos h - cos(q - m))``, with m the middle and h half
            the width of the joint's range.
    """

    miss: torch.Tensor
    signed_distance: torch.Tensor
    limit_violation: torch.Tensor

    @property
    def clearance(self) -> torch.Tensor:
        """``(N, K)`` smallest signed distance."""
        return self.signed_distance.amin(dim=(-2, -1))


class Judge:
    """Measures proposals: forward kinematics, distances and limits of one arm, as tensors.

    Args:
        arm: The arm.
        device: Where the tensors are.
    """

    def __init__(self, arm: PlanarArm, device: torch.device | str = "cpu") -> None:
        def tensor(values: Any) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.lengths = tensor(arm.link_lengths / arm.reach)
        self.link_radius = arm.link_radius / arm.reach
        low, high = tensor(arm.joint_limits).T
        half = (high - low) / 2
        # A range of a full turn or more forbids nothing.
        self.limited = bool((half < torch.pi).any())
        self.cos_half = torch.where(half < torch.pi, torch.cos(half), torch.full_like(half, -2.0))
        middle = (high + low) / 2
        self.middle = torch.stack([torch.cos(middle), torch.sin(middle)], dim=-1)

    def __call__(
        self,
        directions: torch.Tensor,
        distance: torch.Tensor,
        discs: torch.Tensor,
        mask: torch.Tensor,
        bearing: torch.Tensor,
    ) -> Judged:
        """Measure.

        Args:
            directions: ``(N, K, n, 2)`` unit vectors.
            distance: ``(N,)`` of the targets.
            discs: ``(N, M, 3)``.
            mask: ``(N, M)``.
            bearing: ``(N,)`` of the targets [rad]; for the first joint's limits.
        """
        steps = self.lengths[:, None] * directions
        ends = steps.cumsum(dim=-2)
        starts = ends - steps
        aim = torch.stack([distance, torch.zeros_like(distance)], dim=-1)[:, None]
        miss = (ends[..., -1, :] - aim).norm(dim=-1)
        # (N, K, n, M, 2): from the start of each link to the centre of each disc.
        away = discs[:, None, None, :, :2] - starts[..., None, :]
        along = (away * directions[..., None, :]).sum(-1).clamp(min=0)
        along = torch.minimum(along, self.lengths[:, None])
        apart = (away - along[..., None] * directions[..., None, :]).norm(dim=-1)
        signed = apart - discs[:, None, None, :, 2] - self.link_radius
        signed = torch.where(mask[:, None, None], signed, FAR)
        return Judged(miss, signed, self._beyond_limits(directions, bearing))

    def _beyond_limits(self, directions: torch.Tensor, bearing: torch.Tensor) -> torch.Tensor:
        if not self.limited:
            return torch.zeros_like(directions[..., 0, 0])
        # The x axis of the world, seen from the frame of the target.
        ground = torch.stack([torch.cos(bearing), -torch.sin(bearing)], dim=-1)[:, None, None]
        before = torch.cat([ground.expand(-1, directions.shape[1], 1, 2), directions[..., :-1, :]], dim=-2)
        cosine = (before * directions).sum(-1)
        sine = before[..., 0] * directions[..., 1] - before[..., 1] * directions[..., 0]
        towards_middle = cosine * self.middle[:, 0] + sine * self.middle[:, 1]
        return torch.relu(self.cos_half - towards_middle).sum(-1)


@dataclass(frozen=True)
class ProposalLoss:
    """The loss of K proposals and of the one that continues from where the arm is.

    A proposal costs ``miss + clearance_weight sum relu(margin - signed distance) + limit_violation``, all of them
    exact penalties: their slope does not vanish at the goal. The K proposals of a target are weighted by a soft
    minimum (temperature ``temperature``), so that each specialises in what it does best, plus a tenth of the plain
    mean, so that none dies. The continuing proposal costs, in addition, a little of its distance from where the arm
    is. Confidences are trained by binary cross-entropy on what the finished proposals do.

    Args:
        margin: Clearance that is asked for.
        clearance_weight: Price of penetration; 0 for a network that does not look at discs.
        temperature: Of the soft minimum.
        plain_share: Weight of the plain mean.
        nearness: Price of the mean squared change of the directions of the continuing proposal.
        confidence_weight: Of the cross-entropy.
    """

    margin: float = 0.004
    clearance_weight: float = 1.0
    temperature: float = 0.02
    plain_share: float = 0.1
    nearness: float = 0.02
    confidence_weight: float = 0.05

    def cost(self, judged: Judged) -> torch.Tensor:
        """``(N, K)`` what each proposal costs."""
        close = torch.relu(self.margin - judged.signed_distance).sum(dim=(-2, -1))
        return judged.miss + self.clearance_weight * close + judged.limit_violation

    def of_stage(self, cost: torch.Tensor, directions: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """The loss of one stage: ``cost (N, K + 1)``, the last column that of the continuing proposal."""
        free, onward = cost[:, :-1], cost[:, -1]
        weight = torch.softmax(-free.detach() / self.temperature, dim=1)
        best = (weight * free).sum(dim=1).mean()
        change = (directions[:, -1] - present).square().sum(-1).mean()
        return best + self.plain_share * free.mean() + 0.5 * (onward.mean() + self.nearness * change)

    def of_confidences(self, logits: torch.Tensor, judged: Judged, tolerance: float) -> torch.Tensor:
        """Cross-entropy of the confidences with what the finished proposals do; blind to discs if the cost is."""
        good = (judged.miss < tolerance) & (judged.limit_violation <= 0)
        if self.clearance_weight > 0:
            good &= judged.clearance > 0
        return self.confidence_weight * F.binary_cross_entropy_with_logits(logits, good.detach().to(logits.dtype))
