"""From logits to decisions: which class, how sure, how often right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..validate import finite_array
from .layers import FloatArray, sigmoid
from .network import Network


class Classification(NamedTuple):
    """Decisions of a network whose outputs are logits.

    Attributes:
        labels: ``(batch, outputs)`` 0 or 1.
        probabilities: ``(batch, outputs)`` of the label 1.
        accuracy: Share of the labels that are right; None where the right ones were not given.
    """

    labels: npt.NDArray[np.int64]
    probabilities: FloatArray
    accuracy: float | None


def predict(network: Network, x: Any, y: Any = None, *, threshold: float = 0.5) -> Classification:
    """Label 1 where the probability ``s(z)``, the sigmoid of the logit, reaches the threshold.

    Args:
        network: Trained with :func:`~planararm.nn.losses.binary_cross_entropy_with_logits`.
        x: ``(batch, inputs)``, not empty.
        y: ``(batch, outputs)`` right labels, 0 or 1; None: not known.
        threshold: In [0, 1]. A higher one gives fewer false alarms and more misses.

    Raises:
        InvalidInputError: Wrong shapes, NaN, no rows, labels other than 0 and 1, or a threshold out of range.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0 <= threshold <= 1:
        raise InvalidInputError(f"threshold must be a number in [0, 1], got {threshold!r}.")
    probabilities = sigmoid(network.forward(x))
    if len(probabilities) == 0:
        raise InvalidInputError("x must have at least one row.")
    labels = (probabilities >= threshold).astype(np.int64)
    if y is None:
        return Classification(labels, probabilities, None)
    right = finite_array("y", y)
    if right.shape != labels.shape:
        raise InvalidInputError(f"y must have shape {labels.shape}, got {right.shape}.")
    if (wrong := (right != 0) & (right != 1)).any():
        raise InvalidInputError(f"y must be labels 0 or 1, got {right[wrong][0]}.")
    return Classification(labels, probabilities, float((labels == right).mean()))
