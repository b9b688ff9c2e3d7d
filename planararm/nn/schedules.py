"""Learning-rate schedules: the share of the largest learning rate at each step."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..validate import real_number, whole_number

Schedule = Callable[[int], float]
MOST_STEPS = 10**12


def constant() -> Schedule:
    """Always 1."""
    return lambda step: 1.0


def step_decay(every: int, factor: float = 0.5) -> Schedule:
    """Multiplied by ``factor`` after every so many steps.

    Raises:
        InvalidInputError: A number is out of range.
    """
    every, factor = whole_number("every", every, 1, MOST_STEPS), real_number("factor", factor, 0.0, 1.0)
    return lambda step: float(factor ** (step // every))


def cosine(num_steps: int, last: float = 1e-3) -> Schedule:
    """From 1 down to ``last`` along half a cosine, over ``num_steps``.

    I. Loshchilov and F. Hutter, *SGDR*, arXiv:1608.03983 (2016).

    Raises:
        InvalidInputError: A number is out of range.
    """
    num_steps, last = whole_number("num_steps", num_steps, 1, MOST_STEPS), real_number("last", last, 0.0, 1.0)
    return lambda step: last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / num_steps)))


def one_cycle(num_steps: int, warm_up: float = 0.3, first: float = 0.04, last: float = 1e-4) -> Schedule:
    """Up from ``first`` to 1 in the share ``warm_up`` of the steps, then down to ``last``, both along half a cosine.

    L. N. Smith, *A disciplined approach to neural network hyper-parameters: part 1*, arXiv:1803.09820 (2018).

    Raises:
        InvalidInputError: A number is out of range.
    """
    num_steps = whole_number("num_steps", num_steps, 1, MOST_STEPS)
    warm_up = real_number("warm_up", warm_up, 0.0, 1.0)
    first, last = real_number("first", first, 0.0, 1.0), real_number("last", last, 0.0, 1.0)

    def factor(step: int) -> float:
        done = min(1.0, step / num_steps)
        if done < warm_up:
            return 1 - (1 - first) * 0.5 * (1 + math.cos(math.pi * done / warm_up))
        share = (done - warm_up) / (1 - warm_up) if warm_up < 1 else 1.0
        return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share))

    return factor
