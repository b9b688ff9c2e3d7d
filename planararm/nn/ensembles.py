"""Several networks asked at once. Angles are averaged as directions: 179 and -179 degrees are two degrees apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import InvalidInputError, UnknownNameError
from ..validate import finite_array
from .layers import FloatArray, Layer

OUTPUTS = ("angles", "directions")


class DirectionalMean(NamedTuple):
    """The mean of angles.

    Attributes:
        mean: ``(*batch,)`` [rad], in [-pi, pi].
        spread: ``(*batch,)`` ``1 - |mean e^{i phi}|`` in [0, 1]: 0 where all agree, near 1 where they point
            everywhere.
    """

    mean: FloatArray
    spread: FloatArray


def directional_mean(angles: Any) -> DirectionalMean:
    """The mean direction, ``arg mean e^{i phi}``, over the first axis.

    Each angle is the unit vector ``(cos phi, sin phi)``; their mean vector points to the mean angle, and is the
    shorter, the less they agree. K. V. Mardia and P. E. Jupp, *Directional Statistics*, 1999, section 2.2.

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


def angles_of(directions: Any) -> FloatArray:
    """Angles [rad] from cosines and sines, of any length but zero.

    Args:
        directions: ``(*batch, 2 n)``: n cosines, then n sines.

    Returns:
        ``(*batch, n)`` in [-pi, pi].

    Raises:
        InvalidInputError: An odd number of columns, NaN, or a pair (0, 0), which has no direction.
    """
    directions = finite_array("directions", directions)
    if directions.ndim == 0 or directions.shape[-1] == 0 or directions.shape[-1] % 2:
        raise InvalidInputError(f"directions must be (*batch, 2 n), cosines then sines, got {directions.shape}.")
    cosine, sine = np.split(directions, 2, axis=-1)
    if ((cosine == 0) & (sine == 0)).any():
        raise InvalidInputError("directions must not have a pair (0, 0): it points nowhere.")
    return np.asarray(np.arctan2(sine, cosine))


class Ensemble:
    """Networks (or other functions) that each answer joint angles, averaged link by link.

    Relative angles are summed to headings first and averaged as directions; the mean arm is the one whose links point
    where the members' links point on average. Members on different branches (elbow up, elbow down) have no meaningful
    mean: the spread tells.

    Why several networks: with errors that are independent and of the same size, the mean of M has a squared error M
    times smaller; errors that they share remain. T. G. Dietterich, *Ensemble methods in machine learning*, 2000,
    doi:10.1007/3-540-45014-9_1.

    Args:
        members: Networks or functions ``x (batch, inputs) -> (batch, outputs)``.
        outputs: What they answer: ``"angles"``, ``(batch, n)`` [rad], or ``"directions"``, ``(batch, 2 n)``, n cosines
            and then n sines of the joint angles; these need not have length one.

    Raises:
        InvalidInputError: No members, or one that is neither a network nor a function.
        UnknownNameError: No such kind of outputs.
    """

    def __init__(self, members: Sequence[Layer | Callable[[Any], FloatArray]], outputs: str = "angles") -> None:
        if outputs not in OUTPUTS:
            raise UnknownNameError("kind of outputs", outputs, OUTPUTS)
        self.members, self.outputs = list(members), outputs
        if not self.members:
            raise InvalidInputError("An ensemble needs at least one member.")
        for member in self.members:
            if not isinstance(member, Layer) and not callable(member):
                raise InvalidInputError(f"A member must be a network or a function, got {member!r}.")

    def answers(self, x: Any) -> FloatArray:
        """Joint angles of every member ``(M, batch, n)`` [rad].

        Args:
            x: ``(batch, inputs)``.

        Raises:
            InvalidInputError: Members that answer in different shapes, or NaN.
        """
        parts = [
            finite_array("A member's answer", member.forward(x) if isinstance(member, Layer) else member(x))
            for member in self.members
        ]
        if len({part.shape for part in parts}) > 1:
            raise InvalidInputError(f"The members must answer in one shape, got {[part.shape for part in parts]}.")
        answers = np.stack(parts)
        return angles_of(answers) if self.outputs == "directions" else answers

    def predict(self, x: Any) -> tuple[FloatArray, FloatArray]:
        """Mean joint angles ``(batch, n)`` [rad] and the largest spread of a link ``(batch,)`` in [0, 1].

        Args:
            x: ``(batch, inputs)``.

        Raises:
            InvalidInputError: Members that answer in different shapes, or NaN.
        """
        answers = self.answers(x)
        mean, spread = directional_mean(np.cumsum(answers, axis=-1))
        q = np.diff(mean, axis=-1, prepend=0.0)
        # By whole turns to where the members' own angles are, so that limits mean the same for the mean.
        q += 2 * np.pi * np.round((np.median(answers, axis=0) - q) / (2 * np.pi))
        return q, spread.max(axis=-1)
