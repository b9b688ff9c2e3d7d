from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from planararm.arm import PRESETS, PlanarArm, make_arm
from planararm.errors import (
    FileFormatError,
    InvalidArmError,
    InvalidInputError,
    MissingExtraError,
    PlanarArmError,
    PolicyError,
    UnknownNameError,
)


def test_defaults_are_as_documented():
    arm = PlanarArm([1.0, 2.0, 1.0], base=[0.5, 0.0])
    assert (arm.num_joints, arm.reach, arm.inner_reach, arm.link_radius) == (3, 4.0, 0.0, 0.04)
    np.testing.assert_array_equal(arm.joint_limits, np.pi * np.array([[-2, 2], [-1, 1], [-1, 1]]))
    np.testing.assert_array_equal(arm.joint_velocity_limits, [2.0, 2.0, 2.0])
    assert PlanarArm([3.0, 1.0]).inner_reach == 2.0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_dictionaries_json_copies_and_pickle(name):
    arm = make_arm(name)
    for again in (
        make_arm(arm),
        make_arm(arm.to_dict()),
        make_arm(json.loads(json.dumps(arm.to_dict()))),
        copy.deepcopy(arm),
        pickle.loads(pickle.dumps(arm)),
        eval(repr(arm), {"PlanarArm": PlanarArm}),
    ):
        assert again == arm
        assert hash(again) == hash(arm)
        assert not again.link_lengths.flags.writeable


def test_duka_has_the_ranges_of_the_paper():
    np.testing.assert_array_equal(make_arm("duka").joint_limits, np.pi * np.array([[0, 1], [-1, 0], [-0.5, 0.5]]))


def test_arms_are_frozen_and_differ_from_other_things():
    lengths = np.ones(2)
    arm = PlanarArm(lengths)
    lengths[0] = 5.0
    assert arm.reach == 2.0
    with pytest.raises(ValueError, match="read-only"):
        arm.link_lengths[0] = 5.0
    with pytest.raises(AttributeError, match="link_radius"):
        arm.link_radius = 1.0
    assert arm != PlanarArm([1.0, 1.0], link_radius=0.5)
    assert arm != "unit2"


def test_limits_are_measured_and_clipped():
    arm = PlanarArm([1.0, 1.0], [[-1.0, 1.0], [0.5, 0.5]])
    q = np.array([[0.0, 0.5], [1.25, 0.5], [-1.5, 0.0]])
    np.testing.assert_allclose(arm.limit_violation(q), [0.0, 0.25, 0.5])
    np.testing.assert_array_equal(arm.clip(q), [[0.0, 0.5], [1.0, 0.5], [-1.0, 0.5]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"link_lengths": 1.0}, "link_lengths must be a list of 1 to 64 numbers, got 1.0"),
        ({"link_lengths": []}, r"link_lengths must be a list of 1 to 64 numbers, got \[\]"),
        ({"link_lengths": [1.0] * 65}, "link_lengths must be a list of 1 to 64 numbers"),
        ({"link_lengths": "unit3"}, "link_lengths must be a list of 1 to 64 numbers, got 'unit3'"),
        ({"link_lengths": ["a", "b"]}, r"link_lengths must be numbers of shape \(2,\), got \['a', 'b'\]"),
        ({"link_lengths": [1.0, [2.0]]}, r"link_lengths must be numbers of shape \(2,\)"),
        ({"link_lengths": [10**400]}, r"link_lengths must be numbers of shape \(1,\)"),
        ({"link_lengths": [1.0, np.nan]}, r"link_lengths must be finite, got \[1.0, nan\]"),
        ({"link_lengths": [1.0, 0.0]}, r"link_lengths must be > 0, got \[1.0, 0.0\]"),
        ({"joint_limits": [[-1, 1], [2, -2]]}, r"joint 1 are reversed: lower 2.0 > upper -2.0"),
        ({"joint_limits": [[-1, 1]] * 3}, r"joint_limits must be numbers of shape \(2, 2\)"),
        ({"joint_limits": [[-1, 1], [-np.inf, 1]]}, "joint_limits must be finite"),
        ({"joint_velocity_limits": [1.0, 0.0]}, r"joint_velocity_limits must be > 0, got \[1.0, 0.0\]"),
        ({"joint_velocity_limits": [1.0] * 3}, r"joint_velocity_limits must be numbers of shape \(2,\)"),
        ({"link_radius": -0.1}, "link_radius must be >= 0, got -0.1"),
        ({"link_radius": "thick"}, "link_radius must be numbers of shape"),
        ({"base": [0.0, 0.0, 0.0]}, r"base must be numbers of shape \(2,\)"),
        ({"base": [np.inf, 0.0]}, r"base must be finite, got \[inf, 0.0\]"),
    ],
)
def test_what_is_no_arm_is_refused(arguments, message):
    with pytest.raises(InvalidArmError, match=message):
        PlanarArm(**{"link_lengths": [1.0, 1.0], **arguments})


def test_make_arm_names_what_it_knows():
    with pytest.raises(UnknownNameError, match=r"Unknown arm 'unit33'. Did you mean 'unit3'\? Known: duka, snake10"):
        make_arm("unit33")
    with pytest.raises(UnknownNameError, match=r"Unknown arm argument 'link_length'. Did you mean 'link_lengths'\?"):
        make_arm({"link_length": [1.0]})
    with pytest.raises(InvalidArmError, match=r"An arm needs link_lengths, e\.g\. \{'link_lengths'"):
        make_arm({"base": [0.0, 0.0]})
    with pytest.raises(InvalidArmError, match="must be a preset's name, a mapping or a PlanarArm, got list"):
        make_arm([1.0, 1.0])


def test_errors_are_what_callers_expect_to_catch_and_travel_between_processes():
    for child in (InvalidInputError, InvalidArmError, FileFormatError, PolicyError, UnknownNameError):
        assert issubclass(child, PlanarArmError)
        assert issubclass(child, ValueError)
    missing = MissingExtraError("rendering", "render")
    assert isinstance(missing, ImportError)
    assert str(missing) == 'rendering needs an optional dependency: pip install "planararm[render]"'
    unknown = UnknownNameError("policy", 3, ["b", "a"])
    assert str(unknown) == "Unknown policy 3. Known: a, b."
    for error in (missing, unknown):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
