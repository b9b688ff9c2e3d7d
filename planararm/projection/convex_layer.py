"""Convex relaxations of inverse kinematics as layers fed by a network's proposal.

The programs of :mod:`planararm.projection.convex_ik`, solved and differentiated by cvxpylayers. The proposal enters
in the objective, through its link directions, the target in the constraints.

Only SCS is used, at 1e-10: with Clarabel, the derivatives that diffcp 1.1 computes of semidefinite programs of size
four and more are wrong, although their solutions are right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arm import PlanarArm
from ..errors import InvalidInputError, MissingExtraError
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import broadcast_batch
from .convex_ik import SAMPLES_PER_LINK, TIGHT, directions_of, disc_parameters, lifted_problem, socp_problem

try:
    import torch
    from cvxpylayers.torch.cvxpylayer import CvxpyLayer
except ImportError as cause:
    raise MissingExtraError("planararm.projection.convex_layer", "convex") from cause

_ACCURATE = {
    "solve_method": "SCS", "eps": 1e-10, "max_iters": 100_000, "acceleration_lookback": 0, "raise_on_error": False,
}  # fmt: skip

CONE_TIGHT = 1e-5
"""The cone relaxation is called tight if no direction is shorter than one by more than this."""

INSIDE = 1e-9
"""Targets are kept this share of the reach inside the annulus: on its edge the relaxation has no interior."""


def _solve(layer: CvxpyLayer, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    differentiates = torch.is_grad_enabled() and any(value.requires_grad for value in values)
    # Without gradients cvxpylayers calls SCS directly, which knows no mode.
    found: tuple[torch.Tensor, ...] = layer(
        *values, solver_args=_ACCURATE | ({"mode": "dense"} if differentiates else {})
    )
    return found


def _joint_angles(u: torch.Tensor) -> torch.Tensor:
    """Joint angles in (-pi, pi] of directions ``(N, n, 2)``, differentiable."""
    before = torch.cat([torch.tensor([1.0, 0.0], dtype=u.dtype).expand(len(u), 1, 2), u[:, :-1]], dim=1)
    across = before[..., 0] * u[..., 1] - before[..., 1] * u[..., 0]
    return torch.atan2(across, (before * u).sum(-1))


class _ConvexIK(torch.nn.Module):
    def __init__(self, arm: PlanarArm) -> None:
        super().__init__()
        self.arm = arm

    def _arguments(self, q_ref: Any, target_position: Any) -> tuple[tuple[int, ...], torch.Tensor, torch.Tensor]:
        n = self.arm.num_joints
        for name, value, size in (("q_ref", q_ref, n), ("target_position", target_position, 2)):
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                raise InvalidInputError(f"{name} must be a floating-point torch tensor, got {type(value).__name__}.")
            if value.shape[-1:] != (size,):
                raise InvalidInputError(f"{name} must have shape (*batch, {size}), got {tuple(value.shape)}.")
            if not bool(torch.isfinite(value).all()):
                raise InvalidInputError(f"{name} must be finite, got nan or infinity among its numbers.")
        batch = broadcast_batch(q_ref=tuple(q_ref.shape[:-1]), target_position=tuple(target_position.shape[:-1]))
        proposal = q_ref.double().expand(*batch, n).reshape(-1, n)
        goal = target_position.double() - torch.tensor(np.array(self.arm.base))
        goal = goal.expand(*batch, 2).reshape(-1, 2)
        farthest = self.arm.reach * (1 - INSIDE)
        distance = goal.detach().norm(dim=-1, keepdim=True)
        return batch, proposal, torch.where(distance > farthest, goal * (farthest / distance), goal)


class ConeIK(_ConvexIK):
    """The second-order cone relaxation, without joint limits and discs.

    Args:
        arm: The arm.
    """

    def __init__(self, arm: PlanarArm) -> None:
        super().__init__(arm)
        problem = socp_problem(arm.link_lengths)
        by_name = {parameter.name(): parameter for parameter in problem.parameters()}
        self._layer = CvxpyLayer(problem, [by_name["proposal"], by_name["goal"]], problem.variables())

    def forward(self, q_ref: torch.Tensor, target_position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Relax.

        Args:
            q_ref: ``(*batch, n)`` the network's proposals [rad].
            target_position: ``(*batch, 2)`` [m]; beyond the reach, the nearest point within.

        Returns:
            Joint angles ``(*batch, n)``, each in (-pi, pi] [rad], and whether the relaxation is tight ``(*batch,)``: if
            not, the end effector is not on the target.

        Raises:
            InvalidInputError: No floating-point tensors, wrong shapes, nan.
        """
        batch, proposal, goal = self._arguments(q_ref, target_position)
        heading = proposal.cumsum(-1)
        (u,) = _solve(self._layer, torch.stack([heading.cos(), heading.sin()], dim=-1), goal)
        tight = (1 - u.detach().norm(dim=-1)).abs().amax(-1) < CONE_TIGHT
        return _joint_angles(u).reshape(*batch, -1).to(q_ref), tight.reshape(batch)


class LiftedIK(_ConvexIK):
    """The semidefinite relaxation, with joint limits and room for discs.

    Args:
        arm: The arm.
        num_discs: The most discs of a scene.
        samples: Points of each link that are kept out of the discs.
    """

    def __init__(self, arm: PlanarArm, num_discs: int = 0, *, samples: int = SAMPLES_PER_LINK) -> None:
        super().__init__(arm)
        self.num_discs, self.samples = num_discs, samples
        lifted = lifted_problem(arm, num_discs, samples=samples)
        self._names = list(lifted.parameters)
        self._layer = CvxpyLayer(lifted.problem, list(lifted.parameters.values()), [lifted.R, lifted.S])

    def forward(
        self, q_ref: torch.Tensor, target_position: torch.Tensor, scene: Scene | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Relax.

        Args:
            q_ref: ``(*batch, n)`` the network's proposals [rad].
            target_position: ``(*batch, 2)`` [m]; beyond the reach, the nearest point within.
            scene: An unbatched scene of the same arm, with at most ``num_discs`` discs; None: no discs.

        Returns:
            Joint angles ``(*batch, n)``, each in (-pi, pi] [rad], and whether the relaxation is tight ``(*batch,)``;
            nan where it is infeasible.

        Raises:
            InvalidInputError: No floating-point tensors, wrong shapes, nan, a scene that does not fit.
        """
        batch, proposal, goal = self._arguments(q_ref, target_position)
        if scene is not None and (
            scene.batch_shape or scene.arm != self.arm or scene.obstacles.num_obstacles > self.num_discs
        ):
            raise InvalidInputError(
                f"scene must be one scene of this arm with at most {self.num_discs} discs, got batch shape "
                f"{scene.batch_shape} and {scene.obstacles.num_obstacles} discs."
            )
        count, n = proposal.shape
        heading = proposal.cumsum(-1)
        column = torch.zeros(count, 1, dtype=torch.float64)
        rest = torch.zeros(count, n + 1, n, dtype=torch.float64)

        def cost(part: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.cat([column, -part], dim=1)[..., None], rest], dim=2)

        values = {"cost_real": cost(heading.cos()), "cost_imag": cost(heading.sin()), "goal": goal}
        if self.num_discs:
            empty = Scene(self.arm, Obstacles.none()) if scene is None else scene
            discs = disc_parameters(empty, self.num_discs, self.samples, inflated=True)
            values |= {name: torch.tensor(part).expand(count, -1) for name, part in discs.items()}
        R, S = _solve(self._layer, *(values[name] for name in self._names))
        found = R.detach().numpy() + 1j * S.detach().numpy()
        solved = np.asarray(np.isfinite(found).all(axis=(1, 2)))
        tight = [bool(solved[i]) and directions_of(found[i])[1] < TIGHT for i in range(count)]
        u = torch.stack([R[:, 1:, 0], S[:, 1:, 0]], dim=-1)
        return _joint_angles(u).reshape(*batch, n).to(q_ref), torch.tensor(tight, dtype=torch.bool).reshape(batch)
