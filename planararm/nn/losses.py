"""Losses: how wrong a prediction is, and in which direction. Each returns ``(loss, dL/dprediction)``.

All are means over the batch, so that the learning rate does not depend on its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..validate import finite_array
from .layers import FloatArray, sigmoid

Loss = Callable[[FloatArray, Any], tuple[float, FloatArray]]


def _pair(prediction: Any, target: Any) -> tuple[FloatArray, FloatArray]:
    prediction, target = finite_array("prediction", prediction), finite_array("target", target)
    if prediction.shape != target.shape or prediction.size == 0:
        raise InvalidInputError(
            f"prediction and target must have the same shape, not empty, got {prediction.shape} and {target.shape}."
        )
    return prediction, target


def mean_squared_error(prediction: Any, target: Any) -> tuple[float, FloatArray]:
    """``L = mean (p - t)^2`` over all N numbers; ``dL/dp = 2 (p - t) / N``.

    Args:
        prediction: Any shape.
        target: The same shape.

    Raises:
        InvalidInputError: Different shapes, empty, or NaN.
    """
    prediction, target = _pair(prediction, target)
    off = prediction - target
    return float(np.mean(off * off)), 2.0 * off / off.size


def binary_cross_entropy_with_logits(logits: Any, labels: Any) -> tuple[float, FloatArray]:
    """``L = -mean [y log s(z) + (1 - y) log (1 - s(z))]`` with the sigmoid s, from the logit z, without overflow.

    ``-log s(z) = log(1 + e^-z)`` and ``-log (1 - s(z)) = log(1 + e^z) = z + log(1 + e^-z)``, so each term is
    ``(1 - y) z + log(1 + e^-z)``. For z < 0, ``log(1 + e^-z) = -z + log(1 + e^z)`` keeps the exponent below zero; both
    cases in one are ``max(z, 0) - z y + log(1 + e^-|z|)``.

    Backward: the derivative of ``log(1 + e^-z)`` is ``s(z) - 1``, so ``dL/dz = (s(z) - y) / N``: probability minus
    label.

    Args:
        logits: Any shape.
        labels: The same shape, in [0, 1].

    Raises:
        InvalidInputError: Different shapes, empty, NaN, or labels out of range.
    """
    z, y = _pair(logits, labels)
    if (y < 0).any() or (y > 1).any():
        raise InvalidInputError(f"labels must be in [0, 1], got {y[(y < 0) | (y > 1)][0]}.")
    loss = np.maximum(z, 0.0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return float(loss.mean()), (sigmoid(z) - y) / z.size


def softmax(logits: FloatArray) -> FloatArray:
    """``e^z_i / sum_j e^z_j`` along the last axis.

    The largest logit is subtracted first: it cancels, and no exponent is above zero.
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def softmax_cross_entropy(logits: Any, labels: Any) -> tuple[float, FloatArray]:
    """``L = -mean log softmax(z)_label``.

    Per row, ``L = log(sum_j e^z_j) - z_label``, and the derivative of the first term is ``e^z_i / sum_j e^z_j``:
    ``dL/dz = (softmax(z) - one_hot(label)) / batch``, again probability minus label.

    Args:
        logits: ``(batch, classes)``.
        labels: ``(batch,)`` whole numbers in [0, classes).

    Raises:
        InvalidInputError: Wrong shapes, NaN, or labels out of range.
    """
    z, y = finite_array("logits", logits), np.asarray(labels)
    if z.ndim != 2 or z.size == 0 or y.shape != z.shape[:1]:
        raise InvalidInputError(f"logits must be (batch, classes) and labels (batch,), got {z.shape} and {y.shape}.")
    if not np.issubdtype(y.dtype, np.integer):
        raise InvalidInputError(f"labels must be whole numbers, got an array of {y.dtype}.")
    if (y < 0).any() or (y >= z.shape[1]).any():
        wrong = y[(y < 0) | (y >= z.shape[1])][0]
        raise InvalidInputError(f"labels must be whole numbers in [0, {z.shape[1]}), got {wrong}.")
    rows = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, y]
    grad = softmax(z)
    grad[rows, y] -= 1.0
    return float(loss.mean()), grad / len(z)
