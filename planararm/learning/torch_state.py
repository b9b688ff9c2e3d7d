"""States of torch modules and optimisers as named NumPy arrays, and back: what a checkpoint holds, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, MissingExtraError, WeightsError
from ..policies.pretrained import check_tensors

try:
    import torch
except ImportError as cause:
    raise MissingExtraError("planararm.learning.torch_state", "torch") from cause

Arrays = dict[str, npt.NDArray[Any]]


def to_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """A tensor's numbers, copied, wherever it is.

    Raises:
        InvalidInputError: A type that NumPy does not have, like bfloat16.
    """
    try:
        return np.array(tensor.detach().cpu().numpy())
    except TypeError as cause:
        raise InvalidInputError(f"NumPy has no {tensor.dtype}; train in float32 or float64.") from cause


def module_arrays(module: torch.nn.Module, prefix: str = "") -> Arrays:
    """Parameters and buffers of a module by name."""
    return {prefix + name: to_array(value) for name, value in module.state_dict().items()}


def load_module(module: torch.nn.Module, arrays: Mapping[str, npt.NDArray[Any]], prefix: str = "") -> None:
    """Set parameters and buffers; they stay on the module's device.

    Raises:
        WeightsError: One is missing, too many, or of another shape.
    """
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    check_tensors(own, {name: tuple(value.shape) for name, value in module.state_dict().items()})
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in own.items()})


def optimiser_arrays(optimiser: torch.optim.Optimizer, prefix: str = "") -> Arrays:
    """What an optimiser remembers of each parameter (moments, number of steps), named ``parameter.what``.

    Its options (learning rate, ...) are not among them: whoever makes the optimiser anew gives them anew.

    Raises:
        InvalidInputError: It remembers something that is no tensor.
    """
    arrays: Arrays = {}
    for index, remembered in optimiser.state_dict()["state"].items():
        for name, value in remembered.items():
            if not isinstance(value, torch.Tensor):
                raise InvalidInputError(
                    f"{type(optimiser).__name__} remembers {name} = {value!r}, which is no tensor; Adam and Muon can "
                    "be kept."
                )
            arrays[f"{prefix}{index}.{name}"] = to_array(value)
    return arrays


def load_optimiser(optimiser: torch.optim.Optimizer, arrays: Mapping[str, npt.NDArray[Any]], prefix: str = "") -> None:
    """Let an optimiser remember; moments go to the device of their parameter.

    Raises:
        WeightsError: Of a parameter that the optimiser does not have, or of another shape.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in arrays.items():
        if not key.startswith(prefix):
            continue
        index, _, name = key.removeprefix(prefix).partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise WeightsError(f"The optimiser has {len(parameters)} parameters; {key!r} is of none of them.")
        if value.shape not in ((), tuple(parameters[int(index)].shape)):
            raise WeightsError(f"{key!r} must have the shape of its parameter, got {value.shape}.")
        state.setdefault(int(index), {})[name] = torch.from_numpy(np.array(value))
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
