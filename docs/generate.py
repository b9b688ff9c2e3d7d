"""Writes docs/environments.md from the environments' docstrings; a test compares the two."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parent / "environments.md"


def _without_roles(text: str) -> str:
    """Sphinx roles as plain code, for readers of Markdown."""
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")


def _section(function: Callable[..., object], name: str) -> list[str]:
    """The lines under a heading of a Google docstring, one paragraph per argument."""
    text = inspect.getdoc(function) or ""
    body = re.search(rf"^{name}:\n((?:    .*\n|\n)*)", text + "\n", flags=re.MULTILINE)
    if body is None:
        raise ValueError(f"{function} has no section {name!r}.")
    joined = re.sub(r"\n        +", " ", body.group(1))
    return [line.strip() for line in joined.splitlines() if line.strip()]


def _rows(function: Callable[..., object]) -> list[str]:
    """One table row per documented argument: name, default, meaning."""
    parameters = inspect.signature(function).parameters
    arguments = (argument.split(": ", 1) for argument in _section(function, "Args"))
    return [f"| `{name}` | `{parameters[name].default!r}` | {meaning} |" for name, meaning in arguments]


def environments_page() -> str:
    """The text of docs/environments.md."""
    from planararm.envs import ArmEnv
    from planararm.envs.config import build_task
    from planararm.registration import ENVIRONMENTS
    from planararm.scene.generator import Dials

    lines = ["# Environments", "", "| id | steps | arguments |", "|---|---|---|"]
    for name, (steps, kwargs) in ENVIRONMENTS.items():
        arguments = ", ".join(f'{key}="{value}"' for key, value in kwargs.items())
        lines.append(f"| `{name}` | {steps} | `{arguments}` |")
    lines += ["", inspect.getdoc(ArmEnv) or "", "", "## Keyword arguments", ""]
    lines += ["All can be given to `gym.make` and `gym.make_vec`.", ""]
    lines += ["| argument | default | meaning |", "|---|---|---|"]
    lines += _rows(build_task)
    lines += ["", "`dials` is a mapping of these; lengths are fractions of the arm's reach:", ""]
    lines += ["| dial | default | meaning |", "|---|---|---|"]
    lines += _rows(Dials)
    lines += ["", "This page is written by `python docs/generate.py`."]
    return _without_roles("\n".join(lines)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(environments_page(), encoding="utf-8")
    print(f"{PAGE} is written.")
