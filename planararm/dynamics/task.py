"""What the episodes of an environment have in common, and the checks of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arm import WORKSPACE, FloatArray
from ..errors import InvalidInputError, InvalidSceneError, UnknownNameError
from ..interface import EnvInterface
from ..scene import Scene
from ..scene.generator import Dials
from .advance import on_collision_code

REWARDS = ("dense", "sparse")


def compute_reward(achieved_goal: Any, desired_goal: Any, reward: str, success_tolerance: float) -> Any:
    """The reward as a pure function of the two goals: ``-|a - d|`` (dense), or -1 / 0 (sparse).

    Args:
        achieved_goal: ``(*batch, 2)`` float32 [m].
        desired_goal: ``(*batch, 2)`` float32 [m].
        reward: ``"dense"`` or ``"sparse"``.
        success_tolerance: [m].

    Returns:
        ``(*batch,)`` float64.
    """
    gap = np.asarray(achieved_goal, np.float64) - np.asarray(desired_goal, np.float64)
    distance = np.sqrt(gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1])
    if reward == "dense":
        return -distance
    return np.where(distance <= success_tolerance, 0.0, -1.0)


def check_in_workspace(name: str, points: Any, interface: EnvInterface) -> None:
    """Refuse points that the observation space does not hold.

    Raises:
        InvalidInputError: A point is farther than two reaches from the base, in x or y.
    """
    offset = np.abs(np.asarray(points) - interface.arm.base)
    limit = WORKSPACE * interface.arm.reach
    if offset.size and offset.max() > limit:
        raise InvalidInputError(
            f"{name} must lie within {limit} m of the base in x and y (what observations hold), got {points!r}."
        )


def check_observable(scene: Scene, interface: EnvInterface) -> None:
    """Refuse discs that do not fit into the observation.

    Raises:
        InvalidSceneError: A batch of scenes, or more discs than slots.
        InvalidInputError: A disc centre outside the observed workspace.
    """
    discs = scene.obstacles
    if scene.batch_shape:
        raise InvalidSceneError(f"An environment needs one unbatched scene, got batch shape {scene.batch_shape}.")
    if discs.num_obstacles > interface.max_obstacles:
        raise InvalidSceneError(
            f"{discs.num_obstacles} discs do not fit into max_obstacles={interface.max_obstacles} slots."
        )
    check_in_workspace("Disc centers", discs.centers, interface)
    if discs.shuttle is not None:
        check_in_workspace("Shuttle ends", discs.centers + discs.shuttle[..., :2], interface)


@dataclass(frozen=True)
class Task:
    """What the environments do: everything that stays the same from episode to episode.

    Args:
        interface: Layout of observations, meaning of actions.
        track: False: reach one target; True: follow a path.
        scene: A fixed scene; None: a random one each episode.
        num_obstacles: Fewest and most discs of a random scene.
        dials: Difficulty of a random scene.
        path: ``(T + 1, 2)`` fixed target path [m]; None: a witness path (track) or a random target (reach).
        horizon: Length T of the path, in control steps; 0 for reach.
        reward: ``"dense"`` or ``"sparse"``.
        success_tolerance: [m].
        on_collision: ``"stop"``, ``"terminate"`` or ``"ignore"``.

    Raises:
        UnknownNameError: No such reward or contact rule.
        InvalidSceneError: More discs than slots, or discs outside the observed workspace.
        InvalidInputError: A tolerance that is not positive.
    """

    interface: EnvInterface
    track: bool = False
    scene: Scene | None = None
    num_obstacles: tuple[int, int] = (3, 3)
    dials: Dials = field(default_factory=Dials)
    path: FloatArray | None = None
    horizon: int = 0
    reward: str = "dense"
    success_tolerance: float = 0.01
    on_collision: str = "stop"

    def __post_init__(self) -> None:
        on_collision_code(self.on_collision)
        if self.reward not in REWARDS:
            raise UnknownNameError("reward", self.reward, REWARDS)
        if not (np.isfinite(self.success_tolerance) and self.success_tolerance > 0):
            raise InvalidInputError(f"success_tolerance must be > 0, got {self.success_tolerance}.")
        slots = self.interface.max_obstacles
        if self.scene is not None:
            check_observable(self.scene, self.interface)
        elif self.num_obstacles[1] > slots:
            raise InvalidSceneError(
                f"num_obstacles={self.num_obstacles[1]} does not fit into max_obstacles={slots}; raise max_obstacles."
            )
        if self.path is not None:
            check_in_workspace("path", self.path, self.interface)

    @property
    def safety_margin(self) -> float:
        """Margin that starts, targets and constraint values keep [m]."""
        return self.interface.safety_margin
