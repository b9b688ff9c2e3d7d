"""Convex relaxations of inverse kinematics as layers fed by a network's proposal.

The programs of :mod:`planararm.projection.convex_ik`, solved and differentiated by cvxpylayers. The proposal enters
in the objective, through its link directions, the target in the constraints.

Only SCS is used, at 1e-10: with Clarabel, the derivatives that diffcp 1.1 computes of semidefinite programs of size
four and more are wrong, although their solutions are right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arm import PlanarArm
from ..errors import InvalidInputError, MissingExtraError
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import broadcast_batch, whole_number
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


def _check(name: str, value: Any, trailing: tuple[int, ...]) -> None:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise InvalidInputError(f"{name} must be a floating-point torch tensor, got {type(value).__name__}.")
    if tuple(value.shape[value.ndim - len(trailing) :]) != trailing:
        shape = ", ".join(["*batch", *map(str, trailing)])
        raise InvalidInputError(f"{name} must have shape ({shape}), got {tuple(value.shape)}.")
    if not bool(torch.isfinite(value).all()):
        raise InvalidInputError(f"{name} must be finite, got nan or infinity among its numbers.")


class _ConvexIK(torch.nn.Module):
    def __init__(self, arm: PlanarArm) -> None:
        super().__init__()
        self.arm = arm

    def _arguments(self, q_ref: Any, target_position: Any) -> tuple[tuple[int, ...], torch.Tensor, torch.Tensor]:
        n = self.arm.num_joints
        _check("q_ref", q_ref, (n,))
        _check("target_position", target_position, (2,))
        batch = broadcast_batch(q_ref=tuple(q_ref.shape[:-1]), target_position=tuple(target_position.shape[:-1]))
        # cvxpylayers solves on the CPU.
        proposal = q_ref.cpu().double().expand(*batch, n).reshape(-1, n)
        goal = target_position.cpu().double() - torch.tensor(np.array(self.arm.base))
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
        if not len(proposal):
            return q_ref.new_zeros(*batch, self.arm.num_joints), torch.zeros(batch, dtype=torch.bool)
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
        oriented: Whether calls give the heading of the last link as well.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self, arm: PlanarArm, num_discs: int = 0, *, samples: int = SAMPLES_PER_LINK, oriented: bool = False
    ) -> None:
        super().__init__(arm)
        self.num_discs, self.samples = whole_number("num_discs", num_discs, 0, 1000), samples
        self.oriented = oriented
        lifted = lifted_problem(arm, num_discs, samples=samples, oriented=oriented)
        self._names = list(lifted.parameters)
        self._layer = CvxpyLayer(lifted.problem, list(lifted.parameters.values()), [lifted.R, lifted.S])

    def forward(
        self,
        q_ref: torch.Tensor,
        target_position: torch.Tensor,
        scene: Scene | None = None,
        *,
        target_orientation: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Relax.

        Args:
            q_ref: ``(*batch, n)`` the network's proposals [rad].
            target_position: ``(*batch, 2)`` [m]; beyond the reach, the nearest point within.
            scene: A scene of the same arm with at most ``num_discs`` discs, of batch shape ``()`` or ``(*batch)``;
                None: no discs.
            target_orientation: ``(*batch,)`` heading of the last link [rad], if the layer is ``oriented``.

        Returns:
            Joint angles ``(*batch, n)``, each in (-pi, pi] [rad], and whether the relaxation is tight ``(*batch,)``;
            nan where it is infeasible.

        Raises:
            InvalidInputError: No floating-point tensors, wrong shapes, nan, a scene that does not fit, an orientation
                given or missing against ``oriented``.
        """
        batch, proposal, goal = self._arguments(q_ref, target_position)
        count, n = proposal.shape
        heading = proposal.cumsum(-1)
        values = {"cost_real": _cost(heading.cos()), "cost_imag": _cost(heading.sin()), "goal": goal}
        values |= self._disc_values(scene, batch) | self._heading_values(target_orientation, batch)
        if count == 0:
            return q_ref.new_zeros(*batch, n), torch.zeros(batch, dtype=torch.bool)
        R, S = _solve(self._layer, *(values[name] for name in self._names))
        found = R.detach().numpy() + 1j * S.detach().numpy()
        solved = np.asarray(np.isfinite(found).all(axis=(1, 2)))
        tight = [bool(solved[i]) and directions_of(found[i])[1] < TIGHT for i in range(count)]
        u = torch.stack([R[:, 1:, 0], S[:, 1:, 0]], dim=-1)
        return _joint_angles(u).reshape(*batch, n).to(q_ref), torch.tensor(tight, dtype=torch.bool).reshape(batch)

    def _disc_values(self, scene: Scene | None, batch: tuple[int, ...]) -> dict[str, torch.Tensor]:
        if scene is None:
            scene = Scene(self.arm, Obstacles.none())
        held = scene.obstacles.num_obstacles
        if scene.batch_shape not in ((), batch) or scene.arm != self.arm or held > self.num_discs:
            raise InvalidInputError(
                f"scene must be of this arm, of batch shape () or {batch}, with at most {self.num_discs} discs, got "
                f"batch shape {scene.batch_shape} and {held} discs."
            )
        if not self.num_discs:
            return {}
        scenes = [scene[i] for i in np.ndindex(batch)] if scene.batch_shape else [scene] * math.prod(batch)
        rows = [disc_parameters(one, self.num_discs, self.samples, inflated=True) for one in scenes]
        names = ("disc_x", "disc_y", "disc_k")
        return {name: torch.tensor(np.array([row[name] for row in rows])) for name in names}

    def _heading_values(self, orientation: Any, batch: tuple[int, ...]) -> dict[str, torch.Tensor]:
        if (orientation is not None) != self.oriented:
            raise InvalidInputError(
                f"target_orientation must {'be given' if self.oriented else 'be None'}: the layer was built with "
                f"oriented={self.oriented}."
            )
        if orientation is None:
            return {}
        _check("target_orientation", orientation, ())
        heading = orientation.cpu().double()
        if broadcast_batch(target_orientation=tuple(heading.shape), batch=batch) != batch:
            raise InvalidInputError(f"target_orientation must have shape {batch}, got {tuple(heading.shape)}.")
        heading = heading.expand(batch).reshape(-1)
        return {"heading": torch.stack([heading.cos(), heading.sin()], dim=-1)}


def _cost(part: torch.Tensor) -> torch.Tensor:
    """One part of the cost matrix of :func:`~planararm.projection.convex_ik.nearest_cost`, of ``(N, n)`` headings."""
    count, n = part.shape
    first = torch.cat([part.new_zeros(count, 1), -part], dim=1)
    return torch.cat([first[..., None], part.new_zeros(count, n + 1, n)], dim=2)
