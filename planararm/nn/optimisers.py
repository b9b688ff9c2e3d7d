"""Optimisers: how parameters follow their gradients downhill."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..validate import exact_array, real_number, whole_number
from .layers import FloatArray
from .network import Network

MOST_STEPS = 10**12


class Optimiser(ABC):
    """Changes a network's parameters in place, from the gradients of its last backward pass.

    Args:
        network: The network.
        learning_rate: Length of a step, > 0; may be set anew between steps.

    Raises:
        InvalidInputError: The learning rate is out of range.
    """

    def __init__(self, network: Network, learning_rate: float) -> None:
        self.network = network
        self.learning_rate = real_number("learning_rate", learning_rate, 0.0, 1e6)
        self.num_steps = 0
        self._memory: dict[str, dict[str, FloatArray]] = {}

    def step(self) -> None:
        """One step.

        Raises:
            InvalidInputError: There are no gradients yet.
        """
        if self.network.gradients.keys() != self.network.parameters.keys():
            raise InvalidInputError("An optimiser's step needs a forward and a backward pass first.")
        self.num_steps += 1
        for name, value in self.network.parameters.items():
            value -= self._change(name, self.network.gradients[name])

    @abstractmethod
    def _change(self, name: str, gradient: FloatArray) -> FloatArray:
        """What is subtracted from a parameter."""

    def _remember(self, kind: str, name: str, like: FloatArray) -> FloatArray:
        return self._memory.setdefault(kind, {}).setdefault(name, np.zeros_like(like))

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on exactly from here, as arrays and numbers."""
        arrays = {f"{kind}.{name}": a.copy() for kind, part in self._memory.items() for name, a in part.items()}
        return {"learning_rate": self.learning_rate, "num_steps": self.num_steps, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; nothing changes if it does not fit.

        Raises:
            InvalidInputError: It is of another network or another optimiser.
        """
        memory: dict[str, dict[str, FloatArray]] = {}
        numbers = {"learning_rate", "num_steps"}
        if not numbers <= set(state):
            raise InvalidInputError(f"An optimiser's state must have {sorted(numbers)}, got {sorted(state)}.")
        for key in sorted(set(state) - numbers):
            kind, _, name = key.partition(".")
            if kind not in self.kinds or name not in self.network.parameters:
                raise InvalidInputError(f"{type(self).__name__} has no state {key!r} for this network.")
            shape = self.network.parameters[name].shape
            memory.setdefault(kind, {})[name] = exact_array(key, state[key], shape).copy()
        rate = real_number("learning_rate", state["learning_rate"], 0.0, 1e6)
        self.num_steps = whole_number("num_steps", state["num_steps"], 0, MOST_STEPS)
        self.learning_rate, self._memory = rate, memory

    kinds: tuple[str, ...] = ()
    """Names of what is remembered of each parameter."""


class GradientDescent(Optimiser):
    """``v <- momentum v + g``, ``w <- w - learning_rate v``; without momentum, ``v = g``: straight downhill.

    B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964,
    doi:10.1016/0041-5553(64)90137-5.

    Args:
        network: The network.
        learning_rate: Length of a step.
        momentum: Share of the last step that goes on, in [0, 1).

    Raises:
        InvalidInputError: A number is out of range.
    """

    kinds = ("velocity",)

    def __init__(self, network: Network, learning_rate: float, momentum: float = 0.0) -> None:
        super().__init__(network, learning_rate)
        self.momentum = _share("momentum", momentum)

    def _change(self, name: str, gradient: FloatArray) -> FloatArray:
        if self.momentum == 0.0:
            return self.learning_rate * gradient
        velocity = self._remember("velocity", name, gradient)
        velocity *= self.momentum
        velocity += gradient
        return self.learning_rate * velocity


class Adam(Optimiser):
    """Every parameter's step is scaled by how large its gradients have been.

    ``m <- b1 m + (1 - b1) g``, ``v <- b2 v + (1 - b2) g^2``, both corrected for beginning at zero,
    ``w <- w - learning_rate m' / (sqrt(v') + epsilon)``. D. P. Kingma and J. Ba, arXiv:1412.6980 (2014).

    Args:
        network: The network.
        learning_rate: Length of a step.
        betas: Shares of the old averages, each in [0, 1).
        epsilon: Keeps the quotient finite, > 0.

    Raises:
        InvalidInputError: A number is out of range.
    """

    kinds = ("mean", "square")

    def __init__(
        self,
        network: Network,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(network, learning_rate)
        self.betas = (_share("betas[0]", betas[0]), _share("betas[1]", betas[1]))
        self.epsilon = real_number("epsilon", epsilon, 0.0, 1.0)

    def _change(self, name: str, gradient: FloatArray) -> FloatArray:
        mean, square = self._remember("mean", name, gradient), self._remember("square", name, gradient)
        first, second = self.betas
        mean += (1 - first) * (gradient - mean)
        square += (1 - second) * (gradient * gradient - square)
        unbiased = mean / (1 - first**self.num_steps)
        scale = np.sqrt(square / (1 - second**self.num_steps)) + self.epsilon
        return np.asarray(self.learning_rate * unbiased / scale)


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidInputError(f"{name} must be a number in [0, 1), got {value!r}.")
    return float(value)
