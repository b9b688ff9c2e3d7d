"""The command line: ``planararm ...``. Every subcommand imports what it needs inside its function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import PlanarArmError
from . import bench, check, compare, demo, export, list_, play, render, replay, report, train, verify
from .parsing import FAILED, INTERRUPTED

DESCRIPTION = "Inverse kinematics of a planar arm among discs: score policies, watch them, play with them."

EPILOG = """\
examples:
  planararm demo                              score every bundled policy, write a report with pictures
  planararm list                              what there is: policies, suites, scenes, arms, paths ...
  planararm bench closed-form hold            score two policies on the quick suite
  planararm bench my_module:MyPolicy          score your own policy (a class, an object or a function)
  planararm compare torch-mlp projected-mlp   the same tasks, two policies: who is better, and how sure is that
  planararm replay runs/v1-quick ik-hard/00007   watch what the policies did with one task
  planararm verify runs/v1-quick              do the numbers follow from the answers?
  planararm check my_module:MyPolicy          does it keep the contract? with advice
  planararm render --policy closed-form --path star --out star.gif
  planararm play                              a window: the target follows the mouse
  planararm train torch-mlp --arm unit5       train a policy of your own; Ctrl-C and --resume as you like

planararm COMMAND --help tells more. Interrupted runs resume when the same command is repeated.
"""

COMMANDS = (bench, demo, compare, report, replay, export, verify, check, list_, render, play, train)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; parsed arguments have the command's function as ``run``."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="planararm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"planararm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands, common)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments; default: those of the process.

    Returns:
        Exit code: 0 all went well, 1 a checked policy or a verified row failed, 2 an error, 130 interrupted.
    """
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        return int(arguments.run(arguments))
    except PlanarArmError as error:
        if arguments.debug:
            raise
        print(f"planararm: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if arguments.debug:
            raise
        print(f"planararm: cannot read or write: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nplanararm: interrupted.", file=sys.stderr)
        return INTERRUPTED
