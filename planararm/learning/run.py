"""A training run that can be interrupted at any moment and goes on exactly where it was.

What is trained is a :class:`Trainee`. The run owns everything else: checkpoints, validation, the best parameters, the
history, and what is left in the folder at the end::

    config.json, model.safetensors   the parameters with the lowest score (the last of equal ones), for policies
    checkpoint.safetensors           the run itself
    history.jsonl                    loss and scores, one JSON object per line
    learning_curve.png               the same as a picture
"""

from __future__ import annotations

import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import __version__
from ..errors import InvalidInputError, MissingExtraError, PlanarArmError, WeightsError
from ..policies.pretrained import CONFIG, TENSORS, remove_leftovers, save_pretrained, write_atomically
from ..validate import real_number, whole_number
from .checkpoint import CHECKPOINT, Arrays, Checkpoint, Record, Row, read_checkpoint, write_checkpoint
from .interrupts import Interrupts

HISTORY, CURVE = "history.jsonl", "learning_curve.png"
FILES = (TENSORS, CONFIG, HISTORY, CURVE, CHECKPOINT)
NUM_ROWS = 500
"""Rows of the history, about, besides those with a validation."""
MOST = 10**9


class DivergedError(PlanarArmError, ArithmeticError):
    """A loss or a score is not finite: going on would train nothing."""


class Trainee(Protocol):
    """Something that is trained in steps.

    Attributes:
        num_steps: Steps of the whole run; may become fewer on the way.
        step_count: Steps done.
    """

    num_steps: int
    step_count: int

    def step(self) -> dict[str, float]:
        """One step; ``loss``, perhaps ``lr`` and others."""

    def validate(self) -> dict[str, float]:
        """``score`` (lower is better), perhaps others. Must not change what the next steps do."""

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """All that the next steps depend on: arrays, and numbers for JSON."""

    def load_state(self, arrays: Arrays, numbers: dict[str, Any]) -> None:
        """Go back to such a state."""

    def export(self) -> tuple[Arrays, dict[str, Any]]:
        """Weights and config for :func:`planararm.policies.pretrained.save_pretrained`; copies."""


class Progress:
    """What a run tells while it goes on; this one tells nobody."""

    def begin(self, step: int, num_steps: int, seconds: float, best: float | None = None) -> None:
        """The run starts, or goes on, at a step, with the lowest score so far."""

    def stepped(self, step: int, num_steps: int, loss: float) -> None:
        """A step was taken."""

    def validated(self, row: Row, is_best: bool) -> None:
        """A validation was made."""


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        folder: Where everything is.
        step: Steps done.
        reason: ``"steps"``: all were taken; ``"patience"``: the score did not fall any more.
        best: The row of the history with the lowest score.
        seconds: Time spent, interruptions not counted.
        history: All rows.
        curve: The picture; None if there is none.
        notes: What the user should know, one sentence each.
    """

    folder: Path
    step: int
    reason: str
    best: Row
    seconds: float
    history: list[Row] = field(repr=False)
    curve: Path | None = None
    notes: tuple[str, ...] = ()


def open_run(
    folder: str | Path, settings: Mapping[str, Any], *, resume: bool = False, fresh: bool = False
) -> Checkpoint | None:
    """Look at a folder, and make it, before a run.

    Args:
        folder: Where the run is, or will be.
        settings: What makes a run the same one; JSON-able.
        resume: Go on with the run that is there.
        fresh: Remove the run that is there.

    Returns:
        Where to go on; None: at the beginning.

    Raises:
        InvalidInputError: It holds another run, or this one without ``resume``, or none with it, or something else's
            weights; or it cannot be written to. The message says which and what to do.
        WeightsError: Its checkpoint is damaged.
    """
    folder, asked = Path(folder), _plain(settings)
    if resume and fresh:
        raise InvalidInputError("--resume goes on with a run and --fresh throws it away: choose one.")
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"The folder for the run, {str(folder)!r}, is a file; choose another.")
    found = None if fresh else read_checkpoint(folder)
    if found is None and resume:
        raise InvalidInputError(f"Nothing to resume: {str(folder)!r} holds no run; begin one without --resume.")
    if found is not None:
        _refuse_other(folder, found.record, asked, resume)
    elif not fresh and any((folder / name).exists() for name in (TENSORS, CONFIG)):
        raise InvalidInputError(
            f"{str(folder)!r} holds weights without a run, which would be overwritten. Choose another folder, or "
            "--fresh."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        raise InvalidInputError(f"The folder for the run, {str(folder)!r}, cannot be written to: {cause}.") from cause
    return found


def train(
    trainee: Trainee,
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    resume: bool = False,
    fresh: bool = False,
    validate_every: int = 250,
    checkpoint_seconds: float = 30.0,
    patience: int | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Summary:
    """Train, validate, keep the best, and write it down.

    On one thread of a CPU a run that was interrupted and resumed ends with the same bits as one that was not. A
    checkpoint is written at the start, every ``checkpoint_seconds``, at the end, and on Ctrl-C and SIGTERM; a killed
    process loses what it did since the last one.

    Args:
        trainee: What is trained.
        folder: See the module.
        settings: What makes a run the same one, for refusing to mix two; JSON-able.
        resume: Go on with the run in the folder.
        fresh: Remove the run in the folder first.
        validate_every: Steps between validations; the last step is validated too.
        checkpoint_seconds: Seconds between checkpoints; 0: after every step.
        patience: Stop after so many validations in a row without a lower score; None: never.
        progress: Who is told.
        command: What the user called, for config.json.

    Raises:
        InvalidInputError: The folder or a number cannot be used; see :func:`open_run`.
        WeightsError: The checkpoint is damaged, does not fit the trainee, or cannot be written.
        DivergedError: A loss or a score is not finite; the last checkpoint stays.
        KeyboardInterrupt: Ctrl-C, after the checkpoint.
        SystemExit: SIGTERM, after the checkpoint.
    """
    validate_every = whole_number("validate_every", validate_every, 1, MOST)
    if patience is not None:
        patience = whole_number("patience", patience, 1, MOST)
    if checkpoint_seconds != 0:
        checkpoint_seconds = real_number("checkpoint_seconds", checkpoint_seconds, 0.0, MOST)
    found = open_run(folder, settings, resume=resume, fresh=fresh)
    run = _Run(trainee, Path(folder), validate_every, patience, progress or Progress())
    run.begin(found, _plain(settings))
    run.go(checkpoint_seconds)
    return run.finish(command)


class _Run:
    """A run, from its start or from a checkpoint."""

    def __init__(
        self, trainee: Trainee, folder: Path, validate_every: int, patience: int | None, progress: Progress
    ) -> None:
        self.trainee, self.folder, self.progress = trainee, folder, progress
        self.validate_every, self.patience = validate_every, patience
        self.record, self.best = Record({}), Arrays()
        self.started = self.saved = time.monotonic()
        self.saved_step = 0

    def begin(self, found: Checkpoint | None, settings: dict[str, Any]) -> None:
        """Go back to a checkpoint, or make the first one."""
        if found is None:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            self.record = Record(settings, every=max(1, self.trainee.num_steps // NUM_ROWS))
        else:
            self.record, self.best, self.saved_step = found.record, found.best, found.record.step
            try:
                self.trainee.load_state(found.state, self.record.numbers)
            except (KeyError, ValueError, TypeError, RuntimeError) as cause:
                raise WeightsError(
                    f"The checkpoint in {str(self.folder)!r} does not fit what is trained: {cause}."
                ) from cause
        for name in FILES:
            remove_leftovers(self.folder / name)
        lines = "".join(json.dumps(row) + "\n" for row in self.record.history)
        write_atomically(self.folder / HISTORY, lines.encode())
        self.started = time.monotonic() - self.record.seconds
        if found is None:
            self.save()
        best = None if self.record.best is None else self.record.best["score"]
        self.progress.begin(self.record.step, self.trainee.num_steps, self.record.seconds, best)

    def is_over(self) -> bool:
        """Whether all steps are taken, or patience is at its end."""
        return self.trainee.step_count >= self.trainee.num_steps or self._has_waited()

    def _has_waited(self) -> bool:
        return self.patience is not None and self.record.waited >= self.patience

    def go(self, checkpoint_seconds: float) -> None:
        """Take the steps that are left."""
        # Once more where a signal was caught and the caller's handler for it returned.
        while not self.is_over():
            with Interrupts() as interrupts:
                while not self.is_over() and interrupts.caught is None:
                    self.step()
                    if time.monotonic() - self.saved >= checkpoint_seconds:
                        self.save()
                if self.record.step != self.saved_step:
                    self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        self.record.seconds = time.monotonic() - self.started
        state, self.record.numbers = self.trainee.state()
        write_checkpoint(self.folder, Checkpoint(self.record, state, self.best))
        self.saved, self.saved_step = time.monotonic(), self.record.step

    def step(self) -> None:
        """One step, and what is due after it."""
        told = self.trainee.step()
        record, step, num_steps = self.record, self.trainee.step_count, self.trainee.num_steps
        numbers = self._finite(step, told)
        record.step = step
        record.loss_sum += numbers["loss"]
        record.loss_count += 1
        self.progress.stepped(step, num_steps, numbers["loss"])
        validate = step % self.validate_every == 0 or step >= num_steps
        if validate or step % record.every == 0:
            row = {"step": step, **numbers, "loss": record.loss_sum / record.loss_count}
            record.loss_sum, record.loss_count = 0.0, 0
            if validate:
                row |= self._finite(step, self.trainee.validate())
            self._note({**row, "seconds": round(time.monotonic() - self.started, 3)}, validate)

    def _note(self, row: Row, validated: bool) -> None:
        self.record.history.append(row)
        with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if not validated:
            return
        before = math.inf if self.record.best is None else self.record.best["score"]
        # Of equal scores the later one, which was trained longer; patience is not won by it.
        is_best = row["score"] <= before
        self.record.waited = 0 if row["score"] < before else self.record.waited + 1
        if is_best:
            self.best, self.record.best_config = self.trainee.export()
            self.record.best = row
        self.progress.validated(row, is_best)

    def _finite(self, step: int, told: Mapping[str, float]) -> dict[str, float]:
        """The same numbers as Python's own; JSON knows no others."""
        numbers = {name: float(value) for name, value in told.items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"The {name} of step {step} is {value}: the training has diverged. {str(self.folder)!r} keeps "
                    f"the checkpoint of step {self.saved_step}; another seed, or other weights to begin with, may help."
                )
        return numbers

    def finish(self, command: str | None) -> Summary:
        """Write the best parameters and the curve."""
        record = self.record
        if record.best is None:
            raise InvalidInputError(f"The run in {str(self.folder)!r} has no steps, so there is nothing to write.")
        training = {
            "command": command,
            "seed": record.settings.get("seed"),
            "settings": record.settings,
            "steps": record.step,
            "seconds": round(record.seconds, 1),
            "scores": {name: value for name, value in record.best.items() if name != "seconds"},
            "versions": versions(),
        }
        save_pretrained(self.folder, self.best, {**record.best_config, "training": training})
        reason = "steps" if self.trainee.step_count >= self.trainee.num_steps else "patience"
        curve, notes = self._draw()
        return Summary(
            self.folder, record.step, reason, record.best, record.seconds, record.history, curve=curve, notes=notes
        )

    def _draw(self) -> tuple[Path | None, tuple[str, ...]]:
        from .curves import draw_learning_curve

        try:
            return draw_learning_curve(self.record.history, self.folder / CURVE), ()
        except MissingExtraError as error:
            return None, (f"No {CURVE} was drawn. {error}",)


def versions() -> dict[str, str]:
    """Of what the numbers depend on; torch only where it is in use."""
    torch = sys.modules.get("torch")
    found = {"python": platform.python_version(), "numpy": np.__version__, "planararm": __version__}
    return found if torch is None else {**found, "torch": str(torch.__version__)}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back: tuples are lists there."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as cause:
        raise InvalidInputError(f"The settings of a run must be JSON without NaN or infinity: {cause}.") from cause
    return plain


def _refuse_other(folder: Path, there: Record, asked: dict[str, Any], resume: bool) -> None:
    differ = [
        f"{name} {there.settings.get(name)!r} there, {asked.get(name)!r} asked for"
        for name in sorted({*there.settings, *asked})
        if there.settings.get(name) != asked.get(name)
    ]
    if differ:
        raise InvalidInputError(
            f"{str(folder)!r} holds another run ({'; '.join(differ)}). Choose another folder, or --fresh to throw it "
            "away."
        )
    if not resume:
        raise InvalidInputError(
            f"{str(folder)!r} holds this run already, at step {there.step}: --resume goes on, --fresh starts over."
        )
