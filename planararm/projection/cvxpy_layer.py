"""The projection written in cvxpy: the readable reference of :mod:`planararm.projection.torch_layer`, and its oracle.

How does a network's output enter an optimisation problem? As the *point that is projected*, in the objective::

    x = cp.Variable(n)
    minimise   1/2 sum_squares(x - network_output)
    subject to G @ x <= h,  lb <= x <= ub

The network proposes a point, the problem answers with the nearest point that respects the constraints. Whatever the
network says, the answer respects them; where the proposal already does, the answer is the proposal. The network
needs to know nothing of the set: the nearest point of a convex set exists, is unique, and moves no farther than the
proposal moves, so it can be differentiated almost everywhere, and training goes on through it. Put into the constraints
instead, the network's output would decide which points are allowed, and nothing would be guaranteed any more.

``network_output`` is a ``cp.Parameter``, as are G, h, lb and ub: cvxpylayers translates the problem once into a cone
program whose data are linear in the parameters, and differentiates the solution with respect to them (Agrawal et al.,
2019, arXiv:1910.12430). This needs *disciplined parametrised programming* (DPP): a product of two parameters is not
allowed. Hence a metric H does not enter as ``quad_form(x - network_output, H)``: with the Cholesky factor ``H = L L^T``
the objective is ``1/2 sum_squares(root @ x - target)``, where ``root = L^T`` and ``target = L^T network_output``, the
product, are formed in torch beforehand.

The accuracy asked of the solver is what makes it an oracle: with SCS at 1e-12 and the derivative's linear system
solved densely, solutions and gradients are right to about 1e-9; with the defaults of cvxpylayers, to about 1e-3. It
takes about a millisecond per problem.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, MissingExtraError
from .problems import CORE_AXES, make_problems, refuse_invalid

try:
    import cvxpy as cp
    import torch
    from cvxpylayers.torch.cvxpylayer import CvxpyLayer
except ImportError as cause:
    raise MissingExtraError("planararm.projection.cvxpy_layer", "convex") from cause

BoolArray = npt.NDArray[np.bool_]
Tensors = dict[str, torch.Tensor]

_ACCURATE = {
    "solve_method": "SCS",
    "eps": 1e-12,
    "max_iters": 200_000,
    "acceleration_lookback": 0,
    "raise_on_error": False,
}


def projection_problem(
    num_variables: int,
    num_rows: int,
    *,
    bounded_below: BoolArray | None = None,
    bounded_above: BoolArray | None = None,
    metric: bool = False,
    elastic: float | None = None,
) -> tuple[cp.Problem, dict[str, cp.Parameter], cp.Variable]:
    """The projection as a disciplined parametrised program.

    Args:
        num_variables: n.
        num_rows: m, of G.
        bounded_below: ``(n,)`` bool: the coordinates that have a lower bound; None: all.
        bounded_above: ``(n,)`` bool: the coordinates that have an upper bound; None: all.
        metric: Whether ``root`` is a parameter; otherwise H is the identity.
        elastic: Price of a violation of G; None: none may be violated.

    Returns:
        The problem; its parameters ``target (n,)``, ``root (n, n)`` if ``metric``, ``G (m, n)`` and ``h (m,)`` if
        there are rows, ``lb`` and ``ub`` of the bounded coordinates, if there are any; the variable x.
    """
    every = np.ones(num_variables, dtype=bool)
    below = np.flatnonzero(every if bounded_below is None else bounded_below)
    above = np.flatnonzero(every if bounded_above is None else bounded_above)
    x = cp.Variable(num_variables, name="x")
    parameters = {"target": cp.Parameter(num_variables, name="target")}
    moved = x
    if metric:
        parameters["root"] = cp.Parameter((num_variables, num_variables), name="root")
        moved = parameters["root"] @ x
    cost = 0.5 * cp.sum_squares(moved - parameters["target"])  # type: ignore[attr-defined]
    constraints = []
    if num_rows:
        parameters["G"] = cp.Parameter((num_rows, num_variables), name="G")
        parameters["h"] = cp.Parameter(num_rows, name="h")
        excess = parameters["G"] @ x - parameters["h"]
        if elastic is None:
            constraints.append(excess <= 0)
        else:
            violation = cp.Variable(num_rows, nonneg=True, name="violation")
            constraints.append(excess <= violation)
            cost += elastic * cp.sum(violation)  # type: ignore[attr-defined]
    if len(below):
        parameters["lb"] = cp.Parameter(len(below), name="lb")
        constraints.append(parameters["lb"] <= x[below])
    if len(above):
        parameters["ub"] = cp.Parameter(len(above), name="ub")
        constraints.append(x[above] <= parameters["ub"])
    return cp.Problem(cp.Minimize(cost), constraints), parameters, x


class CvxpyProjection(torch.nn.Module):
    """The projection onto ``{x: G x <= h, lb <= x <= ub}`` by cvxpylayers; same call as ``QPProjection``.

    ``min 1/2 (x - x_ref)^T H (x - x_ref)``. Arguments may lack the batch axes; their gradients are summed over the
    batch. Problems are translated on first use, once for each combination of sizes and of bounds that are finite:
    infinite bounds, and rows whose right-hand side is inf, are left out rather than replaced by large numbers, which
    would spoil the accuracy.

    An infeasible element gives nan and zero gradients, and leaves the others alone; it costs a second solution of
    the batch. Gradients are those of the solution map where it is differentiable: active rows linearly independent
    with positive multipliers. Not twice differentiable; diffcp takes an outer gradient whose entries are all below 1e-8
    for zero.

    Args:
        elastic: None: G holds or the element is infeasible. A number: rows of G may be violated at this price per
            unit (the exact l1 penalty, by slack variables), the bounds never.

    Raises:
        InvalidInputError: The price is not a positive number.
    """

    def __init__(self, elastic: float | None = None) -> None:
        super().__init__()
        if elastic is not None and not 0 < float(elastic) < math.inf:
            raise InvalidInputError(f"elastic must be > 0 (the price of one unit of violation), got {elastic!r}.")
        self.elastic = None if elastic is None else float(elastic)
        self._layers: dict[tuple[Any, ...], tuple[CvxpyLayer, tuple[str, ...]]] = {}

    def forward(
        self,
        x_ref: torch.Tensor,
        G: torch.Tensor,
        h: torch.Tensor,
        lb: torch.Tensor | None = None,
        ub: torch.Tensor | None = None,
        H: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Project.

        Args:
            x_ref: ``(*batch, n)`` the network's output.
            G: ``(*batch, m, n)``; m may be 0.
            h: ``(*batch, m)``; inf: a row that never acts.
            lb: ``(*batch, n)`` or None; -inf: no bound.
            ub: ``(*batch, n)`` or None; inf: no bound.
            H: ``(*batch, n, n)`` symmetric positive definite, or None: the identity.

        Returns:
            ``(*batch, n)`` in the dtype and on the device of ``x_ref``; nan where infeasible.

        Raises:
            InvalidInputError: Not tensors, shapes that do not fit, nan, lb above ub, H not symmetric positive definite.
        """
        given = {"x_ref": x_ref, "G": G, "h": h, "lb": lb, "ub": ub, "H": H}
        arguments = {name: value for name, value in given.items() if value is not None}
        batch = _check(arguments, self.elastic)
        bound = torch.full(x_ref.shape[-1:], math.inf, dtype=torch.float64)
        flat = {
            name: _flat(value, batch, CORE_AXES[name])
            for name, value in ({"lb": -bound, "ub": bound} | arguments).items()
        }
        if math.prod(batch) == 0:
            # Nothing to solve, but every argument is to get a gradient of zeros.
            x = flat["x_ref"] + sum(part.flatten(1).sum(1, keepdim=True) for part in flat.values())
        else:
            x = self._solve(flat)
        return x.reshape(*batch, x_ref.shape[-1]).to(x_ref)

    def _solve(self, flat: Tensors) -> torch.Tensor:
        """The solutions ``(N, n)`` of a batch with one leading axis."""
        acts = torch.cat([torch.isfinite(flat[name]) for name in ("h", "lb", "ub")], dim=1).numpy()
        kinds, kind_of = np.unique(acts, axis=0, return_inverse=True)
        members = [np.flatnonzero(kind_of == kind) for kind in range(len(kinds))]
        parts = [
            self._solve_alike({name: value[index] for name, value in flat.items()}, acting)
            for acting, index in zip(kinds, members, strict=True)
        ]
        return torch.cat(parts)[np.argsort(np.concatenate(members))]

    def _solve_alike(self, flat: Tensors, acting: BoolArray) -> torch.Tensor:
        """Of problems that have the same finite right-hand sides: ``acting (m + 2 n,)``."""
        m, n = flat["G"].shape[1:]
        rows, below, above = np.split(acting, [m, m + n])
        # What does not act is left out, so a side that can never hold would be lost.
        hopeless = (flat["h"] == -math.inf).any(1) | (flat["lb"] == math.inf).any(1) | (flat["ub"] == -math.inf).any(1)
        parameters = {"target": flat["x_ref"]}
        if metric := "H" in flat:
            parameters["root"] = torch.linalg.cholesky(flat["H"]).mT
            parameters["target"] = (parameters["root"] @ flat["x_ref"][..., None])[..., 0]
        parameters |= {"G": flat["G"][:, rows], "h": flat["h"][:, rows]}
        parameters |= {"lb": flat["lb"][:, below], "ub": flat["ub"][:, above]}
        key = (int(rows.sum()), below.tobytes(), above.tobytes(), metric)
        if key not in self._layers:
            problem, declared, x = projection_problem(
                n, key[0], bounded_below=below, bounded_above=above, metric=metric, elastic=self.elastic
            )
            self._layers[key] = CvxpyLayer(problem, list(declared.values()), [x]), tuple(declared)
        layer, names = self._layers[key]
        return _solve_feasible(layer, {name: parameters[name] for name in names}, hopeless)


def _solve_feasible(layer: CvxpyLayer, parameters: Tensors, hopeless: torch.Tensor) -> torch.Tensor:
    """Call the layer; elements that it cannot solve are replaced by ones that it can, and their solutions by nan."""
    differentiates = torch.is_grad_enabled() and any(value.requires_grad for value in parameters.values())
    # Without gradients cvxpylayers calls SCS directly, which knows no mode.
    options = _ACCURATE | ({"mode": "dense"} if differentiates else {})
    if not hopeless.any():
        x = layer(*parameters.values(), solver_args=options)[0]
        hopeless = ~torch.isfinite(x.detach()).all(dim=1)
        if not hopeless.any():
            return x
    easy = {"G": 0.0, "h": 1.0, "lb": -1.0, "ub": 1.0}
    solvable = {
        name: torch.where(hopeless.reshape(-1, *(1,) * (value.ndim - 1)), easy[name], value) if name in easy else value
        for name, value in parameters.items()
    }
    x = layer(*solvable.values(), solver_args=options)[0]
    return torch.where(hopeless[:, None], math.nan, x)


def _check(arguments: dict[str, Any], elastic: float | None) -> tuple[int, ...]:
    """The shape of the batch."""
    for name, value in arguments.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            kind = f"dtype {value.dtype}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise InvalidInputError(f"{name} must be a floating-point torch tensor, got {kind}.")
    arrays = {name: value.detach().cpu().double().numpy() for name, value in arguments.items()}
    refuse_invalid(arrays)
    return make_problems(**arrays, elastic=elastic).batch


def _flat(value: torch.Tensor, batch: tuple[int, ...], axes: int) -> torch.Tensor:
    """On the CPU, in float64, with one leading axis for the batch; ``axes`` is the number of the others."""
    core = value.shape[value.ndim - axes :]
    return value.to("cpu", torch.float64).expand(*batch, *core).reshape(math.prod(batch), *core)
