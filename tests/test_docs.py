"""What the documentation says is run: code blocks, command lines, links, generated pages."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import pytest

import planararm
from planararm import cli
from planararm.registration import ENVIRONMENTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    found = []
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        line = text[: match.start(2)].count("\n")
        found.append(Block(page, line, match[1], match[2]))
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    (block.page.name, line)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.code.splitlines()
    if line.strip()
]


def label(block: Block) -> str:
    return f"{block.page.name}-{block.line}"


def test_every_block_names_its_language() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", "toml"}
    assert len([block for block in PYTHON if block.page.name == "README.md"]) >= 5


@pytest.mark.parametrize("block", PYTHON, ids=label)
def test_python_block_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a comment behind ``print`` gives a number or a list, that is what is printed, to the digits given."""
    monkeypatch.chdir(tmp_path)
    # Blank lines in front, so that a traceback shows the line of the page.
    code = compile("\n" * block.line + block.code, str(block.page), "exec")
    exec(code, {"__name__": "__main__"})
    printed = capsys.readouterr().out
    for promised in re.findall(r"^print\(.*\) +# (\[?[-\d. ]+\]?):", block.code, flags=re.MULTILINE):
        numbers = re.findall(r"-?\d+\.\d+", printed)
        assert promised in printed or promised in [f"{float(number):.2f}" for number in numbers]


def test_the_readme_s_policy_passes_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (policy,) = [block for block in PYTHON if block.page.name == "README.md" and "def newton" in block.code]
    (tmp_path / "my_policy.py").write_text(policy.code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert len([line for line in policy.code.splitlines() if line.strip()]) <= 10
    assert cli.main(["check", "my_policy:newton"]) == 0, capsys.readouterr()


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "planararm":
        assert callable(cli.make_parser().parse_args(words[1:]).run)
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), line
    else:
        assert words[0] == "make", line
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert words[1] in targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    missing = [
        target
        for target in targets
        if not target.startswith(("https://", "#")) and not (page.parent / target.split("#")[0]).exists()
    ]
    assert not missing


def test_pages_name_every_environment_and_policy() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    policies = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in ENVIRONMENTS)
    assert all(f"| `{name}` |" in policies for name in planararm.available_policies())


def test_the_environments_page_is_that_of_the_docstrings() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.PAGE.read_text(encoding="utf-8") == generate.environments_page(), (
        "docs/environments.md is out of date: python docs/generate.py"
    )


@pytest.mark.parametrize("arguments", [{}, {"arm": "snake10", "num_preview": 4, "max_obstacles": 3}])
def test_the_environments_page_has_the_observation_s_blocks(arguments: dict[str, object]) -> None:
    page = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    table = re.search(r"^\| key \| block .*?\n\n", page, flags=re.MULTILINE | re.DOTALL)
    assert table is not None
    env = gym.make("planararm/Track-v0", **arguments)
    interface = env.unwrapped.interface
    size = {"n": interface.arm.num_joints, "P": interface.num_preview, "M": interface.max_obstacles}
    lengths: dict[str, int] = {}
    key = ""
    for row in table[0].splitlines()[2:]:
        if row:
            name, _, length = (cell.strip(" `") for cell in row.split("|")[1:4])
            key = name or key
            factor, _, symbol = length.rpartition(" ")
            count = int(symbol) if symbol.isdigit() else size[symbol]
            lengths[key] = lengths.get(key, 0) + int(factor or 1) * count
    assert lengths == {key: space.shape[0] for key, space in env.observation_space.items()}


def test_the_design_page_has_the_floors_that_are_enforced() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    enforced = [
        {name.strip(" ()").removeprefix("planararm.") for name in layer.split("|")} for layer in contract["layers"]
    ]
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", page, flags=re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == enforced


def test_the_changelog_has_what_is_coming_or_the_current_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] in ("Unreleased", planararm.__version__)
    assert len(headings) == len(set(headings))
