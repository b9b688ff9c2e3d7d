"""Threshold units after McCulloch and Pitts (1943), and the perceptron rule that finds their weights.

A unit fires where the weighted sum of its inputs reaches a threshold: ``y = 1 if w . x >= theta else 0``. One unit cuts
its input space by a hyperplane, so it computes exactly the linearly separable functions; two layers of units compute
every Boolean function.

W. S. McCulloch, W. Pitts, *A logical calculus of the ideas immanent in nervous activity*, Bulletin of Mathematical
Biophysics 5 (1943), doi:10.1007/BF02478259.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import finite_array, whole_number

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MOST_INPUTS = 16


@dataclass(frozen=True, eq=False)
class ThresholdUnit:
    """A unit that fires where ``weights . x >= threshold``.

    Args:
        weights: ``(n,)``, positive where an input excites, negative where it inhibits.
        threshold: The weighted sum from which on it fires.

    Raises:
        InvalidInputError: Weights that are not a list of finite numbers, or a threshold that is no finite number.
    """

    weights: FloatArray
    threshold: float

    def __post_init__(self) -> None:
        weights = finite_array("weights", self.weights)
        if weights.ndim != 1 or weights.size == 0:
            raise InvalidInputError(f"weights must be a list of one number per input, got shape {weights.shape}.")
        threshold = finite_array("threshold", self.threshold)
        if threshold.ndim:
            raise InvalidInputError(f"threshold must be one number, got shape {threshold.shape}.")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "threshold", float(threshold))

    def __call__(self, x: Any) -> IntArray:
        """Whether the unit fires.

        Args:
            x: ``(*batch, n)``.

        Returns:
            ``(*batch,)`` of 0 and 1.

        Raises:
            InvalidInputError: Another number of inputs than weights.
        """
        x = finite_array("x", x, self.weights.shape)
        return np.asarray(x @ self.weights >= self.threshold).astype(np.int64)


@dataclass(frozen=True)
class ThresholdNetwork:
    """Layers of threshold units; each layer's outputs are the next one's inputs, the last has one unit.

    Args:
        layers: Units of each layer, from the inputs on.

    Raises:
        InvalidInputError: No layer, an empty one, more than one output, or units that do not fit the layer before.
    """

    layers: Sequence[Sequence[ThresholdUnit]]

    def __post_init__(self) -> None:
        if not self.layers or not all(len(layer) for layer in self.layers):
            raise InvalidInputError(f"layers must each have at least one unit, got {[len(a) for a in self.layers]}.")
        if len(self.layers[-1]) != 1:
            raise InvalidInputError(f"The last layer must have one unit, got {len(self.layers[-1])}.")
        num_inputs = self.layers[0][0].weights.size
        for place, layer in enumerate(self.layers):
            for unit in layer:
                if unit.weights.size != num_inputs:
                    raise InvalidInputError(
                        f"A unit of layer {place} has {unit.weights.size} weights; it is given {num_inputs} inputs."
                    )
            num_inputs = len(layer)

    def __call__(self, x: Any) -> IntArray:
        """The output.

        Args:
            x: ``(*batch, n)``.

        Returns:
            ``(*batch,)`` of 0 and 1.
        """
        signal = x
        for layer in self.layers:
            signal = np.stack([unit(signal) for unit in layer], axis=-1)
        return np.asarray(signal[..., 0])


AND = ThresholdUnit(np.array([1.0, 1.0]), 2.0)
"""Fires where both inputs do."""
OR = ThresholdUnit(np.array([1.0, 1.0]), 1.0)
"""Fires where at least one input does."""
NAND = ThresholdUnit(np.array([-1.0, -1.0]), -1.0)
"""Fires unless both inputs do."""
NOT = ThresholdUnit(np.array([-1.0]), 0.0)
"""Fires where its input does not."""
XOR = ThresholdNetwork([[OR, NAND], [AND]])
"""Fires where exactly one input does: ``(a or b) and not (a and b)``. No single unit computes it."""


def truth_table(num_inputs: int) -> IntArray:
    """All binary inputs, counting up.

    Args:
        num_inputs: n, from 1 to 16.

    Returns:
        ``(2^n, n)`` of 0 and 1.

    Raises:
        InvalidInputError: ``num_inputs`` out of range.
    """
    n = whole_number("num_inputs", num_inputs, 1, MOST_INPUTS)
    return np.arange(2**n)[:, None] >> np.arange(n)[::-1] & 1


class Learned(NamedTuple):
    """What :func:`perceptron_rule` found.

    Attributes:
        unit: The unit after the last pass.
        mistakes: Wrong answers in each pass over the data; the last is 0 if and only if the unit has learned it.
    """

    unit: ThresholdUnit
    mistakes: list[int]


def perceptron_rule(x: Any, y: Any, *, max_passes: int = 1000) -> Learned:
    """Weights by Rosenblatt's rule: after every wrong answer, move them by the input, towards the right one.

    Linearly separable data are learned after finitely many mistakes; on other data the rule never comes to rest.

    F. Rosenblatt, *The perceptron*, Psychological Review 65 (1958), doi:10.1037/h0042519.

    Args:
        x: ``(batch, n)``.
        y: ``(batch,)`` of 0 and 1.
        max_passes: Passes over the data at most.

    Raises:
        InvalidInputError: Wrong shapes, or labels other than 0 and 1.
    """
    x, y = finite_array("x", x), finite_array("y", y)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise InvalidInputError(f"x must have shape (batch, n) and y (batch,), got {x.shape} and {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise InvalidInputError(f"y must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]} among its numbers.")
    max_passes = whole_number("max_passes", max_passes, 1, 10**9)
    # The threshold is the weight of one more input that is always -1.
    inputs = np.column_stack([x, -np.ones(len(x))])
    weights, mistakes = np.zeros(inputs.shape[1]), []
    for _ in range(max_passes):
        wrong = 0
        for row, label in zip(inputs, y, strict=True):
            error = label - float(row @ weights >= 0)
            weights += error * row
            wrong += error != 0
        mistakes.append(int(wrong))
        if wrong == 0:
            break
    return Learned(ThresholdUnit(weights[:-1], weights[-1]), mistakes)
