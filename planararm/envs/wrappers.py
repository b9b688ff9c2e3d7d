"""Wrappers that make the actions of any agent safe.

Each action is replaced by the nearest one whose whole motion is certified
(:func:`planararm.projection.command_filter.filter_command`). The filter reads the exact float64 state, not the
observation, and certifies the float32 action that the environment receives; an action whose motion is certified
passes unchanged, bit for bit. Where discs only stand still, an arm that starts free stays free.

Both wrappers add to ``info``, on reset and step:

| key | shape | meaning |
|---|---|---|
| `nominal_action` | (n,) float32 | the agent's action |
| `executed_action` | (n,) float32 | the action that the environment received |
| `intervened` | bool | whether they differ |
| `intervention_distance` | float | between where the two steps end [rad] |
| `active_constraints` | (n, max_obstacles) bool | pairs of link and disc slot that held a projected step back |
| `fallback` | int | the action's source: :class:`planararm.projection.command_filter.FilterStatus` |

On reset no action was given: both are the one that holds the arm.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorActionWrapper, VectorWrapper

from ..dynamics import Dynamics
from ..errors import InvalidInputError
from ..interface import is_number
from ..projection.command_filter import FilterStatus, filter_command
from ..scene import Scene
from .arm_env import ArmEnv
from .checks import read_action
from .vector_env import ArmVectorEnv

Actions = npt.NDArray[np.float32]

ARRIVED = 1e-9
"""How far from its certified end a step may end by rounding [rad]."""

STANDS_FREE = 1e-7
"""From an arm that stands at least this far from the discs, the environment executes a certified motion whole [m]."""

INFO_KEYS = (
    "nominal_action", "executed_action", "intervened", "intervention_distance", "active_constraints", "fallback",
)  # fmt: skip


def _refuse_changed_actions(env: Any) -> None:
    """Refuse wrappers below the filter that change actions: what is certified would not be what is executed.

    Raises:
        InvalidInputError: There is one.
    """
    while isinstance(env, gym.Wrapper | VectorWrapper):
        if isinstance(env, gym.ActionWrapper | VectorActionWrapper | gym.wrappers.RepeatAction):
            raise InvalidInputError(
                f"{type(env).__name__} lies between the filter and the environment and would change certified "
                f"actions; wrap the other way round: {type(env).__name__}(SafetyFilter(env), ...)."
            )
        env = env.env


class _Guard:
    """The part that both wrappers share: filter a batch of actions, report, and check what became of them."""

    def __init__(self, dynamics: Dynamics, motion_margin: float | None) -> None:
        if motion_margin is not None and not (is_number(motion_margin) and 0 <= motion_margin < np.inf):
            raise InvalidInputError(f"motion_margin must be a finite number >= 0, got {motion_margin!r}.")
        self.dynamics, self.motion_margin = dynamics, motion_margin
        self.slots = dynamics.task.interface.max_obstacles
        self.known: Scene | None = None
        self.holds()

    def holds(self) -> None:
        """Nothing was asked and nothing changed: every element's action is the one that holds its arm."""
        interface, q, count = self.dynamics.task.interface, self.dynamics.state.q, self.dynamics.count
        self.nominal = interface.encode_action(q, q)
        self.executed = self.nominal.copy()
        self.status = np.full(count, FilterStatus.PASSED, dtype=np.int8)
        self.distance = np.zeros(count)
        self.active = np.zeros((count, interface.arm.num_joints, self.slots), dtype=bool)
        self.q_end = q.copy()

    def scenes(self) -> Scene:
        """The present scenes. Those of discs that stand still are kept: checking them anew takes half of a step."""
        state, known = self.dynamics.state, self.known
        if known is not None and known.obstacles.shuttle is None and not state.shuttle.any():
            discs = known.obstacles
            here = ((discs.centers, state.home), (discs.radii, state.radii), (discs.mask, state.present))
            if all(np.array_equal(*pair) for pair in here):
                return known
        self.known = state.scenes(self.dynamics.task)
        return self.known

    def filter(self, actions: Actions) -> Actions:
        """The actions to execute instead of ``actions (N, n)``."""
        dynamics = self.dynamics
        state, interface = dynamics.state, dynamics.task.interface
        self.steps_before, self.free_before = state.steps.copy(), dynamics.clearance >= STANDS_FREE
        _, made = filter_command(
            state.q,
            interface.decode_action(state.q, actions),
            self.scenes(),
            duration=interface.dt,
            rounding=interface.control_mode,
            motion_margin=self.motion_margin,
        )
        self.nominal = actions.copy()
        self.executed = np.where(made.intervened[:, None], made.action.astype(np.float32), actions)
        self.status, self.distance, self.active = made.status, made.distance, made.active_constraints
        self.q_end = made.q_end
        return self.executed.copy()

    def confirm(self) -> None:
        """Check that the environment did what was certified; elements that it has reset meanwhile hold.

        Raises:
            InvalidInputError: A wrapper in between changed an action or took several steps.
        """
        state, interface = self.dynamics.state, self.dynamics.task.interface
        fresh = state.steps == 0
        once = state.steps == self.steps_before + 1
        whole = self.free_before & (self.status != FilterStatus.UNCERTIFIED)
        arrived = (np.abs(state.q - self.q_end) <= ARRIVED).all(axis=1) | ~whole
        wrong = ~fresh & ~(once & arrived)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise InvalidInputError(
                f"The environment did not execute the certified action {self.executed[i].tolist()}: a wrapper between "
                "the filter and the environment changes or repeats actions. Wrap it around the filter instead."
            )
        if fresh.any():
            q = state.q[fresh]
            self.nominal[fresh] = self.executed[fresh] = interface.encode_action(q, q)
            self.status[fresh], self.distance[fresh], self.active[fresh] = FilterStatus.PASSED, 0.0, False

    def report(self) -> dict[str, Any]:
        """The batched ``info`` entries; fresh arrays."""
        values = (
            self.nominal.copy(), self.executed.copy(), self.status != FilterStatus.PASSED, self.distance.copy(),
            self.active.copy(), self.status.astype(np.int64),
        )  # fmt: skip
        return dict(zip(INFO_KEYS, values, strict=True))


class SafetyFilter(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A single environment that no agent can make touch a disc that stands still.

    Every action is certified, or replaced by the nearest one found that is; see :mod:`planararm.envs.wrappers` for the
    ``info`` entries. Moving discs are known for the coming step only: an arm in their way evades where a certified
    step does, and ``fallback`` is ``FilterStatus.UNCERTIFIED`` where none was found.

    Wrappers that change actions (``RescaleAction``, ``ClipAction``, ...) go around this one, never below it.

    Args:
        env: A planararm environment, itself in wrappers or not.
        motion_margin: Distance that motions keep from the discs [m]; None: half the scene's safety margin.

    Raises:
        InvalidInputError: Another kind of environment, a wrapper below that changes actions, or a negative margin.
    """

    def __init__(self, env: gym.Env[Any, Any], motion_margin: float | None = None) -> None:
        RecordConstructorArgs.__init__(self, motion_margin=motion_margin)
        gym.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, ArmEnv):
            raise InvalidInputError(
                f"SafetyFilter needs a single planararm environment, got {type(inner).__name__}; "
                "see gym.make('planararm/Reach-v0')."
            )
        _refuse_changed_actions(env)
        self._inner = inner
        self._guard = _Guard(inner._dynamics, motion_margin)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, Any]]:
        """Start an episode; see :meth:`planararm.envs.ArmEnv.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._guard.holds()
        return observation, {**info, **self._report()}

    def step(self, action: Any) -> tuple[dict[str, npt.NDArray[np.float32]], Any, bool, bool, dict[str, Any]]:
        """Execute the action, or the nearest certified one.

        Args:
            action: ``(n,)``, as the environment takes it.

        Raises:
            InvalidInputError: No numbers, wrong shape, NaN or infinity; nothing has moved then.
        """
        nominal = read_action("The action", action, (self._inner.arm.num_joints,))
        executed = self._guard.filter(nominal[None])[0]
        observation, reward, terminated, truncated, info = self.env.step(executed)
        self._guard.confirm()
        return observation, reward, terminated, truncated, {**info, **self._report()}

    def _report(self) -> dict[str, Any]:
        values = {key: value[0] for key, value in self._guard.report().items()}
        return {key: value if value.ndim else value.item() for key, value in values.items()}

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The environment's; see :meth:`planararm.envs.ArmEnv.compute_reward`."""
        return self._inner.compute_reward(achieved_goal, desired_goal, info)

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The environment's; see :meth:`planararm.envs.ArmEnv.compute_terminated`."""
        return self._inner.compute_terminated(achieved_goal, desired_goal, info)

    def compute_truncated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The environment's; see :meth:`planararm.envs.ArmEnv.compute_truncated`."""
        return self._inner.compute_truncated(achieved_goal, desired_goal, info)


class VectorSafetyFilter(VectorWrapper[Any, Any, Any, Any, Any]):
    """:class:`SafetyFilter` around the native vector environment, in one compiled call per step.

    Element i does, bit for bit, what a filtered single environment does. ``info`` holds the arrays of all elements
    and Gymnasium's ``_key`` masks. An element whose episode has ended is reset by the next step, which ignores its
    action: its ``info`` is that of a reset.

    Args:
        env: An :class:`planararm.envs.ArmVectorEnv`, itself in wrappers or not.
        motion_margin: Distance that motions keep from the discs [m]; None: half the scene's safety margin.

    Raises:
        InvalidInputError: Another kind of environment, a wrapper below that changes actions, or a negative margin.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], motion_margin: float | None = None) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, ArmVectorEnv):
            raise InvalidInputError(
                f"VectorSafetyFilter needs the native ArmVectorEnv, got {type(inner).__name__}; in other vector "
                "environments, wrap each single environment in a SafetyFilter."
            )
        _refuse_changed_actions(env)
        self._inner = inner
        self._guard = _Guard(inner._dynamics, motion_margin)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every element; see :meth:`planararm.envs.ArmVectorEnv.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._guard.holds()
        return observation, {**info, **self._report()}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Execute every element's action, or the nearest certified one.

        Args:
            actions: ``(num_envs, n)``.

        Raises:
            InvalidInputError: No numbers, wrong shape, NaN or infinity; nothing has moved then.
        """
        nominal = read_action("The actions", actions, (self.num_envs, self._inner.arm.num_joints))
        observation, reward, terminated, truncated, info = self.env.step(self._guard.filter(nominal))
        self._guard.confirm()
        return observation, reward, terminated, truncated, {**info, **self._report()}

    def _report(self) -> dict[str, Any]:
        masks = {f"_{key}": np.ones(self.num_envs, dtype=bool) for key in INFO_KEYS}
        return {**self._guard.report(), **masks}
