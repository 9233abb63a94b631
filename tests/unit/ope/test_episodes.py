"""Evaluation of episodes: what is answered, what is refused with a reason, other outcomes, distributions, choices."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Estimate
from understudy.core.problem import OutcomeSpec
from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import audit
from understudy.ope.distribution import distribution
from understudy.ope.estimators.magic import simplex
from understudy.ope.evaluate import estimate, evaluate
from understudy.ope.evidence import weigh
from understudy.ope.selection import optimism, rank_correlation, regret, select
from understudy.ops import returns
from understudy.testing.chain import ChainPolicy, chain_problem, exact_value, tiny_chain

BEHAVIOR, TARGET = ChainPolicy((0.5, 0.5, 0.5)), ChainPolicy((0.7, 0.6, 0.3))
ALL = ("tis", "wis", "pdis", "cwpdis", "sdr", "wdr", "magic", "fqe", "mis", "snmis", "drl")


def log(m: int = 2_000, seed: int = 0, **how) -> MemoryDataset:
    return MemoryDataset(chain_problem(), tiny_chain(BEHAVIOR, m, seed, **how))


def by_name(estimates) -> dict[str, Estimate]:
    return {e.estimator: e for e in estimates if e.target == "new"}


def test_the_pass_over_a_log_finds_the_value() -> None:
    """All eleven within 5 standard errors of the exact value; only those with a model's own error give no interval."""
    found = by_name(evaluate(log(), {"new": TARGET}, ALL))
    truth = exact_value(TARGET)
    for name, e in found.items():
        assert abs(e.value - truth) < 5 * (e.std_error or 0.04), name
        assert e.refused == (name in ("fqe", "magic")), (name, e.notes)
    assert any("Q̂ alone knows nothing of its own error" in note for note in found["fqe"].notes)
    steps = found["cwpdis"].ess_by_step
    assert len(steps) == returns.longest(log().steps.starts) and steps[0] > steps[3] > steps[10] > 0


def test_many_batches_give_what_one_gives() -> None:
    """Out of core: batches of whole episodes, the same estimates to rounding."""
    data = log(600)

    class InParts(MemoryDataset):
        def scan(self, max_steps: int = 65_536):
            yield from super().scan(200)

    parts = InParts(data.problem, data.steps)
    for a, b in zip(evaluate(data, {"new": TARGET}, ALL), evaluate(parts, {"new": TARGET}, ALL)):
        assert b.value == pytest.approx(a.value, rel=1e-9), a.estimator
        assert (a.std_error is None) == (b.std_error is None)
        np.testing.assert_allclose(b.ess_by_step, a.ess_by_step, rtol=1e-9)


def test_logged_is_the_mean_discounted_return_for_every_estimator() -> None:
    """The behavior policy as a target, and as what others are compared with."""
    data = log(400)
    mean = returns.totals(data.steps, 0.9).mean()
    for e in evaluate(data, {"logged": None, "new": TARGET}, ALL, against="logged"):
        if e.target == "logged":
            assert e.value == pytest.approx(mean, abs=1e-9), e.estimator


def test_no_overlap_over_whole_episodes_is_refused_and_said() -> None:
    """A target that does what the log hardly does, for many steps: intervals refused, undefined ones named in notes."""
    sure = ChainPolicy((1.0, 1.0, 0.0))
    data = log(3_000)
    data = replace(data, steps=data.steps.episodes(np.diff(data.steps.starts) >= 14))
    found = by_name(evaluate(data, {"new": sure}, ALL))
    assert found["pdis"].refused and "effective sample size" in found["pdis"].notes[0]
    assert not set(found) & {"cwpdis", "wdr"}  # at late steps no episode has any weight
    assert any("holds no overlap for cwpdis" in note for note in found["fqe"].notes)


def test_episodes_that_were_cut_refuse_what_cannot_see_beyond() -> None:
    """Cut after three steps: weights have no interval, models go on; without the final context that is an error."""
    found = by_name(
        evaluate(log(3_000, horizon=3, cut=True), {"new": TARGET}, ("pdis", "sdr", "drl"), against="logged")
    )
    assert found["pdis"].refused and any("still to come" in note for note in found["pdis"].notes)
    assert abs(found["sdr"].value - exact_value(TARGET)) < 5 * found["sdr"].std_error
    assert abs(found["drl"].value - exact_value(TARGET)) < 5 * found["drl"].std_error
    with pytest.raises(EvidenceError, match="does not say what came after"):
        evaluate(log(100, horizon=3), {"new": TARGET}, ("sdr",))


def test_a_longer_episode_than_the_horizon_is_an_error() -> None:
    """In the log, before anything is fitted."""
    data = log(200)
    short = MemoryDataset(chain_problem(0.9, 3), data.steps)
    with pytest.raises(EvidenceError, match="and the horizon is 3"):
        evaluate(short, {"new": TARGET}, ("pdis",))


def test_one_step_estimators_still_refuse_episodes() -> None:
    """What they ignore is what led to a decision."""
    with pytest.raises(EvidenceError, match="more than one step"):
        evaluate(log(100), {"new": TARGET}, ("ips",))


def test_any_outcome_can_be_valued_and_missing_ones_are_their_default() -> None:
    """A second outcome, twice the reward, half of it missing: the default stands in."""
    data = log(500)
    gone = np.arange(data.steps.n) % 2 == 0
    outcomes = np.column_stack([data.steps.reward, np.where(gone, np.nan, 2 * data.steps.reward)])
    two = (OutcomeSpec(name="reward"), OutcomeSpec(name="clicks", default=0.0))
    problem = msgspec.structs.replace(data.problem, outcomes=two)
    made = MemoryDataset(problem, data.steps.with_(outcomes=outcomes))
    by_hand = MemoryDataset(problem, data.steps.with_(reward=np.where(gone, 0.0, 2 * data.steps.reward)))
    for a, b in zip(
        evaluate(made, {"new": TARGET}, ("cwpdis", "drl"), outcome="clicks"),
        evaluate(by_hand, {"new": TARGET}, ("cwpdis", "drl")),
    ):
        assert a.value == pytest.approx(b.value, rel=1e-6)
    with pytest.raises(ConfigError, match="clicks"):
        evaluate(made, {"new": TARGET}, ("cwpdis",), outcome="click")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normalized_values_are_shares_of_the_logged_one_whatever_its_sign(sign: float) -> None:
    """Negative rewards have a normalized number too; a mean return of about 0 has none, and says why."""
    data = log(400)
    signed = MemoryDataset(data.problem, data.steps.with_(reward=sign * data.steps.reward))
    mean = returns.totals(signed.steps, 0.9).mean()
    e = evaluate(signed, {"new": TARGET}, ("cwpdis",), normalize=True)[0]
    assert e.normalized == pytest.approx(e.value / mean)
    fair = np.where(np.repeat(np.arange(400), np.diff(data.steps.starts)) % 2 == 0, 1.0, -1.0)
    zero = MemoryDataset(data.problem, data.steps.with_(reward=fair))
    e = evaluate(zero, {"new": TARGET}, ("cwpdis",), normalize=True)[0]
    assert e.normalized is None and any("not normalized" in note for note in e.notes)


def test_exact_bounds_of_whole_returns_hold_the_value() -> None:
    """Betting needs no central limit: whole-episode weights and returns of declared range."""
    data = MemoryDataset(chain_problem(1.0, 2), tiny_chain(BEHAVIOR, 2_000, 3, horizon=2, noise=0.0))
    e = evaluate(data, {"new": TARGET}, ("tis",), method="betting")[0]
    assert e.low is not None and e.high is not None
    assert e.low <= exact_value(TARGET, 1.0, 2) <= e.high


def test_the_distribution_of_returns() -> None:
    """On-policy it is the empirical one; off-policy, the one that the target's own episodes have."""
    data = log(4_000, noise=0.0)
    gain = returns.totals(data.steps, 0.9)
    own = {e.estimator: e for e in distribution(data, {"logged": None}, quantiles=(0.5,), tails=(0.1,))}
    assert own["quantile=0.5"].value == pytest.approx(np.quantile(gain, 0.5, method="inverted_cdf"), abs=1e-3)
    assert own["cvar=0.1"].value == pytest.approx(np.sort(gain)[:400].mean(), abs=1e-3)
    assert own["variance"].value == pytest.approx(gain.var(), rel=1e-3)
    truth = returns.totals(tiny_chain(TARGET, 200_000, 9, noise=0.0), 0.9)
    for e in distribution(data, {"new": TARGET}, quantiles=(0.25, 0.5), tails=(0.25,), level=0.999):
        wanted = {"quantile=0.25": np.quantile(truth, 0.25), "quantile=0.5": np.quantile(truth, 0.5),
                  "cvar=0.25": np.sort(truth)[:50_000].mean(), "variance": truth.var()}[e.estimator]  # fmt: skip
        assert e.low - 0.02 <= wanted <= e.high + 0.02, e.estimator  # a quantile of few distinct returns jumps
    with pytest.raises(ConfigError, match="strictly between"):
        distribution(data, {"new": TARGET}, quantiles=(0.0,))


def test_the_simplex_is_searched_exactly() -> None:
    """Against a fine grid of three coordinates, and where the answer is known."""
    rng = np.random.default_rng(0)
    grid = np.array([(i, j, 200 - i - j) for i in range(201) for j in range(201 - i)]) / 200
    for _ in range(20):
        root = rng.normal(size=(3, 3))
        m = root @ root.T
        x = simplex(m)
        assert x.min() >= 0 and x.sum() == pytest.approx(1)
        assert x @ m @ x <= ((grid @ m) * grid).sum(1).min() + 1e-9
    np.testing.assert_allclose(simplex(np.diag([1.0, 3.0])), [0.75, 0.25], atol=1e-9)


def test_magic_charges_bias_and_takes_covariance_of_estimates() -> None:
    """A wildly wrong Q̂ gets no weight; an exact one nearly all."""
    data = log(2_000, noise=0.0)
    place = data.steps.context[:, 0].astype(int)
    from understudy.testing.chain import exact_q

    pi = TARGET.probs(data.steps.context)
    wrong = weigh(data.steps, pi, np.full((data.steps.n, 2), 30.0), 0.9)
    right = weigh(data.steps, pi, exact_q(TARGET)[place], 0.9)
    far = estimate({"new": wrong}, ["magic"])[0]
    near = estimate({"new": right}, ["magic", "wdr"])
    assert abs(far.value - exact_value(TARGET)) < 0.3 and "0 % of the weight" in " ".join(far.notes)
    assert abs(near[0].value - exact_value(TARGET)) < 0.02


def test_selection_takes_the_highest_lower_bound_and_counts_its_luck() -> None:
    """Not the highest value; and the bound that survives choosing among three."""

    def made(target, value, error, low, estimator="sdr"):
        return Estimate(
            target=target, estimator=estimator, value=value, std_error=error, low=low,
            high=None if low is None else 2 * value - low, level=0.95, method="jackknife", n_episodes=100, n_units=100,
            ess=100, max_weight_share=0.0, matched=100,
        )  # fmt: skip

    three = [made("a", 1.0, 0.1, 0.8), made("b", 1.2, 0.4, 0.4), made("c", 0.5, 0.1, 0.3), made("d", 9.0, None, None)]
    choice = select(three)
    assert (choice.chosen, choice.rule, choice.ranking) == ("a", "lower bound", ("a", "b", "c", "d"))
    assert choice.low_corrected is not None and choice.low_corrected < 0.8
    assert any("gate slice must judge" in note for note in choice.notes)
    assert select([made("x", 2.0, None, None, "fqe"), made("y", 3.0, None, None, "fqe")]).rule == "value"
    with pytest.raises(EvidenceError, match="no candidate"):
        select([made("x", 2.0, None, None, "tis")])


def test_optimism_is_the_mean_of_the_largest_error() -> None:
    """E max of k standard normals: 1/√π of two, 0.8463 of three; none of one."""
    assert optimism([1.0]) == 0.0
    assert optimism([1.0, 1.0]) == pytest.approx(1 / np.sqrt(np.pi), abs=1e-6)
    assert optimism([2.0, 2.0, 2.0]) == pytest.approx(2 * 0.8462843753, abs=1e-5)


def test_rank_correlation_and_regret_by_hand() -> None:
    """Four candidates, one swap; and the best found only among the first two."""
    truth = {"a": 4.0, "b": 3.0, "c": 2.0, "d": -1.0}
    guess = {"a": 2.0, "b": 3.0, "c": 1.0, "d": 0.0}
    assert rank_correlation(guess, truth) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert (regret(guess, truth), regret(guess, truth, 2)) == (1.0, 0.0)
    assert regret(guess, truth, relative=True) == pytest.approx(0.25)
    assert rank_correlation({"a": 1, "b": 1, "c": 0, "d": 0}, {"a": 2, "b": 2, "c": 1, "d": 1}) == pytest.approx(1.0)
    with pytest.raises(ConfigError):
        regret(guess, {"a": 1.0})


def test_a_clean_log_of_episodes_raises_no_finding() -> None:
    """Audits made for bandits do not misfire on three seeds of a chain (each at most 1 % by chance)."""
    for seed in range(3):
        assert audit(log(1_500, seed)) == ()


def test_heavily_unequal_lengths() -> None:
    """One episode of 4,000 steps beside 300 of one: the mean return of the log under its own policy."""
    size = np.ones(300, int)
    size[0] = 4_000
    starts = np.concatenate([[0], np.cumsum(size)])
    n, last = int(starts[-1]), starts[1:] - 1
    rng = np.random.default_rng(0)
    over = np.zeros(n, bool)
    over[last] = True
    steps = Steps(
        starts=starts, unit=np.arange(300, dtype=np.uint64), time=np.arange(n), context=np.zeros((n, 1), np.float32),
        action=rng.integers(0, 2, n).astype(np.int32), reward=rng.random(n), terminated=over,
        truncated=np.zeros(n, bool), propensity=np.full(n, 0.5),
    )  # fmt: skip
    data = MemoryDataset(chain_problem(0.99), steps)
    found = by_name(evaluate(data, {"new": BEHAVIOR}, ("cwpdis", "wdr", "pdis")))
    mean = returns.totals(steps, 0.99).mean()
    assert found["cwpdis"].value == pytest.approx(mean) and found["pdis"].value == pytest.approx(mean)
