"""What a benchmark asks: groups of tasks of one arm, and suites of groups with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import InvalidInputError
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import real_number, whole_number

DECIMALS = 9
"""Task numbers are rounded to this many decimals: the last bits of sin and cos differ between machines."""

CHUNK = 100
"""Tasks per call of a policy, unless a suite says otherwise. Fixed by the suite, so that batched answers depend neither
on how a run was interrupted nor on how many processes share it."""


def rounded(values: Any) -> FloatArray:
    """``values`` to :data:`DECIMALS` decimals, without negative zeros."""
    return np.asarray(np.round(np.asarray(values, dtype=np.float64), DECIMALS) + 0.0, dtype=np.float64)


def rounded_scene(scene: Scene) -> Scene:
    """The scene with rounded discs."""
    discs = scene.obstacles
    shuttle = None if discs.shuttle is None else rounded(discs.shuttle)
    return Scene(
        scene.arm,
        Obstacles(rounded(discs.centers), rounded(discs.radii), shuttle, discs.mask),
        scene.safety_margin,
    )


@dataclass(frozen=True, eq=False)
class TaskGroup:
    """Tasks of one kind for one arm; everything is batched over the tasks.

    Args:
        name: Unique in its suite, e.g. ``"ik-clutter"``.
        arm: The arm's name, for headings.
        scene: One scene per task, batch shape ``(N,)``.
        q_start: ``(N, n)`` where the arm is when the policy is asked [rad].
        targets: ``(N, 2)`` target positions of inverse kinematics, or ``(N, T + 1, 2)`` target paths, the
            first point of which is where the arm starts [m].
        truth: ``(N,)`` int8: 1 can be met, 0 proven that it cannot, -1 unknown
            (:class:`planararm.metrics.Truth`).
        labels: What kind of task each is, e.g. ``"blocked"`` or ``"circle"``.
        dt: Control step of target paths [s].

    Raises:
        InvalidInputError: The arrays do not fit together.
    """

    name: str
    arm: str
    scene: Scene
    q_start: FloatArray
    targets: FloatArray
    truth: npt.NDArray[np.int8]
    labels: tuple[str, ...]
    dt: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "scene", rounded_scene(self.scene))
        object.__setattr__(self, "q_start", rounded(self.q_start))
        object.__setattr__(self, "targets", rounded(self.targets))
        object.__setattr__(self, "truth", np.asarray(self.truth, dtype=np.int8))
        count = len(self.q_start)
        right = (
            self.scene.batch_shape == (count,)
            and self.q_start.shape == (count, self.scene.arm.num_joints)
            and self.targets.ndim in (2, 3)
            and len(self.targets) == count
            and self.targets.shape[-1] == 2
            and self.truth.shape == (count,)
            and len(self.labels) == count
        )
        if not right:
            raise InvalidInputError(
                f"Task group {self.name!r} does not fit together: scene {self.scene.batch_shape}, "
                f"q_start {self.q_start.shape}, targets {self.targets.shape}, truth {self.truth.shape}, "
                f"{len(self.labels)} labels."
            )

    def __len__(self) -> int:
        return len(self.q_start)

    @property
    def kind(self) -> str:
        """``"ik"`` or ``"track"``."""
        return "ik" if self.targets.ndim == 2 else "track"

    def task_names(self, where: slice = slice(None)) -> list[str]:
        """Names of tasks: the group's and a number."""
        return [f"{self.name}/{i:05d}" for i in range(*where.indices(len(self)))]

    def chunks(self, size: int = CHUNK) -> Iterator[slice]:
        """Ranges of tasks that are handed to a policy at once."""
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    @cached_property
    def scene_number(self) -> npt.NDArray[np.int64]:
        """``(N,)`` number of each task's scene, by first appearance: equal where the discs are.

        Tasks without discs share nothing: each has a number of its own.
        """
        arrays = {name: np.reshape(values, (len(self), -1)) for name, values in self.arrays()}
        discs = [arrays[name].astype(np.float64) for name in ("centers", "radii", "shuttle") if name in arrays]
        scenes, present = np.concatenate(discs, axis=1), np.asarray(arrays["mask"].any(axis=1))
        known: dict[tuple[bool, int], int] = {}
        numbers = np.empty(len(self), dtype=np.int64)
        for i, (scene, any_disc) in enumerate(zip(scenes, present, strict=True)):
            # By hash, for a million scenes to stay small.
            key = (any_disc, hash(scene.tobytes()) if any_disc else i)
            numbers[i] = known.setdefault(key, len(known))
        return numbers

    def __getitem__(self, index: slice) -> TaskGroup:
        """Some of the tasks, under the same group name (numbered from 0 again)."""
        part = object.__new__(TaskGroup)
        # Past __post_init__: what has been checked and rounded stays so, and a run takes its tasks chunk by chunk.
        part.__dict__.update(
            self.__dict__,
            scene=self.scene[index],
            q_start=self.q_start[index],
            targets=self.targets[index],
            truth=self.truth[index],
            labels=self.labels[index],
            scene_number=self.scene_number[index],
        )
        return part

    def arrays(self) -> Iterator[tuple[str, Any]]:
        """Name and value of every array that defines the tasks."""
        discs = self.scene.obstacles
        mask = np.ones(np.shape(discs.radii), dtype=bool) if discs.mask is None else np.asarray(discs.mask)
        yield "q_start", self.q_start
        yield "targets", self.targets
        yield "truth", self.truth
        # Empty slots are padding, which no task depends on.
        yield "centers", np.where(mask[..., None], discs.centers, 0.0)
        yield "radii", np.where(mask, discs.radii, 0.0)
        if discs.shuttle is not None:
            yield "shuttle", np.where(mask[..., None], discs.shuttle, 0.0)
        yield "mask", mask


@dataclass(frozen=True, eq=False)
class Suite:
    """A named, versioned set of tasks. Changed tasks are a new version.

    Args:
        name: E.g. ``"v1/quick"``.
        description: One sentence.
        groups: The tasks.
        tolerance: Tracking error at which a task counts as met when failures are sorted; fraction of the
            reach.
        chunk_size: Tasks per call of a policy.

    Raises:
        InvalidInputError: No tasks, groups of the same name or of none, or a number out of range.
    """

    name: str
    description: str
    groups: tuple[TaskGroup, ...]
    tolerance: float = 0.01
    chunk_size: int = CHUNK

    def __post_init__(self) -> None:
        groups = self.groups
        if not isinstance(groups, tuple) or not all(isinstance(group, TaskGroup) for group in groups):
            raise InvalidInputError(f"Suite {self.name!r}: groups must be a tuple of TaskGroup, got {groups!r:.200}.")
        names = [group.name for group in groups]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise InvalidInputError(f"Suite {self.name!r} has several groups of the name {twice[0]!r}.")
        if not all(name and isinstance(name, str) for name in names) or not sum(map(len, groups)):
            raise InvalidInputError(f"Suite {self.name!r} must have tasks, in groups that have names; got {names}.")
        real_number("tolerance", self.tolerance, 0.0, 1.0)
        whole_number("chunk_size", self.chunk_size, 1, 10**9)

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of tasks per group."""
        return {group.name: len(group) for group in self.groups}

    def group(self, name: str) -> TaskGroup:
        """The group of that name.

        Raises:
            KeyError: There is none.
        """
        return {group.name: group for group in self.groups}[name]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every number and setting of the tasks; results carry it."""
        digest = hashlib.sha256()
        head = [self.name, self.tolerance, *([self.chunk_size] if self.chunk_size != CHUNK else [])]
        digest.update(json.dumps(head).encode())
        for group in self.groups:
            of_group = [group.name, group.arm, group.scene.arm.to_dict(), group.scene.safety_margin, group.dt]
            digest.update(json.dumps([*of_group, list(group.labels)], sort_keys=True).encode())
            for name, values in group.arrays():
                array = np.ascontiguousarray(values)
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()
