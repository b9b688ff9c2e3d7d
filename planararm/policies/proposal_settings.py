"""What a proposal network is made of: its sizes, and the shapes of its weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..arm import PlanarArm
from ..errors import InvalidInputError
from ..kernels.proposal import FEATURES
from ..validate import finite_array, whole_number

NUM_TARGET_FEATURES = 5

LEAST_AND_MOST = {
    "num_proposals": (1, 100),
    "width": (8, 4096),
    "depth": (0, 100),
    "disc_width": (4, 4096),
    "correction_width": (4, 4096),
    "num_corrections": (0, 100),
}


@dataclass(frozen=True)
class ProposalSettings:
    """Sizes of a proposal network.

    Args:
        link_lengths: ``(n,)`` as fractions of the reach; they sum to one.
        first_joint_turns: Whether the first joint reaches every heading. If not, the network is told the bearing.
        num_proposals: K, the proposals that do not look at where the arm is.
        width: Of the trunk's layers.
        depth: Number of the trunk's residual layers.
        disc_width: Of the disc encoder.
        correction_width: Of the correction.
        num_corrections: How often it is applied.

    Raises:
        InvalidInputError: A number is out of range.
    """

    link_lengths: Any
    first_joint_turns: bool = True
    num_proposals: int = 6
    width: int = 160
    depth: int = 2
    disc_width: int = 64
    correction_width: int = 64
    num_corrections: int = 1

    def __post_init__(self) -> None:
        lengths = finite_array("link_lengths", self.link_lengths)
        if lengths.ndim != 1 or abs(lengths.sum() - 1) > 1e-9 or (lengths <= 0).any():
            raise InvalidInputError(f"link_lengths must be fractions of the reach that sum to one, got {lengths}.")
        object.__setattr__(self, "link_lengths", tuple(float(x) for x in lengths))
        object.__setattr__(self, "first_joint_turns", bool(self.first_joint_turns))
        for name, (least, most) in LEAST_AND_MOST.items():
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least, most))

    @property
    def num_joints(self) -> int:
        """Links n."""
        return len(self.link_lengths)

    @property
    def num_told(self) -> int:
        """Numbers that tell of a target."""
        return NUM_TARGET_FEATURES + (0 if self.first_joint_turns else 2)

    @property
    def context(self) -> int:
        """Numbers that the later stages are told of the scene."""
        return self.width // 4

    def as_dict(self) -> dict[str, Any]:
        """As it is written to config.json."""
        return {**asdict(self), "link_lengths": list(self.link_lengths)}

    def layers(self) -> dict[str, tuple[int, int]]:
        """Numbers of inputs and outputs of every layer, by name."""
        n, k, w, d, h = self.num_joints, self.num_proposals, self.width, self.disc_width, self.correction_width
        context, told = self.context, self.num_told
        return {
            "disc_in": (told + FEATURES, d),
            "disc_hidden": (d, d),
            "trunk_in": (told + 2 * d, w),
            **{f"trunk.{i}": (w, w) for i in range(self.depth)},
            "heads": (w, k * 2 * n),
            "confidences": (w, k),
            "context": (w, context),
            "onward_in": (context + 2 * n + 3, w),
            "onward_hidden": (w, w),
            "onward_out": (w, 2 * n + 1),
            "correction_in": (2 * n + 3 + context, h),
            "correction_hidden": (h, h),
            "correction_out": (h, 2 * n),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights and biases, by name."""
        of_layers = self.layers().items()
        return {f"{name}.weight": (outs, ins) for name, (ins, outs) in of_layers} | {
            f"{name}.bias": (outs,) for name, (_, outs) in of_layers
        }


def settings_for(arm: PlanarArm, **sizes: Any) -> ProposalSettings:
    """Settings for an arm's proportions."""
    return ProposalSettings(arm.link_lengths / arm.reach, first_joint_turns=turns_fully(arm), **sizes)


def turns_fully(arm: PlanarArm) -> bool:
    """Whether the first joint reaches every heading."""
    low, high = arm.joint_limits[0]
    return bool(high - low >= 2 * math.pi)
