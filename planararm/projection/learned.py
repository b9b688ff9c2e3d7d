"""Constraints learned from data: polytopes and quadratic programs whose coefficients are parameters of a network.

OptNet's parametrisation (Amos & Kolter, 2017, arXiv:1703.00443) keeps the problem well-posed whatever the optimiser
does: ``h = G z0 + softplus(s)`` puts the point z0 strictly inside, ``b = A z0`` lets the equalities meet there, and
``P = L L^T + eps I`` is positive definite. Parameters drawn as small random numbers give none of this: then h has a
random sign, the set is mostly empty, and an empty set has no gradient that could lead out.

Two things starve such a layer of gradient: rows that no point presses against get none, and a set that is too large
leaves points where they are. :func:`planararm.projection.learned_fit.fit` therefore starts from the polytope that
circumscribes the targets, with evenly spread rows, and moves rows that stay idle to where the error is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import linprog

from ..errors import InvalidInputError, MissingExtraError
from ..validate import finite_array, real_number, whole_number
from .qp import FloatArray

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.learned", "torch") from cause

from .torch_layer import QPProjection

_NEAREST_WALL = 1e-3
MOST = 10_000
"""Variables, and rows, at most."""


def spread_directions(num_directions: int, num_variables: int, seed: int = 0) -> FloatArray:
    """Unit vectors that are spread evenly: the axes both ways, then random ones, pushed apart like charges.

    Args:
        num_directions: How many.
        num_variables: Of how many coordinates.
        seed: Of the random ones.

    Returns:
        ``(num_directions, num_variables)``.
    """
    rng = np.random.default_rng(seed)
    axes = np.eye(num_variables)
    extra = rng.normal(size=(max(0, num_directions - 2 * num_variables), num_variables))
    found = np.concatenate([axes, -axes, extra / np.linalg.norm(extra, axis=1, keepdims=True)])[:num_directions]
    for _ in range(200):
        apart = found[:, None] - found
        distance = np.linalg.norm(apart, axis=-1, keepdims=True)
        force = (apart / np.maximum(distance, 1e-3) ** 3).sum(axis=1)
        found = found + 0.1 / num_directions * force
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found)


class LearnedPolytope(torch.nn.Module):
    """Projects onto ``{z: G z <= h}``, a polytope that is learned: ``h = G z0 + softplus(s)``, rows of G of length one.

    ``softplus(s)``, in units of ``scale``, is the distance of each wall from z0, which is therefore always strictly
    inside. The parameters are float64; the answer has the dtype of the input.

    Args:
        num_variables: n.
        num_rows: m; more than the polytope has leaves some unused and makes the search easier.
        scale: Distance of the walls from the origin before training, and the size of a unit step of the optimiser:
            of the order of the polytope's size. :func:`planararm.projection.learned_fit.fit` takes it from the data.
        seed: Of the rows' directions before training.

    Raises:
        InvalidInputError: A number out of range.
    """

    def __init__(self, num_variables: int, num_rows: int, *, scale: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.num_variables = whole_number("num_variables", num_variables, 1, MOST)
        self.num_rows = whole_number("num_rows", num_rows, 1, MOST)
        directions = spread_directions(self.num_rows, self.num_variables, seed)
        self.directions = torch.nn.Parameter(torch.from_numpy(directions))
        self.offset = torch.nn.Parameter(torch.zeros(self.num_variables, dtype=torch.float64))
        self.openness = torch.nn.Parameter(torch.full((self.num_rows,), math.log(math.expm1(1.0)), dtype=torch.float64))
        self.scale: torch.Tensor
        self.origin: torch.Tensor
        self.register_buffer("scale", torch.tensor(real_number("scale", scale, 0.0, 1e12), dtype=torch.float64))
        self.register_buffer("origin", torch.zeros(self.num_variables, dtype=torch.float64))
        self._project = QPProjection()

    @property
    def center(self) -> torch.Tensor:
        """z0: ``(n,)``, strictly inside."""
        return self.origin + self.scale * self.offset

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``G (m, n)`` and ``h (m,)``."""
        G = torch.nn.functional.normalize(self.directions, dim=1)
        return G, G @ self.center + self.scale * torch.nn.functional.softplus(self.openness)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """The nearest points: ``z (*batch, n)`` to ``(*batch, n)``.

        Raises:
            InvalidInputError: Another shape, or NaN.
        """
        projected = self._project(z, *self.rows())
        assert isinstance(projected, torch.Tensor)
        return projected

    def support(self, directions: Any) -> FloatArray:
        """The support function ``max {d z: G z <= h}`` of each direction, by a linear program; inf: unbounded.

        Args:
            directions: ``(k, n)``.

        Returns:
            ``(k,)``.

        Raises:
            InvalidInputError: Not finite numbers of this shape.
        """
        G, h = (part.detach().cpu().numpy() for part in self.rows())
        return polytope_support(G, h, directions)

    @torch.no_grad()
    def enclose(self, points: Any) -> None:
        """Start from the circumscribed polytope: each row touches the points, evenly spread directions, z0 their mean.

        Args:
            points: ``(N, n)``.

        Raises:
            InvalidInputError: Not finite numbers of this shape, or no point.
        """
        array = finite_array("points", points, (self.num_variables,)).reshape(-1, self.num_variables)
        if not len(array):
            raise InvalidInputError("points must hold at least one point, got none.")
        center = torch.from_numpy(array.mean(axis=0)).to(self.origin)
        G = torch.nn.functional.normalize(self.directions, dim=1)
        distance = ((torch.from_numpy(array).to(self.origin) - center) @ G.T).amax(dim=0)
        self.origin.copy_(center)
        self.offset.zero_()
        if float(distance.mean()) > 0:
            self.scale.copy_(distance.mean())
        self.openness.copy_(self._openness(distance))

    def _openness(self, distance: torch.Tensor) -> torch.Tensor:
        """The inverse of softplus, of distances of walls from z0."""
        units = (distance / self.scale).clamp(min=_NEAREST_WALL)
        return units + torch.log(-torch.expm1(-units))

    @torch.no_grad()
    def cut(self, row: int, raw: torch.Tensor, projected: torch.Tensor) -> None:
        """Let a row be the cut that a pair proves: the set lies in ``{x: (raw - projected) (x - projected) <= 0}``.

        Args:
            row: Which.
            raw: ``(n,)`` a point outside.
            projected: ``(n,)`` its projection.
        """
        direction = torch.nn.functional.normalize(raw - projected, dim=0)
        self.directions[row] = direction
        self.openness[row] = self._openness(direction @ (projected - self.center))


def polytope_support(G: Any, h: Any, directions: Any) -> FloatArray:
    """The support function ``max {d z: G z <= h}`` in each direction d, by a linear program (HiGHS).

    Args:
        G: ``(m, n)``.
        h: ``(m,)``.
        directions: ``(k, n)``.

    Returns:
        ``(k,)``; inf where the polytope is unbounded, -inf where it is empty.

    Raises:
        InvalidInputError: Not finite numbers of these shapes.
    """
    G = finite_array("G", G)
    if G.ndim != 2:
        raise InvalidInputError(f"G must have shape (m, n), got {G.shape}.")
    h, directions = finite_array("h", h, G.shape[:1]), finite_array("directions", directions, G.shape[1:])
    found = np.empty(directions.shape[:-1])
    for where in np.ndindex(found.shape):
        answer = linprog(-directions[where], A_ub=G, b_ub=h, bounds=(None, None))
        found[where] = {0: -answer.fun if answer.fun is not None else 0.0, 2: -np.inf}.get(answer.status, np.inf)
    return found


class LearnedQP(torch.nn.Module):
    """A quadratic program with learned coefficients behind a network, whose output y enters the objective.

    ``min 1/2 (z - y)^T P (z - y) + q^T z`` subject to ``G z <= h``, ``A z = b``, with ``P = L L^T + eps I``,
    ``h = G z0 + softplus(s)``, ``b = A z0``; q is in units of the polytope's scale. It is always feasible, strictly
    convex, and never blind to its input, since fewer equalities than variables are allowed. It equals the projection
    of ``y - P^-1 q`` in the metric of P; an equality goes in as a row and its negative.

    Args:
        num_variables: n.
        num_rows: Of G.
        num_equalities: Of A, p < n.
        eps: Least eigenvalue of P.
        scale: See :class:`LearnedPolytope`.
        seed: Of G and A before training.

    Raises:
        InvalidInputError: A number out of range, or as many equalities as variables.
    """

    def __init__(
        self,
        num_variables: int,
        num_rows: int,
        num_equalities: int = 0,
        *,
        eps: float = 1e-3,
        scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.polytope = LearnedPolytope(num_variables, num_rows, scale=scale, seed=seed)
        n, p = self.polytope.num_variables, whole_number("num_equalities", num_equalities, 0, MOST)
        if p >= n:
            raise InvalidInputError(
                f"num_equalities must be below num_variables = {n}, got {p}: nothing would be left to choose."
            )
        self.eps = real_number("eps", eps, 0.0, 1e12)
        axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0][:p]
        self.root = torch.nn.Parameter(torch.eye(n, dtype=torch.float64))
        self.linear = torch.nn.Parameter(torch.zeros(n, dtype=torch.float64))
        self.equalities = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(axes)))
        self._project = QPProjection()

    def metric(self) -> torch.Tensor:
        """``P (n, n)``."""
        root = self.root.tril()
        return root @ root.T + self.eps * torch.eye(len(root), dtype=root.dtype, device=root.device)

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``(m + 2 p, n)`` and ``(m + 2 p,)``: G, A, -A and their right-hand sides."""
        G, h = self.polytope.rows()
        b = self.equalities @ self.polytope.center
        return torch.cat([G, self.equalities, -self.equalities]), torch.cat([h, b, -b])

    def forward(self, output: torch.Tensor) -> torch.Tensor:
        """Solve: the network's output ``(*batch, n)`` to ``(*batch, n)``.

        Raises:
            InvalidInputError: Another shape, or NaN.
        """
        P = self.metric()
        pulled = torch.linalg.solve(P, self.linear * self.polytope.scale)
        solved = self._project(output - pulled, *self.rows(), H=P)
        assert isinstance(solved, torch.Tensor)
        return solved.to(output.dtype)

    def enclose(self, points: Any) -> None:
        """Start from rows that circumscribe points; see :meth:`LearnedPolytope.enclose`."""
        self.polytope.enclose(points)
