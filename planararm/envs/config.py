"""From the environments' JSON-able keyword arguments to a :class:`planararm.dynamics.Task`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arm import make_arm
from ..dynamics import Task
from ..errors import InvalidInputError, UnknownNameError
from ..interface import EnvInterface, is_number
from ..paths import make_path
from ..scene import DEFAULT_SAFETY_MARGIN, Scene
from ..scene.generator import make_dials, obstacle_range
from ..scene.library import make_scene

TASKS = ("reach", "track")
DEFAULT_SLOTS = 8


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse names that :func:`build_task` does not take, with a suggestion.

    Raises:
        UnknownNameError: No such argument.
    """
    known = [*inspect.signature(build_task).parameters, "render_mode"]
    for name in arguments:
        if name not in known:
            raise UnknownNameError("environment argument", name, known)


def _slots(fixed: Scene | None) -> int:
    return max(DEFAULT_SLOTS, 0 if fixed is None else fixed.obstacles.num_obstacles)


def build_task(
    task: str = "reach",
    *,
    arm: Any = None,
    scene: Any = None,
    num_obstacles: int | tuple[int, int] = 3,
    max_obstacles: int | None = None,
    dials: Mapping[str, Any] | None = None,
    path: Any = None,
    num_steps: int = 200,
    num_preview: int = 1,
    control_mode: str = "position",
    reward: str = "dense",
    success_tolerance: float = 0.01,
    on_collision: str = "stop",
    dt: float = 0.05,
    safety_margin: float | None = None,
) -> Task:
    """Check the keyword arguments of an environment and put them together.

    Args:
        task: ``"reach"`` (one target) or ``"track"`` (a moving one).
        arm: A preset's name, a mapping of :class:`planararm.PlanarArm`'s arguments, or an arm; default ``"unit3"``,
            or the scene's.
        scene: A scene's name, a mapping, a ``.toml`` file or a Scene: fixed for all episodes. None: random discs.
        num_obstacles: Number of random discs, or a range of it.
        max_obstacles: Disc slots of the observation; default 8, or as many as the fixed scene has discs if more.
        dials: Difficulty of random scenes, see :class:`planararm.scene.generator.Dials`.
        path: Track only: a path's name, a mapping, a ``.csv`` file or a Path; None: a random path that is known to
            be trackable (:func:`planararm.witness_path`).
        num_steps: Track only: control steps from the path's start to its end.
        num_preview: Coming targets in the observation.
        control_mode: ``"position"`` or ``"delta"``.
        reward: ``"dense"`` or ``"sparse"``.
        success_tolerance: Fraction of the reach.
        on_collision: ``"stop"``, ``"terminate"`` or ``"ignore"``.
        dt: Control step [s].
        safety_margin: [m]; default 1e-3, or the scene's.

    Raises:
        PlanarArmError: An argument is wrong; the message says which and what would be right.
    """
    if task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    fixed: Scene | None = None
    if scene is not None:
        own_arm = arm is None or isinstance(scene, Scene)
        fixed = make_scene(scene) if own_arm else make_scene(scene, arm=make_arm(arm))
        if arm is not None and make_arm(arm) != fixed.arm:
            raise InvalidInputError("arm and scene name two different arms; leave arm out to take the scene's.")
        kept = fixed.safety_margin if safety_margin is None else safety_margin
        fixed = Scene(fixed.arm, fixed.obstacles.compact(), kept)
    built = fixed.arm if fixed is not None else make_arm("unit3" if arm is None else arm)
    margin = fixed.safety_margin if fixed is not None else safety_margin
    interface = EnvInterface(
        built,
        max_obstacles=_slots(fixed) if max_obstacles is None else max_obstacles,
        num_preview=num_preview,
        control_mode=control_mode,
        dt=dt,
        safety_margin=DEFAULT_SAFETY_MARGIN if margin is None else margin,
    )
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or not 1 <= num_steps <= 100_000:
        raise InvalidInputError(f"num_steps must be a whole number in [1, 100000], got {num_steps!r}.")
    if not is_number(success_tolerance) or not 0 < success_tolerance < np.inf:
        raise InvalidInputError(f"success_tolerance must be a fraction of the reach > 0, got {success_tolerance!r}.")
    if not isinstance(dials, Mapping | None):
        raise InvalidInputError(f"dials must be a mapping of names to numbers, got {dials!r}.")
    horizon = num_steps if task == "track" else 0
    goals = None
    if path is not None:
        if task != "track":
            raise InvalidInputError('path is for task="track"; a reach target is given by reset(options=...).')
        goals = np.asarray(make_path(path, arm=built).position(np.linspace(0.0, 1.0, horizon + 1)))
    return Task(
        interface,
        track=task == "track",
        scene=fixed,
        num_obstacles=obstacle_range(num_obstacles),
        dials=make_dials(dict(dials or {})),
        path=goals,
        horizon=horizon,
        reward=reward,
        success_tolerance=success_tolerance * built.reach,
        on_collision=on_collision,
    )
