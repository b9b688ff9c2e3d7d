"""Inverse kinematics by convex relaxation."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from ..kinematics import wrap_angle
from ..projection.convex_cone import nearest_point_socp
from ..projection.convex_ik import (
    CONVEX_ITERATIONS,
    INFEASIBLE,
    OPTIMAL,
    SAMPLES_PER_LINK,
    relax,
    within_limits,
)
from ..projection.sequential import project
from ..scene import Scene
from ..validate import real_number, whole_number
from .problem import Problem, make_problem
from .protocol import IKPolicy, IKSolution, Reason


class Stage(enum.IntEnum):
    """What an answer of :class:`ConvexIK` comes from."""

    CONE = 0
    """The cone program, tight: the nearest configuration on the target; limits and discs happened to hold."""
    SEMIDEFINITE = 1
    """The semidefinite program, tight: the nearest configuration on the target that is free."""
    ITERATION = 2
    """Convex iteration reached rank one."""
    LOOSE = 3
    """No relaxation led to the target: the nearest of the free configurations met on the way."""
    PROVEN = 4
    """There is a certificate that no free configuration reaches the target."""


class ConvexIK(IKPolicy):
    """Nearest-point inverse kinematics by convex relaxation, after Maric et al. (2020) and Giamou et al. (2022).

    A cone program without limits and discs comes first, for the whole batch. Where its answer is not tight, or breaks a
    limit or touches a disc, a semidefinite program with both follows, then convex iteration; these take milliseconds
    per target. Answers are brought to the last digit by a few steps of the sequential projection, and ``solved`` is
    claimed of verified ones only. ``info["stage"]`` says where each comes from (:class:`Stage`).

    ``BLOCKED`` is claimed with a proof: the relaxation, with rows that every free configuration meets, is infeasible.

    Args:
        tolerance: Distance to the target that counts as met, fraction of the reach.
        max_iterations: Steps of convex iteration.
        samples: Points of each link that are kept out of the discs.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self, *, tolerance: float = 1e-6, max_iterations: int = CONVEX_ITERATIONS, samples: int = SAMPLES_PER_LINK
    ) -> None:
        self.tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        self.max_iterations = whole_number("max_iterations", max_iterations, 0, 1000)
        self.samples = whole_number("samples", samples, 2, 1000)

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """The nearest configuration to ``q`` on the target; see :meth:`IKPolicy.solve`."""
        orientation = "the cone program leaves it free; projection.convex_ik.relax honours orientations."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=orientation)
        arm, tolerance = problem.arm, self.tolerance * problem.arm.reach
        cone = nearest_point_socp(problem.target_position, problem.q, arm)
        answer = np.stack(
            [within_limits(one, start, arm) for one, start in zip(cone.q, problem.q, strict=True)]
        ).reshape(problem.q.shape) if problem.num_rows else problem.q.copy()  # fmt: skip
        reason = problem.reasons(answer, tolerance)
        stage = np.full(problem.num_rows, Stage.CONE, dtype=np.int8)
        outside = reason == Reason.OUT_OF_REACH
        # Towards a target out of reach the arm goes as far as it can, if that is free.
        back = outside & ~problem.is_free(answer)
        answer[back] = problem.q[back]
        stage[outside] = Stage.LOOSE
        for i in np.flatnonzero((reason != Reason.SOLVED) & ~outside):
            answer[i], reason[i], stage[i] = self._lifted(problem.take(np.array([i])), answer[i], tolerance)
        return problem.solution(answer, reason, {"stage": stage, "error": problem.error(answer)})

    def _lifted(self, row: Problem, cone: np.ndarray, tolerance: float) -> tuple[np.ndarray, int, int]:
        """The semidefinite program, then convex iteration, for one row that the cone program did not solve."""
        obstacles = row.obstacles[0] if row.obstacles.batch_shape else row.obstacles
        scene = Scene(row.arm, obstacles, row.safety_margin)
        target, start = row.target_position[0], row.q[0]
        found = relax(target, start, scene, samples=self.samples, max_iterations=self.max_iterations)
        if found.status != OPTIMAL:
            necessary = relax(target, start, scene, samples=self.samples, inflated=False)
            best = _nearest_free(row, start, cone)
            if necessary.status == INFEASIBLE:
                return best, Reason.BLOCKED, Stage.PROVEN
            return best, Reason.NOT_CONVERGED, Stage.LOOSE
        if not (found.tight or found.verified):
            return _nearest_free(row, start, cone, found.q), Reason.NOT_CONVERGED, Stage.LOOSE
        digits = project(
            found.q, scene, target_position=target, nearest=False, num_restarts=0, max_iterations=10,
            task_tolerance=0.99 * self.tolerance,
        )  # fmt: skip
        # Digits, not another answer: the solver's tolerance is 1e-6 of the reach or less.
        if np.abs(wrap_angle(digits.q - found.q)).max() > 1e-2:
            return _nearest_free(row, start, cone, found.q), Reason.NOT_CONVERGED, Stage.LOOSE
        reason = int(row.reasons(digits.q[None], tolerance)[0])
        if reason != Reason.SOLVED:
            return _nearest_free(row, start, cone, found.q, digits.q), Reason.NOT_CONVERGED, Stage.LOOSE
        stage = Stage.SEMIDEFINITE if found.iterations == 1 else Stage.ITERATION
        return digits.q, reason, stage


def _nearest_free(row: Problem, start: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Of configurations that are free, the one nearest to the target; ``start`` if none is."""
    free = [q for q in (start, *others) if row.is_free(q[None])[0]]
    return min(free, key=lambda q: float(row.error(q[None])[0]), default=start)
