"""One thread for everything: numbers do not depend on how many cores there are, and times can be compared."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from threadpoolctl import threadpool_limits

OWN = "PLANARARM_NUM_THREADS"


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Within it BLAS, torch and planararm's kernels use one thread each.

    A matrix product may differ in its last bits with the number of threads that share it.
    """
    before = os.environ.get(OWN)
    torch = sys.modules.get("torch")
    torch_threads = torch.get_num_threads() if torch is not None else None
    os.environ[OWN] = "1"
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        if before is None:
            del os.environ[OWN]
        else:
            os.environ[OWN] = before
        if torch is not None and torch_threads is not None:
            torch.set_num_threads(torch_threads)
