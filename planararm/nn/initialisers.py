"""How the weights of a linear layer begin: by which factor random numbers are scaled.

With W of shape (fan_out, fan_in) and independent inputs with mean square v, an output ``sum_j W_ij x_j`` is a sum of
fan_in independent terms and has variance ``fan_in Var(W) v``. After L layers the factor ``fan_in Var(W)`` has been
applied L times: below one the signal dies out, above one it explodes. Going back, the gradient fares the same way, with
fan_out in place of fan_in. Biases begin at zero: there is nothing in them that needs its symmetry broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, UnknownNameError

FloatArray = npt.NDArray[np.float64]
Initialiser = Callable[[np.random.Generator, int, int], FloatArray]

PLAIN_SCALE = 0.01


def plain(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """Small numbers, ``0.01 N(0, 1)``: with fan_in = 100 each layer divides the variance by 100.

    Args:
        rng: Draws.
        fan_out: Outputs of the layer.
        fan_in: Inputs of the layer.

    Returns:
        ``(fan_out, fan_in)`` weights.
    """
    return PLAIN_SCALE * rng.standard_normal((fan_out, fan_in))


def xavier(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """``N(0, 1) / sqrt(fan_in)``: makes ``fan_in Var(W) = 1``.

    Right where the activation is about the identity near zero, as tanh is. X. Glorot and Y. Bengio, *Understanding the
    difficulty of training deep feedforward neural networks*, AISTATS 2010, proceedings.mlr.press/v9/glorot10a.html;
    here in its simpler form, for the forward pass alone (theirs is a compromise, ``2 / (fan_in + fan_out)``).

    Args:
        rng: Draws.
        fan_out: Outputs of the layer.
        fan_in: Inputs of the layer.

    Returns:
        ``(fan_out, fan_in)`` weights.
    """
    return rng.standard_normal((fan_out, fan_in)) / np.sqrt(fan_in)


def he(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """``N(0, 1) sqrt(2 / fan_in)``: a ReLU cuts off half of the mean square, and the 2 makes up for it.

    K. He et al., *Delving deep into rectifiers*, ICCV 2015, doi:10.1109/ICCV.2015.123.

    Args:
        rng: Draws.
        fan_out: Outputs of the layer.
        fan_in: Inputs of the layer.

    Returns:
        ``(fan_out, fan_in)`` weights.
    """
    return rng.standard_normal((fan_out, fan_in)) * np.sqrt(2.0 / fan_in)


INITIALISERS: dict[str, Initialiser] = {"plain": plain, "xavier": xavier, "he": he}


def find_initialiser(name: str) -> Initialiser:
    """An initialiser by name.

    Raises:
        UnknownNameError: No such initialiser.
    """
    if name not in INITIALISERS:
        raise UnknownNameError("initialisation", name, INITIALISERS)
    return INITIALISERS[name]


def generator(rng: Any) -> np.random.Generator:
    """``rng``, if it is a generator.

    Raises:
        InvalidInputError: It is something else, such as a bare seed.
    """
    if not isinstance(rng, np.random.Generator):
        raise InvalidInputError(f"rng must be a numpy.random.Generator, as from default_rng(seed), got {rng!r}.")
    return rng
