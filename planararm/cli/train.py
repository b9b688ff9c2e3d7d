"""``planararm train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .parsing import add_command, whole

EPILOG = """\
examples:
  planararm train torch-mlp                           for the arm unit3, into runs/train/torch-mlp-unit3
  planararm train torch-mlp --arm unit5 --steps 200   a short one, to see whether it works
  planararm train torch-mlp --resume                  go on with the run that was interrupted, killed, or done
  planararm train torch-mlp --init torch-mlp-unit3 --scenes hard --out runs/hard
                                                      begin with trained weights (see planararm list), not random ones
  planararm train projected-mlp --init runs/hard      go on through the projection
  planararm train numpy-mlp                           the network of Duka's paper, in NumPy

Press Ctrl-C whenever you like: a run that is resumed ends like one that was never interrupted. The weights with the
lowest validation score are kept, in DIR/model.safetensors and config.json: make_policy("torch-mlp", weights="DIR").
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    train = add_command(
        commands, common, "train", run, "train a learned policy; can be interrupted and resumed", EPILOG
    )
    train.add_argument("policy", metavar="POLICY", help="torch-mlp, projected-mlp or numpy-mlp")
    train.add_argument("--arm", help="name of the arm (default: unit3; of numpy-mlp: duka)")
    train.add_argument("--scenes", help="training scenes: mixed, clutter, free or hard (default: mixed)")
    train.add_argument("--seed", type=whole, default=0, help="of weights and training data (default: 0)")
    train.add_argument("--steps", type=int, metavar="N", help="steps of the whole run (default: the policy's own)")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: CUDA where there is one)")
    train.add_argument("--out", type=Path, metavar="DIR", help="folder (default: runs/train/POLICY-ARM)")
    train.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    train.add_argument("--fresh", action="store_true", help="throw away the run in the folder, start over")
    train.add_argument("--init", metavar="WEIGHTS", help="weights to begin with: a folder, or a name of planararm list")
    train.add_argument("--threads", type=int, metavar="N", help="threads of PyTorch (default: its own choice)")
    train.add_argument("--validate-every", type=int, metavar="N", help="steps between validations")
    train.add_argument(
        "--patience", type=int, metavar="N", help="stop after N validations without a lower score (default: never)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    from ..learning.command import train_command

    return train_command(arguments)
