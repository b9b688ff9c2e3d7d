"""A training run on disk between two steps: one safetensors file with all arrays and, in its header, all numbers.

One file, replaced as a whole: arrays and numbers cannot be of different steps, whenever the process is killed. Nothing
in it is ever executed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, WeightsError
from ..policies.pretrained import parse_json, write_atomically

FORMAT = 1
CHECKPOINT = "checkpoint.safetensors"
STATE, BEST = "state.", "best."

Arrays = dict[str, npt.NDArray[Any]]
Row = dict[str, Any]


@dataclass
class Record:
    """The numbers of a run.

    Attributes:
        settings: What makes it this run and no other.
        step: Steps done.
        every: Steps per row of the history.
        history: One row per ``every`` steps and per validation.
        loss_sum: Sum of the losses since the last row.
        loss_count: Their number.
        best: The row of the lowest score; None before the first validation.
        best_config: What the trainee exported then.
        waited: Validations since then.
        seconds: Time spent, interruptions not counted.
        numbers: The trainee's own.
    """

    settings: dict[str, Any]
    step: int = 0
    every: int = 1
    history: list[Row] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    best: Row | None = None
    best_config: dict[str, Any] = field(default_factory=dict)
    waited: int = 0
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Checkpoint:
    """A run between two steps.

    Attributes:
        record: Its numbers.
        state: The trainee's arrays.
        best: The exported arrays of the lowest score.
    """

    record: Record
    state: Arrays
    best: Arrays


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint, completely or not at all.

    Raises:
        InvalidInputError: A number that JSON has no word for.
        WeightsError: It cannot be written.
    """
    from safetensors.numpy import save

    arrays = {STATE + name: value for name, value in checkpoint.state.items()}
    arrays |= {BEST + name: value for name, value in checkpoint.best.items()}
    try:
        text = json.dumps({"format": FORMAT, **asdict(checkpoint.record)}, allow_nan=False)
    except (TypeError, ValueError) as cause:
        raise InvalidInputError(f"The numbers of a run must be JSON without NaN or infinity: {cause}.") from cause
    # order="C" and not ascontiguousarray, which turns a single number into an array of one.
    data = save({name: np.array(value, order="C") for name, value in arrays.items()}, {"run": text})
    try:
        write_atomically(folder / CHECKPOINT, data)
    except OSError as cause:
        raise WeightsError(f"The checkpoint cannot be written to {str(folder)!r}: {cause}.") from cause


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint; None if there is none.

    Raises:
        WeightsError: There is one, and it is damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as file:  # type: ignore[no-untyped-call]
            text = (file.metadata() or {}).get("run", "")
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        found = parse_json(text)
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as cause:
        raise WeightsError(f"{str(path)!r} is damaged, or no checkpoint: {cause}. {_ADVICE}") from cause
    return Checkpoint(_record(path, found), _under(STATE, arrays), _under(BEST, arrays))


_ADVICE = "Start over with --fresh, or choose another folder."


def _record(path: Path, found: Any) -> Record:
    known = {item.name for item in fields(Record)}
    if not isinstance(found, dict) or found.get("format") != FORMAT or set(found) != {"format", *known}:
        version = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise WeightsError(f"{str(path)!r} has format {version!r}, this planararm reads {FORMAT}. {_ADVICE}")
    del found["format"]
    record = Record(**found)
    wrong = _wrong(record)
    if wrong is not None:
        raise WeightsError(f"{str(path)!r} is damaged: its {wrong} cannot be {getattr(record, wrong)!r:.80}. {_ADVICE}")
    return record


def _wrong(record: Record) -> str | None:
    """The name of what is of a wrong type or size, if anything is."""
    for name in ("settings", "best_config", "numbers"):
        if not isinstance(getattr(record, name), dict):
            return name
    for name, least in (("step", 0), ("every", 1), ("loss_count", 0), ("waited", 0)):
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            return name
    for name in ("loss_sum", "seconds"):
        if not _is_real(getattr(record, name)):
            return name
    if not isinstance(record.history, list) or not all(_is_row(row) for row in record.history):
        return "history"
    if record.best is not None and not (record.best in record.history and "score" in record.best):
        return "best"
    return None


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and {"step", "loss"} <= set(row) and all(_is_real(value) for value in row.values())


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _under(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
