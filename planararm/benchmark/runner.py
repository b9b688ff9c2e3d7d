"""Run policies on a suite: resumable, one row at a time on disk."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError, MissingExtraError, PlanarArmError, PolicyError
from ..policies.protocol import IKPolicy
from ..policies.registry import available_policies, make_policy
from .results import ResultsWriter, prepare_folder, read_results
from .rollout import describe_failure, rollout_ik, rollout_tracking, warm_up
from .scoring import Row, score_ik, score_tracking, unsupported_rows
from .suites import load_suite
from .tasks import Suite, TaskGroup


class Progress:
    """Told how a run goes; this one keeps it to itself. Derive from it to show it."""

    def begin(self, policies: Sequence[str], num_tasks: int, num_rows: int, num_done: int) -> None:
        """The run begins.

        Args:
            policies: Names of the policies.
            num_tasks: Tasks for each of them.
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
class Entrant:
    """A policy that takes part.

    Args:
        name: What the results call it; unique.
        source: Anything that :func:`planararm.policies.make_policy` takes.
        options: Its keyword arguments.
    """

    name: str
    source: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, seed: int) -> IKPolicy:
        """The policy; one whose class has an argument ``seed`` is given the run's seed.

        Raises:
            PlanarArmError: It cannot be built; see :func:`planararm.policies.make_policy`.
        """
        try:
            policy = make_policy(self.source, **self.options)
            takes_seed = "seed" in inspect.signature(type(policy)).parameters and "seed" not in self.options
            if takes_seed and isinstance(self.source, str | type):
                policy = make_policy(self.source, seed=seed, **self.options)
        except PlanarArmError:
            raise
        except Exception as cause:
            raise PolicyError(f"Policy {self.name!r} cannot be built: {describe_failure(cause)}") from cause
        return policy


def entrant(source: Any, options: Mapping[str, Any] | None = None) -> Entrant:
    """An entrant named after its source, with its options if it has any: ``name(damping=0.1)``.

    Args:
        source: Name, import path, policy, class, function or agent.
        options: Keyword arguments for its constructor.
    """
    if isinstance(source, Entrant):
        return source
    options = dict(options or {})
    name = source if isinstance(source, str) else str(getattr(source, "__name__", type(source).__name__))
    if options:
        name += f"({', '.join(f'{key}={json.dumps(value, default=str)}' for key, value in options.items())})"
    return Entrant(name, source, options)


def bundled_entrants() -> tuple[list[Entrant], list[tuple[str, str]]]:
    """Every available policy that can be built, and those that cannot, with the reason (a missing extra)."""
    entrants, missing = [], []
    for name in available_policies():
        one = entrant(name)
        try:
            one.build(0)
        except MissingExtraError as error:
            missing.append((name, str(error)))
        else:
            entrants.append(one)
    return entrants, missing


def _unique(entrants: Sequence[Entrant]) -> list[Entrant]:
    named: dict[str, Entrant] = {}
    for one in entrants:
        twin = named.setdefault(one.name, one)
        if twin is not one and (twin.source, dict(twin.options)) != (one.source, dict(one.options)):
            raise InvalidInputError(
                f"Two different policies are called {one.name!r}; name them apart: Entrant('a name', policy)."
            )
    if not named:
        raise InvalidInputError("There is no policy to run; name at least one.")
    return list(named.values())


def _support(policy: IKPolicy, tasks: TaskGroup) -> str | None:
    reason = policy.supports(tasks.scene)
    return None if reason is None else str(reason)


def run_chunk(policy: IKPolicy, name: str, seed: int, suite: Suite, tasks: TaskGroup, names: list[str]) -> list[Row]:
    """Result rows of one policy on some tasks of a group.

    Args:
        policy: The policy.
        name: What the results call it.
        seed: Seed of its randomness.
        suite: The suite, for its name and tolerance.
        tasks: The tasks.
        names: Their names.
    """
    tolerance = suite.tolerance
    if tasks.kind == "ik":
        answered = rollout_ik(policy, tasks)
        return score_ik(suite.name, name, seed, tasks, names, answered, tolerance)
    followed = rollout_tracking(policy, tasks, tolerance=tolerance * tasks.scene.arm.reach)
    return score_tracking(suite.name, name, seed, tasks, names, followed, tolerance)


def _run_group(
    policy: IKPolicy,
    one: Entrant,
    seed: int,
    suite: Suite,
    group: TaskGroup,
    writer: ResultsWriter,
    progress: Progress,
) -> None:
    names = group.task_names
    warm = False
    for chunk in group.chunks():
        tasks = group[chunk]
        if not all((name, one.name, seed) in writer.done for name in names[chunk]):
            reason: str | None = None
            try:
                reason = _support(policy, tasks)
            # A policy that fails to say what it supports is asked to solve: its rows will tell.
            except (Exception, SystemExit):  # noqa: BLE001
                reason = None
            if reason is not None:
                rows = unsupported_rows(suite.name, one.name, seed, tasks, names[chunk], reason)
            else:
                if not warm:
                    warm_up(policy, tasks)
                    warm = True
                rows = run_chunk(policy, one.name, seed, suite, tasks, names[chunk])
            writer.write(rows)
        progress.advance(one.name, group.name, len(tasks))


def run(
    policies: Sequence[Any] | Any,
    suite: str | Suite,
    out_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    fresh: bool = False,
    progress: Progress | None = None,
) -> list[Row]:
    """Score policies on a suite; what the folder already holds is not run again.

    Rows are appended to ``results.jsonl`` as they come. An interrupted run goes on where it stopped when it
    is repeated with the same folder, and policies may be added to a folder later.

    Args:
        policies: Names, import paths, policies, classes, functions, or :class:`Entrant` for a name of your
            own.
        suite: Name of a bundled suite, or a suite.
        out_dir: Folder for the results; created if need be.
        seed: Given to policies that draw random numbers (those with an argument ``seed``). The tasks do not
            depend on it.
        fresh: Throw the folder's results away first.
        progress: Told how the run goes.

    Returns:
        All rows in the folder, those of earlier runs included.

    Raises:
        UnknownNameError: No such suite or policy.
        PolicyError: A policy cannot be built. What it does wrong later costs its own rows only.
        InvalidInputError: The folder holds results of another suite, or no policy was named.
        FileFormatError: The folder's files are unreadable.
    """
    folder = Path(out_dir)
    several = policies if isinstance(policies, list | tuple) else [policies]
    entrants = _unique([entrant(one) for one in several])
    built = [(one, one.build(seed)) for one in entrants]
    tasks = load_suite(suite) if isinstance(suite, str) else suite
    prepare_folder(folder, tasks, [one.name for one in entrants], seed, fresh=fresh)
    progress = progress or Progress()
    with ResultsWriter(folder) as writer:
        names = {name for group in tasks.groups for name in group.task_names}
        wanted = {(name, one.name, seed) for name in names for one in entrants}
        progress.begin([one.name for one in entrants], len(names), len(wanted), len(wanted & writer.done))
        for one, policy in built:
            for group in tasks.groups:
                _run_group(policy, one, seed, tasks, group, writer, progress)
    return read_results(folder)
