"""Arc length of a smooth curve, and its inverse, numerically.

The speed is integrated by Gauss-Legendre quadrature on panels that are halved until a panel and its two
halves agree; so a cusp, where the speed has a kink, costs panels and not accuracy. The inverse is Newton's
method kept inside a bracket.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

PANEL_TOLERANCE = 1e-13
INVERSE_TOLERANCE = 1e-12
"""Both relative to the whole length."""

_MAX_HALVINGS = 40
_MAX_NEWTON_STEPS = 80
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def _integrals(speed: Callable[[FloatArray], FloatArray], start: FloatArray, end: FloatArray) -> FloatArray:
    half = (end - start) / 2
    at = (start + end)[:, None] / 2 + half[:, None] * _NODES
    return half * (speed(at.reshape(-1)).reshape(at.shape) @ _WEIGHTS)


class ArcLength:
    """Arc length ``s(u)`` over ``u`` in [0, 1] of a curve with a given speed ``|dp/du|``.

    Args:
        speed: Vectorised ``(k,) -> (k,)`` [m].
        breaks: Increasing values from 0 to 1 between which the speed is smooth (cusps aside).
    """

    def __init__(self, speed: Callable[[FloatArray], FloatArray], breaks: FloatArray) -> None:
        self._speed = speed
        start, end = breaks[:-1], breaks[1:]
        whole = _integrals(speed, start, end)
        scale = whole.sum()
        done: list[FloatArray] = []
        for _ in range(_MAX_HALVINGS):
            middle = (start + end) / 2
            left, right = _integrals(speed, start, middle), _integrals(speed, middle, end)
            agrees = np.abs(left + right - whole) <= PANEL_TOLERANCE * scale
            done.append(np.stack([start, left + right], axis=-1)[agrees])
            start, end = (
                np.concatenate([start[~agrees], middle[~agrees]]),
                np.concatenate([middle[~agrees], end[~agrees]]),
            )
            whole = np.concatenate([left[~agrees], right[~agrees]])
            if not start.size:
                break
        done.append(np.stack([start, whole], axis=-1))
        panels = np.concatenate(done)
        panels = panels[np.argsort(panels[:, 0])]
        self._edges = np.append(panels[:, 0], 1.0)
        self._cumulative = np.concatenate([[0.0], np.cumsum(panels[:, 1])])

    @property
    def total(self) -> float:
        """Length of the whole curve [m]."""
        return float(self._cumulative[-1])

    def parameter_at(self, fraction: FloatArray) -> FloatArray:
        """The ``u`` with ``s(u) = fraction * total``.

        Args:
            fraction: ``(k,)`` in [0, 1].

        Returns:
            ``(k,)`` in [0, 1].
        """
        goal = fraction * self.total
        panel = np.clip(np.searchsorted(self._cumulative, goal, side="right") - 1, 0, self._edges.size - 2)
        start = self._edges[panel]
        low, high = start.copy(), self._edges[panel + 1].copy()
        missing = goal - self._cumulative[panel]
        share = missing / np.maximum(self._cumulative[panel + 1] - self._cumulative[panel], np.finfo(float).tiny)
        u: FloatArray = low + np.clip(share, 0.0, 1.0) * (high - low)
        open_ = np.arange(u.size)
        for _ in range(_MAX_NEWTON_STEPS):
            at = u[open_]
            residual = _integrals(self._speed, start[open_], at) - missing[open_]
            low[open_] = np.where(residual <= 0, at, low[open_])
            high[open_] = np.where(residual >= 0, at, high[open_])
            slope = self._speed(at)
            step = at - residual / np.where(slope > 0, slope, np.inf)
            inside = (step > low[open_]) & (step < high[open_])
            unsolved = np.abs(residual) > INVERSE_TOLERANCE * self.total
            u[open_] = np.where(inside, step, np.where(unsolved, (low[open_] + high[open_]) / 2, at))
            open_ = open_[unsolved]
            if not open_.size:
                break
        return u
