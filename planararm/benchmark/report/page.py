"""Write the report of a results folder."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import FileFormatError, InvalidInputError, MissingExtraError
from ..leaderboard import build_leaderboard
from ..results import read_manifest, read_results, write_text_atomically
from ..suites import load_suite
from ..tasks import Suite
from .content import page_content
from .figures import draw_figures

REPORT = "report.html"
PICTURES = "pictures"


def write_report(out_dir: str | os.PathLike[str], suite: Suite | None = None) -> Path:
    """Write ``report.html``, one self-contained page, and its pictures as PNG files in ``pictures/``.

    Args:
        out_dir: A folder with results.
        suite: The suite that was run; default: the bundled one that the manifest names.

    Returns:
        The page's path.

    Raises:
        FileFormatError: No manifest or no results, or they cannot be read.
        InvalidInputError: The suite is not the one that was run.
        UnknownNameError: The manifest names a suite that is not bundled, and none was given.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as cause:
        raise MissingExtraError("The report", "report") from cause
    folder = Path(out_dir)
    manifest, rows = read_manifest(folder), read_results(folder)
    if not rows:
        raise FileFormatError(f"{os.fspath(folder)!r} holds no result rows yet; run `planararm bench` first.")
    suite = suite if suite is not None else load_suite(manifest["suite"])
    if suite.content_hash != manifest["suite_hash"]:
        raise InvalidInputError(
            f"The results in {os.fspath(folder)!r} are of the content hash {manifest['suite_hash'][:12]}, "
            f"suite {suite.name!r} now has {suite.content_hash[:12]}: another version of planararm made them."
        )
    board = build_leaderboard(rows)
    figures = draw_figures(board, rows, suite, folder / PICTURES)
    environment = Environment(
        loader=PackageLoader("planararm.benchmark.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template("page.html.jinja").render(page_content(manifest, board, figures))
    write_text_atomically(folder / REPORT, page)
    return folder / REPORT
