"""Betting processes and the bounds that invert them."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from understudy.core.errors import DataError
from understudy.ops import betting


def test_examples_in_the_docstrings_hold():
    """The numbers worked by hand in the docstrings are what the functions return."""
    assert doctest.testmod(betting).failed == 0


def test_wealth_is_the_product_of_bets():
    """Two bets on three draws: E = ½ Π(1+.5x) + ½ Π(1+.1x), and the peak is the largest prefix."""
    x = np.array([2.0, 3.0, -1.0])
    bets = np.array([0.5, 0.1])
    state = betting.start(np.ones(2)).extend(betting.growth(x, bets))
    by_hand = [np.mean([2.0, 1.2]), np.mean([2.0 * 2.5, 1.2 * 1.3]), np.mean([2.0 * 2.5 * 0.5, 1.2 * 1.3 * 0.9])]
    assert state.log_e == pytest.approx(np.log(by_hand[2]), abs=1e-12)
    assert state.peak == pytest.approx(np.log(by_hand[1]), abs=1e-12)
    assert state.n == 3


def test_margin_moves_the_claim():
    """A margin m tests E x ≤ m: draws that equal m neither gain nor lose, and the floor −1 loses exactly the stake."""
    grown = betting.growth(np.array([0.2, -1.0]), np.array([0.5]), margin=0.2)
    assert grown[0, 0] == pytest.approx(0.0, abs=1e-15)
    assert np.exp(grown[1, 0]) == pytest.approx(0.5)
    assert betting.growth(np.array([0.0]), np.array([0.5]), margin=-0.1)[0, 0] > 0  # non-inferiority: equal is evidence


def test_a_draw_below_its_floor_is_refused():
    """A broken floor voids the proof, so it is an error and not a number."""
    with pytest.raises(DataError, match="1 of 2"):
        betting.growth(np.array([-1.5, 0.0]), betting.BETS)
    with pytest.raises(DataError):
        betting.growth(np.array([np.nan, 0.0]), betting.BETS)
    with pytest.raises(DataError):
        betting.lower_bound(np.array([-0.5, 1.0]), 0.0, 0.95)
    with pytest.raises(DataError):
        betting.lower_bound(np.array([0.5, np.inf]), 0.0, 0.95)


def test_lower_bound_inverts_the_process():
    """At the bound the wealth against that mean is exactly 1/α."""
    x = np.random.default_rng(0).exponential(size=200)
    bound = betting.lower_bound(x, 0.0, 0.95)
    grown = betting.growth((x - bound) / bound, betting.BETS)
    assert betting.start(betting.SHARES).extend(grown).log_e == pytest.approx(np.log(20), abs=1e-6)


def test_nothing_seen_claims_nothing():
    """No draws, or draws all at the floor, give the floor."""
    assert betting.lower_bound(np.array([]), -1.0, 0.95) == -1.0
    assert betting.lower_bound(np.zeros(50), 0.0, 0.95) == 0.0


def test_allowance_of_a_family_sums_to_alpha():
    """α_k = 6α/(π²k²) never spends more than α in total."""
    total = sum(betting.spent(0.05, k) for k in range(1, 20_000))
    assert 0.0499 < total <= 0.05
    with pytest.raises(DataError):
        betting.spent(0.05, 0)


def test_many_distinct_values_give_the_bound_of_all_of_them(monkeypatch):
    """Beyond the limit of distinct values the bound comes from cells: never higher, less than 1e-3 lower."""
    x = np.random.default_rng(1).lognormal(sigma=2.0, size=20_000)
    exact = betting.lower_bound(x, 0.0, 0.95)
    monkeypatch.setattr(betting, "_CELLS", 16_384)
    fast = betting.lower_bound(x, 0.0, 0.95)
    assert exact * 0.999 < fast <= exact


def test_streams_of_a_weighted_mean_have_their_means():
    """With weights of mean 1 the two streams average to V and −V; each respects its floor."""
    rng = np.random.default_rng(2)
    weight, reward = rng.exponential(size=1000), rng.uniform(-2, 3, 1000)
    weight /= weight.mean()
    lower, upper = betting.weighted_streams(weight, reward, -2.0, 3.0)
    assert lower.values.mean() == pytest.approx((weight * reward).mean())
    assert upper.values.mean() == pytest.approx(-(weight * reward).mean())
    assert lower.values.min() >= lower.floor == -2.0
    assert upper.values.min() >= upper.floor == -3.0
    low, high = betting.interval(lower, upper, 0.9)
    assert low < (weight * reward).mean() < high
