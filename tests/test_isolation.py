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
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path

import hostile_policies
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_suite import small_suite

from planararm.benchmark.calls import describe_failure
from planararm.benchmark.isolation import IsolatedPolicy
from planararm.benchmark.isolation.messages import HEAD, MAX_BODY, MAX_HEADER, BadFrame, encode, receive
from planararm.errors import (
    InvalidInputError,
    MissingExtraError,
    PolicyCrashed,
    PolicyError,
    PolicyTimeout,
    UnknownNameError,
)
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import check_policy, make_policy
from planararm.policies.protocol import check_solution
from planararm.scene import Scene

GROUP = small_suite().group("ik")
COMPILING = 300.0
"""Seconds that a first call may take in a fresh checkout, whose kernels are compiled then."""


def session_of(pid):
    """The session that a process belongs to; None if it has ended."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(session)


def gone(pid):
    """Whether a process has ended, within a few seconds, and all that it has started."""
    for _ in range(250):
        running = [pid, *(int(path.name) for path in Path("/proc").glob("[0-9]*"))]
        if pid not in map(session_of, running):
            return True
        time.sleep(0.02)
    return False


def ask(policy, deed=None):
    targets = np.clip(GROUP.targets[:2], -4, 4)
    if deed is not None:
        targets[0] = [9.0, deed]
    return policy.solve(targets, GROUP.q_start[:2], GROUP.scene[:2])


@pytest.fixture(scope="module")
def solver():
    with IsolatedPolicy("damped-least-squares", time_limit=COMPILING) as policy:
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


def test_a_clock_that_is_stopped_there_does_not_deceive():
    with IsolatedPolicy("hostile_policies:StopsTheClock") as policy:
        ask(policy)
        assert policy.last_elapsed > 0.045


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
        with pytest.raises(PolicyError, match="'hostile_policies:Counts' must be bound to an environment"):
            policy.predict(observation)
        policy.bind(layout)
        states = [None]
        for count in range(18):
            action, state = policy.predict(observation, states[-1])
            assert action.dtype == np.float32
            np.testing.assert_array_equal(action, np.full((len(GROUP), 3), np.float32(0.1 * count)))
            states.append(state)
        # Whoever goes back to a state goes on from there.
        np.testing.assert_array_equal(policy.predict(observation, states[4])[0], np.float32(0.4))
        np.testing.assert_array_equal(policy.predict(observation, None)[0], 0)
        with pytest.raises(PolicyError, match="too old: a policy's process keeps the newest 16"):
            policy.predict(observation, states[1])
        with pytest.raises(PolicyError, match="state must be None or what predict of this policy has returned"):
            policy.predict(observation, np.zeros(3))
        with pytest.raises(InvalidInputError, match=r"must be a mapping with the key 'obs.*, got NoneType"):
            policy.predict(None)
        # A new process is bound as the one before it was, and knows nothing of its states.
        os.kill(policy.pid, signal.SIGKILL)
        with pytest.raises(PolicyCrashed, match="its process ended: signal SIGKILL"):
            policy.predict(observation, state)
        for _ in range(2):
            with pytest.raises(PolicyError, match="the policy's state was lost with the process that had it"):
                policy.predict(observation, state)
            assert policy.predict(observation)[0].shape == (len(GROUP), 3)


def test_an_agent_has_its_layout_and_the_length_of_its_episodes():
    here = make_policy("hostile_policies:agent")
    arguments = (GROUP.targets, GROUP.q_start, GROUP.scene)
    with IsolatedPolicy("hostile_policies:agent", time_limit=COMPILING) as there:
        solution, expected = there.solve(*arguments), here.solve(*arguments)
        for name in ("episode_steps", "batch_tolerance", "fixed_interface"):
            assert getattr(there, name) == getattr(here, name)
        observation = there.fixed_interface.pack(GROUP.q_start, GROUP.targets[:, None], GROUP.scene)
        np.testing.assert_array_equal(there.predict(observation)[0], here.predict(observation)[0])
    np.testing.assert_array_equal(solution.q, expected.q)
    assert (solution.q != GROUP.q_start).any()
    np.testing.assert_array_equal(solution.info["collision"], expected.info["collision"])


def test_it_keeps_the_contract_if_the_policy_does(solver):
    check_policy(solver).raise_if_failed()


@pytest.fixture(scope="module")
def bad():
    with IsolatedPolicy("hostile_policies:BadOnDemand", memory_limit=0.3) as policy:
        yield policy


CRASHED = "^its process ended: "
NO_ANSWER = "^its process sent something that is no answer: "
DEEDS = {
    "raises": (PolicyError, "^RuntimeError: no idea at all$"),
    "exits": (PolicyError, "^SystemExit: goodbye$"),
    "interrupts": (PolicyError, "^KeyboardInterrupt"),
    "cannot say": (PolicyError, "^CannotSay, whose text cannot be shown$"),
    "exits hard": (PolicyCrashed, f"{CRASHED}exit code 7$"),
    "segfaults": (PolicyCrashed, f"{CRASHED}signal SIGSEGV$"),
    "hangs": (PolicyTimeout, "^took longer than 0.4 s$"),
    "spins": (PolicyTimeout, "^took longer than 0.4 s$"),
    "hangs in C": (PolicyTimeout, "^took longer than 0.4 s$"),
    "eats memory": (PolicyError, r"^MemoryError: .* \(its limit is 0.3 GiB more than after its first answer\)$"),
    "eats all memory": (PolicyError, r"^MemoryError: .*\(its limit is 0.3 GiB more than after its first answer\)$"),
    "dies beside a child": (PolicyCrashed, f"{CRASHED}signal SIGSEGV$"),
    "writes garbage": (PolicyCrashed, f"{NO_ANSWER}it begins with other bytes, or is too large$"),
    "forges another answer": (PolicyCrashed, f"{NO_ANSWER}it is not about this question$"),
    "announces much": (PolicyCrashed, f"{NO_ANSWER}it begins with other bytes, or is too large$"),
    "closes files": (PolicyCrashed, f"{CRASHED}(it closed its pipes|exit code 1)$"),
    "starts a process": (PolicyError, r"^RuntimeError: started \d+$"),
}
AGAIN = ("raises", "exits", "interrupts", "cannot say", "starts a process")


def test_every_deed_is_tried():
    assert list(DEEDS) == list(hostile_policies.DEEDS)


@pytest.mark.parametrize("deed", DEEDS)
def test_what_it_does_costs_one_call(bad, deed, monkeypatch):
    before = ask(bad).q
    first = bad.pid
    kind, message = DEEDS[deed]
    with monkeypatch.context() as limited:
        if kind is PolicyTimeout:
            limited.setattr(bad, "time_limit", 0.4)
        began = time.monotonic()
        with pytest.raises(PolicyError, match=message) as caught:
            ask(bad, list(DEEDS).index(deed))
        took = time.monotonic() - began
    assert type(caught.value) is kind
    assert took < 1.4 if kind is PolicyTimeout else took < 5.0
    assert describe_failure(caught.value) == str(caught.value)
    assert bad.last_elapsed is None
    assert (bad.pid == first) == (deed in AGAIN)
    if deed not in AGAIN:
        assert gone(first)
    np.testing.assert_array_equal(ask(bad).q, before)
    if deed == "starts a process":
        bad.close()
        assert gone(int(str(caught.value).split()[-1]))


def test_what_is_no_answer_is_told_as_it_is_here():
    here = make_policy("hostile_policies:NoAnswers")
    with IsolatedPolicy("hostile_policies:NoAnswers") as there:
        for number in range(6):
            targets = GROUP.targets[:2].copy()
            targets[0] = [9.0, number]
            solution = here.solve(targets, GROUP.q_start[:2], GROUP.scene[:2])
            with pytest.raises(PolicyError) as expected:
                check_solution(solution, (2, 3), "NoAnswers")
            with pytest.raises(PolicyError) as caught:
                ask(there, number)
            # Where objects live differs.
            assert str(caught.value).partition(" at 0x")[0] == str(expected.value).partition(" at 0x")[0]
        assert ask(there).q.shape == (2, 3)


def test_careless_answers_arrive():
    with IsolatedPolicy("hostile_policies:Careless") as policy:
        solution = ask(policy)
        assert (policy.name, policy.episode_steps, policy.batch_tolerance) == ("Careless", 7, 1e-5)
    start = GROUP.q_start[:2].astype(np.float32)
    np.testing.assert_array_equal(solution.q, start)
    assert [solution.q.dtype, solution.solved.dtype, solution.reason.dtype] == [float, bool, np.int8]
    assert set(solution.info) == {"big_endian", "nominal_q", "iterations", "threads"}
    np.testing.assert_array_equal(solution.info["big_endian"], [0.0, 1.0])
    np.testing.assert_array_equal(solution.info["nominal_q"], start.astype(np.float16))
    assert solution.info["iterations"].shape == ()
    np.testing.assert_array_equal(solution.info["threads"], 1)


@pytest.mark.parametrize(("name", "told"), [("Leaks", "its limit is 0.3 GiB"), ("LeaksUnsaid", "can't allocate")])
def test_a_leak_does_not_spoil_the_calls_after_it(name, told):
    with IsolatedPolicy(f"hostile_policies:{name}", memory_limit=0.3) as policy:
        messages = []
        for _ in range(7):
            try:
                ask(policy)
                messages.append("")
            except PolicyError as error:
                messages.append(str(error))
    assert any(messages)
    assert all(told in message for message in messages if message)
    assert not any(before and after for before, after in pairwise(messages))


def test_what_it_prints_is_no_answer(capfd):
    with IsolatedPolicy("hostile_policies:Prints") as policy:
        np.testing.assert_array_equal(ask(policy).q, GROUP.q_start[:2])
    captured = capfd.readouterr()
    assert "hello" in captured.err
    assert captured.out == ""


def test_an_answer_before_the_question_is_none():
    with IsolatedPolicy("hostile_policies:WritesAhead") as policy:
        policy.reset()
        assert policy._process._readable.poll(10_000)
        with pytest.raises(PolicyCrashed, match="no answer: it came before the question"):
            ask(policy)


def test_too_much_is_refused():
    message = r"ValueError: 3200000\d\d\d bytes of arrays are too many, 105\d\d\d\d are allowed here"
    with IsolatedPolicy("hostile_policies:ReturnsMuch", memory_limit=8.0) as policy:
        expected = ask(policy).q
        with pytest.raises(PolicyError, match=message):
            ask(policy, 0)
        np.testing.assert_array_equal(ask(policy).q, expected)


@pytest.mark.parametrize(
    ("spec", "options", "kind", "message"),
    [
        ("hodl", {}, UnknownNameError, "Unknown policy 'hodl'. Did you mean 'hold'"),
        ("hold", {"speed": 1}, InvalidInputError, "takes no options, got 'speed'"),
        ("hostile_policies:Missing", {}, UnknownNameError, "Unknown attribute of 'hostile_policies' 'Missing'"),
        ("hostile_policies:CannotBeBuilt", {"mood": "bad"}, PolicyError, "OSError: weights are gone, mood bad"),
        ("hostile_policies:NeedsMore", {}, MissingExtraError, r'NeedsMore needs .* "planararm\[torch\]"'),
        ("hostile_policies:ForgesItsBuilding", {}, PolicyCrashed, "no answer: it has no 'episode_steps'"),
    ],
)
def test_what_cannot_be_built_says_so_here(spec, options, kind, message):
    policy = IsolatedPolicy(spec, options)
    with pytest.raises(kind, match=message) as caught:
        policy.start()
    assert type(caught.value) is kind
    assert policy.pid is None
    # Workers hand errors on.
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (kind, str(caught.value))


def test_building_takes_its_time():
    policy = IsolatedPolicy("hostile_policies:SlowToBuild", start_limit=0.5)
    with pytest.raises(PolicyTimeout, match=r"took longer than 0\.5 s to be built"):
        policy.start()


def test_options_and_seed_arrive_and_survive_pickling():
    policy = pickle.loads(pickle.dumps(IsolatedPolicy("hostile_policies:Seeded", {"shift": 0.5}, seed=7)))
    assert policy.pid is None
    with policy:
        assert ask(policy).q == pytest.approx(GROUP.q_start[:2] + 0.507)


@pytest.mark.parametrize("how", ["import path", "working folder"])
def test_modules_are_found_as_they_are_here(how, tmp_path, monkeypatch):
    (tmp_path / "mine_alone.py").write_text("def ik(target_position, q, scene):\n    return q + 0.25\n")
    # Not the one that the libraries import.
    (tmp_path / "random.py").write_text("raise RuntimeError('the wrong one')\n")
    if how == "import path":
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    else:
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", os.getcwd())])
        monkeypatch.chdir(tmp_path)
    with IsolatedPolicy("mine_alone:ik") as policy:
        np.testing.assert_array_equal(ask(policy).q, GROUP.q_start[:2] + 0.25)


def test_no_process_is_left_over():
    policy = IsolatedPolicy("hold")
    policy.start()
    pid = policy.pid
    del policy
    gc.collect()
    assert gone(pid)


def test_it_outlives_the_thread_that_started_it():
    with IsolatedPolicy("hold") as policy:
        thread = threading.Thread(target=policy.start)
        thread.start()
        thread.join()
        first = policy.pid
        time.sleep(0.1)
        ask(policy)
        assert policy.pid == first


def test_a_fork_has_a_process_of_its_own(solver):
    expected, first = ask(solver).q, solver.pid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fork = os.fork()
    if fork == 0:
        same = (ask(solver).q == expected).all() and solver.pid != first
        solver.close()
        os._exit(0 if same else 1)
    assert os.waitpid(fork, 0)[1] == 0
    np.testing.assert_array_equal(ask(solver).q, expected)
    assert solver.pid == first


def test_ctrl_c_ends_the_call_and_the_process(bad):
    ask(bad)
    first = bad.pid
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(bad, list(DEEDS).index("hangs"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert bad.pid is None
    assert gone(first)


@pytest.mark.parametrize(("end", "deeds"), [("is killed", ["spins", "hangs in C"]), ("exits", ["hangs"])])
def test_nothing_outlives_its_parent(end, deeds):
    code = f"""
        import sys, threading, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from planararm.arm import make_arm
        from planararm.benchmark.isolation import IsolatedPolicy
        from planararm.obstacles import Obstacles
        from planararm.scene import Scene
        def ask(policy, x, y):
            policy.solve([[x, y]], [[0.0] * 3], Scene(make_arm(), Obstacles.none()))
        policies = []
        for deed in {[list(DEEDS).index(deed) for deed in deeds]}:
            policies.append(IsolatedPolicy("hostile_policies:BadOnDemand", time_limit=1000))
            if deed != {list(DEEDS).index("spins")}:
                policies[-1].start()
            threading.Thread(target=ask, args=(policies[-1], 9.0, deed), daemon=True).start()
        time.sleep(0.6)
        print(*[policy.pid for policy in policies], flush=True)
        time.sleep({1000 if end == "is killed" else 0})
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == len(deeds)
        if end == "exits":
            assert parent.wait(10) == 0
    finally:
        parent.kill()
        parent.communicate()
    assert all(gone(pid) for pid in pids)


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
