"""Exact inverse kinematics and ground truth: every branch, the self-motion curve, what is reachable.

Verdicts are about *answers*: whether a free configuration on the target exists. Free space may be
disconnected, so a reachable target does not promise a motion that leads there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arm import PlanarArm
from .errors import InvalidInputError
from .obstacles import Obstacles
from .scene import Scene
from .validate import broadcast_batch, finite_array

FloatArray = npt.NDArray[np.float64]

REACHABLE, UNREACHABLE, UNDECIDED = 1, 0, -1
"""Verdicts of :func:`reachability`."""

FREE, BLOCKED, OUT_OF_REACH = 1, 0, -1
"""Status of :func:`nearest_solution`."""

DEFAULT_BRANCHES = 64
BOUNDARY_TOLERANCE = 1e-12
FLATNESS = 2e-15
WITNESS_ATTEMPTS = 400
WITNESS_SEED = 20140101


class Reachability(NamedTuple):
    """Ground truth for targets.

    Attributes:
        verdict: ``(*batch,)`` int8: 1 a free configuration reaches the target, 0 none does, -1 undecided.
        q: ``(*batch, n)`` [rad] a free configuration on the target where the verdict is 1, else NaN.
        clearance: ``(*batch,)`` [m] its clearance (inf without discs), else NaN.
    """

    verdict: npt.NDArray[np.int8]
    q: FloatArray
    clearance: FloatArray


class NearestSolution(NamedTuple):
    """The solution nearest to where the arm is.

    Attributes:
        q: ``(*batch, n)`` [rad] finite and within joint limits.
        status: ``(*batch,)`` int8: 1 ``q`` reaches the target and is free; 0 it reaches it, but no free
            configuration was found; -1 no configuration within the joint limits reaches it.
    """

    q: FloatArray
    status: npt.NDArray[np.int8]


def _check_joints(arm: PlanarArm, most: int, what: str) -> None:
    if arm.num_joints > most:
        raise InvalidInputError(
            f"{what} knows arms of 1 to {most} links, this one has {arm.num_joints}; "
            "reachability knows arms of any number of links."
        )


def _within_limits(q: FloatArray, arm: PlanarArm) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Each angle turned as near as it gets to the middle of its limits, and whether all are inside."""
    lower, upper = arm.joint_limits[:, 0], arm.joint_limits[:, 1]
    turned = q + 2 * np.pi * np.round(((lower + upper) / 2 - q) / (2 * np.pi))
    inside = (turned >= lower - BOUNDARY_TOLERANCE) & (turned <= upper + BOUNDARY_TOLERANCE)
    return np.where(inside, np.clip(turned, lower, upper), turned), np.asarray(inside.all(axis=-1))


def _two_link(
    wrist: FloatArray, l1: float, l2: float, elbow: Any
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """First heading and relative angle of two links that reach ``wrist``, and whether they do.

    ``cos(shoulder) = (r^2 + l1^2 - l2^2) / (2 r l1)``; the second direction is taken from the elbow found, so
    that the error at the tip stays at rounding also where the arm is nearly straight.
    """
    x, y = wrist[..., 0], wrist[..., 1]
    r = np.hypot(x, y)
    slack = BOUNDARY_TOLERANCE * (l1 + l2)
    reached = (r <= l1 + l2 + slack) & (r >= abs(l1 - l2) - slack)
    safe = np.where(r > 0, r, 1.0)
    cosine = np.where(r > 0, np.clip((r + (l1 - l2) * (l1 + l2) / safe) / (2 * l1), -1.0, 1.0), 0.0)
    # Straight or folded up to rounding: exactly so, where the angle would have the rounding's square root.
    flat = np.minimum(l1 + l2 - r, r - abs(l1 - l2)) < FLATNESS * (l1 + l2)
    cosine = np.where(flat & (r > 0), np.sign(cosine), cosine)
    sine = elbow * np.sqrt((1 - cosine) * (1 + cosine))
    toward_x, toward_y = np.where(r > 0, x / safe, 1.0), np.where(r > 0, y / safe, 0.0)
    ux, uy = toward_x * cosine + toward_y * sine, toward_y * cosine - toward_x * sine
    vx, vy = x - l1 * ux, y - l1 * uy
    return np.arctan2(uy, ux), np.arctan2(ux * vy - uy * vx, ux * vx + uy * vy), reached


def _with_orientation(target: FloatArray, orientation: FloatArray, arm: PlanarArm) -> tuple[FloatArray, Any]:
    """Both elbows of three links with the last link's heading given: ``(*batch, 2, 3)``, ``(*batch, 2)``."""
    l1, l2, l3 = (float(length) for length in arm.link_lengths)
    heading = orientation[..., None]
    wrist = target[..., None, :] - l3 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    q1, q2, reached = _two_link(wrist, l1, l2, np.array([1.0, -1.0]))
    q = np.stack(np.broadcast_arrays(q1, q2, heading - q1 - q2), axis=-1)
    return q, np.broadcast_to(reached, q.shape[:-1])


def _heading_bounds(target: FloatArray, arm: PlanarArm) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest angle in [0, pi] between the last link and the target's bearing.

    The wrist must keep ``|l1 - l2| <= |w| <= l1 + l2`` with ``|w|^2 = d^2 + l3^2 - 2 d l3 cos(angle)``.
    """
    l1, l2, l3 = (float(length) for length in arm.link_lengths)
    d = np.hypot(target[..., 0], target[..., 1])
    anywhere = d <= BOUNDARY_TOLERANCE * l3

    def angle(opposite: float) -> FloatArray:
        # Kahan's form of the cosine law: exact also for needle-like triangles.
        a, b = np.maximum(d, l3), np.minimum(d, l3)
        mu = np.where(b >= opposite, opposite - (a - b), b - (a - opposite))
        numerator = ((a - b) + opposite) * np.maximum(mu, 0.0)
        denominator = (a + (b + opposite)) * np.maximum((a - opposite) + b, 0.0)
        return np.asarray(2 * np.arctan2(np.sqrt(numerator), np.sqrt(denominator)))

    return np.where(anywhere, 0.0, angle(abs(l1 - l2))), np.where(anywhere, np.pi, angle(l1 + l2))


def closed_form(
    target_position: Any,
    arm: PlanarArm,
    *,
    target_orientation: Any = None,
    num_branches: int = DEFAULT_BRANCHES,
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """All inverse-kinematics branches of an arm of one to three links, discs aside.

    One link: its heading. Two links: both elbows. Three links and an orientation: both elbows of the first
    two links to the wrist ``p - l3 e^{i phi}``. Three links and a position only: samples of the self-motion
    curve, both elbows on both sides, dense where the joint angles change fast. Angles are turned by multiples
    of 2 pi to lie within the joint limits where that is possible.

    Args:
        target_position: ``(*batch, 2)`` [m].
        arm: One to three links.
        target_orientation: ``(*batch,)`` heading of the last link [rad]; None: free.
        num_branches: Samples where three links have their orientation free, a multiple of 4.

    Returns:
        ``q (*batch, k, n)`` [rad], always finite, and ``valid (*batch, k)``: reaches the target (to 1e-12 of
        the reach) with the orientation, within the joint limits. k is 1, 2, 2 or ``num_branches``.

    Raises:
        InvalidInputError: More than three links, NaN, wrong shapes.
    """
    _check_joints(arm, 3, "closed_form")
    target = finite_array("target_position", target_position, (2,)) - arm.base
    orientation = None
    if target_orientation is not None:
        orientation = finite_array("target_orientation", target_orientation)
        batch = broadcast_batch(target_position=target.shape[:-1], target_orientation=orientation.shape)
        target, orientation = np.broadcast_to(target, (*batch, 2)), np.broadcast_to(orientation, batch)
    n = arm.num_joints
    if n == 1:
        distance = np.hypot(target[..., 0], target[..., 1])
        q = np.arctan2(target[..., 1], target[..., 0])[..., None, None]
        reached = np.abs(distance - arm.reach)[..., None] <= BOUNDARY_TOLERANCE * arm.reach
    elif n == 2:
        q1, q2, reached = _two_link(
            target[..., None, :], arm.link_lengths[0], arm.link_lengths[1], np.array([1.0, -1.0])
        )
        q = np.stack([q1, q2], axis=-1)
    elif orientation is not None:
        q, reached = _with_orientation(target, orientation, arm)
    else:
        if num_branches < 4 or num_branches % 4:
            raise InvalidInputError(f"num_branches must be a positive multiple of 4, got {num_branches}.")
        low, high = (bound[..., None] for bound in _heading_bounds(target, arm))
        theta = np.linspace(0.0, np.pi, num_branches // 4)
        offset = (low + high) / 2 - (high - low) / 2 * np.cos(theta)
        bearing = np.arctan2(target[..., 1], target[..., 0])[..., None]
        headings = np.concatenate([bearing + offset, bearing - offset], axis=-1)
        q, _ = _with_orientation(target[..., None, :], headings, arm)
        q = q.reshape(*target.shape[:-1], num_branches, 3)
        reached = np.broadcast_to(_in_annulus(target, arm)[..., None], q.shape[:-1])
    if n < 3 and orientation is not None:
        off = np.abs(np.angle(np.exp(1j * (q.sum(axis=-1) - orientation[..., None]))))
        reached = reached & (off <= BOUNDARY_TOLERANCE)
    q, inside = _within_limits(q, arm)
    return q, np.broadcast_to(reached, q.shape[:-1]) & inside


def _in_annulus(target: FloatArray, arm: PlanarArm) -> npt.NDArray[np.bool_]:
    distance, slack = np.hypot(target[..., 0], target[..., 1]), BOUNDARY_TOLERANCE * arm.reach
    return np.asarray((distance <= arm.reach + slack) & (distance >= arm.inner_reach - slack))


def self_motion(target_position: Any, arm: PlanarArm, num_points: int = 256) -> list[FloatArray]:
    """The closed curves of configurations with which three links reach a target, limits aside.

    There are none out of reach, one or two otherwise. Where the last link's heading is confined, the curve
    runs to and fro over its interval, with one elbow there and the other back.

    Args:
        target_position: ``(2,)`` [m].
        arm: Three links; joint limits are ignored.
        num_points: Points per curve, the first not repeated at the end.

    Returns:
        Arrays ``(num_points, 3)`` [rad], continuous along the curve (closed modulo 2 pi).

    Raises:
        InvalidInputError: Not three links, NaN, a wrong shape, fewer than 8 points.
    """
    if arm.num_joints != 3:
        raise InvalidInputError(f"self_motion is about arms of 3 links, this one has {arm.num_joints}.")
    target = finite_array("target_position", target_position, (2,)) - arm.base
    if target.shape != (2,):
        raise InvalidInputError(f"self_motion takes one target of shape (2,), got {target.shape}.")
    if num_points < 8:
        raise InvalidInputError(f"num_points must be at least 8, got {num_points}.")
    if not _in_annulus(target, arm):
        return []
    bearing = float(np.arctan2(target[1], target[0]))
    low, high = (float(bound) for bound in _heading_bounds(target, arm))
    theta = 2 * np.pi * np.arange(num_points) / num_points
    if low == 0 and high == np.pi:
        both, _ = _with_orientation(target, bearing + theta, arm)
        curves = [both[:, 0], both[:, 1]]
    else:
        if low == 0:
            intervals = [(-high, high)]
        elif high == np.pi:
            intervals = [(low, 2 * np.pi - low)]
        else:
            intervals = [(low, high), (-high, -low)]
        there = (theta < np.pi)[:, None]
        curves = []
        for a, b in intervals:
            both, _ = _with_orientation(target, bearing + (a + b) / 2 - (b - a) / 2 * np.cos(theta), arm)
            curves.append(np.where(there, both[:, 0], both[:, 1]))
    return [np.unwrap(curve, axis=0) for curve in curves]


def _discs(obstacles: Obstacles, batch: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Centres and radii at time 0 as the kernels want them: one row per target, or one row for all."""
    centers = np.asarray(obstacles.positions(), dtype=np.float64)
    radii = np.asarray(obstacles.radii, dtype=np.float64)
    if obstacles.mask is not None:
        radii = np.where(np.asarray(obstacles.mask), radii, -1.0)
    m = obstacles.num_obstacles
    if obstacles.batch_shape:
        centers, radii = np.broadcast_to(centers, (*batch, m, 2)), np.broadcast_to(radii, (*batch, m))
    count = int(np.prod(radii.shape[:-1]))
    # Copies: read-only arrays would have the kernels compiled once more.
    return np.array(centers.reshape(count, m, 2)), np.array(radii.reshape(count, m))


def _padded(arm: PlanarArm) -> tuple[FloatArray, FloatArray]:
    """Link lengths and limits of a short arm with links of length zero added up to three."""
    lengths = np.zeros(3)
    limits = np.tile([-2 * np.pi, 2 * np.pi], (3, 1))
    lengths[: arm.num_joints], limits[: arm.num_joints] = arm.link_lengths, arm.joint_limits
    return lengths, limits


def _rows(array: FloatArray, batch: tuple[int, ...]) -> FloatArray:
    width = array.shape[-1]
    return np.array(np.broadcast_to(array, (*batch, width)).reshape(-1, width))


@lru_cache(maxsize=4)
def _uniforms(num_links: int) -> FloatArray:
    """Random numbers, the same for every target: a verdict does not depend on the place in a batch."""
    from .kernels.redundant import TRIES

    return np.random.default_rng(WITNESS_SEED).random((WITNESS_ATTEMPTS, num_links - 3, TRIES))


def reachability(target_position: Any, scene: Scene, *, tolerance: float = 1e-3) -> Reachability:
    """Whether any free configuration within the joint limits puts the end effector on the target.

    One and two links: all branches. Three links: branch and bound over the self-motion curve with sound
    bounds (:mod:`planararm.kernels.ground_truth`), so the verdict is a proof both ways, and the witness's
    clearance is within ``tolerance`` of the best. More links: a witness by guided random search, or a proof
    that the first or last link has no free heading that leaves a spannable distance, or undecided; the
    witness's clearance is not the best then.

    Args:
        target_position: ``(*batch, 2)`` [m].
        scene: Arm, discs (their batch axes broadcast against the targets'; shuttling ones stand where
            they are at time 0) and margin.
        tolerance: How far the witness's clearance may be from the best [m], > 0.

    Returns:
        :class:`Reachability`. Up to three links the verdict is -1 (undecided) only where the best clearance
        comes within 1e-7 of the reach to the margin, or the budget of subdivisions ran out.

    Raises:
        InvalidInputError: NaN, wrong shapes, a tolerance that is not positive.
    """
    target = finite_array("target_position", target_position, (2,))
    if finite_array("tolerance", tolerance).shape or not tolerance > 0:
        raise InvalidInputError(f"tolerance must be a number > 0 [m], got {tolerance!r}.")
    batch = broadcast_batch(scene=scene.batch_shape, target_position=target.shape[:-1])
    arm, n = scene.arm, scene.arm.num_joints
    targets, (centers, radii) = _rows(target, batch), _discs(scene.obstacles, batch)
    count = len(targets)
    verdict, clearance = np.empty(count, dtype=np.int8), np.empty(count)
    base = np.array(arm.base)
    from .kernels.launch import launch

    if n <= 3:
        from .kernels.ground_truth import reachability_kernel

        q = np.empty((count, 3))
        lengths, limits = _padded(arm)
        launch(
            reachability_kernel, count, targets, centers, radii, lengths, limits, base,
            arm.link_radius, scene.safety_margin, float(tolerance), verdict, clearance, q,
        )  # fmt: skip
    else:
        from .kernels.redundant import redundant_kernel

        q = np.empty((count, n))
        launch(
            redundant_kernel, count, targets, centers, radii, np.array(arm.link_lengths),
            np.array(arm.joint_limits), base, arm.link_radius, scene.safety_margin, _uniforms(n), verdict,
            clearance, q, grain=8,
        )  # fmt: skip
    q = q[:, :n].reshape(*batch, n)
    return Reachability(verdict.reshape(batch), q, clearance.reshape(batch))


def nearest_solution(target_position: Any, q: Any, scene: Scene) -> NearestSolution:
    """The configuration on the target with the smallest largest-joint change from ``q``.

    ``argmin max_i |q'_i - q_i|`` over the free exact solutions within the joint limits.
    If none is free, over those within the limits; if none is within the limits, a configuration within the
    limits whose end effector is near the target (the nearest point of the workspace annulus, angles clipped).

    Args:
        target_position: ``(*batch, 2)`` [m].
        q: ``(*batch, n)`` [rad], within the joint limits.
        scene: Arm of one to three links, discs and margin.

    Returns:
        :class:`NearestSolution`.

    Raises:
        InvalidInputError: More than three links, NaN, wrong shapes.
    """
    arm, n = scene.arm, scene.arm.num_joints
    _check_joints(arm, 3, "nearest_solution")
    target = finite_array("target_position", target_position, (2,))
    q_from = finite_array("q", q, (n,))
    batch = broadcast_batch(scene=scene.batch_shape, target_position=target.shape[:-1], q=q_from.shape[:-1])
    targets, (centers, radii) = _rows(target, batch), _discs(scene.obstacles, batch)
    count = len(targets)
    padded = np.zeros((count, 3))
    padded[:, :n] = _rows(q_from, batch)
    lengths, limits = _padded(arm)
    status, answer = np.empty(count, dtype=np.int8), np.zeros((count, 3))
    answer[:, :n] = arm.clip(padded[:, :n])
    from .kernels.launch import launch
    from .kernels.nearest import nearest_kernel

    launch(
        nearest_kernel, count, targets, padded, centers, radii, lengths, limits, np.array(arm.base),
        arm.link_radius, scene.safety_margin, status, answer, grain=16,
    )  # fmt: skip
    return NearestSolution(answer[:, :n].reshape(*batch, n), status.reshape(batch))


def nearest_free(target_position: Any, q: Any, scene: Scene) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """:func:`nearest_solution` with "free" as a flag: ``q' (*batch, n)`` and ``found (*batch,)``."""
    solution = nearest_solution(target_position, q, scene)
    return solution.q, solution.status == FREE


def within_reach(target_position: Any, arm: PlanarArm) -> npt.NDArray[np.bool_]:
    """Whether some configuration within the joint limits reaches the target, discs aside.

    Args:
        target_position: ``(*batch, 2)`` [m].
        arm: Any arm; above three links a target that nothing was found for counts as out of reach.

    Returns:
        ``(*batch,)``.
    """
    return np.asarray(reachability(target_position, Scene(arm, Obstacles.none())).verdict == REACHABLE)
