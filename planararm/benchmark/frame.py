"""Result rows as columns: a million of them fit into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError
from .scoring import COLUMNS, Row

TEXTS = ("suite", "kind", "label", "policy", "arm", "outcome", "message")
WHOLE = ("seed", "scene", "num_obstacles", "truth")
FLAGS = ("claimed", "valid", "collision")
LONG = ("q", "nominal_q")
"""Columns that stay in the file."""

NUMBERS = tuple(name for name in COLUMNS if name not in (*TEXTS, *WHOLE, *FLAGS, *LONG, "task", "motion"))
_BLOCK, _AT_ONCE = 4096, 256
"""Rows that become arrays at once, and lines that are decoded at once: those of paths are long."""


class Results:
    """The rows of a run, by column.

    ``results["error"]`` is an array with one entry per row: objects for text (None where null), int64 for
    ``seed``, ``scene``, ``num_obstacles``, ``truth`` and ``number``, int8 for ``claimed``, ``valid`` and ``collision``
    (-1 where null), float64 for the rest (NaN where null). A task's name is split into ``group`` and ``number``;
    the joint angles ``q`` and ``nominal_q`` stay in the file, :meth:`rows` reads them.

    Args:
        columns: One array per column.
        offsets: ``(N,)`` where each row begins in the file, or its number in ``source``.
        source: The file, or the rows themselves.
        which: Numbers of the rows that these results are; None: all. Columns are shared, not copied.
    """

    def __init__(
        self,
        columns: dict[str, npt.NDArray[Any]],
        offsets: npt.NDArray[np.int64],
        source: Path | Sequence[Row],
        which: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._columns, self._offsets, self._source, self._which = columns, offsets, source, which

    def __len__(self) -> int:
        return len(self._offsets if self._which is None else self._which)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name == "task":
            pairs = zip(self["group"], self["number"], strict=True)
            return np.array([task_name(group, number) for group, number in pairs], dtype=object)
        return self._columns[name] if self._which is None else self._columns[name][self._which]

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    @property
    def folder(self) -> Path | None:
        """Where the rows lie; None if they are in memory."""
        return self._source.parent if isinstance(self._source, Path) else None

    @property
    def policies(self) -> list[str]:
        """Names of the policies in the order in which they appear."""
        return distinct(self["policy"])

    def select(self, which: Any) -> Results:
        """Some of the rows.

        Args:
            which: Boolean mask ``(N,)``, or numbers of rows.
        """
        all_of_them = np.arange(len(self._offsets)) if self._which is None else self._which
        return Results(self._columns, self._offsets, self._source, all_of_them[which])

    def rows(self, indices: Iterable[int] | None = None) -> Iterator[Row]:
        """Whole rows, joint angles included, in the form in which they are stored.

        Args:
            indices: Numbers of rows; default: all.
        """
        offsets = self._offsets if self._which is None else self._offsets[self._which]
        if indices is not None:
            offsets = offsets[np.asarray(list(indices), dtype=np.int64)]
        if not isinstance(self._source, Path):
            yield from (self._source[int(i)] for i in offsets)
        elif offsets.size:
            with self._source.open("rb") as file:
                for offset in offsets:
                    file.seek(int(offset))
                    yield json.loads(file.readline())

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> Results:
        """Rows that are in memory."""
        reader = _Reader()
        for i, row in enumerate(rows):
            reader.add(row, i)
        return cls(*reader.finish(), rows)


def task_name(group: str, number: int) -> str:
    """Name of a task: its group's and its number."""
    return f"{group}/{number:05d}"


def split_task(name: str) -> tuple[str, int]:
    """Group and number of a task."""
    group, _, number = name.rpartition("/")
    return group, int(number)


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different values in the order in which they appear."""
    return list(dict.fromkeys(values))


def codes(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Number every value by its first appearance.

    Returns:
        ``(N,)`` numbers, and the value that each number stands for.
    """
    known: dict[Any, int] = {}
    numbers = np.fromiter((known.setdefault(value, len(known)) for value in values.tolist()), np.int64, len(values))
    return numbers, list(known)


def mean_per_task(results: Results, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean of the values of each task: the rows of several seeds are one value.

    Args:
        results: Rows of one policy.
        values: ``(N,)`` or ``(N, k)``, one per row.

    Returns:
        ``(T,)`` or ``(T, k)``, tasks by group (in order of appearance) and number.
    """
    values = np.asarray(values, dtype=np.float64)
    group, _ = codes(results["group"])
    number = results["number"]
    task = group * (int(number.max(initial=0)) + 1) + number
    _, first, inverse, counts = np.unique(task, return_index=True, return_inverse=True, return_counts=True)
    if (counts == 1).all():
        return values[first]
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, inverse, values)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)))


def shared_scenes(results: Results) -> npt.NDArray[np.int64] | None:
    """Which tasks share their discs, for intervals that do not take them for independent.

    Returns:
        ``(N,)`` a number per row, equal for tasks of the same scene and for the seeds of a task; None if no tasks
        share one. Where all tasks of a group are of one scene, it is that scene that the score is about: they count
        as sharing nothing.
    """
    group, names = codes(results["group"])
    number, scene = results["number"], results["scene"]
    stride = 1 + max(int(number.max(initial=0)), int(scene.max(initial=0)))
    alone = group * stride + number
    labels = group * stride + scene
    for i in range(len(names)):
        here = group == i
        if (scene[here] == scene[here][0]).all():
            labels[here] = alone[here]
    return None if len(np.unique(labels)) == len(np.unique(alone)) else labels


class _Reader:
    """Collects rows block by block."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._blocks: list[dict[str, npt.NDArray[Any]]] = []
        self._offsets: list[int] = []
        self._rows: list[Row] = []
        self._all_offsets: list[npt.NDArray[np.int64]] = []

    def add(self, row: Row, offset: int) -> None:
        self._rows.append(row)
        self._offsets.append(offset)
        if len(self._rows) == _BLOCK:
            self._close()

    def _text(self, values: Iterable[str | None]) -> npt.NDArray[Any]:
        """Equal strings are one object."""
        known = self._known
        return _objects([None if text is None else known.setdefault(text, text) for text in values])

    def _close(self) -> None:
        rows = self._rows
        block: dict[str, npt.NDArray[Any]] = {name: self._text(row[name] for row in rows) for name in TEXTS}
        block["motion"] = self._text(row["motion"] for row in rows)
        tasks = [split_task(row["task"]) for row in rows]
        block["group"] = self._text(group for group, _ in tasks)
        block["number"] = np.array([number for _, number in tasks], dtype=np.int64)
        for name in WHOLE:
            block[name] = np.array([row[name] for row in rows], dtype=np.int64)
        for name in FLAGS:
            block[name] = np.array([-1 if row[name] is None else row[name] for row in rows], dtype=np.int8)
        for name in NUMBERS:
            block[name] = np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        self._blocks.append(block)
        self._all_offsets.append(np.array(self._offsets, dtype=np.int64))
        self._rows, self._offsets = [], []

    def finish(self) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
        self._close()
        columns = {name: np.concatenate([block[name] for block in self._blocks]) for name in self._blocks[0]}
        return columns, np.concatenate(self._all_offsets)


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def scan(path: Path) -> Iterator[tuple[int, Row]]:
    """All complete lines of a results file with the offsets at which they begin.

    Raises:
        FileFormatError: A line that is no result row.
    """
    columns = set(COLUMNS)
    offset, number = 0, 0
    with path.open("rb") as file:
        while lines := [line for line in islice(file, _AT_ONCE) if line.endswith(b"\n")]:
            for line, row in zip(lines, _decoded(path, lines, number), strict=True):
                number += 1
                if not isinstance(row, dict) or row.keys() != columns:
                    raise FileFormatError(
                        f"{os.fspath(path)!r}, line {number} does not have the columns of a result row."
                    )
                if not _is_named(row):
                    raise FileFormatError(
                        f"{os.fspath(path)!r}, line {number} does not name a task, a policy and a seed."
                    )
                yield offset, row
                offset += len(line)


def _decoded(path: Path, lines: Sequence[bytes], before: int) -> list[Any]:
    """The values of some lines of JSON: all at once, which takes half the time, or one by one if a line is wrong.

    Raises:
        FileFormatError: A line is no JSON.
    """
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
        if len(values) == len(lines):
            return list(values)
    except ValueError:
        pass
    one_by_one = []
    for number, line in enumerate(lines, start=before + 1):
        try:
            one_by_one.append(json.loads(line))
        except ValueError as cause:
            raise FileFormatError(f"{os.fspath(path)!r}, line {number} is not JSON: {cause}") from cause
    return one_by_one


def _is_named(row: Row) -> bool:
    """Whether what identifies a row is of the right types."""
    task, policy, seed = row["task"], row["policy"], row["seed"]
    texts = isinstance(task, str) and isinstance(policy, str) and type(seed) is int
    return texts and task.rpartition("/")[2].isdecimal()


def read_frame(path: Path) -> Results:
    """The rows of a results file; an unfinished last line is left out.

    Raises:
        FileFormatError: A line that is no result row, or has values of another type.
    """
    reader = _Reader()
    if path.exists():
        try:
            for offset, row in scan(path):
                reader.add(row, offset)
            columns, offsets = reader.finish()
        except (TypeError, ValueError, AttributeError, OverflowError) as cause:
            if isinstance(cause, FileFormatError):
                raise
            raise FileFormatError(f"{os.fspath(path)!r} has a row with values of a wrong type: {cause}") from cause
        return Results(columns, offsets, path)
    return Results(*reader.finish(), path)
