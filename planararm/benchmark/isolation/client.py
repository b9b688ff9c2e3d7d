"""A policy that lives in another process."""

from __future__ import annotations

import json
import math
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInputError, PolicyCrashed, PolicyError, PolicyTimeout
from ...interface import EnvInterface
from ...policies.protocol import IKPolicy, IKSolution, check_configuration, check_solution, find_interface
from ...scene import Scene
from ...validate import real_number
from .carrying import interface_from, interface_values, scene_parts
from .failures import no_answer, raised_there, told
from .messages import BadFrame, Message, encode, reply_limit
from .process import HostProcess, TooLate, import_paths

T = TypeVar("T")
MOST_STEPS = 1_000_000
TRANSPORT = (1e-3, 1e-8)
"""The most that the way to a policy's process and back is taken to cost: seconds per call, and per byte sent."""

MALFORMED = (LookupError, TypeError, ValueError, OverflowError, AttributeError)


class KeptState(NamedTuple):
    """Stands for a state that :meth:`IsolatedPolicy.predict` has returned, and that stays in the policy's process.

    Attributes:
        process: The process, by its pid and how many the policy had before.
        number: The state.
    """

    process: tuple[int, int]
    number: int


class IsolatedPolicy(IKPolicy):
    """A policy in a process of its own, under a limit of time and of memory.

    Whatever happens there is an exception here, and the next call finds a new process. The process has one thread of
    BLAS, torch and kernels; what the policy prints goes to standard error. Nothing is unpickled. It ends with
    :meth:`close`, with this object, and with this process, however that ends.

    Args:
        spec: What :func:`planararm.policies.make_policy` takes, as text: a name, an import path, a model file.
        options: Keyword arguments of the policy; JSON values.
        seed: For a policy whose class has an argument ``seed``.
        time_limit: Seconds that a call may take.
        memory_limit: GiB that the policy may take beyond what it has after its first answer; None: no limit. On Linux
            only, and without processes that the policy itself starts.
        start_limit: Seconds that importing and building may take.

    Attributes:
        name: Name of the policy's class, once it is built.
        last_elapsed: Seconds that the policy took for the last call, as its process tells; None if the call failed. It
            is believed as far as the time until the answer was here allows, less at most :data:`TRANSPORT` for the way.

    Raises:
        InvalidInputError: A limit is out of range, or ``spec`` or ``options`` cannot be sent.
        PolicyError: No such processes on this platform.
    """

    def __init__(
        self,
        spec: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        time_limit: float = 5.0,
        memory_limit: float | None = 2.0,
        start_limit: float = 120.0,
    ) -> None:
        if os.name != "posix":
            raise PolicyError(
                "Policies get processes of their own on Linux and macOS only; run this one in this process."
            )
        if not isinstance(spec, str | os.PathLike):
            raise InvalidInputError(
                'A policy in a process of its own is named by text, e.g. "my_module:MyPolicy", '
                f"got {type(spec).__name__}."
            )
        self.spec, self.options, self.seed = os.fspath(spec), dict(options or {}), seed
        try:
            json.dumps(self.options)
        except (TypeError, ValueError) as cause:
            raise InvalidInputError(f"Options for another process must be JSON values, got {options!r}.") from cause
        self.time_limit = real_number("time_limit", time_limit, 0.0, 1e6)
        self.memory_limit = None if memory_limit is None else real_number("memory_limit", memory_limit, 0.0, 1e6)
        self.start_limit = real_number("start_limit", start_limit, 0.0, 1e6)
        self.name = self.spec
        self.last_elapsed: float | None = None
        self._process: HostProcess | None = None
        self._end: Callable[[], Any] = _nothing
        self._num_processes = 0
        self._num_requests = 0

    def __reduce__(self) -> tuple[Any, ...]:
        limits = {name: getattr(self, name) for name in ("seed", "time_limit", "memory_limit", "start_limit")}
        return _rebuild, (self.spec, self.options, limits)

    def __repr__(self) -> str:
        return f"IsolatedPolicy({self.spec!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
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
        if self._process is not None and self._process.is_own:
            return
        self.close()
        try:
            self._process = HostProcess()
        except OSError as cause:
            raise PolicyError(f"There is no process to be had for {self.spec!r}: {cause}.") from cause
        # Also when this object, or Python, comes to its end.
        self._end = weakref.finalize(self, self._process.end)
        self._num_processes += 1
        request = {
            "call": "build",
            "spec": self.spec,
            "options": self.options,
            "seed": self.seed,
            "memory_limit": self.memory_limit,
            "paths": import_paths(),
        }
        try:
            self._exchange(request, {}, self._learn, self.start_limit)
            if self.interface is not None:
                self._bind(self.interface)
        except BaseException:
            # Half of a policy is none: the next call begins anew.
            self.close()
            raise

    def _learn(self, reply: Message) -> None:
        values = reply.values
        tolerance, steps, fixed = values["batch_tolerance"], values["episode_steps"], values["fixed_interface"]
        if not (type(tolerance) is float and 0 <= tolerance < math.inf):
            raise ValueError(f"batch_tolerance {tolerance!r}")
        if not (steps is None or (type(steps) is int and 0 <= steps <= MOST_STEPS)):
            raise ValueError(f"episode_steps {steps!r}")
        self.fixed_interface = None if fixed is None else interface_from(fixed)
        self.name, self.episode_steps = str(values["name"]), steps
        self.batch_tolerance = tolerance

    def close(self) -> None:
        """End the process; the next call starts another one."""
        self._end()
        self._end, self._process = _nothing, None

    def _ask(self, values: dict[str, Any], arrays: Mapping[str, Any], read: Callable[[Message], T]) -> T:
        self.last_elapsed = None
        self.start()
        return self._exchange(values, arrays, read, self.time_limit)

    def _exchange(
        self, values: dict[str, Any], arrays: Mapping[str, Any], read: Callable[[Message], T], limit: float
    ) -> T:
        """Send a request, wait for its reply, and read it.

        Raises:
            InvalidInputError: The request has something other than numbers, or is too large.
            PolicyTimeout: It took too long.
            PolicyCrashed: The process ended, or sent something else.
            PlanarArmError: What was raised there, if it is of this package; PolicyError for anything else.
        """
        assert self._process is not None
        self.last_elapsed = None
        self._num_requests += 1
        try:
            request = encode({**values, "number": self._num_requests}, arrays)
        except ValueError as cause:
            raise InvalidInputError(f"Cannot be sent to the policy's process: {cause}.") from cause
        size = sum(np.asarray(array).nbytes for array in arrays.values())
        began, most = time.monotonic(), reply_limit(size, self.episode_steps)
        try:
            reply = self._process.ask(request, began + limit, most)
            if reply.values["number"] != self._num_requests:
                raise BadFrame("it is not about this question")
            ok = reply.values["ok"]
            answer = read(reply) if ok is True else None
            elapsed = _seconds(reply.values.get("elapsed"), time.monotonic() - began, len(request))
        except TooLate:
            self.close()
            doing = " to be built" if values["call"] == "build" else ""
            raise told(PolicyTimeout(f"took longer than {limit:g} s{doing}")) from None
        except ConnectionError:
            ending = self._process.farewell()
            self.close()
            raise told(PolicyCrashed(f"its process ended: {ending}")) from None
        except (BadFrame, *MALFORMED) as cause:
            self.close()
            raise no_answer(cause) from None
        except BaseException:
            # Interrupted between question and answer: the next question must not get this one's.
            self.close()
            raise
        if ok is not True:
            if reply.values.get("memory") is True or reply.values.get("spoiled") is True:
                self.close()
            raise raised_there(reply.values, self.memory_limit)
        self.last_elapsed = elapsed
        return answer  # type: ignore[return-value]

    def supports(self, scene: Scene) -> str | None:
        """The policy's own answer."""

        def read(reply: Message) -> str | None:
            reason = reply.values["reason"]
            return None if reason is None else str(reason)

        values, arrays = scene_parts(scene)
        return self._ask({"call": "supports", **values}, arrays, read)

    def reset(self, mask: Any = None) -> None:
        """Reset the policy."""
        arrays = {} if mask is None else {"mask_of_reset": np.asarray(mask, dtype=bool)}
        self._ask({"call": "reset"}, arrays, _nothing)

    def bind(self, env: Any) -> Self:
        """Bind the policy to an environment's layout; see :meth:`IKPolicy.bind`."""
        interface = find_interface(env)
        self.last_elapsed = None
        self.start()
        self._bind(interface)
        self.interface = interface
        return self

    def _bind(self, interface: EnvInterface) -> None:
        self._exchange({"call": "bind", "interface": interface_values(interface)}, {}, _nothing, self.time_limit)

    def solve(self, target_position: Any, q: Any, scene: Scene, *, target_orientation: Any = None) -> IKSolution:
        """The policy's answers; of ``info`` only arrays of numbers. See :meth:`IKPolicy.solve`."""
        values, arrays = scene_parts(scene)
        given = {"target_position": target_position, "q": q}
        if target_orientation is not None:
            given["target_orientation"] = target_orientation
        arrays |= {name: _real(name, value) for name, value in given.items()}
        shape = arrays["q"].shape

        def read(reply: Message) -> IKSolution:
            answer = reply.arrays
            info = {name.partition(".")[2]: array for name, array in answer.items() if name.startswith("info.")}
            solution = IKSolution(answer["q"], answer["solved"], answer["reason"], info)
            check_solution(solution, shape, self.name)
            kinds = tuple(array.dtype.name for array in (solution.q, solution.solved, solution.reason))
            if kinds != ("float64", "bool", "int8"):
                raise TypeError(f"types {kinds}")
            return solution

        return self._ask({"call": "solve", **values}, arrays, read)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[np.float32], Any]:
        """The policy's action and a :class:`KeptState` that stands for its state; see :meth:`IKPolicy.predict`.

        Raises:
            PolicyError: Not bound, or the state is lost: it went with its process, or 16 newer ones are there.
        """
        layout = self.fixed_interface or self.interface
        if layout is None:
            self.start()
            layout = self.fixed_interface
        if layout is None:
            raise PolicyError(f"{self.spec!r} must be bound to an environment: policy.bind(env).predict(...).")
        if not isinstance(observation, Mapping) or "observation" not in observation:
            raise InvalidInputError(
                f"observation must be a mapping with the key 'observation', got {type(observation).__name__}."
            )
        arrays = {f"observed.{name}": np.asarray(array) for name, array in observation.items()}
        if episode_start is not None:
            arrays["episode_start"] = np.asarray(episode_start, dtype=bool)
        shape = (*np.shape(observation["observation"])[:-1], layout.arm.num_joints)
        request = {
            "call": "predict",
            "state": self._number_of(state),
            "deterministic": bool(deterministic),
            "shape": shape,
        }

        def read(reply: Message) -> tuple[npt.NDArray[Any], KeptState | None]:
            action, number = reply.arrays["action"], reply.values["state"]
            check_configuration(action, shape, self.name)
            if not (number is None or type(number) is int):
                raise TypeError(f"state {number!r}")
            return action, None if number is None else KeptState(self._process_key, number)

        return self._ask(request, arrays, read)

    @property
    def _process_key(self) -> tuple[int, int]:
        return (self.pid or 0, self._num_processes)

    def _number_of(self, state: Any) -> int | None:
        """The number of a state in the policy's process."""
        if state is None:
            return None
        if not isinstance(state, KeptState):
            raise PolicyError(
                f"state must be None or what predict of this policy has returned, got {type(state).__name__}."
            )
        if state.process != self._process_key:
            raise told(PolicyError("the policy's state was lost with the process that had it"))
        return state.number


def _nothing(*arguments: object) -> None:
    return None


def _rebuild(spec: str, options: dict[str, Any], limits: dict[str, Any]) -> IsolatedPolicy:
    return IsolatedPolicy(spec, options, **limits)


def _real(name: str, value: Any) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as cause:
        raise InvalidInputError(f"{name} must be numbers, got {value!r}.") from cause


def _seconds(told_there: Any, waited: float, num_bytes: int) -> float | None:
    """The policy's own time as its process tells it, within what can be."""
    if type(told_there) is not float or not told_there >= 0:
        return None
    per_call, per_byte = TRANSPORT
    return min(max(told_there, waited - per_call - per_byte * num_bytes), waited)
