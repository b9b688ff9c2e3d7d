"""How much memory a policy's process may take."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

GIB = 1 << 30
BUILDING, BEGINNING = 4 * GIB, 1 * GIB
"""Address space on top of the limit while the policy is built, and until its first answer: libraries are loaded."""

SHORT = 0.5
"""Part of the memory that is gone when a failure may be for want of memory, whatever it says."""


class MemoryLimit:
    """Limits what a process may take beyond what it has after its first call; on Linux only.

    What is limited is address space (``RLIMIT_AS``), so that the policy gets a ``MemoryError``, not the machine's
    other processes a visit by the kernel.

    Args:
        gib: GiB; None: no limit.
    """

    def __init__(self, gib: float | None) -> None:
        self._extra = None if gib is None or sys.platform != "linux" else int(gib * GIB)
        self._answered = False
        self._allowed = 0

    def before_build(self) -> None:
        """Leave room for what the policy imports."""
        self._limit(BUILDING)

    def after_build(self) -> None:
        """Leave room for what is loaded at the first call."""
        self._limit(BEGINNING)

    def after_answer(self) -> None:
        """From the first answer on only the extra memory may be taken."""
        if not self._answered:
            self._answered = True
            self._limit(0)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Within it there is no limit."""
        if self._allowed:
            _set_limit(None)
        try:
            yield
        finally:
            if self._allowed:
                _set_limit(self._allowed)

    @property
    def is_short(self) -> bool:
        """Whether much of what may be taken after the first answer has been taken."""
        return self._extra is not None and self._answered and _taken() > self._allowed - (1 - SHORT) * self._extra

    def _limit(self, room: int) -> None:
        if self._extra is not None:
            self._allowed = _taken() + self._extra + room
            _set_limit(self._allowed)


def without_core_dump() -> None:
    """A crash leaves no image of the process in the working folder."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _taken() -> int:
    """Address space of this process, bytes."""
    import resource

    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _set_limit(wanted: int | None) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if wanted is None:
        wanted = hard
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
