"""Training on a fixed data set: epochs, mini-batches, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..validate import finite_array, whole_number
from .diagnostics import layer_gradient_norms
from .initialisers import generator
from .layers import FloatArray
from .losses import Loss
from .network import Network
from .optimisers import Optimiser
from .schedules import Schedule, constant

MOST = 10**9
Progress = Callable[[int, "History"], None]


@dataclass
class History:
    """What happened, one number per epoch.

    Attributes:
        train_loss: Mean loss of the epoch's batches, as they were met.
        validation_loss: After the epoch; empty without validation data.
        learning_rate: Of the epoch's last step.
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

    An epoch is one pass through the data, in batches; each batch is one step: predict, measure the loss, carry its
    gradient back, go downhill. With validation data the network ends with the parameters that had the lowest validation
    loss, also when it is interrupted; otherwise with the last ones. The same seed gives the same result to the bit.

    To interrupt and go on exactly: keep the network's and the optimiser's ``state_dict()`` and the state of ``rng``
    after an epoch, load them, and call again; the schedule goes on too, as the optimiser counts its steps.

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
        schedule: Factor of the optimiser's learning rate at each of its steps, from 0.
        rng: Shuffles the rows of every epoch; needed with ``batch_size``.
        watch_gradients: Whether to keep the gradient norms of all layers.
        progress: Called after every epoch with its number and the history.

    Raises:
        InvalidInputError: Shapes that do not fit, NaN, numbers out of range, or a loss that is no longer finite.
    """
    x, y = _rows("x", x, y)
    if validation is not None:
        validation = _rows("validation", *validation)
    size = len(x) if batch_size is None else whole_number("batch_size", batch_size, 1, MOST)
    num_epochs = whole_number("num_epochs", num_epochs, 0, MOST)
    if optimiser.network is not network:
        raise InvalidInputError("The optimiser must be that of the network being trained.")
    if batch_size is not None:
        if rng is None:
            raise InvalidInputError("batch_size needs rng, a numpy.random.Generator that shuffles the rows.")
        generator(rng)
    if patience is not None:
        patience = whole_number("patience", patience, 1, MOST)
        if validation is None:
            raise InvalidInputError("patience needs validation=(x, y).")

    history, best, schedule = History(), network.get_vector(), schedule or constant()
    try:
        for epoch in range(num_epochs):
            order = np.arange(len(x)) if batch_size is None or rng is None else rng.permutation(len(x))
            total = 0.0
            for first in range(0, len(x), size):
                rows, factor = order[first : first + size], schedule(optimiser.num_steps)
                total += len(rows) * train_step(network, loss, optimiser, x[rows], y[rows], factor)
            history.train_loss.append(total / len(x))
            history.learning_rate.append(optimiser.learning_rate * factor)
            if watch_gradients:
                history.gradient_norms.append(layer_gradient_norms(network))
            if validation is None:
                history.best_epoch = epoch
            else:
                error = loss(_predict(network, validation[0], optimiser), validation[1])[0]
                if error < min(history.validation_loss, default=np.inf):
                    best, history.best_epoch = network.get_vector(), epoch
                history.validation_loss.append(error)
            if progress is not None:
                progress(epoch, history)
            if patience is not None and epoch - history.best_epoch >= patience:
                history.stopped_early = True
                break
    finally:
        if validation is not None and history.best_epoch >= 0:
            network.set_vector(best)
    return history


def train_step(network: Network, loss: Loss, optimiser: Optimiser, x: FloatArray, y: Any, factor: float = 1.0) -> float:
    """One step of training: forward, loss, backward, downhill.

    Args:
        network: Changed in place.
        loss: Of prediction and target.
        optimiser: Of the same network.
        x: ``(batch, inputs)``.
        y: Targets.
        factor: Of the learning rate.

    Returns:
        The loss before the step.

    Raises:
        InvalidInputError: Shapes that do not fit, NaN, or a loss that is no longer finite.
    """
    prediction = _predict(network, x, optimiser)
    # An overflow is reported by the checks, with what to do about it, and not as a warning somewhere in NumPy.
    with np.errstate(over="ignore", invalid="ignore"):
        value, grad = loss(prediction, y)
        _refuse_infinite("loss", value, optimiser)
        network.backward(grad)
        _refuse_infinite("gradient", network.gradient_vector(), optimiser)
        optimiser.step(factor)
    return value


def _predict(network: Network, x: FloatArray, optimiser: Optimiser) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        prediction = network.forward(x)
    _refuse_infinite("prediction", prediction, optimiser)
    return prediction


def _refuse_infinite(what: str, values: Any, optimiser: Optimiser) -> None:
    values = np.asarray(values)
    if not np.isfinite(values).all():
        raise InvalidInputError(
            f"Training diverged: the {what} became {values[~np.isfinite(values)][0]} after {optimiser.num_steps} "
            f"steps. A learning rate below {optimiser.learning_rate:g} may help, or scaling x and y to about [-1, 1]."
        )


def _rows(name: str, x: Any, y: Any) -> tuple[FloatArray, Any]:
    x, y = finite_array(name, x), np.asarray(y)
    if x.ndim != 2 or len(x) == 0 or y.ndim == 0 or len(y) != len(x):
        raise InvalidInputError(
            f"{name} must be (N, inputs) and its targets have N rows, N > 0; got {x.shape} and {y.shape}."
        )
    return x, y
