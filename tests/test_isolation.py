"""A policy in a process of its own answers as it does here, and what it does to its process stays there."""

import gc
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_suite import small_suite

from planararm.benchmark.isolation import IsolatedPolicy
from planararm.benchmark.isolation.messages import HEAD, MAX_BODY, MAX_HEADER, BadFrame, encode, receive
from planararm.errors import InvalidInputError, PolicyCrashed, PolicyError, PolicyTimeout, UnknownNameError
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import make_policy
from planararm.scene import Scene

GROUP = small_suite().group("ik")
FAR = np.array([[9.0, 0.0, 0.0]])


def gone(pid):
    """Whether a process has ended, within a few seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def ask(policy, far=False):
    targets = GROUP.targets[:2].copy()
    if far:
        targets[0, 0] = 9.0
    return policy.solve(targets, GROUP.q_start[:2], GROUP.scene[:2])


@pytest.fixture(scope="module")
def solver():
    with IsolatedPolicy("damped-least-squares") as policy:
        yield policy


@pytest.mark.parametrize("name", ["ik", "ik-unit5"])
def test_answers_are_those_of_the_policy_here(solver, name):
    group, here = small_suite().group(name), make_policy("damped-least-squares")
    for rows in (slice(None), slice(0, 1)):
        arguments = (group.targets[rows], group.q_start[rows], group.scene[rows])
        there, expected = solver.solve(*arguments), here.solve(*arguments)
        for part in ("q", "solved", "reason"):
            np.testing.assert_array_equal(getattr(there, part), getattr(expected, part))
            assert getattr(there, part).dtype == getattr(expected, part).dtype
        assert there.info.keys() == expected.info.keys()
        assert solver.last_elapsed > 0
    single = (group.targets[0], group.q_start[0], group.scene[0])
    np.testing.assert_array_equal(solver.solve(*single).q, here.solve(*single).q)
    assert solver.supports(group.scene) == here.supports(group.scene)


def test_moving_and_masked_discs_arrive(solver):
    arm = GROUP.scene.arm
    shuttle = [[1.0, 0.0, 0.5, 0.3], [0.0, 0.0, 0.0, 0.0]]
    discs = Obstacles([[1.0, 1.5], [2.0, -1.0]], [0.2, 0.3], shuttle, np.array([True, False]))
    scene = Scene(arm, discs, 0.01)
    target, q = np.array([1.5, 1.0]), np.array([0.3, 0.4, 0.5])
    here = make_policy("damped-least-squares")
    np.testing.assert_array_equal(solver.solve(target, q, scene).q, here.solve(target, q, scene).q)


def test_predict_is_that_of_the_policy_here(solver):
    layout = EnvInterface(GROUP.scene.arm)
    observation = layout.pack(GROUP.q_start, GROUP.targets[:, None], GROUP.scene, time=0.0)
    here = make_policy("damped-least-squares").bind(layout)
    there = solver.bind(layout)
    expected, _ = here.predict(observation)
    action, state = there.predict(observation, episode_start=np.ones(len(GROUP), dtype=bool))
    np.testing.assert_array_equal(action, expected)
    assert state is None


def test_a_state_stays_in_the_other_process():
    layout = EnvInterface(GROUP.scene.arm)
    observation = layout.pack(GROUP.q_start, GROUP.targets[:, None], GROUP.scene)
    with IsolatedPolicy("hostile_policies:Counts") as policy:
        policy.bind(layout)
        state = None
        for count in range(3):
            action, state = policy.predict(observation, state)
            assert action == pytest.approx(np.full((len(GROUP), 3), 0.1 * count))
            assert state is True
        assert policy.predict(observation, None)[0] == pytest.approx(np.zeros((len(GROUP), 3)))
        # A new process is bound as the one before it was.
        os.kill(policy.pid, signal.SIGKILL)
        with pytest.raises(PolicyCrashed, match="its process ended: signal SIGKILL"):
            policy.predict(observation)
        assert policy.predict(observation)[0].shape == (len(GROUP), 3)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Raises", PolicyError, "^RuntimeError: no idea at all$"),
        ("Exits", PolicyError, "^SystemExit: goodbye$"),
        ("ExitsHard", PolicyCrashed, "its process ended: exit code 7"),
        ("Segfaults", PolicyCrashed, "its process ended: signal SIGSEGV"),
        ("Hangs", PolicyTimeout, "took longer than 1 s"),
        ("Spins", PolicyTimeout, "took longer than 1 s"),
        ("EatsMemory", PolicyError, r"MemoryError: .*its limit is 2 GiB more than after its first answer"),
        ("WritesGarbage", PolicyCrashed, "its process sent something that is no answer"),
        ("ClosesFiles", PolicyCrashed, "its process (ended|closed)"),
    ],
)
def test_what_it_does_costs_one_call(name, kind, message):
    with IsolatedPolicy(f"hostile_policies:{name}", time_limit=1.0) as policy:
        before = ask(policy).q
        first = policy.pid
        began = time.monotonic()
        with pytest.raises(kind, match=message) as caught:
            ask(policy, far=True)
        assert type(caught.value) is kind
        assert time.monotonic() - began < 3.0
        if policy.pid != first:
            assert gone(first)
        np.testing.assert_array_equal(ask(policy).q, before)


def test_a_leak_does_not_spoil_the_calls_after_it():
    with IsolatedPolicy("hostile_policies:Leaks", memory_limit=0.4) as policy:
        messages = []
        for _ in range(12):
            try:
                ask(policy)
                messages.append(None)
            except PolicyError as error:
                messages.append(str(error))
    assert any(messages)
    assert all("MemoryError" in message for message in messages if message)
    assert not any(before and after for before, after in pairwise(messages))


def test_what_it_prints_is_no_answer(capfd):
    with IsolatedPolicy("hostile_policies:Prints") as policy:
        np.testing.assert_array_equal(ask(policy).q, make_policy("damped-least-squares").solve(
            GROUP.targets[:2], GROUP.q_start[:2], GROUP.scene[:2]
        ).q)  # fmt: skip
    captured = capfd.readouterr()
    assert "hello" in captured.err
    assert captured.out == ""


def test_too_much_is_refused():
    message = "the answer has 3200000052 bytes, 268435456 are allowed"
    with (
        IsolatedPolicy("hostile_policies:ReturnsMuch", memory_limit=8.0) as policy,
        pytest.raises(PolicyError, match=message),
    ):
        ask(policy)


@pytest.mark.parametrize(
    ("spec", "options", "kind", "message"),
    [
        ("hodl", {}, UnknownNameError, "Unknown policy 'hodl'. Did you mean 'hold'"),
        ("hold", {"speed": 1}, InvalidInputError, "takes no options, got 'speed'"),
        ("hostile_policies:Missing", {}, UnknownNameError, "Unknown attribute of 'hostile_policies' 'Missing'"),
        ("hostile_policies:CannotBeBuilt", {"mood": "bad"}, PolicyError, "OSError: weights are gone, mood bad"),
    ],
)
def test_what_cannot_be_built_says_so_here(spec, options, kind, message):
    policy = IsolatedPolicy(spec, options)
    with pytest.raises(kind, match=message):
        policy.start()
    assert policy.pid is None


def test_options_and_seed_arrive_and_survive_pickling():
    policy = pickle.loads(pickle.dumps(IsolatedPolicy("hostile_policies:Seeded", {"shift": 0.5}, seed=7)))
    assert policy.pid is None
    with policy:
        assert ask(policy).q == pytest.approx(GROUP.q_start[:2] + 0.507)


def test_no_process_is_left_over():
    policy = IsolatedPolicy("hold")
    policy.start()
    pid = policy.pid
    del policy
    gc.collect()
    assert gone(pid)


@pytest.mark.parametrize("what", ["idle", "busy"])
def test_nothing_outlives_a_killed_parent(what):
    code = f"""
        import sys, threading, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_isolation import IsolatedPolicy, ask
        policy = IsolatedPolicy("hostile_policies:Spins", time_limit=1000)
        ask(policy)
        print(policy.pid, flush=True)
        ask(policy, far={what == "busy"})
        time.sleep(1000)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
    finally:
        parent.kill()
        parent.communicate()
    assert gone(pid)


@pytest.mark.parametrize("name", ["time_limit", "memory_limit", "start_limit"])
def test_limits_are_numbers(name):
    with pytest.raises(InvalidInputError, match=rf"{name} must be a number in \(0.0, 1000000.0\], got 0"):
        IsolatedPolicy("hold", **{name: 0})


def reader(content):
    stream = io.BytesIO(content)

    def read(size):
        part = stream.read(size)
        if len(part) < size:
            raise EOFError
        return part

    return read


def test_messages_arrive_as_they_were_sent():
    arrays = {
        "a": np.arange(6.0).reshape(2, 3), "b": np.array(True), "c": np.zeros((0, 2), np.int8),
        "d": np.arange(8, dtype=np.int64)[::2],
    }  # fmt: skip
    message = receive(reader(encode({"call": "x", "y": None}, arrays)))
    assert message.values == {"call": "x", "y": None}
    for name, array in arrays.items():
        np.testing.assert_array_equal(message.arrays[name], array)
        assert message.arrays[name].dtype == array.dtype
        assert message.arrays[name].flags.writeable


def framed(header, body=b""):
    return HEAD.pack(b"PLAR", len(header), len(body)) + header + body


@pytest.mark.parametrize(
    "content",
    [
        b"garbage" * 10,
        struct.pack("<4sIQ", b"PLAR", MAX_HEADER + 1, 0),
        struct.pack("<4sIQ", b"PLAR", 2, MAX_BODY + 1),
        framed(b"{}"),
        framed(b"[]"),
        framed(b"not json"),
        framed(b"[" * 100_000),
        framed(b'{"values": {}, "arrays": [["a", "object", [1]]]}', b"x" * 8),
        framed(b'{"values": {}, "arrays": [["a", "float64", [-1]]]}', b"x" * 8),
        framed(b'{"values": {}, "arrays": [["a", "float64", [1e3]]]}', b"x" * 8),
        framed(b'{"values": {}, "arrays": [["a", "float64", [99999999, 99999999]]]}', b"x" * 8),
        framed(b'{"values": {}, "arrays": [["a", "float64"]]}', b"x" * 8),
    ],
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(BadFrame):
        receive(reader(content))


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(content):
    for start in (b"", HEAD.pack(b"PLAR", max(0, len(content) - 16), 16)):
        try:
            receive(reader(start + content))
        except (BadFrame, EOFError):
            continue
