"""Training on a fixed data set: epochs, mini-batches, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..validate import finite_array, whole_number
from .diagnostics import layer_gradient_norms
from .layers import FloatArray
from .losses import Loss
from .network import Network
from .optimisers import Optimiser
from .schedules import Schedule

MOST = 10**9
Progress = Callable[[int, "History"], None]


@dataclass
class History:
    """What happened, one number per epoch.

    Attributes:
        train_loss: Mean loss of the epoch's batches, as they were met.
        validation_loss: After the epoch; empty without validation data.
        learning_rate: At the end of the epoch.
        gradient_norms: :func:`~planararm.nn.diagnostics.layer_gradient_norms` of the last batch; empty if not asked.
        best_epoch: Epoch of the parameters that the network ends with, from 0.
        stopped_early: Whether the validation loss had not fallen for ``patience`` epochs.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    gradient_norms: list[FloatArray] = field(default_factory=list)
    best_epoch: int = -1
    stopped_early: bool = False


def fit(
    network: Network,
    loss: Loss,
    optimiser: Optimiser,
    x: Any,
    y: Any,
    *,
    num_epochs: int,
    batch_size: int | None = None,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    schedule: Schedule | None = None,
    rng: np.random.Generator | None = None,
    watch_gradients: bool = False,
    progress: Progress | None = None,
) -> History:
    """Train a network.

    With validation data the network ends with the parameters that had the lowest validation loss, otherwise with the
    last ones.

    Args:
        network: Changed in place.
        loss: Of prediction and target.
        optimiser: Of the same network.
        x: ``(N, inputs)``.
        y: N targets.
        num_epochs: Passes through the data.
        batch_size: Rows per step; None: all of them, in their order.
        validation: ``(x, y)`` that are never trained on.
        patience: Epochs without a new lowest validation loss after which to stop; None: never.
        schedule: Factor of the optimiser's learning rate at each step.
        rng: Shuffles the rows of every epoch; needed with ``batch_size``.
        watch_gradients: Whether to keep the gradient norms of all layers.
        progress: Called after every epoch with its number and the history.

    Raises:
        InvalidInputError: Shapes that do not fit, NaN, numbers out of range, or a loss that is no longer finite.
    """
    x, y = finite_array("x", x), np.asarray(y)
    if x.ndim != 2 or len(x) == 0 or len(y) != len(x):
        raise InvalidInputError(f"x must be (N, inputs) and y have N rows, N > 0; got {x.shape} and {y.shape}.")
    count = len(x)
    size = count if batch_size is None else whole_number("batch_size", batch_size, 1, MOST)
    num_epochs = whole_number("num_epochs", num_epochs, 0, MOST)
    if optimiser.network is not network:
        raise InvalidInputError("The optimiser must be that of the network being trained.")
    if batch_size is not None and rng is None:
        raise InvalidInputError("batch_size needs rng, a numpy.random.Generator that shuffles the rows.")
    if patience is not None:
        patience = whole_number("patience", patience, 1, MOST)
        if validation is None:
            raise InvalidInputError("patience needs validation=(x, y).")
    history, peak = History(), optimiser.learning_rate
    lowest, best, step = np.inf, network.get_vector(), 0
    try:
        for epoch in range(num_epochs):
            rows = np.arange(count) if batch_size is None or rng is None else rng.permutation(count)
            losses = []
            for start in range(0, count, size):
                batch = rows[start : start + size]
                value, grad = loss(network.forward(x[batch]), y[batch])
                if not np.isfinite(value):
                    raise InvalidInputError(
                        f"The loss became {value} in epoch {epoch}: the learning rate {peak:g} is too large, "
                        "or the data are not scaled."
                    )
                network.backward(grad)
                if schedule is not None:
                    optimiser.learning_rate = peak * schedule(step)
                optimiser.step()
                step += 1
                losses.append(value * len(batch))
            history.train_loss.append(sum(losses) / count)
            history.learning_rate.append(optimiser.learning_rate)
            if watch_gradients:
                history.gradient_norms.append(layer_gradient_norms(network))
            if validation is not None:
                history.validation_loss.append(
                    loss(network.forward(finite_array("x", validation[0])), validation[1])[0]
                )
                if history.validation_loss[-1] < lowest:
                    lowest, best, history.best_epoch = history.validation_loss[-1], network.get_vector(), epoch
            else:
                history.best_epoch = epoch
            if progress is not None:
                progress(epoch, history)
            if patience is not None and epoch - history.best_epoch >= patience:
                history.stopped_early = True
                break
    finally:
        optimiser.learning_rate = peak
        if validation is not None and history.best_epoch >= 0:
            network.set_vector(best)
    return history
