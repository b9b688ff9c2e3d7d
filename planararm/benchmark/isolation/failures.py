"""What went wrong in the other process, as exceptions of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import errors
from ...errors import PlanarArmError, PolicyCrashed, PolicyError
from ..calls import describe_failure

MESSAGE_LENGTH = 2000
DETAILS = ("kind", "name", "known", "what", "extra")
"""Attributes of exceptions that are carried with them, so that they can be pickled like those raised here."""


def failure_values(error: BaseException, is_short: bool) -> dict[str, Any]:
    """What was raised, as values of a message.

    Args:
        error: What was raised.
        is_short: Whether the process has little memory left.
    """
    own = isinstance(error, PlanarArmError)
    return {
        "ok": False,
        "described": describe_failure(error),
        "message": _text(error)[:MESSAGE_LENGTH],
        "type": type(error).__name__,
        "own": own,
        "memory": _for_want_of_memory(error),
        "spoiled": is_short,
        "details": {name: getattr(error, name) for name in DETAILS if _is_plain(getattr(error, name, None))}
        if own
        else {},
    }


def _text(error: BaseException) -> str:
    try:
        return str(error)
    # An exception of somebody's may not be able to say what it is.
    except Exception:  # noqa: BLE001
        return type(error).__name__


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def _for_want_of_memory(error: BaseException | None) -> bool:
    """Whether it is a MemoryError, or was raised because of one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def told(error: PolicyError) -> PolicyError:
    """The error, whose rows show its message as it is."""
    error.described = str(error)
    return error


def no_answer(why: object) -> PolicyError:
    """The error for a reply that is none."""
    missing = isinstance(why, KeyError)
    return told(PolicyCrashed(f"its process sent something that is no answer: {'it has no ' * missing}{why}"))


def raised_there(values: Mapping[str, Any], memory_limit: float | None) -> Exception:
    """What was raised in the other process, as an exception of this one.

    Args:
        values: Of :func:`failure_values`, as they arrived.
        memory_limit: GiB, for the message.
    """
    message, described = str(values.get("message")), str(values.get("described"))
    known = getattr(errors, str(values.get("type")), None) if values.get("own") is True else None
    if isinstance(known, type) and issubclass(known, PlanarArmError):
        # Past __init__, which builds the message from values that stayed in the other process.
        own = known.__new__(known, message)
        own.args = (message,)
        own.described = described
        details = values.get("details")
        for name, value in details.items() if isinstance(details, dict) else ():
            if name in DETAILS and _is_plain(value):
                setattr(own, name, value)
        try:
            # Workers pickle what they raise, and these from their attributes.
            own.__reduce__()
        except AttributeError:
            return told(PolicyError(described))
        return own
    if values.get("memory") is True and memory_limit is not None:
        described += f" (its limit is {memory_limit:g} GiB more than after its first answer)"
    return told(PolicyError(described))
