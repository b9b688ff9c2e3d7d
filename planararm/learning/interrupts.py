"""Ctrl-C and SIGTERM that wait until a step is complete."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

TERMINATED = 128 + int(signal.SIGTERM)


class Interrupts:
    """Signals wait until a step is complete: half a step cannot be resumed. As a context.

    Ctrl-C (SIGINT) and SIGTERM set :attr:`caught`; what they ask for happens when the context is left: the caller's own
    handler is called, or else ``KeyboardInterrupt`` or ``SystemExit`` is raised. A second signal does not wait. Outside
    the main thread Python delivers no signals, and nothing is changed.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # What is ignored (a job in the background) stays ignored; None: a handler that is not Python's.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.caught is None or error is not None:
            return
        if self.caught == signal.SIGTERM and self._before[self.caught] is signal.SIG_DFL:
            # The default would end the process here and now, with nothing tidied up.
            raise SystemExit(TERMINATED)
        signal.raise_signal(self.caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = number
