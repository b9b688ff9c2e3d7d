"""Write the report of one or several results folders."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, InvalidInputError, MissingExtraError
from ..leaderboard import Leaderboard
from ..results import MANIFEST, read_manifest, read_results, write_text_atomically
from ..scoring import COLUMNS
from ..suites import available_suites, load_suite
from ..tasks import Suite
from .payload import Run, report_payload
from .pictures import draw_pictures
from .words import TERMS, commands, manifest_rows

REPORT = "report.html"
PICTURES = "pictures"
Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def render(template: str, payload: dict[str, Any], **values: Any) -> str:
    """A page from its template.

    Args:
        template: Its file.
        payload: For the page's JavaScript.
        **values: For the template.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as cause:
        raise MissingExtraError("The report", "report") from cause
    environment = Environment(
        loader=PackageLoader("planararm.benchmark.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    # In a script element only "<" could end it or begin a comment; JSON may write it as an escape.
    data = json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return environment.get_template(f"templates/{template}").render(data=data, **values)


def find_folders(folders: Folders) -> list[Path]:
    """Results folders: those given, and the subfolders of those that hold no results themselves.

    Args:
        folders: One or several.

    Raises:
        FileFormatError: A folder without results, or none at all.
    """
    given = [Path(folders)] if isinstance(folders, str | os.PathLike) else [Path(folder) for folder in folders]
    found: list[Path] = []
    for folder in given:
        below = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
        found += [folder] if (folder / MANIFEST).exists() or not below else below
    if not found:
        raise FileFormatError("No folder with benchmark results was given; run `planararm bench --out DIR` first.")
    return found


def read_run(folder: Path, suite: Suite | None = None) -> Run:
    """A results folder with its suite.

    Args:
        folder: The folder.
        suite: The suite that was run; default: the one that the manifest names.

    Raises:
        FileFormatError: No manifest or no results, or they cannot be read.
        InvalidInputError: The suite is not the one that was run.
        UnknownNameError: The manifest names a suite that is not known, and none was given.
    """
    manifest, results = read_manifest(folder), read_results(folder)
    if not len(results):
        raise FileFormatError(f"{os.fspath(folder)!r} holds no result rows yet; run `planararm bench` first.")
    suite = suite if suite is not None else load_suite(manifest["suite"])
    if suite.content_hash != manifest["suite_hash"]:
        raise InvalidInputError(
            f"The results in {os.fspath(folder)!r} are of the content hash {manifest['suite_hash'][:12]}, "
            f"suite {suite.name!r} now has {suite.content_hash[:12]}: another version of planararm made them."
        )
    return Run(folder, manifest, results, suite)


def _read_runs(folders: Folders, suite: Suite | Sequence[Suite] | None) -> list[Run]:
    found = find_folders(folders)
    given: Sequence[Suite | None] = [suite] if isinstance(suite, Suite) else suite or [None] * len(found)
    if len(given) != len(found):
        raise InvalidInputError(f"{len(found)} folders with results need as many suites, got {len(given)}.")
    runs = [read_run(folder, one) for folder, one in zip(found, given, strict=True)]
    where: dict[str, Path] = {}
    for run in runs:
        twin = where.setdefault(run.suite.name, run.folder)
        if twin is not run.folder:
            raise InvalidInputError(
                f"{os.fspath(twin)!r} and {os.fspath(run.folder)!r} both hold results of suite {run.suite.name!r}: "
                "run the policies into one folder, or compare two of them with `planararm compare`."
            )
    known = available_suites()
    return sorted(runs, key=lambda run: known.index(run.suite.name) if run.suite.name in known else len(known))


def _facts(runs: Sequence[Run], boards: Sequence[Leaderboard], num_policies: int) -> list[tuple[str, Any]]:
    first = runs[0]
    suite = ("content hash", first.manifest["suite_hash"][:12]) if len(runs) == 1 else ("suites", len(runs))
    return [
        suite,
        ("policies", num_policies),
        ("tasks", f"{sum(board.num_tasks for board in boards):,}"),
        ("proven unreachable", f"{sum(board.num_unreachable for board in boards):,}"),
        ("answers checked", f"{sum(len(run.results) for run in runs):,}"),
        ("planararm", first.manifest["runs"][-1]["planararm"]),
    ]


def write_report(
    out_dirs: Folders, suite: Suite | Sequence[Suite] | None = None, *, out: str | os.PathLike[str] | None = None
) -> Path:
    """Write one self-contained page about the results, and for a single folder pictures in ``pictures/`` too.

    Args:
        out_dirs: One or several folders with results, one suite each; a folder whose subfolders hold results stands
            for all of them.
        suite: The suite that was run, or one per folder; default: the one that each manifest names.
        out: The page; default: ``report.html`` in the given folder, or in the working folder if several are given.

    Returns:
        The page's path.

    Raises:
        FileFormatError: No manifest or no results, or they cannot be read.
        InvalidInputError: The suite is not the one that was run, or two folders hold results of the same suite.
        UnknownNameError: A manifest names a suite that is not known, and none was given.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    runs = _read_runs(out_dirs, suite)
    payload, boards = report_payload(runs)
    single = isinstance(out_dirs, str | os.PathLike) or len(out_dirs) == 1
    parent = Path(out_dirs if isinstance(out_dirs, str | os.PathLike) else out_dirs[0]) if single else Path()
    path = Path(out) if out is not None else parent / REPORT
    page = render(
        "report.html.jinja",
        payload,
        title=runs[0].suite.name if len(runs) == 1 else f"{len(runs)} suites",
        suites=[(run.suite.name, run.suite.description) for run in runs],
        facts=_facts(runs, boards, len(payload["policies"])),
        terms=TERMS,
        columns=COLUMNS,
        manifests=[(run.suite.name, commands(run.manifest), manifest_rows(run.manifest)) for run in runs],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(runs) == 1:
        draw_pictures(boards[0], runs[0].results, runs[0].folder / PICTURES)
    write_text_atomically(path, page)
    return path
