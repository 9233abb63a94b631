"""Summaries of runs against scipy and brute force; intervals against closed forms."""

import itertools

import numpy as np
import pytest
from scipy import stats

from understudy.ops.bootstrap import between, expanded, interval, resampled, shares, summary


@pytest.mark.parametrize("n", [4, 8, 20])
def test_iqm_is_the_trimmed_mean_where_a_quarter_is_whole(n: int) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    assert summary("iqm", [scores]) == pytest.approx(stats.trim_mean(scores, 0.25))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 9, 11])
def test_iqm_of_any_number_is_that_of_four_copies(n: int) -> None:
    """Of 4 n scores a quarter is whole; repeating each score changes no quantile."""
    scores = np.random.default_rng(n).normal(size=n)
    assert summary("iqm", [scores]) == pytest.approx(stats.trim_mean(np.repeat(scores, 4), 0.25))


def test_tasks_count_alike_however_many_runs_they_have() -> None:
    """2 runs of one task and 3 of another: each run of the first stands for 3 sixths' worth, of the second for 2."""
    a, b = np.array([1.0, 5.0]), np.array([2.0, 3.0, 9.0])
    even = np.concatenate([np.repeat(a, 6), np.repeat(b, 4)])
    assert summary("mean", [a, b]) == pytest.approx((a.mean() + b.mean()) / 2)
    assert summary("iqm", [a, b]) == pytest.approx(stats.trim_mean(even, 0.25))
    assert summary("median", [a, b]) == pytest.approx(np.median(even))
    np.testing.assert_allclose(shares([a, b]), [1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])


@pytest.mark.parametrize("n", range(1, 12))
def test_median_is_numpys(n: int) -> None:
    scores = np.random.default_rng(n).integers(0, 4, n).astype(float)
    assert summary("median", [scores]) == np.median(scores)


def test_the_whole_range_is_the_mean() -> None:
    scores = np.random.default_rng(0).normal(size=7)
    assert between(scores, np.full(7, 1 / 7), 0.0, 1.0) == pytest.approx(scores.mean())


def test_resamples_have_the_law_of_all_resamples() -> None:
    """Three runs have 27 resamples: the same mean of means, and the same variance, (n−1)/n · s²/n."""
    scores = np.array([0.0, 1.0, 5.0])
    every = np.array([np.mean(draw) for draw in itertools.product(scores, repeat=3)])
    drawn = resampled([scores], 40_000, np.random.default_rng(0)).mean(1)
    assert every.var() == pytest.approx(2 / 3 * scores.var(ddof=1) / 3)
    assert drawn.mean() == pytest.approx(every.mean(), abs=5 * every.std() / 200)
    assert drawn.var() == pytest.approx(every.var(), rel=0.05)


def test_resamples_stay_within_their_task() -> None:
    drawn = resampled([np.zeros(3), np.ones(2)], 50, np.random.default_rng(0))
    assert (drawn[:, :3] == 0).all() and (drawn[:, 3:] == 1).all()


def test_interval_of_many_runs_is_students() -> None:
    """At n = 400 the widened percentiles of the mean are x̄ ± t s/√n, to the error of 20,000 resamples."""
    scores = np.random.default_rng(1).normal(size=400)
    low, high = interval([scores], ["mean"], times=20_000)["mean"]
    reach = stats.t.ppf(0.975, 399) * scores.std(ddof=1) / 20
    assert (low, high) == pytest.approx((scores.mean() - reach, scores.mean() + reach), abs=0.03 * reach * 2)


def test_few_runs_are_paid_for() -> None:
    """The levels that Hesterberg's rule gives for 5 and 10 runs; none for very many."""
    assert expanded([5], 0.95) == pytest.approx(stats.norm.cdf(-np.sqrt(5 / 4) * stats.t.ppf(0.975, 4)))
    assert expanded([10, 10], 0.9) == pytest.approx(stats.norm.cdf(-np.sqrt(10 / 9) * stats.t.ppf(0.95, 18)))
    assert expanded([10**6], 0.95) == pytest.approx(0.025, rel=1e-4)


def test_one_run_has_no_interval() -> None:
    assert np.isnan(interval([np.array([3.0])], ["iqm"])["iqm"]).all()
    assert np.isfinite(interval([np.array([3.0]), np.array([1.0, 2.0])], ["iqm"])["iqm"]).all()
