"""The rules of a policy's actions in environments; see :mod:`planararm.policies.contract`."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError
from ..interface import CONTROL_MODES, EnvInterface
from ..obstacles import Obstacles
from ..scene import Scene
from .agent import pack_observation
from .contract import Broken, Rules, Trial, require
from .protocol import IKPolicy

NUM_STEPS = 3
NUM_ENVS = 2


def _interfaces(trial: Trial) -> list[EnvInterface]:
    """The layouts to try."""
    # A policy that is bound already, such as an agent, may know that one layout only.
    known = trial.policy.interface
    if known is not None and known.arm == trial.arm:
        return [known]
    slots = trial.scene.obstacles.num_obstacles
    return [EnvInterface(trial.arm, max_obstacles=slots, control_mode=mode) for mode in CONTROL_MODES]


def _predict(trial: Trial) -> None:
    for interface in _interfaces(trial):
        mode = interface.control_mode
        # A copy, for the caller's policy may be bound to an environment.
        bound = copy.copy(trial.policy).bind(interface)
        bound.reset()
        for rows in (slice(None), 0):
            observation = pack_observation(trial.targets[rows], trial.starts[rows], trial.scene, interface)
            action = np.asarray(bound.predict(observation, deterministic=True)[0])
            shape = trial.starts[rows].shape
            require(action.shape == shape, f"{mode} control: action of shape {action.shape}, it must be {shape}.")
            inside = all(interface.action_space.contains(row) for row in action.reshape(-1, shape[-1]))
            require(
                inside,
                f"{mode} control: action {action.tolist()} ({action.dtype}) is not in the action space.",
            )


def _in_environments(trial: Trial) -> None:
    for interface in _interfaces(trial):
        arguments: dict[str, Any] = {
            # Without discs there always is a free start; bind asks the policy about just this scene.
            "scene": Scene(trial.arm, Obstacles.none(), interface.safety_margin),
            "max_obstacles": interface.max_obstacles,
            "num_preview": interface.num_preview,
            "control_mode": interface.control_mode,
            "dt": interface.dt,
        }
        single: Any = gym.make("planararm/Reach-v0", **arguments)
        several: Any = gym.make_vec("planararm/Reach-v0", NUM_ENVS, **arguments)
        for env, count in ((single, 1), (several, NUM_ENVS)):
            policy = copy.copy(trial.policy).bind(env)
            first, second = (_actions(policy, env, count, interface.control_mode) for _ in range(2))
            env.close()
            require(
                np.array_equal(first, second),
                f"{interface.control_mode} control: the same episode twice, each begun with episode_start True, got "
                "different actions.",
            )


def _actions(policy: IKPolicy, env: Any, count: int, mode: str) -> npt.NDArray[np.float64]:
    """The actions of an episode's first steps, called as Stable-Baselines3 calls its own policies."""
    observation, _ = env.reset(seed=0)
    state, actions = None, []
    for step in range(NUM_STEPS):
        start = np.full(count, step == 0)
        returned = policy.predict(observation, state=state, episode_start=start, deterministic=True)
        require(
            isinstance(returned, tuple) and len(returned) == 2,
            f"{mode} control: predict returned {type(returned).__name__}, it must return the action and the state.",
        )
        action, state = returned
        try:
            observation, *_ = env.step(action)
        except InvalidInputError as error:
            raise Broken(f"{mode} control: the environment refuses the action: {error}") from error
        actions.append(np.array(action, dtype=np.float64))
    return np.array(actions)


RULES: Rules = (
    ("predict", _predict, "Derive from IKPolicy and leave bind and predict to it."),
    (
        "in environments",
        _in_environments,
        "policy.bind(env).predict(observation, state, episode_start, deterministic) returns (action, state) for single "
        "and vector environments; episode_start says which of them to forget.",
    ),
)
