"""How kernels are compiled and run: one decorator, one launcher."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numba

jit: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")
"""Compile once, cache on disk, release the GIL, IEEE division; no fast-math: results must not depend on the machine.

Inside a loop over a batch, call functions of numbers, not of arrays: Numba counts references (atomically) for every
array that it hands to a function or takes a row of, which costs more than the arithmetic on a small arm.
"""

NOTICE_AFTER = 1.0
_ready: set[int] = set()
_pool: tuple[int, ThreadPoolExecutor] | None = None
_pool_lock = threading.Lock()


def num_threads() -> int:
    """Threads that a large batch is spread over: ``PLANARARM_NUM_THREADS``, else the CPUs this process may use."""
    chosen = os.environ.get("PLANARARM_NUM_THREADS", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _notice_if_slow() -> Iterator[None]:
    """Tell the user once when a first call takes long: it compiles."""
    message = "planararm: compiling kernels, once per installation; the next start is fast ...\n"
    timer = threading.Timer(NOTICE_AFTER, lambda: sys.stderr.write(message))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _executor() -> ThreadPoolExecutor:
    """The pool of this process: a forked child does not inherit its parent's threads, so it makes its own."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = (os.getpid(), ThreadPoolExecutor(max(1, num_threads() - 1), "planararm-kernel"))
        return _pool[1]


def launch(kernel: Callable[..., None], count: int, *args: Any, grain: int = 256) -> None:
    """Run ``kernel(start, stop, *args)`` over ``[0, count)``, in parallel where the batch is worth it.

    Args:
        kernel: A function compiled by :data:`jit` that fills arrays among ``args`` for its range.
        count: Batch size.
        *args: Arrays and numbers passed through.
        grain: Smallest range worth a thread of its own.
    """
    key = id(kernel)
    if key not in _ready:
        with _notice_if_slow():
            kernel(0, 0, *args)
        _ready.add(key)
    # The cheap test first: a single environment comes here every step.
    parts = min(num_threads(), count // grain) if count >= 2 * grain else 1
    if parts < 2:
        kernel(0, count, *args)
        return
    edges = [count * i // parts for i in range(parts + 1)]
    pool = _executor()
    futures = [pool.submit(kernel, edges[i], edges[i + 1], *args) for i in range(1, parts)]
    kernel(edges[0], edges[1], *args)
    wait(futures)
    for future in futures:
        future.result()
