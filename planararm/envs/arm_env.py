"""The single environment."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ..arm import FloatArray, PlanarArm
from ..dynamics import Dynamics, compute_reward
from ..errors import InvalidInputError
from ..interface import EnvInterface
from ..kernels import episode
from ..scene import Scene
from ..scene.generator import draw_key
from .checks import check_render_mode, read_action
from .config import build_task, check_arguments
from .viewer import Viewer

RENDER_MODES = ("human", "rgb_array")
RENDER_FPS = 20
ONLY = np.zeros(1, dtype=np.int64)


class EpisodeState(NamedTuple):
    """Float64 state of the running episode; arrays are copies.

    Attributes:
        q: ``(n,)`` [rad].
        joint_velocity: ``(n,)`` of the last step [rad/s].
        joint_positions: ``(n + 1, 2)`` base first [m].
        target_position: ``(2,)`` the goal that the last step was scored on [m].
        target_path: ``(T + 1, 2)`` all goals [m].
        steps: Control steps since the reset.
        time: The same in seconds.
    """

    q: FloatArray
    joint_velocity: FloatArray
    joint_positions: FloatArray
    target_position: FloatArray
    target_path: FloatArray
    steps: int
    time: float


class ArmEnv(gym.Env[dict[str, Any], Any]):
    """A planar arm among discs: put the end effector on a target, touch nothing.

    ## Description

    An n-link arm (default: three links of 1 m) stands among discs. Each step the policy commands joint angles; the
    arm moves straight towards them within its velocity limits, the motion is certified as a whole (not at samples),
    and stops just before it would touch a disc. `Reach` has one target per episode, `Track` a path.

    ## Action space

    `Box(n,)`, float32.

    | control_mode | meaning | min | max | unit |
    |---|---|---|---|---|
    | `"position"` | command of each joint | lower joint limit | upper joint limit | rad |
    | `"delta"` | change of each joint, times velocity limit times `dt` | -1 | 1 | - |

    What is certified and executed is the float32 action, read as float64. The step is scaled by one factor for all
    joints to the velocity limits.

    ## Observation space

    A flat `Dict` of float32 boxes with the keys of a goal environment. `desired_goal` is the goal that this step is
    scored on; the next one is `preview[0]`: a policy solves for that one.

    | key | block | length | unit |
    |---|---|---|---|
    | `observation` | joint angles q | n | rad |
    | | joint velocity | n | rad/s |
    | | preview: coming targets x, y | 2 P | m |
    | | disc centres x, y | 2 M | m |
    | | disc radii | M | m |
    | | disc velocities x, y | 2 M | m/s |
    | | disc mask: 1 present, 0 empty slot | M | - |
    | `achieved_goal` | end effector x, y | 2 | m |
    | `desired_goal` | target x, y | 2 | m |

    `env.unwrapped.interface.unpack(observation)` takes it apart.

    ## Rewards

    `"dense"`: minus the distance between the two goals [m]. `"sparse"`: 0 within `success_tolerance`, else -1. Both
    are pure functions of the float32 goals (`compute_reward`). Contact is a `cost`, never part of the reward.

    ## Info

    The same keys on reset and step: `tracking_error` [m], `is_success`, `clearance` [m] (inf without discs),
    `collision`, `reachable` (1 yes, 0 no, -1 unknown), `cost` (1.0 on contact), `constraint_values` (clearance minus
    safety margin, q minus lower limits, upper limits minus q; >= 0 is satisfied), `constraint_violation`,
    `reward_distance`.

    ## Starting state

    Everything random is a pure function of one 64-bit key drawn from `np_random`: the discs (unless `scene` is
    given), a free start, and a target that is the forward kinematics of a free configuration, hence reachable; in
    `Track` a path of which a certified, velocity-feasible motion is known, started on. `reset(options=...)` takes
    `q`, `target_position` and `obstacles`; in `Reach`, `reachable` then is the ground truth's verdict.

    ## Episode end

    Truncation after 100 (`Reach-v0`), 200 (`Track-v0`) or 50 (`ReachSparse-v0`) steps, by Gymnasium's TimeLimit.
    Termination only on contact and only with `on_collision="terminate"`. Success does not terminate.

    ## Arguments

    See :func:`planararm.envs.config.build_task`; all are JSON-able. `render_mode`: `"human"` or `"rgb_array"`.

    ## Vectorized environment

    `gym.make_vec("planararm/Reach-v0", num_envs=1024)` gives the native :class:`planararm.envs.ArmVectorEnv`: the
    same compiled step over a batch, bit for bit the same episodes as single environments seeded seed + i.

    ## Version history

    * v0: first release.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012  (Gymnasium's name)

    def __init__(self, task: str = "reach", *, render_mode: str | None = None, **arguments: Any) -> None:
        check_render_mode(render_mode, RENDER_MODES)
        self.render_mode = render_mode
        check_arguments(arguments)
        self.task = build_task(task, **arguments)
        self.observation_space: gym.spaces.Dict = self.interface.observation_space
        self.action_space: gym.spaces.Box = self.interface.action_space
        self._dynamics = Dynamics(self.task, 1)
        self._viewer: Viewer | None = None
        self._action = np.zeros((1, self.arm.num_joints), dtype=np.float32)
        self._running = False

    @property
    def interface(self) -> EnvInterface:
        """Layout of observations and meaning of actions."""
        return self.task.interface

    @property
    def arm(self) -> PlanarArm:
        """The arm."""
        return self.task.interface.arm

    @property
    def scene(self) -> Scene:
        """The present scene: the arm among the discs where they are now."""
        return self._dynamics.state.scene(0, self.task)

    @property
    def state(self) -> EpisodeState:
        """The float64 state (observations are float32)."""
        state = self._dynamics.state
        steps = int(state.steps[0])
        goals = state.goals[0].copy()
        return EpisodeState(
            state.q[0].copy(),
            state.joint_velocity[0].copy(),
            state.joint_positions[0].copy(),
            goals[min(steps, len(goals) - 1)],
            goals,
            steps,
            steps * self.interface.dt,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds ``np_random``.
            options: ``q``, ``target_position``, ``obstacles``; see :meth:`planararm.dynamics.Dynamics.prepare`.

        Raises:
            PlanarArmError: An option is wrong, or no free start was found; no episode runs then.
        """
        super().reset(seed=seed)
        # Where it fails, no episode runs: the state may hold parts of the new one.
        self._running = False
        given = self._dynamics.prepare(0, options)
        self._dynamics.reset(ONLY, np.array([draw_key(self.np_random)], dtype=np.uint64), given)
        if given & episode.GIVEN_GOALS and not self.task.track:
            self._dynamics.judge_given_target(0)
        self._running = True
        if self.render_mode is not None:
            self._view().restart()
            if self.render_mode == "human":
                self._view().draw()
        return self._observation(), self._info()

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[dict[str, npt.NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Advance by one control step.

        Args:
            action: ``(n,)``, see the class.

        Raises:
            InvalidInputError: No numbers, wrong shape, NaN or infinity; nothing has moved then. Or: no episode runs.
        """
        if not self._running:
            raise InvalidInputError("Call reset() before step().")
        self._action[0] = read_action("The action", action, self._action.shape[1:])
        dynamics = self._dynamics
        dynamics.step(self._action)
        if self.render_mode is not None:
            self._view().record()
            if self.render_mode == "human":
                self._view().draw()
        return self._observation(), float(dynamics.reward[0]), bool(dynamics.terminated[0]), False, self._info()

    def _observation(self) -> dict[str, npt.NDArray[np.float32]]:
        dynamics = self._dynamics
        return {
            "observation": dynamics.observation[0].copy(),
            "achieved_goal": dynamics.achieved_goal[0].copy(),
            "desired_goal": dynamics.desired_goal[0].copy(),
        }

    def _info(self) -> dict[str, Any]:
        dynamics = self._dynamics
        tracking_error, violation, reward_distance = dynamics.measures[:, 0].tolist()
        collision = bool(dynamics.collided[0])
        return {
            "tracking_error": tracking_error,
            "is_success": bool(dynamics.success[0]),
            "clearance": float(dynamics.clearance[0]),
            "collision": collision,
            "reachable": int(dynamics.reachable[0]),
            "cost": float(collision),
            "constraint_values": dynamics.constraints[0].copy(),
            "constraint_violation": violation,
            "reward_distance": reward_distance,
        }

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The reward as a pure, vectorised function of the goals; ``info`` is not looked at.

        Args:
            achieved_goal: ``(*batch, 2)`` [m].
            desired_goal: ``(*batch, 2)`` [m].
            info: Ignored.

        Returns:
            A float, or ``(*batch,)``.
        """
        reward = compute_reward(achieved_goal, desired_goal, self.task.reward, self.task.success_tolerance)
        return float(reward) if np.ndim(reward) == 0 else reward

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """False for every pair of goals: reaching the goal does not end an episode."""
        return _never(achieved_goal)

    def compute_truncated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """False for every pair of goals: the time limit is not a function of them."""
        return _never(achieved_goal)

    def render(self) -> npt.NDArray[np.uint8] | None:  # type: ignore[override]
        """The frame ``(H, W, 3)`` uint8 in ``"rgb_array"`` mode; None in ``"human"`` mode (step and reset draw)."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() was called without a render mode; make the environment with "
                'render_mode="rgb_array" or render_mode="human".'
            )
            return None
        return self._view().draw() if self.render_mode == "rgb_array" else None

    def _view(self) -> Viewer:
        if self._viewer is None:
            assert self.render_mode is not None
            self._viewer = Viewer(self._dynamics, 0, self.render_mode, RENDER_FPS)
        return self._viewer

    def close(self) -> None:
        """Close the window; legal twice."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the window, which a copy opens anew."""
        return {**self.__dict__, "_viewer": None}


def _never(goals: Any) -> Any:
    shape = np.shape(goals)[:-1]
    return np.zeros(shape, dtype=bool) if shape else False
