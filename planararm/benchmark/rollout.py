"""Run a policy on targets: warmed up, in one batch, and some of them alone for the latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arm import FloatArray
from ..policies.protocol import IKPolicy
from .calls import Answers, guarded, solve_rows
from .tasks import TaskGroup
from .tracking import Follower

LATENCY_CALLS = 10
"""Single-target calls per chunk of inverse kinematics, timed for the latency columns."""

NUDGE = 1e-6
"""By which fraction of the reach the targets of these calls are moved: a policy that remembers what it has been asked
in the batch is not timed by its memory."""

FIRST_CALL = 6
"""How many times longer than others the first call for targets, and for paths, may take in a process of its own: it may
compile."""


@dataclass
class IKRollout:
    """Answers to single targets.

    Attributes:
        answers: See :class:`Answers`.
        latency: ``(N,)`` duration of a call with this target alone [s]; NaN where it was not sampled.
    """

    answers: Answers
    latency: FloatArray


def warm_up(policy: IKPolicy, group: TaskGroup, *, first: bool = True) -> None:
    """One call that is not timed: compiles, loads weights, fills caches.

    Args:
        policy: The policy.
        group: Tasks of the kind that will be asked.
        first: Whether it is the policy's first call for tasks of this kind, which may take :data:`FIRST_CALL` times as
            long as the others.
    """
    limit = getattr(policy, "time_limit", None)
    if first and limit is not None:
        policy.time_limit = FIRST_CALL * limit  # type: ignore[attr-defined]
    one = group[0:1]
    if group.kind == "ik":
        guarded(policy, lambda: policy.solve(one.targets.copy(), one.q_start.copy(), one.scene))
    else:
        follower = Follower(policy, one)
        guarded(policy, follower.begin)
        guarded(policy, lambda: follower.command(one.q_start, np.zeros_like(one.q_start), 0))
    if limit is not None:
        policy.time_limit = limit  # type: ignore[attr-defined]
    guarded(policy, policy.reset)


def rollout_ik(policy: IKPolicy, tasks: TaskGroup, *, latency_calls: int = LATENCY_CALLS) -> IKRollout:
    """Answers to all targets of a group of inverse-kinematics tasks, in one batch.

    Args:
        policy: The policy, warmed up.
        tasks: Targets ``(N, 2)``.
        latency_calls: Number of targets, spread over the batch, that are asked again alone, moved by :data:`NUDGE`, and
            timed.
    """
    guarded(policy, policy.reset)
    answers = solve_rows(policy, tasks.targets, tasks.q_start, tasks.scene)
    latency = np.full(len(tasks), np.nan)
    if latency_calls:
        nudged = tasks.targets + NUDGE * tasks.scene.arm.reach
        for i in range(0, len(tasks), max(1, len(tasks) // latency_calls)):
            if i not in answers.messages:
                row = slice(i, i + 1)
                arguments = (nudged[row].copy(), tasks.q_start[row].copy(), tasks.scene[row])
                latency[i] = guarded(policy, lambda: policy.solve(*arguments))  # noqa: B023
    return IKRollout(answers, latency)
