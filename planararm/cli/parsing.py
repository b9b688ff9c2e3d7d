"""What the commands share: adding themselves to the parser, and reading their arguments."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ..errors import InvalidInputError

FAILED = 2
"""Exit code of an error."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def add_command(
    commands: Any,
    common: argparse.ArgumentParser,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Add a subcommand.

    Args:
        commands: What ``add_subparsers`` returned.
        common: Parser of the options that all commands have.
        name: Of the subcommand.
        run: Is called with the parsed arguments and returns the exit code.
        about: What it does, in one line that begins with a small letter and ends without a full stop.
        epilog: Shown below the options, e.g. examples.
    """
    sub: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        parents=[common],
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(run=run)
    return sub


def whole(text: str) -> int:
    """A whole number >= 0 from the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number >= 0, got {text!r}")
    return int(text)


def json_object(text: str | None) -> dict[str, Any]:
    """The object of ``--policy-kwargs``; none: empty.

    Raises:
        InvalidInputError: No JSON, or not an object.
    """
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as cause:
        raise InvalidInputError(f"--policy-kwargs must be JSON, got {text!r}: {cause}") from cause
    if not isinstance(value, dict):
        raise InvalidInputError(f'--policy-kwargs must be a JSON object like {{"damping": 0.1}}, got {text!r}.')
    return value


def find_modules_here() -> None:
    """Let import paths name modules of the working folder, as ``python -m`` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
