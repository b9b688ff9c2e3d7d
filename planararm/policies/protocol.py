"""What a policy is: targets and present joint angles in, joint angles and a reason out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import PolicyError
from ..interface import EnvInterface
from ..obstacles import Obstacles
from ..scene import Scene


class Reason(IntEnum):
    """Why a policy returned what it returned."""

    SOLVED = 0
    """The target is met, within the joint limits and clear of the discs."""
    OUT_OF_REACH = 1
    """No configuration within the joint limits meets the target, discs or no discs."""
    BLOCKED = 2
    """The discs are in the way of the answer (of every answer, for a policy that knows them all)."""
    NOT_CONVERGED = 3
    """The policy ended without meeting the target."""
    HELD = 4
    """The policy chose to stay where it was."""


@dataclass(frozen=True, eq=False)
class IKSolution:
    """Answers of a policy, one per row of the batch.

    Args:
        q: ``(*batch, n)`` the best joint angles found [rad]; always finite.
        solved: ``(*batch,)`` bool: what the policy claims; a benchmark checks it again.
        reason: ``(*batch,)`` int8, values of :class:`Reason`; ``SOLVED`` exactly where ``solved``.
        info: Further arrays of shape ``(*batch,)``, e.g. ``iterations``; ``nominal_q (*batch, n)`` is what was
            proposed before a projection, ``commands (*batch, T, n)`` how to get to the answer, one command per
            control step [rad].
    """

    q: npt.NDArray[np.float64]
    solved: npt.NDArray[np.bool_]
    reason: npt.NDArray[np.int8]
    info: Mapping[str, Any] = field(default_factory=dict)


class IKPolicy(ABC):
    """Base class of all policies; a subclass writes :meth:`solve`.

    The contract, which :func:`~planararm.policies.conformance.check_policy` tests: answers are finite, of
    shape ``(*batch, n)`` and within the joint limits, also for unreachable targets and for ``q`` outside the
    limits; arguments are not changed; the same arguments give the same answers, whether in one batch or one
    by one. "Infeasible" and "did not converge" are ``solved=False`` with a reason, not exceptions.
    """

    batch_tolerance: float = 1e-9
    """How far an answer in a batch may be from the same answer alone [rad]; networks in torch take 1e-5."""

    interface: EnvInterface | None = None
    """The environment's layout, once bound."""

    fixed_interface: EnvInterface | None = None
    """The only layout that :meth:`predict` can be used with, e.g. the one an agent was trained in; None: any."""

    episode_steps: int | None = None
    """Control steps that the policy takes to a target, if it answers by moving there rather than at once."""

    @abstractmethod
    def solve(
        self,
        target_position: Any,
        q: Any,
        scene: Scene,
        *,
        target_orientation: Any = None,
    ) -> IKSolution:
        """Joint angles for target positions.

        Args:
            target_position: ``(*batch, 2)`` [m].
            q: ``(*batch, n)`` where the arm is [rad].
            scene: The arm among discs; the discs' batch axes equal the leading axes, or there are none and
                all rows share the discs. Shuttling discs are taken where they are at time 0.
            target_orientation: ``(*batch,)`` heading of the last link [rad]; None: free.

        Raises:
            InvalidInputError: Wrong shapes, NaN, or a target orientation that the policy does not handle.
        """

    def supports(self, scene: Scene) -> str | None:
        """None if the policy can be used in the scene, otherwise the reason why not."""
        return None

    def reset(self, mask: Any = None) -> None:
        """Forget the episode's state, of all environments or of those where ``mask (num_envs,)`` is True."""
        return None

    def bind(self, env: Any) -> Self:
        """Learn the layout of an environment's observations and actions, for :meth:`predict`.

        Args:
            env: An environment (single, vector, wrapped, or a Stable-Baselines3 VecEnv) or an
                ``EnvInterface``.

        Raises:
            PolicyError: It has no interface, or the policy does not support its arm.
        """
        interface = find_interface(env)
        reason = self.supports(Scene(interface.arm, Obstacles.none(), interface.safety_margin))
        if reason is not None:
            raise PolicyError(f"{type(self).__name__} cannot be used in this environment: {reason}")
        self.interface = interface
        return self

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The action towards the coming target, in the form that Stable-Baselines3's ``predict`` has.

        Solves for ``preview[..., 0, :]``, the target that the next step is scored on.

        Args:
            observation: The environment's Dict observation, single or batched.
            state: Returned as it is.
            episode_start: ``(num_envs,)`` bool: environments that have just been reset.
            deterministic: Without effect: policies are deterministic.

        Returns:
            The action ``(*batch, n)`` float32, and ``state``.

        Raises:
            PolicyError: :meth:`bind` has not been called, or the answer breaks the contract.
        """
        if self.interface is None:
            raise PolicyError(f"{type(self).__name__} must be bound to an environment: policy.bind(env).predict(...).")
        if episode_start is not None and np.any(episode_start):
            self.reset(np.asarray(episode_start, dtype=bool))
        observed = self.interface.unpack(observation)
        solution = self.solve(observed.preview[..., 0, :], observed.q, observed.scene)
        check_solution(solution, observed.q.shape, type(self).__name__)
        return self.interface.encode_action(observed.q, solution.q), state


def find_interface(env: Any) -> EnvInterface:
    """The :class:`~planararm.interface.EnvInterface` of an environment, wrapped or vectorised.

    Raises:
        PolicyError: It has none.
    """
    found = env if isinstance(env, EnvInterface) else getattr(getattr(env, "unwrapped", env), "interface", None)
    if found is None and hasattr(env, "get_attr"):
        try:
            found = env.get_attr("interface")[0]
        except AttributeError:
            found = None
    if not isinstance(found, EnvInterface):
        raise PolicyError(f"bind needs a planararm environment (or an EnvInterface), got {type(env).__name__}.")
    return found


def check_solution(solution: Any, shape: tuple[int, ...], who: str) -> None:
    """Check the form of an answer: an IKSolution, finite, of the right shapes; not what it claims.

    Args:
        solution: What the policy returned.
        shape: ``(*batch, n)`` of the answer.
        who: The policy's name, for the message.

    Raises:
        PolicyError: It is not; the message says what was returned and what would be right.
    """
    if not isinstance(solution, IKSolution):
        raise PolicyError(f"{who}.solve must return an IKSolution, got {type(solution).__name__}.")
    check_configuration(solution.q, shape, f"{who}.solve")
    for name in ("solved", "reason"):
        got = np.shape(getattr(solution, name))
        if got != shape[:-1]:
            raise PolicyError(f"{who}.solve must return {name} of shape {shape[:-1]}, got {got}.")


def check_configuration(q: Any, shape: tuple[int, ...], who: str) -> npt.NDArray[np.float64]:
    """Joint angles that a policy returned, as float64, or an error that says what is wrong with them.

    Raises:
        PolicyError: None, not numbers, complex, another shape, NaN or infinity.
    """
    if q is None:
        raise PolicyError(
            f"{who} returned None, it must return joint angles [rad] of shape {shape}; is a return missing?"
        )
    try:
        array = np.asarray(q)
        numeric = array.dtype.kind in "fiu"
    except (TypeError, ValueError, RuntimeError) as cause:
        raise PolicyError(f"{who} must return joint angles [rad] of shape {shape}, got {q!r}.") from cause
    if not numeric:
        raise PolicyError(
            f"{who} must return real numbers [rad] of shape {shape}, got {type(q).__name__} of {array.dtype}."
        )
    if array.shape != shape:
        raise PolicyError(f"{who} must return joint angles of shape {shape}, got shape {array.shape}.")
    if not np.isfinite(array).all():
        row = np.argwhere(~np.isfinite(array))[0]
        where = f" in row {tuple(int(i) for i in row[:-1])}" if len(row) > 1 else ""
        raise PolicyError(f"{who} must return finite joint angles, got {array[tuple(row[:-1])].tolist()}{where}.")
    return array.astype(np.float64)
