"""Trained agents, or anything else with a ``predict``, as policies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import PolicyError
from ..interface import EnvInterface
from ..scene import Scene
from ..validate import whole_number
from .problem import make_problem
from .protocol import IKPolicy, IKSolution, check_configuration, find_interface

CLAIM_TOLERANCE = 1e-3
"""Distance from the target that counts as met, fraction of the reach."""


class AgentPolicy(IKPolicy):
    """A policy from an object with Stable-Baselines3's ``predict``, e.g. a trained SB3 model.

    :meth:`predict` hands over to the agent. :meth:`solve` runs an episode to the target from where the arm is and
    answers with where the arm then is; with ``episode_steps`` None or 0 it decodes the agent's first action instead:
    one control step's command, which for delta control is one step towards the target. ``info`` has ``collision``:
    whether a command of the episode would have met a disc.

    Args:
        model: Has ``predict(observation, state=None, episode_start=None, deterministic=False) -> (action,
            state)``.
        interface: Layout that the agent was trained with, or an environment that has it; by default the one
            of the model's own environment (``model.get_env()``), or of the environment given to :meth:`bind`.
        episode_steps: Control steps to a target; default: an episode of the environment that was given, if it was.

    Raises:
        PolicyError: The object has no ``predict``; later, if there is no interface, or the action is no
            action.
        InvalidInputError: ``episode_steps`` is no number of steps.
    """

    batch_tolerance = 1e-5

    def __init__(self, model: Any, interface: Any = None, *, episode_steps: int | None = None) -> None:
        if not callable(getattr(model, "predict", None)):
            raise PolicyError(f"AgentPolicy needs an object with a predict method, got {type(model).__name__}.")
        self.model = model
        own = model.get_env() if interface is None and hasattr(model, "get_env") else interface
        if own is not None:
            self.interface = self.fixed_interface = find_interface(own)
        if episode_steps is None:
            self.episode_steps = _episode_of(own)
        else:
            self.episode_steps = whole_number("episode_steps", episode_steps, 0, 100_000)

    def __repr__(self) -> str:
        return f"AgentPolicy({type(self.model).__name__})"

    def supports(self, scene: Scene) -> str | None:
        """None if the scene fits the agent's observations, otherwise the reason why not."""
        if self.interface is None:
            return None
        if scene.arm != self.interface.arm:
            return "the agent was trained for another arm."
        slots = self.interface.max_obstacles
        if scene.obstacles.num_obstacles > slots:
            return f"the agent observes {slots} discs, the scene has {scene.obstacles.num_obstacles}."
        return None

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The agent's own action and state; see :meth:`IKPolicy.predict`."""
        action, state = self.model.predict(
            observation, state=state, episode_start=episode_start, deterministic=deterministic
        )
        return action, state

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """Where the agent's (deterministic) actions lead; see :meth:`IKPolicy.solve`."""
        orientation = "an agent is not given orientations."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=orientation)
        layout = self._layout(scene)
        if self.episode_steps:
            episode = self._run(problem.target_position, problem.q, problem.scene(), self.episode_steps)
            answer, info = episode.q_path[:, -1], {"collision": episode.collision}
        else:
            observation = pack_observation(problem.target_position, problem.q, problem.scene(), layout)
            action, _ = self.model.predict(observation, deterministic=True)
            answer = layout.decode_action(problem.q, self._checked(action, problem.q.shape))
            info = {}
        answer = problem.arm.clip(answer)
        return problem.solution(answer, problem.reasons(answer, CLAIM_TOLERANCE * problem.arm.reach), info)

    def run_episode(self, target_position: Any, q: Any, scene: Scene, num_steps: int) -> Episode:
        """An episode of ``planararm/Reach-v0`` (or of the layout's control mode) to targets.

        Args:
            target_position: ``(N, 2)`` [m].
            q: ``(N, n)`` where the arms begin [rad].
            scene: Batch shape ``()`` or ``(N,)``.
            num_steps: Control steps T.

        Raises:
            PolicyError: No layout, another arm, or an action that is none.
        """
        self._layout(scene)
        return self._run(
            np.asarray(target_position, dtype=np.float64), np.asarray(q, dtype=np.float64), scene, num_steps
        )

    def _run(self, target_position: FloatArray, q: FloatArray, scene: Scene, num_steps: int) -> Episode:
        from ..dynamics import advance

        layout = self._layout(scene)
        q_path = np.repeat(q[:, None], num_steps + 1, axis=1)
        velocity, collision, state = np.zeros_like(q), np.zeros(len(q), dtype=bool), None
        coming = np.repeat(target_position[:, None], layout.num_preview, axis=1)
        for step in range(num_steps):
            q, time = q_path[:, step], step * layout.dt
            observation = layout.pack(q, coming, scene, joint_velocity=velocity, time=time)
            action, state = self.model.predict(
                observation, state=state, episode_start=np.full(len(q), step == 0), deterministic=True
            )
            command = layout.decode_action(q, self._checked(action, q.shape))
            moved = advance(q, command, scene, dt=layout.dt, time=time)
            q_path[:, step + 1], velocity = moved.q, moved.velocity
            collision |= moved.collision
        return Episode(q_path, collision)

    def _layout(self, scene: Scene) -> EnvInterface:
        if self.interface is None:
            raise PolicyError(f"{self!r} needs the layout of its observations: give it interface= or bind it first.")
        refused = self.supports(scene)
        if refused is not None:
            raise PolicyError(f"{self!r} cannot be used in this scene: {refused}")
        return self.interface

    def _checked(self, action: Any, shape: tuple[int, ...]) -> FloatArray:
        return check_configuration(action, shape, f"{self!r}.predict")


class Episode(NamedTuple):
    """What happened in an episode.

    Attributes:
        q_path: ``(N, T + 1, n)`` executed configurations [rad].
        collision: ``(N,)`` bool: some commanded motion would have met a disc.
    """

    q_path: FloatArray
    collision: npt.NDArray[np.bool_]


def _episode_of(env: Any) -> int | None:
    """Length of an environment's episodes; None if it does not say."""
    spec = getattr(env, "spec", None)
    if spec is None and hasattr(env, "get_attr"):
        try:
            spec = env.get_attr("spec")[0]
        except AttributeError:
            return None
    steps = getattr(spec, "max_episode_steps", None)
    return None if steps is None else int(steps)


def pack_observation(
    target_position: FloatArray, q: FloatArray, scene: Scene, interface: EnvInterface
) -> dict[str, npt.NDArray[np.float32]]:
    """The observation of an arm at rest among discs that stand still, whose coming targets are all the same.

    Args:
        target_position: ``(*batch, 2)`` [m].
        q: ``(*batch, n)`` [rad].
        scene: Of batch shape ``()`` or ``(*batch,)``; shuttling discs are shown where they are at time 0.
        interface: The layout.
    """
    coming = np.repeat(np.asarray(target_position)[..., None, :], interface.num_preview, axis=-2)
    return interface.pack(q, coming, scene)
