"""Compiled kernels are dropped when the source of any kernel changes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from planararm.kernels import launch as launching
from planararm.kernels.certificate import certify_motions


def compiled(folder: Path) -> list[Path]:
    return [*folder.glob("*.nbi"), *folder.glob("*.nbc")]


def test_changed_source_empties_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert launching.drop_stale_cache(tmp_path)
    for name in ("a.f-1.py311.nbi", "a.f-1.py311.1.nbc"):
        (tmp_path / name).write_bytes(b"code")
    assert not launching.drop_stale_cache(tmp_path)
    assert len(compiled(tmp_path)) == 2
    monkeypatch.setattr(launching, "_fingerprint", lambda: "another source")
    assert launching.drop_stale_cache(tmp_path)
    assert compiled(tmp_path) == []
    assert not launching.drop_stale_cache(tmp_path)


def test_only_compiled_files_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "module.cpython-311.pyc").write_bytes(b"bytecode")
    (tmp_path / "a.f-1.py311.nbi").write_bytes(b"code")
    launching.drop_stale_cache(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["module.cpython-311.pyc", launching.STAMP]


def test_the_fingerprint_covers_every_kernel_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("launch.py", "a"), ("other.py", "b")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(launching, "__file__", str(tmp_path / "launch.py"))
    before = launching._fingerprint()
    (tmp_path / "other.py").write_text("c")
    assert launching._fingerprint() != before


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert not launching.drop_stale_cache(file / "below")


def test_a_launched_kernel_has_its_cache_stamped() -> None:
    empty = (np.zeros((0, 1)), np.zeros((0, 1)), np.ones(1), np.zeros(2), 0.01)
    discs = (np.zeros((0, 0, 2)), np.zeros((0, 0, 2)), np.zeros((0, 0)), np.zeros((0, 0), dtype=bool))
    launching.launch(certify_motions, 0, *empty, *discs, 0.0, 1e-6, np.zeros(0, np.int8), np.zeros(0), np.zeros(0))
    assert (Path(certify_motions.stats.cache_path) / launching.STAMP).read_text() == launching._fingerprint()


def test_an_interrupted_launch_leaves_no_worker_half_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
    done: list[tuple[int, int]] = []

    def slow(start: int, stop: int) -> None:
        if start > 0:
            time.sleep(0.2)
        done.append((start, stop))

    def interrupted(start: int, stop: int) -> None:
        if start == 0 and stop > 0:
            raise KeyboardInterrupt
        slow(start, stop)

    with pytest.raises(KeyboardInterrupt):
        launching.launch(interrupted, 1000, grain=1)
    done.clear()
    # Had a worker of the interrupted launch been asked again, its old end would have passed for this one's.
    launching.launch(slow, 1000, grain=1)
    assert {(0, 500), (500, 1000)} <= set(done)
