"""The policies to choose from in the window: made once, asked one target at a time, never trusted."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from ..arm import FloatArray
from ..errors import PlanarArmError, UnknownNameError
from ..policies import IKPolicy, Reason, available_policies, make_policy
from ..policies.protocol import check_solution
from ..scene import Scene

SAYS = {
    Reason.SOLVED: "solved",
    Reason.OUT_OF_REACH: "out of reach",
    Reason.BLOCKED: "blocked by discs",
    Reason.NOT_CONVERGED: "not converged",
    Reason.HELD: "holds still",
}
"""The reasons of policies in the window's words."""


class Answer(NamedTuple):
    """What came of asking a policy.

    Attributes:
        q: ``(n,)`` the configuration that it wants [rad]; None if it failed.
        reason: What it says about the target; None if it failed.
        seconds: Time that it took [s].
        problem: What went wrong; None if nothing did.
    """

    q: FloatArray | None
    reason: Reason | None
    seconds: float
    problem: str | None = None


class Solvers:
    """All policies by name; each is imported and made when it is first needed, and then kept.

    Args:
        first: The policy to begin with: anything that :func:`planararm.policies.make_policy` takes. One without a
            registered name is added to the names.

    Attributes:
        names: The names to choose from, in the order of their numbers.
        first: The name of the policy to begin with.

    Raises:
        PlanarArmError: The first policy cannot be made.
    """

    def __init__(self, first: Any = "closed-form") -> None:
        known, policy = available_policies(), make_policy(first)
        self.first = first if isinstance(first, str) else _label(first, known)
        self.names = known if self.first in known else [self.first, *known]
        self._made: dict[str, IKPolicy | str] = {self.first: policy}

    def prepare(self, name: str) -> str | None:
        """Make a policy, if that has not been tried yet, and let it forget what it did.

        Args:
            name: One of :attr:`names`.

        Returns:
            None, or what went wrong.

        Raises:
            UnknownNameError: No such policy.
        """
        if name not in self.names:
            raise UnknownNameError("policy", name, self.names)
        if name not in self._made:
            try:
                self._made[name] = make_policy(name)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a policy raises is shown in the window
                self._made[name] = _told(error)
        policy = self._made[name]
        if isinstance(policy, str):
            return policy
        try:
            policy.reset()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a policy raises is shown in the window
            return _told(error)
        return None

    def ask(self, name: str, target: FloatArray, q: FloatArray, scene: Scene) -> Answer:
        """One policy's answer to one target; no policy can make this raise.

        Args:
            name: One of :attr:`names`, prepared.
            target: ``(2,)`` [m].
            q: ``(n,)`` where the arm is [rad].
            scene: The scene as it is now.
        """
        policy = self._made.get(name)
        if not isinstance(policy, IKPolicy):
            return Answer(None, None, 0.0, policy or "not prepared.")
        start = time.perf_counter()
        try:
            refused = policy.supports(scene)
            if refused is not None:
                return Answer(None, None, 0.0, refused)
            start = time.perf_counter()
            # Copies: the arm must not move because a policy worked in place.
            solution = policy.solve(target.copy(), q.copy(), scene)
            seconds = time.perf_counter() - start
            check_solution(solution, q.shape, name)
            return Answer(np.array(solution.q, dtype=np.float64), Reason(int(solution.reason)), seconds)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a policy raises is shown in the window
            return Answer(None, None, time.perf_counter() - start, _told(error))


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PlanarArmError) else f"{type(error).__name__}: {text}"


def _label(thing: Any, taken: list[str]) -> str:
    """What an object is called; never like a policy of that name."""
    name = str(getattr(thing, "__name__", type(thing).__name__))
    return f"{name} (yours)" if name in taken else name
