"""Exceptions: one base, each child also the built-in that callers expect to catch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PlanarArmError(Exception):
    """Base of every error that planararm raises on purpose.

    Attributes:
        described: How result rows tell it; None: by its type and message.
    """

    described: str | None = None


class InvalidInputError(PlanarArmError, ValueError):
    """An argument has a wrong shape, type or value (NaN, out of range)."""


class InvalidArmError(InvalidInputError):
    """The numbers do not describe an arm."""


class InvalidSceneError(InvalidInputError):
    """The obstacles, or the arm among them, do not describe a usable scene."""


class FileFormatError(PlanarArmError, ValueError):
    """A file is malformed, too large, or holds what it must not hold."""


class WeightsError(FileFormatError):
    """Trained weights are missing, damaged, or of something else."""


class PolicyError(PlanarArmError, ValueError):
    """A policy broke its contract: wrong shape, wrong type, NaN, or it raised."""


class PolicyTimeout(PolicyError):
    """A policy took longer than it was allowed to."""


class PolicyCrashed(PolicyError):
    """The process of a policy ended unasked."""


class UnknownNameError(PlanarArmError, ValueError):
    """A name is not among the known ones; the message suggests the nearest.

    Args:
        kind: What was looked up, e.g. ``"policy"``.
        name: The name that was asked for.
        known: The names that exist.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
        self.kind, self.name, self.known = kind, name, names

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, list[str]]]:
        """Rebuild from the constructor's arguments, so that worker processes can send it."""
        return type(self), (self.kind, self.name, self.known)


class MissingExtraError(PlanarArmError, ImportError):
    """An optional dependency is not installed; the message gives the command.

    Args:
        what: What needed it, e.g. ``"rendering"``.
        extra: The extra of planararm that brings it, e.g. ``"render"``.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs an optional dependency: pip install "planararm[{extra}]"')
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Rebuild from the constructor's arguments, so that worker processes can send it."""
        return type(self), (self.what, self.extra)
