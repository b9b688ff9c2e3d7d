"""Random targets of a stated kind: anywhere, reachable, near a singularity, blocked by discs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .arm import PlanarArm
from .collision import clearance
from .errors import InvalidInputError, InvalidSceneError, UnknownNameError
from .geometry import norm
from .inverse import REACHABLE, UNREACHABLE, reachability
from .obstacles import Obstacles
from .scene import Scene

FloatArray = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, Scene, int], FloatArray]

MAX_TARGETS = 1_000_000
BOUNDARY_BAND = 0.02
"""How near the workspace's boundary a near-singular target is, as a fraction of the reach."""

# Room to spare beyond the margin, so that a reachable target stays so when it is rounded or sent as float32.
_SPARE = 1e-6
_ROUND = 2048
_MAX_ROUNDS = 50
_BLOCKED_ROUNDS = 12


def sample_targets(rng: np.random.Generator, scene: Scene, num: int, kind: str = "uniform") -> FloatArray:
    """Draw target positions.

    * ``"uniform"``: uniform over the area of the workspace annulus; limits and discs are not looked at.
    * ``"reachable"``: the end effector of uniformly drawn free configurations, so reachable by construction.
    * ``"near-singular"``: reachable by construction too, within 0.02 of the reach of the annulus' outer
      boundary (or the inner one, if it has a hole), where every solution is almost stretched or folded.
    * ``"blocked"``: reachable without the discs and proven unreachable among them by
      :func:`planararm.inverse.reachability`. Such targets where the tip itself would have room are preferred;
      where the search finds too few, targets that a disc covers make up the number.

    Shuttling discs stand where they are at time 0.

    Args:
        rng: Source of randomness.
        scene: Without batch axes.
        num: How many.
        kind: See above.

    Returns:
        ``(num, 2)`` [m].

    Raises:
        UnknownNameError: No such kind.
        InvalidInputError: ``num`` is not a number from 0 to 1,000,000.
        InvalidSceneError: The scene has batch axes, or offers no such targets.
    """
    if kind not in _KINDS:
        raise UnknownNameError("kind of target", kind, _KINDS)
    if isinstance(num, bool) or not isinstance(num, int | np.integer) or not 0 <= num <= MAX_TARGETS:
        raise InvalidInputError(f"num must be a whole number from 0 to {MAX_TARGETS}, got {num!r}.")
    if scene.batch_shape:
        raise InvalidSceneError(f"Targets are drawn for one scene, got batch shape {scene.batch_shape}; pass scene[i].")
    return _KINDS[kind](rng, scene, int(num))


def _uniform(rng: np.random.Generator, scene: Scene, num: int) -> FloatArray:
    arm = scene.arm
    distance = np.sqrt(rng.uniform(arm.inner_reach**2, arm.reach**2, num))
    angle = rng.uniform(-np.pi, np.pi, num)
    return np.asarray(arm.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1))


def _until_enough(rng: np.random.Generator, scene: Scene, num: int, kind: str, draw: Draw) -> FloatArray:
    """Rejection with an end: ``draw`` gives the accepted ones of a round."""
    found = [np.zeros((0, 2))]
    # Fewer than one in 100,000 draws on average: given up.
    count, rounds = 0, 0
    while count < num:
        if rounds == _MAX_ROUNDS * (1 + count):
            raise InvalidSceneError(
                f"Only {count} of {num} {kind} targets found in {rounds * _ROUND} draws: "
                f"the joint limits and the {scene.obstacles.num_obstacles} discs of this scene leave too few."
            )
        found.append(draw(rng, scene, _ROUND))
        count, rounds = count + len(found[-1]), rounds + 1
    return np.concatenate(found)[:num]


def _free(q: FloatArray, scene: Scene) -> npt.NDArray[np.bool_]:
    arm = scene.arm
    return np.asarray(clearance(q, arm, scene.obstacles) >= scene.safety_margin + _SPARE * arm.reach)


def _reachable(rng: np.random.Generator, scene: Scene, num: int) -> FloatArray:
    def draw(rng: np.random.Generator, scene: Scene, size: int) -> FloatArray:
        arm = scene.arm
        q = rng.uniform(arm.joint_limits[:, 0], arm.joint_limits[:, 1], (size, arm.num_joints))
        return np.asarray(arm.end_effector(q[_free(q, scene)]))

    return _until_enough(rng, scene, num, "reachable", draw)


def _near_singular(rng: np.random.Generator, scene: Scene, num: int) -> FloatArray:
    def draw(rng: np.random.Generator, scene: Scene, size: int) -> FloatArray:
        arm = scene.arm
        q = _almost_collinear(rng, arm, size)
        # Mirrored at the limits: on a limit the target would be on the very edge of what is reachable.
        q = arm.clip(np.where(arm.clip(q) == q, q, 2 * arm.clip(q) - q))
        target = np.asarray(arm.end_effector(q))
        distance = norm(target - arm.base)
        band = BOUNDARY_BAND * arm.reach
        near = distance >= arm.reach - band
        if arm.inner_reach > 0:
            near |= distance <= arm.inner_reach + band
        return np.asarray(target[near & _free(q, scene)])

    return _until_enough(rng, scene, num, "near-singular", draw)


def _almost_collinear(rng: np.random.Generator, arm: PlanarArm, size: int) -> FloatArray:
    """Stretched arms and, if there is an inner boundary, arms folded about their longest link; a bit bent."""
    n = arm.num_joints
    q = np.zeros((size, n))
    q[:, 0] = rng.uniform(arm.joint_limits[0, 0], arm.joint_limits[0, 1], size)
    bend = rng.normal(size=(size, n - 1)) * rng.uniform(0.05 / n, 0.6 / n, (size, 1))
    q[:, 1:] = bend
    if arm.inner_reach > 0:
        longest = int(arm.link_lengths.argmax())
        turns = np.zeros(n, dtype=bool)
        turns[longest : longest + 2] = True
        folded = (rng.random(size) < 0.5)[:, None] & turns[1:]
        q[:, 1:] = np.where(folded, rng.choice([-1.0, 1.0], (size, n - 1)) * (np.pi - np.abs(bend)), bend)
    return q


def _blocked(rng: np.random.Generator, scene: Scene, num: int) -> FloatArray:
    arm, none = scene.arm, Scene(scene.arm, Obstacles.none())
    discs = scene.obstacles.frozen_at(0.0)
    if discs.num_obstacles == 0:
        raise InvalidSceneError("No blocked target: this scene has no discs.")
    roomy, tight = [np.zeros((0, 2))], [np.zeros((0, 2))]
    most_rounds = _BLOCKED_ROUNDS * (1 + num // 100)
    for _ in range(most_rounds):
        if sum(map(len, roomy)) >= num:
            break
        target = _uniform(rng, scene, _ROUND)
        target = target[reachability(target, scene).verdict == UNREACHABLE]
        target = target[reachability(target, none).verdict == REACHABLE]
        room = norm(target[:, None] - np.asarray(discs.centers)) - np.asarray(discs.radii) - arm.link_radius
        if discs.mask is not None:
            room = np.where(discs.mask, room, np.inf)
        has_room = room.min(axis=-1) > scene.safety_margin
        roomy.append(target[has_room])
        tight.append(target[~has_room])
    found = np.concatenate([*roomy, *tight])
    if len(found) < num:
        raise InvalidSceneError(
            f"Only {len(found)} of {num} blocked targets found in {most_rounds * _ROUND} draws: "
            f"the {discs.num_obstacles} discs of this scene block too little of the workspace."
        )
    return found[:num]


_KINDS: dict[str, Draw] = {
    "uniform": _uniform,
    "reachable": _reachable,
    "near-singular": _near_singular,
    "blocked": _blocked,
}
