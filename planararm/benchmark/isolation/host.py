"""The process of a policy: reads requests, calls the policy, answers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import PolicyError
from ...policies.protocol import IKPolicy, check_configuration, check_solution
from ..entrants import build_policy
from .carrying import interface_from, interface_values, scene_from
from .failures import failure_values
from .limits import MemoryLimit, without_core_dump
from .messages import TYPES, Message, encode, receive, reply_limit

PR_SET_PDEATHSIG = 1
STATES_KEPT = 16
"""Newest states of a recurrent policy that can be gone on from."""

Reply = tuple[dict[str, Any], dict[str, Any]]


class Host:
    """Answers requests with what the policy says."""

    def __init__(self) -> None:
        self._policy: IKPolicy | None = None
        self._states: OrderedDict[int, Any] = OrderedDict()
        self._num_states = 0
        self._limit = MemoryLimit(None)

    def answer(self, request: Message) -> bytes:
        """The reply to a request: what was returned, or what was raised."""
        number = {"number": request.values.get("number")}
        try:
            values, arrays = self._call(request)
            steps = None if self._policy is None else self._policy.episode_steps
            return encode({"ok": True, **number, **values}, arrays, reply_limit(request.size, steps))
        # Whatever the policy raises is told, and the next request is waited for.
        except BaseException as error:  # noqa: BLE001
            # Nothing may be left, not even for the words that say so.
            with self._limit.lifted():
                return encode({**failure_values(error, self._limit.is_short), **number})

    def _call(self, request: Message) -> Reply:
        calls: dict[str, Callable[[Message], Reply]] = {
            "build": self._build,
            "supports": self._supports,
            "reset": self._reset,
            "bind": self._bind,
            "solve": self._solve,
            "predict": self._predict,
        }
        return calls[request.values["call"]](request)

    @property
    def policy(self) -> IKPolicy:
        """The policy, once it is built."""
        if self._policy is None:
            raise RuntimeError("the policy has not been built")
        return self._policy

    def _build(self, request: Message) -> Reply:
        values = request.values
        sys.path[:] = values["paths"]
        self._limit = MemoryLimit(values["memory_limit"])
        self._limit.before_build()
        self._policy = policy = build_policy(values["spec"], values["spec"], values["options"], values["seed"])
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        self._limit.after_build()
        fixed, steps = policy.fixed_interface, policy.episode_steps
        return {
            "name": type(policy).__name__,
            "batch_tolerance": float(policy.batch_tolerance),
            "episode_steps": None if steps is None else int(steps),
            "fixed_interface": None if fixed is None else interface_values(fixed),
        }, {}

    def _supports(self, request: Message) -> Reply:
        reason = self.policy.supports(scene_from(request))
        return {"reason": None if reason is None else str(reason)}, {}

    def _reset(self, request: Message) -> Reply:
        self.policy.reset(request.arrays.get("mask_of_reset"))
        return {}, {}

    def _bind(self, request: Message) -> Reply:
        self.policy.bind(interface_from(request.values["interface"]))
        return {}, {}

    def _solve(self, request: Message) -> Reply:
        arrays, policy, scene = request.arrays, self.policy, scene_from(request)
        orientation, shape = arrays.get("target_orientation"), arrays["q"].shape
        given = {} if orientation is None else {"target_orientation": orientation}
        began = time.perf_counter()
        solution = policy.solve(arrays["target_position"], arrays["q"], scene, **given)
        elapsed = time.perf_counter() - began
        check_solution(solution, shape, type(policy).__name__)
        self._limit.after_answer()
        answer: dict[str, Any] = {
            "q": np.asarray(solution.q, dtype=np.float64),
            "solved": np.asarray(solution.solved, dtype=bool),
            "reason": np.asarray(solution.reason, dtype=np.int8),
        }
        for name, value in solution.info.items():
            array = _numbers(value)
            if array is not None:
                answer[f"info.{name}"] = array
        return {"elapsed": elapsed}, answer

    def _predict(self, request: Message) -> Reply:
        values, arrays = request.values, request.arrays
        observation = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith("observed.")}
        state = self._state(values["state"])
        began = time.perf_counter()
        action, new_state = self.policy.predict(
            observation,
            state=state,
            episode_start=arrays.get("episode_start"),
            deterministic=values["deterministic"],
        )
        elapsed = time.perf_counter() - began
        check_configuration(action, tuple(values["shape"]), f"{type(self.policy).__name__}.predict")
        self._limit.after_answer()
        return {"elapsed": elapsed, "state": self._keep(new_state)}, {"action": action}

    def _state(self, number: int | None) -> Any:
        if number is None:
            return None
        if number not in self._states:
            raise PolicyError(f"The state is too old: a policy's process keeps the newest {STATES_KEPT}.")
        return self._states[number]

    def _keep(self, state: Any) -> int | None:
        if state is None:
            return None
        self._num_states += 1
        self._states[self._num_states] = state
        if len(self._states) > STATES_KEPT:
            self._states.popitem(last=False)
        return self._num_states


def _numbers(value: Any) -> npt.NDArray[Any] | None:
    """A value of an answer's ``info`` as an array; None if it is none of numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.name in TYPES else None


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes; the end of the pipe means that the parent is gone, and nothing shall outlive it."""
    content = file.read(size) if size else b""
    if len(content) < size:
        _end_all()
    return content


def _end_all() -> None:
    """End this process and those that the policy has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _end_at_hang_up(number: int) -> None:
    """Wait, also while the policy is busy, until the parent's end of a pipe is closed; then end."""
    poll = select.poll()
    # No event is asked for: that the other end has been closed is told in any case.
    poll.register(number, 0)
    poll.poll()
    _end_all()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(*, die_with_parent: bool = True) -> None:
    """Serve requests from standard input until it ends.

    Args:
        die_with_parent: Ask the kernel to end this process with the thread that has started it, for code that never
            lets another thread of this process run.
    """
    if die_with_parent:
        _die_with_parent()
    without_core_dump()
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    # What the policy prints or reads must not come between the messages.
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_at_hang_up, args=(requests.fileno(),), daemon=True).start()
    host = Host()
    while True:
        content = memoryview(host.answer(receive(lambda size: _read_exactly(requests, size))))
        while content:
            content = content[replies.write(content) or 0 :]


if __name__ == "__main__":
    main()
