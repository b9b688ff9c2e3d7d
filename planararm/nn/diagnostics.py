"""Is the gradient right, and does it arrive?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InvalidInputError
from .layers import FloatArray, Linear
from .losses import Loss
from .network import Network, leaf_layers

STEP = 1e-5


def check_gradients(
    network: Network, loss: Loss, x: Any, target: Any, *, max_parameters: int = 200, seed: int = 0
) -> float:
    """Compare back-propagation with central differences, ``(L(w + h) - L(w - h)) / 2h``.

    Args:
        network: The network; its parameters are put back exactly.
        loss: Of prediction and target.
        x: ``(batch, inputs)``.
        target: What the loss takes.
        max_parameters: How many parameters are looked at, drawn at random where there are more.
        seed: Of that draw.

    Returns:
        The largest difference, relative to the largest gradient: about 1e-9 for a right gradient, 1e-2 or more for a
        wrong one. A kink (ReLU at exactly zero) shows as well.

    Raises:
        InvalidInputError: What the network or the loss refuses, or a network without parameters.
    """
    if not network.num_parameters:
        raise InvalidInputError("check_gradients needs a network with parameters.")
    _, grad = loss(network.forward(x), target)
    network.backward(grad)
    computed, start = network.gradient_vector(), network.get_vector()
    rng = np.random.default_rng(seed)
    chosen = rng.choice(start.size, size=min(max_parameters, start.size), replace=False)
    measured = np.empty(chosen.size)

    def loss_at(i: int, h: float) -> float:
        moved = start.copy()
        moved[i] += h
        network.set_vector(moved)
        return loss(network.forward(x), target)[0]

    try:
        for k, i in enumerate(chosen):
            measured[k] = (loss_at(i, STEP) - loss_at(i, -STEP)) / (2 * STEP)
    finally:
        network.set_vector(start)
    scale = max(float(np.abs(computed[chosen]).max()), float(np.abs(measured).max()), 1e-12)
    return float(np.abs(computed[chosen] - measured).max() / scale)


def layer_gradient_norms(network: Network) -> FloatArray:
    """Size of the gradient of each linear layer's weights, from the first layer to the last.

    ``sqrt(mean (dL/dW)^2)``, so that wide and narrow layers compare. Numbers that shrink by a factor per layer are a
    vanishing gradient: the first layers do not learn.

    Args:
        network: After a backward pass.

    Raises:
        InvalidInputError: There was none.
    """
    norms = []
    for layer in leaf_layers(network):
        if not isinstance(layer, Linear):
            continue
        if "weight" not in layer.gradients:
            raise InvalidInputError("layer_gradient_norms needs a forward and a backward pass first.")
        norms.append(float(np.sqrt(np.mean(layer.gradients["weight"] ** 2))))
    return np.array(norms)
