"""Inverse kinematics by convex relaxation, in the link directions.

A planar arm's links point along the unit complex numbers ``u_k = exp(i phi_k)``, phi_k = q_1 + ... + q_k. In these
unknowns the goal ``sum_k l_k u_k = p`` is linear, and so is nearness to a proposal, ``max Re sum conj(u^_k) u_k``.
Only ``|u_k| = 1`` is not convex. Two relaxations follow Maric, Giamou, Petrovic & Kelly, 2020
(doi:10.1109/ICRA40945.2020.9197512), who lift joint positions instead:

* without joint limits and discs ``|u_k| <= 1``, a second-order cone program (:func:`socp_problem`;
  :mod:`planararm.projection.convex_cone` solves it for whole batches);
* with them ``W = u u^H`` (u_0 = 1, of size n + 1) is relaxed to a positive semidefinite matrix with unit diagonal.
  Joint limits, asymmetric ones too, are linear, ``Re(W_{k,k-1} exp(-i mid_k)) >= cos(half_k)``, and so is the squared
  distance of a point of a link from a disc's centre. A whole link is kept out by samples a distance delta apart,
  against discs of the radius ``sqrt(r^2 + (delta / 2)^2)``.

A relaxation is *tight* where W has rank one (all ``|u_k| = 1``): then its answer is the nearest configuration that
holds its rows. Where it is infeasible with discs of the true radius, whose rows every free configuration holds, no
configuration exists, to the solver's tolerance; with the larger discs it says nothing. Where it is neither,
:func:`convex_iteration` looks for a W of rank one (Giamou et al., 2022, doi:10.1109/LRA.2022.3141763).
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arm import PlanarArm
from ..collision import clearance
from ..errors import InvalidInputError, MissingExtraError
from ..kinematics import wrap_angle
from ..scene import Scene
from ..validate import exact_array
from .convex_cone import ComplexArray, FloatArray, angles_of

try:
    import cvxpy as cp
except ImportError as cause:
    raise MissingExtraError("planararm.projection.convex_ik", "convex") from cause

OPTIMAL, INFEASIBLE, FAILED = 1, 0, -1
"""Status of a relaxation: solved; proven infeasible; the solver gave up."""

SAMPLES_PER_LINK = 7
TIGHT = 5e-7
"""A relaxation is called tight if the second largest eigenvalue of W is below this share of the largest.

The end effector then misses the target by 2e-6 of the reach at most, as measured by ``benchmarks/convex_ik.py``.
"""

CLEAR = 1e-6
"""How much farther than the safety margin the discs' rows keep the arm [m]: the solver's own tolerance."""

CONVEX_ITERATIONS = 8
"""Programs that convex iteration may solve; it rarely gains after that."""

MET = 1e-5
"""A verified answer is this near to the target, share of the reach (an orientation: this many radians)."""

_ABSENT = -1.0
_ROUNDING = 1e-9


def socp_problem(link_lengths: Any) -> cp.Problem:
    """The cone program in cvxpy.

    Parameters ``proposal (n, 2)`` (cosines and sines) and ``goal (2,)``, variable ``U (n, 2)``.
    """
    lengths = np.asarray(link_lengths, dtype=np.float64)
    n = len(lengths)
    U = cp.Variable((n, 2), name="U")
    proposal, goal = cp.Parameter((n, 2), name="proposal"), cp.Parameter(2, name="goal")
    constraints = [lengths @ U == goal, cp.norm(U, 2, axis=1) <= 1]
    return cp.Problem(cp.Maximize(cp.sum(cp.multiply(proposal, U))), constraints)


@dataclass(frozen=True)
class LiftedProblem:
    """The semidefinite program of an arm with room for m discs, in the real embedding ``[[R, -S], [S, R]] >= 0``.

    Attributes:
        problem: Minimise ``<C, W>``, W = R + i S, over the lifted constraints.
        R: ``(n + 1, n + 1)`` symmetric variable.
        S: ``(n + 1, n + 1)`` skew variable.
        parameters: By name: ``cost_real`` and ``cost_imag`` (C), ``goal``, and with discs ``disc_x``, ``disc_y`` (m,)
            and ``disc_k`` (m,) = radius^2 - |centre|^2, relative to the base; with an orientation ``heading`` (2,).
    """

    problem: cp.Problem
    R: cp.Variable
    S: cp.Variable
    parameters: dict[str, cp.Parameter]


@functools.lru_cache(maxsize=32)
def _lifted(
    lengths: tuple[float, ...], limits: tuple[tuple[float, float], ...], num_discs: int, samples: int, oriented: bool
) -> LiftedProblem:
    n = len(lengths)
    size = n + 1
    L = np.asarray(lengths)
    R, S = cp.Variable((size, size), symmetric=True, name="R"), cp.Variable((size, size), name="S")
    shapes: dict[str, Any] = {"cost_real": (size, size), "cost_imag": (size, size), "goal": 2}
    shapes |= {"heading": 2} if oriented else {}
    shapes |= dict.fromkeys(("disc_x", "disc_y", "disc_k"), num_discs) if num_discs else {}
    parameters = {name: cp.Parameter(shape, name=name) for name, shape in shapes.items()}
    constraints = [
        cp.bmat([[R, -S], [S, R]]) >> 0,
        cp.diag(R) == 1,
        S + S.T == 0,
        L @ R[1:, 0] == parameters["goal"][0],
        L @ S[1:, 0] == parameters["goal"][1],
    ]
    for k, (low, high) in enumerate(limits, start=1):
        middle, half = (low + high) / 2, (high - low) / 2
        if half < math.pi:
            turn = R[k, k - 1] * math.cos(middle) + S[k, k - 1] * math.sin(middle)
            constraints.append(turn >= math.cos(half))
    if oriented:
        constraints += [R[n, 0] == parameters["heading"][0], S[n, 0] == parameters["heading"][1]]
    if num_discs:
        for weights in _sample_weights(L, samples):
            squared = cp.sum(cp.multiply(np.outer(weights, weights), R[1:, 1:]))
            across = parameters["disc_x"] * (weights @ R[1:, 0]) + parameters["disc_y"] * (weights @ S[1:, 0])
            constraints.append(squared - 2 * across >= parameters["disc_k"])
    objective = cp.sum(cp.multiply(parameters["cost_real"], R)) + cp.sum(cp.multiply(parameters["cost_imag"], S))
    problem = cp.Problem(cp.Minimize(objective), constraints)
    return LiftedProblem(problem, R, S, parameters)


def lifted_problem(
    arm: PlanarArm, num_discs: int = 0, *, samples: int = SAMPLES_PER_LINK, oriented: bool = False
) -> LiftedProblem:
    """The semidefinite program of an arm, built once.

    Args:
        arm: The arm; a joint whose range is a whole turn gets no row.
        num_discs: Room for this many discs.
        samples: Points of each link that are kept out of the discs, both ends included.
        oriented: Whether the last link's heading is given.
    """
    if samples < 2:
        raise InvalidInputError(f"samples must be at least 2 (the ends of a link), got {samples}.")
    limits = tuple((float(low), float(high)) for low, high in arm.joint_limits)
    return _lifted(tuple(map(float, arm.link_lengths)), limits, num_discs, samples, oriented)


def _sample_weights(lengths: FloatArray, samples: int) -> list[FloatArray]:
    """Coefficients of u_1 ... u_n of the sampled points: joints once, then the insides of the links."""
    rows = []
    for k in range(len(lengths)):
        for share in np.linspace(0, 1, samples)[1:]:
            weights = np.zeros(len(lengths))
            weights[:k] = lengths[:k]
            weights[k] = share * lengths[k]
            rows.append(weights)
    return rows


def nearest_cost(q_ref: FloatArray) -> ComplexArray:
    """C with ``<C, W> = -Re sum conj(u^_k) W_{k0}``: ``(n + 1, n + 1)``."""
    n = q_ref.shape[-1]
    cost = np.zeros((n + 1, n + 1), dtype=np.complex128)
    cost[1:, 0] = -np.exp(1j * np.cumsum(q_ref))
    return cost


def disc_parameters(scene: Scene, num_discs: int, samples: int, *, inflated: bool) -> dict[str, FloatArray]:
    """Values of ``disc_x``, ``disc_y`` and ``disc_k`` for an unbatched scene; absent discs never act.

    Args:
        scene: The scene.
        num_discs: Length of the parameters.
        samples: Points per link.
        inflated: Whether the radii cover what lies between the samples. With the true radii the rows are necessary: if
            they cannot be met, no free configuration exists.
    """
    arm, discs = scene.arm, scene.obstacles
    centers, radii = np.asarray(discs.positions()) - arm.base, np.asarray(discs.radii)
    there = np.ones(len(radii), dtype=bool) if discs.mask is None else np.asarray(discs.mask)
    centers, radii = centers[there], radii[there] + arm.link_radius + scene.safety_margin
    if inflated:
        spacing = arm.link_lengths.max() / (samples - 1)
        radii = np.sqrt((radii + CLEAR) ** 2 + (spacing / 2) ** 2)
    values = {"disc_x": np.zeros(num_discs), "disc_y": np.zeros(num_discs), "disc_k": np.full(num_discs, _ABSENT)}
    count = len(radii)
    values["disc_x"][:count], values["disc_y"][:count] = centers.T
    values["disc_k"][:count] = radii**2 - (centers**2).sum(-1)
    return values


class Relaxed(NamedTuple):
    """What a semidefinite relaxation found for one target.

    Attributes:
        q: ``(n,)`` joint angles of the nearest matrix of rank one, within the limits by whole turns if possible [rad];
            nan unless solved.
        status: OPTIMAL, INFEASIBLE or FAILED.
        rank_ratio: Second largest eigenvalue of W over the largest.
        W: ``(n + 1, n + 1)`` Hermitian.
        iterations: Programs solved.
        verified: Whether q itself is on the target to :data:`MET`, within the limits and at least the safety margin
            from every disc, by the arm's kinematics and distances: nothing of the relaxation is believed.
    """

    q: FloatArray
    status: int
    rank_ratio: float
    W: ComplexArray
    iterations: int
    verified: bool

    @property
    def tight(self) -> bool:
        """Whether W has rank one, to :data:`TIGHT`: the answer is then the optimum of the problem itself."""
        return self.status == OPTIMAL and self.rank_ratio < TIGHT


def directions_of(W: ComplexArray) -> tuple[ComplexArray, float]:
    """Link directions of the largest eigenvector of W, and the ratio of the two largest eigenvalues."""
    values, vectors = np.linalg.eigh(W)
    leading = vectors[:, -1]
    turned = leading * np.conj(leading[0])
    size = np.abs(turned[1:])
    unit = np.where(size > 1e-12, turned[1:] / np.maximum(size, 1e-12), 1.0)
    return unit, float(max(values[-2], 0.0) / max(values[-1], 1e-300))


def within_limits(q: FloatArray, q_ref: FloatArray, arm: PlanarArm) -> FloatArray:
    """``q (n,)`` turned by whole turns: within the limits if possible, of these nearest to ``q_ref``."""
    low, high = arm.joint_limits.T
    turns = q + 2 * np.pi * np.arange(-3, 4)[:, None]
    outside = np.maximum(np.maximum(low - turns, turns - high), 0.0)
    order = np.where(outside > 1e-6, 1e3 + outside, np.abs(turns - q_ref) * 1e-3)
    nearest = np.take_along_axis(turns, order.argmin(axis=0)[None], axis=0)[0]
    return np.asarray(np.clip(nearest, low, high))


def _run(lifted: LiftedProblem, cost: ComplexArray) -> tuple[int, ComplexArray | None]:
    lifted.parameters["cost_real"].value, lifted.parameters["cost_imag"].value = cost.real, cost.imag
    with warnings.catch_warnings():
        # What the solver thinks of its own accuracy is in the status.
        warnings.simplefilter("ignore")
        try:
            lifted.problem.solve(solver=cp.CLARABEL)
        except cp.error.SolverError:
            return FAILED, None
    if lifted.problem.status == cp.INFEASIBLE:
        return INFEASIBLE, None
    real, imaginary = lifted.R.value, lifted.S.value
    if lifted.problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or real is None or imaginary is None:
        return FAILED, None
    return OPTIMAL, np.asarray(real) + 1j * np.asarray(imaginary)


def relax(
    target_position: Any,
    q_ref: Any,
    scene: Scene,
    *,
    target_orientation: float | None = None,
    samples: int = SAMPLES_PER_LINK,
    max_iterations: int = 0,
    inflated: bool = True,
) -> Relaxed:
    """The semidefinite relaxation of nearest-point inverse kinematics, for one target.

    Args:
        target_position: ``(2,)`` [m].
        q_ref: ``(n,)`` the proposal [rad].
        scene: An unbatched scene.
        target_orientation: Heading of the last link [rad], or None.
        samples: Points of each link that are kept out of the discs.
        max_iterations: Steps of :func:`convex_iteration` if the relaxation is not tight.
        inflated: Whether the discs cover what lies between the samples (:func:`disc_parameters`), so that tight answers
            are free. False makes the rows necessary, and INFEASIBLE a certificate that no configuration exists, to the
            solver's tolerance (1e-8 relative); its answers may touch discs between the samples.

    Raises:
        InvalidInputError: Wrong shapes, NaN, a batched scene.
    """
    arm = scene.arm
    if scene.batch_shape:
        raise InvalidInputError(f"relax takes one scene, got batch shape {scene.batch_shape}; index it.")
    target = exact_array("target_position", target_position, (2,)) - arm.base
    q_ref = exact_array("q_ref", q_ref, (arm.num_joints,))
    if impossible(target, scene):
        return _no_answer(arm, INFEASIBLE, 0)
    num_discs = scene.obstacles.num_obstacles
    lifted = lifted_problem(arm, num_discs, samples=samples, oriented=target_orientation is not None)
    values = disc_parameters(scene, num_discs, samples, inflated=inflated) if num_discs else {}
    values["goal"] = target
    if target_orientation is not None:
        values["heading"] = np.array([math.cos(target_orientation), math.sin(target_orientation)])
    for name, value in values.items():
        lifted.parameters[name].value = value
    status, W = _run(lifted, nearest_cost(q_ref))
    if W is None:
        return _no_answer(arm, status, 1)
    directions, ratio = directions_of(W)
    count = 1
    if ratio >= TIGHT and max_iterations:
        W, directions, ratio, more = convex_iteration(lifted, W, max_iterations)
        count += more
    q = within_limits(angles_of(directions), q_ref, arm)
    return Relaxed(q, OPTIMAL, ratio, W, count, _is_verified(q, target + arm.base, scene, target_orientation))


def impossible(target: FloatArray, scene: Scene) -> bool:
    """Whether geometry alone rules a target out: beyond the reach, too near to the base, or covered by a disc.

    The lift sees neither the hole around the base nor that the end effector's own place is the target's.

    Args:
        target: ``(2,)`` relative to the base [m].
        scene: An unbatched scene.
    """
    arm, distance = scene.arm, np.hypot(*target)
    slack = _ROUNDING * arm.reach
    if distance > arm.reach + slack or distance < arm.inner_reach - slack:
        return True
    discs = disc_parameters(scene, scene.obstacles.num_obstacles, 2, inflated=False)
    squared = target @ target - 2 * (discs["disc_x"] * target[0] + discs["disc_y"] * target[1])
    return bool((squared < discs["disc_k"] - slack * arm.reach).any())


def _no_answer(arm: PlanarArm, status: int, iterations: int) -> Relaxed:
    n = arm.num_joints
    nothing = np.full((n + 1, n + 1), np.nan + 0j)
    return Relaxed(np.full(n, np.nan), status, np.nan, nothing, iterations, False)


def _is_verified(q: FloatArray, target_position: FloatArray, scene: Scene, heading: float | None) -> bool:
    arm = scene.arm
    met = np.hypot(*(np.asarray(arm.end_effector(q)) - target_position)) <= MET * arm.reach
    turned = heading is None or abs(float(wrap_angle(q.sum() - heading))) <= MET
    held = arm.limit_violation(q) <= 0
    return bool(met and turned and held and clearance(q, arm, scene.obstacles) >= scene.safety_margin)


def convex_iteration(
    lifted: LiftedProblem, W: ComplexArray, max_iterations: int
) -> tuple[ComplexArray, ComplexArray, float, int]:
    """Look for a W of rank one: minimise the energy outside the leading eigenvector of the one before, again and again.

    ``W <- argmin <C, W>`` over the lifted constraints, ``C = U U^H`` with U all eigenvectors of W but the leading one.

    Args:
        lifted: The problem; its parameters but the cost keep their values.
        W: Where to begin.
        max_iterations: Programs solved at most.

    Returns:
        W, its directions, its ratio of eigenvalues, and the programs solved.
    """
    directions, ratio = directions_of(W)
    best = (W, directions, ratio)
    for count in range(1, max_iterations + 1):
        _, vectors = np.linalg.eigh(W)
        rest = vectors[:, :-1]
        status, after = _run(lifted, rest @ rest.conj().T)
        if status != OPTIMAL or after is None:
            return (*best, count)
        W = after
        directions, ratio = directions_of(W)
        stalled = ratio > 0.999 * best[2]
        if ratio < best[2]:
            best = (W, directions, ratio)
        if ratio < TIGHT or stalled:
            return (*best, count)
    return (*best, max_iterations)
