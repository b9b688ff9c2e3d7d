"""How kernels run (threads, notices), their random numbers, and the compiled twins of the geometry."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm import geometry
from planararm.arm import PlanarArm
from planararm.collision import clearance
from planararm.errors import InvalidInputError
from planararm.kernels import chain, launch, random
from planararm.kernels.sampling import draw_free
from planararm.kernels.transition import shuttle_position
from planararm.obstacles import Obstacles


def count_visits(start, stop, visits, ranges):
    """Python in place of a compiled kernel: launch only calls it."""
    visits[start:stop] += 1
    ranges.append((start, stop, threading.get_ident()))


class TestLaunch:
    @pytest.mark.parametrize("threads", [1, 2, 3, 7])
    @pytest.mark.parametrize("count", [0, 1, 7, 15, 16, 17, 100, 1001])
    @pytest.mark.parametrize("head_start", [0, 5])
    def test_runs_every_index_once(self, monkeypatch, threads, count, head_start):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", str(threads))
        visits, ranges = np.zeros(count, int), []
        launch.launch(count_visits, count, visits, ranges, grain=8, head_start=head_start)
        assert (visits == 1).all()
        spread = {ident for start, stop, ident in ranges if stop > start}
        assert len(spread) == (0 if count == 0 else 1 if count < 16 else min(threads, count // 8))

    def test_head_start_goes_to_the_caller(self, monkeypatch):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
        ranges = []
        launch.launch(count_visits, 100, np.zeros(100), ranges, grain=8, head_start=20)
        own = [(a, b) for a, b, ident in ranges if ident == threading.get_ident() and b > a]
        assert own == [(0, 60)]

    @pytest.mark.parametrize("bad", [0, 99])
    def test_errors_of_any_thread_reach_the_caller(self, monkeypatch, bad):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")

        def fail(start, stop):
            if start <= bad < stop:
                raise ZeroDivisionError(f"in [{start}, {stop})")

        with pytest.raises(ZeroDivisionError, match=r"in \[(0, 50|50, 100)\)"):
            launch.launch(fail, 100, grain=8)
        visits = np.zeros(100, int)
        launch.launch(count_visits, 100, visits, [], grain=8)
        assert (visits == 1).all()

    def test_two_callers_do_not_wait_for_each_other(self, monkeypatch):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
        inside, release = threading.Event(), threading.Event()

        def hold(start, stop):
            if stop > start:
                inside.set()
                assert release.wait(10)

        first = threading.Thread(target=launch.launch, args=(hold, 100), kwargs={"grain": 8})
        first.start()
        try:
            assert inside.wait(10)
            visits, ranges = np.zeros(100, int), []
            launch.launch(count_visits, 100, visits, ranges, grain=8)
            assert (visits == 1).all()
            assert {ident for _, _, ident in ranges} == {threading.get_ident()}
        finally:
            release.set()
            first.join()

    def test_number_of_threads(self, monkeypatch):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "3")
        assert launch.num_threads() == 3
        monkeypatch.setenv("PLANARARM_NUM_THREADS", "")
        assert launch.num_threads() >= 1

    @pytest.mark.parametrize("chosen", ["0", "many", "-1", "1.5"])
    def test_a_number_of_threads_that_is_none(self, monkeypatch, chosen):
        monkeypatch.setenv("PLANARARM_NUM_THREADS", chosen)
        message = rf"PLANARARM_NUM_THREADS must be a whole number >= 1, got '{chosen}'"
        with pytest.raises(InvalidInputError, match=message):
            launch.num_threads()

    def test_writable_copies(self):
        frozen = np.arange(3.0)
        frozen.flags.writeable = False
        (copy,) = launch.writable(frozen)
        copy[0] = 5.0
        assert frozen[0] == 0.0


def visits_in_child(results):
    visits, ranges = np.zeros(100, int), []
    launch.launch(count_visits, 100, visits, ranges, grain=8)
    results.put((visits.tolist(), len({ident for start, stop, ident in ranges if stop > start})))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_workers(monkeypatch):
    monkeypatch.setenv("PLANARARM_NUM_THREADS", "2")
    launch.launch(count_visits, 100, np.zeros(100), [], grain=8)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    # Forked while the parent's workers are busy: their locks must not stay locked in the child.
    with launch._busy:
        child = context.Process(target=visits_in_child, args=(results,))
        child.start()
    visits, threads = results.get(timeout=20)
    child.join(20)
    assert child.exitcode == 0
    assert visits == [1] * 100
    assert threads == 2


class TestCompileNotice:
    @pytest.fixture(autouse=True)
    def _nothing_compiled_yet(self, monkeypatch):
        monkeypatch.setattr(launch, "_ready", set())
        monkeypatch.setattr(launch, "_told", False)

    def test_said_once_when_it_takes_long(self, monkeypatch, capsys):
        monkeypatch.setattr(launch, "NOTICE_AFTER", 0.02)

        def slow(start, stop):
            time.sleep(0.2 if start == stop else 0.0)

        def also_slow(start, stop):
            slow(start, stop)

        launch.launch(slow, 5)
        launch.launch(slow, 5)
        launch.launch(also_slow, 5)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == ["planararm: compiling what is used for the first time; the next start is fast ..."]

    def test_silent_when_it_is_quick(self, capsys):
        launch.launch(lambda start, stop: None, 5)
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("collecting", [True, False])
    def test_leaves_the_collector_as_it_was(self, collecting):
        seen = []

        def fail(start, stop):
            seen.append(gc.isenabled())
            raise RuntimeError("while compiling")

        try:
            gc.enable() if collecting else gc.disable()
            with pytest.raises(RuntimeError, match="while compiling"):
                launch.launch(fail, 5)
            assert seen == [False]
            assert gc.isenabled() == collecting
        finally:
            gc.enable()


@numba.njit
def draw(key, low, high, out):
    state = np.empty(1, np.uint64)
    state[0] = key
    for i in range(out.size):
        out[i] = random.uniform(state, low, high)


def drawn(key, count, low=0.0, high=1.0):
    out = np.empty(count)
    draw(np.uint64(key), low, high, out)
    return out


def splitmix64(key, count):
    """The published generator, in Python's whole numbers."""
    state, numbers = key, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        numbers.append(z ^ (z >> 31))
    return numbers


class TestRandom:
    def test_reference_sequence(self):
        published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
        assert splitmix64(1234567, 4) == published
        assert drawn(1234567, 4).tolist() == [(z >> 11) / 2**53 for z in published]

    @given(st.integers(0, 2**64 - 1))
    def test_every_key(self, key):
        assert drawn(key, 5).tolist() == [(z >> 11) / 2**53 for z in splitmix64(key, 5)]

    def test_uniform_in_its_range(self):
        numbers = drawn(7, 200_000, -2.0, 5.0)
        assert numbers.min() >= -2.0
        assert numbers.max() <= 5.0
        counts, _ = np.histogram(numbers, bins=50, range=(-2.0, 5.0))
        # Chi-square with 49 degrees of freedom: 100 has the probability 2e-5.
        assert ((counts - 4000.0) ** 2 / 4000.0).sum() < 100
        unit = (numbers + 2.0) / 7.0 - 0.5
        assert abs((unit[1:] * unit[:-1]).mean() * 12) < 0.01

    def test_neighbouring_keys_share_nothing(self):
        first = np.array([drawn(key, 1)[0] for key in range(5000)])
        assert len(np.unique(first)) == 5000
        assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.05


@numba.njit
def chain_clearance(q, lengths, base, link_radius, centers, radii, present, joints):
    phi = np.empty(q.size)
    chain.headings(q, phi)
    chain.joint_positions(phi, lengths, base, joints)
    return chain.clearance(joints, link_radius, centers, radii, present)


@numba.njit
def segment_distance(a, b, c):
    return chain.axis_distance(a[0], a[1], b[0], b[1], c[0], c[1])


@numba.njit
def free_draw(key, limits, lengths, base, link_radius, centers, radii, present, margin, q):
    state, phi, joints = np.empty(1, np.uint64), np.empty(q.size), np.empty((q.size + 1, 2))
    state[0] = key
    return draw_free(state, limits, lengths, base, link_radius, centers, radii, present, margin, q, phi, joints)


@numba.njit
def shuttled(x, y, dx, dy, speed, phase, at):
    return shuttle_position(x, y, dx, dy, speed, phase, at)


class TestTwins:
    @pytest.mark.parametrize("n", [1, 2, 3, 7])
    def test_kinematics_and_clearance(self, n):
        rng = np.random.default_rng(n)
        for _ in range(50):
            arm = PlanarArm(rng.uniform(0.2, 1.5, n), base=rng.normal(size=2))
            q, centers, radii = rng.uniform(-4, 4, n), rng.uniform(-3, 3, (4, 2)), rng.uniform(0.1, 0.5, 4)
            present = rng.random(4) < 0.7
            joints = np.empty((n + 1, 2))
            got = chain_clearance(
                q, *launch.writable(arm.link_lengths, arm.base), arm.link_radius, centers, radii, present, joints
            )
            np.testing.assert_allclose(joints, arm.forward_kinematics(q), atol=1e-13)
            expected = clearance(q, arm, Obstacles(centers, radii, None, present))
            assert got == expected or abs(got - expected) < 1e-12

    def test_distance_to_a_segment(self):
        rng = np.random.default_rng(0)
        a, b, c = rng.normal(size=(3, 200, 2))
        b[:20] = a[:20]
        point = geometry.closest_point(c, a, b)
        for i in range(200):
            distance, along = segment_distance(a[i], b[i], c[i])
            assert distance == pytest.approx(np.hypot(*(point[i] - c[i])), abs=1e-12)
            assert 0.0 <= along <= 1.0
            np.testing.assert_allclose(a[i] + along * (b[i] - a[i]), point[i], atol=1e-12)

    def test_shuttles(self):
        rng = np.random.default_rng(0)
        for _ in range(100):
            center, way = rng.normal(size=(2, 2)) * (rng.random() < 0.9)
            speed, phase, at = rng.uniform(0, 2), rng.uniform(0, 2), rng.uniform(0, 30)
            discs = Obstacles([center], [0.1], [[*way, speed, phase]])
            np.testing.assert_allclose(shuttled(*center, *way, speed, phase, at), discs.positions(at)[0], atol=1e-12)


class TestFreeDraws:
    def test_free_and_within_limits(self):
        arm = PlanarArm([1.0, 1.0], [[-1.0, 2.0], [0.3, 0.4]])
        centers, radii, present = np.array([[1.0, 1.0], [1.5, 0.0]]), np.array([0.4, 0.3]), np.ones(2, bool)
        fixed = launch.writable(arm.joint_limits, arm.link_lengths, arm.base)
        q, scene = np.empty((300, 2)), Obstacles(centers, radii)
        for key in range(300):
            assert free_draw(np.uint64(key), *fixed, arm.link_radius, centers, radii, present, 0.05, q[key])
        assert (arm.limit_violation(q) == 0).all()
        assert (clearance(q, arm, scene) >= 0.05).all()
        assert np.ptp(q[:, 0]) > 1.5

    def test_gives_up_without_room(self):
        arm = PlanarArm([1.0])
        around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        centers = np.stack([np.cos(around), np.sin(around)], axis=-1)
        fixed = launch.writable(arm.joint_limits, arm.link_lengths, arm.base)
        assert not free_draw(
            np.uint64(0), *fixed, arm.link_radius, centers, np.full(12, 0.3), np.ones(12, bool), 0.0, np.empty(1)
        )
