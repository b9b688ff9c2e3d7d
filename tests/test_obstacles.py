from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planararm.errors import InvalidSceneError
from planararm.obstacles import Obstacles


def test_no_obstacles():
    for none in (Obstacles.none(), Obstacles([], [])):
        assert (none.num_obstacles, none.batch_shape, none.is_static) == (0, (), True)
        assert none == Obstacles.none()


def test_obstacles_are_frozen_and_survive_dictionaries_copies_and_pickle():
    centers = np.ones((2, 3, 2))
    discs = Obstacles(centers, np.ones((2, 3)), np.full((2, 3, 4), 0.5), np.eye(2, 3, dtype=bool))
    centers[0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        discs.centers[0] = 7.0
    for again in (Obstacles(**discs.to_dict()), copy.deepcopy(discs), pickle.loads(pickle.dumps(discs))):
        assert again == discs
    assert discs.centers.max() == 1.0
    assert discs != Obstacles.none()
    assert discs != "discs"
    assert discs[1] == Obstacles(np.ones((3, 2)), np.ones(3), np.full((3, 4), 0.5), [False, True, False])


@given(st.floats(0.0, 50.0), st.floats(0.1, 3.0), st.floats(0.0, 1.99))
def test_a_shuttling_disc_goes_to_and_fro_at_its_speed(time, speed, phase):
    discs = Obstacles([[1.0, 1.0]], [0.1], [[3.0, 4.0, speed, phase]])
    step, simulated, direction = 1e-3, 5.0 * min(phase, 2 - phase), 1.0 if phase < 1 else -1.0
    away = np.hypot(*(discs.positions(time) - [[1.0, 1.0]])[0])
    # Unfolded, the disc runs straight on through mirror images of its track.
    unfolded = (5.0 * phase + speed * time) % 10.0
    np.testing.assert_allclose(away, min(unfolded, 10.0 - unfolded), atol=1e-9)
    moved = np.hypot(*(discs.positions(step) - discs.positions(0.0))[0])
    assert moved <= speed * step + 1e-12
    if 0 < simulated + direction * speed * step < 5.0:
        np.testing.assert_allclose(moved, speed * step, atol=1e-12)
    np.testing.assert_allclose(discs.positions(time + 10.0 / speed), discs.positions(time), atol=1e-9)
    assert discs.frozen_at(time) == Obstacles(discs.positions(time), [0.1])


def test_times_may_differ_along_the_batch():
    shuttle = np.tile([1.0, 0.0, 1.0, 0.0], (3, 1, 1))
    discs = Obstacles(np.zeros((3, 1, 2)), np.ones((3, 1)), shuttle)
    np.testing.assert_allclose(discs.positions(np.array([0.0, 0.25, 1.5]))[:, 0, 0], [0.0, 0.25, 0.5])
    np.testing.assert_allclose(discs.positions(0.5)[:, 0, 0], 0.5)


def test_is_static_looks_at_the_discs_that_are_there():
    shuttle = [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    centers, radii = np.zeros((2, 2)), np.ones(2)
    assert not Obstacles(centers, radii, shuttle).is_static
    assert Obstacles(centers, radii, shuttle, [False, True]).is_static
    assert Obstacles(centers, radii).is_static


def test_a_disc_with_a_shuttle_of_no_length_stays():
    discs = Obstacles([[1.0, 2.0]], [0.1], [[0.0, 0.0, 1.0, 0.5]])
    np.testing.assert_array_equal(discs.positions(3.0), [[1.0, 2.0]])


def test_tensors_stay_tensors():
    discs = Obstacles(torch.zeros(2, 2), torch.ones(2), torch.ones(2, 4) / 2, torch.tensor([True, False]))
    assert isinstance(discs.positions(1.0), torch.Tensor)
    assert discs.to_dict()["mask"] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 2.0, 3.0]], [1.0]), r"centers must have shape \(\*batch, m, 2\), got \(1, 3\)"),
        ((["a"], [1.0]), r"Obstacle centers must be numbers, got \['a'\]"),
        (([[10**400, 0]], [1.0]), "Obstacle centers must be numbers"),
        (([[np.nan, 0.0]], [1.0]), "Obstacle centers must be finite"),
        ((torch.tensor([[float("inf"), 0.0]]), torch.ones(1)), "Obstacle centers must be finite"),
        (([[0.0, 0.0]], 1.0), r"radii must have shape \(\*batch, m\), got \(\)"),
        (([[0.0, 0.0]], [1.0, 1.0]), r"radii must have shape \(1,\) like the centers, got \(2,\)"),
        (([[0.0, 0.0]], [0.0]), r"radii must be > 0, got \[0.0\]"),
        (([[0.0, 0.0]], [1.0], [1.0]), r"shuttle must have shape \(\*batch, m, 4\), got \(1,\)"),
        (([[0.0, 0.0]], [1.0], np.ones((2, 4))), r"shuttle must have shape \(1, 4\), got \(2, 4\)"),
        (([[0.0, 0.0]], [1.0], [[1.0, 0.0, -1.0, 0.0]]), r"speeds must be >= 0, got \[-1.0\]"),
        (([[0.0, 0.0]], [1.0], [[1.0, 0.0, 1.0, 2.0]]), r"phases must be in \[0, 2\), got \[2.0\]"),
        (([[0.0, 0.0]], [1.0], None, [True, True]), r"mask must have shape \(1,\), got \(2,\)"),
    ],
)
def test_what_are_no_discs_is_refused(arguments, message):
    with pytest.raises(InvalidSceneError, match=message):
        Obstacles(*arguments)


def test_unbatched_obstacles_cannot_be_indexed():
    with pytest.raises(InvalidSceneError, match="no batch axis to index"):
        Obstacles.none()[0]


def test_the_radius_of_an_empty_slot_does_not_matter():
    assert Obstacles([[0.0, 0.0]], [0.0], mask=[False]).num_obstacles == 1
