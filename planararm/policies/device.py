"""Where networks run."""

from __future__ import annotations

import re

from ..errors import InvalidInputError, MissingExtraError, UnknownNameError


def find_device(device: str) -> str:
    """A device by name; ``"auto"`` is CUDA where there is one. Only CUDA needs torch.

    Raises:
        UnknownNameError: No such device.
        MissingExtraError: CUDA without torch.
        InvalidInputError: CUDA, where there is none.
    """
    if device != "auto" and not re.fullmatch(r"(cpu|cuda)(:\d{1,3})?", str(device)):
        raise UnknownNameError("device", device, ["auto", "cpu", "cuda"])
    device = str(device)
    if device.startswith("cpu"):
        return device
    try:
        import torch
    except ImportError as cause:
        if device == "auto":
            return "cpu"
        raise MissingExtraError(f"device {device!r}", "torch") from cause
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.cuda.is_available():
        raise InvalidInputError(f"device {device!r}: torch {torch.__version__} finds no CUDA here; use 'cpu'.")
    return device
