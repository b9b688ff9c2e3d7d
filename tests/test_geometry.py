from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from planararm import geometry

POINT = hnp.arrays(float, 2, elements=st.floats(-3.0, 3.0))
SHARES = np.linspace(0.0, 1.0, 2001)[:, None]


def on_segment(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return start + SHARES * (end - start)


@given(POINT, POINT, POINT)
def test_the_closest_point_beats_every_sampled_point(point, start, end):
    got = np.hypot(*(geometry.closest_point(point, start, end) - point))
    sampled = np.hypot(*(on_segment(start, end) - point).T).min()
    spacing = np.hypot(*(end - start)) / 2000
    assert sampled - spacing - 1e-12 <= got <= sampled + 1e-12
    assert 0 <= geometry.closest_parameter(point, start, end) <= 1


def test_a_segment_of_length_zero_is_its_point():
    np.testing.assert_array_equal(geometry.closest_point(np.ones(2), np.zeros(2), np.zeros(2)), np.zeros(2))


@given(POINT, POINT, POINT, POINT)
def test_segment_distance_agrees_with_sampled_segments(a, b, c, d):
    got = geometry.segment_distance(a, b, c, d)
    first, second = on_segment(a, b)[::10], on_segment(c, d)[::10]
    sampled = np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1)).min()
    spacing = (np.hypot(*(b - a)) + np.hypot(*(d - c))) / 200
    assert sampled - spacing - 1e-12 <= got <= sampled + 1e-12
    for swapped in ((c, d, a, b), (b, a, c, d), (a, b, d, c)):
        np.testing.assert_allclose(geometry.segment_distance(*swapped), got, atol=1e-12)


def test_crossing_and_touching_segments_are_at_distance_zero():
    cross = [[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]
    tee = [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    overlap = [[-1.0, 0.0], [1.0, 0.0], [0.5, 0.0], [2.0, 0.0]]
    for ends in (cross, tee, overlap):
        assert geometry.segment_distance(*np.array(ends)) == 0.0


@given(POINT, POINT, POINT, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_the_capsule_disc_distance_is_between_the_surfaces(start, end, center, capsule_radius, radius):
    got = geometry.capsule_disc_distance(start, end, capsule_radius, center, radius)
    axis = np.hypot(*(geometry.closest_point(center, start, end) - center))
    np.testing.assert_allclose(got, axis - capsule_radius - radius, atol=1e-14)


def test_the_norm_has_a_zero_gradient_at_zero():
    vector = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    geometry.norm(vector).backward()
    np.testing.assert_array_equal(vector.grad.numpy(), [0.0, 0.0])
    assert geometry.norm(np.array([3.0, 4.0])) == 5.0
