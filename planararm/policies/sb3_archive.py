"""Model files of Stable-Baselines3 as data: their settings as JSON, their weights as tensors, nothing unpickled.

``model.save`` writes a zip archive: ``data`` is JSON in which objects are pickled and, beside that, described in words;
``policy.pth`` is an archive of torch. A file is read as if a stranger had written it.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FileFormatError

SETTINGS, WEIGHTS = "data", "policy.pth"
MAX_SETTINGS, MAX_WEIGHTS = 1 << 24, 1 << 29
"""Bytes of the settings, and of the weights, unpacked."""

UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, OSError, EOFError, RecursionError,
    # An encrypted member, or one compressed in an unknown way.
    RuntimeError,
)  # fmt: skip
"""What Python raises for damaged archives and JSON."""


class SB3Archive(NamedTuple):
    """What a model file holds.

    Attributes:
        path: The file.
        settings: The model's settings; objects as far as their descriptions go.
        weights: The policy's tensors by name; real, finite, dense, on the CPU.
        num_bytes: Size of the weights, unpacked.
    """

    path: Path
    settings: dict[str, Any]
    weights: dict[str, Any]
    num_bytes: int

    def described(self, name: str) -> dict[str, Any]:
        """A setting that is an object, as its description; empty if there is none."""
        entry = self.settings.get(name)
        return entry if isinstance(entry, dict) else {}


def read_sb3_archive(path: Path) -> SB3Archive:
    """Settings and weights of a model file.

    Raises:
        FileFormatError: No such file, no archive, damaged, too large, or something else than settings and weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(_member(archive, path, SETTINGS, MAX_SETTINGS))
            content = _member(archive, path, WEIGHTS, MAX_WEIGHTS)
    except FileNotFoundError as cause:
        raise FileFormatError(f"There is no model file {str(path)!r}.") from cause
    except FileFormatError:
        raise
    except UNREADABLE as cause:
        raise FileFormatError(f"{str(path)!r} is no readable model file of Stable-Baselines3: {cause}") from cause
    if not isinstance(settings, dict):
        raise FileFormatError(
            f"The settings in {str(path)!r} must be a JSON object, got {type(settings).__name__}; it is no model file "
            "of Stable-Baselines3."
        )
    return SB3Archive(path, settings, _tensors(path, content), len(content))


def _member(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> bytes:
    """A file of the archive, of bounded size whatever its header says.

    Raises:
        FileFormatError: There is none, or it is too large.
    """
    if name not in archive.namelist():
        raise FileFormatError(
            f"{str(path)!r} has no {name!r}, so it is no model file of Stable-Baselines3, as model.save writes it."
        )
    with archive.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise FileFormatError(f"{name!r} in {str(path)!r} is larger than {most:,} bytes.")
    return content


def _tensors(path: Path, content: bytes) -> dict[str, Any]:
    """The tensors of an archive of torch, read without unpickling anything else.

    Raises:
        FileFormatError: It holds something else, or numbers that are none.
    """
    import torch

    refused = f"The weights in {str(path)!r} cannot be read as tensors: "
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            packed = any(info.compress_type != zipfile.ZIP_STORED for info in inner.infolist())
    except UNREADABLE as cause:
        raise FileFormatError(f"{refused}{cause}") from cause
    if packed:
        # torch never packs them, and would unpack any amount.
        raise FileFormatError(f"{refused}they are compressed, which torch.save does not do.")
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as cause:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise FileFormatError(f"{refused}{lines[0]}") from cause
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise FileFormatError(f"{refused}they are no mapping of names to tensors.")
    for name, value in weights.items():
        dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not dense or not value.is_floating_point():
            raise FileFormatError(f"{refused}{name} is no plain array of real numbers, but {value.dtype}.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise FileFormatError(f"{refused}{name} claims more numbers than there are.")
        if not bool(torch.isfinite(value).all()):
            raise FileFormatError(f"{refused}{name} holds NaN or infinity; the training has diverged.")
    return dict(weights)
