"""``planararm train``: from its arguments to the summary at the end."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from ..arm import PRESETS
from ..errors import InvalidInputError, UnknownNameError
from .checkpoint import CHECKPOINT
from .progress import duration, make_progress
from .recipes import Recipe, find_recipe, make_trainee
from .run import Summary, train
from .scenes import find_mix

DEVICES = ("auto", "cpu", "cuda")
INTERRUPTED = 130
OPTIONS = ("arm", "scenes", "seed", "steps", "device", "out", "init", "threads", "validate_every", "patience")
COUNTS = ("steps", "threads", "validate_every", "patience")


def train_command(arguments: argparse.Namespace) -> int:
    """Train a policy as the command line says.

    Args:
        arguments: ``policy``, those of :data:`OPTIONS` (None: the recipe's), ``resume`` and ``fresh``.

    Returns:
        Exit code: 0, or 130 after Ctrl-C.

    Raises:
        PlanarArmError: What is wrong with the arguments or the folder, or the training diverged.
    """
    recipe = find_recipe(arguments.policy)
    _check(arguments, recipe)
    arm, steps = arguments.arm or recipe.arm, arguments.steps or recipe.steps
    scenes = arguments.scenes or recipe.scenes
    out = arguments.out or Path("runs/train") / f"{arguments.policy}-{arm}"
    settings = {
        "policy": arguments.policy, "arm": arm, "scenes": scenes, "seed": arguments.seed, "steps": steps,
        "init": arguments.init,
    }  # fmt: skip
    progress = make_progress()
    try:
        trainee = make_trainee(arguments.policy, arm, scenes, arguments.seed, steps, arguments.device, arguments.init)
        if arguments.threads is not None:
            _set_threads(arguments.threads)
        with progress:
            summary = train(
                trainee,
                out,
                settings=settings,
                resume=arguments.resume,
                fresh=arguments.fresh,
                validate_every=arguments.validate_every or recipe.validate_every,
                patience=arguments.patience,
                progress=progress,
                command=shlex.join(_words(arguments)),
            )
    except KeyboardInterrupt:
        _say_how_to_go_on(arguments, out, progress.step)
        return INTERRUPTED
    except SystemExit:
        _say_how_to_go_on(arguments, out, progress.step)
        raise
    print_summary(arguments.policy, arm, summary)
    return 0


def _check(arguments: argparse.Namespace, recipe: Recipe) -> None:
    for name in COUNTS:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InvalidInputError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
    if arguments.arm is not None and arguments.arm not in PRESETS:
        raise UnknownNameError("arm", arguments.arm, PRESETS)
    if arguments.scenes is not None:
        find_mix(arguments.scenes)
    if arguments.device not in DEVICES:
        raise UnknownNameError("device", arguments.device, DEVICES)
    if arguments.threads is not None and recipe.extra != "torch":
        raise InvalidInputError(
            f"--threads is for policies trained in PyTorch. {arguments.policy} is not: set the environment variable "
            "OMP_NUM_THREADS instead."
        )


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _words(arguments: argparse.Namespace) -> list[str]:
    """The command that does the same, without --resume and --fresh."""
    words = ["planararm", "train", arguments.policy]
    for name in OPTIONS:
        value = getattr(arguments, name)
        if value is not None and (name, value) not in (("seed", 0), ("device", "auto")):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _say_how_to_go_on(arguments: argparse.Namespace, out: Path, step: int) -> None:
    if not (out / CHECKPOINT).exists():
        print("\nplanararm: interrupted before the first step; nothing is kept.", file=sys.stderr)
        return
    print(f"\nplanararm: interrupted at step {step}. {out} keeps what was done; to go on:", file=sys.stderr)
    print(f"  {shlex.join([*_words(arguments), '--resume'])}", file=sys.stderr)


def print_summary(policy: str, arm: str, summary: Summary) -> None:
    """Print how a run ended and how to use what came out.

    Args:
        policy: The policy's name.
        arm: The arm's name.
        summary: What :func:`planararm.learning.run.train` returned.
    """
    why = {"steps": "all steps taken", "patience": "stopped, the score did not fall any more"}[summary.reason]
    print(f"{policy} for {arm}: {why}; {summary.step} steps in {duration(summary.seconds)}")
    print()
    for line in _table(summary):
        print(line)
    print()
    for note in summary.notes:
        print(f"planararm: {note}", file=sys.stderr)
    folder = str(summary.folder)
    print(f"The weights are those of step {summary.best['step']}, in {folder}.")
    if summary.curve is not None:
        print(f"Learning curve: {summary.curve}")
    print("To use them:")
    print(f"  make_policy({json.dumps(policy)}, weights={json.dumps(folder)})")
    print(f"  {shlex.join(['planararm', 'bench', policy, '--policy-kwargs', json.dumps({'weights': folder})])}")


def _table(summary: Summary) -> list[str]:
    """What was validated: at first, best, at last; lower is better."""
    validated = [row for row in summary.history if "score" in row]
    told = {"first": validated[0], "best": summary.best, "last": validated[-1]}
    hidden = {"step", "loss", "lr", "seconds", "score", "mu", "network"}
    names = ["step", "loss", "score", *(name for name in validated[-1] if name not in hidden)]
    lines = [f"{'':12}" + "".join(f"{column:>12}" for column in told)]
    for name in names:
        cells = "".join(f"{_number(row.get(name)):>12}" for row in told.values())
        lines.append(f"{name:12}{cells}")
    return lines


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else "" if value is None else f"{value:.4g}"
