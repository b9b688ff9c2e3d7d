"""Optimisers: how parameters follow their gradients downhill.

The gradient points up the loss in the steepest direction, so each step goes against it.
"""

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
MOST_RATE = 1e6
NUMBERS = ("learning_rate", "num_steps")


class Optimiser(ABC):
    """Changes a network's parameters in place, from the gradients of its last backward pass.

    Args:
        network: The network.
        learning_rate: Length of a step, > 0.
        kinds: Names of what is remembered of each parameter; arrays of zeros at first.

    Attributes:
        num_steps: Steps taken.

    Raises:
        InvalidInputError: The learning rate is out of range, or the network is none.
    """

    def __init__(self, network: Network, learning_rate: float, kinds: tuple[str, ...] = ()) -> None:
        if not isinstance(network, Network):
            raise InvalidInputError(f"An optimiser needs a Network, got {type(network).__name__}.")
        self.network = network
        self.learning_rate = learning_rate
        self.num_steps = 0
        self._memory = {kind: {name: np.zeros_like(p) for name, p in network.parameters.items()} for kind in kinds}

    @property
    def learning_rate(self) -> float:
        """Length of a step; may be set anew between steps."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = real_number("learning_rate", value, 0.0, MOST_RATE)

    def step(self, factor: float = 1.0) -> None:
        """One step.

        Args:
            factor: Of the learning rate, for this step only: what a schedule says.

        Raises:
            InvalidInputError: There are no gradients yet, or the factor is negative or not finite.
        """
        if self.network.gradients.keys() != self.network.parameters.keys():
            raise InvalidInputError("An optimiser's step needs a forward and a backward pass first.")
        if not 0 <= factor < np.inf:
            raise InvalidInputError(f"factor must be a number >= 0, got {factor!r}.")
        self.num_steps += 1
        for name, value in self.network.parameters.items():
            value -= self._change(name, self.network.gradients[name], self.learning_rate * factor)

    @abstractmethod
    def _change(self, name: str, gradient: FloatArray, rate: float) -> FloatArray:
        """What is subtracted from a parameter."""

    def state_dict(self) -> dict[str, Any]:
        """What it takes, besides the parameters, to go on exactly from here.

        ``"learning_rate"``, ``"num_steps"``, and arrays like ``"mean.0.weight"``.
        """
        arrays = {f"{kind}.{name}": a.copy() for kind, part in self._memory.items() for name, a in part.items()}
        return {"learning_rate": self.learning_rate, "num_steps": self.num_steps, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; nothing changes if it does not fit.

        Args:
            state: Of an optimiser made in the same way for a network of the same shape.

        Raises:
            InvalidInputError: A name is missing or unknown, a shape is wrong, or a number out of range.
        """
        if not isinstance(state, Mapping):
            raise InvalidInputError(f"state must map names to values, got {type(state).__name__}.")
        wanted = {f"{kind}.{name}": a for kind, part in self._memory.items() for name, a in part.items()}
        names = {*wanted, *NUMBERS}
        missing, unknown = sorted(names - set(state)), sorted(set(state) - names, key=str)
        if missing or unknown:
            raise InvalidInputError(
                f"The state does not fit this {type(self).__name__}: missing {missing}, unknown {unknown}."
            )
        checked = {key: exact_array(key, state[key], array.shape) for key, array in wanted.items()}
        steps = whole_number("num_steps", state["num_steps"], 0, MOST_STEPS)
        self.learning_rate = state["learning_rate"]
        self.num_steps = steps
        for key, array in wanted.items():
            array[...] = checked[key]


class GradientDescent(Optimiser):
    """``w <- w - learning_rate g``; with momentum, ``v <- momentum v + g`` and ``w <- w - learning_rate v``.

    The velocity v is a sum of all gradients so far, older ones counting less: what points the same way step after step
    adds up, to ``1 / (1 - momentum)`` times one step, and what alternates cancels.

    B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964,
    doi:10.1016/0041-5553(64)90137-5.

    Args:
        network: The network.
        learning_rate: Length of a step.
        momentum: Share of the last velocity that goes on, in [0, 1).

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(self, network: Network, learning_rate: float, momentum: float = 0.0) -> None:
        self.momentum = _share("momentum", momentum)
        super().__init__(network, learning_rate, ("velocity",) if self.momentum else ())

    def _change(self, name: str, gradient: FloatArray, rate: float) -> FloatArray:
        if not self.momentum:
            return rate * gradient
        velocity = self._memory["velocity"][name]
        velocity *= self.momentum
        velocity += gradient
        return rate * velocity


class Adam(Optimiser):
    """Every parameter's step is scaled by how large its own gradients have been.

    ``m <- b1 m + (1 - b1) g`` and ``v <- b2 v + (1 - b2) g^2`` are running means of the gradient and of its square.
    Both begin at zero, which draws them towards it: after t steps the weights in them sum to ``1 - b^t``, and they are
    divided by that. Then ``w <- w - learning_rate m' / (sqrt(v') + epsilon)``, about one learning rate per step where
    the gradient's sign is steady, whatever its size.

    D. P. Kingma and J. Ba, arXiv:1412.6980 (2014).

    Args:
        network: The network.
        learning_rate: Length of a step.
        betas: Shares b1, b2 of the old means, each in [0, 1).
        epsilon: Keeps the quotient finite, > 0.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        network: Network,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(network, learning_rate, ("mean", "square"))
        self.betas = (_share("betas[0]", betas[0]), _share("betas[1]", betas[1]))
        self.epsilon = real_number("epsilon", epsilon, 0.0, 1.0)

    def _change(self, name: str, gradient: FloatArray, rate: float) -> FloatArray:
        mean, square = self._memory["mean"][name], self._memory["square"][name]
        first, second = self.betas
        mean += (1 - first) * (gradient - mean)
        square += (1 - second) * (gradient * gradient - square)
        unbiased = mean / (1 - first**self.num_steps)
        scale = np.sqrt(square / (1 - second**self.num_steps)) + self.epsilon
        return np.asarray(rate * unbiased / scale)


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidInputError(f"{name} must be a number in [0, 1), got {value!r}.")
    return float(value)
