"""Training of ``projected-mlp``: the network is trained on through the projection that follows it.

A proposal's joint angles enter the projection as the point to be projected (the lecture's open question); what comes
out is scored by its distance to the target, and the gradient goes back through the projection
(:class:`planararm.projection.torch_sequential.SequentialProjection`). At a corner of the free space the projection is
locally constant and lets no gradient through: a multiple of ``|q - q*|^2`` in the loss draws such proposals out. For
the same reason the training begins with a network that has been trained without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arm import FloatArray, PlanarArm, make_arm
from ..errors import InvalidInputError, UnknownNameError, WeightsError
from ..policies.device import find_device
from ..policies.pretrained import read_config
from ..policies.proposal_torch import Proposals
from ..policies.proposer import Proposer, ProposerSet
from ..projection.constraints import constraint_rows
from ..projection.sequential import Source
from ..projection.torch_layer import QPProjection
from ..projection.torch_sequential import SequentialProjection
from ..scene import Scene
from .proposals_torch import NETWORK_SIZES, ProposalTrainee, Seen

PROJECTIONS = ("sequential", "qp", "cvxpy")
ELASTIC = 1e3
"""Price of the linearised rows, where they leave no point: they may be violated rather than give nothing."""

LEARNING_RATE = 1e-3


def joint_angles(directions: torch.Tensor, bearing: torch.Tensor, arm: PlanarArm) -> torch.Tensor:
    """Joint angles of link directions in the frame of the target, in float64, with gradients.

    The twin of :func:`planararm.policies.canonical.joint_angles_from_directions` for tensors; whole turns bring every
    angle as near as possible to the middle of its range.

    Args:
        directions: ``(N, k, n, 2)``.
        bearing: ``(N,)`` [rad].
        arm: The arm.
    """
    directions = directions.double()
    heading = torch.atan2(directions[..., 1], directions[..., 0]) + bearing.double()[:, None, None]
    angles = torch.diff(heading, dim=-1, prepend=torch.zeros_like(heading[..., :1]))
    middle = torch.from_numpy(arm.joint_limits.mean(axis=1)).to(angles)
    return angles - 2 * torch.pi * torch.round((angles.detach() - middle) / (2 * torch.pi))


class ProjectedTrainee(ProposalTrainee):
    """A proposal network in training behind which the projection stands.

    To the loss of :class:`~planararm.learning.proposals_torch.ProposalTrainee` comes that of the most confident
    proposals once they are projected: ``|p(q*) - target| + vertex_weight |q - q*|^2``.

    Args:
        *args: Of :class:`~planararm.learning.proposals_torch.ProposalTrainee`.
        projection: ``"sequential"``: onto the free configurations, exactly; ``"qp"`` and ``"cvxpy"``: onto the
            half-spaces linearised at the proposal, by our kernel or by cvxpylayers (the reference, for teaching: a
            thousand times slower).
        num_projected: How many proposals of each target are projected.
        projected_weight: Weight of their loss.
        vertex_weight: Price of the squared distance that the projection moves a proposal [1/rad^2].
        **options: Of :class:`~planararm.learning.proposals_torch.ProposalTrainee`.

    Raises:
        UnknownNameError: No such projection.
        MissingExtraError: ``"cvxpy"`` without the extra ``convex``.
    """

    policy = "projected-mlp"

    def __init__(
        self,
        *args: Any,
        projection: str = "sequential",
        num_projected: int = 2,
        projected_weight: float = 1.0,
        vertex_weight: float = 0.1,
        **options: Any,
    ) -> None:
        if projection not in PROJECTIONS:
            raise UnknownNameError("projection", projection, PROJECTIONS)
        super().__init__(*args, **options)
        self.projection, self.num_projected = projection, min(num_projected, self.network.num_proposals)
        self.projected_weight, self.vertex_weight = projected_weight, vertex_weight
        self._layer = _make_layer(projection)

    def loss_of(self, seen: Seen, present: torch.Tensor) -> tuple[torch.Tensor, Proposals]:
        """The loss of one batch, through the projection, and what was proposed."""
        loss, answered = super().loss_of(seen, present)
        chosen = answered.logits[:, :-1].detach().topk(self.num_projected, dim=1).indices
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        q = joint_angles(answered.directions[rows, chosen], seen["bearing"], self.arm)
        return loss + self.projected_weight * self.projected_loss(q, seen), answered

    def projected_loss(self, q: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Mean of ``|p(q*) - target| / reach + vertex_weight |q - q*|^2`` over the proposals ``q (N, k, n)``."""
        n, k = q.shape[-1], q.shape[1]
        flat = q.reshape(-1, n)
        which = np.repeat(np.arange(len(q)), k)
        found, usable = self._projected(flat, seen.batch.scene[which])
        aim = torch.from_numpy(seen.batch.target_position[which]).to(found)
        miss = (self.arm.end_effector(found) - aim).norm(dim=-1) / self.arm.reach
        cost = miss + self.vertex_weight * (flat - found).square().sum(-1)
        return (cost * usable).sum().to(torch.float32) / max(1, len(flat))

    def _projected(self, q: torch.Tensor, scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
        """Projected proposals, and 1 where there is one."""
        if self.projection != "sequential":
            rows = constraint_rows(_numbers(q), scene)
            parts = (torch.from_numpy(np.array(part)).to(q) for part in rows)
            found = self._layer(q, *parts)
            return found, torch.ones_like(found[:, 0])
        with torch.no_grad():
            _, tried = self._layer(q, scene)
        # What is free already is its own projection, with the identity for a derivative.
        moved = np.flatnonzero(tried.source != Source.PROPOSAL)
        found = q
        if moved.size:
            again, _ = self._layer(q[moved], scene[moved])
            found = q.index_put((torch.from_numpy(moved).to(q.device),), again)
        return found, torch.from_numpy(tried.safe.astype(np.float64)).to(q)


def _numbers(q: torch.Tensor) -> FloatArray:
    return q.detach().cpu().numpy()


def _make_layer(projection: str) -> torch.nn.Module:
    if projection == "sequential":
        return SequentialProjection(return_projection=True, num_restarts=0)
    if projection == "qp":
        return QPProjection(elastic=ELASTIC)
    from ..projection.cvxpy_layer import CvxpyProjection

    return CvxpyProjection(elastic=ELASTIC)


def find_start(arm: PlanarArm) -> str:
    """The bundled weights of ``torch-mlp`` for an arm: where the training through the projection begins.

    Raises:
        InvalidInputError: There are none.
    """
    found = ProposerSet("torch-mlp", None).find_bundled(arm)
    if found is None:
        raise InvalidInputError(
            f"projected-mlp goes on from a trained torch-mlp, and none is bundled for this arm of {arm.num_joints} "
            "links: train one first (planararm train torch-mlp --arm ... --out DIR), then give --init DIR."
        )
    return found


def make_trainee(
    arm: Any,
    scenes: str,
    seed: int,
    steps: int,
    device: str = "cpu",
    init: str | Path | None = None,
    **options: Any,
) -> ProjectedTrainee:
    """A network to be trained on for ``projected-mlp``.

    Args:
        arm: Name of an arm or an arm.
        scenes: Name in :data:`planararm.learning.scenes.MIXES`.
        seed: Of all scenes.
        steps: Updates of the whole run.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``; the projection itself runs on the CPU.
        init: A bundled name or a folder with weights of ``torch-mlp`` or ``projected-mlp`` to begin with; None: the
            bundled ones of ``torch-mlp`` for the arm.
        **options: Of :class:`ProjectedTrainee`.

    Raises:
        WeightsError: The weights cannot be used, or are for another arm.
        InvalidInputError: None are bundled for the arm.
    """
    built, where = make_arm(arm), find_device(device)
    source = find_start(built) if init is None else init
    policy = "projected-mlp" if read_config(source).get("policy") == "projected-mlp" else "torch-mlp"
    start = Proposer.from_pretrained(source, policy=policy)
    reason = start.supports(built)
    if reason is not None:
        raise WeightsError(f"{str(source)!r} is nothing to begin with: {reason}")
    sizes = {name: getattr(start.settings, name) for name in NETWORK_SIZES}
    options = {"learning_rate": LEARNING_RATE, "network": sizes, **options}
    return ProjectedTrainee(arm, scenes, seed, steps, where, start.tensors, **options)
