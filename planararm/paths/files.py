"""Way-points from CSV files.

One way-point per line, ``x,y`` in metres or ``t,x,y`` with increasing times in seconds; an optional first
line with those names; blank lines and lines that begin with ``#`` are skipped::

    x,y
    1.0,0.5
    1.2,0.7
"""

from __future__ import annotations

import csv
import math
import os
import pathlib
from typing import Any

import numpy as np

from ..errors import FileFormatError
from .base import FloatArray
from .checks import MAX_POINTS

MAX_FILE_SIZE = 1_000_000
COLUMNS = (["x", "y"], ["t", "x", "y"])


def read_text(file: str | os.PathLike[str], what: str) -> str:
    """The text of a small UTF-8 file.

    Args:
        file: Its path.
        what: What it should be, for messages, e.g. ``"scene"``.

    Raises:
        FileFormatError: Not there, no regular file, larger than 1 MB, or not UTF-8.
    """
    place = pathlib.Path(file)
    if not place.exists():
        raise FileFormatError(f"No {what} file {str(place)!r}.")
    if not place.is_file():
        raise FileFormatError(f"{str(place)!r} is not a file; a {what} file was expected.")
    try:
        with place.open("rb") as stream:
            data = stream.read(MAX_FILE_SIZE + 1)
    except OSError as cause:
        raise FileFormatError(f"Cannot read {what} file {str(place)!r}: {cause.strerror}.") from cause
    if len(data) > MAX_FILE_SIZE:
        raise FileFormatError(f"{str(place)!r} is larger than {MAX_FILE_SIZE} bytes, the most a {what} file may have.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise FileFormatError(f"{str(place)!r} is not UTF-8 text: byte {cause.start} is not valid.") from cause


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: list[str], where: str, columns: list[str]) -> list[float]:
    if len(cells) != len(columns):
        raise FileFormatError(
            f"{where}: expected {len(columns)} values {','.join(columns)}, got {len(cells)}: {_show(cells)}."
        )
    for name, cell in zip(columns, cells, strict=True):
        if not _is_number(cell):
            raise FileFormatError(f"{where}: {name} must be a number, got {_show([cell])}.")
        if not math.isfinite(float(cell)):
            raise FileFormatError(f"{where}: {name} must be finite, got {_show([cell])}.")
    return [float(cell) for cell in cells]


def _show(cells: list[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _columns(cells: list[str], where: str) -> tuple[list[str], bool]:
    """The columns, and whether the first line is a header."""
    if any(_is_number(cell) for cell in cells):
        if len(cells) not in (2, 3):
            raise FileFormatError(f"{where}: expected x,y or t,x,y separated by commas, got {_show(cells)}.")
        return COLUMNS[len(cells) - 2], False
    names = [cell.lower() for cell in cells]
    if names not in COLUMNS:
        raise FileFormatError(f"{where}: the header must be x,y or t,x,y (or be left out), got {_show(cells)}.")
    return names, True


def read_waypoints(file: str | os.PathLike[str]) -> tuple[FloatArray, FloatArray | None]:
    """Way-points from a CSV file (format in the module's docstring).

    Returns:
        Points ``(k, 2)`` [m], and times ``(k,)`` [s] or None without a column ``t``.

    Raises:
        FileFormatError: Unreadable, larger than 1 MB, malformed (the message has the line), NaN, fewer than 2
            or more than 10,000 points.
    """
    text = read_text(file, "way-point")
    columns: list[str] = []
    rows: list[list[float]] = []
    reader = csv.reader(text.splitlines())
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            where = f"{os.fspath(file)!r}, line {reader.line_num}"
            if not any(cells) or cells[0].startswith("#"):
                continue
            if not columns:
                columns, is_header = _columns(cells, where)
                if is_header:
                    continue
            rows.append(_numbers(cells, where, columns))
            if columns[0] == "t" and len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
                raise FileFormatError(f"{where}: times must increase, got {rows[-1][0]} after {rows[-2][0]}.")
            if len(rows) > MAX_POINTS:
                raise FileFormatError(f"{where}: more than {MAX_POINTS} way-points.")
    except csv.Error as cause:
        raise FileFormatError(f"{os.fspath(file)!r}, line {reader.line_num}: {cause}.") from cause
    if len(rows) < 2:
        raise FileFormatError(f"{os.fspath(file)!r} has {len(rows)} way-point(s); a path needs at least 2.")
    table: Any = np.array(rows)
    return table[:, -2:], table[:, 0] if columns[0] == "t" else None
