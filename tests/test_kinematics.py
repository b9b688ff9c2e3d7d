from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from planararm import kinematics
from planararm.arm import PlanarArm

ANGLES = st.floats(-7.0, 7.0)
LENGTHS = st.floats(0.05, 5.0)


@st.composite
def arms_and_angles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 8))
    return draw(hnp.arrays(float, n, elements=LENGTHS)), draw(hnp.arrays(float, n, elements=ANGLES))


def complex_positions(q: np.ndarray, lengths: np.ndarray, base: complex = 0j) -> list[complex]:
    """An oracle of another make: one rotation after the other, in complex numbers."""
    points, heading = [base], 1 + 0j
    for angle, length in zip(q, lengths, strict=True):
        heading *= np.exp(1j * angle)
        points.append(points[-1] + length * heading)
    return points


@given(arms_and_angles())
def test_forward_kinematics_is_a_product_of_complex_rotations(drawn):
    lengths, q = drawn
    expected = complex_positions(q, lengths, 0.5 - 2j)
    got = kinematics.forward_kinematics(q, lengths, (0.5, -2.0))
    np.testing.assert_allclose(got[:, 0] + 1j * got[:, 1], expected, atol=1e-12)
    np.testing.assert_allclose(kinematics.end_effector(q, lengths, (0.5, -2.0)), got[-1], atol=0)


@given(arms_and_angles(), ANGLES)
def test_turning_the_first_joint_turns_the_whole_arm(drawn, angle):
    lengths, q = drawn
    c, s = np.cos(angle), np.sin(angle)
    turned = kinematics.forward_kinematics(q + angle * (np.arange(q.size) == 0), lengths)
    np.testing.assert_allclose(
        turned, kinematics.forward_kinematics(q, lengths) @ np.array([[c, s], [-s, c]]), atol=1e-11
    )


@given(arms_and_angles(), st.floats(0.01, 100.0))
def test_scaling_the_links_scales_positions_and_jacobian(drawn, scale):
    lengths, q = drawn
    tolerance = 1e-12 * scale * lengths.sum()
    np.testing.assert_allclose(
        kinematics.forward_kinematics(q, scale * lengths),
        scale * kinematics.forward_kinematics(q, lengths),
        atol=tolerance,
    )
    np.testing.assert_allclose(
        kinematics.jacobian(q, scale * lengths), scale * kinematics.jacobian(q, lengths), atol=tolerance
    )


@given(arms_and_angles())
def test_the_end_effector_stays_within_the_annulus(drawn):
    lengths, q = drawn
    arm = PlanarArm(lengths)
    distance = np.hypot(*arm.end_effector(q))
    assert arm.inner_reach - 1e-12 <= distance <= arm.reach + 1e-12


@given(arms_and_angles())
def test_jacobian_is_the_derivative_of_the_end_effector(drawn):
    lengths, q = drawn
    step = 1e-6 * np.eye(q.size)
    difference = (kinematics.end_effector(q + step, lengths) - kinematics.end_effector(q - step, lengths)) / 2e-6
    np.testing.assert_allclose(kinematics.jacobian(q, lengths), difference.T, atol=1e-8 * max(1.0, lengths.sum()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_torch_gives_the_same_numbers_and_its_autograd_the_same_jacobian(dtype, tolerance):
    rng = np.random.default_rng(0)
    lengths, q = rng.uniform(0.2, 1.0, 4), rng.uniform(-3, 3, (5, 4))
    tensor = torch.tensor(q, dtype=dtype)
    for name in ("forward_kinematics", "end_effector", "jacobian", "manipulability"):
        got = getattr(kinematics, name)(tensor, lengths)
        assert got.dtype == dtype
        np.testing.assert_allclose(got.numpy(), getattr(kinematics, name)(q, lengths), atol=tolerance)
    for row in range(5):
        by_autograd = torch.autograd.functional.jacobian(lambda x: kinematics.end_effector(x, lengths), tensor[row])
        np.testing.assert_allclose(by_autograd.numpy(), kinematics.jacobian(q[row], lengths), atol=tolerance)


def test_a_batch_is_a_loop():
    rng = np.random.default_rng(1)
    lengths, q = rng.uniform(0.2, 1.0, 5), rng.uniform(-3, 3, (2, 3, 5))
    for name in ("forward_kinematics", "end_effector", "jacobian", "manipulability", "absolute_angles"):
        function = getattr(kinematics, name)
        more = () if name == "absolute_angles" else (lengths,)
        batch = function(q, *more)
        for i in np.ndindex(2, 3):
            np.testing.assert_allclose(batch[i], function(q[i], *more), atol=1e-14)


@given(arms_and_angles())
def test_manipulability_is_the_product_of_singular_values(drawn):
    lengths, q = drawn
    expected = np.prod(np.linalg.svd(kinematics.jacobian(q, lengths), compute_uv=False)) if q.size > 1 else 0.0
    np.testing.assert_allclose(kinematics.manipulability(q, lengths), expected, atol=1e-10 * lengths.sum() ** 2)


def test_manipulability_vanishes_at_stretched_arms_and_is_never_nan():
    rng = np.random.default_rng(2)
    for n in (2, 3, 5):
        q = np.zeros((20_000, n))
        q[:, 0] = rng.uniform(-7, 7, 20_000)
        q[:, 1:] = np.pi * rng.integers(-1, 2, (20_000, n - 1))
        lengths = rng.uniform(0.1, 2.0, n)
        measure = kinematics.manipulability(q, lengths)
        assert np.isfinite(measure).all()
        assert (measure >= 0).all()
        assert measure.max() < 1e-13 * lengths.sum() ** 2


def test_the_gradient_of_manipulability_is_finite_at_a_singularity():
    q = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    kinematics.manipulability(q, [1.0, 1.0, 1.0]).backward()
    assert q.grad is not None
    assert torch.isfinite(q.grad).all()


@given(st.floats(-100.0, 100.0))
def test_a_wrapped_angle_is_the_same_direction(angle):
    wrapped = kinematics.wrap_angle(angle)
    assert -np.pi <= wrapped < np.pi
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angle), atol=1e-12)


def test_values_given_as_a_tensor_are_left_alone():
    lengths = torch.ones(2, requires_grad=True)
    kinematics.end_effector(torch.zeros(2), lengths)[0].backward()
    np.testing.assert_allclose(lengths.grad.numpy(), [1.0, 1.0])
