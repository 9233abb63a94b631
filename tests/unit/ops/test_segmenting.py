"""Groups of customers, by hand; and elasticities and relevance that are known beforehand."""

import numpy as np
import pytest

from understudy.ops.segmenting import (
    codes,
    elasticity,
    quantile_edges,
    relevance,
    rfm,
    rfm_groups,
)


def test_quantiles_cut_into_equal_parts_and_ties_make_fewer() -> None:
    edges = quantile_edges(np.arange(9.0), 3)
    assert np.bincount(codes(np.arange(9.0), edges)).tolist() == [3, 3, 3]
    assert quantile_edges(np.array([0.0, 0, 0, 0, 7]), 2) == ()
    assert codes(np.array([np.nan, 1.0]), (2.0,)).tolist() == [2, 0]  # missing lies beyond the last part


def test_recency_frequency_and_money_by_hand() -> None:
    starts = np.array([0, 4, 8])
    spent = np.array([3.0, 0, 5, 0, 0, 0, 0, 0])
    found = rfm(starts, spent > 0, spent)
    assert found.recency.tolist() == [1, 4] and found.frequency.tolist() == [0.5, 0] and found.money.tolist() == [4, 0]
    assert rfm_groups(rfm(np.arange(0, 40, 4), np.ones(36, bool), np.repeat(np.arange(9.0), 4))).max() <= 2


def test_the_best_customers_are_the_high_group() -> None:
    starts = np.arange(0, 100, 10)
    spent = np.zeros(90)
    for u in range(9):
        spent[10 * u + 9 - np.arange(u)] = u  # later numbers buy more often, and more
    groups = rfm_groups(rfm(starts, spent > 0, spent))
    assert groups[0] == 0 and groups[-1] == 2 and (np.diff(groups) >= 0).all()


def test_elasticity_is_found_where_prices_were_drawn_at_random() -> None:
    """Poisson demand of known elasticities at random prices; shrunken estimates keep order and common mean."""
    rng = np.random.default_rng(4)
    true, steps = np.repeat([-3.0, -0.5], 100), 60
    x = np.log(1 - rng.integers(0, 11, (200, steps)) * 0.05)
    mean = 1.5 * np.exp(true[:, None] * (x - x.mean()))
    units = rng.poisson(mean).astype(float)
    e = elasticity(np.arange(0, 200 * steps + 1, steps), x.ravel(), units.ravel())
    assert np.mean(e[:100]) < np.mean(e[100:]) - 1
    assert ((e < np.median(e)) == (true < -1)).mean() > 0.9  # a standard error of .5 each, 2.5 apart
    assert e[100:].mean() == pytest.approx(-0.5, abs=0.25)


def test_a_customer_who_never_bought_has_the_common_elasticity() -> None:
    rng = np.random.default_rng(1)
    x, units = np.log(1 - rng.integers(0, 11, 90) * 0.05), rng.poisson(2.0, 90).astype(float)
    units[60:] = 0
    e = elasticity(np.array([0, 30, 60, 90]), x, units)
    assert min(e[:2]) - 1e-9 <= e[2] <= max(e[:2]) + 1e-9
    assert elasticity(np.array([0, 3]), x[:3], np.zeros(3)).tolist() == [0.0]


def test_relevance_is_zero_of_noise_and_the_entropy_of_a_copy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.random(5_000), rng.random(5_000)
    assert relevance(x, y) < 0.004  # 81 degrees of freedom: sd of the estimate about sqrt(162)/10,000
    assert relevance(x, x) == pytest.approx(np.log(10) - 81 / 10_000, abs=1e-6)
    assert relevance(np.zeros(50), y[:50]) == 0 and relevance(np.full(5, np.nan), y[:5]) == 0
