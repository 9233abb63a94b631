"""What holds of estimates on every log of episodes: a bandit at horizon 1, folds, equivariance, unequal lengths."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Evidence
from understudy.core.registry import find
from understudy.core.steps import Steps
from understudy.ope.evidence import as_logged, from_arrays, point_values
from understudy.ope.naming import named
from understudy.ope.sequential import piece
from understudy.ope.tally import Plan, tally
from understudy.ops import returns, weights

NAMES = ("tis", "wis", "pdis", "cwpdis", "sdr", "wdr", "magic", "fqe", "mis", "snmis", "drl")
ALL = dict(named(NAMES))
SAME = {"tis": "ips", "wis": "snips", "pdis": "ips", "cwpdis": "snips", "sdr": "dr", "wdr": "sndr", "fqe": "dm",
        "mis": "ips", "snmis": "snips", "drl": "dr", "cwpdis(alive=True)": "snips",
        "wdr(alive=True)": "sndr"}  # fmt: skip


@st.composite
def episodes(draw, most: int = 30, longest: int = 9) -> Evidence:
    """Evidence about episodes of any lengths, with spans, cuts and model values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m = draw(st.integers(2, most))
    size = rng.integers(1, draw(st.integers(1, longest)) + 1, m)
    starts = np.concatenate([[0], np.cumsum(size)])
    n = int(starts[-1])
    last = np.isin(np.arange(n), starts[1:] - 1)
    cut = np.repeat(rng.random(m) < draw(st.sampled_from([0.0, 0.3])), size)
    steps = Steps(
        starts=starts, unit=rng.integers(0, 5, m).astype(np.uint64), time=np.arange(n),
        context=np.zeros((n, 1), np.float32), action=np.zeros(n, np.int32), reward=rng.normal(size=n),
        terminated=last & ~cut, truncated=last & cut, propensity=np.full(n, 0.5),
        span=rng.uniform(0.2, 3, n) if draw(st.booleans()) else None,
    )  # fmt: skip
    steps.unit[:2] = 0, 1
    end = np.where(cut[starts[1:] - 1], rng.normal(size=m), 0.0)
    return Evidence(
        steps, draw(st.sampled_from([1.0, 0.9, 0.0])), rng.gamma(2, 0.5, n), rng.normal(size=n), rng.normal(size=n),
        density_ratio=rng.gamma(2, 0.5, n), horizon=int(size.max()), v_end=end if cut.any() else None,
    )  # fmt: skip


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 50))
def test_at_horizon_one_every_estimator_is_its_bandit_namesake(seed: int, n: int) -> None:
    """PDIS ≡ IPS, CWPDIS ≡ SNIPS, sequential DR ≡ DR, weighted DR ≡ SNDR, FQE ≡ DM, to 1e-12; γ plays no part."""
    rng = np.random.default_rng(seed)
    e = from_arrays(
        rng.integers(0, 3, n), rng.normal(size=n), rng.uniform(0.1, 1, n), rng.dirichlet(np.ones(3), n),
        rng.normal(size=(n, 3)),
    )  # fmt: skip
    e = replace(e, density_ratio=np.ones(n), discount=0.9)
    for left, right in SAME.items():
        a = point_values(e, dict(named([left])))[left]
        assert a == pytest.approx(point_values(e, dict(named([right])))[right], rel=1e-12, abs=1e-12), (left, right)


@settings(deadline=None)
@given(episodes())
def test_weights_and_returns_equal_the_loops_of_a_schoolbook(e: Evidence) -> None:
    """Products, discount factors, returns and returns-to-go against plain Python, with spans and unequal lengths."""
    s, g = e.steps, e.discount
    w, f, rest = np.empty(s.n), np.empty(s.n), np.empty(s.n)
    for a, b in zip(s.starts[:-1], s.starts[1:]):
        product, power = 1.0, 0.0
        for i in range(a, b):
            product *= e.ratio[i]
            w[i], f[i] = product, g**power
            power += 1 if s.span is None else s.span[i]
        rest[b - 1] = s.reward[b - 1]
        for i in range(b - 2, a - 1, -1):
            rest[i] = s.reward[i] + g ** (1 if s.span is None else s.span[i]) * rest[i + 1]
    np.testing.assert_allclose(weights.cumulative(e.ratio, s.starts), w, rtol=1e-12)
    np.testing.assert_allclose(returns.factors(s, g), f, rtol=1e-9)
    np.testing.assert_allclose(returns.to_go(s, g), rest, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(returns.totals(s, g), rest[s.starts[:-1]], rtol=1e-9, atol=1e-9)


def test_one_enormous_episode_among_many_short_ones() -> None:
    """Lengths 1 and 3,000: walked step by step, the same numbers as in a table, and no table of 3,000 columns each."""
    size = np.ones(2_000, int)
    size[7] = 3_000
    starts = np.concatenate([[0], np.cumsum(size)])
    rng = np.random.default_rng(0)
    ratio = np.exp(0.01 * rng.normal(size=starts[-1]))
    by_hand = np.concatenate([np.cumprod(ratio[a:b]) for a, b in pairwise(starts)])
    np.testing.assert_allclose(weights.cumulative(ratio, starts), by_hand, rtol=1e-10)
    padded = returns.padded(by_hand, starts, 3_000, keep=True)
    np.testing.assert_allclose(padded[7], by_hand[starts[7] : starts[8]])
    np.testing.assert_allclose(padded[3], by_hand[starts[3]])


@settings(deadline=None)
@given(episodes(), st.data())
def test_the_fold_of_two_batches_is_the_fold_of_the_whole(e: Evidence, data: st.DataObject) -> None:
    """Everything that estimates and refusals read of episodes merges by ``+``, whatever the order."""
    plan = Plan(targets=("new",), estimators=named(NAMES), blocks=8, horizon=max(e.horizon or 1, 2))
    e = replace(e, horizon=plan.horizon)
    cut = data.draw(st.integers(1, e.steps.m - 1))
    whole = tally({"new": e}, plan)
    both = tally({"new": piece(e, cut, e.steps.m)}, plan) + tally({"new": piece(e, 0, cut)}, plan)
    np.testing.assert_allclose(both.sums, whole.sums, atol=1e-9 * (1 + np.abs(whole.sums).max()))
    np.testing.assert_allclose(both.steps, whole.steps, rtol=1e-9)
    for name in ("counts", "matched", "informative", "propensity"):
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))
    np.testing.assert_allclose(np.sort(both.units.of(None), 0), np.sort(whole.units.of(None), 0), rtol=1e-12)


@settings(deadline=None)
@given(episodes())
def test_the_behavior_policy_is_worth_the_mean_return(e: Evidence) -> None:
    """With ρ = 1 the weights alone give the mean return, at any lengths; and so do all estimators of "logged"."""
    mean = float(returns.totals(e.steps, e.discount).mean())
    same = replace(e, ratio=np.ones(e.steps.n), v_end=None)
    for name in ("tis", "wis", "pdis", "cwpdis"):
        assert point_values(same, {name: ALL[name]})[name] == pytest.approx(mean, abs=1e-9), name
    logged = as_logged(e.steps, e.discount)
    for name, value in point_values(logged, ALL).items():
        assert value == pytest.approx(mean, abs=1e-8), name


@settings(deadline=None)
@given(episodes(), st.floats(0.01, 100))
def test_scaling_rewards_scales_every_estimate(e: Evidence, s: float) -> None:
    """Rewards and Q̂ in other units give the value in other units."""
    scaled = replace(
        e, steps=e.steps.with_(reward=e.steps.reward * s), q=e.q * s, v=e.v * s,
        v_end=None if e.v_end is None else e.v_end * s,
    )  # fmt: skip
    before, after = point_values(e, ALL), point_values(scaled, ALL)
    for name in set(ALL) - {"magic"}:  # its blend is a choice; it is scaled where that choice is clear
        assert after[name] == pytest.approx(before[name] * s, rel=1e-8, abs=1e-8 * s * (1 + e.ratio.max() ** 9)), name


@settings(deadline=None)
@given(episodes(), st.floats(-10, 10))
def test_shifting_rewards_shifts_self_normalised_estimates(e: Evidence, c: float) -> None:
    """Episodes of one length T, no spans, γ = .9: every reward + c is worth c (1 − γ^T)/(1 − γ) more."""
    m, T = 6, 3
    rng = np.random.default_rng(e.steps.n)
    last = np.tile([False, False, True], m)
    steps = Steps(
        starts=np.arange(m + 1) * T, unit=np.arange(m, dtype=np.uint64), time=np.arange(m * T),
        context=np.zeros((m * T, 1), np.float32), action=np.zeros(m * T, np.int32), reward=rng.normal(size=m * T),
        terminated=last, truncated=np.zeros(m * T, bool), propensity=np.full(m * T, 0.5),
    )  # fmt: skip
    base = Evidence(steps, 0.9, rng.gamma(2, 0.5, m * T))
    more = replace(base, steps=steps.with_(reward=steps.reward + c))
    for name in ("wis", "cwpdis"):
        a, b = (point_values(x, {name: ALL[name]})[name] for x in (base, more))
        assert b - a == pytest.approx(c * (1 + 0.9 + 0.81), abs=1e-8)


def test_an_episode_beyond_the_horizon_is_an_error() -> None:
    """Terms of one estimator have the same width in every batch: nothing may stick out."""
    steps = Steps(
        starts=np.array([0, 3]), unit=np.zeros(1, np.uint64), time=np.arange(3), context=np.zeros((3, 1), np.float32),
        action=np.zeros(3, np.int32), reward=np.ones(3), terminated=np.array([False, False, True]),
        truncated=np.zeros(3, bool), propensity=np.ones(3),
    )  # fmt: skip
    e = Evidence(steps, 1.0, np.ones(3), np.ones(3), np.ones(3), density_ratio=np.ones(3), horizon=2)
    for name in NAMES:
        with pytest.raises(EvidenceError, match="3 steps, and the horizon is 2"):
            find("estimators", name)().terms(e)
