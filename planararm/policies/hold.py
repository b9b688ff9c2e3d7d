"""The baseline that does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..scene import Scene
from .problem import make_problem
from .protocol import IKPolicy, IKSolution, Reason


class Hold(IKPolicy):
    """Stays where it is: what every other policy must beat."""

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """The present joint angles, clipped to the limits; see :meth:`IKPolicy.solve`."""
        problem = make_problem(target_position, q, scene, target_orientation)
        return problem.solution(problem.q, np.full(problem.num_rows, Reason.HELD))
