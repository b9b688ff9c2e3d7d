"""How the weights of a linear layer begin: by which factor random numbers are scaled.

With W of shape (fan_out, fan_in) and independent inputs of variance v, each output has variance ``fan_in Var(W) v``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError

FloatArray = npt.NDArray[np.float64]
Initialiser = Callable[[np.random.Generator, int, int], FloatArray]

PLAIN_SCALE = 0.01


def plain(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """Small numbers, ``0.01 N(0, 1)``: through many layers signals and gradients shrink to nothing."""
    return PLAIN_SCALE * rng.standard_normal((fan_out, fan_in))


def xavier(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """``N(0, 1) / sqrt(fan_in)``: keeps the variance where the activation is about linear (tanh, sigmoid).

    X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010;
    in its simpler form, for the forward pass alone.
    """
    return rng.standard_normal((fan_out, fan_in)) / np.sqrt(fan_in)


def he(rng: np.random.Generator, fan_out: int, fan_in: int) -> FloatArray:
    """``N(0, 1) sqrt(2 / fan_in)``: makes up for the half that a ReLU cuts off.

    K. He et al., *Delving deep into rectifiers*, ICCV 2015, doi:10.1109/ICCV.2015.123.
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
