"""The sequential projection as a layer of a torch network: proposals in, free configurations out."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidInputError, MissingExtraError, UnknownNameError
from ..scene import Scene
from .sensitivity import MODES
from .sequential import Projection, project

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.torch_sequential", "torch") from cause


class _Sequential(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, answer: Projection, mode: str, q_ref: torch.Tensor, target: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.answer, ctx.mode = answer, mode
        ctx.forms = [None if part is None else (part.dtype, part.device) for part in (q_ref, target)]
        return torch.from_numpy(answer.q.copy()).to(q_ref)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_q: torch.Tensor) -> tuple[Any, ...]:
        parts = ctx.answer.vjp(grad_q.detach().double().cpu().numpy(), mode=ctx.mode)
        return (
            None,
            None,
            *(
                None if form is None or part is None else torch.from_numpy(part).to(device=form[1], dtype=form[0])
                for part, form in zip(parts, ctx.forms, strict=True)
            ),
        )


class SequentialProjection(torch.nn.Module):
    """Projects a network's proposals onto the free configurations of a scene, and onto targets if given.

    The forward pass is :func:`planararm.projection.sequential.project`, the backward pass the derivative of its
    *converged* answer: not that of its last quadratic program, whose rows depend on the answer themselves. Where a
    proposal is pressed into a corner (as many active rows as joints) it gets no gradient; add a multiple of ``|q_ref
    - q|^2`` to the loss.

    Args:
        mode: ``"exact"``, with the curvature of the active constraints; ``"gauss-newton"``, without.
        return_projection: Whether to return ``(q, Projection)`` instead of ``q``.
        **options: Of :func:`planararm.projection.sequential.project`.

    Raises:
        UnknownNameError: No such mode.
    """

    def __init__(self, *, mode: str = "exact", return_projection: bool = False, **options: Any) -> None:
        super().__init__()
        if mode not in MODES:
            raise UnknownNameError("mode", mode, MODES)
        self.mode, self.return_projection, self.options = mode, return_projection, options

    def forward(
        self, q_ref: torch.Tensor, scene: Scene, target_position: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, Projection]:
        """Project.

        Args:
            q_ref: ``(*batch, n)`` the network's proposals [rad].
            scene: The scene, with batch axes or without.
            target_position: ``(*batch, 2)`` [m] or None.

        Returns:
            ``(*batch, n)`` in the dtype of ``q_ref`` [rad]; with ``return_projection`` the
            :class:`planararm.projection.sequential.Projection` too, which says what is safe (before rounding).

        Raises:
            InvalidInputError: As :func:`planararm.projection.sequential.project`, or no tensors.
        """
        for name, value in (("q_ref", q_ref), ("target_position", target_position)):
            if value is not None and not (isinstance(value, torch.Tensor) and value.is_floating_point()):
                raise InvalidInputError(f"{name} must be a floating-point torch tensor, got {type(value).__name__}.")
        arrays = [None if part is None else part.detach().double().cpu().numpy() for part in (q_ref, target_position)]
        answer = project(arrays[0], scene, target_position=arrays[1], **self.options)
        q: torch.Tensor = _Sequential.apply(answer, self.mode, q_ref, target_position)  # type: ignore[no-untyped-call]
        return (q, answer) if self.return_projection else q
