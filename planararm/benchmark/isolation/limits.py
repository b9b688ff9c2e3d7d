"""How much memory a policy's process may take."""

from __future__ import annotations

import sys
from pathlib import Path

GIB = 1 << 30
BUILDING, BEGINNING = 4 * GIB, 1 * GIB
"""Address space on top of the limit while the policy is built, and until its first answer: libraries are loaded."""


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

    def _limit(self, room: int) -> None:
        if self._extra is None:
            return
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        wanted = pages * resource.getpagesize() + self._extra + room
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
