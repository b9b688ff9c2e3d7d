"""Write the replay of a single task."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import FileFormatError, InvalidInputError, UnknownNameError
from ...metrics import Outcome
from ..frame import Results, split_task
from ..results import write_text_atomically
from ..tasks import Suite
from .page import find_folders, read_run, render
from .payload import Run
from .replays import Arms, replay_payload
from .words import REPLAY_SETS

MOST_FRAMES = 1000
_NAME = re.compile(r".+/\d{1,9}")


def _check_task(task: str, suite: Suite) -> str:
    """The task's full name; a number may be written without leading zeros."""
    groups = {group.name: group for group in suite.groups}
    if not _NAME.fullmatch(task):
        raise UnknownNameError("task", task, [f"{name}/{len(group) - 1:05d}" for name, group in groups.items()])
    name, number = split_task(task)
    if name not in groups:
        known = {f"{other}/{number:05d}" for other, group in groups.items() if number < len(group)}
        raise UnknownNameError("task", task, known or [f"{other}/00000" for other in groups])
    if number >= len(groups[name]):
        raise InvalidInputError(
            f"There is no task {task!r}: group {name!r} of {suite.name!r} has the numbers 0 to {len(groups[name]) - 1}."
        )
    return f"{name}/{number:05d}"


def _choose(results: Results, policies: Sequence[str] | None) -> list[str]:
    names = results.policies
    for policy in policies or ():
        if policy not in names:
            raise UnknownNameError("policy in these results", policy, names)
    return list(dict.fromkeys(policies or names))


def _run_with(folder: str | os.PathLike[str], task: str, suite: Suite | None) -> Run:
    """The results that hold the task: of the folder, or of the one of its subfolders whose suite has the group."""
    found = find_folders(folder)
    if len(found) == 1:
        return read_run(found[0], suite)
    runs = [read_run(one) for one in found]
    having = [run for run in runs if any(group.name == task.rpartition("/")[0] for group in run.suite.groups)]
    if len(having) > 1:
        raise InvalidInputError(
            f"Several suites have a task {task!r}: name the folder of one, "
            f"{' or '.join(repr(os.fspath(run.folder)) for run in having)}."
        )
    if not having:
        raise UnknownNameError("task", task, [f"{group.name}/00000" for run in runs for group in run.suite.groups])
    return having[0]


def write_replay(
    folder: str | os.PathLike[str],
    task: str,
    policies: Sequence[str] | None = None,
    *,
    suite: Suite | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a small self-contained page that replays what policies did with one task.

    Args:
        folder: A folder with results, or one whose subfolders hold them.
        task: The task's name, e.g. ``"ik-clutter/00012"``.
        policies: Names of policies; default: all in the results.
        suite: The suite that was run; default: the one that the manifest names.
        out: The page; default: ``replay-`` and the task's name in the folder of the results.

    Returns:
        The page's path.

    Raises:
        FileFormatError: No results, none of this task yet, or they cannot be read.
        UnknownNameError: There is no such group of tasks, or no such policy in the results.
        InvalidInputError: The group has no task of that number, several suites have it, or the suite is not the one
            that was run.
        MissingExtraError: jinja2 is not installed.
    """
    run = _run_with(folder, task, suite)
    name = _check_task(task, run.suite)
    chosen = _choose(run.results, policies)
    results = run.results.select([policy in chosen for policy in run.results["policy"].tolist()])
    arms = Arms()
    numbered = {policy: i for i, policy in enumerate(chosen)}
    replays = replay_payload(results, run.suite, {"chosen": [name]}, numbered, arms, MOST_FRAMES)
    if not replays:
        raise FileFormatError(
            f"{os.fspath(run.folder)!r} has no answers to {name!r} by {', '.join(chosen)}: "
            f"they have not been run, or are {Outcome.UNSUPPORTED}."
        )
    payload = {
        "policies": chosen,
        "suites": [{"name": run.suite.name, "replays": replays}],
        "arms": arms.payload(),
        "replay_sets": REPLAY_SETS,
    }
    page = render("replay.html.jinja", payload, title=name, suite=run.suite.name)
    path = Path(out) if out is not None else run.folder / f"replay-{name.replace('/', '-')}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, page)
    return path
