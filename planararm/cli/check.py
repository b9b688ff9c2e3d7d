"""``planararm check``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from .parsing import add_command, find_modules_here, json_object


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    check = add_command(
        commands, common, "check", run, "check that a policy keeps the contract, with advice; exit code 1 if not"
    )
    check.add_argument(
        "policy", metavar="POLICY", help="a name, an import path module:attribute, or a model file of Stable-Baselines3"
    )
    check.add_argument("--scene", help="name or TOML file of the scene to check in (default: a bundled one)")
    check.add_argument("--policy-kwargs", metavar="JSON", help="options of the policy, as a JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Check, print the report."""
    from ..policies import check_policy, make_policy
    from ..scene import make_scene

    find_modules_here()
    policy = make_policy(arguments.policy, **json_object(arguments.policy_kwargs))
    scene = None if arguments.scene is None else make_scene(arguments.scene)
    report = replace(check_policy(policy, scene), policy=arguments.policy)
    print(report)
    return 0 if report.passed else 1
