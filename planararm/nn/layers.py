"""Layers: each computes its output, remembers what it needs, and carries a gradient back.

A network is a composition of functions, ``y = f_L(... f_2(f_1(x)))``, and back-propagation is the chain rule from the
outside in: a layer is handed ``dL/dy``, keeps ``dL/d(its parameters)`` and hands ``dL/dx`` to the layer before it.
Rows are samples: x has shape (batch, features).

Why ``dL/dx`` and ``dL/dparameter`` only: by the chain rule, a change of x changes y, and y changes L,

    dL/dx_j = sum_i dL/dy_i dy_i/dx_j,

so what a layer must know of everything behind it is the vector ``dL/dy``, and of itself the derivative ``dy/dx``.
The matrix ``dy/dx`` is never formed: each layer knows how to multiply by its transpose.

The layers follow those of the lecture, which took them from *NothingButNumPy* (github.com/RafayAK/NothingButNumPy,
R. A. Khan, MIT licence); they are written anew and transposed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import whole_number
from .initialisers import find_initialiser, generator

FloatArray = npt.NDArray[np.float64]
Parameters = dict[str, FloatArray]

MAX_UNITS = 1_000_000


class Layer(ABC):
    """A function with parameters that can be differentiated.

    Attributes:
        parameters: Arrays by name; optimisers change them in place.
        gradients: ``dL/dparameter`` under the same names, after :meth:`backward`.
    """

    def __init__(self) -> None:
        self.parameters: Parameters = {}
        self.gradients: Parameters = {}
        self._remembered: Any = None

    @abstractmethod
    def forward(self, x: FloatArray) -> FloatArray:
        """The output for ``x (batch, inputs)``; remembers what :meth:`backward` needs."""

    @abstractmethod
    def backward(self, grad_y: FloatArray) -> FloatArray:
        """``dL/dx`` from ``dL/dy`` of the last :meth:`forward`; sets :attr:`gradients`.

        Raises:
            InvalidInputError: There was no forward pass, or ``grad_y`` has another shape than its output.
        """

    def _recall(self) -> Any:
        if self._remembered is None:
            raise InvalidInputError(f"{type(self).__name__}.backward needs a forward pass first.")
        return self._remembered


def _same_shape(layer: Layer, grad_y: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    grad_y = np.asarray(grad_y, dtype=np.float64)
    if grad_y.shape != shape:
        raise InvalidInputError(
            f"{type(layer).__name__}.backward needs a gradient of shape {shape} like its output, got {grad_y.shape}."
        )
    return grad_y


class Linear(Layer):
    """``y = x W^T + b``.

    Backward: of row k, output i is ``y_ki = sum_j W_ij x_kj + b_i``. With ``g_ki = dL/dy_ki``, the chain rule gives

    * ``dL/dW_ij = sum_k g_ki dy_ki/dW_ij = sum_k g_ki x_kj``, in one product ``g^T x``;
    * ``dL/db_i = sum_k g_ki``, a sum over the batch;
    * ``dL/dx_kj = sum_i g_ki dy_ki/dx_kj = sum_i g_ki W_ij``, in one product ``g W``.

    Args:
        num_inputs: Features in.
        num_outputs: Features out.
        rng: Draws the weights; biases begin at zero.
        initialisation: ``"plain"``, ``"xavier"`` or ``"he"``: :mod:`planararm.nn.initialisers`.

    Raises:
        UnknownNameError: No such initialisation.
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, *, rng: np.random.Generator, initialisation: str = "xavier"
    ) -> None:
        super().__init__()
        self.num_inputs = whole_number("num_inputs", num_inputs, 1, MAX_UNITS)
        self.num_outputs = whole_number("num_outputs", num_outputs, 1, MAX_UNITS)
        weight = find_initialiser(initialisation)(generator(rng), self.num_outputs, self.num_inputs)
        self.parameters = {"weight": weight, "bias": np.zeros(self.num_outputs)}

    def forward(self, x: FloatArray) -> FloatArray:
        """``(batch, num_inputs) -> (batch, num_outputs)``.

        Raises:
            InvalidInputError: Another shape.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.num_inputs:
            raise InvalidInputError(f"Linear needs x of shape (batch, {self.num_inputs}), got {x.shape}.")
        self._remembered = x
        return x @ self.parameters["weight"].T + self.parameters["bias"]

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """See :meth:`Layer.backward`."""
        x = self._recall()
        grad_y = _same_shape(self, grad_y, (len(x), self.num_outputs))
        self.gradients = {"weight": grad_y.T @ x, "bias": grad_y.sum(axis=0)}
        return grad_y @ self.parameters["weight"]


class Activation(Layer):
    """A function of each number alone: ``y_i = g(x_i)``.

    Backward: ``dy_i/dx_j`` is zero unless i = j, so ``dL/dx_i = g'(x_i) dL/dy_i``.
    """

    def forward(self, x: FloatArray) -> FloatArray:
        """``g(x)``, of the same shape."""
        x = np.asarray(x, dtype=np.float64)
        y, slope = self.value_and_slope(x)
        self._remembered = slope
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """See :meth:`Layer.backward`."""
        slope = self._recall()
        return np.asarray(slope * _same_shape(self, grad_y, slope.shape))

    @abstractmethod
    def value_and_slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``g(x)`` and ``g'(x)``."""


def sigmoid(x: FloatArray) -> FloatArray:
    """``1 / (1 + e^-x)``, which equals ``e^x / (1 + e^x)``: whichever of the two has no exponent above zero.

    ``e^-x`` alone overflows for x below -710.
    """
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


class Sigmoid(Activation):
    """``g = 1 / (1 + e^-x)``.

    ``g' = e^-x / (1 + e^-x)^2 = g (1 - g)``, since ``1 - g = e^-x / (1 + e^-x)``. It is 1/4 at most, and each layer
    of a stack multiplies by it: gradients vanish.
    """

    def value_and_slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Activation.value_and_slope`."""
        y = sigmoid(x)
        return y, y * (1.0 - y)


class Tanh(Activation):
    """``g = tanh x = sinh x / cosh x``; ``g' = (cosh^2 x - sinh^2 x) / cosh^2 x = 1 - g^2``, which is 1 at zero."""

    def value_and_slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Activation.value_and_slope`."""
        y = np.tanh(x)
        return y, 1.0 - y * y


class ReLU(Activation):
    """``g = max(0, x)``; ``g'`` is 1 above zero and 0 below (and, by convention, at zero, where there is none)."""

    def value_and_slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Activation.value_and_slope`."""
        return np.maximum(x, 0.0), (x > 0).astype(np.float64)


class SiLU(Activation):
    """``g = x s(x)`` with the sigmoid s: a ReLU without the kink.

    By the product rule ``g' = s + x s'``, with ``s' = s (1 - s)``: ``g' = s (1 + x (1 - s))``.

    S. Elfwing et al., *Sigmoid-weighted linear units*, Neural Networks 107 (2018), doi:10.1016/j.neunet.2017.12.012.
    """

    def value_and_slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Activation.value_and_slope`."""
        s = sigmoid(x)
        return x * s, s * (1.0 + x * (1.0 - s))


ACTIVATIONS: dict[str, type[Activation]] = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU, "silu": SiLU}
