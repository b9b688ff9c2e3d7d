"""Any policy made safe: its answer is projected onto the free configurations on the target."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import PolicyError
from ..interface import EnvInterface, Observed
from ..kernels.launch import launch, writable
from ..kernels.polish import polish_batch
from ..projection.command_filter import filter_command
from ..projection.sequential import MAX_ITERATIONS, SLACK, Projection, Source, project
from ..scene import Scene
from ..validate import real_number, whole_number
from .problem import Problem, make_problem
from .protocol import IKPolicy, IKSolution, Reason, check_solution


class _Answer:
    """The best answer found so far for each row."""

    def __init__(self, problem: Problem, proposed: FloatArray) -> None:
        count = problem.num_rows
        self.problem, self.proposed = problem, proposed
        self.q, self.safe = problem.q.copy(), np.zeros(count, dtype=bool)
        self.source = np.full(count, Source.NONE, dtype=np.int8)
        self.proposal = np.zeros(count, dtype=np.int64)
        self.clearance, self._miss = np.full(count, -np.inf), np.full(count, np.inf)

    def polish(self, tolerance: float) -> npt.NDArray[np.int64]:
        """Take the first proposals where a few Newton steps are all that they need; the rows where it is not.

        Args:
            tolerance: Distance to the aim that counts as met [m].
        """
        count = self.problem.num_rows
        first = np.array(self.proposed[:, 0], order="C")
        q, miss, clearance = np.empty_like(first), np.empty(count), np.empty(count)
        done = np.empty(count, dtype=bool)
        lengths, base, *others = self.problem.chain
        launch(
            polish_batch, count, first, np.array(self.problem.aim), lengths, base, self.problem.arm.reach, others[0],
            *writable(self.problem.arm.joint_limits), *others[1:], self.problem.safety_margin + SLACK, tolerance,
            q, miss, clearance, done,
        )  # fmt: skip
        self.q[done], self.safe[done], self._miss[done] = q[done], True, miss[done]
        moved = (q != first).any(axis=1)
        self.source[done] = np.where(moved, Source.PROJECTED, Source.PROPOSAL)[done]
        self.clearance[done] = clearance[done]
        return np.flatnonzero(~done)

    def take_over(
        self, rows: npt.NDArray[np.int64], found: Projection, proposal: int, tolerance: float
    ) -> npt.NDArray[np.bool_]:
        """Keep what is safe and nearer to the aim than before; which rows have nothing safe on the aim yet."""
        miss = np.where(found.safe, np.nan_to_num(found.task_error, nan=0.0), np.inf)
        better = miss < self._miss[rows]
        chosen = rows[better]
        self.q[chosen], self.safe[chosen], self._miss[chosen] = found.q[better], True, miss[better]
        self.source[chosen], self.clearance[chosen] = found.source[better], found.clearance[better]
        self.proposal[chosen] = proposal
        return np.asarray(self._miss[rows] > tolerance)


class Projected(IKPolicy):
    """Another policy's answer, projected: free and within the limits, on the target where that is possible.

    The inner policy proposes; :func:`planararm.projection.sequential.project` answers with the nearest configuration
    that is free and on the target. Where none is found the arm goes to the nearest free configuration found, and
    where there is none of these either it stays where it is. ``solved`` is claimed of verified answers only. ``info``
    has the ``source`` of each answer (:class:`planararm.projection.sequential.Source`), its ``clearance``, and its
    ``distance`` from the proposal, which is ``nominal_q``; ``proposal`` is its number where there are several.

    In an environment (:meth:`predict`) the command is filtered too, so that the motion is certified
    (:func:`planararm.projection.command_filter.filter_command`).

    Args:
        policy: Whose answers: anything that :func:`planararm.make_policy` takes.
        task: Whether the end effector is brought to the target, or the proposal only made free.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        nearest: Whether to go on from the first configuration on the target to the one nearest to the proposal.
        num_restarts: Further starts of the projection, for rows not solved.
        max_iterations: Quadratic programs of one search.
        **options: Of the inner policy, if it is given by name.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(
        self,
        policy: Any,
        *,
        task: bool = True,
        tolerance: float = 1e-6,
        nearest: bool = True,
        num_restarts: int = 8,
        max_iterations: int = MAX_ITERATIONS,
        **options: Any,
    ) -> None:
        from .registry import make_policy

        self.policy = make_policy(policy, **options)
        self.task, self.nearest = bool(task), bool(nearest)
        self.tolerance = real_number("tolerance", tolerance, 0.0, 1.0)
        self.num_restarts = whole_number("num_restarts", num_restarts, 0, 10_000)
        self.max_iterations = whole_number("max_iterations", max_iterations, 1, 100_000)

    def supports(self, scene: Scene) -> str | None:
        """The inner policy's answer."""
        return self.policy.supports(scene)

    def reset(self, mask: Any = None) -> None:
        """Reset the inner policy."""
        self.policy.reset(mask)

    def bind(self, env: Any) -> Self:
        """Bind the inner policy too; see :meth:`IKPolicy.bind`."""
        self.policy.bind(env)
        return super().bind(env)

    def proposals(self, problem: Problem) -> FloatArray:
        """What is projected, the first to be tried first: ``(N, K, n)`` [rad]; here the inner policy's answer.

        Args:
            problem: N targets.
        """
        answer = self.policy.solve(problem.target_position, problem.q, problem.scene())
        check_solution(answer, problem.q.shape, type(self.policy).__name__)
        return np.asarray(answer.q, dtype=np.float64)[:, None]

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Propose and project; see :meth:`IKPolicy.solve`."""
        orientation = "the projection moves the links freely; the inner policy alone may honour orientations."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=orientation)
        tolerance = self.tolerance * problem.arm.reach
        proposed = self.proposals(problem)
        answer = _Answer(problem, proposed)
        self._project(answer)
        stays = ~answer.safe
        if stays.any():
            stays &= problem.is_free(problem.q)
            answer.q[stays], answer.source[stays] = problem.q[stays], Source.HELD
        reason = problem.reasons(answer.q, tolerance)
        reason = np.where(stays & (reason != Reason.SOLVED), Reason.HELD, reason)
        nominal = proposed[np.arange(problem.num_rows), answer.proposal]
        info = {
            "source": answer.source,
            "proposal": answer.proposal,
            "clearance": answer.clearance,
            "distance": np.linalg.norm(answer.q - nominal, axis=-1),
            "nominal_q": nominal,
            "error": problem.error(answer.q),
        }
        return problem.solution(answer.q, reason, info)

    def _project(self, answer: _Answer) -> None:
        """Try the proposals one after the other, the last one with further starts.

        Where the tip has no room at the target, the nearest point where it has is aimed at. Rows for which nothing safe
        has come up are at least made free.
        """
        num = answer.proposed.shape[1]
        rows, aim = np.arange(answer.problem.num_rows), answer.problem.aim
        if self.task and not self.nearest:
            rows = answer.polish(0.99 * self.tolerance * answer.problem.arm.reach)
        for k in range(num):
            if rows.size == 0:
                break
            part = answer.problem if rows.size == answer.problem.num_rows else answer.problem.take(rows)
            found = project(
                answer.proposed[rows, k],
                part.scene(),
                target_position=aim[rows] if self.task else None,
                nearest=self.nearest,
                num_restarts=self.num_restarts if k == num - 1 else 0,
                # A little inside, so that rounding cannot turn "met" here into "missed" in the verdict.
                task_tolerance=0.99 * self.tolerance,
                max_iterations=self.max_iterations,
            )
            rows = rows[answer.take_over(rows, found, k, self.tolerance * answer.problem.arm.reach)]
        touching = np.flatnonzero(~answer.safe)
        if touching.size and self.task:
            found = project(answer.proposed[touching, 0], answer.problem.take(touching).scene())
            answer.take_over(touching, found, 0, np.inf)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The certified action towards the coming target; see :meth:`IKPolicy.predict`.

        The observation's float32 joint angles are what is certified: the motion's margin (half the scene's safety
        margin) is a thousand times their rounding. :class:`planararm.envs.SafetyFilter` certifies from the exact
        state.
        """
        layout, observed = self._observe(observation, episode_start)
        solution = self.solve(observed.preview[..., 0, :], observed.q, observed.scene)
        return self._certified(layout, observed, solution.q), state

    def _observe(self, observation: Any, episode_start: Any) -> tuple[EnvInterface, Observed]:
        if self.interface is None:
            raise PolicyError(f"{type(self).__name__} must be bound to an environment: policy.bind(env).predict(...).")
        if episode_start is not None and np.any(episode_start):
            self.reset(np.asarray(episode_start, dtype=bool))
        return self.interface, self.interface.unpack(observation)

    @staticmethod
    def _certified(layout: EnvInterface, observed: Observed, command: FloatArray) -> npt.NDArray[np.float32]:
        """Towards the command as far as one step goes, and what is certified of that."""
        _, info = filter_command(
            layout.arm.clip(observed.q), command, observed.scene, duration=layout.dt, rounding=layout.control_mode
        )
        return info.action.astype(np.float32)


class ProjectedDampedLeastSquares(Projected):
    """Damped least squares, projected: a classical solver that respects the discs.

    Args:
        tolerance: Distance to the target that counts as met, fraction of the reach.
        num_restarts: Further starts of the projection, for rows not solved.
        damping: Dimensionless factor of the damping.

    Raises:
        InvalidInputError: An option is out of range.
    """

    def __init__(self, *, tolerance: float = 1e-6, num_restarts: int = 8, damping: float = 0.1) -> None:
        super().__init__(
            "damped-least-squares", tolerance=tolerance, num_restarts=num_restarts, max_iterations=MAX_ITERATIONS,
            damping=damping,
        )  # fmt: skip
