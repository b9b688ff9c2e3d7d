"""Suites from the user's own Python."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from ...errors import InvalidInputError, PlanarArmError, UnknownNameError
from ..calls import describe_failure
from ..tasks import Suite


def import_suite(spec: str) -> Suite:
    """The suite at an import path, or that a function there returns.

    Args:
        spec: ``"my_package.my_module:my_suite"``. The suite gets this name, under which it can be loaded again.

    Raises:
        InvalidInputError: No import path, its module cannot be imported, or what is there is no suite.
        UnknownNameError: The module has no such attribute.
    """
    found = _find(spec)
    if callable(found):
        try:
            found = found()
        except PlanarArmError:
            raise
        except Exception as cause:
            raise InvalidInputError(f"Suite {spec!r}: calling it raised {describe_failure(cause)}") from cause
    if not isinstance(found, Suite):
        raise InvalidInputError(
            f"{spec!r} is no suite: got {type(found).__name__}. A suite is a planararm.benchmark.tasks.Suite, "
            "or a function without arguments that returns one."
        )
    return replace(found, name=spec)


def _find(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise InvalidInputError(f'A suite\'s import path must look like "my_package.my_module:my_suite", got {spec!r}.')
    try:
        found = importlib.import_module(module)
    except PlanarArmError:
        raise
    except ImportError as cause:
        raise InvalidInputError(f"Suite {spec!r}: cannot import {module!r}: {cause}") from cause
    except Exception as cause:
        raise InvalidInputError(f"Suite {spec!r}: importing {module!r} raised {describe_failure(cause)}") from cause
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownNameError(f"attribute of {module!r}", part, [x for x in dir(found) if not x.startswith("_")])
        found = getattr(found, part)
    return found
