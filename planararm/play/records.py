"""What the window remembers of the last seconds."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from ..arm import FloatArray

HISTORY_SECONDS, TRAIL_SECONDS = 10.0, 2.5
TIMED_CALLS = 30


class Sample(NamedTuple):
    """One step of the error's history.

    Attributes:
        error: Distance of the end effector from the target, as a fraction of the reach.
        policy: Number of the policy that was in charge.
        contact: Whether a disc stopped the arm.
    """

    error: float
    policy: int
    contact: bool


class Records:
    """Histories of bounded length.

    Args:
        dt: Control step [s].

    Attributes:
        history: A :class:`Sample` per step, oldest first.
        trail: Where the end effector has been, ``(2,)`` each [m], oldest first.
        solve_seconds: Durations of the policy's latest calls [s].
    """

    def __init__(self, dt: float) -> None:
        self.history: deque[Sample] = deque(maxlen=max(2, round(HISTORY_SECONDS / dt)))
        self.trail: deque[FloatArray] = deque(maxlen=max(2, round(TRAIL_SECONDS / dt)))
        self.solve_seconds: deque[float] = deque(maxlen=TIMED_CALLS)

    @property
    def solve_time(self) -> float | None:
        """Median duration of the policy's latest calls [s]; None before the first."""
        return float(np.median(self.solve_seconds)) if self.solve_seconds else None

    @property
    def fill(self) -> int:
        """Number of samples that a full history holds."""
        return self.history.maxlen or 1

    def clear(self) -> None:
        """Forget everything."""
        for record in (self.history, self.trail, self.solve_seconds):
            record.clear()
