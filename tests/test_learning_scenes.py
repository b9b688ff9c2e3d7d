"""Training scenes: shares, targets, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from planararm import PlanarArm, UnknownNameError, make_arm
from planararm.learning.proposals_torch import VALIDATION_SEED
from planararm.learning.scenes import BOUNDARY_BAND, MIXES, NEAR_BOUNDARY, draw_batch, find_mix

ARMS = {
    "unit3": make_arm("unit3"),
    "duka": make_arm("duka"),
    "long first link, elsewhere": PlanarArm([2.0, 0.5, 0.5], base=[-4.0, 7.0]),
    "small": PlanarArm([0.01, 0.02]),
}


def numbers(batch) -> list[np.ndarray]:
    discs = batch.scene.obstacles
    return [batch.target_position, discs.centers, discs.radii, discs.mask]


@pytest.mark.parametrize("mix", list(MIXES))
@pytest.mark.parametrize("seed", [0, [3, 1], [3, 1, 4]])
def test_a_pure_function_of_its_arguments(mix: str, seed):
    first = draw_batch(seed, 60, ARMS["unit3"], mix)
    for one, other in zip(numbers(first), numbers(draw_batch(seed, 60, ARMS["unit3"], mix)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", list(MIXES))
def test_shares_and_numbers_of_discs(name: str):
    parts = find_mix(name)
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    counts = np.asarray(draw_batch(1, 2000, ARMS["unit3"], name).scene.obstacles.mask).sum(axis=1)
    start = 0
    for part in parts:
        stop = start + round(2000 * part.share)
        low, high = part.num_obstacles
        assert counts[start:stop].min() == low
        assert counts[start:stop].max() == high
        if low < high:
            each = np.bincount(counts[start:stop], minlength=high + 1)[low:] / (stop - start)
            np.testing.assert_allclose(each, 1 / (high + 1 - low), atol=0.08)
        start = stop
    assert start == 2000


@pytest.mark.parametrize("mix", list(MIXES))
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_few_targets(mix: str, count: int):
    batch = draw_batch(0, count, ARMS["unit3"], mix)
    assert batch.target_position.shape == (count, 2)
    assert batch.scene.batch_shape == (count,)


@pytest.mark.parametrize("name", list(ARMS))
def test_targets_are_uniform_over_the_annulus_but_for_those_near_its_edge(name: str):
    arm = ARMS[name]
    away = draw_batch(2, 20_000, arm, "free").target_position - arm.base
    distance = np.hypot(*away.T)
    assert distance.min() >= arm.inner_reach * (1 - 1e-12)
    assert distance.max() <= arm.reach * (1 + 1e-12)
    # Uniform over an area: the distance's square is uniform.
    area = (distance**2 - arm.inner_reach**2) / (arm.reach**2 - arm.inner_reach**2)
    edge = ((1 - BOUNDARY_BAND) ** 2 * arm.reach**2 - arm.inner_reach**2) / (arm.reach**2 - arm.inner_reach**2)
    plain = area < edge
    assert plain.mean() == pytest.approx((1 - NEAR_BOUNDARY) * edge, abs=0.015)
    np.testing.assert_allclose(
        np.quantile(area[plain] / edge, [0.1, 0.25, 0.5, 0.75, 0.9]), [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.02
    )
    bearing = np.arctan2(away[:, 1], away[:, 0])
    np.testing.assert_allclose(np.histogram(bearing, 8, (-np.pi, np.pi))[0] / 20_000, 1 / 8, atol=0.015)


@pytest.mark.parametrize("name", ["unit3", "long first link, elsewhere", "small"])
@pytest.mark.parametrize("mix", ["clutter", "hard", "mixed"])
def test_hardly_a_target_is_covered_and_no_base(name: str, mix: str):
    arm = ARMS[name]
    batch = draw_batch(3, 2000, arm, mix)
    discs = batch.scene.obstacles
    keep = discs.radii + arm.link_radius + batch.scene.safety_margin
    covered = np.linalg.norm(discs.centers - batch.target_position[:, None], axis=-1) < keep
    assert (covered & discs.mask).any(axis=1).mean() < 0.05
    assert np.where(discs.mask, batch.scene.base_clearance(), np.inf).min() >= batch.scene.safety_margin


def test_every_step_of_every_run_sees_other_scenes_than_validation():
    seen = {tuple(point) for point in draw_batch(VALIDATION_SEED, 300, ARMS["unit3"]).target_position}
    for seed in ([0, 0], [0, 1], [1, 0], [VALIDATION_SEED, 1], [0, VALIDATION_SEED]):
        drawn = {tuple(point) for point in draw_batch(seed, 300, ARMS["unit3"]).target_position}
        assert len(drawn) == 300
        assert not drawn & seen
        seen |= drawn


def test_unknown_mix():
    with pytest.raises(UnknownNameError, match=r"Unknown kind of training scenes 'mixd'\. Did you mean 'mixed'\?"):
        find_mix("mixd")
    with pytest.raises(UnknownNameError, match=r"Known: clutter, free, hard, mixed\."):
        draw_batch(0, 3, ARMS["unit3"], "everything else")
