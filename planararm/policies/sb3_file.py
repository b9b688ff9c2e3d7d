"""Policies of Stable-Baselines3's model files, read without running what may be in them.

``model.save`` writes the settings with pickled objects in them. Stable-Baselines3's own ``load`` unpickles these, which
runs whatever code the file's author put there. Here the classes are taken by name from a list, settings are read where
they are plain, and the weights as tensors only (:mod:`planararm.policies.sb3_archive`).
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ..arm import FloatArray
from ..errors import FileFormatError, InvalidInputError, PolicyError, UnknownNameError
from ..interface import EnvInterface
from .agent import AgentPolicy
from .protocol import find_interface
from .sb3_archive import SB3Archive, read_sb3_archive

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

BLOCKS = (
    "joint angles", "joint velocities", "coming targets", "disc centres", "disc radii", "disc velocities", "disc mask",
)  # fmt: skip
"""Of the observation vector, in order."""

_ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>|torch\.nn:(\w+)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf)")
_BOX = re.compile(r"'(\w+)': Box\(([^,]+), ([^,]+), \((\d+),\), float32\)")


def load_sb3_policy(
    file: str | os.PathLike[str],
    *,
    env: str = "planararm/Reach-v0",
    env_kwargs: Mapping[str, Any] | None = None,
    policy_kwargs: Mapping[str, Any] | None = None,
    episode_steps: int | None = None,
    device: str = "cpu",
) -> AgentPolicy:
    """The policy of a Stable-Baselines3 model file (PPO, A2C, SAC, TD3, DDPG; TQC, recurrent PPO with sb3-contrib).

    Args:
        file: What ``model.save`` wrote.
        env: Id of the environment that it was trained in.
        env_kwargs: The environment's keyword arguments then.
        policy_kwargs: The model's, where they cannot be read from the file; classes of ``torch.nn`` as
            ``"torch.nn:Tanh"``.
        episode_steps: Control steps to a target; default: an episode of the environment.
        device: Where the network runs: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        FileFormatError: No model file, or one that is damaged or asks for other classes; the message says what.
        PolicyError: The weights do not fit the environment, or Stable-Baselines3 is not installed.
        UnknownNameError: No such environment, no such argument of it, or no such device.
        InvalidInputError: An argument of another kind, or no CUDA here.
    """
    path = _path(file)
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as cause:
        raise PolicyError(
            f"{str(path)!r} is a model file of Stable-Baselines3, which is not installed: pip install stable-baselines3"
        ) from cause
    import torch

    from .device import find_device

    found_device = find_device(device)
    archive = read_sb3_archive(path)
    policy_class = _policy_class(archive)
    world = _environment(env, env_kwargs)
    interface = find_interface(world)
    _check_spaces(archive, interface, env)
    options = _policy_kwargs(archive, policy_kwargs)
    if policy_kwargs is None:
        _check_size(archive, options, interface.observation_size)
    if "common.policies" in policy_class.__module__ and isinstance(archive.settings.get("use_sde"), bool):
        options.setdefault("use_sde", archive.settings["use_sde"])
    try:
        # The first weights are drawn, and then replaced: nobody else's random numbers shall change by that.
        with torch.random.fork_rng(devices=[]):
            policy = policy_class(interface.observation_space, interface.action_space, lambda _: 0.0, **options)
    except Exception as cause:
        raise PolicyError(f"{str(path)!r}: the network cannot be built with {options}: {cause}") from cause
    _load_weights(archive, policy, env, options)
    policy.set_training_mode(False)
    return AgentPolicy(policy.to(found_device), world, episode_steps=episode_steps)


def _path(file: Any) -> Path:
    try:
        return Path(file)
    except TypeError as cause:
        raise InvalidInputError(f"file must be the path of a model file, got {file!r}.") from cause


def _policy_class(archive: SB3Archive) -> Any:
    """The class that the readable part of the settings names, if it is one of :data:`CLASSES`.

    Raises:
        FileFormatError: It is none.
        PolicyError: Its package is not installed.
    """
    path, entry = archive.path, archive.described("policy_class")
    module = str(entry.get("__module__", "nothing readable"))
    found = re.match(r"<function (\w+)\.__init__ at", str(entry.get("__init__")))
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


def _environment(env: Any, env_kwargs: Any) -> gym.Env[Any, Any]:
    """An environment of planararm, for its spaces and the length of its episodes.

    Raises:
        UnknownNameError: No such environment or argument.
        InvalidInputError: An argument is wrong.
    """
    known = [name for name in gym.registry if name.startswith("planararm/")]
    if env not in known:
        raise UnknownNameError("environment", env, known)
    arguments = _mapping("env_kwargs", env_kwargs)
    try:
        made = gym.make(env, **arguments)
    except (TypeError, gym.error.Error) as cause:
        raise InvalidInputError(f"{env} cannot be made with env_kwargs={arguments}: {cause}") from cause
    made.close()
    return made


def _mapping(name: str, given: Any) -> dict[str, Any]:
    if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
        raise InvalidInputError(f"{name} must be a mapping of names to values, got {given!r}.")
    return dict(given or {})


def _check_spaces(archive: SB3Archive, interface: EnvInterface, env: str) -> None:
    """Compare the spaces' descriptions in the file with the environment's.

    Raises:
        PolicyError: They differ; the message says where.
    """
    who = f"{str(archive.path)!r} was trained"
    advice = "Name the environment that it was trained in by env= and env_kwargs= (arm, dt, num_preview, ...)."
    found = _BOX.findall(str(archive.described("observation_space").get("spaces")))
    boxes = {key: (low, high, int(size)) for key, low, high, size in found}
    spaces = interface.observation_space.spaces
    if set(boxes) != set(spaces):
        raise PolicyError(
            f"{who} on other observations than planararm's Dict; a wrapper may have flattened them. Use a function of "
            'your own that loads and wraps it: "my_module:load_my_model".'
        )
    for key in sorted(spaces, reverse=True):
        space, size = spaces[key], boxes[key][2]
        assert isinstance(space, gym.spaces.Box)
        if size != space.shape[0]:
            raise PolicyError(
                f"{who} on observations whose {key!r} has {size} numbers, that of {env} has {space.shape[0]}. {advice}"
            )
        for side, text in zip(("low", "high"), boxes[key][:2], strict=True):
            here, there = getattr(space, side), _numbers(text, size)
            apart = _first_apart(there, here)
            if there is not None and apart is not None:
                block = np.searchsorted(interface.offsets, apart, side="right") - 1
                what = BLOCKS[block] if key == "observation" else key
                raise PolicyError(
                    f"{who} on observations whose {side}est {what} are {there[apart]:.6g}, those of {env} are "
                    f"{here[apart]:.6g}. {advice}"
                )
    action = archive.described("action_space")
    for side in ("low", "high"):
        here = getattr(interface.action_space, side)
        there = _numbers(str(action.get(side)), here.size)
        if there is None or _first_apart(there, here) is not None:
            seen = [float(number) for number in _NUMBER.findall(str(action.get(side)))]
            raise PolicyError(
                f"{who} with actions whose {side}est values are {seen}, those of {env} are {here.tolist()}. {advice}"
            )


def _numbers(text: str, size: int) -> FloatArray | None:
    """The bounds that a description tells; None if it does not tell all of them."""
    numbers = np.array([float(number) for number in _NUMBER.findall(text)])
    if numbers.size == 1 and "[" not in text:
        return np.repeat(numbers, size)
    return numbers if numbers.size == size and "..." not in text else None


def _first_apart(there: FloatArray | None, here: Any) -> int | None:
    """Index of the first bound that differs by more than its printing."""
    if there is None:
        return None
    apart = np.flatnonzero(~np.isclose(there, here, rtol=1e-4, atol=1e-6))
    return int(apart[0]) if apart.size else None


def _policy_kwargs(archive: SB3Archive, given: Any) -> dict[str, Any]:
    """Keyword arguments of the policy class: those given, or what can be read of the file's.

    Raises:
        FileFormatError: An argument is not readable.
        InvalidInputError: A given one is of a class that is not known.
    """
    source = archive.described("policy_kwargs") if given is None else _mapping("policy_kwargs", given)
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
                f"{str(archive.path)!r} was made with the policy argument {name} = {value!r}, which only unpickling "
                "could restore. Give all of them as policy_kwargs=."
            ) from cause
    net_arch = options.get("net_arch")
    if isinstance(net_arch, list) and len(net_arch) == 1 and isinstance(net_arch[0], dict):
        # How it was written before version 1.8; read with a warning since.
        options["net_arch"] = net_arch[0]
    return options


def _plain(value: Any) -> Any:
    """Numbers, lists and dicts as they are; an activation function by its name.

    Raises:
        ValueError: Anything else.
    """
    from torch import nn

    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict) and ":serialized:" not in value:
        return {str(name): _plain(one) for name, one in value.items()}
    found = _ACTIVATION.fullmatch(value) if isinstance(value, str) else None
    named = getattr(nn.modules.activation, found.group(1) or found.group(2), None) if found else value
    if isinstance(named, type) and issubclass(named, nn.Module):
        return named
    raise ValueError(value)


def _check_size(archive: SB3Archive, options: Mapping[str, Any], inputs: int) -> None:
    """Refuse settings that describe a network of more numbers than the file has, before memory is taken for it.

    Raises:
        FileFormatError: They do.
    """
    net_arch = options.get("net_arch")
    parts = net_arch if isinstance(net_arch, dict) else {"qf": net_arch}
    sizes = {name: _layers_size(layers, inputs) for name, layers in parts.items()}
    counts = {name: value for name, value in options.items() if isinstance(value, int)}
    critics = max(1, counts.get("n_critics", 1)) * sizes.get("qf", inputs)
    memory = max(1, counts.get("n_lstm_layers", 1)) * max(0, counts.get("lstm_hidden_size", 0)) ** 2
    least = max(*sizes.values(), critics, memory, *counts.values(), 0)
    if least > archive.num_bytes:
        raise FileFormatError(
            f"{str(archive.path)!r}: its settings describe a network of at least {least:,} numbers, for which its "
            f"weights of {archive.num_bytes:,} bytes are too few."
        )


def _layers_size(layers: Any, inputs: int) -> int:
    """Numbers in the matrices between layers, at least."""
    widths = [width for width in layers if isinstance(width, int)] if isinstance(layers, Sequence) else []
    return inputs + sum(a * b for a, b in pairwise([inputs, *widths]) if a > 0 and b > 0)


def _load_weights(archive: SB3Archive, policy: Any, env: str, options: Mapping[str, Any]) -> None:
    """Give the network its weights.

    Raises:
        PolicyError: They are of another network; the message names the first that differs.
    """
    expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in archive.weights.items()}
    for name in dict.fromkeys([*expected, *found]):
        if expected.get(name) != found.get(name):
            raise PolicyError(
                f"{str(archive.path)!r} does not fit: {name} has shape {found.get(name)} in the file and "
                f"{expected.get(name)} in a network for {env} with {options or 'default settings'}. Name what it was "
                "trained with by env=, env_kwargs= and policy_kwargs=."
            )
    policy.load_state_dict(archive.weights)
