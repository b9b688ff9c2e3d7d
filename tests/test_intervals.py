"""Intervals: against brute-force resampling, against exact laws, and how often they hold the true value."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from planararm.benchmark import resampling
from planararm.benchmark.intervals import (
    Interval,
    mean_interval,
    paired_interval,
    quantile_interval,
    rms_interval,
    rms_ratio_interval,
    sign_test,
    success_difference_interval,
    success_interval,
)
from planararm.benchmark.resampling import NUM_CELLS
from planararm.errors import InvalidInputError

LEVEL = 0.95


def outcomes(count, met):
    return np.arange(count) < met


def brute_force(values, statistic, *, resamples=20000, level=LEVEL, seed=11):
    """Percentiles over resampled indices; ``values`` are rows."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(resamples)]
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")


def expanded(count, level=LEVEL):
    """The level whose plain percentiles are the expanded ones, by scipy's laws."""
    student = stats.t(count - 1).ppf((1 + level) / 2)
    return 1 - 2 * stats.norm.cdf(-math.sqrt(count / (count - 1)) * student)


def covered(found, truth):
    """Share of intervals that hold the true value."""
    low, high = np.array(found).T
    return float(np.mean((low <= truth) & (truth <= high)))


def half_width_apart(found, expected):
    """Largest difference of two intervals' ends, in half widths."""
    return np.abs(np.subtract(found, expected)).max() / ((expected[1] - expected[0]) / 2)


# --- against brute force


@pytest.mark.parametrize(("count", "met"), [(60, 25), (200, 170)])
def test_shares_have_the_percentiles_of_resampled_shares(count, met):
    found = success_interval(outcomes(count, met))
    resampled = np.random.default_rng(3).binomial(count, met / count, 400_000) / count
    expected = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf")
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert success_interval(np.random.default_rng(0).permutation(outcomes(count, met))) == found


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_quantiles_have_the_percentiles_of_resampled_quantiles(share):
    values = np.random.default_rng(1).lognormal(size=81)
    found = quantile_interval(values, share)
    expected = brute_force(values, lambda v: np.quantile(v, share, method="inverted_cdf"))
    ordered = np.sort(values)
    assert np.abs(np.searchsorted(ordered, found) - np.searchsorted(ordered, expected)).max() <= 1
    assert set(found) <= set(values.tolist())


@pytest.mark.parametrize("count", [40, 700])
@pytest.mark.parametrize("law", ["normal", "lognormal", "failures"])
def test_means_have_the_percentiles_of_resampled_means(count, law):
    """Below NUM_CELLS each value is a cell, above they share cells."""
    rng = np.random.default_rng(count)
    values = {
        "normal": rng.normal(2.0, 0.5, count),
        "lognormal": rng.lognormal(0.0, 1.5, count),
        "failures": np.where(np.arange(count) % 20 == 0, rng.uniform(0.2, 1.5, count), 1e-12 * rng.random(count)),
    }[law]
    assert count <= NUM_CELLS or len(np.unique(values)) > NUM_CELLS
    expected = brute_force(values, np.mean, level=expanded(count))
    assert half_width_apart(mean_interval(values), expected) < 0.1
    expected = brute_force(values, lambda v: np.sqrt(np.mean(v**2)), level=expanded(count))
    assert half_width_apart(rms_interval(values), expected) < 0.1


@pytest.mark.parametrize("count", [50, 900])
def test_ratios_have_the_percentiles_of_resampled_ratios(count):
    rng = np.random.default_rng(count)
    first = rng.lognormal(0.0, 1.0, count)
    pairs = np.stack([first, first * rng.lognormal(0.3, 0.5, count)], axis=-1)

    def ratio(rows):
        return np.sqrt(np.mean(rows[:, 0] ** 2) / np.mean(rows[:, 1] ** 2))

    expected = brute_force(pairs, ratio, level=expanded(count))
    assert half_width_apart(rms_ratio_interval(*pairs.T), expected) < 0.1


def test_clusters_are_resampled_whole():
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 9, 30)
    labels = np.repeat(np.arange(30), sizes)
    values = np.repeat(rng.normal(size=30), sizes) + 0.1 * rng.normal(size=sizes.sum())
    groups = np.empty(30, dtype=object)
    groups[:] = [values[labels == i] for i in range(30)]
    expected = brute_force(groups, lambda drawn: np.concatenate(drawn).mean(), level=expanded(30), resamples=5000)
    found = mean_interval(values, clusters=[f"scene {i}" for i in labels])
    assert half_width_apart(found, expected) < 0.1
    alone = mean_interval(values)
    assert found.high - found.low > 1.5 * (alone.high - alone.low)
    one_each = mean_interval(values, clusters=np.arange(len(values)))
    np.testing.assert_allclose(one_each, alone, atol=0.05 * (alone.high - alone.low))


def test_clusters_of_shares_and_of_ratios():
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(60), 5)
    met = np.repeat(rng.random(60) < 0.5, 5)
    alone, clustered = success_interval(met), success_interval(met, clusters=labels)
    # Five copies of each outcome are no more than one.
    once = success_interval(met[::5])
    assert np.ptp(clustered) > 2 * np.ptp(alone)
    np.testing.assert_allclose(clustered, once, atol=0.03)
    np.testing.assert_allclose(success_interval(np.ones(300), clusters=labels), success_interval(np.ones(60)))
    wins = np.where(met, 1.0, -1.0)
    np.testing.assert_allclose(
        success_difference_interval(wins, clusters=labels), success_difference_interval(wins[::5]), atol=0.03
    )
    low, high = success_difference_interval(np.where(labels < 4, 0.0, 1.0), clusters=labels)
    assert (low, high) == success_difference_interval(np.where(np.arange(60) < 4, 0.0, 1.0))
    tie = np.zeros(300)
    assert success_difference_interval(tie, clusters=labels) == success_difference_interval(tie[::5])
    errors = rng.lognormal(size=60)
    other = errors * rng.lognormal(size=60)
    np.testing.assert_allclose(
        rms_ratio_interval(np.repeat(errors, 5), np.repeat(other, 5), clusters=labels),
        rms_ratio_interval(errors, other),
        rtol=0.05,
    )


# --- coverage


@pytest.mark.parametrize(("count", "least"), [(1, 0.95), (6, 0.95), (25, 0.95), (100, 0.925), (600, 0.925)])
def test_coverage_of_shares_by_the_exact_law(count, least):
    """Summed over all samples, not simulated."""
    met = np.arange(count + 1)
    low, high = np.array([success_interval(outcomes(count, k)) for k in met]).T
    rates = np.linspace(0.001, 0.999, 999)
    held = (low <= rates[:, None]) & (rates[:, None] <= high)
    coverage = (stats.binom.pmf(met, count, rates[:, None]) * held).sum(axis=1)
    assert coverage.min() >= least - 1e-12
    if count > 6:
        assert coverage[100:-100].mean() < 0.985


@pytest.mark.parametrize(
    ("law", "count", "least"),
    [("normal", 6, 0.92), ("normal", 50, 0.92), ("lognormal", 50, 0.88), ("lognormal", 10, 0.8)],
)
def test_coverage_of_means_by_simulation(law, count, least, monkeypatch):
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 1000)
    rng = np.random.default_rng(count)
    truth = {"normal": 0.0, "lognormal": math.exp(0.5)}[law]
    found = [mean_interval(getattr(rng, law)(size=count), seed=i) for i in range(500)]
    assert least <= covered(found, truth) <= 0.985


@pytest.mark.parametrize(("count", "least"), [(6, 0.84), (50, 0.92), (51, 0.92), (1000, 0.92)])
def test_coverage_of_medians_by_simulation(count, least):
    rng = np.random.default_rng(count)
    found = [quantile_interval(rng.exponential(size=count), 0.5) for _ in range(2000)]
    assert least <= covered(found, math.log(2)) <= 0.99


@pytest.mark.parametrize("chances", [(0.02, 0.9, 0.08), (0.005, 0.99, 0.005), (0.3, 0.3, 0.4)])
@pytest.mark.parametrize("count", [6, 100, 600])
def test_coverage_of_paired_differences_by_simulation(count, chances, monkeypatch):
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 1000)
    rng = np.random.default_rng(count)
    draws = rng.choice([-1.0, 0.0, 1.0], p=chances, size=(300, count))
    found = [success_difference_interval(difference) for difference in draws]
    assert covered(found, chances[2] - chances[0]) >= 0.92


@pytest.mark.parametrize("count", [10, 20])
@pytest.mark.parametrize("law", [(2, 1), (0.5, 0.5), (9, 1)])
def test_coverage_of_clustered_shares_by_simulation(count, law, monkeypatch):
    """Each scene has a difficulty of its own."""
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 1000)
    rng = np.random.default_rng(count)
    labels = np.repeat(np.arange(count), 5)
    draws = rng.random((200, 5 * count)) < rng.beta(*law, (200, count))[:, labels]
    truth = law[0] / sum(law)
    assert covered([success_interval(met, clusters=labels) for met in draws], truth) >= 0.9
    signs = np.where(draws, 1.0, -1.0)
    found = [success_difference_interval(difference, clusters=labels) for difference in signs]
    assert covered(found, 2 * truth - 1) >= 0.9
    assert covered([success_interval(met) for met in draws], truth) < 0.85 or law == (9, 1)


# --- degenerate cases


def test_no_tasks_tell_nothing():
    for interval in (
        success_interval([]),
        success_difference_interval([]),
        mean_interval([]),
        rms_interval([]),
        paired_interval([]),
        quantile_interval([], 0.5),
        rms_ratio_interval([], []),
    ):
        assert np.isnan(interval).all()
        assert not interval.excludes(0.0)


def test_one_task_shows_no_spread():
    assert success_interval([1]) == (pytest.approx(0.025), 1.0)
    assert success_interval([0]) == (0.0, pytest.approx(0.975))
    for interval in (
        mean_interval([3.0]),
        rms_interval([3.0]),
        quantile_interval([3.0], 0.5),
        rms_ratio_interval([3.0], [2.0]),
        mean_interval([3.0, 4.0], clusters=[7, 7]),
    ):
        assert np.isnan(interval).all()
    low, high = success_difference_interval([0])
    assert low < 0 < high


@pytest.mark.parametrize("count", [2, 20, 600])
def test_all_alike_is_no_certainty(count):
    low, high = success_interval(np.ones(count))
    assert low == pytest.approx(0.025 ** (1 / count))
    assert high == 1.0
    mirrored = success_interval(np.zeros(count))
    np.testing.assert_allclose(mirrored, (0.0, 1 - low))
    for value in (-1.0, 0.0, 1.0):
        ends = success_difference_interval(np.full(count, value))
        assert ends.low < ends.high
        assert -1 <= ends.low <= ends.high <= 1
    assert not success_difference_interval(np.zeros(count)).excludes(0.0)


def test_equal_values_have_an_exact_mean():
    np.testing.assert_allclose(mean_interval(np.full(1000, 0.1)), 0.1, rtol=1e-12)
    assert quantile_interval(np.full(1000, 0.1), 0.5) == (0.1, 0.1)
    np.testing.assert_allclose(rms_ratio_interval(np.full(9, 2.0), np.full(9, 4.0)), 0.5)


def test_ratios_to_zero_are_unknown():
    assert np.isnan(rms_ratio_interval(np.ones(10), np.zeros(10))).all()
    assert np.isnan(rms_ratio_interval(np.ones(3), [0.0, 0.0, 1.0])).all()


def test_shares_of_seeds():
    rng = np.random.default_rng(2)
    met = rng.integers(0, 4, 400) / 3
    low, high = success_interval(met)
    assert low < met.mean() < high
    assert high - low < np.ptp(success_interval(rng.random(400) < met.mean()))
    nearly = np.ones(400)
    nearly[7] = 2 / 3
    assert success_interval(nearly).low > success_interval(outcomes(400, 399)).low
    assert success_interval(nearly).low < success_interval(np.ones(400)).low


def test_a_far_value_decides_the_mean():
    """Its cell is its own, so it is drawn 0, 1, 2 ... times, as in a resample."""
    values = np.zeros(5000)
    values[17] = 5000.0
    values += 1e-9 * np.random.default_rng(0).random(5000)
    low, high = mean_interval(values)
    assert low == pytest.approx(0.0, abs=1e-6)
    assert high == pytest.approx(3.0, abs=1e-2)


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("count", [2, 3, 10, 11])
def test_quantiles_of_few_values_stay_within(share, count):
    low, high = quantile_interval(np.arange(float(count)), share)
    assert 0 <= low <= math.ceil(count * share) - 1 <= high <= count - 1


# --- symmetry


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.integers(0, 3))
def test_exchanged_policies_mirror_the_intervals(differences, seed):
    values = np.array(differences)
    low, high = paired_interval(values, seed=seed)
    assert paired_interval(-values, seed=seed) == (-high, -low)
    low, high = quantile_interval(values, 0.5)
    assert quantile_interval(-values, 0.5) == (-high, -low)
    signs = np.sign(values)
    low, high = success_difference_interval(signs)
    np.testing.assert_allclose(success_difference_interval(-signs), (-high, -low), atol=1e-15)


def test_exchanged_policies_invert_the_ratio():
    rng = np.random.default_rng(8)
    a, b = rng.lognormal(size=(2, 400))
    low, high = rms_ratio_interval(a, b)
    np.testing.assert_allclose(rms_ratio_interval(b, a), (1 / high, 1 / low), rtol=1e-12)
    assert low < np.sqrt(np.mean(a**2) / np.mean(b**2)) < high


@pytest.mark.parametrize("count", [100, 1000])
def test_the_order_of_the_tasks_is_irrelevant(count):
    rng = np.random.default_rng(9)
    values = rng.lognormal(size=count)
    shuffled = rng.permutation(values)
    np.testing.assert_allclose(mean_interval(shuffled), mean_interval(values), rtol=1e-12)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_a_higher_level_is_wider():
    values = np.random.default_rng(1).normal(size=300)
    for interval in (mean_interval, lambda v, level: success_interval(v > 0, level=level)):
        narrow, wide = interval(values, level=0.8), interval(values, level=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


# --- the sign test


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_the_sign_test_is_the_exact_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected, rel=1e-9)
    assert sign_test(wins, losses) == sign_test(losses, wins)


# --- a million, and what is refused


def test_a_million_values_in_less_than_a_second_each():
    values = np.random.default_rng(0).lognormal(size=1_000_000)
    for interval in (
        mean_interval,
        rms_interval,
        lambda v: success_interval(v > 1),
        lambda v: quantile_interval(v, 0.95),
        lambda v: rms_ratio_interval(v, v[::-1]),
    ):
        start = time.perf_counter()
        low, high = interval(values)
        assert low < high
        assert time.perf_counter() - start < 3.0


def test_wrong_arguments_are_refused():
    with pytest.raises(InvalidInputError, match=r"met must be 0 or 1, or shares between, got 2\.0"):
        success_interval([1, 2.0])
    with pytest.raises(InvalidInputError, match=r"difference must be within \[-1, 1\], got -1\.5"):
        success_difference_interval([0, -1.5])
    with pytest.raises(InvalidInputError, match=r"values must be finite, got nan"):
        mean_interval([1.0, math.nan])
    with pytest.raises(InvalidInputError, match=r"values must have shape \(N,\), one number per task, got \(2, 2\)"):
        rms_interval(np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match=r"level must be a number in \(0\.0, 1\.0\], got 95"):
        success_interval([1, 0], level=95)
    with pytest.raises(InvalidInputError, match=r"level must be below 1"):
        mean_interval([1, 0], level=1.0)
    with pytest.raises(InvalidInputError, match=r"share must be a number in \(0\.0, 1\.0\], got 0\.0"):
        quantile_interval([1, 0], 0.0)
    with pytest.raises(InvalidInputError, match=r"clusters must have shape \(3,\), one per task, got \(2,\)"):
        mean_interval([1, 0, 2], clusters=[1, 2])
    with pytest.raises(InvalidInputError, match=r"second must have shape \(\*batch, 3\), got \(2,\)"):
        rms_ratio_interval([1, 0, 2], [1, 2])


def test_what_an_interval_excludes():
    interval = Interval(0.2, 0.4)
    assert interval.excludes(0.1)
    assert interval.excludes(0.5)
    assert not interval.excludes(0.2)
    assert not interval.excludes(0.3)
