"""Results on disk: a manifest, and one JSON line per task x policy x seed, written as it comes."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import FileFormatError, InvalidInputError
from .frame import Results, read_frame, scan, split_task
from .scoring import COLUMNS
from .tasks import Suite

FORMAT = 3
MANIFEST = "manifest.json"
RESULTS = "results.jsonl"
_TAIL = 1 << 16
_MANIFEST = {
    "suite": str,
    "suite_hash": str,
    "num_tasks": int,
    "groups": dict,
    "tolerance": float,
    "columns": dict,
    "policies": list,
    "fingerprints": dict,
    "seeds": list,
    "runs": list,
}
REPORTED_PACKAGES = ("numpy", "scipy", "numba", "gymnasium", "torch")


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


@cache
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


@cache
def package_versions() -> dict[str, str | None]:
    """Versions of the packages that the numbers may depend on; None where one is not installed."""
    packages: dict[str, str | None] = {}
    for name in REPORTED_PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return packages


def environment() -> dict[str, Any]:
    """Versions, hardware and git state of this process."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "planararm": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "packages": package_versions(),
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
            f"{os.fspath(folder)!r} holds no benchmark results: {MANIFEST} is missing. {_instead_of(folder)}"
        ) from cause
    except (OSError, ValueError) as cause:
        raise FileFormatError(f"{os.fspath(path)!r} cannot be read: {cause}") from cause
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise FileFormatError(
            f"{os.fspath(path)!r} has format {found!r}, this version of planararm reads {FORMAT}; "
            "another folder is needed."
        )
    for name, kind in _MANIFEST.items():
        if not isinstance(manifest.get(name), kind):
            raise FileFormatError(f"{os.fspath(path)!r} has no {name!r} as it should be; another folder is needed.")
    return manifest


def _instead_of(folder: Path) -> str:
    """What to name instead of a folder without results."""
    below = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if below:
        return f"Its subfolders have some: {', '.join(os.fspath(path) for path in below)}."
    return "Run `planararm bench --out DIR` first."


def prepare_folder(
    folder: Path,
    suite: Suite,
    fingerprints: Mapping[str, str],
    seeds: Sequence[int],
    *,
    fresh: bool = False,
    redo: bool = False,
) -> dict[str, Any]:
    """Write the folder's manifest, or check that what is there belongs to the same suite and policies.

    Policies and seeds are added to those of earlier runs, so that a leaderboard can grow.

    Args:
        folder: The results folder, :func:`locked`.
        suite: What is run.
        fingerprints: Of every policy, by name; rows of another fingerprint are not mixed in.
        seeds: Seeds of the policies.
        fresh: Remove earlier results first; other files stay.
        redo: Remove the rows of those policies that have changed since.

    Returns:
        The manifest.

    Raises:
        InvalidInputError: The folder holds results of another suite or of an earlier state of a policy.
        FileFormatError: Its manifest is unreadable.
    """
    here = environment()
    if fresh:
        (folder / RESULTS).unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        check_suite(folder, manifest, suite)
        changed = changed_policies(manifest, fingerprints)
        if changed and not redo:
            raise InvalidInputError(
                f"{os.fspath(folder)!r} holds rows of {', '.join(changed)} from before the code, the weights or the "
                "options changed. --redo runs them again, --fresh starts over, --out takes another folder."
            )
        drop_policies(folder, changed)
    elif (folder / RESULTS).exists():
        raise InvalidInputError(f"{os.fspath(folder)!r} has {RESULTS} without {MANIFEST}; choose another --out folder.")
    else:
        manifest = {
            "format": FORMAT,
            "suite": suite.name,
            "suite_hash": suite.content_hash,
            "num_tasks": len(suite),
            "groups": suite.sizes,
            "tolerance": suite.tolerance,
            "columns": COLUMNS,
            "policies": [],
            "fingerprints": {},
            "seeds": [],
            "runs": [],
        }
    manifest["policies"] += [name for name in fingerprints if name not in manifest["policies"]]
    manifest["fingerprints"].update(fingerprints)
    manifest["seeds"] += [seed for seed in seeds if seed not in manifest["seeds"]]
    manifest["runs"].append(here)
    write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def changed_policies(manifest: Mapping[str, Any], fingerprints: Mapping[str, str]) -> list[str]:
    """Names of the policies of which a folder has rows of another state than the present one."""
    known = manifest["fingerprints"]
    return [name for name, value in fingerprints.items() if known.get(name, value) != value]


def check_suite(folder: Path, manifest: dict[str, Any], suite: Suite) -> None:
    """Check that a folder's results are of this suite.

    Raises:
        InvalidInputError: They are of another suite, or of another version of it.
    """
    if manifest["suite"] != suite.name or manifest["suite_hash"] != suite.content_hash:
        raise InvalidInputError(
            f"{os.fspath(folder)!r} holds results of suite {manifest['suite']!r} with the content hash "
            f"{manifest['suite_hash'][:12]}, not of {suite.name!r} with {suite.content_hash[:12]}: their "
            "scores cannot be mixed. Another folder is needed, or a fresh start."
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a results folder, if need be, and keep other runs from writing into it; the end of the process is enough.

    Raises:
        InvalidInputError: It is a file, or another run is writing into it.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"The results folder {os.fspath(folder)!r} is a file; choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        # Not on Windows: there two runs in one folder are the user's to avoid.
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise InvalidInputError(
                f"Another run is writing into {os.fspath(folder)!r}: wait for it, or choose another --out."
            ) from cause
        yield
    finally:
        os.close(handle)


def drop_policies(folder: Path, policies: Sequence[str]) -> None:
    """Rewrite the results without the rows of some policies: wholly or not at all."""
    path = folder / RESULTS
    if not policies or not path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for _, row in scan(path):
                if row["policy"] not in policies:
                    file.write(json.dumps(row, separators=(",", ":")) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def drop_unfinished_line(path: Path) -> None:
    """Cut off a last line without its end, which an interrupted run may leave."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _TAIL)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def read_results(folder: Path) -> Results:
    """All complete rows of a results folder, in the order in which they were written.

    Raises:
        FileFormatError: A line that is no result row.
    """
    return read_frame(Path(folder) / RESULTS)


class ResultsWriter:
    """Appends rows and flushes them, so that an interruption loses at most the chunks in hand.

    Args:
        folder: A folder that :func:`prepare_folder` has prepared.
        suite: The suite, for the sizes of its groups.
    """

    def __init__(self, folder: Path, suite: Suite) -> None:
        path = folder / RESULTS
        self._sizes = suite.sizes
        self._done: dict[tuple[str, int, str], npt.NDArray[np.bool_]] = {}
        drop_unfinished_line(path)
        if path.exists():
            for _, row in scan(path):
                group, number = split_task(row["task"])
                if group in self._sizes and number < self._sizes[group]:
                    self.done(row["policy"], row["seed"], group)[number] = True
        self._file = path.open("a", encoding="utf-8")

    def done(self, policy: str, seed: int, group: str) -> npt.NDArray[np.bool_]:
        """Which tasks of a group have their row."""
        key = (policy, seed, group)
        if key not in self._done:
            self._done[key] = np.zeros(self._sizes[group], dtype=bool)
        return self._done[key]

    def write(self, lines: Iterable[str], policy: str, seed: int, group: str, chunk: slice) -> None:
        """Append those rows of a chunk that are not there yet."""
        done = self.done(policy, seed, group)[chunk]
        self._file.write("".join(line for line, there in zip(lines, done, strict=True) if not there))
        self._file.flush()
        done[:] = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
