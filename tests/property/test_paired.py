"""Paired differences: unbiased by enumeration, never below their floor, for any tables and any model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.ops.betting import DR_BOUNDS
from understudy.ops.paired import controlled_difference, ips_difference, ratios

K = 4
unit = st.floats(0.0, 1.0)
positive = arrays(float, K, elements=st.floats(1e-4, 1.0))


def pmf(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def every_case(new, old, behavior, q, bounds):
    """D for each supported action with reward 0 and with reward 1. f64[s, J] each, and their actions"""
    actions = np.flatnonzero(behavior > 0)
    tables = [np.tile(table, (len(actions), 1)) for table in (new, old, behavior)]
    model = np.tile(q, (len(actions), 1))
    d = [controlled_difference(*tables, actions, np.full(len(actions), r), model, bounds) for r in (0.0, 1.0)]
    return actions, d[0], d[1]


@settings(max_examples=200, deadline=None)
@given(positive, positive, positive, arrays(float, K, elements=unit), arrays(float, K, elements=unit))
def test_the_mean_is_the_difference_of_values(new, old, behavior, q, mean):
    """Σ_a b(a) E[D | a] = Σ_a (π_n − π_o)(a) E[r | a], whatever the model says and however much of it is used."""
    new, old, behavior = pmf(new), pmf(old), pmf(behavior)
    actions, d0, d1 = every_case(new, old, behavior, q, DR_BOUNDS)
    expected = behavior[actions] @ (mean[:, None] * d1 + (1 - mean[:, None]) * d0)
    np.testing.assert_allclose(expected, (new - old) @ mean, atol=1e-9)
    w_n, w_o = ratios(new, behavior), ratios(old, behavior)
    ips = [ips_difference(w_n, w_o, np.full(K, r)) for r in (0.0, 1.0)]
    assert behavior @ (mean * ips[1] + (1 - mean) * ips[0]) == pytest.approx((new - old) @ mean, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(positive, positive, positive, arrays(float, K, elements=unit))
def test_no_draw_is_below_its_floor(new, old, behavior, q):
    """For every action that could have been taken and both extreme rewards D_j ≥ −B_j, and the IPS one ≥ −1."""
    new, old, behavior = pmf(new), pmf(old), pmf(behavior)
    bounds = np.concatenate([[1.0], DR_BOUNDS])
    _, d0, d1 = every_case(new, old, behavior, q, bounds)
    assert (np.minimum(d0, d1) >= -bounds - 1e-9).all()
    w_n, w_o = ratios(new, behavior), ratios(old, behavior)
    assert min(ips_difference(w_n, w_o, np.full(K, r)).min() for r in (0.0, 1.0)) >= -1.0


@settings(max_examples=100, deadline=None)
@given(positive, positive, arrays(float, K, elements=unit))
def test_a_wide_floor_gives_the_doubly_robust_difference(new, behavior, q):
    """With room to spare all of the control is used: the textbook doubly robust difference."""
    new, old, behavior = pmf(new), pmf(behavior), pmf(behavior)
    _, d0, d1 = every_case(new, old, behavior, q, np.array([1e9]))
    w = ratios(new, behavior) - ratios(old, behavior)
    for r, d in ((0.0, d0), (1.0, d1)):
        np.testing.assert_allclose(d[:, 0], (new - old) @ q + w * (r - q), atol=1e-6)


def test_more_room_means_more_control_and_smaller_draws():
    """A good model: the second moment of the draw falls as the floor is lowered."""
    new, old = np.array([0.05, 0.95]), np.array([0.95, 0.05])
    q = np.array([0.7, 0.9])
    _, d0, d1 = every_case(new, old, old, q, np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    moment = old @ (q[:, None] * d1**2 + (1 - q[:, None]) * d0**2)
    assert (np.diff(moment) <= 1e-12).all()
    assert moment[-1] < 0.5 * moment[0]


@settings(max_examples=200, deadline=None)
@given(positive, positive, positive, arrays(bool, K), arrays(float, K, elements=unit), arrays(float, K, elements=unit))
def test_missing_support_errs_to_the_safe_side(new, old, behavior, never, q, mean):
    """Actions the log cannot contain: the mean of each draw is at most the true difference, whatever they pay."""
    never[0] = False
    new, old, behavior = pmf(new), pmf(old), pmf(np.where(never, 0.0, behavior))
    w_n, w_o = ratios(new, behavior), ratios(old, behavior)
    ips = [ips_difference(w_n, w_o, np.full(K, r)) for r in (0.0, 1.0)]
    assert behavior @ (mean * ips[1] + (1 - mean) * ips[0]) <= (new - old) @ mean + 1e-9
    bounds = np.concatenate([[1.0], DR_BOUNDS])
    actions, d0, d1 = every_case(new, old, behavior, q, bounds)
    expected = behavior[actions] @ (mean[actions, None] * d1 + (1 - mean[actions, None]) * d0)
    assert (expected <= (new - old) @ mean + 1e-9).all()
    assert (np.minimum(d0, d1) >= -bounds - 1e-9).all()
