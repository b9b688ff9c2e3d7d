"""Run policies on a suite: resumable, chunk by chunk, on one core or on several, with the same numbers."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError, PolicyError
from ..policies.protocol import IKPolicy
from ..validate import whole_number
from .entrants import Entrant, Limits, distinct_entrants
from .frame import Results
from .isolation import IsolatedPolicy
from .results import ResultsWriter, locked, prepare_folder, read_results
from .rollout import rollout_ik, warm_up
from .scoring import Rows, score_ik, score_tracking, unsupported_rows
from .suites import load_suite
from .tasks import Suite, TaskGroup
from .threads import single_threaded
from .tracking import rollout_tracking

MAX_SEED = 2**63 - 1

AHEAD = 32
"""Chunks per process that are handed out before the first of them is written: bounds what is in memory."""


class Progress:
    """Told how a run goes; this one keeps it to itself. Derive from it to show it."""

    def begin(self, policies: Sequence[str], num_tasks: int, num_rows: int, num_done: int) -> None:
        """The run begins.

        Args:
            policies: Names of the policies.
            num_tasks: Rows for each of them.
            num_rows: Rows that the run shall end with.
            num_done: Those of them that are there already.
        """

    def advance(self, policy: str, group: str, count: int) -> None:
        """A chunk of tasks is done, or was done already.

        Args:
            policy: Name of the policy.
            group: Name of the group of tasks.
            count: Number of tasks.
        """


@dataclass(frozen=True)
class Chunk:
    """Some tasks of a group for one policy: what is computed at once, in whatever process.

    Args:
        run: Tells runs apart in a process that serves several.
        entrant: The policy.
        seed: Of its randomness.
        limits: Of policies in a process of their own.
        suite: Name of the suite.
        tolerance: The suite's.
        tasks: The tasks.
        where: Which tasks of the group they are.
        names: Their names.
    """

    run: str
    entrant: Entrant
    seed: int
    limits: Limits
    suite: str
    tolerance: float
    tasks: TaskGroup
    where: slice
    names: list[str]


def run_chunk(policy: IKPolicy, chunk: Chunk) -> Rows:
    """Result rows of a policy on some tasks of a group."""
    tasks, head = chunk.tasks, (chunk.suite, chunk.entrant.name, chunk.seed, chunk.tasks, chunk.names)
    reason = _reason_against(policy, tasks)
    if reason is not None:
        return unsupported_rows(*head, reason)
    if tasks.kind == "ik":
        return score_ik(*head, rollout_ik(policy, tasks), chunk.tolerance)
    return score_tracking(*head, rollout_tracking(policy, tasks), chunk.tolerance)


def _reason_against(policy: IKPolicy, tasks: TaskGroup) -> str | None:
    try:
        reason = policy.supports(tasks.scene)
    # A policy that fails to say what it supports is asked to solve: its rows will tell.
    except (Exception, SystemExit):  # noqa: BLE001
        return None
    return None if reason is None else str(reason)


class Worker:
    """Computes chunks; keeps the policies that it has built, warmed up, and one process of a policy at a time."""

    def __init__(self) -> None:
        self._run = ""
        self._key: tuple[str, int] | None = None
        self._policies: dict[tuple[str, int], IKPolicy] = {}
        self._warm: set[tuple[str, int, str]] = set()
        self._kinds: set[tuple[str, int, str]] = set()
        self._threads = ExitStack()

    def build(self, run: str, entrant: Entrant, seed: int, limits: Limits) -> None:
        """Build a policy, or find out that it cannot be built."""
        if run != self._run:
            self.close()
            self._run = run
        key = (entrant.name, seed)
        if self._key is not None and self._key != key:
            _end_process(self._policies[self._key])
        self._policies[key], self._key = entrant.build(seed, limits), key

    def __call__(self, chunk: Chunk) -> list[str]:
        """The chunk's result rows as lines of JSON."""
        key = (chunk.entrant.name, chunk.seed)
        if chunk.run != self._run or key not in self._policies:
            self.build(chunk.run, chunk.entrant, chunk.seed, chunk.limits)
        if self._key is not None and self._key != key:
            _end_process(self._policies[self._key])
        self._key, policy = key, self._policies[key]
        warm = (*key, chunk.tasks.name)
        if warm not in self._warm:
            self._limit_threads()
            if _reason_against(policy, chunk.tasks) is None:
                kind = (*key, chunk.tasks.kind)
                warm_up(policy, chunk.tasks, first=kind not in self._kinds)
                self._kinds.add(kind)
                # Its first call may have loaded a library with threads of its own.
                self._limit_threads()
            self._warm.add(warm)
        return run_chunk(policy, chunk).lines

    def _limit_threads(self) -> None:
        self._threads.close()
        self._threads.enter_context(single_threaded())

    def close(self) -> None:
        """Forget the policies, and end the process of the one that has one."""
        for policy in self._policies.values():
            _end_process(policy)
        self._policies.clear()
        self._warm.clear()
        self._kinds.clear()
        self._key = None
        self._threads.close()


def _end_process(policy: IKPolicy) -> None:
    """End the process of a policy that has one of its own; it begins anew with the next call."""
    if isinstance(policy, IsolatedPolicy):
        policy.close()


_worker = Worker()


def compute(chunk: Chunk) -> list[str]:
    """The rows of a chunk, in a worker's process."""
    return _worker(chunk)


def begin_worker(parent: int) -> None:
    """Prepare a worker's process: Ctrl-C is for the run's process, and a worker ends when that does.

    Args:
        parent: Number of the run's process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Wait until another process is the parent, because the one that was has been killed; then end at once."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _plan(
    suite: Suite, entrants: Sequence[Entrant], seeds: Sequence[int], limits: Limits, writer: ResultsWriter, run: str
) -> Iterator[Chunk]:
    """The chunks that have rows missing, in the order in which their rows are written."""
    for one in entrants:
        for seed in seeds:
            for group in suite.groups:
                done = writer.done(one.name, seed, group.name)
                for where in group.chunks(suite.chunk_size):
                    if not done[where].all():
                        names = group.task_names(where)
                        yield Chunk(run, one, seed, limits, suite.name, suite.tolerance, group[where], where, names)


def _serial(chunks: Iterator[Chunk], worker: Worker) -> Iterator[tuple[Chunk, list[str]]]:
    for chunk in chunks:
        yield chunk, worker(chunk)


def _parallel(chunks: Iterator[Chunk], jobs: int) -> Iterator[tuple[Chunk, list[str]]]:
    """Chunks on several processes, given back in their order: the file grows as it does with one process.

    Raises:
        MissingExtraError: joblib is not installed.
        PolicyError: A policy took its process down.
    """
    try:
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    except ImportError as cause:
        raise MissingExtraError("--jobs", "report") from cause
    begun = {"initializer": begin_worker, "initargs": (os.getpid(),)}
    with (
        parallel_config(backend="loky", inner_max_num_threads=1, **begun),
        Parallel(jobs, return_as="generator") as parallel,
    ):
        while block := list(islice(chunks, AHEAD * jobs)):
            try:
                yield from zip(block, parallel(delayed(compute)(chunk) for chunk in block), strict=True)
            except TerminatedWorkerError as cause:
                names = ", ".join(dict.fromkeys(chunk.entrant.name for chunk in block))
                raise PolicyError(
                    f"A process died while it ran one of {names}. What was done is kept; --isolate always gives each "
                    "policy a process of its own, in which it costs its own rows only."
                ) from cause


def run(
    policies: Sequence[Any] | Any,
    suite: str | Suite,
    out_dir: str | os.PathLike[str],
    *,
    seed: int | Sequence[int] = 0,
    fresh: bool = False,
    redo: bool = False,
    jobs: int = 1,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Results:
    """Score policies on a suite; what the folder already holds is not run again.

    Rows are appended to ``results.jsonl`` as they come. An interrupted run goes on where it stopped when it
    is repeated with the same folder, and policies may be added to a folder later. The numbers do not depend on
    ``jobs``: chunks are fixed by the suite, and each is computed by one thread.

    Args:
        policies: Names, import paths, model files, policies, classes, functions, or :class:`Entrant` for a name of
            your own.
        suite: Name of a suite, see :func:`planararm.benchmark.suites.load_suite`, or a suite.
        out_dir: Folder for the results; created if need be.
        seed: Given to policies that draw random numbers (those with an argument ``seed``); several: all of them. The
            tasks do not depend on it.
        fresh: Throw the folder's results away first.
        redo: Throw those rows away first whose policies have changed since.
        jobs: Processes.
        limits: Which policies get a process of their own, and what they may take there; default: :class:`Limits`.
        progress: Told how the run goes.

    Returns:
        All rows in the folder, those of earlier runs included.

    Raises:
        UnknownNameError: No such suite or policy.
        PolicyError: A policy cannot be built. What it does wrong later costs its own rows only.
        InvalidInputError: The folder holds results of another suite or of changed policies, or no policy was named.
        FileFormatError: The folder's files are unreadable.
        MissingExtraError: joblib is missing for several jobs.
    """
    folder, limits, progress = Path(out_dir), limits or Limits(), progress or Progress()
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise InvalidInputError(f"jobs must be a whole number >= 1, got {jobs!r}.")
    seeds = [whole_number("seed", value, 0, MAX_SEED) for value in ([seed] if isinstance(seed, int) else seed)]
    seeds = list(dict.fromkeys(seeds))
    if not seeds:
        raise InvalidInputError("There is no seed to run with; name at least one.")
    entrants = distinct_entrants(policies if isinstance(policies, list | tuple) else [policies])
    this = uuid.uuid4().hex
    with ExitStack() as stack:
        worker = Worker()
        stack.callback(worker.close)
        for one in entrants:
            for value in seeds:
                worker.build(this, one, value, limits)
        tasks = load_suite(suite) if isinstance(suite, str) else suite
        stack.enter_context(locked(folder))
        prepare_folder(folder, tasks, {one.name: one.fingerprint for one in entrants}, seeds, fresh=fresh, redo=redo)
        writer = stack.enter_context(ResultsWriter(folder, tasks))
        _announce(progress, tasks, entrants, seeds, writer)
        chunks = _plan(tasks, entrants, seeds, limits, writer, this)
        if jobs > 1:
            worker.close()
        computed = _serial(chunks, worker) if jobs == 1 else _parallel(chunks, jobs)
        for chunk, lines in computed:
            writer.write(lines, chunk.entrant.name, chunk.seed, chunk.tasks.name, chunk.where)
            progress.advance(chunk.entrant.name, chunk.tasks.name, len(lines))
    return read_results(folder)


def _announce(
    progress: Progress, suite: Suite, entrants: Sequence[Entrant], seeds: Sequence[int], writer: ResultsWriter
) -> None:
    """Tell the progress what there is to do, and what was done in earlier runs."""
    per_policy = len(suite) * len(seeds)
    complete = {
        (one.name, group.name): sum(
            len(range(*where.indices(len(group))))
            for seed in seeds
            for where in group.chunks(suite.chunk_size)
            if writer.done(one.name, seed, group.name)[where].all()
        )
        for one in entrants
        for group in suite.groups
    }
    rows_there = sum(
        int(writer.done(one.name, seed, group.name).sum())
        for one in entrants
        for seed in seeds
        for group in suite.groups
    )
    progress.begin([one.name for one in entrants], per_policy, per_policy * len(entrants), rows_there)
    for (policy, group_name), count in complete.items():
        if count:
            progress.advance(policy, group_name, count)
