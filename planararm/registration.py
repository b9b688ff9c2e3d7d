"""The environments that ``import planararm`` makes known to Gymnasium, by import strings alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

ENTRY_POINT = "planararm.envs.arm_env:ArmEnv"
VECTOR_ENTRY_POINT = "planararm.envs.vector_env:ArmVectorEnv"

ENVIRONMENTS: dict[str, tuple[int, dict[str, Any]]] = {
    "planararm/Reach-v0": (100, {"task": "reach"}),
    "planararm/Track-v0": (200, {"task": "track"}),
    "planararm/ReachSparse-v0": (50, {"task": "reach", "control_mode": "delta", "reward": "sparse"}),
}
"""Id -> (steps until truncation, keyword arguments). A change of behaviour gets a new version."""


def register_environments() -> None:
    """Register what is not registered yet; calling it again changes nothing.

    An id that is there already is left alone: registering it once more would make Gymnasium warn, and would
    overwrite what the user has put there.
    """
    for name, (max_episode_steps, kwargs) in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(
                name,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                max_episode_steps=max_episode_steps,
                kwargs=dict(kwargs),
            )
