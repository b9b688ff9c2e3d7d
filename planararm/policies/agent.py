"""Trained agents, or anything else with a ``predict``, as policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import PolicyError
from ..interface import EnvInterface
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import whole_number
from .problem import make_problem
from .protocol import IKPolicy, IKSolution, check_configuration, find_interface

if TYPE_CHECKING:
    from ..dynamics import Dynamics

CLAIM_TOLERANCE = 1e-3
"""Distance from the target that counts as met, fraction of the reach."""

MAX_STEPS = 100_000
"""Most control steps of an episode."""


class AgentPolicy(IKPolicy):
    """A policy from an object with Stable-Baselines3's ``predict``, e.g. a trained SB3 model.

    :meth:`predict` hands over to the agent. :meth:`solve` runs an episode to the target from where the arm is and
    answers with where the arm then is; with ``episode_steps`` None or 0 it decodes the agent's first action instead:
    one control step's command, which for delta control is one step towards the target. Of an episode ``info`` has
    ``collision``: whether a command would have met a disc, and the ``commands`` themselves (see
    :class:`~planararm.policies.protocol.IKSolution`).

    The last bits of a network's action depend on how many rows it is given at once, and an episode can make much of
    them: a target's answer is the same in the same batch, alone it agrees to ``batch_tolerance`` per control step only.

    Args:
        model: Has ``predict(observation, state=None, episode_start=None, deterministic=False) -> (action,
            state)``.
        interface: Layout that the agent was trained with, or an environment that has it; by default the one
            of the model's own environment (``model.get_env()``), or of the environment given to :meth:`bind`.
        episode_steps: Control steps to a target; default: an episode of the environment that was given, here, by the
            model, or to :meth:`bind`; None if there was none.

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
        self._steps_were_given = episode_steps is not None
        if episode_steps is None:
            self.episode_steps = _episode_of(own)
        else:
            self.episode_steps = whole_number("episode_steps", episode_steps, 0, MAX_STEPS)

    def __repr__(self) -> str:
        return f"AgentPolicy({type(self.model).__name__})"

    def bind(self, env: Any) -> Self:
        """Learn an environment's layout and, unless given, the length of its episodes; see :meth:`IKPolicy.bind`."""
        super().bind(env)
        if not self._steps_were_given:
            self.episode_steps = _episode_of(env) or self.episode_steps
        return self

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
            answer, info = episode.q_path[:, -1], {"collision": episode.collision, "commands": episode.commands}
        else:
            observation = pack_observation(problem.target_position, problem.q, problem.scene(), layout)
            action, _ = self.model.predict(observation, deterministic=True)
            answer = layout.decode_action(problem.q, self._checked(action, problem.q.shape))
            info = {}
        answer = problem.arm.clip(answer)
        return problem.solution(answer, problem.reasons(answer, CLAIM_TOLERANCE * problem.arm.reach), info)

    def run_episode(self, target_position: Any, q: Any, scene: Scene, num_steps: int | None = None) -> Episode:
        """An episode of the Reach environment that has the agent's layout, bit for bit; moving discs move.

        Args:
            target_position: ``(*batch, 2)`` [m].
            q: ``(*batch, n)`` where the arms begin [rad]; outside the joint limits, at them.
            scene: Batch shape ``()`` or ``(*batch,)``.
            num_steps: Control steps T; default: ``episode_steps``.

        Raises:
            InvalidInputError: Wrong shapes, NaN, or no number of steps.
            PolicyError: No layout, another arm, or an action that is none.
        """
        # For its checks and its batch axes; its discs stand still.
        problem = make_problem(target_position, q, scene)
        batch, count = problem.batch, problem.num_rows
        steps = whole_number("num_steps", self.episode_steps if num_steps is None else num_steps, 0, MAX_STEPS)
        episode = self._run(problem.target_position, problem.q, _flat(scene, count), steps)
        n = problem.arm.num_joints
        path, commands = episode.q_path.reshape(*batch, steps + 1, n), episode.commands.reshape(*batch, steps, n)
        return Episode(path, episode.collision.reshape(batch), commands)

    def _run(self, target_position: FloatArray, q: FloatArray, scene: Scene, num_steps: int) -> Episode:
        """An episode per row, on what the environments run on."""
        layout = self._layout(scene)
        count, dynamics = len(q), _begun(target_position, q, scene, layout)
        q_path = np.repeat(q[:, None], num_steps + 1, axis=1)
        commands = np.empty((count, num_steps, q.shape[-1]))
        collision, state = np.zeros(count, dtype=bool), None
        for step in range(num_steps if count else 0):
            observation = {
                "observation": dynamics.observation.copy(),
                "achieved_goal": dynamics.achieved_goal.copy(),
                "desired_goal": dynamics.desired_goal.copy(),
            }
            action, state = self.model.predict(
                observation, state=state, episode_start=np.full(count, step == 0), deterministic=True
            )
            rounded = self._rounded(action, q.shape)
            commands[:, step] = layout.decode_action(q_path[:, step], rounded)
            dynamics.step(rounded)
            q_path[:, step + 1] = dynamics.state.q
            collision |= dynamics.collided
        return Episode(q_path, collision, commands)

    def _layout(self, scene: Scene) -> EnvInterface:
        if self.interface is None:
            raise PolicyError(f"{self!r} needs the layout of its observations: give it interface= or bind it first.")
        refused = self.supports(scene)
        if refused is not None:
            raise PolicyError(f"{self!r} cannot be used in this scene: {refused}")
        return self.interface

    def _checked(self, action: Any, shape: tuple[int, ...]) -> FloatArray:
        return check_configuration(action, shape, f"{self!r}.predict")

    def _rounded(self, action: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An action as the environments read it."""
        with np.errstate(over="ignore"):
            rounded = self._checked(action, shape).astype(np.float32)
        self._checked(rounded, shape)
        return rounded


class Episode(NamedTuple):
    """What happened in an episode.

    Attributes:
        q_path: ``(*batch, T + 1, n)`` executed configurations [rad].
        collision: ``(*batch,)`` bool: some commanded motion would have met a disc.
        commands: ``(*batch, T, n)`` what the agent commanded [rad], before limits are applied.
    """

    q_path: FloatArray
    collision: npt.NDArray[np.bool_]
    commands: FloatArray


def _episode_of(env: Any) -> int | None:
    """Length of an environment's episodes; None if it does not say."""
    spec = getattr(env, "spec", None)
    if spec is None and hasattr(env, "get_attr"):
        try:
            spec = env.get_attr("spec")[0]
        except AttributeError:
            return None
    steps = getattr(spec, "max_episode_steps", None)
    # Gymnasium's -1: without end.
    return int(steps) if steps is not None and steps > 0 else None


def _flat(scene: Scene, count: int) -> Scene:
    """The scene with at most one batch axis; its discs go on moving."""
    if len(scene.batch_shape) < 2:
        return scene
    discs = scene.obstacles
    m = discs.num_obstacles
    parts = ((discs.centers, 2), (discs.radii, None), (discs.shuttle, 4), (discs.mask, None))
    rows = [
        None if part is None else np.reshape(part, (count, m) if last is None else (count, m, last))
        for part, last in parts
    ]
    return Scene(scene.arm, Obstacles(*rows), scene.safety_margin)


def _begun(target_position: FloatArray, q: FloatArray, scene: Scene, layout: EnvInterface) -> Dynamics:
    """A Reach episode per row at its begin, as ``reset`` of an environment leaves it."""
    # Imported here, for the names of policies must be there without the kernels.
    from ..dynamics import Dynamics, Task
    from ..kernels.episode import GIVEN_GOALS, GIVEN_OBSTACLES, GIVEN_Q

    count = len(q)
    dynamics = Dynamics(Task(layout, num_obstacles=(0, 0)), count)
    dynamics.state.set_obstacles(slice(None), scene.obstacles)
    dynamics.state.goals[:] = target_position[:, None]
    dynamics.state.q[:] = q
    # All is given, so nothing is drawn from the keys.
    given = GIVEN_OBSTACLES | GIVEN_Q | GIVEN_GOALS
    dynamics.reset(np.arange(count), np.zeros(count, dtype=np.uint64), given)
    return dynamics


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
