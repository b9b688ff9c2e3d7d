"""The nearest free configuration to a proposal, and on a target if one is given.

Distances are linearised, projected onto, and linearised again until the true constraints hold
(:mod:`planararm.kernels.sequential`); nothing is called safe that has not been measured to be. Free space is not
convex: the answer is a local minimum, found by one of the sources below, in this order.
"""

from __future__ import annotations

import enum
import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collision import clearance
from ..errors import InvalidInputError
from ..kernels import sequential
from ..kernels.launch import launch, writable
from ..obstacles import Obstacles
from ..scene import Scene
from ..validate import broadcast_batch, finite_array, whole_number
from .command_filter import FilterStatus, filter_command
from .sensitivity import projection_vjp

FloatArray = npt.NDArray[np.float64]

SAFE, UNSAFE = 1, 0
SLACK = 1e-7
"""What is aimed at beyond the safety margin [m], so that an answer at the margin is free by anyone's arithmetic."""

MAX_ITERATIONS = 60
TASK_TOLERANCE = 1e-8
CERTIFIED_STEP = 0.5
"""Largest joint change of one certified step [rad]."""

SMALLEST_SHARE = 8
"""Rows worth a thread of their own: those that are left for further starts are few and slow."""

MAX_WAYPOINTS, STANDSTILL = 200, 1e-7
"""Steps on the way to an answer at most; joint changes below this [rad] end it."""


class Source(enum.IntEnum):
    """Where an answer comes from, in the order in which they are tried."""

    PROPOSAL = 0
    """The proposal itself is free (and on the target): it is returned unchanged."""
    PROJECTED = 1
    """Sequential projection of the proposal."""
    BRANCH = 2
    """Sequential projection of the proposal's mirror image: same end effector, links on the other side of the line."""
    RESTART = 3
    """Sequential projection of the proposal, searched from another start."""
    RELAXATION = 4
    """The convex relaxation, by :mod:`planararm.projection.convex_ik`."""
    STOPPED = 5
    """As far towards the answer as certified steps from ``q_start`` lead."""
    HELD = 6
    """``q_start`` itself."""
    NONE = 7
    """No free configuration was found; ``q`` is the nearest try and not safe."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Answers of :func:`project`.

    Attributes:
        q: ``(*batch, n)`` within the joint limits [rad].
        status: ``(*batch,)`` int8: 1 where q is safe: within the limits and free by the safety margin, measured; else
            0.
        distance: ``(*batch,)`` ``|q - q_ref|`` [rad].
        iterations: ``(*batch,)`` int32: quadratic programs solved for it.
        source: ``(*batch,)`` int8, see :class:`Source`.
        clearance: ``(*batch,)`` signed distance at q [m].
        task_error: ``(*batch,)`` distance of the end effector to the target [m]; nan without a target.
        converged: ``(*batch,)`` bool: q is also a local minimum of the distance to the proposal.
        waypoints: With ``q_start``: ``(K, *batch, n)`` the certified way there, repeated at its end; else None.
    """

    q: FloatArray
    status: npt.NDArray[np.int8]
    distance: FloatArray
    iterations: npt.NDArray[np.int32]
    source: npt.NDArray[np.int8]
    clearance: FloatArray
    task_error: FloatArray
    converged: npt.NDArray[np.bool_]
    waypoints: FloatArray | None = field(repr=False)
    q_ref: FloatArray = field(repr=False)
    scene: Scene = field(repr=False)
    target_position: FloatArray | None = field(repr=False)

    @functools.cached_property
    def safe(self) -> npt.NDArray[np.bool_]:
        """``(*batch,)`` whether each answer is safe."""
        return self.status == SAFE

    def vjp(self, grad_q: Any, *, mode: str = "exact") -> tuple[FloatArray, FloatArray | None]:
        """Derivatives of a scalar L with respect to ``q_ref`` and ``target_position``, from ``dL/dq``.

        With A the active rows at q, lambda their multipliers, ``H = I - sum lambda_i hess d_i - sum nu_k hess p_k``
        and Z a basis of null(A): ``dq/dq_ref = Z (Z^T H Z)^-1 Z^T`` (``"exact"``). ``"gauss-newton"`` leaves the
        curvature out (H = I), which is what the last quadratic program would say; the two agree at vertices. Zero
        where q does not depend on the proposal (held, stopped, relaxed, none), or is not a strict local minimum.

        Args:
            grad_q: ``(*batch, n)``.
            mode: ``"exact"`` or ``"gauss-newton"``.

        Raises:
            InvalidInputError: Another shape, or an unknown mode.
        """
        return projection_vjp(self, grad_q, mode=mode)


@dataclass(frozen=True)
class _Rows:
    """The batch with its leading axes in one."""

    scene: Scene
    q_ref: FloatArray
    target: FloatArray | None
    discs: tuple[Any, ...]

    @property
    def size(self) -> int:
        return len(self.q_ref)


@dataclass
class _Answers:
    q: FloatArray
    solved: npt.NDArray[np.bool_]
    converged: npt.NDArray[np.bool_]
    iterations: npt.NDArray[np.int32]
    clearance: FloatArray
    error: FloatArray

    def take_over(self, rows: npt.NDArray[np.int64], other: _Answers, better: npt.NDArray[np.bool_]) -> None:
        self.iterations[rows] += other.iterations
        for name in ("q", "solved", "converged", "clearance", "error"):
            getattr(self, name)[rows[better]] = getattr(other, name)[better]


def _search(
    batch: _Rows, chosen: npt.NDArray[np.int64], q_ref: FloatArray, q_start: FloatArray, settings: dict[str, Any]
) -> _Answers:
    """Run the kernel for some rows."""
    arm, count = batch.scene.arm, len(chosen)
    n = arm.num_joints
    low, high = arm.joint_limits.T
    answers = _Answers(
        np.empty((count, n)), np.empty(count, np.bool_), np.empty(count, np.bool_), np.empty(count, np.int32),
        np.empty(count), np.empty(count),
    )  # fmt: skip
    target = np.zeros((count, 2)) if batch.target is None else batch.target[chosen]
    start = np.clip(q_start, low, high)
    launch(
        sequential.project_batch, count, np.array(q_ref, order="C"), np.array(start, order="C"), target,
        batch.target is not None, *writable(arm.link_lengths, arm.base), arm.link_radius, *writable(arm.joint_limits),
        *(part[chosen] for part in batch.discs), batch.scene.safety_margin, SLACK,
        settings["task_tolerance"] * arm.reach, settings["nearest"], settings["max_iterations"], answers.q,
        answers.solved, answers.converged, answers.iterations, answers.clearance, answers.error, grain=SMALLEST_SHARE,
    )  # fmt: skip
    return answers


def mirror_branch(q: FloatArray, scene: Scene) -> FloatArray:
    """The other branch: the chain reflected at the line from the base to the end effector, which stays where it is.

    ``q_1' = 2 theta - q_1`` with theta the end effector's bearing, ``q_i' = -q_i``; the first joint is brought within
    its limits by whole turns where that is possible.

    Args:
        q: ``(*batch, n)`` [rad].
        scene: The scene.
    """
    arm = scene.arm
    away = np.asarray(arm.end_effector(q)) - arm.base
    bearing = np.arctan2(away[..., 1], away[..., 0])
    mirrored = -q
    first = 2 * bearing - q[..., 0]
    low, high = arm.joint_limits[0]
    # The turn that comes nearest to the middle of the range.
    mirrored[..., 0] = first - 2 * np.pi * np.round((first - (low + high) / 2) / (2 * np.pi))
    return mirrored


@functools.cache
def _offsets(num_joints: int, count: int) -> FloatArray:
    """Where restarts begin, as shares of the joint ranges: the Halton sequence, from its second point on.

    (As :class:`scipy.stats.qmc.Halton`, importing which takes longer than a thousand projections.)
    """
    points = np.zeros((count, num_joints))
    for joint, base in enumerate(_primes(num_joints)):
        digits, place = np.arange(1, count + 1), 1.0 / base
        while digits.any():
            points[:, joint] += digits % base * place
            digits, place = digits // base, place / base
    return points


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def project(
    q_ref: Any,
    scene: Scene,
    *,
    q_start: Any = None,
    target_position: Any = None,
    nearest: bool = True,
    num_restarts: int = 8,
    relaxation: bool = False,
    task_tolerance: float = TASK_TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Projection:
    """The free configuration nearest to a proposal, on a target if one is given.

    The search is local; where it fails, the mirror image and then ``num_restarts`` further starts are tried. Every
    answer called safe has been measured to be within the limits and free by the scene's safety margin.

    With ``q_start`` the arm is led there: from ``q_start``, in straight steps each of which is certified as a whole
    (:func:`planararm.projection.command_filter.filter_command`). The answer is then where these end, and
    ``waypoints`` the way.

    Args:
        q_ref: ``(*batch, n)`` proposals, for instance a network's output [rad]; may be far outside the limits.
        scene: The scene, with batch axes or without. Shuttling discs are taken where they are at time 0.
        q_start: ``(*batch, n)`` where the arm stands [rad], or None: only the configuration matters.
        target_position: ``(*batch, 2)`` where the end effector is to be [m], or None.
        nearest: With a target: whether to go on, once it is reached, to the configuration on it that is nearest to the
            proposal. Costs about as much again.
        num_restarts: Further starts for rows that are not solved.
        relaxation: Whether rows with a target that are still not solved are given to the convex relaxation
            (:mod:`planararm.projection.convex_ik`: milliseconds each; needs the extra ``convex``).
        task_tolerance: Distance to the target that counts as reached, fraction of the reach.
        max_iterations: Quadratic programs of one search.

    Raises:
        InvalidInputError: Wrong shapes, NaN, numbers out of range.
    """
    arm = scene.arm
    n = arm.num_joints
    q_ref = finite_array("q_ref", q_ref, (n,))
    target = None if target_position is None else finite_array("target_position", target_position, (2,))
    start = None if q_start is None else finite_array("q_start", q_start, (n,))
    num_restarts = whole_number("num_restarts", num_restarts, 0, 10_000)
    max_iterations = whole_number("max_iterations", max_iterations, 1, 100_000)
    if not 0 < task_tolerance < 1:
        raise InvalidInputError(f"task_tolerance must be in (0, 1), a fraction of the reach; got {task_tolerance!r}.")
    shapes = {"q_ref": q_ref.shape[:-1], "scene": scene.batch_shape}
    shapes |= {} if target is None else {"target_position": target.shape[:-1]}
    shapes |= {} if start is None else {"q_start": start.shape[:-1]}
    batch = broadcast_batch(**shapes)
    count = math.prod(batch)

    def rows(values: Any, *trailing: int, dtype: type = np.float64) -> Any:
        return np.array(np.broadcast_to(values, (*batch, *trailing)).reshape(count, *trailing), dtype=dtype, order="C")

    discs, m = scene.obstacles, scene.obstacles.num_obstacles
    present = True if discs.mask is None else discs.mask
    flat = _Rows(
        scene, rows(q_ref, n), None if target is None else rows(target, 2),
        (rows(discs.positions(), m, 2), rows(discs.radii, m), rows(present, m, dtype=bool)),
    )  # fmt: skip
    settings = {
        "task_tolerance": float(task_tolerance),
        "nearest": bool(nearest),
        "max_iterations": max_iterations,
    }
    answers, source = _answer(flat, settings, num_restarts, relaxation)
    waypoints = None
    if start is not None:
        waypoints = _lead(flat, rows(start, n), answers, source, batch)
    within = ((answers.q >= arm.joint_limits[:, 0]) & (answers.q <= arm.joint_limits[:, 1])).all(axis=-1)
    safe = np.where(within & (answers.clearance >= scene.safety_margin), SAFE, UNSAFE).astype(np.int8)
    return Projection(
        answers.q.reshape(*batch, n), safe.reshape(batch),
        np.linalg.norm(answers.q - flat.q_ref, axis=-1).reshape(batch), answers.iterations.reshape(batch),
        source.reshape(batch), answers.clearance.reshape(batch), answers.error.reshape(batch),
        answers.converged.reshape(batch), waypoints, q_ref, scene, target,
    )  # fmt: skip


def _answer(
    batch: _Rows, settings: dict[str, Any], num_restarts: int, relaxation: bool
) -> tuple[_Answers, npt.NDArray[np.int8]]:
    """The sources in their order, each for the rows that the ones before did not solve."""
    arm, everywhere = batch.scene.arm, np.arange(batch.size)
    low, high = arm.joint_limits.T
    answers = _search(batch, everywhere, batch.q_ref, batch.q_ref, settings)
    source = np.full(batch.size, Source.NONE, dtype=np.int8)
    source[answers.solved] = Source.PROJECTED
    source[answers.solved & (answers.q == batch.q_ref).all(axis=-1)] = Source.PROPOSAL

    def attempt(name: Source, q_ref: FloatArray, q_start: FloatArray, left: npt.NDArray[np.int64]) -> None:
        tried = _search(batch, left, q_ref, q_start, settings)
        # Rows that stay unsolved keep the free configuration that comes nearest to the target.
        free = answers.clearance[left] >= batch.scene.safety_margin
        free_tried = tried.clearance >= batch.scene.safety_margin
        nearer = np.nan_to_num(tried.error, nan=np.inf) < np.nan_to_num(answers.error[left], nan=np.inf)
        better = tried.solved | (free_tried & (~free | nearer))
        answers.take_over(left, tried, better)
        source[left[better]] = name

    source[~answers.solved & (answers.clearance >= batch.scene.safety_margin)] = Source.PROJECTED
    left = np.flatnonzero(~answers.solved)
    if left.size:
        mirrored = mirror_branch(np.clip(batch.q_ref[left], low, high), batch.scene)
        attempt(Source.BRANCH, mirrored, mirrored, left)
    for offset in _offsets(arm.num_joints, num_restarts) if num_restarts else ():
        left = np.flatnonzero(~answers.solved)
        if left.size == 0:
            break
        start = low + ((np.clip(batch.q_ref[left], low, high) - low) / (high - low) + offset) % 1.0 * (high - low)
        attempt(Source.RESTART, batch.q_ref[left], start, left)
    left = np.flatnonzero(~answers.solved)
    if relaxation and batch.target is not None and left.size:
        attempt(Source.RELAXATION, batch.q_ref[left], _relaxed(batch, batch.target, left), left)
    return answers, source


def _relaxed(batch: _Rows, target: FloatArray, left: npt.NDArray[np.int64]) -> FloatArray:
    """Where the convex relaxation, or convex iteration after it, says that rows are to search."""
    from .convex_ik import CONVEX_ITERATIONS, relax

    arm, starts = batch.scene.arm, batch.q_ref[left].copy()
    for row, i in enumerate(left):
        centers, radii, mask = (part[i] for part in batch.discs)
        scene = Scene(arm, Obstacles(centers, radii, mask=mask), batch.scene.safety_margin)
        found = relax(target[i], np.clip(batch.q_ref[i], *arm.joint_limits.T), scene, max_iterations=CONVEX_ITERATIONS)
        if np.isfinite(found.q).all():
            starts[row] = found.q
    return starts


def _lead(
    batch: _Rows, start: FloatArray, answers: _Answers, source: npt.NDArray[np.int8], shape: tuple[int, ...]
) -> FloatArray:
    """Walk from ``start`` towards the answers in certified steps; replace the answers by where that ends."""
    scene = Scene(
        batch.scene.arm, Obstacles(batch.discs[0], batch.discs[1], mask=batch.discs[2]), batch.scene.safety_margin
    )
    n = scene.arm.num_joints
    low, high = scene.arm.joint_limits.T
    q, goal = np.clip(start, low, high), answers.q.copy()
    way = [q]
    box = np.full(n, CERTIFIED_STEP)
    for _ in range(MAX_WAYPOINTS):
        _, info = filter_command(q, goal, scene, duration=1.0, max_step=box, motion_margin=scene.safety_margin)
        ahead = np.where((info.status == FilterStatus.UNCERTIFIED)[:, None], q, info.q_end)
        if np.abs(ahead - q).max(initial=0.0) < STANDSTILL:
            break
        q = ahead
        way.append(q)
    arrived = np.abs(q - goal).max(axis=-1, initial=0.0) < 10 * STANDSTILL
    moved = np.abs(q - way[0]).max(axis=-1, initial=0.0) > 0
    source[~arrived] = np.where(moved, Source.STOPPED, Source.HELD)[~arrived]
    answers.q = q
    answers.converged &= arrived
    answers.clearance = np.asarray(clearance(q, scene.arm, scene.obstacles))
    if batch.target is not None:
        answers.error = np.linalg.norm(np.asarray(scene.arm.end_effector(q)) - batch.target, axis=-1)
    return np.stack(way).reshape(len(way), *shape, n)
