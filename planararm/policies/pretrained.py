"""Trained weights on disk: ``model.safetensors`` and ``config.json`` in one folder.

Tensors are safetensors, everything else is JSON: both are data, nothing in them is ever executed. A folder is read as
if a stranger had written it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
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
METADATA = "__metadata__"
"""The one name that safetensors keeps for itself."""
FOREIGN = {
    b"PK": "a zip archive (perhaps of torch.save)",
    b"\x80": "a pickle",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a file of numpy.save",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull fetches the file itself)",
}
"""How files begin that are taken for weights now and then."""

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
        InvalidInputError: The config is not JSON-able or says no policy, or there are no tensors, or none that
            :func:`load_pretrained` would read: too large, or of a type or name that the format does not have.
        WeightsError: A tensor holds NaN or infinity, or the folder cannot be written.
    """
    if not tensors or not isinstance(config.get("policy"), str):
        raise InvalidInputError("Weights need at least one tensor, and a config that says whose: {'policy': ...}.")
    data = _packed(tensors)
    written = {
        **config, "format": FORMAT, "planararm": version("planararm"), "sha256": hashlib.sha256(data).hexdigest()
    }  # fmt: skip
    try:
        text = json.dumps(written, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as cause:
        raise InvalidInputError(f"The config must be JSON without NaN or infinity: {cause}.") from cause
    for what, size, most in (("tensors", len(data), MAX_TENSOR_BYTES), ("config", len(text), MAX_CONFIG_BYTES)):
        if size > most:
            raise InvalidInputError(f"The {what} would take {size:,} bytes; at most {most:,} are read.")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / TENSORS, data)
        write_atomically(folder / CONFIG, text.encode())
    except OSError as cause:
        raise WeightsError(f"The weights cannot be written to {str(folder)!r}: {cause}.") from cause
    return folder


def _packed(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save

    # order="C" and not ascontiguousarray, which turns a single number into an array of one.
    arrays = {name: np.array(value, order="C") for name, value in tensors.items()}
    _refuse_not_finite("tensors", arrays)
    if METADATA in arrays:
        raise InvalidInputError(f"No tensor can be named {METADATA!r}: the format keeps that name for itself.")
    try:
        return bytes(save(arrays))
    except (SafetensorError, TypeError) as cause:
        raise InvalidInputError(f"The tensors cannot be written as safetensors: {cause}.") from cause


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


def remove_leftovers(path: Path) -> None:
    """Remove what :func:`write_atomically` left of a file when the process was killed in the middle of it."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


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
        # What the file is, if it is no weights at all, says more than that its checksum is another.
        _parse(folder / TENSORS, data)
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
        config = parse_json(data.decode())
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


def parse_json(text: str) -> Any:
    """JSON from a stranger: no NaN, no infinity, no name twice in an object (of which readers choose differently).

    Raises:
        ValueError: It is something else.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique)


def _parse(path: Path, data: bytes) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    for start, what in FOREIGN.items():
        # The length of a header may begin like a pickle; after it comes the brace of the header itself.
        if data.startswith(start) and data[8:9] not in (b"", b"{"):
            raise WeightsError(f"{str(path)!r} is {what}, not safetensors; it was not opened.")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, MAX_HEADER_BYTES):
        raise WeightsError(
            f"{str(path)!r} is not safetensors, or cut short: its header does not fit ({len(data)} bytes)."
        )
    try:
        parse_json(data[8 : 8 + length].decode())
        tensors: Tensors = load(data)
    except KeyError as cause:
        raise WeightsError(
            f"{str(path)!r} holds numbers of type {cause.args[0]}, which NumPy does not have; save them as float32."
        ) from cause
    except (SafetensorError, ValueError, TypeError, OverflowError, RecursionError) as cause:
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


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        name, count = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {name!r} is there {count} times")
    return found


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
