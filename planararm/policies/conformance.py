"""The contract of a policy as a list of checks that anybody can run on a policy of their own."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arm import FloatArray, PlanarArm, make_arm
from ..collision import clearance
from ..errors import PlanarArmError, PolicyError
from ..interface import CONTROL_MODES, EnvInterface
from ..obstacles import Obstacles
from ..scene import Scene
from .agent import pack_observation
from .protocol import IKPolicy, IKSolution, Reason, check_solution
from .registry import make_policy

CLAIM_TOLERANCE = 1e-3
"""A claimed answer may miss its target by this fraction of the reach."""

NUM_ROWS = 8


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Args:
        name: The rule.
        passed: Whether the policy kept it.
        message: What was seen, where it did not.
        advice: What to do about it.
    """

    name: str
    passed: bool
    message: str = ""
    advice: str = ""


@dataclass(frozen=True)
class ConformanceReport:
    """What :func:`check_policy` found.

    Args:
        policy: The policy's name.
        checks: All rules, in order.
        notes: Remarks that are no rules, such as speed.
    """

    policy: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every rule was kept."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The rules that were broken."""
        return tuple(check for check in self.checks if not check.passed)

    def raise_if_failed(self) -> None:
        """Do nothing if every rule was kept.

        Raises:
            PolicyError: With the whole report.
        """
        if self.failed:
            raise PolicyError(str(self))

    def __str__(self) -> str:
        kept = len(self.checks) - len(self.failed)
        lines = [f"{self.policy}: {kept} of {len(self.checks)} checks passed"]
        for check in self.checks:
            lines.append(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}")
            lines += [f"        {text}" for text in (check.message, check.advice) if text]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


class _Broken(PlanarArmError):
    """A rule of the contract was broken; the message says how."""


@dataclass(frozen=True)
class _Trial:
    """A policy, a scene without batch axes, and rows to try: targets that free space reaches, and starts."""

    policy: IKPolicy
    scene: Scene
    targets: FloatArray
    starts: FloatArray

    @property
    def arm(self) -> PlanarArm:
        return self.scene.arm

    def solve(self, targets: Any = None, starts: Any = None, scene: Scene | None = None) -> IKSolution:
        """An answer whose form has been checked; the policy gets copies, so that trials do not meet."""
        targets = np.array(self.targets if targets is None else targets)
        starts = np.array(self.starts if starts is None else starts)
        self.policy.reset()
        solution = self.policy.solve(targets, starts, self.scene if scene is None else scene)
        batch = np.broadcast_shapes(targets.shape[:-1], starts.shape[:-1])
        check_solution(solution, (*batch, self.arm.num_joints), type(self.policy).__name__)
        return solution


def check_policy(policy: Any, scene: Scene | None = None, *, seed: int = 0) -> ConformanceReport:
    """Check that a policy keeps the contract of :class:`~planararm.policies.protocol.IKPolicy`.

    A policy that raises fails the check in which it did, with the exception's text.

    Args:
        policy: Anything that :func:`~planararm.policies.registry.make_policy` takes.
        scene: Where to try it, of a batched scene the first; by default an arm that the policy supports among
            three discs.
        seed: Of the targets and starts.

    Raises:
        UnknownNameError: There is no such policy.
        PolicyError: ``policy`` is none.
    """
    built = make_policy(policy)
    label = policy if isinstance(policy, str) else getattr(policy, "__name__", type(policy).__name__)
    support, scene = _supported_scene(built, scene)
    if not support.passed:
        return ConformanceReport(str(label), (support,))
    rng = np.random.default_rng(seed)
    low, high = scene.arm.joint_limits.T
    goals, starts = low + rng.random((2, NUM_ROWS, low.size)) * (high - low)
    trial = _Trial(built, scene, scene.arm.end_effector(goals), starts)
    checks = [support, *(_run(name, check, advice, trial) for name, check, advice in _CHECKS)]
    return ConformanceReport(str(label), tuple(checks), _speed(trial))


def example_scene(arm: str) -> Scene:
    """An arm, by its preset's name, among three discs that leave it room."""
    built = make_arm(arm)
    angles, distances = np.array([0.5, 2.4, 4.3]), np.array([0.5, 0.7, 0.6]) * built.reach
    centers = built.base + distances[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return Scene(built, Obstacles(centers, np.full(3, 0.1 * built.reach)))


def _supported_scene(policy: IKPolicy, scene: Scene | None) -> tuple[Check, Scene]:
    name, advice = "supports", "supports(scene) returns None, or a sentence that says why not."
    if scene is not None:
        candidates = [scene[(0,) * len(scene.batch_shape)] if scene.batch_shape else scene]
    else:
        candidates = [example_scene(arm) for arm in ("unit3", "unit2", "unit5", "duka", "snake10")]
    refusals = []
    for candidate in candidates:
        try:
            reason = policy.supports(candidate)
        except Exception as error:  # noqa: BLE001 - whatever the policy raises belongs into the report
            return Check(name, False, f"raised {type(error).__name__}: {error}", advice), candidate
        if reason is None:
            return Check(name, True), candidate
        if not isinstance(reason, str):
            return Check(name, False, f"returned {reason!r}.", advice), candidate
        refusals.append(reason)
    wanted = "Give check_policy a scene that the policy supports."
    return Check(name, False, f"the policy does not support the scene: {refusals[0]}", wanted), candidates[0]


def _run(name: str, check: Callable[[_Trial], None], advice: str, trial: _Trial) -> Check:
    try:
        # One check is about warnings; elsewhere they must not become errors, whatever the caller's filters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(trial)
    except _Broken as broken:
        return Check(name, False, str(broken), advice)
    except Exception as error:  # noqa: BLE001 - whatever the policy raises belongs into the report
        return Check(name, False, f"raised {type(error).__name__}: {error}", advice)
    return Check(name, True)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Broken(message)


def _require_same(first: IKSolution, second: IKSolution, tolerance: float, what: str) -> None:
    apart = float(np.max(np.abs(np.asarray(first.q) - np.asarray(second.q)), initial=0.0))
    _require(apart <= tolerance, f"{what}: answers differ by {apart:.3g} rad, {tolerance:.3g} is allowed.")


def _form(trial: _Trial) -> None:
    solution = trial.solve()
    q = np.asarray(solution.q)
    _require(
        isinstance(solution.q, np.ndarray) and q.dtype == np.float64,
        f"q is a {type(solution.q).__name__} of {q.dtype}, it must be a NumPy array of float64.",
    )
    solved, reason = np.asarray(solution.solved), np.asarray(solution.reason)
    _require(solved.dtype == bool, f"solved is of {solved.dtype}, it must be bool.")
    known = [int(member) for member in Reason]
    _require(
        bool(np.isin(reason, known).all()), f"reason holds {reason.tolist()}, it must hold members of Reason."
    )
    _require(
        bool(((reason == Reason.SOLVED) == solved).all()),
        f"solved is {solved.tolist()} with reason {reason.tolist()}: SOLVED must go with solved only.",
    )


def _single(trial: _Trial) -> None:
    trial.solve(trial.targets[0], trial.starts[0])


def _limits(trial: _Trial) -> None:
    _require_within(trial, trial.solve())


def _require_within(trial: _Trial, solution: IKSolution) -> None:
    over = trial.arm.limit_violation(solution.q)
    row = int(np.argmax(over))
    _require(
        float(over[row]) <= 0.0,
        f"row {row}: q = {np.asarray(solution.q)[row].tolist()} is {over[row]:.3g} rad outside the "
        f"joint limits {trial.arm.joint_limits.tolist()}.",
    )


def _start_outside(trial: _Trial) -> None:
    low, high = trial.arm.joint_limits.T
    outside = np.where(np.arange(NUM_ROWS)[:, None] % 2, high + 1.0, low - 1.0)
    _require_within(trial, trial.solve(starts=outside))


def _not_mutated(trial: _Trial) -> None:
    targets, starts = trial.targets.copy(), trial.starts.copy()
    before = trial.scene.to_dict()
    trial.policy.reset()
    trial.policy.solve(targets, starts, trial.scene)
    _require(np.array_equal(targets, trial.targets), "target_position was changed.")
    _require(np.array_equal(starts, trial.starts), "q was changed.")
    _require(trial.scene.to_dict() == before, "the scene was changed.")


def _deterministic(trial: _Trial) -> None:
    first = trial.solve()
    kept = np.array(first.q)
    second = trial.solve()
    _require_same(first, second, 0.0, "two calls with the same arguments")
    _require(np.array_equal(kept, first.q), "the second call changed the array that the first had returned.")


def _batch_is_loop(trial: _Trial) -> None:
    whole = trial.solve()
    for row in range(NUM_ROWS):
        alone = trial.solve(trial.targets[row], trial.starts[row])
        there = IKSolution(whole.q[row], whole.solved[row], whole.reason[row])
        _require_same(there, alone, trial.policy.batch_tolerance, f"row {row} in the batch and alone")


def _two_axes(trial: _Trial) -> None:
    flat, shape = trial.solve(), (2, NUM_ROWS // 2, -1)
    folded = trial.solve(trial.targets.reshape(shape), trial.starts.reshape(shape))
    unfolded = IKSolution(folded.q.reshape(flat.q.shape), flat.solved, flat.reason)
    _require_same(unfolded, flat, trial.policy.batch_tolerance, "batch axes (2, 4) and (8,)")


def _scene_per_row(trial: _Trial) -> None:
    discs, base = trial.scene.obstacles, trial.arm.base
    mirrored = Obstacles(2 * base - np.asarray(discs.positions()), discs.radii, None, discs.mask)
    here = Scene(trial.arm, discs.frozen_at(0.0), trial.scene.safety_margin)
    other = Scene(trial.arm, mirrored, trial.scene.safety_margin)
    both = trial.solve(
        trial.targets[:2], trial.starts[:2], Scene.stack([_without_mask(here), _without_mask(other)])
    )
    for row, scene in enumerate((here, other)):
        alone = trial.solve(trial.targets[row], trial.starts[row], scene)
        there = IKSolution(both.q[row], both.solved[row], both.reason[row])
        _require_same(there, alone, trial.policy.batch_tolerance, f"row {row} of a batch of scenes and alone")


def _without_mask(scene: Scene) -> Scene:
    discs = scene.obstacles
    if discs.mask is None:
        return scene
    return Scene(
        scene.arm, Obstacles(discs.centers[discs.mask], discs.radii[discs.mask]), scene.safety_margin
    )


def _out_of_reach(trial: _Trial) -> None:
    angle = np.linspace(0.0, 2 * np.pi, NUM_ROWS, endpoint=False)
    away = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    solution = trial.solve(trial.arm.base + 3.0 * trial.arm.reach * away)
    _require_within(trial, solution)
    _require(not np.any(solution.solved), "targets at three times the reach were claimed to be solved.")


def _target_at_base(trial: _Trial) -> None:
    starts = np.concatenate([trial.arm.clip(np.zeros((1, trial.arm.num_joints))), trial.starts])
    _require_within(trial, trial.solve(np.broadcast_to(trial.arm.base, (len(starts), 2)), starts))


def _honest(trial: _Trial) -> None:
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
            raise _Broken(
                f"claimed solved for target {targets[row].tolist()} with q = {q[row].tolist()}, but {seen}."
            )


def _no_warnings(trial: _Trial) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial.solve()
        trial.solve(np.broadcast_to(trial.arm.base, (NUM_ROWS, 2)))
    if caught:
        raise _Broken(f"warned: {caught[0].category.__name__}: {caught[0].message}")


def _predict(trial: _Trial) -> None:
    slots = trial.scene.obstacles.num_obstacles
    for mode in CONTROL_MODES:
        interface = EnvInterface(trial.arm, max_obstacles=slots, control_mode=mode)
        # A copy, for the caller's policy may be bound to an environment already.
        bound = copy.copy(trial.policy).bind(interface)
        bound.reset()
        for rows in (slice(None), 0):
            observation = pack_observation(trial.targets[rows], trial.starts[rows], trial.scene, interface)
            action, _ = bound.predict(observation, deterministic=True)
            action = np.asarray(action)
            shape = trial.starts[rows].shape
            _require(
                action.shape == shape, f"{mode} control: action of shape {action.shape}, it must be {shape}."
            )
            inside = all(interface.action_space.contains(row) for row in action.reshape(-1, shape[-1]))
            _require(
                inside,
                f"{mode} control: action {action.tolist()} ({action.dtype}) is not in the action space.",
            )


def _speed(trial: _Trial) -> tuple[str, ...]:
    """Time per call and per row, for information: it depends on the machine."""
    times = []
    for rows in (slice(0, 1), slice(None)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                started = time.perf_counter()
                trial.policy.solve(trial.targets[rows].copy(), trial.starts[rows].copy(), trial.scene)
        except Exception:  # noqa: BLE001 - the checks have reported it
            return ()
        times.append(1e3 * (time.perf_counter() - started))
    return (f"one target takes {times[0]:.2f} ms, a batch of {NUM_ROWS} {times[1]:.2f} ms.",)


_CHECKS: tuple[tuple[str, Callable[[_Trial], None], str], ...] = (
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
    ("predict", _predict, "Derive from IKPolicy and leave bind and predict to it."),
)
