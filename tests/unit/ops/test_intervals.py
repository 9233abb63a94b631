"""Intervals over blocks, worked by hand and held to their invariances; exact binomial tools against sums."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Totals
from understudy.ops.blocks import block_sums, leave_one_out
from understudy.ops.intervals import (
    binomial_p,
    bootstrap,
    clopper_pearson,
    empirical_bernstein,
    expected_contributions,
    jackknife_interval,
)


def of_mean(x, level=0.95, counts=None):
    """Jackknife interval of a mean, one value per block (or block sums with counts)."""
    x = np.asarray(x, float)
    counts = np.ones(len(x)) if counts is None else np.asarray(counts, float)
    return jackknife_interval(x.sum() / counts.sum(), leave_one_out(x[:, None], counts)[:, 0], counts, level)


def test_mean_of_a_symmetric_sample_has_the_students_interval():
    """−1, −1, 1, 1: SE = s/√n = 1/√3, no skewness, three degrees of freedom: the textbook interval."""
    bounds = of_mean([-1, -1, 1, 1])
    assert bounds.std_error == pytest.approx(1 / np.sqrt(3))
    assert bounds.df == pytest.approx(3)
    assert bounds.skew == pytest.approx(0, abs=1e-12)
    assert (bounds.low, bounds.high) == pytest.approx(stats.t.interval(0.95, 3, 0, 1 / np.sqrt(3)))
    assert bounds.leverage == pytest.approx(0.25)


def test_skewness_moves_the_interval_by_halls_transformation():
    """g(T) = T + A T²/3 + A² T³/27 + A/6 at both ends of the interval gives ±t."""
    x = np.array([0.0] * 9 + [1.0, 1.0, 4.0])
    bounds, mean = of_mean(x), x.mean()
    d = x - mean
    assert bounds.skew == pytest.approx((d**3).sum() / (d**2).sum() ** 1.5)
    assert bounds.skew > 0.3
    for end, sign in ((bounds.low, 1), (bounds.high, -1)):
        t, a = (mean - end) / bounds.std_error, bounds.skew
        assert t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6 == pytest.approx(sign * stats.t.ppf(0.975, bounds.df))
    assert bounds.high - mean > mean - bounds.low  # the long tail may have been missed


def test_degrees_of_freedom_pay_for_tails_but_not_twice_for_skewness():
    """Two values, however lopsided: skewness says it all, df = n − 1. Symmetric outliers: 2 (Σd²)²/(Σd⁴ − (Σd²)²/n)."""
    lopsided = of_mean([0.0] * 17 + [1.0] * 3)
    assert lopsided.skew > 0.2
    assert lopsided.df == pytest.approx(19)
    heavy = np.array([-6.0] + [-1.0, 1.0] * 9 + [6.0])
    second, fourth = (heavy**2).sum(), (heavy**4).sum()
    assert of_mean(heavy).df == pytest.approx(2 * second**2 / (fourth - second**2 / 20))


def test_empty_blocks_do_not_count():
    """Blocks without a unit change nothing."""
    full, holes = of_mean([3.0, 5.0, 4.0]), of_mean([3.0, 0.0, 5.0, 4.0, 0.0], counts=[1, 0, 1, 1, 0])
    assert (full.low, full.high, full.df) == pytest.approx((holes.low, holes.high, holes.df))


def test_repeating_every_event_within_its_unit_leaves_the_interval():
    """Ten identical events per user are one observation each, not ten."""
    rng = np.random.default_rng(1)
    x, unit = rng.random(60), np.arange(60)
    once = block_sums(x[:, None], unit, 60)
    tenfold = block_sums(np.repeat(x, 10)[:, None], np.repeat(unit, 10), 60)
    a, b = (of_mean(t.sums[:, 0], counts=t.counts) for t in (once, tenfold))
    assert (a.low, a.high, a.std_error) == pytest.approx((b.low, b.high, b.std_error))


def test_units_of_unequal_size_keep_their_own_variance():
    """Totally alike events within users: SE² is Σ n_k² (y_k − m)² / n², not the smaller one of equal users."""
    rng = np.random.default_rng(4)
    y, sizes = rng.random(100), rng.geometric(0.1, 100)
    bounds = of_mean(y * sizes, counts=sizes)
    mean = (y * sizes).sum() / sizes.sum()
    robust = np.sqrt((sizes**2 * (y - mean) ** 2).sum()) / sizes.sum()
    assert bounds.std_error == pytest.approx(robust, rel=0.03)  # the jackknife is the larger, by O(1/G)
    assert bounds.std_error > robust
    assert robust > 1.2 * y.std() / 10  # what users of equal weight would have
    assert bounds.df <= sizes.sum() ** 2 / (sizes**2).sum() - 1


def test_many_logs_at_once_are_each_log_alone():
    """Leading axes broadcast: this is what the coverage benchmark relies on."""
    rng = np.random.default_rng(2)
    sums, counts = rng.random((4, 30, 2)), rng.integers(0, 4, (4, 30)).astype(float)
    value = lambda mean: mean[..., 0] / mean[..., 1]
    means = sums.sum(1) / counts.sum(1)[:, None]
    together = jackknife_interval(value(means), value(leave_one_out(sums, counts)), counts, 0.9)
    for i in range(4):
        alone = jackknife_interval(value(means[i]), value(leave_one_out(sums[i], counts[i])), counts[i], 0.9)
        for field in ("std_error", "low", "high", "df", "skew", "leverage"):
            assert getattr(together, field)[i] == pytest.approx(getattr(alone, field))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=40).filter(lambda x: np.std(x) > 1e-3),
    st.floats(-5, 5),
    st.floats(0.1, 10),
)
def test_shift_scale_and_mirror(x, shift, scale):
    """Intervals move with rewards: c + s·x gives c + s·interval, −x the mirrored one; low ≤ high."""
    x = np.asarray(x)
    a, b, m = of_mean(x), of_mean(shift + scale * x), of_mean(-x)
    assert a.low <= a.high
    assert (b.low, b.high) == pytest.approx((shift + scale * a.low, shift + scale * a.high), rel=1e-6, abs=1e-6)
    assert (m.low, m.high) == pytest.approx((-a.high, -a.low), rel=1e-6, abs=1e-6)


def test_one_unit_has_no_interval():
    """One block only: an error that says why and what next."""
    with pytest.raises(EvidenceError, match="1 independent unit") as found:
        jackknife_interval(np.float64(0.3), np.array([0.3, 0.3]), np.array([3.0, 0.0]), 0.95)
    assert found.value.hint


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_levels_are_checked(level):
    """A level of 95 is a percentage, not a probability."""
    with pytest.raises(ConfigError, match="level"):
        of_mean([1.0, 2.0], level=level)
    with pytest.raises(ConfigError, match="level"):
        clopper_pearson(1, 2, level)


def ratio(mean):
    return mean[..., 0] / mean[..., 1]


def snips_like(n=400, seed=3):
    rng = np.random.default_rng(seed)
    w, r = rng.exponential(size=n), (rng.random(n) < 0.3).astype(float)
    return block_sums(np.stack([w * r, w], 1), np.arange(n) % 100, 100)


@pytest.mark.parametrize(("kind", "within"), [("percentile", 0.3), ("studentised", 0.2)])
def test_bootstraps_agree_with_the_jackknife_where_all_is_smooth(kind, within):
    """100 blocks of a ratio: ends near the jackknife's, in standard errors; percentiles do not correct skewness."""
    totals = snips_like()
    whole = totals.sums.sum(0) / totals.counts.sum()
    jack = jackknife_interval(ratio(whole), ratio(leave_one_out(totals.sums, totals.counts)), totals.counts, 0.95)
    found = bootstrap({"snips": totals}, {"snips": ratio}, 0.95, draws=4000, seed=1, kind=kind)["snips"]
    assert found.std_error == pytest.approx(jack.std_error, rel=0.05)
    assert abs(found.low - jack.low) < within * jack.std_error
    assert abs(found.high - jack.high) < within * jack.std_error


def test_all_estimators_see_the_same_resample():
    """An estimator under two names has one interval: draws are shared, so differences are paired."""
    totals = snips_like()
    found = bootstrap({"a": totals, "b": totals}, {"a": ratio, "b": ratio}, 0.9, draws=200, seed=5)
    assert (found["a"].low, found["a"].high) == (found["b"].low, found["b"].high)
    other = bootstrap({"a": totals}, {"a": ratio}, 0.9, draws=200, seed=6)
    assert found["a"].low != other["a"].low


def test_percentile_bootstrap_by_enumeration():
    """Two blocks with means 0 and 1: resamples give 0, ½, 1 with chances ¼, ½, ¼, so the 40 % interval is [½, ½]."""
    totals = Totals(np.array([[0.0], [1.0]]), np.ones(2))
    found = bootstrap({"m": totals}, {"m": lambda m: m[..., 0]}, 0.4, draws=3000, seed=2)["m"]
    assert (found.low, found.high) == (0.5, 0.5)
    wide = bootstrap({"m": totals}, {"m": lambda m: m[..., 0]}, 0.9, draws=3000, seed=2)["m"]
    assert (wide.low, wide.high) == (0.0, 1.0)


def test_resamples_without_overlap_are_refused():
    """One block holds all weight: some resamples have none, and an interval of the rest would be a lie."""
    totals = Totals(np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), np.ones(3))
    with pytest.raises(EvidenceError, match=r"undefined on \d+ of 500 resamples"):
        bootstrap({"snips": totals}, {"snips": ratio}, 0.95, draws=500, seed=1)


def test_unknown_bootstrap_is_named():
    """A misspelt kind is an error, not a default."""
    with pytest.raises(ConfigError, match="bca"):
        bootstrap({"a": snips_like()}, {"a": ratio}, 0.95, draws=10, seed=1, kind="bca")


def test_empirical_bernstein_by_hand():
    """Five values, V = 0.3, n = 5, range 1: half = √(2·0.3·ln 80/5) + 7 ln 80/12, clipped to the range."""
    x = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    bounds = empirical_bernstein(x, -10.0, 10.0, 0.95)
    half = np.sqrt(2 * 0.3 * np.log(80) / 5) + 7 * 20 * np.log(80) / (3 * 4)
    assert x.mean() - half < -10
    assert (bounds.low, bounds.high) == (-10.0, 10.0)
    many = np.tile(x, 4000)
    bounds = empirical_bernstein(many, 0.0, 1.0, 0.95)
    half = np.sqrt(2 * many.var(ddof=1) * np.log(80) / 20000) + 7 * np.log(80) / (3 * 19999)
    assert (bounds.low, bounds.high) == pytest.approx((0.6 - half, 0.6 + half))


@pytest.mark.parametrize(("low", "high"), [(0.0, np.inf), (1.0, 0.0), (np.nan, 1.0), (0.5, 0.5)])
def test_empirical_bernstein_wants_a_declared_range(low, high):
    """No finite range, no bound: the sample's own maximum is never used instead."""
    with pytest.raises(ConfigError, match="declared finite range"):
        empirical_bernstein(np.array([0.5, 0.6]), low, high, 0.95)


def test_values_outside_the_declared_range_are_refused():
    """The error counts them and names the first."""
    with pytest.raises(EvidenceError, match=r"2 of 4 values lie outside .* first: 1.5 in row 1"):
        empirical_bernstein(np.array([0.5, 1.5, 0.2, np.nan]), 0.0, 1.0, 0.95)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 10), (1900, 2000)])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_clopper_pearson_is_scipys(hits, n, level):
    """The exact interval, at the ends too."""
    expected = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    assert clopper_pearson(hits, n, level) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("hits", range(8))
def test_binomial_p_is_the_sum(hits):
    """Tails of Binomial(7, 0.3), summed one by one."""
    chance = [comb(7, i) * 0.3**i * 0.7 ** (7 - i) for i in range(8)]
    less, greater = sum(chance[: hits + 1]), sum(chance[hits:])
    assert binomial_p(hits, 7, 0.3, "less") == pytest.approx(less)
    assert binomial_p(hits, 7, 0.3, "greater") == pytest.approx(greater)
    assert binomial_p(hits, 7, 0.3, "two-sided") == pytest.approx(min(1, 2 * min(less, greater)))


def test_expected_contributions_by_hand():
    """A target that always wants one action of propensity 0.01: of 5,000 decisions 50 are expected to count.

    E ρ² = 1/p, E ρ⁴ = 1/p³, so n (E ρ²)²/E ρ⁴ = n p; rewards of a fair coin have κ = 1; rewards of a 1 % coin have
    κ = (1 − 3 m (1 − m)) / (m (1 − m)), here 98.0.
    """
    p, n = 0.01, 5000
    fair = n * np.array([1, 0.5, 0.5, 0.5, 0.5])
    rare = n * np.array([1, 0.01, 0.01, 0.01, 0.01])
    assert expected_contributions(1 / p, 1 / p**3, fair) == pytest.approx(50)
    kappa = (1 - 3 * 0.0099) / 0.0099
    assert expected_contributions(1 / p, 1 / p**3, rare) == pytest.approx(50 / kappa)
    assert expected_contributions(0.0, 0.0, fair) == 0.0
