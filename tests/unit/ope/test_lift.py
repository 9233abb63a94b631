"""The lift: draws, their floors and means, and the evidence they add up to."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from understudy.core.errors import EvidenceError
from understudy.core.steps import concat
from understudy.data.dataset import MemoryDataset
from understudy.gate import GateRules, Lineage, gate
from understudy.ope.lift import lift, no_lift
from understudy.testing.cast import MEANS, TINY, Table, tiny_bandit, true_value

OLD = Table(((0.6, 0.2, 0.2), (0.2, 0.6, 0.2)))
GOOD = Table(((0.9, 0.05, 0.05), (0.05, 0.05, 0.9)))
BAD = Table(((0.05, 0.05, 0.9), (0.9, 0.05, 0.05)))
NAMES = ("new", "old")


def log(n: int, seed: int = 0, **columns) -> MemoryDataset:
    return MemoryDataset(TINY, replace(tiny_bandit(OLD, n, seed), **columns))


class Truth:
    """A reward model that knows the means."""

    def values(self, context: np.ndarray) -> np.ndarray:
        return MEANS[context[:, 0].astype(int)]


def test_the_better_policy_is_proven_and_the_worse_one_disproven():
    """5,000 decisions: both directions far beyond 1/α, bounds on the right side of the truth."""
    gain = true_value(GOOD) - true_value(OLD)
    up = lift(log(5000), GOOD, OLD, names=NAMES)
    assert up.peak_log_e > 50 and up.reverse_peak_log_e < 1
    assert up.low < gain < up.high
    assert up.low > 0
    down = lift(log(5000), BAD, OLD, names=NAMES)
    assert down.peak_log_e < 1 and down.reverse_peak_log_e > 50
    assert down.low < true_value(BAD) - true_value(OLD) < down.high < 0


def test_the_proof_alone_is_the_same_proof():
    """Without bounds everything that the proof rests on is the same to the bit."""
    whole, alone = lift(log(2000), GOOD, OLD, names=NAMES), lift(log(2000), GOOD, OLD, names=NAMES, bounds=False)
    assert whole.low is not None and whole.high is not None and whole.reverse_peak_log_e != 0
    assert alone == msgspec.structs.replace(whole, low=None, high=None, reverse_peak_log_e=0.0)


def test_a_copy_of_the_incumbent_earns_nothing():
    """S16: every draw is 0, whatever the rewards."""
    same = lift(log(500), OLD, OLD, names=NAMES)
    assert same.peak_log_e == same.log_e == same.reverse_peak_log_e == 0.0
    assert same.mean == 0.0
    assert same.low < 0 < same.high


def test_the_logged_policy_is_the_incumbent_of_its_own_log():
    """incumbent None equals naming the policy that made the log."""
    named, logged = (lift(log(800), GOOD, policy, names=NAMES) for policy in (OLD, None))
    assert msgspec.structs.replace(named, pair=None) == msgspec.structs.replace(logged, pair=None)
    assert named.pair == logged.pair


def test_weights_alone_by_hand():
    """Three decisions, no model: E_t from the definition, written out."""
    data = log(3, seed=5)
    s = data.steps
    w = GOOD.prob(s.context, s.action) / OLD.prob(s.context, s.action)
    d = (w - 1) * s.reward
    bets = 0.8 * 0.5 ** np.arange(14)
    shares = np.minimum(1, bets * 256 / 0.8)
    wealth = [(shares * np.prod(1 + bets * d[:t, None], axis=0)).sum() / shares.sum() for t in range(4)]
    got = lift(data, GOOD, OLD, names=NAMES, q=None)
    assert got.log_e == pytest.approx(math.log(wealth[3]), abs=1e-12)
    assert got.peak_log_e == pytest.approx(math.log(max(wealth)), abs=1e-12)
    assert got.parts == {"ips": pytest.approx(got.log_e)}
    assert got.second_moment == pytest.approx((d**2).mean())


def test_a_model_that_knows_the_truth_helps():
    """With the true means as control the evidence per decision is larger than with weights alone."""
    alone, helped = (lift(log(4000), GOOD, OLD, names=NAMES, q=q) for q in (None, Truth()))
    assert helped.peak_log_e > alone.peak_log_e + 10


def test_looks_at_a_growing_log_continue_one_process():
    """A longer log contains the shorter one's peak: evidence once reached is never lost, and nothing is recomputed."""
    whole = tiny_bandit(OLD, 2000, 3)
    peaks = []
    for n in (100, 128, 129, 700, 2000):
        keep = np.arange(2000) < n
        peaks.append(lift(MemoryDataset(TINY, whole.episodes(keep)), GOOD, OLD, names=NAMES).peak_log_e)
    assert peaks == sorted(peaks)
    # one reward in the future changes no draw of the past: the path up to row 1,500 is the same
    changed = whole.reward.copy()
    changed[1500:] = 1 - changed[1500:]
    keep = np.arange(2000) < 1500
    a, b = (replace(whole, reward=r).episodes(keep) for r in (whole.reward, changed))
    assert lift(MemoryDataset(TINY, a), GOOD, OLD, names=NAMES) == lift(MemoryDataset(TINY, b), GOOD, OLD, names=NAMES)


def test_rows_are_bet_on_in_the_order_of_time():
    """The order in which rows are stored is irrelevant; the order in which they happened is not."""
    steps = tiny_bandit(OLD, 600, 4)
    order = np.random.default_rng(0).permutation(600)
    columns = ("unit", "time", "context", "action", "reward", "propensity", "propensities")
    mixed = replace(steps, **{name: getattr(steps, name)[order] for name in columns})
    first, second = (lift(MemoryDataset(TINY, s), GOOD, OLD, names=NAMES) for s in (steps, mixed))
    assert msgspec.structs.replace(first, pair=None) == msgspec.structs.replace(second, pair=None)


def test_batches_and_memory_agree():
    """S17: the evidence from one batch and from many is the same to rounding."""

    class Batches(MemoryDataset):
        def scan(self, max_steps: int = 65_536):
            return super().scan(97)

    steps = tiny_bandit(OLD, 3000, 6)
    one, many = (lift(kind(TINY, steps), GOOD, OLD, names=NAMES) for kind in (MemoryDataset, Batches))
    assert many.peak_log_e == pytest.approx(one.peak_log_e, rel=1e-9)


def test_a_unit_with_many_decisions_is_one_draw():
    """Repeating each decision within its unit changes neither the draws nor the evidence; it is not anytime."""
    steps = tiny_bandit(OLD, 400, 7)
    twice = concat([steps, replace(steps, time=steps.time + 10_000)])
    problem = msgspec.structs.replace(TINY, unit="unit")
    single = lift(MemoryDataset(problem, steps), GOOD, OLD, names=NAMES, q=None)
    double = lift(MemoryDataset(problem, twice), GOOD, OLD, names=NAMES, q=None)
    assert double.log_e == pytest.approx(single.log_e, abs=1e-9)
    assert (single.n_units, double.n_units, double.n) == (400, 400, 800)
    assert not single.anytime and not double.anytime
    assert lift(MemoryDataset(TINY, steps), GOOD, OLD, names=NAMES, q=None).anytime


def test_rewards_are_scaled_by_the_declared_range():
    """Rewards in cents: the same evidence, the lift a hundred times as large."""
    steps = tiny_bandit(OLD, 900, 8)
    cents = replace(steps, reward=100 * steps.reward - 50)
    wide = msgspec.structs.replace(TINY, reward_range=(-50.0, 50.0))
    a = lift(MemoryDataset(TINY, steps), GOOD, OLD, names=NAMES, margin=0.02)
    b = lift(MemoryDataset(wide, cents), GOOD, OLD, names=NAMES, margin=2.0)
    assert b.peak_log_e == pytest.approx(a.peak_log_e, rel=1e-6)
    assert b.mean == pytest.approx(100 * a.mean, rel=1e-6)
    assert b.low == pytest.approx(100 * a.low, abs=1e-2)


def test_a_margin_is_harder_and_non_inferiority_easier():
    """The evidence falls as the margin rises; the lower bound does not depend on it much."""
    peaks = [lift(log(2000), GOOD, OLD, names=NAMES, margin=m).peak_log_e for m in (-0.05, 0.0, 0.05, 0.1)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > peaks[-1] + 5
    copy = [lift(log(2000), OLD, OLD, names=NAMES, margin=m).peak_log_e for m in (-0.05, 0.05)]
    assert copy[0] > math.log(20) > copy[1]


def test_only_the_logged_propensity_leaves_the_weights_part():
    """Without the probabilities of all actions there is no control, and a note says so."""
    other = Table(((0.3, 0.4, 0.3), (0.4, 0.3, 0.3)))
    got = lift(log(300, propensities=None), GOOD, other, names=NAMES)
    assert set(got.parts) == {"ips"}
    assert "weights alone" in got.notes[0]
    from_incumbent = lift(log(300, propensities=None), GOOD, OLD, names=NAMES)  # its own table is the logger's
    assert set(from_incumbent.parts) == {"ips", "dr"}


def test_what_cannot_be_proven_is_refused():
    """No propensities, a margin outside the range, a single unit: an error with a cure."""
    with pytest.raises(EvidenceError, match="none of the 50 decisions has a propensity"):
        lift(log(50, propensity=None), GOOD, OLD, names=NAMES)
    with pytest.raises(EvidenceError, match="margin"):
        lift(log(50), GOOD, OLD, names=NAMES, margin=1.0)
    with pytest.raises(EvidenceError, match="at least two"):
        lift(log(50, unit=np.zeros(50, np.uint64)), GOOD, OLD, names=NAMES)


def test_overlap_of_the_pair_by_hand():
    """ESS, heaviest row, matches and disagreement from their definitions."""
    data = log(300)
    s, pair = data.steps, lift(data, GOOD, OLD, names=NAMES).pair
    w = GOOD.prob(s.context, s.action) / s.propensity
    x, best = s.context[:, 0].astype(int), np.array([0, 2])
    assert pair.ess == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert pair.max_weight_share == pytest.approx(w.max() / w.sum())
    assert w[pair.heaviest] == w.max()
    assert pair.matched == (s.action == best[x]).sum()
    assert pair.disagreement == pytest.approx((x == 1).mean())  # both prefer "a" where x = 0
    assert pair.matched_disagreeing == ((s.action == 2) & (x == 1)).sum()
    assert pair.unsupported == 0.0


def test_probability_on_impossible_actions_is_counted():
    """An action the logger never takes: the candidate's share on it is the unsupported share."""
    narrow = Table(((0.5, 0.5, 0.0), (0.5, 0.5, 0.0)))
    data = MemoryDataset(TINY, tiny_bandit(narrow, 400, 1))
    assert lift(data, Table(((0.2, 0.2, 0.6), (0.2, 0.2, 0.6))), None, names=NAMES).pair.unsupported == pytest.approx(
        0.6
    )
    hidden = MemoryDataset(TINY, replace(data.steps, propensities=None))
    assert lift(hidden, Table(((0, 0, 1.0), (0, 0, 1.0))), None, names=NAMES).pair.ess == 0.0


def test_the_design_names_what_may_not_change_between_looks():
    """Margin, model and seed enter it; data do not."""
    base = lift(log(200), GOOD, OLD, names=NAMES).design
    assert lift(log(300, seed=9), GOOD, OLD, names=NAMES).design == base
    assert lift(log(200), GOOD, OLD, names=NAMES, margin=0.01).design != base
    assert lift(log(200), GOOD, OLD, names=NAMES, q=None).design != base


def test_a_lift_that_cannot_be_computed_is_refused_by_the_gate():
    """A log without propensities: the gate says refused, with the reason, and never anything else."""
    with pytest.raises(EvidenceError) as caught:
        lift(log(50, propensity=None), GOOD, OLD, names=NAMES)
    verdict = gate((), GateRules(), against="old", lift=no_lift(NAMES, str(caught.value)), lineage=Lineage())
    assert verdict.outcome == "refused"
    assert "none of the 50 decisions has a propensity" in verdict.reason
    assert verdict.needed is None


def test_episodes_are_compared_by_their_returns():
    """Horizon 2, γ ½: weights multiply over steps, returns r₀ + r₁/2 are scaled by their range 1.5, one draw each."""
    problem = msgspec.structs.replace(TINY, horizon=2, discount=0.5)
    flat = tiny_bandit(OLD, 600, 11)
    last = np.arange(600) % 2 == 1
    steps = replace(flat, starts=np.arange(0, 601, 2), unit=flat.unit[:300], terminated=last)
    w = (GOOD.prob(flat.context, flat.action) / flat.propensity).reshape(300, 2).prod(1)
    g = (flat.reward.reshape(300, 2) @ [1.0, 0.5]) / 1.5
    got = lift(MemoryDataset(problem, steps), GOOD, OLD, names=NAMES)
    assert got.mean == pytest.approx(1.5 * ((w - 1) * g).mean())
    assert got.second_moment == pytest.approx((((w - 1) * g) ** 2).mean())
    assert (got.n, got.n_units, set(got.parts)) == (300, 300, {"ips"})
    assert got.anytime
