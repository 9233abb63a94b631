"""What holds of estimates on every log (oracle F14), and of sums over blocks under every partition and order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from understudy.core.evidence import Evidence
from understudy.core.registry import find
from understudy.ope.estimators import ESTIMATORS
from understudy.ope.estimators.dr import DR
from understudy.ope.estimators.ips import IPS
from understudy.ope.estimators.replay import Replay
from understudy.ope.estimators.snips import SNIPS
from understudy.ope.evaluate import estimate
from understudy.ope.evidence import as_logged, from_arrays, point_values, rows
from understudy.ope.tally import Plan, tally
from understudy.ops.blocks import jackknife, totals

ALL = {name: find("estimators", name)() for name in ESTIMATORS}
SHIFTS = ("snips", "dm", "dr", "sndr", "switch_dr", "dros", "sg_dr", "switch", "replay")


@st.composite
def logs(draw, smallest: int = 2, largest: int = 60):
    """Arrays of a random bandit log: action, reward, propensity, probs, q, unit."""
    n, k = draw(st.integers(smallest, largest)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    behavior, probs = rng.dirichlet(np.ones(k), n) * 0.9 + 0.1 / k, rng.dirichlet(np.full(k, 0.5), n)
    action = rng.integers(0, k, n)
    propensity = behavior[np.arange(n), action]
    unit = rng.integers(0, max(n // 2, 2), n).astype(np.uint64)
    unit[:2] = 0, 1  # one unit alone has no standard error
    return {
        "action": action, "reward": rng.normal(size=n), "propensity": propensity / propensity.max(),
        "probs": probs / probs.sum(1, keepdims=True), "q": rng.normal(size=(n, k)),
        "unit": unit,
    }  # fmt: skip


@settings(deadline=None)
@given(logs(), st.floats(-100, 100))
def test_adding_a_constant_to_rewards_moves_shift_equivariant_estimates_by_it(log: dict, c: float) -> None:
    """Self-normalised and model-based estimates move by exactly c (with q̂ + c); IPS by c times the mean weight."""
    e = from_arrays(**log)
    assume(e.ratio.sum() > 1e-3 and e.match is not None and e.match.any())
    moved = from_arrays(**{**log, "reward": log["reward"] + c, "q": log["q"] + c})
    before, after = point_values(e, ALL), point_values(moved, ALL)
    for name in SHIFTS:
        assert after[name] == pytest.approx(before[name] + c, abs=1e-7 * (1 + e.ratio.max()))
    assert after["ips"] == pytest.approx(before["ips"] + c * e.ratio.mean(), abs=1e-7 * (1 + e.ratio.max()))


@settings(deadline=None)
@given(logs(), st.floats(0.01, 100))
def test_scaling_rewards_scales_every_estimate(log: dict, s: float) -> None:
    """Every estimator is linear in the reward (and q̂); the SWITCH threshold is too when the width scales along."""
    e, scaled = from_arrays(**log), from_arrays(**{**log, "reward": log["reward"] * s, "q": log["q"] * s})
    assume(e.ratio.sum() > 1e-3 and e.match is not None and e.match.any())
    before, after = point_values(e, ALL, width=1.0), point_values(scaled, ALL, width=s)
    for name in set(ALL) - {"switch", "magic"}:  # the blend of magic is a choice
        assert after[name] == pytest.approx(before[name] * s, rel=1e-9, abs=1e-9 * s * (1 + e.ratio.max()))


@settings(deadline=None)
@given(logs())
def test_the_behavior_policy_itself_is_worth_the_mean_reward(log: dict) -> None:
    """With π = b the weights are 1: IPS, SNIPS and clipped IPS give the mean reward, as all do for "logged"."""
    e = from_arrays(**log)
    same = replace(e, ratio=np.ones(e.steps.n))
    for name, value in point_values(same, {n: ALL[n] for n in ("ips", "snips", "clipped_ips")}).items():
        assert value == pytest.approx(log["reward"].mean(), abs=1e-12), name
    everyone = {name: estimator for name, estimator in ALL.items() if name != "switch"}
    for name, value in point_values(as_logged(e.steps), everyone).items():
        assert value == pytest.approx(log["reward"].mean(), abs=1e-12), name


@settings(deadline=None)
@given(logs())
def test_an_exact_model_leaves_no_residual(log: dict) -> None:
    """Deterministic rewards and exact q̂: every DR term is v̂, whatever the weights."""
    reward = log["q"][np.arange(len(log["action"])), log["action"]]
    e = from_arrays(**{**log, "reward": reward})
    np.testing.assert_array_equal(DR().terms(e)[:, 0], e.v)


@settings(deadline=None)
@given(logs(smallest=4))
def test_replay_is_self_normalised_ips_under_uniform_logging(log: dict) -> None:
    """Uniform log, deterministic target: replay = SNIPS, and IPS = replay × K × share of matches."""
    k = log["probs"].shape[1]
    sure = np.eye(k)[log["probs"].argmax(1)]
    e = from_arrays(**{**log, "probs": sure, "propensity": np.full(len(sure), 1 / k)})
    assume(e.match is not None and e.match.any())
    got = point_values(e, {"replay": Replay(), "snips": SNIPS(), "ips": IPS()})
    assert got["replay"] == pytest.approx(got["snips"], abs=1e-12)
    assert got["ips"] == pytest.approx(got["replay"] * k * e.match.mean(), abs=1e-9)


@settings(deadline=None)
@given(logs(smallest=6), st.integers(0, 2**32), st.integers(2, 9))
def test_sums_over_blocks_know_neither_partition_nor_order(log: dict, seed: int, k: int) -> None:
    """Totals of shuffled rows, added up part by part in any order, equal the totals of the whole to rounding."""
    terms = SNIPS().terms(from_arrays(**log))
    whole = totals(terms, log["unit"], k)
    rng = np.random.default_rng(seed)
    parts = np.array_split(rng.permutation(len(terms)), 3)
    added = totals(terms[parts[2]], log["unit"][parts[2]], k)
    added = added + (
        totals(terms[parts[0]], log["unit"][parts[0]], k) + totals(terms[parts[1]], log["unit"][parts[1]], k)
    )
    np.testing.assert_allclose(added.sums, whole.sums, rtol=0, atol=1e-9 * (1 + np.abs(terms).sum()))
    np.testing.assert_array_equal(added.counts, whole.counts)


@settings(deadline=None)
@given(logs(smallest=8), st.integers(1, 7))
def test_the_fold_of_two_batches_is_the_fold_of_the_whole(log: dict, cut: int) -> None:
    """Every number that estimates and refusals read is the same from one batch and from two."""
    e = from_arrays(**log)
    plan = Plan(targets=("new",), estimators=tuple(ALL.items()), blocks=8)
    whole = tally({"new": e}, plan)
    parts = [tally({"new": rows(e, part)}, plan) for part in (slice(0, cut), slice(cut, e.steps.n))]
    both = parts[1] + parts[0]
    np.testing.assert_allclose(both.sums, whole.sums, atol=1e-9 * (1 + np.abs(whole.sums).max()))
    for name in ("counts", "matched", "informative", "propensity"):
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))
    np.testing.assert_allclose(np.sort(both.units.of(None), 0), np.sort(whole.units.of(None), 0), rtol=1e-12)


@settings(deadline=None)
@given(logs(smallest=10))
def test_doubling_all_events_of_the_same_units_leaves_the_standard_error(log: dict) -> None:
    """A log that repeats itself knows no more: same estimate, same cluster-aware standard error."""
    e = from_arrays(**log)
    assume(e.ratio.sum() > 1e-3)
    twice = from_arrays(**{name: np.concatenate([column, column]) for name, column in log.items()})
    for estimator in (ALL["ips"], ALL["dr"]):
        a, b = (jackknife(estimator.value, totals(estimator.terms(x), x.steps.unit)) for x in (e, twice))
        assert b.value == pytest.approx(a.value, abs=1e-9 * (1 + e.ratio.max()))
        assert float(b.bounds(0.95).std_error) == pytest.approx(float(a.bounds(0.95).std_error), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_terms_are_one_row_per_episode_and_values_broadcast(name: str) -> None:
    """terms is [m, p]; value maps [..., p] to [...] exactly as it maps each row."""
    rng = np.random.default_rng(0)
    e = _log_of(rng, 50)
    terms = ALL[name].terms(e)
    assert terms.shape[0] == 50 and terms.ndim == 2
    means = terms.mean(0) * rng.uniform(0.9, 1.1, (3, 4, terms.shape[1]))
    many = ALL[name].value(means)
    assert np.shape(many) == (3, 4)
    np.testing.assert_allclose(many[1, 2], ALL[name].value(means[1, 2]), rtol=1e-15)


def test_pairing_removes_the_noise_that_both_policies_share() -> None:
    """Two near-equal policies on one log: the paired error is below a third of what independence would give."""
    rng = np.random.default_rng(5)
    n, k = 20_000, 4
    base = rng.dirichlet(np.ones(k), n) * 0.8 + 0.2 / k
    action = (base.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)
    reward = rng.random(n)
    near = base * rng.uniform(0.95, 1.05, (n, k))
    arrays = {"action": action, "reward": reward, "propensity": base[np.arange(n), action]}
    both = {
        "a": from_arrays(**arrays, probs=near / near.sum(1, keepdims=True)),
        "b": from_arrays(**arrays, probs=base),
    }
    a, b, difference = estimate(both, ["ips"], against="b")
    assert difference.target == "a - b" and difference.value == pytest.approx(a.value - b.value, abs=1e-12)
    assert difference.std_error < np.hypot(a.std_error, b.std_error) / 3


def _log_of(rng: np.random.Generator, n: int) -> Evidence:
    probs = rng.dirichlet(np.ones(3), n)
    action = rng.integers(0, 3, n)
    return from_arrays(action, rng.random(n), np.full(n, 1 / 3), probs, rng.random((n, 3)))
