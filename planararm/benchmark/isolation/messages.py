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
"""Bytes; 256 MiB hold the answers to more than a million targets."""

TYPES = ("float64", "float32", "int64", "int32", "int8", "uint8", "bool")
MAX_AXES = 8


class BadFrame(Exception):
    """The other side sent something that is no message."""


class Message(NamedTuple):
    """A message.

    Attributes:
        values: JSON values by name.
        arrays: Arrays by name.
    """

    values: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


def encode(values: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a message.

    Args:
        values: JSON values by name.
        arrays: Arrays of numbers by name.

    Raises:
        ValueError: The arrays are larger than a message may be.
    """
    listed, parts = [], []
    size = sum(np.size(value) * np.asarray(value).dtype.itemsize for value in (arrays or {}).values())
    if size > MAX_BODY:
        raise ValueError(f"the answer has {size} bytes, {MAX_BODY} are allowed")
    for name, value in (arrays or {}).items():
        array = np.ascontiguousarray(value)
        # A contiguous copy of a number is an array of one.
        listed.append([name, array.dtype.name, list(np.shape(value))])
        parts.append(array.tobytes())
    header = json.dumps({"values": dict(values), "arrays": listed}).encode()
    body = b"".join(parts)
    return HEAD.pack(MAGIC, len(header), len(body)) + header + body


def receive(read: Callable[[int], bytes]) -> Message:
    """The next message.

    Args:
        read: Returns just as many bytes as it is asked for.

    Raises:
        BadFrame: What comes is no message.
    """
    magic, header_size, body_size = HEAD.unpack(read(HEAD.size))
    if magic != MAGIC or header_size > MAX_HEADER or body_size > MAX_BODY:
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
    body, at, arrays = read(body_size), 0, {}
    for (name, kind, shape), size in zip(shapes, sizes, strict=True):
        arrays[name] = np.frombuffer(body[at : at + size], dtype=kind).reshape(shape).copy()
        at += size
    return Message(values, arrays)


def _shape(shape: Any) -> tuple[int, ...]:
    axes = tuple(shape)
    if len(axes) > MAX_AXES or not all(type(axis) is int and 0 <= axis <= MAX_BODY for axis in axes):
        raise ValueError("no shape")
    return axes
