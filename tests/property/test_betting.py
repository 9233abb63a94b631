"""Processes and bounds: streaming, order, units of measurement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.ops.betting import BETS, SHARES, growth, lower_bound, start

draws = arrays(float, st.integers(1, 60), elements=st.floats(-1.0, 50.0))
values = arrays(float, st.integers(1, 60), elements=st.floats(0.0, 50.0))


@settings(max_examples=100, deadline=None)
@given(draws, st.data())
def test_batches_in_order_equal_the_whole(x, data):
    """Any split into consecutive batches gives the same wealth, peak and count (S17)."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=5)))
    whole = start(SHARES).extend(growth(x, BETS))
    state = start(SHARES)
    for part in np.split(x, cuts):
        state = state.extend(growth(part, BETS))
    assert state.log_e == pytest.approx(whole.log_e, rel=1e-9, abs=1e-12)
    assert state.peak == pytest.approx(whole.peak, rel=1e-9, abs=1e-12)
    assert state.n == whole.n == len(x)


@settings(max_examples=100, deadline=None)
@given(draws)
def test_the_peak_is_the_largest_prefix(x):
    """peak = max over prefixes of ln E, the empty one included."""
    prefixes = [start(SHARES).extend(growth(x[:t], BETS)).log_e for t in range(len(x) + 1)]
    assert start(SHARES).extend(growth(x, BETS)).peak == pytest.approx(max(prefixes), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(draws, st.floats(-0.5, 0.4), st.floats(0.01, 0.5))
def test_wealth_falls_as_the_margin_rises(x, margin, more):
    """The evidence for a larger lift is never larger: that is why it can be inverted to a bound."""
    low, high = (start(SHARES).extend(growth(x, BETS, 1.0, m)).log_e for m in (margin, margin + more))
    assert high <= low + 1e-9


@settings(max_examples=100, deadline=None)
@given(values, st.floats(0.1, 10.0), st.floats(-5.0, 5.0), st.randoms(use_true_random=False))
def test_the_bound_moves_with_the_units_and_not_with_the_order(x, scale, shift, random):
    """L(a + b·v) = a + b·L(v), in any order of the draws; never above the mean."""
    bound = lower_bound(x, 0.0, 0.95)
    order = list(range(len(x)))
    random.shuffle(order)
    moved = lower_bound(shift + scale * x[order], shift, 0.95)
    assert moved == pytest.approx(shift + scale * bound, rel=1e-6, abs=1e-6)
    assert bound <= x.mean() + 1e-12


@settings(max_examples=50, deadline=None)
@given(values)
def test_more_confidence_means_a_lower_bound(x):
    """Bounds are nested in their level."""
    bounds = [lower_bound(x, 0.0, level) for level in (0.5, 0.9, 0.95, 0.999)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(bounds))


def test_a_fortune_does_not_overflow():
    """A million lucky draws: the logarithm of wealth stays finite and correct (S17)."""
    x = np.full(1_000_000, 3.0)
    state = start(SHARES).extend(growth(x, BETS))
    assert state.log_e == pytest.approx(1e6 * np.log1p(0.8 * 3.0) + np.log(SHARES[0]), rel=1e-9)
