"""A policy that lives in another process."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ... import errors
from ...errors import PolicyCrashed, PolicyError, PolicyTimeout
from ...interface import EnvInterface
from ...policies.protocol import IKPolicy, IKSolution, find_interface
from ...scene import Scene
from ...validate import real_number
from .carrying import interface_from, interface_values, scene_parts
from .messages import BadFrame, Message, encode, receive

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PLANARARM_NUM_THREADS",
)
HOST = "from planararm.benchmark.isolation.host import main; main()"
FAREWELL = 2.0
"""Seconds that a process may take to end before it is killed."""

_CHUNK = 1 << 16


class _TooLate(Exception):
    """The deadline has passed."""


class _Process:
    """The other process, and the pipes to it."""

    def __init__(self) -> None:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        # A session of its own: Ctrl-C is for this process, which ends the other one.
        self._popen = subprocess.Popen(
            [sys.executable, "-c", HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._to, self._from = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._read_ahead = bytearray()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def ask(self, request: bytes, deadline: float) -> Message:
        """Send a request, wait for the reply.

        Raises:
            _TooLate: The deadline has passed.
            BrokenPipeError: The process has ended.
            BadFrame: The reply is none.
        """
        self._send(memoryview(request), deadline)
        return receive(lambda size: self._take(size, deadline))

    def _wait(self, number: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(number, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _TooLate

    def _send(self, content: memoryview, deadline: float) -> None:
        while content:
            try:
                content = content[os.write(self._to, content) :]
            except BlockingIOError:
                self._wait(self._to, selectors.EVENT_WRITE, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._read_ahead) < size:
            try:
                part = os.read(self._from, max(_CHUNK, size - len(self._read_ahead)))
            except BlockingIOError:
                self._wait(self._from, selectors.EVENT_READ, deadline)
                continue
            if not part:
                raise BrokenPipeError
            self._read_ahead += part
        taken = bytes(self._read_ahead[:size])
        del self._read_ahead[:size]
        return taken

    def end(self, *, patient: bool) -> int | None:
        """End it and all that it has started; its exit code, if it had ended by itself.

        Args:
            patient: Let it end by itself first.
        """
        code = None
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        if patient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._popen.wait(FAREWELL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        return code


class IsolatedPolicy(IKPolicy):
    """A policy in a process of its own, under a limit of time and of memory.

    Whatever happens there is an exception here, and the next call finds a new process. The process has one thread of
    BLAS, torch and kernels; what the policy prints goes to standard error. Nothing is unpickled.

    Args:
        spec: What :func:`planararm.policies.make_policy` takes, as text: a name, an import path, a model file.
        options: Keyword arguments of the policy; JSON values.
        seed: For a policy whose class has an argument ``seed``.
        time_limit: Seconds that a call may take.
        memory_limit: GiB that the policy may take beyond what it has after its first answer; None: no limit. On Linux
            only.
        start_limit: Seconds that importing and building may take.

    Attributes:
        last_elapsed: Seconds that the policy itself took for the last call, without the way there and back.

    Raises:
        InvalidInputError: A limit is out of range.
        PolicyError: No such processes on this platform.
    """

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        time_limit: float = 10.0,
        memory_limit: float | None = 2.0,
        start_limit: float = 120.0,
    ) -> None:
        self._process: _Process | None = None
        if os.name != "posix":
            raise PolicyError(
                "Policies get processes of their own on Linux and macOS only; run this one in this process."
            )
        self.spec, self.options, self.seed = spec, dict(options or {}), seed
        self.time_limit = real_number("time_limit", time_limit, 0.0, 1e6)
        self.memory_limit = None if memory_limit is None else real_number("memory_limit", memory_limit, 0.0, 1e6)
        self.start_limit = real_number("start_limit", start_limit, 0.0, 1e6)
        self.name = spec
        self.last_elapsed: float | None = None
        self._has_state = False

    def __reduce__(self) -> tuple[Any, ...]:
        limits = {name: getattr(self, name) for name in ("seed", "time_limit", "memory_limit", "start_limit")}
        return _rebuild, (self.spec, self.options, limits)

    def __repr__(self) -> str:
        return f"IsolatedPolicy({self.spec!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Python may be on its way out, with half of the modules gone.
        if getattr(self, "_process", None) is not None and not sys.is_finalizing():
            self.close()

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and build the policy, unless that is done.

        Raises:
            PlanarArmError: What building it here would have raised.
            PolicyTimeout: It took longer than ``start_limit``.
            PolicyCrashed: The process ended.
        """
        if self._process is not None:
            return
        self._process = _Process()
        request = {
            "call": "build",
            "spec": self.spec,
            "options": self.options,
            "seed": self.seed,
            "memory_limit": self.memory_limit,
        }
        try:
            reply = self._exchange(request, {}, self.start_limit)
        except BaseException:
            self.close()
            raise
        values = reply.values
        self.name = str(values["name"])
        self.batch_tolerance = float(values["batch_tolerance"])  # type: ignore[misc]
        self.episode_steps = values["episode_steps"]
        fixed = values["fixed_interface"]
        self.fixed_interface = None if fixed is None else interface_from(fixed)
        self._has_state = False
        if self.interface is not None and fixed is None:
            self._exchange({"call": "bind", "interface": interface_values(self.interface)}, {}, self.time_limit)

    def close(self) -> None:
        """End the process; the next call starts another one."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end(patient=False)

    def _ask(self, values: dict[str, Any], arrays: Mapping[str, Any] | None = None) -> Message:
        self.start()
        return self._exchange(values, arrays or {}, self.time_limit)

    def _exchange(self, values: dict[str, Any], arrays: Mapping[str, Any], limit: float) -> Message:
        """Send a request and wait for its reply.

        Raises:
            PolicyTimeout: It took too long.
            PolicyCrashed: The process ended, or sent something else.
            PlanarArmError: What was raised there, if it is of this package; PolicyError for anything else.
        """
        assert self._process is not None
        self.last_elapsed = None
        try:
            reply = self._process.ask(encode(values, arrays), time.monotonic() + limit)
            ok = reply.values["ok"]
        except _TooLate:
            self.close()
            raise _told(PolicyTimeout(f"took longer than {limit:g} s")) from None
        except (BrokenPipeError, ConnectionError):
            process, self._process = self._process, None
            raise _told(PolicyCrashed(f"its process ended: {_ending(process.end(patient=True))}")) from None
        except (BadFrame, KeyError) as cause:
            self.close()
            raise _told(PolicyCrashed(f"its process sent something that is no answer: {cause}")) from None
        except BaseException:
            # Interrupted between question and answer: the next question must not get this one's.
            self.close()
            raise
        if not ok:
            if reply.values.get("memory"):
                self.close()
            raise _raised(reply.values, self.memory_limit)
        elapsed = reply.values.get("elapsed")
        self.last_elapsed = float(elapsed) if isinstance(elapsed, int | float) else None
        return reply

    def supports(self, scene: Scene) -> str | None:
        """The policy's own answer."""
        values, arrays = scene_parts(scene)
        reason = self._ask({"call": "supports", **values}, arrays).values["reason"]
        return None if reason is None else str(reason)

    def reset(self, mask: Any = None) -> None:
        """Reset the policy."""
        self._has_state = False
        arrays = {} if mask is None else {"mask_of_reset": np.asarray(mask, dtype=bool)}
        self._ask({"call": "reset"}, arrays)

    def bind(self, env: Any) -> Self:
        """Bind the policy to an environment's layout; see :meth:`IKPolicy.bind`."""
        interface: EnvInterface = find_interface(env)
        self._ask({"call": "bind", "interface": interface_values(interface)})
        self.interface = interface
        return self

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """The policy's answers; see :meth:`IKPolicy.solve`."""
        values, arrays = scene_parts(scene)
        arrays = {**arrays, "target_position": np.asarray(target_position, float), "q": np.asarray(q, float)}
        if target_orientation is not None:
            arrays["target_orientation"] = np.asarray(target_orientation, float)
        answer = self._ask({"call": "solve", **values}, arrays).arrays
        try:
            info = {name.partition(".")[2]: array for name, array in answer.items() if name.startswith("info.")}
            return IKSolution(answer["q"], answer["solved"], answer["reason"], info)
        except KeyError as missing:
            raise _told(PolicyCrashed(f"its process sent an answer without {missing}")) from None

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The policy's action; its state stays there, and True stands for it here."""
        arrays = {f"observed.{name}": np.asarray(array) for name, array in observation.items()}
        batch = np.shape(observation["observation"])[:-1]
        layout = self.fixed_interface or self.interface
        if layout is None:
            raise PolicyError(f"{self.spec!r} must be bound to an environment: policy.bind(env).predict(...).")
        if episode_start is not None:
            arrays["episode_start"] = np.asarray(episode_start, dtype=bool)
        request = {
            "call": "predict",
            "has_state": state is not None,
            "deterministic": bool(deterministic),
            "shape": [*batch, layout.arm.num_joints],
        }
        reply = self._ask(request, arrays)
        action = reply.arrays.get("action")
        if action is None:
            raise _told(PolicyCrashed("its process sent an answer without an action"))
        return action, True if reply.values.get("has_state") else None


def _rebuild(spec: str, options: dict[str, Any], limits: dict[str, Any]) -> IsolatedPolicy:
    return IsolatedPolicy(spec, options, **limits)


def _told(error: PolicyError) -> PolicyError:
    """The error, whose rows show its message as it is."""
    error.described = str(error)
    return error


def _raised(values: Mapping[str, Any], memory_limit: float | None) -> Exception:
    """What was raised in the other process, as an exception of this one."""
    message, kind = str(values.get("message")), str(values.get("type"))
    described = str(values.get("described"))
    known = getattr(errors, kind, None) if values.get("own") else None
    if isinstance(known, type) and issubclass(known, errors.PlanarArmError):
        # Past __init__, which builds the message from values that stayed in the other process.
        own = known.__new__(known, message)
        own.args = (message,)
        own.described = described
        return own
    if values.get("memory"):
        limit = "" if memory_limit is None else f" (its limit is {memory_limit:g} GiB more than after its first answer)"
        described += limit
    error = PolicyError(described)
    error.described = described
    return error


def _ending(code: int | None) -> str:
    """How a process ended."""
    if code is None:
        return "it closed its pipes"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
