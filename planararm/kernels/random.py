"""Random numbers inside kernels: a pure function of a 64-bit key.

SplitMix64 (Steele, Lea & Flood, 2014, doi:10.1145/2660193.2660195): the state is a counter, so a key fixes
the whole stream on every machine, whatever the batch or the number of threads.
"""

from __future__ import annotations

import numpy as np

from .launch import jit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53


@jit
def uniform(state, low, high):
    """A number in [low, high); advances ``state``, a uint64 array of one element."""
    z = state[0] + _STEP
    state[0] = z
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return low + (high - low) * (np.float64(z >> _S11) * _UNIT)
