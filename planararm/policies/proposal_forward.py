"""A trained proposal network without torch: its weights laid out for the kernel that runs it on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels import proposal as kernel
from ..kernels.launch import launch
from .canonical import CanonicalBatch
from .proposal_settings import ProposalSettings

Float32Array = npt.NDArray[np.float32]

GRAIN = 32
"""Smallest number of targets worth a thread of its own."""


class ProposalForward:
    """The forward pass of :class:`planararm.policies.proposal_torch.ProposalNetwork`, compiled.

    A target's answer is the same bits alone and in any batch.

    Args:
        tensors: The network's weights by name.
        settings: What the network was made with.
    """

    def __init__(self, tensors: Mapping[str, Any], settings: ProposalSettings) -> None:
        self._settings, self._lengths = settings, np.asarray(settings.link_lengths, dtype=np.float32)
        n, told = settings.num_joints, settings.num_told

        def layer(*names: str, columns: slice = slice(None), with_bias: bool = True) -> tuple[Any, Any]:
            """Layers of the same inputs beside each other, or some input columns of one."""
            weight = np.concatenate([np.asarray(tensors[f"{name}.weight"]) for name in names])[:, columns]
            bias = np.concatenate([np.asarray(tensors[f"{name}.bias"]) for name in names])
            return weight.T, bias if with_bias else np.zeros_like(bias)

        table = {
            kernel.DISC_FEATURES: layer("disc_in", columns=slice(0, kernel.FEATURES), with_bias=False),
            kernel.DISC_TARGET: layer("disc_in", columns=slice(kernel.FEATURES, kernel.FEATURES + told)),
            kernel.DISC_HIDDEN: layer("disc_hidden"),
            kernel.TRUNK_IN: layer("trunk_in"),
            kernel.HEADS: layer("heads", "confidences", "context"),
            kernel.ONWARD_IN: layer("onward_in"),
            kernel.ONWARD_HIDDEN: layer("onward_hidden"),
            kernel.ONWARD_OUT: layer("onward_out"),
            kernel.CORRECTION_IN: layer("correction_in", columns=slice(0, 2 * n + 3), with_bias=False),
            kernel.CORRECTION_CONTEXT: layer("correction_in", columns=slice(2 * n + 3, None)),
            kernel.CORRECTION_HIDDEN: layer("correction_hidden"),
            kernel.CORRECTION_OUT: layer("correction_out"),
            **{kernel.TRUNK + i: layer(f"trunk.{i}") for i in range(settings.depth)},
        }
        parts: list[Float32Array] = []
        self._layers, at = np.empty((len(table), 4), dtype=np.int64), 0
        for row in range(len(table)):
            weight, bias = table[row]
            parts += [np.ascontiguousarray(weight, dtype=np.float32).ravel(), np.asarray(bias, dtype=np.float32)]
            self._layers[row] = at, at + weight.size, *weight.shape
            at += weight.size + bias.size
        self._weights = np.concatenate(parts)

    def __call__(self, frame: CanonicalBatch, num: int) -> tuple[Float32Array, Float32Array]:
        """Propose.

        Args:
            frame: N targets.
            num: The ``num`` most confident proposals of each, the most confident first; with K + 1 all of them in
                their own order, the continuing one last.

        Returns:
            Directions of the links ``(N, num, n, 2)`` in the frame of each target, and logits ``(N, num)``.
        """
        count = len(frame.distance)
        directions = np.empty((count, num, self._settings.num_joints, 2), dtype=np.float32)
        logits = np.empty((count, num), dtype=np.float32)
        made = self._settings
        launch(
            kernel.propose, count, frame.distance, frame.discs, frame.mask, frame.present,
            frame.bearing.astype(np.float32), made.first_joint_turns, self._lengths, self._weights, self._layers,
            made.num_corrections, directions, logits, grain=GRAIN,
        )  # fmt: skip
        return directions, logits
