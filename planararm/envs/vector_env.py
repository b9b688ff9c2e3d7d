"""The native vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ..arm import FloatArray
from ..dynamics import Dynamics
from ..errors import InvalidInputError
from ..kernels import episode
from ..scene import Scene
from ..scene.generator import draw_key
from .arm_env import RENDER_FPS
from .checks import check_render_mode, read_action
from .config import build_task, check_arguments
from .viewer import Viewer

INFO_MASKS = tuple(
    f"_{key}"
    for key in (
        "tracking_error", "is_success", "clearance", "collision", "reachable", "cost", "constraint_values",
        "constraint_violation", "reward_distance",
    )
)  # fmt: skip

RENDER_MODES = ("rgb_array",)
Observation = dict[str, npt.NDArray[np.float32]]


class ArmVectorEnv(gym.vector.VectorEnv[Observation, npt.NDArray[np.float32], npt.NDArray[Any]]):
    """Many :class:`planararm.envs.ArmEnv` in one array, stepped by one compiled call.

    Element i seeded with ``seed + i`` runs bit for bit the episodes of a single environment with that seed.
    Autoreset mode: NEXT_STEP (the step after an episode's last one resets it; its action is not used and its
    reward is 0). ``info`` holds arrays with the keys of the single environment and Gymnasium's ``_key`` masks.

    Args:
        num_envs: Number of elements.
        max_episode_steps: Steps until truncation; -1: no limit, as in ``gym.make``.
        render_mode: ``"rgb_array"``: :meth:`render` returns a tuple of frames.
        task: ``"reach"`` or ``"track"``.
        **arguments: See :func:`planararm.envs.config.build_task`.

    Raises:
        PlanarArmError: An argument is wrong; the message says which and what would be right.
    """

    metadata = {  # noqa: RUF012  (Gymnasium's name)
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "reach",
        *,
        max_episode_steps: int = 100,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise InvalidInputError(f"num_envs must be a whole number >= 1, got {num_envs!r}.")
        steps = max_episode_steps
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or (steps < 1 and steps != -1):
            raise InvalidInputError(f"max_episode_steps must be a whole number >= 1, or -1 (no limit), got {steps!r}.")
        check_render_mode(render_mode, RENDER_MODES)
        self.num_envs, self.render_mode = int(num_envs), render_mode
        self.max_episode_steps = int(steps) if steps > 0 else np.iinfo(np.int64).max
        check_arguments(arguments)
        self.task = build_task(task, **arguments)
        self.interface = self.task.interface
        self.arm = self.interface.arm
        self.single_observation_space = self.interface.observation_space
        self.single_action_space = self.interface.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._dynamics = Dynamics(self.task, self.num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(self.num_envs)]
        self._elements = np.arange(self.num_envs)
        self._done = np.zeros(self.num_envs, dtype=bool)
        self._any_done, self._running, self._overridden = False, False, False
        self._viewers: list[Viewer] = []

    @property
    def q(self) -> FloatArray:
        """``(num_envs, n)`` float64 joint angles now, a copy [rad] (observations are float32)."""
        return self._dynamics.state.q.copy()

    @property
    def scene(self) -> Scene:
        """The present scenes, ``(num_envs,)`` of them: the arm among the discs where they are now, in masked slots."""
        return self._dynamics.state.scenes(self.task)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in every element.

        Args:
            seed: A number s seeds element i with s + i; a list gives one seed (or None) per element.
            options: As in the single environment, for every element.

        Raises:
            InvalidInputError: A list of seeds of another length than ``num_envs``.
            PlanarArmError: An option is wrong, or no free start was found; no episode runs then.
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None:
            if len(seeds) != self.num_envs:
                raise InvalidInputError(
                    f"seed must be a number or a list of {self.num_envs}, got a list of {len(seeds)}."
                )
            for i, one in enumerate(seeds):
                if one is not None:
                    self._generators[i] = seeding.np_random(int(one))[0]
        # Where it fails, no episode runs: the state may hold parts of the new ones.
        self._running = False
        given = 0
        if options or self._overridden:
            self._overridden = True
            for i in range(self.num_envs):
                given = self._dynamics.prepare(i, options)
        self._overridden = bool(options)
        self._restart(self._elements, given)
        if given & episode.GIVEN_GOALS and not self.task.track:
            for i in range(self.num_envs):
                self._dynamics.judge_given_target(i)
        self._done[:] = False
        self._any_done, self._running = False, True
        for viewer in self._viewers:
            viewer.restart()
        return self._observation(), self._info()

    def _restart(self, elements: npt.NDArray[np.int64], given: int = 0) -> None:
        keys = np.array([draw_key(self._generators[i]) for i in elements], dtype=np.uint64)
        self._dynamics.reset(elements, keys, given)

    def step(
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[Observation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Advance every element by one control step, or reset it where its episode ended with the last one.

        Args:
            actions: ``(num_envs, n)``.

        Raises:
            InvalidInputError: No numbers, wrong shape, NaN or infinity; nothing has moved then. Or: no episode runs.
        """
        if not self._running:
            raise InvalidInputError("Call reset() before step().")
        actions = read_action("The actions", actions, (self.num_envs, self.arm.num_joints))
        dynamics = self._dynamics
        if self._any_done:
            finished = np.flatnonzero(self._done)
            if self._overridden:
                for i in finished:
                    dynamics.prepare(int(i), None)
            self._restart(finished)
            dynamics.step(actions, self._done)
        else:
            dynamics.step(actions)
        truncated = dynamics.state.steps >= self.max_episode_steps
        terminated = dynamics.terminated.copy()
        self._done = terminated | truncated
        self._any_done = bool(self._done.any())
        for viewer, step in zip(self._viewers, dynamics.state.steps, strict=False):
            if step == 0:
                viewer.restart()
            else:
                viewer.record()
        return self._observation(), dynamics.reward.copy(), terminated, truncated, self._info()

    def _observation(self) -> Observation:
        dynamics = self._dynamics
        return {
            "observation": dynamics.observation.copy(),
            "achieved_goal": dynamics.achieved_goal.copy(),
            "desired_goal": dynamics.desired_goal.copy(),
        }

    def _info(self) -> dict[str, Any]:
        dynamics = self._dynamics
        tracking_error, violation, reward_distance = dynamics.measures.copy()
        values: dict[str, Any] = {
            "tracking_error": tracking_error,
            "is_success": dynamics.success.copy(),
            "clearance": dynamics.clearance.copy(),
            "collision": dynamics.collided.copy(),
            "reachable": dynamics.reachable.astype(np.int64),
            "cost": dynamics.collided.astype(np.float64),
            "constraint_values": dynamics.constraints.copy(),
            "constraint_violation": violation,
            "reward_distance": reward_distance,
        }
        # Gymnasium's masks: every element has every key.
        everywhere = np.ones(self.num_envs, dtype=bool)
        values.update(dict.fromkeys(INFO_MASKS, everywhere))
        return values

    def render(self) -> tuple[npt.NDArray[np.uint8] | None, ...] | None:  # type: ignore[override]
        """One frame ``(H, W, 3)`` uint8 per element."""
        if self.render_mode is None:
            gym.logger.warn('render() was called without a render mode; use render_mode="rgb_array".')
            return None
        if not self._viewers:
            self._viewers = [Viewer(self._dynamics, i, "rgb_array", RENDER_FPS) for i in range(self.num_envs)]
        return tuple(viewer.draw() for viewer in self._viewers)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the off-screen surfaces."""
        for viewer in self._viewers:
            viewer.close()
        self._viewers = []

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the surfaces."""
        return {**self.__dict__, "_viewers": []}
