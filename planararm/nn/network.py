"""Networks: layers one after the other, with all their parameters under one roof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import InvalidInputError, UnknownNameError
from ..validate import exact_array, finite_array
from .layers import ACTIVATIONS, FloatArray, Layer, Linear, Parameters


class Network(Layer):
    """Layers one after the other: ``y = f_L(... f_1(x))``; backward, the same in reverse.

    Backward is the chain rule read from the outside in: with ``x_1 = f_1(x)``, ``x_2 = f_2(x_1)`` and so on, each
    layer turns ``dL/dx_l`` into ``dL/dx_(l-1)``. One pass forward and one back cost about three times the forward pass
    alone, however many parameters there are.

    Parameters are named by place and name: ``"0.weight"`` is the weight of the first layer, ``"3.0.weight"`` that of
    the first layer of the block (:class:`Residual`) at place 3.

    Args:
        *layers: The layers, the first one first.

    Raises:
        InvalidInputError: No layers, something else among them, or one layer twice: it could not remember both its
            forward passes.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise InvalidInputError(f"A network needs layers, got {[type(layer).__name__ for layer in layers]}.")
        self.layers = list(layers)
        leaves = leaf_layers(self)
        if len({id(leaf) for leaf in leaves}) < len(leaves):
            raise InvalidInputError("A layer may be in a network once only, also one without parameters: make two.")
        self.parameters = {
            f"{place}.{name}": value for place, layer in enumerate(layers) for name, value in layer.parameters.items()
        }

    def forward(self, x: FloatArray) -> FloatArray:
        """``(batch, inputs) -> (batch, outputs)``.

        Raises:
            InvalidInputError: Another shape, NaN or infinity.
        """
        return self._compose(finite_array("x", x))

    def _compose(self, x: FloatArray) -> FloatArray:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """The chain rule, from the last layer to the first; see :meth:`Layer.backward`."""
        for layer in reversed(self.layers):
            grad_y = layer.backward(grad_y)
        self.gradients = {
            f"{place}.{name}": value
            for place, layer in enumerate(self.layers)
            for name, value in layer.gradients.items()
        }
        return grad_y

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(value.size for value in self.parameters.values())

    def get_vector(self) -> FloatArray:
        """All parameters as one vector ``(P,)``, in the order of :attr:`parameters`."""
        return np.concatenate([np.zeros(0), *(value.ravel() for value in self.parameters.values())])

    def set_vector(self, vector: Any) -> None:
        """Set all parameters from one vector ``(P,)``.

        Raises:
            InvalidInputError: Another length, or NaN.
        """
        vector = exact_array("vector", vector, (self.num_parameters,))
        start = 0
        for value in self.parameters.values():
            value[...] = vector[start : start + value.size].reshape(value.shape)
            start += value.size

    def gradient_vector(self) -> FloatArray:
        """All gradients as one vector ``(P,)``.

        Raises:
            InvalidInputError: There was no backward pass.
        """
        if self.gradients.keys() != self.parameters.keys():
            raise InvalidInputError("gradient_vector needs a forward and a backward pass first.")
        return np.concatenate([np.zeros(0), *(self.gradients[name].ravel() for name in self.parameters)])

    def output_jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives of every output of every row with respect to all parameters: ``(batch, outputs, P)``.

        One backward pass per output, with the rows kept apart: the gradient of a linear layer's weight is the outer
        product of what came back and what went in, ``dy/dW = g x^T``, row by row.

        Args:
            x: ``(batch, inputs)``.

        Raises:
            InvalidInputError: Another shape, NaN, or a layer has parameters and is not linear.
        """
        y = self.forward(x)
        jacobian = np.empty((*y.shape, self.num_parameters))
        for output in range(y.shape[1]):
            grad = np.zeros_like(y)
            grad[:, output] = 1.0
            _per_row(self, grad, jacobian[:, output], 0, self.num_parameters)
        return jacobian

    def state_dict(self) -> Parameters:
        """Copies of all parameters by name."""
        return {name: value.copy() for name, value in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all parameters by name; nothing changes if one of them does not fit.

        Raises:
            InvalidInputError: A name is missing or unknown, or a shape is wrong, or NaN.
        """
        if not isinstance(state, Mapping):
            raise InvalidInputError(f"state must map names to arrays, got {type(state).__name__}.")
        missing, unknown = sorted(set(self.parameters) - set(state)), sorted(set(state) - set(self.parameters))
        if missing or unknown:
            raise InvalidInputError(f"The state does not fit this network: missing {missing}, unknown {unknown}.")
        checked = {name: exact_array(name, state[name], value.shape) for name, value in self.parameters.items()}
        for name, value in checked.items():
            self.parameters[name][...] = value


def leaf_layers(layer: Layer) -> list[Layer]:
    """The layers that are not networks themselves, from the first to the last."""
    if isinstance(layer, Network):
        return [leaf for inner in layer.layers for leaf in leaf_layers(inner)]
    return [layer]


def _per_row(layer: Layer, grad_y: FloatArray, rows: FloatArray, start: int, stop: int) -> FloatArray:
    """Back-propagate with the batch's rows kept apart; fill ``rows[:, start:stop]`` with ``dy/dparameters``."""
    if isinstance(layer, Linear):
        x = layer._recall()
        size = layer.num_outputs * layer.num_inputs
        np.multiply(
            grad_y[:, :, None], x[:, None, :],
            out=rows[:, start : start + size].reshape(len(x), layer.num_outputs, layer.num_inputs),
        )  # fmt: skip
        rows[:, start + size : stop] = grad_y
        return np.asarray(grad_y @ layer.parameters["weight"])
    if isinstance(layer, Network):
        grad = grad_y
        for inner in reversed(layer.layers):
            size = sum(value.size for value in inner.parameters.values())
            grad = _per_row(inner, grad, rows, stop - size, stop)
            stop -= size
        return grad_y + grad if isinstance(layer, Residual) else grad
    if layer.parameters:
        raise InvalidInputError(f"output_jacobian knows linear layers only, not {type(layer).__name__}.")
    return layer.backward(grad_y)


class Residual(Network):
    """A skip connection, ``y = x + F(x)``.

    Backward: ``dy/dx = I + F'``, so ``dL/dx = dL/dy + F'^T dL/dy``. The first term is a way around F: it arrives in
    full even where ``F'`` is close to zero.

    K. He et al., *Deep residual learning for image recognition*, CVPR 2016, doi:10.1109/CVPR.2016.90.

    Args:
        *layers: F, one layer after the other; as many outputs as inputs.
    """

    def forward(self, x: FloatArray) -> FloatArray:
        """``x + F(x)``.

        Raises:
            InvalidInputError: F changes the number of features.
        """
        x = np.asarray(x, dtype=np.float64)
        change = self._compose(x)
        if change.shape != x.shape:
            raise InvalidInputError(f"A residual block must keep the shape, {x.shape} became {change.shape}.")
        return x + change

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """See :meth:`Layer.backward`."""
        return np.asarray(grad_y + super().backward(grad_y))


def mlp(
    sizes: Sequence[int],
    activation: str = "tanh",
    *,
    rng: np.random.Generator,
    initialisation: str = "xavier",
) -> Network:
    """A multi-layer perceptron: linear layers with activations between them, none after the last.

    Args:
        sizes: Numbers of units, e.g. ``(3, 100, 3)``.
        activation: ``"sigmoid"``, ``"tanh"``, ``"relu"`` or ``"silu"``.
        rng: Draws the weights.
        initialisation: :mod:`planararm.nn.initialisers`.

    Raises:
        UnknownNameError: No such activation or initialisation.
        InvalidInputError: Fewer than two sizes, or one out of range.
    """
    if activation not in ACTIVATIONS:
        raise UnknownNameError("activation", activation, ACTIVATIONS)
    if len(sizes) < 2:
        raise InvalidInputError(f"sizes must name the inputs and the outputs at least, got {list(sizes)}.")
    layers: list[Layer] = []
    for num_inputs, num_outputs in pairwise(sizes):
        layers += [Linear(num_inputs, num_outputs, rng=rng, initialisation=initialisation), ACTIVATIONS[activation]()]
    return Network(*layers[:-1])
