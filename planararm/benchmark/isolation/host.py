"""The process of a policy: reads requests, calls the policy, answers."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import PlanarArmError
from ...policies.protocol import IKPolicy, check_configuration, check_solution
from ..entrants import build_policy
from ..rollout import describe_failure
from .carrying import interface_from, interface_values, scene_from
from .limits import MemoryLimit
from .messages import TYPES, Message, encode, receive

PR_SET_PDEATHSIG = 1
Reply = tuple[dict[str, Any], dict[str, Any]]


class Host:
    """Answers requests with what the policy says."""

    def __init__(self) -> None:
        self._policy: IKPolicy | None = None
        self._state: Any = None
        self._limit = MemoryLimit(None)

    def answer(self, request: Message) -> bytes:
        """The reply to a request: what was returned, or what was raised."""
        try:
            values, arrays = self._call(request)
            return encode({"ok": True, **values}, arrays)
        # Whatever the policy raises is told, and the next request is waited for.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            values = {
                "ok": False,
                "described": describe_failure(error),
                "message": str(error)[:2000],
                "type": type(error).__name__,
                "own": isinstance(error, PlanarArmError),
                "memory": isinstance(error, MemoryError),
            }
            return encode(values)

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
        self._limit = MemoryLimit(values["memory_limit"])
        self._limit.before_build()
        self._policy = policy = build_policy(values["spec"], values["spec"], values["options"], values["seed"])
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        self._limit.after_build()
        fixed = policy.fixed_interface
        return {
            "name": type(policy).__name__,
            "batch_tolerance": float(policy.batch_tolerance),
            "episode_steps": policy.episode_steps,
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
        orientation = arrays.get("target_orientation")
        began = time.perf_counter()
        given = {} if orientation is None else {"target_orientation": orientation}
        solution = policy.solve(arrays["target_position"], arrays["q"], scene, **given)
        elapsed = time.perf_counter() - began
        check_solution(solution, arrays["q"].shape, type(policy).__name__)
        self._limit.after_answer()
        info = {f"info.{name}": array for name, array in solution.info.items() if np.asarray(array).dtype.name in TYPES}
        answer = {
            "q": np.asarray(solution.q, dtype=np.float64),
            "solved": np.asarray(solution.solved, dtype=bool),
            "reason": np.asarray(solution.reason, dtype=np.int8),
        }
        return {"elapsed": elapsed}, {**answer, **info}

    def _predict(self, request: Message) -> Reply:
        values, arrays = request
        observation = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith("observed.")}
        state = self._state if values["has_state"] else None
        began = time.perf_counter()
        action, self._state = self.policy.predict(
            observation,
            state=state,
            episode_start=arrays.get("episode_start"),
            deterministic=values["deterministic"],
        )
        elapsed = time.perf_counter() - began
        checked = check_configuration(action, tuple(values["shape"]), f"{type(self.policy).__name__}.predict")
        self._limit.after_answer()
        return {"elapsed": elapsed, "has_state": self._state is not None}, {"action": checked}


def _read_exactly(file: Any, size: int) -> bytes:
    """``size`` bytes; the end of the pipe means that the parent is gone, and nothing shall outlive it."""
    content = file.read(size) if size else b""
    if len(content) < size:
        os._exit(0)
    return content


def _die_with_parent() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve requests from standard input until it ends."""
    _die_with_parent()
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    # What the policy prints or reads must not come between the messages.
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    pending: queue.SimpleQueue[Message] = queue.SimpleQueue()
    buffered = io.BufferedReader(requests)

    def listen() -> None:
        while True:
            pending.put(receive(lambda size: _read_exactly(buffered, size)))

    # Also while the policy is busy, somebody notices that the parent is gone.
    threading.Thread(target=listen, daemon=True).start()
    host = Host()
    while True:
        content = memoryview(host.answer(pending.get()))
        while content:
            content = content[replies.write(content) or 0 :]


if __name__ == "__main__":
    main()
