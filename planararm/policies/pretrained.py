"""Trained weights on disk: ``model.safetensors`` and ``config.json`` in one folder.

Tensors are safetensors, everything else is JSON: both are data, nothing in them is ever executed. A folder is read as
if a stranger had written it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, WeightsError

FORMAT = 1
TENSORS, CONFIG = "model.safetensors", "config.json"
MAX_TENSOR_BYTES, MAX_CONFIG_BYTES, MAX_HEADER_BYTES = 256 * 2**20, 2**20, 2**20
BUNDLED = Path(__file__).parent / "weights"

Tensors = dict[str, npt.NDArray[Any]]


def list_pretrained() -> list[str]:
    """Names of the weights that come with planararm; sorted."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}"))


def save_pretrained(folder: str | Path, tensors: Mapping[str, npt.NDArray[Any]], config: Mapping[str, Any]) -> Path:
    """Write weights and what they are.

    Each file is written under another name first and then renamed, so that none is ever half there. The config gets
    the format's number, planararm's version, and the SHA-256 of the tensors, by which the two files belong together.

    Args:
        folder: Made if it does not exist.
        tensors: Arrays by name.
        config: JSON-able; ``policy`` says whose weights these are.

    Returns:
        The folder.

    Raises:
        InvalidInputError: The config is not JSON-able or says no policy, or there are no tensors.
        WeightsError: The folder cannot be written.
    """
    from safetensors.numpy import save

    if not tensors or not isinstance(config.get("policy"), str):
        raise InvalidInputError("Weights need at least one tensor, and a config that says whose: {'policy': ...}.")
    _refuse_not_finite("tensors", tensors)
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    written = {
        **config, "format": FORMAT, "planararm": version("planararm"), "sha256": hashlib.sha256(data).hexdigest()
    }  # fmt: skip
    try:
        text = json.dumps(written, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as cause:
        raise InvalidInputError(f"The config must be JSON without NaN or infinity: {cause}.") from cause
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / TENSORS, data)
        write_atomically(folder / CONFIG, text.encode())
    except OSError as cause:
        raise WeightsError(f"The weights cannot be written to {str(folder)!r}: {cause}.") from cause
    return folder


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_pretrained(name_or_folder: str | Path, *, policy: str) -> tuple[Tensors, dict[str, Any]]:
    """Read weights and their config.

    Args:
        name_or_folder: A bundled name (:func:`list_pretrained`), or a folder.
        policy: Whose weights they must be.

    Raises:
        WeightsError: Not there, damaged, too large, or of something else; the message says which.
    """
    folder = find_folder(name_or_folder)
    config = read_config(folder)
    if config.get("policy") != policy:
        raise WeightsError(f"{str(folder)!r} holds weights of {config.get('policy')!r}, not of {policy!r}.")
    data = _read(folder / TENSORS, MAX_TENSOR_BYTES)
    if hashlib.sha256(data).hexdigest() != config.get("sha256"):
        _explain(folder / TENSORS, data)
        raise WeightsError(
            f"{str(folder / TENSORS)!r} does not belong to the config.json beside it (its SHA-256 is another); "
            "copy both files from the same place."
        )
    return _parse(folder / TENSORS, data), config


def read_config(name_or_folder: str | Path) -> dict[str, Any]:
    """The config alone.

    Raises:
        WeightsError: Not there, no JSON object, too large, or of a newer format.
    """
    path = find_folder(name_or_folder) / CONFIG
    data = _read(path, MAX_CONFIG_BYTES)
    try:
        config = json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as cause:
        raise WeightsError(f"{str(path)!r} is not JSON: {cause}.") from cause
    if not isinstance(config, dict):
        raise WeightsError(f"{str(path)!r} must hold a JSON object, got {type(config).__name__}.")
    number = config.get("format")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise WeightsError(f"{str(path)!r} must say its format as a whole number, got {number!r}.")
    if number > FORMAT:
        raise WeightsError(
            f"{str(path)!r} has format {number}, this planararm ({version('planararm')}) reads up to {FORMAT}."
        )
    return config


def find_folder(name_or_folder: str | Path) -> Path:
    """The folder of a bundled name, or the folder itself.

    Raises:
        WeightsError: Neither; the message suggests the nearest name.
    """
    if isinstance(name_or_folder, str) and name_or_folder in list_pretrained():
        return BUNDLED / name_or_folder
    if not isinstance(name_or_folder, str | Path) or not str(name_or_folder):
        raise WeightsError(f"Weights are a bundled name or a folder, got {name_or_folder!r}.")
    folder = Path(name_or_folder)
    try:
        if folder.is_dir():
            return folder
        exists = folder.exists()
    except (OSError, ValueError) as cause:
        raise WeightsError(f"Weights {str(name_or_folder)!r} cannot be looked at: {cause}.") from cause
    if exists:
        raise WeightsError(f"Weights are a folder with {TENSORS} and {CONFIG}; {str(folder)!r} is a file.")
    near = difflib.get_close_matches(str(name_or_folder), list_pretrained(), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise WeightsError(
        f"No weights {str(name_or_folder)!r}: neither a folder nor a bundled name.{hint} "
        f"Bundled: {', '.join(list_pretrained()) or 'none'}."
    )


def check_tensors(tensors: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether the tensors are those that a network needs.

    Args:
        tensors: What was loaded.
        shapes: What is needed, by name.

    Raises:
        WeightsError: One is missing, too many, or of another shape.
    """
    missing, foreign = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing or foreign:
        raise WeightsError(
            f"The weights do not fit the network that their config describes: missing {missing}, unknown {foreign}."
        )
    for name, shape in shapes.items():
        if tensors[name].shape != tuple(shape):
            raise WeightsError(f"Tensor {name!r} must have shape {tuple(shape)}, got {tensors[name].shape}.")


@cache
def _signatures() -> dict[bytes, str]:
    return {b"PK\x03\x04": "a zip archive (perhaps of torch.save)", b"\x80": "a pickle", b"\x89HDF": "an HDF5 file"}


def _explain(path: Path, data: bytes) -> None:
    """Say what damaged or foreign tensors are, where that can be told."""
    for signature, what in _signatures().items():
        if data.startswith(signature):
            raise WeightsError(f"{str(path)!r} is {what}, not safetensors; it was not opened.")
    _parse(path, data)


def _parse(path: Path, data: bytes) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if len(data) < 8 or not 2 <= int.from_bytes(data[:8], "little") <= min(len(data) - 8, MAX_HEADER_BYTES):
        raise WeightsError(
            f"{str(path)!r} is not safetensors, or cut short: its header does not fit ({len(data)} bytes)."
        )
    try:
        tensors: Tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as cause:
        raise WeightsError(f"{str(path)!r} is damaged: {cause}.") from cause
    if not tensors:
        raise WeightsError(f"{str(path)!r} holds no tensors.")
    _refuse_not_finite(repr(str(path)), tensors)
    return tensors


def _refuse_not_finite(where: str, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    for name, value in tensors.items():
        if value.dtype.kind not in "fiub":
            raise WeightsError(f"Tensor {name!r} of {where} must hold real numbers, got {value.dtype}.")
        if not np.isfinite(value).all():
            raise WeightsError(f"Tensor {name!r} of {where} holds NaN or infinity.")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _read(path: Path, most: int) -> bytes:
    """A regular file of bounded size."""
    try:
        if not path.is_file():
            raise WeightsError(
                f"{str(path)!r} is missing, or no file; weights are a folder with {TENSORS} and {CONFIG}."
            )
        size = path.stat().st_size
        if size > most:
            raise WeightsError(f"{str(path)!r} has {size:,} bytes; at most {most:,} are read.")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as cause:
        raise WeightsError(f"{str(path)!r} cannot be read: {cause}.") from cause
