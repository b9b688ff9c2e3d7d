"""The rules of a policy's answers: each a function that raises :class:`Broken` where a policy breaks it.

Those of its actions are in :mod:`planararm.policies.contract_predict`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arm import FloatArray, PlanarArm
from ..collision import clearance
from ..errors import PlanarArmError, PolicyError
from ..obstacles import Obstacles
from ..scene import Scene
from .protocol import IKPolicy, IKSolution, Reason, check_solution

CLAIM_TOLERANCE = 1e-3
"""A claimed answer may miss its target by this fraction of the reach."""

NUM_ROWS = 8


class Broken(PlanarArmError):
    """A rule of the contract was broken; the message says how."""


class Malformed(Broken):
    """What the policy returned is no answer at all, so that the rule could not be looked at."""


@dataclass(frozen=True)
class Trial:
    """A policy, a scene without batch axes, and rows to try: targets that free space reaches, and starts."""

    policy: IKPolicy
    scene: Scene
    targets: FloatArray
    starts: FloatArray

    @property
    def arm(self) -> PlanarArm:
        """The scene's arm."""
        return self.scene.arm

    def solve(self, targets: Any = None, starts: Any = None, scene: Scene | None = None) -> IKSolution:
        """An answer whose form has been checked; the policy gets copies, so that trials do not meet."""
        targets = np.array(self.targets if targets is None else targets)
        starts = np.array(self.starts if starts is None else starts)
        self.policy.reset()
        solution = self.policy.solve(targets, starts, self.scene if scene is None else scene)
        batch = np.broadcast_shapes(targets.shape[:-1], starts.shape[:-1])
        try:
            check_solution(solution, (*batch, self.arm.num_joints), type(self.policy).__name__)
        except PolicyError as error:
            raise Malformed(str(error)) from error
        return solution

    def of_one_step(self) -> Trial:
        """The same, where a policy that answers by an episode takes one control step only.

        A network's last bits depend on the size of the batch, and an episode can make much of them.
        """
        if not self.policy.episode_steps:
            return self
        policy = copy.copy(self.policy)
        policy.episode_steps = 1
        return replace(self, policy=policy)


def require(condition: bool, message: str) -> None:
    """Raise :class:`Broken` with the message unless the condition holds."""
    if not condition:
        raise Broken(message)


def _require_same(first: IKSolution, second: IKSolution, tolerance: float, what: str) -> None:
    apart = float(np.max(np.abs(np.asarray(first.q) - np.asarray(second.q)), initial=0.0))
    require(apart <= tolerance, f"{what}: answers differ by {apart:.3g} rad, {tolerance:.3g} is allowed.")


def _form(trial: Trial) -> None:
    solution = trial.solve()
    q = np.asarray(solution.q)
    require(
        isinstance(solution.q, np.ndarray) and q.dtype == np.float64,
        f"q is a {type(solution.q).__name__} of {q.dtype}, it must be a NumPy array of float64.",
    )
    solved, reason = np.asarray(solution.solved), np.asarray(solution.reason)
    require(solved.dtype == bool, f"solved is of {solved.dtype}, it must be bool.")
    known = [int(member) for member in Reason]
    require(bool(np.isin(reason, known).all()), f"reason holds {reason.tolist()}, it must hold members of Reason.")
    require(
        bool(((reason == Reason.SOLVED) == solved).all()),
        f"solved is {solved.tolist()} with reason {reason.tolist()}: SOLVED must go with solved only.",
    )


def _single(trial: Trial) -> None:
    trial.solve(trial.targets[0], trial.starts[0])


def _limits(trial: Trial) -> None:
    _require_within(trial, trial.solve())


def _require_within(trial: Trial, solution: IKSolution) -> None:
    over = trial.arm.limit_violation(solution.q)
    row = int(np.argmax(over))
    require(
        float(over[row]) <= 0.0,
        f"row {row}: q = {np.asarray(solution.q)[row].tolist()} is {over[row]:.3g} rad outside the "
        f"joint limits {trial.arm.joint_limits.tolist()}.",
    )


def _start_outside(trial: Trial) -> None:
    low, high = trial.arm.joint_limits.T
    outside = np.where(np.arange(NUM_ROWS)[:, None] % 2, high + 1.0, low - 1.0)
    _require_within(trial, trial.solve(starts=outside))


def _not_mutated(trial: Trial) -> None:
    targets, starts = trial.targets.copy(), trial.starts.copy()
    before = trial.scene.to_dict()
    trial.policy.reset()
    trial.policy.solve(targets, starts, trial.scene)
    require(np.array_equal(targets, trial.targets), "target_position was changed.")
    require(np.array_equal(starts, trial.starts), "q was changed.")
    require(trial.scene.to_dict() == before, "the scene was changed.")


def _deterministic(trial: Trial) -> None:
    first = trial.solve()
    kept = np.array(first.q)
    second = trial.solve()
    _require_same(first, second, 0.0, "two calls with the same arguments")
    require(np.array_equal(kept, first.q), "the second call changed the array that the first had returned.")


def _reset_forgets(trial: Trial) -> None:
    first = trial.solve()
    # Other targets in between, for a policy to remember.
    trial.policy.solve(trial.targets[::-1].copy(), trial.starts[::-1].copy(), trial.scene)
    _require_same(first, trial.solve(), 0.0, "before other targets, and after them and reset()")
    for mask in (np.zeros(NUM_ROWS, dtype=bool), np.ones(NUM_ROWS, dtype=bool)):
        trial.policy.reset(mask)


def _batch_is_loop(trial: Trial) -> None:
    trial = trial.of_one_step()
    whole = trial.solve()
    for row in range(NUM_ROWS):
        alone = trial.solve(trial.targets[row], trial.starts[row])
        there = IKSolution(whole.q[row], whole.solved[row], whole.reason[row])
        _require_same(there, alone, trial.policy.batch_tolerance, f"row {row} in the batch and alone")


def _two_axes(trial: Trial) -> None:
    trial = trial.of_one_step()
    flat, shape = trial.solve(), (2, NUM_ROWS // 2, -1)
    folded = trial.solve(trial.targets.reshape(shape), trial.starts.reshape(shape))
    unfolded = IKSolution(folded.q.reshape(flat.q.shape), flat.solved, flat.reason)
    _require_same(unfolded, flat, trial.policy.batch_tolerance, "batch axes (2, 4) and (8,)")


def _scene_per_row(trial: Trial) -> None:
    trial = trial.of_one_step()
    discs, base = trial.scene.obstacles, trial.arm.base
    mirrored = Obstacles(2 * base - np.asarray(discs.positions()), discs.radii, None, discs.mask)
    here = Scene(trial.arm, discs.frozen_at(0.0), trial.scene.safety_margin)
    other = Scene(trial.arm, mirrored, trial.scene.safety_margin)
    both = trial.solve(trial.targets[:2], trial.starts[:2], Scene.stack([_without_mask(here), _without_mask(other)]))
    for row, scene in enumerate((here, other)):
        alone = trial.solve(trial.targets[row], trial.starts[row], scene)
        there = IKSolution(both.q[row], both.solved[row], both.reason[row])
        _require_same(there, alone, trial.policy.batch_tolerance, f"row {row} of a batch of scenes and alone")


def _without_mask(scene: Scene) -> Scene:
    discs = scene.obstacles
    if discs.mask is None:
        return scene
    return Scene(scene.arm, Obstacles(discs.centers[discs.mask], discs.radii[discs.mask]), scene.safety_margin)


def _out_of_reach(trial: Trial) -> None:
    angle = np.linspace(0.0, 2 * np.pi, NUM_ROWS, endpoint=False)
    away = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    solution = trial.solve(trial.arm.base + 3.0 * trial.arm.reach * away)
    _require_within(trial, solution)
    require(not np.any(solution.solved), "targets at three times the reach were claimed to be solved.")


def _target_at_base(trial: Trial) -> None:
    starts = np.concatenate([trial.arm.clip(np.zeros((1, trial.arm.num_joints))), trial.starts])
    _require_within(trial, trial.solve(np.broadcast_to(trial.arm.base, (len(starts), 2)), starts))


def _honest(trial: Trial) -> None:
    arm, scene = trial.arm, trial.scene
    angle = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    targets = np.concatenate(
        [
            trial.targets,
            arm.base + 0.7 * arm.reach * ring,
            arm.base + 1.1 * arm.reach * ring,
            np.asarray(scene.obstacles.positions()),
        ]
    )
    starts = np.resize(trial.starts, (len(targets), arm.num_joints))
    solution = trial.solve(targets, starts)
    q, claimed = np.asarray(solution.q), np.asarray(solution.solved)
    missed = np.linalg.norm(arm.end_effector(q) - targets, axis=-1) / arm.reach
    room = np.asarray(clearance(q, arm, scene.obstacles))
    for fault, text in (
        (missed > CLAIM_TOLERANCE, "its end effector misses the target by {missed:.3g} of the reach"),
        (
            room < scene.safety_margin - 1e-9,
            "its clearance is {room:.3g} m, the safety margin {margin:.3g} m",
        ),
        (arm.limit_violation(q) > 0.0, "it is outside the joint limits"),
    ):
        false = np.flatnonzero(claimed & fault)
        if false.size:
            row = int(false[0])
            seen = text.format(missed=missed[row], room=room[row], margin=scene.safety_margin)
            raise Broken(f"claimed solved for target {targets[row].tolist()} with q = {q[row].tolist()}, but {seen}.")


def _no_warnings(trial: Trial) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial.solve()
        trial.solve(np.broadcast_to(trial.arm.base, (NUM_ROWS, 2)))
    if caught:
        raise Broken(f"warned: {caught[0].category.__name__}: {caught[0].message}")


Rules = tuple[tuple[str, Callable[[Trial], None], str], ...]
"""Name, check, advice."""

RULES: Rules = (
    (
        "form of the answer",
        _form,
        "solve returns IKSolution(q, solved, reason, info): q (*batch, n) float64 and finite, "
        "solved (*batch,) bool, reason (*batch,) of Reason.",
    ),
    ("single target", _single, "solve takes target_position (2,) and q (n,) too, and then returns q (n,)."),
    ("within the joint limits", _limits, "Clip with scene.arm.clip(q)."),
    (
        "start outside the joint limits",
        _start_outside,
        "Clip q with scene.arm.clip(q) first: measured joint angles overshoot.",
    ),
    ("arguments not changed", _not_mutated, "Work on a copy: q = np.array(q)."),
    (
        "deterministic",
        _deterministic,
        "Draw from np.random.default_rng(seed) anew in every call, and return new arrays.",
    ),
    (
        "reset forgets",
        _reset_forgets,
        "reset() forgets all that was remembered, reset(mask) that of the environments where mask is True; a policy "
        "without memory leaves reset to IKPolicy.",
    ),
    (
        "batch equals loop",
        _batch_is_loop,
        "A row's answer must not depend on its neighbours; batch_tolerance says how exactly.",
    ),
    (
        "several batch axes",
        _two_axes,
        "All leading axes are batch axes; flatten them and restore them at the end.",
    ),
    (
        "one scene per row",
        _scene_per_row,
        "scene.obstacles may have the batch's axes: discs of row i are obstacles[i].",
    ),
    (
        "target out of reach",
        _out_of_reach,
        "Return the nearest configuration with solved=False and Reason.OUT_OF_REACH.",
    ),
    ("target at the base", _target_at_base, "Guard the division by the distance from the base."),
    (
        "claims are true",
        _honest,
        "Claim solved only if the target is met, the limits hold and clearance(q, ...) >= safety_margin.",
    ),
    ("no warnings", _no_warnings, "Guard the operation that warns, e.g. with np.where before the division."),
)
