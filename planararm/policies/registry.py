"""Policies by name, by import path, or from whatever the user has."""

from __future__ import annotations

import importlib
import inspect
import os
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from ..errors import InvalidInputError, MissingExtraError, PlanarArmError, PolicyError, UnknownNameError
from .agent import AgentPolicy
from .function import FunctionPolicy
from .protocol import IKPolicy

ENTRY_POINT_GROUP = "planararm.policies"


class Entry(NamedTuple):
    """Where a policy comes from; strings, so that nothing is imported before it is asked for."""

    target: str
    extra: str | None = None


_ENTRIES: dict[str, Entry] = {
    "closed-form": Entry("planararm.policies.closed_form:ClosedForm"),
    "convex-ik": Entry("planararm.policies.convex:ConvexIK", extra="convex"),
    "cyclic-coordinate-descent": Entry("planararm.policies.ccd:CyclicCoordinateDescent"),
    "damped-least-squares": Entry("planararm.policies.jacobian:DampedLeastSquares"),
    "hold": Entry("planararm.policies.hold:Hold"),
    "jacobian-transpose": Entry("planararm.policies.jacobian:JacobianTranspose"),
    "numpy-mlp": Entry("planararm.policies.numpy_mlp:NumpyMLP"),
    "projected-dls": Entry("planararm.policies.projected:ProjectedDampedLeastSquares"),
    "projected-mlp": Entry("planararm.policies.projected_mlp:ProjectedMLP"),
    "pseudo-inverse": Entry("planararm.policies.jacobian:PseudoInverse"),
    "torch-mlp": Entry("planararm.policies.torch_mlp:TorchMLP"),
}


def register_policy(name: str, target: str, extra: str | None = None) -> None:
    """Make a policy available by name, in this process.

    Packages do so for everybody by an entry point in the group ``planararm.policies``.

    Args:
        name: Without a colon.
        target: ``"module:attribute"`` of a policy class, a policy, or a function; imported on first use.
        extra: The extra of planararm that it needs, if any.

    Raises:
        InvalidInputError: Not such strings, or the name stands for another target already.
    """
    if not isinstance(name, str) or not name or ":" in name:
        raise InvalidInputError(f"A policy's name must be a string without a colon, got {name!r}.")
    _split(target)
    entry = Entry(target, extra)
    if _ENTRIES.setdefault(name, entry) != entry:
        raise InvalidInputError(
            f"The policy {name!r} is registered already, as {_ENTRIES[name].target!r}, not {target!r}."
        )


def available_policies() -> list[str]:
    """The names that :func:`make_policy` knows: bundled, registered, of installed packages; sorted."""
    return sorted({*_ENTRIES, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def is_bundled(spec: Any) -> bool:
    """Whether this is the name of one of planararm's own policies."""
    return isinstance(spec, str) and spec in _ENTRIES and _top(_ENTRIES[spec].target) == "planararm"


def import_path(spec: str) -> str:
    """What another process finds the policy under: the target of a name that was registered in this one."""
    entry = _ENTRIES.get(spec)
    return spec if entry is None or is_bundled(spec) else entry.target


def make_policy(spec: Any, **kwargs: Any) -> IKPolicy:
    """A policy from nearly anything.

    Args:
        spec: The name of a bundled, registered or installed policy; an import path
            ``"my_package.my_module:MyPolicy"``; a model file of Stable-Baselines3, which ends in ``.zip`` or exists
            (see :func:`planararm.policies.sb3_file.load_sb3_policy`); a policy, returned as it is; a class of
            policies; a function ``f(target_position, q, scene) -> q``; or an object with Stable-Baselines3's
            ``predict``.
        **kwargs: Options of the class; for a function and an object with ``predict``, those of
            :class:`~planararm.policies.function.FunctionPolicy` and
            :class:`~planararm.policies.agent.AgentPolicy`.

    Raises:
        UnknownNameError: No such policy, attribute or option; the message suggests the nearest.
        MissingExtraError: The policy needs an extra that is not installed.
        PolicyError: The import path cannot be imported, or what is there is no policy.
        InvalidInputError: An option is out of range, or options for a finished policy.
    """
    if isinstance(spec, os.PathLike):
        return _from_file(os.fspath(spec), kwargs)
    if not isinstance(spec, str):
        return _build(spec, _label(spec), kwargs)
    if spec in _ENTRIES:
        return _build(_load(spec, *_ENTRIES[spec]), spec, kwargs)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == spec:
            return _build(_load(spec, point.value), spec, kwargs)
    if spec.endswith(".py"):
        module = os.path.splitext(os.path.basename(spec))[0]
        raise PolicyError(f"{spec!r} is a file of Python code; name what is to be taken from it: {module}:NAME.")
    if spec.endswith(".zip") or os.path.isfile(spec):
        return _from_file(spec, kwargs)
    if ":" in spec:
        return _build(_load(spec, spec), spec, kwargs)
    raise UnknownNameError("policy", spec, available_policies())


def _from_file(file: str, kwargs: dict[str, Any]) -> IKPolicy:
    policy: IKPolicy = _instance(_load(file, "planararm.policies.sb3_file:load_sb3_policy"), file, kwargs, file)
    return policy


def _split(target: Any) -> tuple[str, str]:
    module, colon, attribute = target.partition(":") if isinstance(target, str) else ("", "", "")
    if not (module and colon and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))):
        raise InvalidInputError(f'A policy\'s target must look like "my_package.my_module:MyPolicy", got {target!r}.')
    return module, attribute


def _top(module: str) -> str:
    return module.partition(".")[0]


def _load(name: str, target: str, extra: str | None = None) -> Any:
    module_name, attribute = _split(target)
    try:
        found = importlib.import_module(module_name)
    except MissingExtraError as cause:
        raise MissingExtraError(f"policy {name!r}", cause.extra) from cause
    except ImportError as cause:
        # A missing module of the policy's own package is not for want of the extra.
        foreign = isinstance(cause, ModuleNotFoundError) and _top(cause.name or "") != _top(module_name)
        if extra is not None and foreign:
            raise MissingExtraError(f"policy {name!r}", extra) from cause
        raise PolicyError(f"Policy {name!r}: cannot import {module_name!r}: {cause}") from cause
    except Exception as cause:
        raise PolicyError(
            f"Policy {name!r}: importing {module_name!r} raised {type(cause).__name__}: {cause}"
        ) from cause
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownNameError(
                f"attribute of {module_name!r}", part, [x for x in dir(found) if not x.startswith("_")]
            )
        found = getattr(found, part)
    return found


def _label(thing: Any) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _build(thing: Any, name: str, kwargs: dict[str, Any]) -> IKPolicy:
    if isinstance(thing, type):
        thing, kwargs = _instance(thing, name, kwargs), {}
    if isinstance(thing, IKPolicy):
        if kwargs:
            raise InvalidInputError(f"Options {sorted(kwargs)} cannot be given to the finished policy {name!r}.")
        return thing
    wrapper = AgentPolicy if callable(getattr(thing, "predict", None)) else FunctionPolicy
    if wrapper is AgentPolicy or callable(thing):
        policy: IKPolicy = _instance(wrapper, name, kwargs, thing)
        return policy
    raise PolicyError(
        f"{name!r} is no policy: got {type(thing).__name__}. A policy is an object derived from "
        "planararm.policies.IKPolicy, a function f(target_position, q, scene) -> q, or has predict."
    )


def _instance(cls: Any, name: str, kwargs: dict[str, Any], *args: Any) -> Any:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PolicyError(f"Policy {name!r}: the class {cls.__name__} must define {', '.join(missing)}.")
    parameters = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        known = [p.name for p in list(parameters.values())[len(args) :]]
        for option in kwargs:
            if not known:
                raise InvalidInputError(f"Policy {name!r} takes no options, got {option!r}.")
            if option not in known:
                raise UnknownNameError(f"option of policy {name!r}:", option, known)
    try:
        inspect.signature(cls).bind(*args, **kwargs)
    except TypeError as cause:
        raise PolicyError(f"Policy {name!r}: {cls.__name__} cannot be built: {cause}.") from cause
    try:
        return cls(*args, **kwargs)
    except PlanarArmError:
        raise
    except Exception as cause:
        raise PolicyError(f"Policy {name!r} cannot be built: {type(cause).__name__}: {cause}") from cause
