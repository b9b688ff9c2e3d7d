"""Frames into files, and nothing half-written."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from planararm.errors import InvalidInputError, MissingExtraError
from planararm.rendering.recording import write_frames


def frames(count: int, height: int = 40, width: int = 60) -> list[np.ndarray]:
    made = []
    for i in range(count):
        frame = np.full((height, width, 3), 240, dtype=np.uint8)
        frame[5:15, 4 * i : 4 * i + 10] = (200, 30, 30)
        made.append(frame)
    return made


def test_a_picture_is_exact(tmp_path: Path) -> None:
    (frame,) = frames(1)
    assert np.array_equal(np.asarray(Image.open(write_frames([frame], tmp_path / "a.png"))), frame)


def test_an_animation_has_all_frames(tmp_path: Path) -> None:
    with Image.open(write_frames(frames(7), tmp_path / "a.gif", fps=10)) as animation:
        assert (animation.n_frames, animation.size) == (7, (60, 40))
        assert animation.info["duration"] == 100
        animation.seek(6)
        assert np.abs(np.asarray(animation.convert("RGB"), dtype=int) - frames(7)[6]).max() < 12


def test_a_film_has_all_frames(tmp_path: Path) -> None:
    path = write_frames(iter(frames(9, 41, 61)), tmp_path / "a.mp4", fps=20)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert (count, seconds) == (9, pytest.approx(0.45, abs=0.06))


def test_a_film_shows_the_frames_padded_to_even_sides(tmp_path: Path) -> None:
    path = write_frames(frames(5, 41, 61), tmp_path / "a.mp4", fps=20)
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(decode, capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(-1, 42, 62, 3).astype(int)
    assert len(shown) == 5
    for frame, expected in zip(shown, frames(5, 41, 61), strict=True):
        assert np.abs(frame[:41, :61] - expected).mean() < 8


def test_a_film_is_written_as_its_frames_come(tmp_path: Path) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    held = []

    def many() -> Iterator[np.ndarray]:
        for i in range(12):
            frame = np.full((40, 60, 3), i, dtype=np.uint8)
            given.append(weakref.ref(frame))
            yield frame
            held.append(sum(reference() is not None for reference in given))

    write_frames(many(), tmp_path / "a.mp4")
    assert 1 <= max(held) <= 3


def test_an_animation_repeats_and_is_no_faster_than_players_are(tmp_path: Path) -> None:
    with Image.open(write_frames(frames(3), tmp_path / "a.gif", fps=1000)) as animation:
        assert animation.info["duration"] == 20
        assert animation.info["loop"] == 0


def test_frames_that_stand_still_keep_their_time(tmp_path: Path) -> None:
    with Image.open(write_frames(frames(1) * 6, tmp_path / "a.gif", fps=10)) as animation:
        times = []
        for i in range(animation.n_frames):
            animation.seek(i)
            times.append(animation.info["duration"])
    assert sum(times) == 600


def test_a_path_may_be_text_and_its_suffix_in_capitals(tmp_path: Path) -> None:
    assert write_frames(frames(1), str(tmp_path / "A.PNG")) == tmp_path / "A.PNG"
    assert write_frames(frames(2), str(tmp_path / "A.GIF")).exists()
    assert write_frames(frames(2), str(tmp_path / "A.MP4")).exists()


@pytest.mark.parametrize(
    ("given", "name", "message"),
    [
        (frames(1), "a.bmp", r"Cannot write 'a.bmp': the suffix must be one of .png, .gif, .mp4"),
        (frames(1), "nowhere/a.png", "there is no folder"),
        (frames(2), "a.png", "A .png holds one frame, got 2; use .gif or .mp4"),
        ([], "a.png", "There is no frame to write"),
        ([], "a.gif", "There is no frame to write"),
        ([], "a.mp4", "There is no frame to write"),
        (["frame"], "a.gif", r"Frame 0 must be a \(height, width, 3\) uint8 array, got <U5 of shape \(\)"),
        ([np.zeros((4, 4, 4), np.uint8)], "a.png", r"got uint8 of shape \(4, 4, 4\)"),
        ([np.zeros((0, 4, 3), np.uint8)], "a.mp4", r"got uint8 of shape \(0, 4, 3\)"),
        (frames(1), "noextension", r"Cannot write 'noextension': the suffix must be one of"),
        ([frames(1)[0].astype(float)], "a.gif", r"Frame 0 must be a \(height, width, 3\) uint8 array, got float64"),
        ([frames(1)[0], frames(1, 10)[0]], "a.gif", r"Frame 1 has shape \(10, 60, 3\)"),
        ([frames(1)[0], frames(1, 10)[0]], "a.mp4", r"Frame 1 has shape \(10, 60, 3\)"),
    ],
)
def test_refused(given: Any, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        write_frames(given, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "20"])
def test_bad_rate(fps: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="fps must be a number > 0"):
        write_frames(frames(1), tmp_path / "a.gif", fps=fps)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_an_error_on_the_way_leaves_what_was_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"before")

    def broken() -> Iterator[np.ndarray]:
        yield from frames(2)
        raise RuntimeError("camera broke")

    with pytest.raises(RuntimeError, match="camera broke"):
        write_frames(broken(), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("module", "name"), [("PIL", "a.png"), ("imageio_ffmpeg", "a.mp4")])
def test_a_missing_library_names_the_extra(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"planararm\[render\]"):
        write_frames(frames(1), tmp_path / name)
