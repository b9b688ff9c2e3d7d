"""The contract of a policy as a list of checks that anybody can run on a policy of their own."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arm import make_arm
from ..errors import PolicyError
from ..obstacles import Obstacles
from ..scene import Scene
from .contract import NUM_ROWS, RULES, Broken, Trial
from .protocol import IKPolicy
from .registry import make_policy

RAISED = "raised"
MESSAGE_LENGTH = 300
PACKAGE = str(Path(__file__).resolve().parents[1])


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Args:
        name: The rule.
        passed: Whether the policy kept it.
        message: What was seen, where it did not.
        advice: What to do about it.
        see: Name of an earlier check that ended with the same exception, for want of which this one says nothing.
    """

    name: str
    passed: bool
    message: str = ""
    advice: str = ""
    see: str = ""


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
            if check.see:
                lines.append(f"  -     {check.name}: not checked, see {check.see!r}")
                continue
            lines.append(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}")
            lines += [f"        {text}" for text in (check.message, check.advice) if text]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


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
    trial = Trial(built, scene, scene.arm.end_effector(goals), starts)
    checks = [support, *(_run(name, check, advice, trial) for name, check, advice in RULES)]
    return ConformanceReport(str(label), _without_echoes(checks), _speed(trial))


def _without_echoes(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The same exception once: later checks that end with it refer to the first."""
    first: dict[str, str] = {}
    told = []
    for check in checks:
        earlier = first.setdefault(check.message, check.name) if check.message.startswith(RAISED) else check.name
        told.append(check if earlier == check.name else replace(check, see=earlier))
    return tuple(told)


def _exception(error: BaseException) -> str:
    """What was raised, in one line of bounded length, and where in the policy's own code."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    foreign = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
    where = f" ({Path(foreign[-1].filename).name}, line {foreign[-1].lineno})" if foreign else ""
    return f"{RAISED} {text}{where}"


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
            return Check(name, False, _exception(error), advice), candidate
        if reason is None:
            return Check(name, True), candidate
        if not isinstance(reason, str):
            return Check(name, False, f"returned {reason!r}.", advice), candidate
        refusals.append(reason)
    wanted = "Give check_policy a scene that the policy supports."
    return Check(name, False, f"the policy does not support the scene: {refusals[0]}", wanted), candidates[0]


def _run(name: str, check: Callable[[Trial], None], advice: str, trial: Trial) -> Check:
    try:
        # One check is about warnings; elsewhere they must not become errors, whatever the caller's filters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(trial)
    except Broken as broken:
        return Check(name, False, str(broken), advice)
    except Exception as error:  # noqa: BLE001 - whatever the policy raises belongs into the report
        return Check(name, False, _exception(error), advice)
    return Check(name, True)


def _speed(trial: Trial) -> tuple[str, ...]:
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
