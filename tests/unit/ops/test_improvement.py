"""The chance to beat against scipy's rank test and by counting; its interval against Newcombe's formula."""

import numpy as np
import pytest
from scipy import stats

from understudy.ops.improvement import improvement, improvement_interval, profile, profile_band


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_rank_statistic(seed: int) -> None:
    """U / (m n) of Mann and Whitney, with ties."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, 7).astype(float), rng.integers(0, 6, 5).astype(float)
    assert improvement([a], [b]) == pytest.approx(stats.mannwhitneyu(a, b).statistic / 35)
    assert improvement([a], [b]) == pytest.approx(np.mean([(x > y) + (x == y) / 2 for x in a for y in b]))


def test_tasks_count_alike() -> None:
    one, two = np.array([1.0]), np.array([2.0, 2.0, 2.0])
    assert improvement([two, one], [one, two]) == 0.5


def test_always_is_not_proof_of_one() -> None:
    """3 against 3 without overlap: θ̂ = 1, the lower limit solves (1 − θ)² = t² V(θ)."""
    low, high = improvement_interval([np.array([4.0, 5, 6])], [np.array([1.0, 2, 3])])
    assert high == 1.0
    v = low * (1 - low) / 9 * (1 + 2 * (1 - low) / (2 - low) + 2 * low / (1 + low))
    assert (1 - low) ** 2 == pytest.approx(stats.t.ppf(0.975, 4) ** 2 * v, rel=1e-6)
    assert improvement_interval([np.array([1.0, 2, 3])], [np.array([4.0, 5, 6])]) == pytest.approx((0.0, 1 - low))


def test_equal_runs_are_a_coin() -> None:
    low, high = improvement_interval([np.full(5, 2.0)], [np.full(5, 2.0)])
    assert low < 0.5 < high and low + high == pytest.approx(1.0)


def test_one_run_has_no_interval() -> None:
    assert np.isnan(improvement_interval([np.array([1.0])], [np.array([1.0, 2.0])])).all()


def test_profile_counts_runs_above() -> None:
    """By counting, the mean over tasks; the band is Wilson's and has a width at 0 and 1."""
    a, b = np.array([1.0, 2, 3, 4]), np.array([2.5, 10])
    np.testing.assert_allclose(profile([a, b], [0.0, 2.0, 4.0, 10.0]), [1.0, 0.75, 0.25, 0.0])
    low, high = profile_band([a], [0.0, 2.0, 9.0])
    for i, wins in enumerate((4, 2, 0)):
        exact = stats.binomtest(wins, 4).proportion_ci(method="wilson")
        assert (low[i], high[i]) == pytest.approx((exact.low, exact.high))
