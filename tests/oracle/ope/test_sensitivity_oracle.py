"""Sensitivity bounds against brute force over every corner of the box of weights, and against hand-worked numbers."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Evidence
from understudy.core.steps import bandit_steps
from understudy.ope.sensitivity import sensitivity


def evidence(pi, propensity, reward, unit=None):
    """Evidence from π(a|x), propensity and reward of each row."""
    pi, p = np.asarray(pi, float), np.asarray(propensity, float)
    steps = bandit_steps(np.zeros((len(pi), 1)), np.zeros(len(pi), int), reward, p, unit=unit)
    return Evidence(steps, 1.0, pi / p)


def brute(e, gamma, estimator):
    """Smallest and largest estimate over all 2ⁿ corners z ∈ {1/Γ, Γ}ⁿ: the optimum of a ratio is at a corner."""
    p, r = e.steps.propensity, e.steps.reward
    pi = e.ratio * p
    found = []
    for corner in product((1 / gamma, gamma), repeat=len(r)):
        w = pi * (1 + (1 / p - 1) * np.array(corner))
        found.append((w * r).sum() / (w.sum() if estimator == "snips" else len(r)))
    return min(found), max(found)


@pytest.mark.parametrize("estimator", ["snips", "ips"])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_those_of_brute_force(estimator, seed):
    """Every Γ: sorting finds the same minimum and maximum as trying all 1,024 corners."""
    rng = np.random.default_rng(seed)
    reward = rng.integers(0, 3, 10) / 2 if seed % 2 else rng.normal(size=10)  # ties, and negative rewards
    e = evidence(rng.random(10) * (rng.random(10) < 0.8), rng.uniform(0.05, 1, 10), reward)
    curve = sensitivity(e, target="new", estimator=estimator, gammas=(1.0, 1.3, 2.0, 7.0), draws=0)
    for point in curve.points:
        assert (point.low, point.high) == pytest.approx(brute(e, point.gamma, estimator), abs=1e-12)


def test_two_rows_by_hand():
    """p = ½, π = 1, rewards 0 and 1: weights lie in [1 + 1/Γ, 1 + Γ], so SNIPS lies in [1, Γ] / (1 + Γ)."""
    curve = sensitivity(evidence([1, 1], [0.5, 0.5], [0.0, 1.0]), target="new", gammas=(1.0, 3.0), draws=0)
    assert (curve.points[0].low, curve.points[0].high) == pytest.approx((0.5, 0.5))
    assert (curve.points[1].low, curve.points[1].high) == pytest.approx((0.25, 0.75))


def test_breaking_point_by_hand():
    """Three rows of weight 1 + z with rewards 1, 1, 0 and one the target ignores with reward 0: log ½, target ⅔.

    Lowest SNIPS = 2 (1 + 1/Γ) / (2 (1 + 1/Γ) + 1 + Γ) = ½  ⟺  2 (1 + 1/Γ) = 1 + Γ  ⟺  Γ = 2.
    """
    curve = sensitivity(evidence([1, 1, 1, 0], [0.5] * 4, [1.0, 1.0, 0.0, 0.0]), target="new", draws=0)
    assert curve.lift == pytest.approx(2 / 3 - 1 / 2)
    assert curve.breaks_at == pytest.approx(2.0, rel=1e-7)
    assert "factor of 2" in curve.conclusion


def test_a_worse_target_breaks_upwards():
    """The mirror image: a target that looks worse may be as good as the log from the same Γ on."""
    curve = sensitivity(evidence([1, 1, 1, 0], [0.5] * 4, [0.0, 0.0, 1.0, 1.0]), target="new", draws=0)
    assert curve.lift < 0
    assert curve.breaks_at == pytest.approx(2.0, rel=1e-7)


def test_certain_propensities_never_break():
    """Where every propensity is 1 there is nothing to doubt."""
    curve = sensitivity(evidence([1, 1, 0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]), target="new", draws=0)
    assert curve.breaks_at is None
    assert all(point.low == point.high == pytest.approx(1.0) for point in curve.points)


rows = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.02, 1), st.floats(0, 1)).map(lambda t: (round(t[0], 3), t[1], t[2])),
    min_size=2,
    max_size=30,
).filter(lambda rows: any(pi > 0 for pi, _, _ in rows))


@settings(max_examples=60, deadline=None)
@given(rows)
def test_gamma_one_is_snips_and_bounds_widen(table):
    """Γ = 1 is SNIPS itself; with Γ low falls and high rises; both stay among the rewards that carry weight."""
    pi, p, r = (np.array(column) for column in zip(*table))
    curve = sensitivity(evidence(pi, p, r), target="new", draws=0)
    w = pi / p
    snips = (w * r).sum() / w.sum()
    assert curve.points[0].low == pytest.approx(snips, abs=1e-9)
    assert curve.points[0].high == pytest.approx(snips, abs=1e-9)
    lows, highs = [q.low for q in curve.points], [q.high for q in curve.points]
    assert all(a >= b - 1e-9 for a, b in pairwise(lows))
    assert all(a <= b + 1e-9 for a, b in pairwise(highs))
    assert lows[-1] >= r[pi > 0].min() - 1e-9
    assert highs[-1] <= r[pi > 0].max() + 1e-9


def test_bands_hold_the_bounds_and_respect_units():
    """Bands lie outside the bounds; ten copies of every unit's row do not shrink them."""
    rng = np.random.default_rng(5)
    pi, p, r = rng.random(200), rng.uniform(0.2, 0.9, 200), (rng.random(200) < 0.4).astype(float)
    alone = sensitivity(evidence(pi, p, r), target="new", draws=200)
    copies = np.repeat(np.arange(200), 10)
    users = sensitivity(evidence(pi[copies], p[copies], r[copies], copies.astype(np.uint64)), target="new", draws=200)
    for a, b in zip(alone.points, users.points):
        assert a.band_low < a.low <= a.high < a.band_high
        assert b.low == pytest.approx(a.low)
        assert b.band_high - b.band_low == pytest.approx(a.band_high - a.band_low, rel=0.15)
    assert alone.band_breaks_at <= (alone.breaks_at or np.inf) or alone.band_breaks_at is None


def test_the_curve_says_what_it_is():
    """The label travels with the curve."""
    curve = sensitivity(evidence([1, 1], [0.5, 0.5], [0.0, 1.0]), target="new", draws=0)
    assert "not an estimate" in curve.label


@pytest.mark.parametrize("gammas", [(0.5, 1.0), (2.0, 1.0), (), (1.0, float("inf")), (float("nan"),)])
def test_bad_gammas_are_refused(gammas):
    """Γ ascends from 1."""
    with pytest.raises(ConfigError, match="gammas"):
        sensitivity(evidence([1, 1], [0.5, 0.5], [0.0, 1.0]), target="new", gammas=gammas)


def test_no_overlap_and_no_propensities_are_refused():
    """Nothing to bound: the target takes no logged action, or the log has no propensities."""
    with pytest.raises(EvidenceError, match="none of the logged actions"):
        sensitivity(evidence([0, 0], [0.5, 0.5], [0.0, 1.0]), target="new")
    bare = evidence([1, 1], [0.5, 0.5], [0.0, 1.0])
    bare = Evidence(bare.steps.with_(propensity=None), 1.0, bare.ratio)
    with pytest.raises(EvidenceError, match="no propensities"):
        sensitivity(bare, target="new")
