"""``planararm list``."""

from __future__ import annotations

import argparse
from typing import Any

from .parsing import add_command


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    add_command(
        commands, common, "list", run, "list policies, trained weights, suites, scenes, arms, paths and environments"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the names."""
    import gymnasium as gym

    from ..arm import PRESETS
    from ..benchmark.suites import available_suites
    from ..paths import available_paths
    from ..policies import available_policies
    from ..policies.pretrained import list_pretrained
    from ..scene import available_scenes

    environments = sorted(name for name in gym.registry if name.startswith("planararm/"))
    for title, names in (
        ("policies", available_policies()),
        ("weights", list_pretrained()),
        ("suites", available_suites()),
        ("scenes", available_scenes()),
        ("arms", sorted(PRESETS)),
        ("paths", available_paths()),
        ("environments", environments),
    ):
        print(f"{title}:")
        for name in names:
            print(f"  {name}")
    return 0
