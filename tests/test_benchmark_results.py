"""Results on disk: written as they come, resumable after an interruption anywhere, never mixed."""

import json
import random

import numpy as np
import pytest
import small_suite as ours
from small_suite import small_suite

from planararm import __version__
from planararm.benchmark import results as module
from planararm.benchmark import runner
from planararm.benchmark.entrants import Entrant
from planararm.benchmark.results import (
    MANIFEST,
    RESULTS,
    ResultsWriter,
    drop_unfinished_line,
    read_manifest,
    read_results,
    write_text_atomically,
)
from planararm.benchmark.runner import Progress, run
from planararm.benchmark.scoring import COLUMNS, TIMING_COLUMNS
from planararm.benchmark.tasks import Suite
from planararm.errors import FileFormatError, InvalidInputError

ENTRANTS = [Entrant("base", ours.Base), Entrant("sometimes", ours.RaisesSometimes), "hold"]


def untimed(rows):
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, list(run(ENTRANTS, small_suite(), out, seed=3))


def copied(finished, folder, size):
    """The finished run as it was when only ``size`` bytes of results had been written."""
    folder.mkdir()
    (folder / MANIFEST).write_bytes((finished[0] / MANIFEST).read_bytes())
    (folder / RESULTS).write_bytes((finished[0] / RESULTS).read_bytes()[:size])
    return folder


def test_the_manifest_says_what_was_run_where(finished):
    manifest = read_manifest(finished[0])
    assert manifest["suite"] == "test/small"
    assert manifest["suite_hash"] == small_suite().content_hash
    assert manifest["policies"] == ["base", "sometimes", "hold"]
    assert manifest["seeds"] == [3]
    assert manifest["columns"] == COLUMNS
    (this,) = manifest["runs"]
    assert this["planararm"] == __version__
    assert this["packages"]["numpy"] == np.__version__
    assert this["cpu"]
    assert this["cpu_count"] >= 1
    assert this["git"] is None or len(this["git"]["commit"]) == 40


def test_rows_on_disk_are_the_rows_returned(finished):
    out, rows = finished
    lines = (out / RESULTS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert "NaN" not in (out / RESULTS).read_text()


def test_same_seed_same_rows(finished, tmp_path):
    assert untimed(run(ENTRANTS, small_suite(), tmp_path / "again", seed=3)) == untimed(finished[1])


def test_resuming_after_truncation_at_any_byte(finished, tmp_path):
    size = (finished[0] / RESULTS).stat().st_size
    draw = random.Random(0)
    cuts = [0, 1, size - 1, size, *(draw.randrange(size) for _ in range(6))]
    newline = (finished[0] / RESULTS).read_bytes().index(b"\n")
    for cut in [*cuts, newline, newline + 1]:
        folder = copied(finished, tmp_path / f"cut{cut}", cut)
        again = run(ENTRANTS, small_suite(), folder, seed=3)
        assert untimed(again) == untimed(finished[1]), f"cut at byte {cut} of {size}"
        assert len(read_manifest(folder)["runs"]) == 2


def test_finished_rows_are_not_run_again(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path / "done", None)

    def refuses(worker, chunk):
        raise AssertionError("was asked again")

    monkeypatch.setattr(runner.Worker, "__call__", refuses)
    assert list(run(ENTRANTS, small_suite(), folder, seed=3)) == finished[1]


def test_an_interruption_keeps_what_was_done(tmp_path):
    class Interrupts(Progress):
        def advance(self, policy, group, count):
            if (policy, group) == ("hold", "ik-unit5"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["hold"], small_suite(), tmp_path, progress=Interrupts())
    assert {row["task"].rpartition("/")[0] for row in read_results(tmp_path)} == {"ik", "ik-unit5"}
    assert len(run(["hold"], small_suite(), tmp_path)) == len(small_suite())


def test_a_leaderboard_grows_by_policies_and_seeds(finished, tmp_path):
    folder = copied(finished, tmp_path / "grows", None)
    rows = run(["hold"], small_suite(), folder, seed=4)
    assert len(rows) == len(finished[1]) + len(small_suite())
    manifest = read_manifest(folder)
    assert manifest["policies"] == ["base", "sometimes", "hold"]
    assert manifest["seeds"] == [3, 4]


def test_another_suite_is_not_mixed_in(finished, tmp_path):
    folder = copied(finished, tmp_path / "other", None)
    before = (folder / RESULTS).read_bytes()
    changed = Suite("test/small", "", small_suite().groups[:2])
    message = r"holds results of suite 'test/small' with the content hash \w{12}, .*Another folder is needed"
    with pytest.raises(InvalidInputError, match=message):
        run(["hold"], changed, folder)
    assert (folder / RESULTS).read_bytes() == before


def test_fresh_replaces_results_of_any_suite(finished, tmp_path):
    folder = copied(finished, tmp_path / "fresh", None)
    changed = Suite("test/changed", "", small_suite().groups[:1])
    assert len(run(["hold"], changed, folder, fresh=True)) == len(changed)
    assert read_manifest(folder)["suite"] == "test/changed"


def test_progress_tells_what_is_left(finished, tmp_path):
    told = []

    class Tells(Progress):
        def begin(self, *numbers):
            told.append(numbers)

        def advance(self, *numbers):
            told.append(numbers)

    folder = copied(finished, tmp_path / "progress", None)
    run(["hold", "closed-form"], small_suite(), folder, seed=3, progress=Tells())
    assert told[0] == (["hold", "closed-form"], 20, 40, 20)
    groups = [("ik", 12), ("ik-unit5", 5), ("track", 3)]
    assert told[1:] == [(policy, *group) for policy in ("hold", "closed-form") for group in groups]


def test_out_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InvalidInputError, match=r"file' is a file; choose another --out"):
        run(["hold"], small_suite(), file)
    assert file.read_text() == "mine"


def test_two_runs_in_one_folder(tmp_path):
    class Runs(Progress):
        def advance(self, policy, group, count):
            with pytest.raises(InvalidInputError, match=r"Another run is writing into .*: wait for it"):
                run(["hold"], small_suite(), tmp_path / "out")

    assert len(run(["hold"], small_suite(), tmp_path / "out", progress=Runs())) == len(small_suite())
    assert len(run(["hold"], small_suite(), tmp_path / "out")) == len(small_suite())


def test_results_without_a_manifest(finished, tmp_path):
    folder = copied(finished, tmp_path / "bare", 100)
    (folder / MANIFEST).unlink()
    with pytest.raises(InvalidInputError, match=r"has results.jsonl without manifest.json"):
        run(["hold"], small_suite(), folder)


def test_a_folder_of_folders_says_so(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / MANIFEST).write_text("{}")
    with pytest.raises(FileFormatError, match=r"holds no benchmark results: .* Its subfolders have some: .*one\.$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "has format 'list'"),
        ('{"format": 99}', "has format 99, this version of planararm reads 3"),
        ('{"format": 3}', "has no 'suite' as it should be"),
        ('{"format": 3, "suite": 3}', "has no 'suite' as it should be"),
    ],
)
def test_a_damaged_manifest(tmp_path, text, message):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(FileFormatError, match=message):
        run(["hold"], small_suite(), tmp_path)


def test_no_manifest(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no benchmark results: manifest.json is missing"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2 is not JSON"),
        ('{"task": 1}', "line 2 does not have the columns"),
        ("7", "line 2 does"),
        (json.dumps(dict.fromkeys(COLUMNS)), "line 2 does not name a task, a policy and a seed"),
        (json.dumps({**dict.fromkeys(COLUMNS), "task": "a/b", "policy": "p", "seed": 1}), "line 2 does not name"),
    ],
)
def test_a_damaged_line_in_the_middle(finished, tmp_path, line, message):
    folder = copied(finished, tmp_path / "damaged", None)
    lines = (folder / RESULTS).read_text().splitlines()
    lines[1] = line
    (folder / RESULTS).write_text("\n".join(lines) + "\n")
    with pytest.raises(FileFormatError, match=message):
        run(["hold"], small_suite(), folder)


def test_only_an_unfinished_line_is_dropped(tmp_path):
    path = tmp_path / "x"
    drop_unfinished_line(path)
    assert not path.exists()
    for content, kept in ((b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"a", b""), (b"", b"")):
        path.write_bytes(content)
        drop_unfinished_line(path)
        assert path.read_bytes() == kept


def test_the_writer_writes_no_row_twice(finished, tmp_path):
    folder = copied(finished, tmp_path / "twice", None)
    before = (folder / RESULTS).read_bytes()
    lines = [line + "\n" for line in before.decode().splitlines()]
    with ResultsWriter(folder, small_suite()) as writer:
        writer.write(lines[:12], "base", 3, "ik", slice(0, 12))
        assert (folder / RESULTS).read_bytes() == before
        writer.write(lines[:12], "another", 3, "ik", slice(0, 12))
    assert (folder / RESULTS).read_bytes() == before + "".join(lines[:12]).encode()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "page"
    write_text_atomically(path, "old")

    def broken(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["page"]
