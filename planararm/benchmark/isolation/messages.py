"""What goes over the pipes: a JSON header and the raw bytes of arrays, never a pickle.

A frame is a magic word, the lengths of header and body, the header, the body. Every length, type and shape is checked
before anything is allocated: the other side may be broken, or somebody's.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAGIC = b"PLAR"
HEAD = struct.Struct("<4sIQ")
MAX_HEADER = 1 << 20
MAX_BODY = 1 << 28
"""Bytes; 256 MiB hold the targets and discs of more than a million tasks."""

REPLY_ROOM, REPLY_FACTOR = 1 << 20, 16
"""Bytes that an answer may have, and more of them per byte of the question: the answer to a few targets is short."""

TYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)
MAX_AXES = 8


class BadFrame(Exception):
    """The other side sent something that is no message."""


class Message(NamedTuple):
    """A message.

    Attributes:
        values: JSON values by name.
        arrays: Arrays by name.
        size: Bytes of the arrays.
    """

    values: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    size: int = 0


def reply_limit(request_size: int, num_steps: int | None = None) -> int:
    """Bytes that the arrays of an answer may have.

    Args:
        request_size: Bytes of those of the question.
        num_steps: Control steps that the policy takes to a target, whose commands it may tell.
    """
    return min(MAX_BODY, REPLY_ROOM + (REPLY_FACTOR + (num_steps or 0)) * request_size)


def encode(values: Mapping[str, Any], arrays: Mapping[str, Any] | None = None, most: int = MAX_BODY) -> bytes:
    """The bytes of a message.

    Args:
        values: JSON values by name.
        arrays: Arrays of numbers by name.
        most: Bytes that the arrays may have.

    Raises:
        ValueError: The arrays are larger than that, or not of numbers.
    """
    listed, parts = [], []
    named = {name: np.asarray(value) for name, value in (arrays or {}).items()}
    size = sum(array.nbytes for array in named.values())
    if size > most:
        raise ValueError(f"{size} bytes of arrays are too many, {most} are allowed here")
    for name, array in named.items():
        kind = array.dtype.name
        if kind not in TYPES:
            raise ValueError(f"{name} must be an array of numbers, got {kind}")
        listed.append([name, kind, list(array.shape)])
        # The other side reads this machine's byte order, which the array need not have.
        parts.append(array.astype(kind, order="C", copy=False).tobytes())
    header = json.dumps({"values": dict(values), "arrays": listed}).encode()
    if len(header) > MAX_HEADER:
        raise ValueError(f"{len(header)} bytes of names and values are too many, {MAX_HEADER} are allowed")
    return b"".join([HEAD.pack(MAGIC, len(header), size), header, *parts])


def receive(read: Callable[[int], bytes], most: int = MAX_BODY) -> Message:
    """The next message.

    Args:
        read: Returns just as many bytes as it is asked for.
        most: Bytes that its arrays may have.

    Raises:
        BadFrame: What comes is no message.
    """
    magic, header_size, body_size = HEAD.unpack(read(HEAD.size))
    if magic != MAGIC or header_size > MAX_HEADER or body_size > most:
        raise BadFrame("it begins with other bytes, or is too large")
    try:
        header = json.loads(read(header_size))
        values, listed = dict(header["values"]), list(header["arrays"])
        shapes = [(str(name), str(kind), _shape(shape)) for name, kind, shape in listed]
    except (ValueError, TypeError, KeyError, RecursionError) as cause:
        raise BadFrame("its header is not as it should be") from cause
    if any(kind not in TYPES for _, kind, _ in shapes):
        raise BadFrame("it has arrays of other types than numbers")
    sizes = [math.prod(shape) * np.dtype(kind).itemsize for _, kind, shape in shapes]
    if sum(sizes) != body_size:
        raise BadFrame("its arrays do not have the announced size")
    body, at, arrays = memoryview(read(body_size)), 0, {}
    for (name, kind, shape), size in zip(shapes, sizes, strict=True):
        arrays[name] = np.frombuffer(body[at : at + size], dtype=kind).reshape(shape).copy()
        at += size
    return Message(values, arrays, body_size)


def _shape(shape: Any) -> tuple[int, ...]:
    axes = tuple(shape)
    if len(axes) > MAX_AXES or not all(type(axis) is int and 0 <= axis <= MAX_BODY for axis in axes):
        raise ValueError("no shape")
    return axes
