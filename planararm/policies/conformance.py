"""The contract of a policy as a list of checks that anybody can run on a policy of their own."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ..arm import make_arm
from ..errors import PolicyError
from ..obstacles import Obstacles
from ..scene import Scene
from . import contract, contract_predict
from .agent import AgentPolicy
from .contract import NUM_ROWS, Broken, Malformed, Trial
from .function import FunctionPolicy
from .protocol import IKPolicy
from .registry import make_policy

RULES = (*contract.RULES, *contract_predict.RULES)
MESSAGE_LENGTH = 300
PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = "site-packages"
TIMED_CALLS = 3


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Args:
        name: The rule.
        passed: Whether the policy kept it.
        message: What was seen, where it did not.
        advice: What to do about it.
        see: Name of an earlier check that ended with the same exception, or the same answer that is none, for want of
            which this one says nothing.
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
        unknown = sum(bool(check.see) for check in self.checks)
        rest = f", {unknown} could not be made" if unknown else ""
        lines = [f"{self.policy}: {kept} of {len(self.checks)} checks passed{rest}"]
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
    label = _label(policy, built)
    support, scene = _supported_scene(built, scene)
    if not support.passed:
        return ConformanceReport(label, (support,))
    rng = np.random.default_rng(seed)
    low, high = scene.arm.joint_limits.T
    goals, starts = low + rng.random((2, NUM_ROWS, low.size)) * (high - low)
    trial = Trial(built, scene, scene.arm.end_effector(goals), starts)
    first: dict[str, str] = {}
    checks = [support, *(_run(name, check, advice, trial, first) for name, check, advice in RULES)]
    return ConformanceReport(label, tuple(checks), _speed(trial))


def _label(given: Any, built: IKPolicy) -> str:
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    if isinstance(built, FunctionPolicy):
        return built.name
    return repr(built) if isinstance(built, AgentPolicy) else type(built).__name__


def _exception(error: BaseException) -> str:
    """What was raised, in one line of bounded length, and where in the policy's own code."""
    told = str(error) if isinstance(error, PolicyError) else f"raised {type(error).__name__}: {error}"
    text = " ".join(told.split())
    text = text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."
    while error.__cause__ is not None:
        error = error.__cause__
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    foreign = [frame for frame in frames if not frame[0].is_relative_to(PACKAGE)]
    if not foreign:
        return text
    # Deepest in the code that planararm has called, not in the libraries that this calls.
    home = foreign[0][0].parent
    own = [
        (file, line)
        for file, line in foreign
        if file.is_relative_to(home) and (INSTALLED in file.parts) == (INSTALLED in home.parts)
    ]
    return f"{text} ({own[-1][0].name}, line {own[-1][1]})"


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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the policy raises belongs into the report
            return Check(name, False, _exception(error), advice), candidate
        if reason is None:
            return Check(name, True), candidate
        if not isinstance(reason, str):
            return Check(name, False, f"returned {reason!r}.", advice), candidate
        refusals.append(reason)
    wanted = "Give check_policy a scene that the policy supports."
    return Check(name, False, f"the policy does not support the scene: {refusals[0]}", wanted), candidates[0]


def _run(name: str, check: Callable[[Trial], None], advice: str, trial: Trial, first: dict[str, str]) -> Check:
    """One rule; ``first``: the check at which each exception, or answer that is none, was seen first."""
    try:
        # One check is about warnings; elsewhere they must not become errors, whatever the caller's filters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(trial)
    except Broken as broken:
        message, told = str(broken), not isinstance(broken, Malformed)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the policy raises belongs into the report
        message, told = _exception(error), False
    else:
        return Check(name, True)
    # A rule that could be looked at says something of its own, whatever others have said.
    seen = name if told else first.setdefault(message, name)
    return Check(name, False, message, advice, "" if seen == name else seen)


def _speed(trial: Trial) -> tuple[str, ...]:
    """Median time per call, for information: it depends on the machine."""
    times = []
    for rows in (slice(0, 1), slice(None)):
        took = []
        for _ in range(TIMED_CALLS):
            arguments = (trial.targets[rows].copy(), trial.starts[rows].copy(), trial.scene)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    started = time.perf_counter()
                    trial.policy.solve(*arguments)
            except (Exception, SystemExit):  # noqa: BLE001 - the checks have reported it
                return ()
            took.append(1e3 * (time.perf_counter() - started))
        times.append(median(took))
    return (f"one target takes {times[0]:.2f} ms, a batch of {NUM_ROWS} {times[1]:.2f} ms.",)
