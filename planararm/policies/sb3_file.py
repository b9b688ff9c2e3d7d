"""Policies of Stable-Baselines3's model files, read without running what may be in them.

``model.save`` writes a zip archive with the settings as JSON, in which objects are pickled, and the weights as torch
archives. Stable-Baselines3's own ``load`` unpickles the former, which runs whatever code the file's author put there.
Here the classes are taken by name from a list, settings are read where they are plain, and the weights as tensors only.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, InvalidInputError, PolicyError, UnknownNameError
from ..interface import EnvInterface
from .agent import AgentPolicy
from .protocol import find_interface

CLASSES = {
    "stable_baselines3.common.policies": ("MultiInputActorCriticPolicy",),
    "stable_baselines3.sac.policies": ("MultiInputPolicy",),
    "stable_baselines3.td3.policies": ("MultiInputPolicy",),
    "sb3_contrib.tqc.policies": ("MultiInputPolicy",),
    "sb3_contrib.common.recurrent.policies": ("RecurrentMultiInputActorCriticPolicy",),
}
"""Policy classes that a file may ask for, by module: those for the environments' Dict observations."""

OF_TRAINING = ("optimizer_class", "optimizer_kwargs")
"""Settings without effect on what a trained policy does."""

MAX_SETTINGS, MAX_WEIGHTS = 1 << 24, 1 << 29
"""Bytes of the settings, and of the weights, unpacked."""

_ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>|torch\.nn:(\w+)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf)")


def load_sb3_policy(
    file: str | os.PathLike[str],
    *,
    env: str = "planararm/Reach-v0",
    env_kwargs: Mapping[str, Any] | None = None,
    policy_kwargs: Mapping[str, Any] | None = None,
    episode_steps: int | None = None,
    device: str = "cpu",
) -> AgentPolicy:
    """The policy of a Stable-Baselines3 model file (PPO, A2C, SAC, TD3, DDPG, TQC, recurrent PPO).

    Args:
        file: What ``model.save`` wrote.
        env: Id of the environment that it was trained in.
        env_kwargs: The environment's keyword arguments then.
        policy_kwargs: The model's, where they cannot be read from the file; classes of ``torch.nn`` as
            ``"torch.nn:Tanh"``.
        episode_steps: Control steps to a target; default: an episode of the environment.
        device: Where the network runs.

    Raises:
        FileFormatError: No model file, or one that is damaged or asks for other classes; the message says what.
        PolicyError: The weights do not fit the environment, or Stable-Baselines3 is not installed.
        UnknownNameError: No such environment, or no such argument of it.
    """
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as cause:
        raise PolicyError(
            f"{os.fspath(file)!r} is a model file of Stable-Baselines3, which is not installed: "
            "pip install stable-baselines3"
        ) from cause
    path = Path(file)
    settings, weights = _read(path)
    policy_class = _policy_class(path, settings)
    interface, steps = _layout(env, dict(env_kwargs or {}))
    _check_spaces(path, settings, interface, env)
    options = _policy_kwargs(path, settings, policy_kwargs)
    if "common.policies" in policy_class.__module__ and isinstance(settings.get("use_sde"), bool):
        options.setdefault("use_sde", settings["use_sde"])
    try:
        policy = policy_class(interface.observation_space, interface.action_space, lambda _: 0.0, **options)
    except Exception as cause:
        raise PolicyError(f"{str(path)!r}: the network cannot be built with {options}: {cause}") from cause
    _load_weights(path, policy, weights, env, options)
    policy.set_training_mode(False)
    return AgentPolicy(policy.to(device), interface, episode_steps=steps if episode_steps is None else episode_steps)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and weights of a file.

    Raises:
        FileFormatError: It has none, they are too large, or damaged.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(_member(archive, path, "data", MAX_SETTINGS))
            content = _member(archive, path, "policy.pth", MAX_WEIGHTS)
    except FileNotFoundError as cause:
        raise FileFormatError(f"There is no model file {str(path)!r}.") from cause
    except (zipfile.BadZipFile, ValueError, OSError, RecursionError, NotImplementedError, EOFError) as cause:
        if isinstance(cause, FileFormatError):
            raise
        raise FileFormatError(f"{str(path)!r} is no readable model file of Stable-Baselines3: {cause}") from cause
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as cause:
        first = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise FileFormatError(f"The weights in {str(path)!r} cannot be read as tensors: {first}") from cause
    tensors = isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())
    if not isinstance(settings, dict) or not tensors:
        raise FileFormatError(f"{str(path)!r} does not hold the settings and weights of a model.")
    return settings, weights


def _member(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> bytes:
    """A file of the archive, of bounded size whatever its header says."""
    if name not in archive.namelist():
        raise FileFormatError(
            f"{str(path)!r} has no {name!r}, so it is no model file of Stable-Baselines3, as model.save writes it."
        )
    with archive.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise FileFormatError(f"{name!r} in {str(path)!r} is larger than {most} bytes.")
    return content


def _policy_class(path: Path, settings: Mapping[str, Any]) -> Any:
    """The class that the readable part of the settings names, if it is one of :data:`CLASSES`."""
    entry = settings.get("policy_class")
    module = str(entry.get("__module__")) if isinstance(entry, dict) else "nothing readable"
    found = re.match(r"<function (\w+)\.__init__ at", str(entry.get("__init__"))) if isinstance(entry, dict) else None
    name = found.group(1) if found else "?"
    if name not in CLASSES.get(module, ()):
        known = ", ".join(f"{known_module}.{known}" for known_module, names in CLASSES.items() for known in names)
        raise FileFormatError(
            f"{str(path)!r} asks for the policy class {module}.{name}; known are {known}. A model of another class is "
            'used by a function of your own that loads it: "my_module:load_my_model".'
        )
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as cause:
        package = module.partition(".")[0].replace("_", "-")
        raise PolicyError(f"{str(path)!r} needs {package}, which is not installed: pip install {package}") from cause


def _layout(env: str, env_kwargs: dict[str, Any]) -> tuple[EnvInterface, int]:
    """Layout and length of an environment's episodes."""
    import gymnasium as gym

    known = [name for name in gym.registry if name.startswith("planararm/")]
    if env not in known:
        raise UnknownNameError("environment", env, known)
    made = gym.make(env, **env_kwargs)
    made.close()
    return find_interface(made), int(made.spec.max_episode_steps or 0) if made.spec else 0


def _check_spaces(path: Path, settings: Mapping[str, Any], interface: EnvInterface, env: str) -> None:
    """Compare the spaces' texts in the file with the environment's.

    Raises:
        PolicyError: They differ.
    """
    advice = "Name the environment that it was trained in by env= and env_kwargs=."
    described = str(_entry(settings, "observation_space").get("spaces"))
    sizes = re.findall(r"\((\d+),\), float32", described)
    size = sizes[-1] if sizes else None
    if size is None or "'observation'" not in described:
        raise PolicyError(
            f"{str(path)!r} was not trained on planararm's Dict observations; a wrapper may have flattened them. Use "
            'a function of your own that loads and wraps it: "my_module:load_my_model".'
        )
    if int(size) != interface.observation_size:
        raise PolicyError(
            f"{str(path)!r} was trained on observations of {size} numbers, those of {env} have "
            f"{interface.observation_size}. {advice}"
        )
    action = _entry(settings, "action_space")
    for side in ("low", "high"):
        there = [float(number) for number in _NUMBER.findall(str(action.get(side)))]
        here = getattr(interface.action_space, side)
        if len(there) != here.size or not np.allclose(there, here, atol=1e-3):
            raise PolicyError(
                f"{str(path)!r} was trained with actions whose {side}est values are {there}, those of {env} are "
                f"{here.tolist()}. {advice}"
            )


def _entry(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entry = settings.get(name)
    return entry if isinstance(entry, dict) else {}


def _policy_kwargs(path: Path, settings: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Keyword arguments of the policy class: those given, or what can be read of the file's.

    Raises:
        FileFormatError: An argument is not readable.
        InvalidInputError: A given one names a class that is not known.
    """
    source = dict(_entry(settings, "policy_kwargs") if given is None else given)
    options = {}
    for name, value in source.items():
        if name in (":type:", ":serialized:", *OF_TRAINING):
            continue
        try:
            options[name] = _plain(value)
        except ValueError as cause:
            if given is not None:
                raise InvalidInputError(
                    f"policy_kwargs: {name} must be plain or torch.nn:Name, got {value!r}."
                ) from cause
            raise FileFormatError(
                f"{str(path)!r} was made with the policy argument {name} = {value!r}, which only unpickling could "
                "restore. Give all of them as policy_kwargs=."
            ) from cause
    return options


def _plain(value: Any) -> Any:
    """Numbers, lists and dicts as they are; an activation function by its name.

    Raises:
        ValueError: Anything else.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict) and ":serialized:" not in value:
        return {str(name): _plain(one) for name, one in value.items()}
    found = _ACTIVATION.fullmatch(value) if isinstance(value, str) else None
    if found:
        from torch import nn

        activation = getattr(nn.modules.activation, found.group(1) or found.group(2), None)
        if isinstance(activation, type) and issubclass(activation, nn.Module):
            return activation
    raise ValueError(value)


def _load_weights(path: Path, policy: Any, weights: Mapping[str, Any], env: str, options: dict[str, Any]) -> None:
    """Give the network its weights.

    Raises:
        PolicyError: They are of another network; the message names the first that differs.
    """
    expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in dict.fromkeys([*expected, *found]):
        if expected.get(name) != found.get(name):
            raise PolicyError(
                f"{str(path)!r} does not fit: {name} has shape {found.get(name)} in the file and {expected.get(name)} "
                f"in a network for {env} with {options or 'default settings'}. Name what it was trained with by env=, "
                "env_kwargs= and policy_kwargs=."
            )
    policy.load_state_dict(weights)
