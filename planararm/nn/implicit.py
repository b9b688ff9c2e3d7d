"""Implicit layers: outputs that are defined by a condition, differentiated by the implicit function theorem.

An explicit layer says how its output is computed; an implicit one says what its output must satisfy, ``f(x, y) = 0``.
Where ``f_y`` is regular, y is a function of x near there and ``f_y dy/dx + f_x = 0``. So the derivative needs the
solution and one linear system, and does not depend on how, or in how many steps, the solution was found.

S. Gould et al., *On differentiating parameterized argmin and argmax problems with application to bi-level
optimization*, arXiv:1607.05447 (2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import broadcast_batch, exact_array, finite_array, real_number, whole_number
from .layers import Layer

FloatArray = npt.NDArray[np.float64]

MOST_CONDITION = 1e14
"""Condition number of the linear system from which on it counts as singular."""


def _matrix(name: str, values: Any, num_rows: int | None = None, num_columns: int | None = None) -> FloatArray:
    array = finite_array(name, values)
    wanted = (num_rows, num_columns)
    if array.ndim < 2 or any(w not in (None, a) for a, w in zip(array.shape[-2:], wanted, strict=True)):
        shape = ", ".join("any" if w is None else str(w) for w in wanted)
        raise InvalidInputError(f"{name} must have shape (*batch, {shape}), got {array.shape}.")
    return array


def _regular(name: str, matrix: FloatArray) -> FloatArray:
    singular_values = np.linalg.svd(matrix, compute_uv=False)
    smallest, largest = singular_values[..., -1], singular_values[..., 0]
    if (smallest * MOST_CONDITION <= largest).any():
        raise InvalidInputError(
            f"{name} must be regular for the implicit function theorem to hold; its smallest singular value is "
            f"{smallest.min():.3g}, its largest {largest.max():.3g}."
        )
    return matrix


def implicit_jacobian(f_y: Any, f_x: Any) -> FloatArray:
    """Derivative of y(x) that is defined by ``f(x, y) = 0``: ``dy/dx = -f_y^-1 f_x``.

    Args:
        f_y: ``(*batch, n, n)`` derivative of f with respect to y, at the solution.
        f_x: ``(*batch, n, k)`` derivative of f with respect to x, at the solution.

    Returns:
        ``(*batch, n, k)``.

    Raises:
        InvalidInputError: Wrong shapes, NaN, or a singular ``f_y``.
    """
    f_y = _matrix("f_y", f_y)
    n = f_y.shape[-1]
    f_y, f_x = _matrix("f_y", f_y, n, n), _matrix("f_x", f_x, n)
    broadcast_batch(f_y=f_y.shape[:-2], f_x=f_x.shape[:-2])
    return np.asarray(-np.linalg.solve(_regular("f_y", f_y), f_x))


def implicit_vjp(f_y: Any, f_x: Any, grad_y: Any) -> FloatArray:
    """Back-propagation through ``f(x, y) = 0``: ``dL/dx = -f_x^T f_y^-T dL/dy``, one system for all of x.

    Args:
        f_y: ``(*batch, n, n)`` derivative of f with respect to y, at the solution.
        f_x: ``(*batch, n, k)`` derivative of f with respect to x, at the solution.
        grad_y: ``(*batch, n)`` derivative of the loss with respect to y.

    Returns:
        ``(*batch, k)`` derivative of the loss with respect to x.

    Raises:
        InvalidInputError: Wrong shapes, NaN, or a singular ``f_y``.
    """
    f_y = _matrix("f_y", f_y)
    n = f_y.shape[-1]
    f_y, f_x = _matrix("f_y", f_y, n, n), _matrix("f_x", f_x, n)
    grad_y = finite_array("grad_y", grad_y, (n,))
    broadcast_batch(f_y=f_y.shape[:-2], f_x=f_x.shape[:-2], grad_y=grad_y.shape[:-1])
    adjoint = np.linalg.solve(np.swapaxes(_regular("f_y", f_y), -1, -2), grad_y[..., None])
    return np.asarray(-(np.swapaxes(f_x, -1, -2) @ adjoint)[..., 0])


def argmin_jacobian(f_yy: Any, f_xy: Any, h_y: Any = None, h_x: Any = None) -> FloatArray:
    """Derivative of ``y(x) = argmin f(x, y)``, or argmax, if asked subject to ``h(x, y) = 0``.

    Without constraints the condition is ``f_y(x, y) = 0``, hence ``dy/dx = -f_yy^-1 f_xy``. With constraints it is
    stationarity of the Lagrangian ``f + nu . h`` together with ``h = 0``, whose derivative is the bordered system

        [ f_yy  h_y^T ] [ dy/dx  ]     [ f_xy ]
        [ h_y     0   ] [ dnu/dx ] = - [ h_x  ]

    For ``A y = b``, both constant, its solution is Gould's ``(H^-1 A^T (A H^-1 A^T)^-1 A H^-1 - H^-1) f_xy`` with
    ``H = f_yy``; the bordered form needs no inverse of H. Inequalities come in through a log-barrier, which is a part
    of f.

    Args:
        f_yy: ``(*batch, n, n)`` second derivative of f, of the Lagrangian where h is not affine in y.
        f_xy: ``(*batch, n, k)`` derivative of ``f_y`` with respect to x, of the Lagrangian where ``h_y`` depends on x.
        h_y: ``(*batch, p, n)`` derivative of h with respect to y; None: no constraints.
        h_x: ``(*batch, p, k)`` derivative of h with respect to x; None: h does not depend on x.

    Returns:
        ``(*batch, n, k)``.

    Raises:
        InvalidInputError: Wrong shapes, NaN, ``h_x`` without ``h_y``, or a singular system (the minimum is not
            strict, or constraints depend on each other).
    """
    f_yy = _matrix("f_yy", f_yy)
    n = f_yy.shape[-1]
    f_yy, f_xy = _matrix("f_yy", f_yy, n, n), _matrix("f_xy", f_xy, n)
    if h_y is None:
        if h_x is not None:
            raise InvalidInputError("h_x needs h_y: a constraint is given by both.")
        broadcast_batch(f_yy=f_yy.shape[:-2], f_xy=f_xy.shape[:-2])
        return np.asarray(-np.linalg.solve(_regular("f_yy", f_yy), f_xy))
    h_y = _matrix("h_y", h_y, None, n)
    p, k = h_y.shape[-2], f_xy.shape[-1]
    h_x = np.zeros((p, k)) if h_x is None else _matrix("h_x", h_x, p, k)
    shapes = {"f_yy": f_yy, "f_xy": f_xy, "h_y": h_y, "h_x": h_x}
    batch = broadcast_batch(**{name: array.shape[:-2] for name, array in shapes.items()})
    bordered = np.zeros((*batch, n + p, n + p))
    bordered[..., :n, :n], bordered[..., n:, :n] = f_yy, h_y
    bordered[..., :n, n:] = np.swapaxes(h_y, -1, -2)
    right = np.concatenate([np.broadcast_to(f_xy, (*batch, n, k)), np.broadcast_to(h_x, (*batch, p, k))], axis=-2)
    return np.asarray(-np.linalg.solve(_regular("The bordered matrix", bordered), right)[..., :n, :])


class Equilibrium(Layer):
    """A layer of infinite depth with one weight matrix: its output is the fixed point ``z = tanh(W z + x)``.

    Applying ``z <- tanh(W z + x)`` again and again is a network of many layers that share W. Where the spectral norm
    of W is below one this comes to rest, at one point, wherever it started. Backward needs that point only: with
    ``D = diag(1 - z^2)`` and ``(I - D W)^T v = dL/dz``, it is ``dL/dx = D v`` and ``dL/dW = (D v) z^T``, summed over
    the batch.

    S. Bai, J. Z. Kolter, V. Koltun, *Deep equilibrium models*, NeurIPS 2019, arXiv:1909.01377.

    Args:
        num_features: Size of x and of z.
        rng: Draws W.
        spectral_norm: Of W at first, in (0, 0.999].
        tolerance: Largest change of z in a step that counts as rest.
        max_iterations: Steps at most.

    Raises:
        InvalidInputError: Numbers out of range.
    """

    def __init__(
        self,
        num_features: int,
        *,
        rng: np.random.Generator,
        spectral_norm: float = 0.9,
        tolerance: float = 1e-13,
        max_iterations: int = 10_000,
    ) -> None:
        super().__init__()
        n = whole_number("num_features", num_features, 1, 100_000)
        norm = real_number("spectral_norm", spectral_norm, 0.0, 0.999)
        self._tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        self._max_iterations = whole_number("max_iterations", max_iterations, 1, 10**9)
        weight = rng.standard_normal((n, n))
        self.parameters = {"weight": weight * (norm / np.linalg.norm(weight, 2))}
        self.gradients = {"weight": np.zeros((n, n))}
        self.num_iterations = 0
        """Steps of the last forward pass."""

    def forward(self, x: FloatArray) -> FloatArray:
        """The fixed point of every row.

        Args:
            x: ``(batch, num_features)``.

        Raises:
            InvalidInputError: Wrong shape, NaN, or no rest within ``max_iterations``.
        """
        weight = self.parameters["weight"]
        x = finite_array("x", x, weight.shape[:1])
        z, change = np.tanh(x), np.inf
        for count in range(1, self._max_iterations + 1):
            following = np.tanh(z @ weight.T + x)
            change = float(np.abs(following - z).max(initial=0.0))
            z = following
            if change <= self._tolerance:
                self._remembered, self.num_iterations = z, count
                return z
        raise InvalidInputError(
            f"z = tanh(W z + x) has not come to rest in {self._max_iterations} steps (the last changed z by "
            f"{change:.3g}); the spectral norm of W is {np.linalg.norm(weight, 2):.4g} and should be below 1."
        )

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """``dL/dx`` from ``dL/dz`` of the last forward pass; sets ``dL/dW``.

        Raises:
            InvalidInputError: There was no forward pass, or ``grad_y`` has another shape than its output.
        """
        weight, z = self.parameters["weight"], self._recall()
        grad_y = exact_array("grad_y", grad_y, z.shape)
        slope = 1 - z**2
        # f = z - tanh(W z + x), so f_z = I - D W and f_x = -D.
        f_z = np.eye(z.shape[-1]) - slope[..., None] * weight
        grad_x = implicit_vjp(f_z, -slope[..., None] * np.eye(z.shape[-1]), grad_y)
        self.gradients["weight"] = grad_x.T @ z
        return grad_x
