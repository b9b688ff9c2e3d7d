"""Who takes part in a run: policies by name, how they are built, and what tells that one has changed."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError, PlanarArmError, PolicyError, UnknownNameError
from ..policies.protocol import IKPolicy
from ..policies.registry import available_policies, import_path, is_bundled, make_policy
from ..validate import real_number
from .calls import describe_failure

ISOLATE = ("auto", "always", "never")
MOST = 1e6
"""Largest limit, seconds or GiB."""

OWN_FOLDERS = ("policies", "projection", "kernels", "dynamics", "nn")
"""Folders of the package, besides its top level, on which the answers of bundled policies depend."""


@dataclass(frozen=True)
class Limits:
    """Whether policies run in a process of their own, and what they may take there.

    Args:
        isolate: ``"auto"``: those named by an import path, a file or an installed package, which may be anything;
            ``"always"`` the bundled ones too; ``"never"``: a hang, a crash of the interpreter or a leak then is the
            run's.
        time_limit: Seconds that a call may take.
        memory_limit: GiB that a policy may take beyond what it has once it is built; None: no limit.

    Raises:
        InvalidInputError: No such way to isolate, or a limit that is none.
    """

    isolate: str = "auto"
    time_limit: float = 5.0
    memory_limit: float | None = 2.0

    def __post_init__(self) -> None:
        if self.isolate not in ISOLATE:
            raise InvalidInputError(f"isolate must be one of {', '.join(ISOLATE)}, got {self.isolate!r}.")
        real_number("time_limit", self.time_limit, 0.0, MOST)
        if self.memory_limit is not None:
            real_number("memory_limit", self.memory_limit, 0.0, MOST)


@dataclass(frozen=True)
class Entrant:
    """A policy that takes part.

    Args:
        name: What the results call it; unique.
        source: Anything that :func:`planararm.policies.make_policy` takes.
        options: Its keyword arguments.
    """

    name: str
    source: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def is_isolated(self, limits: Limits) -> bool:
        """Whether it runs in a process of its own.

        Raises:
            InvalidInputError: It must, but is an object, which another process cannot have.
        """
        if limits.isolate == "always" and not isinstance(self.source, str):
            raise InvalidInputError(
                f"{self.name!r} is an object of this process; to run it in one of its own, name "
                'it by an import path "my_module:MyPolicy".'
            )
        foreign = isinstance(self.source, str) and not is_bundled(self.source)
        return limits.isolate == "always" or (limits.isolate == "auto" and foreign)

    def build(self, seed: int, limits: Limits | None = None) -> IKPolicy:
        """The policy; one whose class has an argument ``seed`` is given the run's seed.

        Args:
            seed: See above.
            limits: Of a process of its own; None: in this process.

        Raises:
            PlanarArmError: It cannot be built; see :func:`planararm.policies.make_policy`.
        """
        if limits is not None and self.is_isolated(limits):
            from .isolation import IsolatedPolicy

            if not is_known(self.source):
                raise UnknownNameError("policy", self.source, available_policies())
            isolated = IsolatedPolicy(
                import_path(self.source),
                self.options,
                seed=seed,
                time_limit=limits.time_limit,
                memory_limit=limits.memory_limit,
            )
            isolated.start()
            return isolated
        return build_policy(self.name, self.source, self.options, seed)

    @property
    def fingerprint(self) -> str:
        """Changes when the code, the weights or the options do, as far as can be seen without running it."""
        digest = hashlib.sha256(json.dumps(dict(self.options), sort_keys=True, default=repr).encode())
        for value in (self.source, *self.options.values()):
            for part in _content(value):
                digest.update(part)
        return digest.hexdigest()[:16]


def is_known(source: str) -> bool:
    """Whether a policy goes by this name, or it may name one: an import path, a file."""
    return ":" in source or source.endswith(".zip") or Path(source).exists() or source in available_policies()


def build_policy(name: str, source: Any, options: Mapping[str, Any], seed: int) -> IKPolicy:
    """Build a policy in this process; one whose class has an argument ``seed`` is given the run's seed.

    Raises:
        PlanarArmError: It cannot be built; see :func:`planararm.policies.make_policy`.
    """
    try:
        policy = make_policy(source, **options)
        takes_seed = "seed" in inspect.signature(type(policy)).parameters and "seed" not in options
        if takes_seed and isinstance(source, str | type):
            policy = make_policy(source, seed=seed, **options)
    except PlanarArmError:
        raise
    except Exception as cause:
        raise PolicyError(f"Policy {name!r} cannot be built: {describe_failure(cause)}") from cause
    return policy


def _content(value: Any) -> Iterable[bytes]:
    """What a source, or an option that names a file, consists of."""
    if not isinstance(value, str | os.PathLike):
        subject = value if isinstance(value, type) or inspect.isroutine(value) else type(value)
        try:
            yield inspect.getsource(subject).encode()
        except (OSError, TypeError):
            yield repr(subject).encode()
        return
    text = os.fspath(value)
    yield text.encode()
    if Path(text).exists():
        yield from _files(Path(text), ("*",))
    elif is_bundled(text):
        yield own_fingerprint().encode()
    elif ":" in text:
        yield from _module(text.partition(":")[0])


def _module(name: str) -> Iterable[bytes]:
    """The source of a module, and of the package that it is in."""
    top = name.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if found is not None and found.submodule_search_locations:
        for folder in found.submodule_search_locations:
            yield from _files(Path(folder), ("*.py",))
    elif found is not None and found.origin:
        yield from _files(Path(found.origin), ("*",))


def _files(path: Path, patterns: Sequence[str]) -> Iterable[bytes]:
    """Names and contents of a file, or of the files in a folder."""
    if path.is_file():
        yield path.read_bytes()
        return
    for file in sorted({file for pattern in patterns for file in path.rglob(pattern) if file.is_file()}):
        if "__pycache__" not in file.parts:
            yield file.relative_to(path).as_posix().encode()
            yield file.read_bytes()


@cache
def own_fingerprint() -> str:
    """Of planararm's own code and weights, on which the answers of the bundled policies depend."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(package.glob("*.py")):
        digest.update(file.read_bytes())
    for folder in OWN_FOLDERS:
        for part in _files(package / folder, ("*.py", "*.safetensors", "*.json")):
            digest.update(part)
    return digest.hexdigest()


def entrant(source: Any, options: Mapping[str, Any] | None = None) -> Entrant:
    """An entrant named after its source, with its options if it has any: ``name(damping=0.1)``.

    Args:
        source: Name, import path, model file, policy, class, function or agent.
        options: Keyword arguments for its constructor.
    """
    if isinstance(source, Entrant):
        return source
    source = os.fspath(source) if isinstance(source, os.PathLike) else source
    options = dict(options or {})
    name = source if isinstance(source, str) else str(getattr(source, "__name__", type(source).__name__))
    if options:
        name += f"({', '.join(f'{key}={json.dumps(value, default=str)}' for key, value in options.items())})"
    return Entrant(name, source, options)


def bundled_entrants() -> tuple[list[Entrant], list[tuple[str, str]]]:
    """Every available policy that can be built, and those that cannot, with the reason (a missing extra)."""
    entrants, missing = [], []
    for name in available_policies():
        one = entrant(name)
        try:
            one.build(0)
        except MissingExtraError as error:
            missing.append((name, str(error)))
        else:
            entrants.append(one)
    return entrants, missing


def distinct_entrants(policies: Sequence[Any]) -> list[Entrant]:
    """Entrants of different names.

    Raises:
        InvalidInputError: Two different ones have the same name, or there is none.
    """
    named: dict[str, Entrant] = {}
    for one in map(entrant, policies):
        twin = named.setdefault(one.name, one)
        if twin is not one and (twin.source, dict(twin.options)) != (one.source, dict(one.options)):
            raise InvalidInputError(
                f"Two different policies are called {one.name!r}; name them apart: Entrant('a name', policy)."
            )
    if not named:
        raise InvalidInputError("There is no policy to run; name at least one.")
    return list(named.values())
