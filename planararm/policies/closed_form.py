"""The exact answer for arms of up to three joints."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import inverse
from ..arm import FloatArray
from ..errors import InvalidInputError
from ..scene import Scene
from .problem import Problem, make_problem
from .protocol import IKPolicy, IKSolution, Reason


class ClosedForm(IKPolicy):
    """The exact, free configuration with the smallest change of any joint from where the arm is.

    All answers are known in closed form (elbow up and down; for three joints the whole self-motion curve), so
    "not found" is a statement about the target: ``OUT_OF_REACH`` if no configuration within the limits meets
    it, ``BLOCKED`` if the discs are in the way of all that do. Towards a target out of reach the arm goes
    as far as it can, if that is free; otherwise, and if blocked, it stays where it is.

    With a target orientation (three joints), the same among the two branches that have it; the arm stays
    where it is if neither will do.
    """

    def supports(self, scene: Scene) -> str | None:
        """None for up to three joints, otherwise the reason why not."""
        n = scene.arm.num_joints
        if n <= 3:
            return None
        return f"closed-form answers exist for 1 to 3 joints, this arm has {n}; try 'damped-least-squares'."

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """The nearest free exact answer; see :meth:`IKPolicy.solve`.

        Raises:
            InvalidInputError: Wrong shapes, NaN, more than three joints, or an orientation for fewer.
        """
        positions_only = None
        if isinstance(scene, Scene):
            refused, n = self.supports(scene), scene.arm.num_joints
            if refused is not None:
                raise InvalidInputError(refused)
            positions_only = None if n == 3 else f"three joints can hold an orientation, this arm has {n}."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=positions_only)
        answer, reason = _any_heading(problem) if problem.target_orientation is None else _with_heading(problem)
        return problem.solution(answer, reason, {"error": problem.error(answer)})


def _any_heading(problem: Problem) -> tuple[FloatArray, np.ndarray]:
    nearest = inverse.nearest_solution(problem.target_position, problem.q, problem.scene())
    reason = np.select(
        [nearest.status == inverse.FREE, nearest.status == inverse.BLOCKED],
        [Reason.SOLVED, Reason.BLOCKED],
        Reason.OUT_OF_REACH,
    )
    stretched = np.flatnonzero(reason == Reason.OUT_OF_REACH)
    moves = reason == Reason.SOLVED
    moves[stretched] = problem.take(stretched).is_free(nearest.q[stretched])
    return np.where(moves[:, None], nearest.q, problem.q), reason


def _with_heading(problem: Problem) -> tuple[FloatArray, np.ndarray]:
    arm, q = problem.arm, problem.q
    branches, valid = inverse.closed_form(problem.target_position, arm, target_orientation=problem.target_orientation)
    best, smallest = q.copy(), np.full(problem.num_rows, np.inf)
    for k in range(branches.shape[-2]):
        branch = np.where(valid[:, k, None], branches[:, k], q)
        turned = branch + 2 * np.pi * np.round((q - branch) / (2 * np.pi))
        branch = np.where(arm.clip(turned) == turned, turned, branch)
        change = np.abs(branch - q).max(axis=-1)
        better = valid[:, k] & problem.is_free(branch) & (change < smallest)
        best[better], smallest[better] = branch[better], change[better]
    missed = np.where(valid.any(axis=-1), Reason.BLOCKED, Reason.OUT_OF_REACH)
    return best, np.where(np.isfinite(smallest), Reason.SOLVED, missed)
