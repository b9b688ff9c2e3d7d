"""Any function as a policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arm import FloatArray
from ..errors import PolicyError
from ..scene import Scene
from .problem import make_problem
from .protocol import IKPolicy, IKSolution, check_configuration

CLAIM_TOLERANCE = 1e-3
"""Distance from the target that counts as met, fraction of the reach."""


class FunctionPolicy(IKPolicy):
    """A policy from a plain function ``f(target_position, q, scene) -> q``.

    ``solved`` is found by looking: target met to 1e-3 of the reach, joint limits held, free of the discs.
    Answers outside the joint limits are passed on as they are, for a benchmark to see.

    Args:
        f: Takes a target position ``(2,)`` [m], the present joint angles ``(n,)`` [rad] (clipped to the
            limits) and the scene, and returns joint angles ``(n,)`` [rad].
        vectorized: Whether ``f`` takes whole batches: ``(*batch, 2)``, ``(*batch, n)`` and a scene that may
            have the same batch axes, and returns ``(*batch, n)``. Otherwise it is called row by row.

    Raises:
        PolicyError: ``f`` cannot be called, or not with three arguments; and at every call, if ``f`` raises
            or returns anything but finite numbers of the right shape.
    """

    def __init__(self, f: Callable[[FloatArray, FloatArray, Scene], Any], vectorized: bool = False) -> None:
        self.name = getattr(f, "__name__", type(f).__name__)
        if not callable(f):
            raise PolicyError(f"FunctionPolicy needs a function f(target_position, q, scene) -> q, got {f!r}.")
        try:
            signature = inspect.signature(f)
        except (TypeError, ValueError):
            # Some compiled functions do not tell; a call will show.
            signature = None
        if signature is not None:
            try:
                signature.bind(None, None, None)
            except TypeError as cause:
                raise PolicyError(
                    f"{self.name} must take three arguments (target_position, q, scene), "
                    f"its signature is {self.name}{signature}."
                ) from cause
        self.f = f
        self.vectorized = bool(vectorized)

    def __repr__(self) -> str:
        return f"FunctionPolicy({self.name}{', vectorized=True' if self.vectorized else ''})"

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Call the function; see :meth:`IKPolicy.solve`.

        Raises:
            InvalidInputError: Wrong shapes, NaN, or a target orientation, which functions are not given.
            PolicyError: The function raised or returned something else than joint angles.
        """
        reason = "a function policy is not given orientations; derive from IKPolicy instead."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=reason)
        n, batch = problem.arm.num_joints, problem.batch
        targets, starts = problem.target_position.reshape(*batch, 2), problem.q.reshape(*batch, n)
        if self.vectorized:
            answer = self._call(targets, starts, scene, (*batch, n))
        else:
            answer = np.empty((*batch, n))
            for index in np.ndindex(*batch):
                row_scene = scene[index] if scene.batch_shape else scene
                answer[index] = self._call(targets[index], starts[index], row_scene, (n,))
        rows = answer.reshape(problem.num_rows, n)
        return problem.solution(rows, problem.reasons(rows, CLAIM_TOLERANCE * problem.arm.reach))

    def _call(self, target: FloatArray, q: FloatArray, scene: Scene, shape: tuple[int, ...]) -> FloatArray:
        # Copies: a function may well work in place on what it is given.
        try:
            answer = self.f(target.copy(), q.copy(), scene)
        except Exception as cause:
            raise PolicyError(f"{self.name} raised {type(cause).__name__}: {cause}") from cause
        return check_configuration(answer, shape, self.name)
