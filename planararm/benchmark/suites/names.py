"""Suites by name: bundled ones, the same recipes with a seed and size of one's own, and import paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from ...errors import InvalidInputError, UnknownNameError
from ...validate import real_number, whole_number
from ..tasks import CHUNK, Suite
from .imports import import_suite

EVALUATION_SEEDS = {
    "v1/quick": 910_823_641,
    "v1/ik-free": 267_350_983,
    "v1/ik-clutter": 731_946_205,
    "v1/ik-hard": 548_213_779,
    "v1/track-free": 185_702_431,
    "v1/track-clutter": 406_918_357,
    "v1/track-moving": 873_264_019,
    "v1/duka": 629_481_573,
    "v1/redundant": 352_097_861,
}
"""Reserved for evaluation: never train or tune on what these seeds generate."""

MAX_SEED = 2**63 - 1
MAX_SCALE = 1000
LARGE, LARGE_CHUNK = 20_000, 1000
"""A suite of more tasks than ``LARGE`` hands ``LARGE_CHUNK`` of them to a policy at once."""

_STREAMS = 16


def _build(base: str, name: str, seed: int, scale: float) -> Suite:
    # Only here: whoever wants the names need not wait for the compiler to load.
    from .v1 import RECIPES

    def times(count: int) -> int:
        return max(1, round(count * scale))

    recipe = RECIPES[base]
    groups = recipe.groups(iter(np.random.default_rng(seed).spawn(_STREAMS)), times)
    chunk_size = LARGE_CHUNK if sum(map(len, groups)) > LARGE else CHUNK
    return Suite(name, recipe.description, groups, chunk_size=chunk_size)


_BUILDERS: dict[str, Callable[[], Suite]] = {
    name: partial(_build, name, name, seed, 1.0) for name, seed in EVALUATION_SEEDS.items()
}


def available_suites() -> list[str]:
    """Names of the bundled suites, the quick one first, then the easier before the harder."""
    return list(_BUILDERS)


def make_suite(name: str, *, seed: int, scale: float = 1.0) -> Suite:
    """The recipe of a bundled suite with a seed and a size of your own, e.g. to tune or to train on.

    Same arguments, same tasks, bit for bit. The suite's name, e.g. ``"v1/ik-clutter?seed=7&scale=500"``, says how it
    was made, and :func:`load_suite` makes it again from that. A suite of a million targets takes less than a minute
    and 1 GB.

    Args:
        name: Name of a bundled suite.
        seed: From 0 to 2**63 - 1; not one of those that are reserved for evaluation.
        scale: Factor to the numbers of tasks, at most 1000. Named paths stay one of each.

    Raises:
        UnknownNameError: There is no such suite.
        InvalidInputError: A number is out of range, or the seed is reserved.
    """
    if name not in EVALUATION_SEEDS:
        raise UnknownNameError("suite", name, EVALUATION_SEEDS)
    seed, scale = whole_number("seed", seed, 0, MAX_SEED), real_number("scale", scale, 0.0, MAX_SCALE)
    if seed in EVALUATION_SEEDS.values():
        raise InvalidInputError(f"seed {seed} is reserved for evaluation; take any other.")
    full_name = f"{name}?seed={seed}"
    if scale != 1.0:
        full_name += f"&scale={int(scale) if scale.is_integer() else scale}"
    return _build(name, full_name, seed, scale)


@lru_cache(maxsize=16)
def load_suite(name: str) -> Suite:
    """A suite by its name; the second call returns the same object.

    Args:
        name: Name of a bundled suite; with ``?seed=7&scale=0.5`` for a seed (and a size) of your own, see
            :func:`make_suite`; or an import path ``"my_module:my_suite"`` of a
            :class:`~planararm.benchmark.tasks.Suite` or of a function that returns one. A suite from an import path
            is named after it.

    Raises:
        UnknownNameError: There is no such suite, setting or attribute.
        InvalidInputError: A setting is out of range, or the import path leads to no suite.
    """
    if name in _BUILDERS:
        return _BUILDERS[name]()
    base, mark, query = name.partition("?")
    if mark and ":" in base:
        raise InvalidInputError(f"Suite {name!r}: only the bundled suites take a seed and a scale; name it {base!r}.")
    if mark:
        return make_suite(base, **_settings(name, query))
    if ":" in name:
        return import_suite(name)
    raise UnknownNameError("suite", name, _BUILDERS)


def _settings(name: str, query: str) -> dict[str, Any]:
    """``seed`` and ``scale`` from ``"seed=7&scale=500"``."""
    kinds: dict[str, Callable[[str], float]] = {"seed": int, "scale": float}
    settings: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in kinds:
            raise UnknownNameError("setting of a suite", key, kinds)
        if key in settings:
            raise InvalidInputError(f"Suite {name!r} gives {key} twice.")
        try:
            settings[key] = kinds[key](text)
        except ValueError as cause:
            raise InvalidInputError(f"Suite {name!r}: {key} must be a number, got {text!r}.") from cause
    if "seed" not in settings:
        raise InvalidInputError(f"Suite {name!r} needs a seed, e.g. '{name.partition('?')[0]}?seed=1'.")
    return settings
