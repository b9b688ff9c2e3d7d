"""Several networks asked at once. Angles are averaged as directions: 179 and -179 degrees are two degrees apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import InvalidInputError
from ..validate import finite_array
from .layers import FloatArray


class DirectionalMean(NamedTuple):
    """The mean of angles.

    Attributes:
        mean: ``(*batch,)`` [rad], in (-pi, pi].
        spread: ``(*batch,)`` ``1 - |mean e^{i phi}|`` in [0, 1]: 0 where all agree, near 1 where they point
            everywhere.
    """

    mean: FloatArray
    spread: FloatArray


def directional_mean(angles: Any) -> DirectionalMean:
    """The mean direction, ``arg mean e^{i phi}``, over the first axis.

    K. V. Mardia and P. E. Jupp, *Directional Statistics*, 1999, section 2.2.

    Args:
        angles: ``(M, *batch)`` [rad], M members.

    Raises:
        InvalidInputError: No members, or NaN.
    """
    angles = finite_array("angles", angles)
    if angles.ndim == 0 or len(angles) == 0:
        raise InvalidInputError(f"angles must have a first axis of members, got shape {angles.shape}.")
    cosine, sine = np.cos(angles).mean(axis=0), np.sin(angles).mean(axis=0)
    spread = np.clip(1.0 - np.hypot(cosine, sine), 0.0, 1.0)
    return DirectionalMean(np.arctan2(sine, cosine), spread)


class Ensemble:
    """Networks (or other functions) that each answer joint angles, averaged link by link.

    Relative angles are summed to headings first and averaged as directions; the mean arm is the one whose links point
    where the members' links point on average. Members on different branches (elbow up, elbow down) have no meaningful
    mean: the spread tells.

    Args:
        members: Functions ``x (batch, inputs) -> q (batch, n)`` [rad].

    Raises:
        InvalidInputError: No members.
    """

    def __init__(self, members: Sequence[Callable[[Any], FloatArray]]) -> None:
        self.members = list(members)
        if not self.members:
            raise InvalidInputError("An ensemble needs at least one member.")

    def predict(self, x: Any) -> tuple[FloatArray, FloatArray]:
        """Mean joint angles ``(batch, n)`` [rad] and the largest spread of a link ``(batch,)`` in [0, 1]."""
        answers = np.stack([np.asarray(member(x), dtype=np.float64) for member in self.members])
        headings = np.cumsum(answers, axis=-1)
        mean, spread = directional_mean(headings)
        q = np.diff(mean, axis=-1, prepend=0.0)
        # By whole turns to where the members' own angles are, so that limits mean the same for the mean.
        q += 2 * np.pi * np.round((np.median(answers, axis=0) - q) / (2 * np.pi))
        return q, spread.max(axis=-1)
