"""Trained agents, or anything else with a ``predict``, as policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import PolicyError
from ..interface import EnvInterface
from ..scene import Scene
from .problem import make_problem
from .protocol import IKPolicy, IKSolution, check_configuration, find_interface

CLAIM_TOLERANCE = 1e-3
"""Distance from the target that counts as met, fraction of the reach."""


class AgentPolicy(IKPolicy):
    """A policy from an object with Stable-Baselines3's ``predict``, e.g. a trained SB3 model.

    :meth:`predict` hands over to the agent. :meth:`solve` shows the agent the observation of an arm at rest
    whose coming targets are all the given one, and decodes its action: one control step's command, which for
    delta control is one step towards the target.

    Args:
        model: Has ``predict(observation, state=None, episode_start=None, deterministic=False) -> (action,
            state)``.
        interface: Layout that the agent was trained with, or an environment that has it; by default the one
            of the model's own environment (``model.get_env()``), or of the environment given to :meth:`bind`.

    Raises:
        PolicyError: The object has no ``predict``; later, if there is no interface, or the action is no
            action.
    """

    batch_tolerance = 1e-5

    def __init__(self, model: Any, interface: Any = None) -> None:
        if not callable(getattr(model, "predict", None)):
            raise PolicyError(f"AgentPolicy needs an object with a predict method, got {type(model).__name__}.")
        self.model = model
        own = model.get_env() if interface is None and hasattr(model, "get_env") else interface
        if own is not None:
            self.interface = find_interface(own)

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
        """The configuration that the agent's (deterministic) action commands; see :meth:`IKPolicy.solve`."""
        if self.interface is None:
            raise PolicyError(f"{self!r} needs the layout of its observations: give it interface= or bind it first.")
        orientation = "an agent is not given orientations."
        problem = make_problem(target_position, q, scene, target_orientation, orientation=orientation)
        refused = self.supports(scene)
        if refused is not None:
            raise PolicyError(f"{self!r} cannot be used in this scene: {refused}")
        observation = pack_observation(problem.target_position, problem.q, problem.scene(), self.interface)
        action, _ = self.model.predict(observation, deterministic=True)
        action = check_configuration(action, problem.q.shape, f"{self!r}.predict")
        answer = problem.arm.clip(self.interface.decode_action(problem.q, action))
        return problem.solution(answer, problem.reasons(answer, CLAIM_TOLERANCE * problem.arm.reach))


def pack_observation(
    target_position: FloatArray, q: FloatArray, scene: Scene, interface: EnvInterface
) -> dict[str, npt.NDArray[np.float32]]:
    """The observation of an arm at rest among discs that stand still; undone by :meth:`EnvInterface.unpack`.

    Args:
        target_position: ``(*batch, 2)``, used for every coming target [m].
        q: ``(*batch, n)`` [rad].
        scene: Of batch shape ``()`` or ``(*batch,)``; shuttling discs are shown where they are at time 0.
        interface: The layout.
    """
    batch = q.shape[:-1]
    obstacles, slots = scene.obstacles, interface.max_obstacles
    m = obstacles.num_obstacles
    present = np.zeros((*batch, slots), dtype=bool)
    present[..., :m] = True if obstacles.mask is None else obstacles.mask
    centers, radii = np.zeros((*batch, slots, 2)), np.zeros((*batch, slots))
    centers[..., :m, :], radii[..., :m] = obstacles.positions(), obstacles.radii
    vector = np.concatenate(
        [
            q,
            np.zeros_like(q),
            np.tile(target_position, interface.num_preview),
            np.where(present[..., None], centers, 0.0).reshape(*batch, 2 * slots),
            np.where(present, radii, 0.0),
            np.zeros((*batch, 2 * slots)),
            present,
        ],
        axis=-1,
    )
    return {
        "observation": vector.astype(np.float32),
        "achieved_goal": interface.arm.end_effector(q).astype(np.float32),
        "desired_goal": np.asarray(target_position).astype(np.float32),
    }
