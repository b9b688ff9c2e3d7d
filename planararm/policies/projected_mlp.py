"""``projected-mlp``: the network proposes, the projection makes it exact, free and certified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..collision import certify_motion
from ..interface import Observed
from ..projection.sequential import project
from ..scene import Scene
from ..validate import whole_number
from .following import follow
from .hold import Hold
from .problem import Problem, make_problem
from .projected import Projected
from .proposer import ProposerSet

NEAR_ENOUGH = 1e-2
"""Distance to the target below which a proposal counts as good, fraction of the reach; the projection does the rest."""

ONWARD = 0.1
"""Distance to the target up to which the arm where it is comes first among the proposals, fraction of the reach."""

LOST = 1e-2
"""How far beside its target a follower may end a step before it looks for another way, fraction of the reach."""


class ProjectedMLP(Projected):
    """A network's proposals, projected: every answer is verified free, and on the target where one was found.

    The network (that of :class:`planararm.policies.torch_mlp.TorchMLP`, trained on through the projection) proposes
    several configurations. They are tried in the order in which :class:`planararm.policies.proposer.Offer` puts
    them, each projected onto the free configurations on the target
    (:func:`planararm.projection.sequential.project`), until one holds; after the last come further starts of the
    projection. Where the end effector is near its target already, where the arm is comes first: a target that moves
    is followed with the least motion. In an environment the command is filtered, so that every executed motion is
    certified. ``info`` has the ``source`` of each answer and the number of the ``proposal`` it was projected from.

    Args:
        weights: A bundled name, a folder written by :meth:`save_pretrained` or ``planararm train``, or None: the
            bundled ones that fit the arm.
        tolerance: Distance to the target that counts as met, fraction of the reach.
        num_tries: Proposals that are tried, for rows that the ones before do not solve.
        num_restarts: Further starts of the projection, for rows that no proposal solves.
        max_iterations: Quadratic programs of one search.
        device: Where the network runs: ``"cpu"``, ``"cuda"`` or ``"auto"``. The projection runs on the CPU.

    Raises:
        WeightsError: The weights cannot be used; the message says why.
        InvalidInputError: An option is out of range, or no CUDA here.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        tolerance: float = 1e-6,
        num_tries: int = 2,
        num_restarts: int = 8,
        max_iterations: int = 10,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            Hold(), tolerance=tolerance, nearest=False, num_restarts=num_restarts, max_iterations=max_iterations
        )
        self.num_tries = whole_number("num_tries", num_tries, 1, 1000)
        self.proposers = ProposerSet("projected-mlp", weights, device)
        self.batch_tolerance = self.proposers.batch_tolerance

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **options: Any) -> Self:
        """The policy with these weights; the same as ``ProjectedMLP(name_or_folder, **options)``."""
        return cls(name_or_folder, **options)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the weights and their config, each completely or not at all.

        Raises:
            InvalidInputError: The policy was made without naming weights.
        """
        return self.proposers.only().save_pretrained(folder)

    def supports(self, scene: Scene) -> str | None:
        """None if there are weights for the scene's arm."""
        found = self.proposers.find(scene.arm)
        return found if isinstance(found, str) else None

    def proposals(self, problem: Problem) -> FloatArray:
        """The network's proposals in the order in which they are worth trying; see :meth:`Projected.proposals`."""
        reach = problem.arm.reach
        offer = self.proposers.require(problem.arm)(problem, NEAR_ENOUGH * reach, self.num_tries)
        ordered = offer.q[np.arange(problem.num_rows)[:, None], offer.order]
        onward = problem.error(problem.q) <= ONWARD * reach
        # The arm where it is comes in front of the others; where it has no place, the others move up by one.
        q = np.concatenate([np.where(onward[:, None], problem.q, ordered[:, 0])[:, None], ordered[:, 1:]], axis=1)
        q[onward, 1:] = ordered[onward, :-1]
        return q[:, : self.num_tries]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The certified action towards the coming target; see :meth:`IKPolicy.predict`.

        An arm that is near its target follows it (:func:`planararm.policies.following.follow`), looking ahead as far
        as the environment's preview goes and by extrapolation beyond it. The others go to the nearest answer to which
        the straight way is certified, among those that all proposals lead to; where there is none, to the one that
        the longest certified way leads towards.
        """
        layout, observed = self._observe(observation, episode_start)
        single = observed.q.ndim == 1
        q, velocity, preview = (
            np.atleast_2d(part) if part is not observed.preview else part.reshape(-1, *part.shape[-2:])
            for part in (observed.q, observed.joint_velocity, observed.preview)
        )
        reach, target, command = layout.arm.reach, preview[:, 0], layout.arm.clip(q)
        miss = np.asarray(layout.arm.end_effector(q)) - target
        lost = np.hypot(miss[:, 0], miss[:, 1]) > ONWARD * reach
        near = np.flatnonzero(~lost)
        if near.size:
            part = Observed(q[near], velocity[near], preview[near], _rows(observed.scene, near))
            command[near], off = follow(part, layout)
            lost[near] = off > LOST * reach
        far = np.flatnonzero(lost)
        if far.size:
            command[far] = self._reachable_by_motion(target[far], q[far], _rows(observed.scene, far))
        return self._certified(layout, observed, command[0] if single else command), state

    def _reachable_by_motion(self, target: FloatArray, q: FloatArray, scene: Scene) -> FloatArray:
        """Which answer to go to from where the arm is: ``(N, n)`` [rad]."""
        problem = make_problem(target, q, scene)
        offer = self.proposers.require(problem.arm)(problem, NEAR_ENOUGH * problem.arm.reach)
        count, num = offer.logits.shape
        which = np.repeat(np.arange(count), num)
        crowd = _rows(problem.scene(), which)
        tried = project(
            offer.q.reshape(count * num, -1),
            crowd,
            target_position=problem.aim[which],
            nearest=False,
            num_restarts=0,
            task_tolerance=0.99 * self.tolerance,
            max_iterations=self.max_iterations,
        )
        met = (tried.safe & (tried.task_error <= self.tolerance * problem.arm.reach)).reshape(count, num)
        answer = self.solve(target, q, scene)
        goals = np.concatenate([tried.q.reshape(count, num, -1), answer.q[:, None]], axis=1)
        met = np.concatenate([met, np.ones((count, 1), dtype=bool)], axis=1)
        which = np.repeat(np.arange(count), num + 1)
        way = certify_motion(
            problem.q[which], goals.reshape(len(which), -1), problem.arm, _rows(problem.scene(), which).obstacles,
            margin=problem.safety_margin / 2,
        )  # fmt: skip
        certified, share = way.status == 1, way.fraction
        travel = np.abs(goals - problem.q[:, None]).max(axis=-1).ravel()
        # No joint travels 1e3 rad: first what is certified, the nearest first, then by how far the way is free.
        cost = np.where(certified, travel, 1e3 * (2.0 - share)).reshape(count, num + 1)
        chosen = np.where(met, cost, np.inf).argmin(axis=1)
        return np.asarray(goals[np.arange(count), chosen])


def _rows(scene: Scene, rows: npt.NDArray[np.int64]) -> Scene:
    return scene[rows] if scene.batch_shape else scene
