"""The exact projection as a layer of a torch network.

``x = argmin 1/2 (x - x_ref)^T H (x - x_ref)`` subject to ``G x <= h``, ``lb <= x <= ub``: the network's output is
``x_ref``. Tensors on the CPU go through the compiled kernel, tensors on an accelerator through the same method in
batched torch; the problem is solved in float64 whatever the network's precision.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from ..errors import InvalidInputError, MissingExtraError
from .problems import CORE_AXES, Problems, check_shapes, make_problems, refuse_invalid
from .qp import INVALID, Found, QPSolution, differentiate, in_argument_shapes, solve

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.torch_layer", "torch") from cause

from . import torch_solver

Tensors = dict[str, torch.Tensor]


class _Backend(Protocol):
    """A batch that has been solved; tensors and gradients are float64."""

    batch: tuple[int, ...]

    def point(self) -> torch.Tensor:
        """``(*batch, n)``."""

    def gradients(self, grad_x: torch.Tensor, wanted: frozenset[str]) -> Tensors:
        """In the shapes of the arguments."""

    def any_invalid(self) -> bool:
        """Whether an element has a nan (or a misplaced infinity) among its arguments."""

    def on_host(self) -> tuple[Problems, Found]:
        """The problems and their solutions as NumPy arrays."""


def _in_float64(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.float64)


class _Kernel:
    """Solved by the compiled kernel."""

    def __init__(self, arguments: Tensors, elastic: float | None) -> None:
        arrays: dict[str, Any] = {name: _in_float64(tensor).numpy() for name, tensor in arguments.items()}
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._problems = make_problems(**arrays, elastic=elastic)
        self._found = solve(self._problems)
        self.batch = self._problems.batch

    def point(self) -> torch.Tensor:
        return torch.from_numpy(self._found.x).reshape(*self.batch, self._found.x.shape[-1])

    def gradients(self, grad_x: torch.Tensor, wanted: frozenset[str]) -> Tensors:
        outer = np.ascontiguousarray(_in_float64(grad_x).numpy().reshape(self._found.x.shape))
        if not outer.flags.writeable:
            outer = outer.copy()
        parts = differentiate(self._problems, self._found, outer, wanted)
        shapes = {name: shape for name, shape in self._shapes.items() if name in wanted}
        return {
            name: torch.from_numpy(value) for name, value in in_argument_shapes(self._problems, parts, shapes).items()
        }

    def any_invalid(self) -> bool:
        return bool((self._found.status == INVALID).any())

    def on_host(self) -> tuple[Problems, Found]:
        return self._problems, self._found


class _Accelerator:
    """Solved by the batched torch implementation, on the device of the tensors."""

    def __init__(self, arguments: Tensors, elastic: float | None) -> None:
        self.batch = check_shapes({name: tuple(tensor.shape) for name, tensor in arguments.items()}, elastic)
        self._elastic, self._arguments = elastic, arguments
        x_ref = arguments["x_ref"]
        bound = torch.full(x_ref.shape[-1:], math.inf, dtype=torch.float64, device=x_ref.device)
        spread = {"lb": -bound, "ub": bound} | arguments
        if bool((spread["lb"] > spread["ub"]).any()):
            raise InvalidInputError("lb must not exceed ub.")
        count = math.prod(self.batch)
        self._spread = {
            name: _in_float64(tensor)
            .expand(*self.batch, *tensor.shape[tensor.ndim - CORE_AXES[name] :])
            .reshape(count, *tensor.shape[tensor.ndim - CORE_AXES[name] :])
            for name, tensor in spread.items()
        }
        self._found = torch_solver.solve_batch(
            **{name: self._spread[name] for name in ("x_ref", "G", "h", "lb", "ub")},
            H=self._spread.get("H"),
            elastic=elastic,
        )

    def point(self) -> torch.Tensor:
        return self._found[0].reshape(*self.batch, self._found[0].shape[-1])

    def gradients(self, grad_x: torch.Tensor, wanted: frozenset[str]) -> Tensors:
        x, active, multipliers, saturated, status, _ = self._found
        parts = torch_solver.vjp_batch(
            _in_float64(grad_x).reshape(x.shape), x, self._spread["x_ref"], self._spread["G"], self._spread.get("H"),
            active, multipliers, saturated, status, self._elastic,
        )  # fmt: skip
        return {
            name: value.reshape(*self.batch, *value.shape[1:]).sum_to_size(self._arguments[name].shape)
            for name, value in zip(CORE_AXES, parts, strict=True)
            if name in wanted and value is not None
        }

    def any_invalid(self) -> bool:
        return bool((self._found[4] == INVALID).any())

    def on_host(self) -> tuple[Problems, Found]:
        arrays: dict[str, Any] = {name: _in_float64(tensor).cpu().numpy() for name, tensor in self._arguments.items()}
        problems = make_problems(**arrays, elastic=self._elastic)
        return problems, Found(*(part.cpu().numpy() for part in self._found))


def _backend(arguments: Tensors, elastic: float | None) -> _Backend:
    on_cpu = arguments["x_ref"].device.type == "cpu"
    return _Kernel(arguments, elastic) if on_cpu else _Accelerator(arguments, elastic)


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, backend: _Backend, names: tuple[str, ...], *tensors: torch.Tensor) -> torch.Tensor:
        ctx.backend, ctx.names = backend, names
        ctx.set_materialize_grads(False)
        point = backend.point().to(tensors[0].dtype)
        # The kernel reads the tensors' own memory again on the way back: autograd must notice if it was overwritten.
        ctx.save_for_backward(*tensors, point)
        return point

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_x: torch.Tensor | None) -> tuple[Any, ...]:
        *tensors, _ = ctx.saved_tensors
        if grad_x is None:
            return (None, None, *(None for _ in tensors))
        wanted = frozenset(name for name, needed in zip(ctx.names, ctx.needs_input_grad[2:], strict=True) if needed)
        parts = ctx.backend.gradients(grad_x, wanted)
        return (
            None,
            None,
            *(
                parts[name].to(tensor.dtype) if name in wanted else None
                for name, tensor in zip(ctx.names, tensors, strict=True)
            ),
        )


def _check_tensors(arguments: dict[str, Any]) -> None:
    device = getattr(arguments["x_ref"], "device", None)
    for name, value in arguments.items():
        if not isinstance(value, torch.Tensor):
            raise InvalidInputError(f"{name} must be a torch tensor, got {type(value).__name__}; see torch.as_tensor.")
        if not value.is_floating_point():
            raise InvalidInputError(f"{name} must be a floating-point tensor, got dtype {value.dtype}.")
        if value.device != device:
            raise InvalidInputError(f"{name} is on {value.device}, x_ref on {device}; all must be on one device.")


class QPProjection(torch.nn.Module):
    """Projects a network's output onto ``{x: G x <= h, lb <= x <= ub}``, exactly and with exact derivatives.

    The forward pass is :func:`planararm.projection.qp.solve_qp`, the backward pass its vector-Jacobian product, with
    respect to every argument that requires a gradient. Arguments may lack the batch axes; their gradients are summed
    over the batch, as everywhere in torch. Not twice differentiable.

    At a vertex (n active rows) the projection is locally constant and the network gets no gradient: add a multiple
    of ``|x_ref - x|^2`` to the loss, and train the bare network first.

    Args:
        elastic: None: an infeasible element gives nan, status 0 and zero gradients, and leaves the others alone. A
            number: the rows of G may be violated at this price per unit (the exact l1 penalty), the bounds never.
        return_solution: Whether to return ``(x, QPSolution)`` instead of ``x``; the solution is on the host.
        check_finite: Whether a nan (or an infinity in x_ref or G) raises; otherwise its element gives nan.

    Raises:
        InvalidInputError: The price is not above zero.
    """

    def __init__(
        self, elastic: float | None = None, return_solution: bool = False, *, check_finite: bool = True
    ) -> None:
        super().__init__()
        if elastic is not None and not float(elastic) > 0:
            raise InvalidInputError(f"elastic must be > 0 (the price of one unit of violation), got {elastic!r}.")
        self.elastic, self.return_solution, self.check_finite = elastic, return_solution, check_finite

    def forward(
        self,
        x_ref: torch.Tensor,
        G: torch.Tensor,
        h: torch.Tensor,
        lb: torch.Tensor | None = None,
        ub: torch.Tensor | None = None,
        H: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, QPSolution]:
        """Project.

        Args:
            x_ref: ``(*batch, n)`` the network's output.
            G: ``(*batch, m, n)``.
            h: ``(*batch, m)``.
            lb: ``(*batch, n)`` or None.
            ub: ``(*batch, n)`` or None.
            H: ``(*batch, n, n)`` symmetric positive definite, or None: the identity.

        Returns:
            ``(*batch, n)`` in the dtype of ``x_ref``, nan where infeasible; with ``return_solution`` the
            :class:`planararm.projection.qp.QPSolution` too.

        Raises:
            InvalidInputError: As :func:`planararm.projection.qp.solve_qp`, or tensors on several devices.
        """
        given = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}
        arguments = {name: value for name, value in given.items() if value is not None}
        _check_tensors(arguments)
        backend = _backend(arguments, self.elastic)
        x: torch.Tensor = _Projection.apply(  # type: ignore[no-untyped-call]
            backend, tuple(arguments), *arguments.values()
        )
        if self.check_finite and backend.any_invalid():
            refuse_invalid({name: tensor.detach().cpu().numpy() for name, tensor in arguments.items()})
            # All finite: what is left is an H that is not positive definite, which the host names.
            backend.on_host()
        if not self.return_solution:
            return x
        problems, found = backend.on_host()
        return x, QPSolution.of(problems, found, {name: tuple(tensor.shape) for name, tensor in arguments.items()})

    def extra_repr(self) -> str:
        """What was chosen."""
        return f"elastic={self.elastic}, return_solution={self.return_solution}"
