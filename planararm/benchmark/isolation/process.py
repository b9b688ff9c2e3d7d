"""The other process as its parent sees it: started, asked, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

from .messages import BadFrame, Message, receive

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PLANARARM_NUM_THREADS",
)
HOST = "import sys; from planararm.benchmark.isolation.host import main; main(die_with_parent=sys.argv[1] == 'True')"
FAREWELL = 1.0
"""Seconds that a process which has closed its pipes may take to end before it is killed."""

LOOK = 0.2
"""Seconds between looks at whether the process is still there: its own children may hold its pipes open."""

_CHUNK = 1 << 16


class TooLate(Exception):
    """The deadline has passed."""


def import_paths() -> list[str]:
    """``sys.path`` as it is, the working folder by its name; at the end, if it is not in it."""
    here = os.getcwd()
    paths = [path or here for path in sys.path]
    return paths if here in paths else [*paths, here]


def _standard_first(paths: list[str]) -> list[str]:
    """Those of Python itself first: a ``random.py`` beside somebody's policy is not for the libraries."""
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    own = standard | {str(Path(path) / "lib-dynload") for path in standard}
    return sorted(paths, key=lambda path: path not in own)


class HostProcess:
    """The process of a policy, and the pipes to it."""

    def __init__(self) -> None:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(_standard_first(import_paths()))
        # The kernel takes the end of the thread that has started a process for the end of its parent.
        outlived = threading.current_thread() is threading.main_thread()
        # A session of its own: Ctrl-C is for this process, which ends the other one.
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-c", HOST, str(outlived)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._parent = os.getpid()
        self._to, self._from = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._to, select.POLLOUT)
        self._readable.register(self._from, select.POLLIN)
        self._read_ahead = bytearray()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def is_own(self) -> bool:
        """Whether this process has started it, rather than one that this is a fork of."""
        return self._parent == os.getpid()

    def ask(self, request: bytes, deadline: float, most: int) -> Message:
        """Send a request, wait for the reply.

        Args:
            request: A message.
            deadline: Of ``time.monotonic()`` [s].
            most: Bytes that the arrays of the reply may have.

        Raises:
            TooLate: The deadline has passed.
            BrokenPipeError: The process has ended.
            BadFrame: The reply is none, or there was one before the question.
        """
        if self._read_ahead or any(event & select.POLLIN for _, event in self._readable.poll(0)):
            raise BadFrame("it came before the question")
        self._send(memoryview(request), deadline)
        return receive(lambda size: self._take(size, deadline), most)

    def _wait(self, poll: select.poll, deadline: float) -> None:
        while True:
            left = deadline - time.monotonic()
            # Rounded up: a wait of less than a millisecond would be none.
            if poll.poll(int(1e3 * min(max(left, 0.0), LOOK)) + 1):
                return
            if left <= 0:
                raise TooLate
            if self._popen.poll() is not None and not poll.poll(0):
                raise BrokenPipeError

    def _send(self, content: memoryview, deadline: float) -> None:
        while content:
            try:
                content = content[os.write(self._to, content) :]
            except BlockingIOError:
                self._wait(self._writable, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._read_ahead) < size:
            self._wait(self._readable, deadline)
            part = os.read(self._from, _CHUNK)
            if not part:
                raise BrokenPipeError
            self._read_ahead += part
        taken = bytes(memoryview(self._read_ahead)[:size])
        del self._read_ahead[:size]
        return taken

    def farewell(self) -> str:
        """How it ended, once it has closed its pipes."""
        try:
            code = self._popen.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            return "it closed its pipes"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"signal {signal.Signals(-code).name}"
        return f"exit code {abs(code)}"

    def end(self) -> None:
        """End it, and all that it has started; in a fork of this process only the pipes are closed."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        if not self.is_own:
            # It is not this process's to wait for.
            self._popen.returncode = 0
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
