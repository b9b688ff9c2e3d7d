"""How kernels are compiled and run: one decorator, one launcher."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

from ..errors import InvalidInputError

options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

entry: Callable[..., Any] = numba.njit(**options)
"""For the kernels that :func:`launch` runs: compile once, cache on disk, release the GIL, IEEE division.

No fast-math: results must not depend on the machine. Numba compiles anew for read-only arrays: hand over writable ones.
"""

jit: Callable[..., Any] = numba.njit(**{**options, "no_cpython_wrapper": True})
"""For the functions that kernels call; Python cannot call them, which halves their time to compile.

Inside a loop over a batch, call functions of numbers, not of arrays: Numba counts references (atomically) for every
array that it hands to a function or takes a row of, which costs more than the arithmetic on a small arm.
"""

NOTICE_AFTER = 1.0
PATIENCE = 5.0
"""How long an interrupted launch waits for its workers [s]; they were done already if nothing comes."""

STAMP = "planararm-kernels"
_ready: set[int] = set()
_checked: set[str] = set()
_told = False
_workers: tuple[int, list[_Worker]] = (0, [])
_busy = threading.Lock()


def num_cpus() -> int:
    """CPUs that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """Threads that a large batch is spread over: ``PLANARARM_NUM_THREADS``, else the CPUs this process may use.

    Raises:
        InvalidInputError: The variable is set to something else than a whole number >= 1.
    """
    chosen = os.environ.get("PLANARARM_NUM_THREADS")
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise InvalidInputError(f"PLANARARM_NUM_THREADS must be a whole number >= 1, got {chosen!r}.")
        return int(chosen)
    return num_cpus()


def writable(*arrays: Any) -> tuple[Any, ...]:
    """Copies of arrays that may be read-only (arms and obstacles are frozen), for which Numba would compile anew."""
    return tuple(np.array(array) for array in arrays)


def _tell() -> None:
    global _told
    if not _told:
        _told = True
        sys.stderr.write("planararm: compiling what is used for the first time; the next start is fast ...\n")


@contextlib.contextmanager
def _compiling() -> Iterator[None]:
    """Around a first call, which may compile: tell the user (once) when it takes long.

    The compiler makes millions of objects that live on; without the collector going through them again and again
    it takes an eighth less time.
    """
    timer = threading.Timer(NOTICE_AFTER, _tell)
    timer.daemon = True
    timer.start()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        timer.cancel()
        if collecting:
            gc.enable()


class _Worker:
    """A thread that waits for one range at a time; two locks hand it over in half the time of an executor."""

    def __init__(self) -> None:
        self._start, self._end = threading.Lock(), threading.Lock()
        self._start.acquire()
        self._end.acquire()
        self._job: tuple[Callable[..., None], int, int, tuple[Any, ...]] | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="planararm-kernel", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._start.acquire()
            if self._job is None:
                return
            kernel, start, stop, args = self._job
            try:
                kernel(start, stop, *args)
            except BaseException as error:  # noqa: BLE001  (raised again by launch)
                self._error = error
            self._job = None
            self._end.release()

    def begin(self, kernel: Callable[..., None], start: int, stop: int, args: tuple[Any, ...]) -> None:
        self._job = (kernel, start, stop, args)
        self._start.release()

    def end(self) -> BaseException | None:
        """Wait for the range; what went wrong in it."""
        self._end.acquire()
        error, self._error = self._error, None
        return error

    def dismiss(self) -> None:
        """Wait for a range that may still be running, then let the thread end."""
        self._end.acquire(timeout=PATIENCE)
        self._job = None
        self._start.release()


def _crew(size: int) -> list[_Worker]:
    """This process's workers: a forked child does not inherit its parent's threads, so it makes its own."""
    global _workers
    if _workers[0] != os.getpid():
        _workers = (os.getpid(), [])
    while len(_workers[1]) < size:
        _workers[1].append(_Worker())
    return _workers[1][:size]


def _fingerprint() -> str:
    """Of the source of all kernels together."""
    sources = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def drop_stale_cache(folder: str | os.PathLike[str]) -> bool:
    """Empty the folder of compiled kernels if any kernel's source has changed since they were compiled.

    Numba looks only at the file of the outermost function: it would go on running the old code of a function which
    that one calls in another file.

    Args:
        folder: Where Numba keeps what it compiled from this package; nothing else is in it.

    Returns:
        Whether there was something to drop.
    """
    folder = pathlib.Path(folder)
    stamp, now = folder / STAMP, _fingerprint()
    # A folder that cannot be written is none that Numba would have written to.
    with contextlib.suppress(OSError):
        if stamp.exists() and stamp.read_text() == now:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for compiled in [*folder.glob("*.nbi"), *folder.glob("*.nbc")]:
            compiled.unlink(missing_ok=True)
        fresh = folder / f"{STAMP}.{os.getpid()}"
        fresh.write_text(now)
        fresh.replace(stamp)
        return True
    return False


def _prepare(kernel: Callable[..., None]) -> None:
    """Before a kernel's first call: see that its cache is not stale."""
    folder = getattr(getattr(kernel, "stats", None), "cache_path", None)
    if folder is not None and folder not in _checked:
        drop_stale_cache(folder)
        _checked.add(folder)


def launch(
    kernel: Callable[..., None], count: int, *args: Any, grain: int = 256, head_start: int = 0
) -> None:
    """Run ``kernel(start, stop, *args)`` over ``[0, count)``, in parallel where the batch is worth it.

    Args:
        kernel: A function compiled by :data:`entry` that fills arrays among ``args`` for its range.
        count: Batch size.
        *args: Arrays and numbers passed through.
        grain: Smallest range worth a thread of its own.
        head_start: How many elements the calling thread does while the others wake up.
    """
    key = id(kernel)
    if key not in _ready:
        _prepare(kernel)
        with _compiling():
            kernel(0, 0, *args)
        _ready.add(key)
    # The cheap tests first: a single environment comes here every step.
    if count < 2 * grain or (threads := num_threads()) < 2 or not _busy.acquire(blocking=False):
        # (Busy: another thread of the caller's has the workers, this one does its own work.)
        kernel(0, count, *args)
        return
    try:
        parts = min(threads, count // grain)
        edges = [0] + [head_start + (count - head_start) * i // parts for i in range(1, parts + 1)]
        crew = _crew(parts - 1)
        for i, worker in enumerate(crew, start=1):
            worker.begin(kernel, edges[i], edges[i + 1], args)
        kernel(edges[0], edges[1], *args)
        errors = [worker.end() for worker in crew]
    except BaseException:
        # Interrupted (Ctrl-C, say) with workers still busy: the arrays are the caller's again only when they are done.
        _retire()
        raise
    finally:
        _busy.release()
    for error in errors:
        if error is not None:
            raise error


def _retire() -> None:
    """Wait for the workers and let them go; the next launch makes new ones."""
    global _workers
    crew = _workers[1] if _workers[0] == os.getpid() else []
    _workers = (0, [])
    for worker in crew:
        worker.dismiss()


def _release_in_child() -> None:
    """A child forked while the workers were busy must not find them locked for ever."""
    global _busy
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
