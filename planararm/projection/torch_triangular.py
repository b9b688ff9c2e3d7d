"""Factors of batches of small matrices in torch, column after column, without a wait for the device.

The library's own batched factorisations go through one small matrix after the other, or through libraries made for
large ones; these loops are over the order of the matrix (at most 16), and each step takes the whole batch.
"""

from __future__ import annotations

from ..errors import MissingExtraError

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.projection.torch_triangular", "torch") from cause

SYMMETRIC = 1e-9
"""A matrix counts as symmetric if it differs from its transpose by no more than this share of its largest entry."""


def orthogonal(Q: torch.Tensor, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of ``vector (N, n)`` beside the orthonormal rows of ``Q (N, k, n)``, and the coefficients along them.

    Gram-Schmidt, done twice: the rest is orthogonal to working accuracy.
    """
    rest, coefficient = vector, torch.zeros_like(Q[..., 0])
    for _ in range(2):
        dot = (Q * rest[:, None]).sum(-1)
        rest = rest - (Q * dot[..., None]).sum(1)
        coefficient = coefficient + dot
    return rest, coefficient


def factorise(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``rows (N, n, n) = L Q``, L lower triangular, Q with orthonormal rows; a zero row gets a zero row of Q."""
    n = rows.shape[-1]
    Q, L = torch.zeros_like(rows), torch.zeros_like(rows)
    for b in range(n):
        rest, coefficient = orthogonal(Q[:, :b], rows[:, b])
        left = torch.linalg.vector_norm(rest, dim=-1)
        left = torch.where(left > 0, left, torch.ones_like(left))
        L[:, b, :b], L[:, b, b] = coefficient, left
        Q[:, b] = rest / left[:, None]
    return Q, L


def solve_lower(L: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``L^-1 values`` for ``values (N, n)``."""
    found = torch.zeros_like(values)
    for b in range(values.shape[-1]):
        found[:, b] = (values[:, b] - (L[:, b, :b] * found[:, :b]).sum(-1)) / L[:, b, b]
    return found


def solve_upper(L: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``L^-T values`` for ``values (N, n)``."""
    found = torch.zeros_like(values)
    for b in reversed(range(values.shape[-1])):
        found[:, b] = (values[:, b] - (L[:, b + 1 :, b] * found[:, b + 1 :]).sum(-1)) / L[:, b, b]
    return found


def whitened(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``F^-1`` of each row of ``(N, k, n)``."""
    if not factor.shape[-1]:
        return rows
    return torch.linalg.solve_triangular(factor, rows.mT, upper=False).mT


def cholesky(H: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors, and which matrices are symmetric positive definite; the identity stands in for the others."""
    uneven = (H - H.mT).abs().amax(dim=(1, 2)) > SYMMETRIC * H.abs().amax(dim=(1, 2))
    factor, failed = torch.linalg.cholesky_ex(H)
    valid = torch.isfinite(factor).all(dim=2).all(dim=1) & ~uneven & (failed == 0)
    identity = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device)
    return torch.where(valid[:, None, None], factor, identity), valid
