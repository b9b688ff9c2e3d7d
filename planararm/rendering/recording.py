"""Frames into files: PNG, GIF, MP4."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, MissingExtraError

Frame = npt.NDArray[np.uint8]

SAMPLED_FRAMES = 8


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it takes the place of ``path`` when all went well."""
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_frames(frames: Iterable[Any], path: str | os.PathLike[str], fps: float = 20) -> Path:
    """Write frames as a picture (``.png``), an animation (``.gif``) or a film (``.mp4``).

    The file appears when it is complete: an error leaves what was there before.

    Args:
        frames: ``(H, W, 3)`` uint8 arrays of one size; exactly one for a PNG. A film is written as they come,
            an animation holds them all in memory.
        path: The file; its suffix decides the format. Its folder must exist.
        fps: Frames per second. A GIF counts in hundredths of a second.

    Returns:
        The path.

    Raises:
        InvalidInputError: Another suffix, no such folder, no frame, frames of another kind or of several sizes,
            or ``fps`` that is not a positive number.
        MissingExtraError: The library that writes the format is not installed.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise InvalidInputError(f"Cannot write {path.name!r}: the suffix must be one of {', '.join(_WRITERS)}.")
    if not path.parent.is_dir():
        raise InvalidInputError(f"Cannot write {path.name!r}: there is no folder {str(path.parent)!r}.")
    if not (isinstance(fps, int | float) and 0 < fps < np.inf):
        raise InvalidInputError(f"fps must be a number > 0, got {fps!r}.")
    with replacing(path) as temporary:
        write(_checked(frames), temporary, float(fps))
    return path


def _checked(frames: Iterable[Any]) -> Iterator[Frame]:
    """The frames, one by one; an error at the first one that is no picture of the first one's size."""
    first: tuple[int, ...] | None = None
    for i, frame in enumerate(frames):
        array = np.asarray(frame)
        if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8 or array.size == 0:
            raise InvalidInputError(
                f"Frame {i} must be a (height, width, 3) uint8 array, got {array.dtype} of shape {array.shape}."
            )
        first = first or array.shape
        if array.shape != first:
            raise InvalidInputError(f"Frame {i} has shape {array.shape}, the first {first}: all must have one size.")
        yield np.ascontiguousarray(array)
    if first is None:
        raise InvalidInputError("There is no frame to write.")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as cause:
        raise MissingExtraError("Writing pictures", "render") from cause
    return Image


def _write_png(frames: Iterator[Frame], path: Path, fps: float) -> None:
    image = _pillow()
    several = list(frames)
    if len(several) > 1:
        raise InvalidInputError(f"A .png holds one frame, got {len(several)}; use .gif or .mp4.")
    image.fromarray(several[0]).save(path)


def _write_gif(frames: Iterator[Frame], path: Path, fps: float) -> None:
    """One palette for all frames, from a sample of them, without dithering: flat areas stay still and small."""
    image = _pillow()
    pictures = [image.fromarray(frame) for frame in frames]
    sample = [pictures[i] for i in np.unique(np.linspace(0, len(pictures) - 1, SAMPLED_FRAMES).astype(int))]
    strip = image.new("RGB", (sample[0].width, sample[0].height * len(sample)))
    for i, picture in enumerate(sample):
        strip.paste(picture, (0, i * picture.height))
    palette = strip.quantize(colors=255, method=image.Quantize.MEDIANCUT)
    flat = [picture.quantize(palette=palette, dither=image.Dither.NONE) for picture in pictures]
    # Players round anything below two hundredths of a second up to ten.
    hundredths = max(2, round(100 / fps))
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=10 * hundredths, loop=0, optimize=False)


def _write_mp4(frames: Iterator[Frame], path: Path, fps: float) -> None:
    try:
        from imageio_ffmpeg import write_frames as open_film
    except ImportError as cause:
        raise MissingExtraError("Writing films", "render") from cause
    first = next(frames)
    height, width = first.shape[:2]
    # H.264 with the widely understood 4:2:0 colours needs an even width and height.
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    size = (width + width % 2, height + height % 2)
    film = open_film(str(path), size, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error")
    film.send(None)
    try:
        film.send(np.pad(first, padding, mode="edge"))
        for frame in frames:
            film.send(np.pad(frame, padding, mode="edge"))
    finally:
        film.close()


_WRITERS: dict[str, Callable[[Iterator[Frame], Path, float], None]] = {
    ".png": _write_png,
    ".gif": _write_gif,
    ".mp4": _write_mp4,
}
