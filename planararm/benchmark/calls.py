"""Calls of somebody else's code: timed, copied arguments, and failures confined to the rows that cause them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..errors import PolicyCrashed, PolicyTimeout
from ..interface import EnvInterface
from ..policies.protocol import IKPolicy, IKSolution, check_solution
from ..scene import Scene
from .motion import contacts_on_the_way

MESSAGE_LENGTH = 300

PATIENCE = 5
"""Rows of a chunk that may time out one after the other; those behind them are not asked and count as timed out."""

PATIENCE_WITH_ENDS = 10
"""Rows of a chunk at which the policy's process may end, one after the other; those behind them count as crashed. A new
process takes up to a second."""


@dataclass
class Answers:
    """What a policy answered, one row per task.

    Attributes:
        q: ``(N, n)`` answers [rad]; NaN where there is none.
        claimed: ``(N,)`` bool: the policy said that the target is met.
        nominal_q: ``(N, n)`` what it proposed before a projection [rad]; NaN where it does not say.
        contact: ``(N,)`` int8: whether the commands that a policy says it got there by meet a disc, see
            :func:`planararm.benchmark.motion.contacts_on_the_way`; -1 without such commands.
        messages: Row number to error message of the rows that crashed or timed out.
        timed_out: Row numbers of those that timed out.
        seconds: Time spent in successful calls divided by their rows, per row ``(N,)``; NaN without an answer.
    """

    q: FloatArray
    claimed: npt.NDArray[np.bool_]
    nominal_q: FloatArray
    contact: npt.NDArray[np.int8]
    messages: dict[int, str]
    timed_out: set[int]
    seconds: FloatArray

    @classmethod
    def none(cls, count: int, num_joints: int) -> Answers:
        """No answers yet."""
        nothing = np.full((count, num_joints), np.nan)
        unknown = np.full(count, -1, dtype=np.int8)
        return cls(nothing, np.zeros(count, dtype=bool), nothing.copy(), unknown, {}, set(), np.full(count, np.nan))


def describe_failure(error: BaseException) -> str:
    """Type and message of what a policy raised, in one printable line of bounded length."""
    try:
        text = " ".join((getattr(error, "described", None) or f"{type(error).__name__}: {error}").split())
    # The text is somebody else's code as well.
    except Exception:  # noqa: BLE001
        text = f"{type(error).__name__}, whose text cannot be shown"
    # Of what is left, some characters would be a terminal's commands.
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: MESSAGE_LENGTH + 1])
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 3]}..."


def timed(policy: IKPolicy, call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returned, and the seconds that the policy took, without the way to a process of its own."""
    began = time.perf_counter()
    returned = call()
    elapsed = time.perf_counter() - began
    own = getattr(policy, "last_elapsed", None)
    return returned, elapsed if own is None else float(own)


def solve_rows(policy: IKPolicy, target_position: FloatArray, q: FloatArray, scene: Scene) -> Answers:
    """Ask a policy for a batch; where the call fails, smaller batches follow until the failing rows stand alone.

    A call fails if it raises or if its answer breaks the contract (wrong type or shape, NaN): the batch is halved.
    If it times out its rows are asked one by one, for which the same time is allowed. Arguments are copies, so that a
    policy which writes into them changes only its own.

    Args:
        policy: The policy.
        target_position: ``(N, 2)`` [m].
        q: ``(N, n)`` [rad].
        scene: Batch shape ``(N,)``.
    """
    count = len(q)
    answers = Answers.none(count, q.shape[-1])
    pending = [(0, count)] if count else []
    late = dead = 0
    while pending:
        start, stop = pending.pop()
        rows = slice(start, stop)
        if late >= PATIENCE or dead >= PATIENCE_WITH_ENDS:
            why = f"{late} rows before it timed out" if late else f"the process ended at {dead} rows before it"
            answers.messages.update(dict.fromkeys(range(start, stop), f"not asked: {why}"))
            answers.timed_out.update(range(start, stop) if late else ())
            continue
        arguments = (target_position[rows].copy(), q[rows].copy(), scene[rows])
        try:
            solution, seconds = timed(policy, lambda: policy.solve(*arguments))  # noqa: B023
            check_solution(solution, q[rows].shape, type(policy).__name__)
            nominal, contact = _nominal(solution, q[rows].shape), _contact(policy, solution, q[rows], scene[rows])
        except PolicyTimeout as error:
            if stop - start > 1:
                pending += [(i, i + 1) for i in reversed(range(start, stop))]
                continue
            late, dead = late + 1, 0
            answers.messages[start] = describe_failure(error)
            answers.timed_out.add(start)
            continue
        # Whatever somebody else's code raises, sys.exit included, costs its own rows and nothing more.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            if stop - start == 1:
                late, dead = 0, dead + 1 if isinstance(error, PolicyCrashed) else 0
                answers.messages[start] = describe_failure(error)
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
            continue
        late = dead = 0
        answers.q[rows] = solution.q
        answers.claimed[rows] = solution.solved
        answers.nominal_q[rows], answers.contact[rows] = nominal, contact
        answers.seconds[rows] = seconds / (stop - start)
    return answers


def _nominal(solution: IKSolution, shape: tuple[int, ...]) -> Any:
    """What was proposed before a projection; NaN if there is nothing of that shape."""
    array = np.asarray(solution.info.get("nominal_q", np.nan))
    return array if array.shape == shape and array.dtype.kind == "f" else np.nan


def _contact(policy: IKPolicy, solution: IKSolution, q_start: FloatArray, scene: Scene) -> Any:
    commands = solution.info.get("commands")
    if commands is None:
        return -1
    layout = policy.fixed_interface or policy.interface or EnvInterface(scene.arm)
    return contacts_on_the_way(commands, q_start, solution.q, scene, layout.dt)


def guarded(policy: IKPolicy, call: Callable[[], Any]) -> float:
    """Seconds that a call took; NaN if it raised, which the measured calls report row by row."""
    try:
        return timed(policy, call)[1]
    except (Exception, SystemExit):  # noqa: BLE001
        return float("nan")
