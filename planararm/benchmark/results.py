"""Results on disk: a manifest, and one JSON line per task x policy x seed, written as it comes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .. import __version__
from ..errors import FileFormatError, InvalidInputError
from .scoring import COLUMNS, Row
from .tasks import Suite

FORMAT = 1
MANIFEST = "manifest.json"
RESULTS = "results.jsonl"
REPORTED_PACKAGES = ("numpy", "scipy", "numba", "gymnasium", "torch")
Key = tuple[str, str, int]
"""What identifies a row: task, policy, seed."""


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: to a temporary file beside it, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """:func:`write_bytes_atomically` of UTF-8 text."""
    write_bytes_atomically(path, text.encode("utf-8"))


def key_of(row: Row) -> Key:
    """Task, policy and seed of a row."""
    return row["task"], row["policy"], row["seed"]


def cpu_name() -> str:
    """The processor's name, as far as the platform tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that planararm runs from and whether it has changes; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """Versions, hardware and git state of this process."""
    packages: dict[str, str | None] = {}
    for name in REPORTED_PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "planararm": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "packages": packages,
        "git": git_state(),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder.

    Raises:
        FileFormatError: There is none, or it is no manifest of this format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise FileFormatError(
            f"{os.fspath(folder)!r} holds no benchmark results: {MANIFEST} is missing. "
            "Run `planararm bench --out DIR` first."
        ) from cause
    except (OSError, ValueError) as cause:
        raise FileFormatError(f"{os.fspath(path)!r} cannot be read: {cause}") from cause
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise FileFormatError(
            f"{os.fspath(path)!r} has format {found!r}, this version of planararm reads {FORMAT}; "
            "choose another --out folder."
        )
    return manifest


def prepare_folder(
    folder: Path, suite: Suite, policies: list[str], seed: int, *, fresh: bool = False
) -> dict[str, Any]:
    """Create the folder and its manifest, or check that what is there belongs to the same suite.

    Policies and seeds are added to those of earlier runs, so that a leaderboard can grow.

    Args:
        folder: The results folder.
        suite: What is run.
        policies: Names of the policies.
        seed: Seed of the policies.
        fresh: Remove earlier results first; other files stay.

    Returns:
        The manifest.

    Raises:
        InvalidInputError: The folder holds results of another suite, or is a file.
        FileFormatError: Its manifest is unreadable.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"The results folder {os.fspath(folder)!r} is a file; choose another --out.")
    here = environment()
    if fresh:
        (folder / RESULTS).unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        if manifest["suite"] != suite.name or manifest["suite_hash"] != suite.content_hash:
            raise InvalidInputError(
                f"{os.fspath(folder)!r} holds results of suite {manifest['suite']!r} with the content hash "
                f"{manifest['suite_hash'][:12]}, not of {suite.name!r} with {suite.content_hash[:12]}: their "
                "scores cannot be mixed. Choose another --out folder, or --fresh."
            )
    elif (folder / RESULTS).exists():
        raise InvalidInputError(f"{os.fspath(folder)!r} has {RESULTS} without {MANIFEST}; choose another --out folder.")
    else:
        manifest = {
            "format": FORMAT,
            "suite": suite.name,
            "suite_hash": suite.content_hash,
            "num_tasks": len(suite),
            "tolerance": suite.tolerance,
            "columns": COLUMNS,
            "policies": [],
            "seeds": [],
            "runs": [],
        }
    manifest["policies"] += [name for name in policies if name not in manifest["policies"]]
    manifest["seeds"] += [seed] if seed not in manifest["seeds"] else []
    manifest["runs"].append(here)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def drop_unfinished_line(path: Path) -> None:
    """Cut off a last line without its end, which an interrupted run may leave."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        with path.open("r+b") as file:
            file.truncate(complete)


def read_results(folder: Path) -> list[Row]:
    """All complete rows of a results folder, in the order in which they were written.

    Raises:
        FileFormatError: A line that is no result row.
    """
    path = folder / RESULTS
    if not path.exists():
        return []
    rows = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError as cause:
            raise FileFormatError(f"{os.fspath(path)!r}, line {number} is not JSON: {cause}") from cause
        if not isinstance(row, dict) or set(row) != set(COLUMNS):
            raise FileFormatError(f"{os.fspath(path)!r}, line {number} does not have the columns of a result row.")
        rows.append(row)
    return rows


class ResultsWriter:
    """Appends rows and flushes them, so that an interruption loses at most the chunk in hand.

    Args:
        folder: A folder that :func:`prepare_folder` has prepared.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESULTS
        drop_unfinished_line(self._path)
        self.done: set[Key] = {key_of(row) for row in read_results(folder)}
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, rows: Iterable[Row]) -> None:
        """Append the rows that are not there yet."""
        new = [row for row in rows if key_of(row) not in self.done]
        self._file.write("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in new))
        self._file.flush()
        self.done.update(key_of(row) for row in new)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
