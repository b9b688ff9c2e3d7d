"""Measures against straightforward loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planararm import metrics
from planararm.arm import make_arm
from planararm.collision import clearance
from planararm.errors import InvalidInputError
from planararm.metrics import Outcome, Truth
from planararm.obstacles import Obstacles
from planararm.scene import Scene

FINITE = st.floats(-10, 10, allow_subnormal=False)


@given(arrays(np.float64, (3, 2), elements=FINITE), arrays(np.float64, (3, 2), elements=FINITE))
def test_tracking_error_is_the_distance(position, target):
    got = metrics.tracking_error(position, target)
    for i in range(3):
        assert got[i] == pytest.approx(math.dist(position[i], target[i]), abs=1e-12)


def test_a_row_without_an_answer_is_scored_where_the_arm_holds():
    arm = make_arm("unit2")
    held = np.array([[0.0, 0.0], [0.0, np.pi / 2], [0.1, 0.2]])
    answers = np.array([[np.nan, 0.0], [0.0, np.inf], [np.pi / 2, 0.0]])
    error = metrics.answer_error(answers, held, np.zeros((3, 2)), arm)
    np.testing.assert_allclose(error, [2.0, math.sqrt(2), 2.0])


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 5)))
def test_summary_against_loops(errors):
    got = metrics.summarize_errors(errors)
    ordered = sorted(errors)
    count = len(ordered)

    def percentile(share):
        place = share * (count - 1)
        low = math.floor(place)
        high = min(low + 1, count - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    assert got.rmse == pytest.approx(math.sqrt(sum(e * e for e in errors) / count), abs=1e-12)
    assert got.mean == pytest.approx(sum(errors) / count, abs=1e-12)
    assert got.median == pytest.approx(percentile(0.5), abs=1e-12)
    assert got.p95 == pytest.approx(percentile(0.95), abs=1e-12)
    assert got.max == max(errors)


def test_summary_along_an_axis_equals_one_by_one():
    errors = np.random.default_rng(0).random((4, 9))
    together = metrics.summarize_errors(errors, axis=1)
    for i in range(4):
        np.testing.assert_allclose([part[i] for part in together], metrics.summarize_errors(errors[i]))


def test_summary_refuses_dropped_failures():
    with pytest.raises(InvalidInputError, match=r"got 2 that are not; score failures with answer_error"):
        metrics.summarize_errors([0.1, np.nan, np.inf])


def test_summary_of_nothing_is_nan():
    assert all(math.isnan(value) for value in metrics.summarize_errors([]))


def test_success_counts_failures_in_the_denominator():
    error = np.array([0.0, 5e-5, 5e-4, 5e-3, 5e-2, 0.5, 0.0, 0.0])
    valid = np.array([True, True, True, True, True, True, False, False])
    assert metrics.success_rates(error, valid) == (5 / 8, 4 / 8, 3 / 8, 2 / 8)
    assert all(math.isnan(rate) for rate in metrics.success_rates([], []))


def test_success_includes_the_tolerance_itself():
    assert metrics.success_rates([0.1, 0.01], [True, True]) == (1.0, 0.5, 0.0, 0.0)


def test_validity_is_limits_and_margin():
    arm = make_arm("unit2")
    scene = Scene(arm, Obstacles([[1.5, 0.5]], [0.2]), safety_margin=0.05)
    straight = np.array([0.0, 0.0])
    room = float(clearance(straight, arm, scene.obstacles))
    tight = Scene(arm, scene.obstacles, safety_margin=room)
    too_tight = Scene(arm, scene.obstacles, safety_margin=room + 1e-6)
    assert metrics.is_valid(straight, scene)
    assert metrics.is_valid(straight, tight)
    assert not metrics.is_valid(straight, too_tight)
    beyond = np.array([[7.0, 0.0], [np.nan, 0.0], [0.0, 3.2], [0.4, 0.0]])
    assert metrics.is_valid(beyond, scene).tolist() == [False, False, False, False]
    assert metrics.is_valid(np.array([7.0, 0.0]), scene).shape == ()


def test_clearance_without_discs_is_infinite():
    assert metrics.clearance([0.1, 0.2], Scene(make_arm("unit2"), Obstacles.none())) == np.inf


@given(arrays(np.float64, (2, 6, 3), elements=FINITE))
def test_path_measures_against_loops(path):
    jump, length = metrics.largest_joint_jump(path), metrics.path_length(path)
    jerk = metrics.rms_jerk(path, 0.5)
    for b in range(2):
        rows = path[b]
        assert jump[b] == max(max(abs(rows[t + 1] - rows[t])) for t in range(5))
        assert length[b] == pytest.approx(sum(math.dist(rows[t], rows[t + 1]) for t in range(5)), abs=1e-9)
        thirds = [(rows[t + 3] - 3 * rows[t + 2] + 3 * rows[t + 1] - rows[t]) / 0.5**3 for t in range(3)]
        expected = math.sqrt(sum(float(third @ third) for third in thirds) / 3)
        assert jerk[b] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_jerk_of_a_cubic_is_its_third_derivative():
    t = np.arange(8) * 0.1
    q_path = np.stack([2 * t**3 + t, -(t**3)], axis=-1)
    assert metrics.rms_jerk(q_path, 0.1) == pytest.approx(math.hypot(12, 6))


def test_short_paths_have_no_jerk_and_no_jump():
    assert metrics.rms_jerk(np.zeros((2, 3, 4)), 0.1).tolist() == [0.0, 0.0]
    assert metrics.largest_joint_jump(np.ones((1, 3))) == 0.0
    assert metrics.path_length(np.ones((1, 3))) == 0.0


def expected_outcome(met, valid, claimed, truth, crashed, timed_out):
    if timed_out:
        return Outcome.TIMED_OUT
    if crashed:
        return Outcome.CRASHED
    if not valid:
        return Outcome.UNSAFE
    if met:
        return Outcome.OK
    if claimed:
        return Outcome.CLAIMED_WRONGLY
    return {1: Outcome.MISSED, 0: Outcome.INFEASIBLE, -1: Outcome.UNDECIDED}[truth]


def test_every_combination_has_its_one_outcome():
    truths = (Truth.REACHABLE, Truth.UNREACHABLE, Truth.UNKNOWN)
    table = [
        (met, valid, claimed, truth, crashed, timed_out)
        for met in (False, True)
        for valid in (False, True)
        for claimed in (False, True)
        for truth in truths
        for crashed in (False, True)
        for timed_out in (False, True)
    ]
    met, valid, claimed, truth, crashed, timed_out = (np.array(column) for column in zip(*table, strict=True))
    got = metrics.classify(met=met, valid=valid, claimed=claimed, truth=truth, crashed=crashed, timed_out=timed_out)
    assert got.tolist() == [expected_outcome(*row) for row in table]


def test_outcomes_read_as_words():
    assert f"{Outcome.CLAIMED_WRONGLY}" == "claimed wrongly"
