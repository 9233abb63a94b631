"""The public loop: what it answers, what it refuses with a reason, and what it will not do at all."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, EvidenceError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import Origin, Steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.conclude import MIN_ESS, MIN_MATCHED
from understudy.ope.crossfit import CrossFit, crossfit
from understudy.ope.evaluate import estimate, evaluate
from understudy.ope.evidence import from_arrays, point_values, stream
from understudy.ope.naming import label, named, parse
from understudy.ope.segments import By
from understudy.testing.cast import MEANS, TINY, Table, tiny_bandit, true_value

BEHAVIOR = Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)))
BETTER = Table(((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)))


@dataclass(frozen=True)
class TableFit:
    """A regressor: the mean reward of each (context, action), 0.5 where none was seen."""

    def fit(self, steps: Steps, problem, *, seed, weight=None):
        x, a = steps.context[:, 0].astype(int), steps.action
        table = np.full((2, 3), 0.5)
        for i in range(2):
            for j in range(3):
                here = (x == i) & (a == j)
                table[i, j] = steps.reward[here].mean() if here.any() else 0.5
        return Fitted(table)


@dataclass(frozen=True)
class Fitted:
    table: np.ndarray

    def values(self, context: np.ndarray) -> np.ndarray:
        return self.table[context[:, 0].astype(int)]

    def state(self) -> State:
        return State("fitted")


def log(n: int, seed: int = 1, behavior: Table = BEHAVIOR) -> MemoryDataset:
    return MemoryDataset(TINY, tiny_bandit(behavior, n, seed))


def only(estimates, **wanted):
    """The single estimate with these fields."""
    found = [e for e in estimates if all(getattr(e, name) == value for name, value in wanted.items())]
    assert len(found) == 1, (wanted, [(e.target, e.estimator, e.segment) for e in estimates])
    return found[0]


@pytest.mark.parametrize("method", ["jackknife", "bootstrap", "studentised"])
def test_every_estimator_finds_the_truth_within_five_standard_errors(method: str) -> None:
    """Unbiased and consistent estimators on 8,000 rows of a bandit whose value is known by hand."""
    found = evaluate(log(8_000), {"new": BETTER}, ["ips", "snips", "dr", "sndr"], q=TableFit(), method=method)
    assert [e.estimator for e in found] == ["ips", "snips", "dr", "sndr"]
    for e in found:
        assert e.low < e.value < e.high and e.method == method and e.n_units == 8_000
        assert abs(e.value - true_value(BETTER)) < 5 * e.std_error


def test_the_logged_policy_is_worth_its_mean_reward_and_pairs_with_targets() -> None:
    """against="logged" adds the behavior policy and the paired difference, whose error is below the unpaired one."""
    data = log(5_000)
    found = evaluate(data, {"new": BETTER}, ["snips", "dr"], q=TableFit(), against="logged")
    for name in ("snips", "dr"):
        new, old = only(found, target="new", estimator=name), only(found, target="logged", estimator=name)
        lift = only(found, target="new - logged", estimator=name)
        assert old.value == pytest.approx(data.steps.reward.mean(), abs=1e-12) and old.ess == pytest.approx(5_000)
        assert lift.value == pytest.approx(new.value - old.value, abs=1e-12)
        assert lift.std_error < np.hypot(new.std_error, old.std_error)


def test_batches_do_not_change_the_answer() -> None:
    """A dataset that hands out its steps 300 at a time gives the estimates of the whole, to rounding."""
    data = log(2_000)

    @dataclass(frozen=True)
    class Slow(MemoryDataset):
        def scan(self, max_steps: int = 65_536):
            return super().scan(300)

    arguments = ({"new": BETTER}, ["ips", "dr", "switch", "replay"])
    whole = evaluate(data, *arguments, q=TableFit(), against="logged", by="x")
    parts = evaluate(Slow(TINY, data.steps), *arguments, q=TableFit(), against="logged", by="x")
    assert len(whole) == len(parts) > 12
    for a, b in zip(whole, parts):
        assert (a.target, a.estimator, a.segment, a.matched, a.notes) == (
            b.target,
            b.estimator,
            b.segment,
            b.matched,
            b.notes,
        )
        for field in ("value", "std_error", "low", "high", "ess", "max_weight_share"):
            assert getattr(a, field) == pytest.approx(getattr(b, field), abs=1e-9)


def test_a_model_never_judges_the_units_that_trained_it() -> None:
    """Rows of a fold get the values of the model fitted on all other folds: changing their rewards changes nothing."""
    steps = tiny_bandit(BEHAVIOR, 300, 3).with_(unit=np.repeat(np.arange(100, dtype=np.uint64), 3))
    first = crossfit(steps, TINY, TableFit(), 4, seed=0)
    values = first.values(steps)
    mine = first.values(steps) == first.models[0].values(steps.context)
    fold = np.flatnonzero(mine.all(1) & ~(values == first.models[1].values(steps.context)).all(1))
    assert len(fold) > 20
    spoiled = steps.reward.copy()
    spoiled[fold] = 77.0
    again = crossfit(steps.with_(reward=spoiled), TINY, TableFit(), 4, seed=0).values(steps)
    np.testing.assert_array_equal(again[fold], values[fold])
    assert not np.array_equal(again, values)
    for unit in np.unique(steps.unit):
        assert len(np.unique(np.isin(np.flatnonzero(steps.unit == unit), fold))) == 1


def test_a_fitted_model_is_used_as_it_is() -> None:
    """With q a ValueModel nothing is fitted: DM is the hand-computed Σ π q̂."""
    data = log(500)
    found = only(evaluate(data, {"new": BETTER}, ["dm"], q=Fitted(MEANS)), estimator="dm")
    x = data.steps.context[:, 0].astype(int)
    assert found.value == pytest.approx((np.asarray(BETTER.rows) * MEANS).sum(1)[x].mean(), abs=1e-12)
    assert any("training noise" in note for note in found.notes)
    assert CrossFit((Fitted(MEANS),), 0).values(data.steps).shape == (500, 3)


def test_segments_by_number_category_and_missing_values() -> None:
    """Edges cut where declared; segments add up to everybody; categories by value; missing values on their own."""
    data = log(4_000)
    found = evaluate(data, {"new": BETTER}, ["ips"], by=By("x", (0.5,)))
    low, high = only(found, segment="x=(-inf, 0.5)"), only(found, segment="x=[0.5, inf)")
    everybody = only(found, segment="")
    assert low.n_episodes + high.n_episodes == 4_000
    total = low.value * low.n_episodes + high.value * high.n_episodes
    assert total / 4_000 == pytest.approx(everybody.value, abs=1e-12)

    place = Feature(name="place", kind="category", values=("home", "work"), open=True)
    problem = Problem(features=(Feature(name="x"), place), actions=TINY.actions)
    code = np.random.default_rng(2).integers(0, 3, 4_000).astype(np.float32)
    code[:50] = np.nan
    steps = data.steps.with_(context=np.column_stack([data.steps.context, code]))
    found = evaluate(MemoryDataset(problem, steps), {"new": BETTER}, ["ips"], by="place")
    labels = ["place=home", "place=work", "place=other", "place=missing"]
    assert [e.segment for e in found] == ["", *labels] and only(found, segment="place=missing").n_episodes == 50
    with pytest.raises(ConfigError, match="unknown feature"):
        evaluate(data, {"new": BETTER}, ["ips"], by="y")
    with pytest.raises(ConfigError, match="increase"):
        evaluate(data, {"new": BETTER}, ["ips"], by=By("x", (2.0, 1.0)))


def test_too_small_an_effective_sample_is_refused_with_its_figures() -> None:
    """Below ESS 200 an asymptotic interval is None, and the note says ESS, n and the heaviest row."""
    assert (MIN_ESS, MIN_MATCHED) == (200, 30)
    far = Table(((0.01, 0.01, 0.98), (0.98, 0.01, 0.01)))
    found = only(evaluate(log(150), {"far": far}, ["snips"]), estimator="snips")
    assert found.refused and found.low is None and found.high is None and found.std_error is None
    assert any("effective sample size" in note and "of 150" in note and "heaviest row" in note for note in found.notes)


def test_rare_rewards_are_refused() -> None:
    """Fewer than ten rows whose reward is not the most common one cannot carry an asymptotic interval."""
    steps = tiny_bandit(BEHAVIOR, 3_000, 4)
    reward = np.zeros(3_000)
    reward[:9] = 1.0
    found = evaluate(MemoryDataset(TINY, steps.with_(reward=reward)), {"new": BETTER}, ["snips"])
    assert found[0].refused and any("9 weighted rows" in note for note in found[0].notes)


def test_actions_that_the_log_cannot_take_are_refused() -> None:
    """A target with probability where the logged propensity is 0 has no interval; nor one on actions never seen."""
    never = Table(((0.6, 0.4, 0.0), (0.4, 0.6, 0.0)))
    data = log(4_000, behavior=never)
    uniform = Table(((1 / 3, 1 / 3, 1 / 3), (1 / 3, 1 / 3, 1 / 3)))
    by_propensities = evaluate(data, {"uniform": uniform}, ["snips"])[0]
    by_counts = evaluate(MemoryDataset(TINY, data.steps.with_(propensities=None)), {"uniform": uniform}, ["snips"])[0]
    for found in (by_propensities, by_counts):
        assert found.refused and any("33 %" in note and "never takes" in note for note in found.notes)
    inside = evaluate(data, {"inside": Table(((0.5, 0.5, 0), (0.5, 0.5, 0)))}, ["snips"])[0]
    assert not inside.refused


def test_heavy_weights_that_the_log_may_have_missed_are_refused() -> None:
    """ε = .001 and a target that wants a little of everything: the log looks harmless, what it could hold does not."""
    careful = Table(((0.998, 0.001, 0.001), (0.001, 0.001, 0.998)))
    bit = Table(tuple(tuple(0.9 * p + 0.1 / 3 for p in row) for row in careful.rows))  # type: ignore[arg-type]
    data = log(2_000, behavior=careful)
    seen = evaluate(data, {"bit": bit}, ["snips"])[0]
    assert seen.ess > 200 and seen.refused and any("missed its heaviest weights" in note for note in seen.notes)
    # By hand: b = (.998, .001, .001), π = .9 b + 1/30; expected = n (Σ π²/b)² / Σ π⁴/b³ / max(κ, 1).
    b = np.array([0.998, 0.001, 0.001])
    pi = 0.9 * b + 1 / 30
    r = data.steps.reward
    flat = ((r - r.mean()) ** 4).mean() / r.var() ** 2
    expected = 2_000 * (pi**2 / b).sum() ** 2 / (pi**4 / b**3).sum() / max(flat, 1.0)
    assert any(f"{expected:.1f} large contributions" in note for note in seen.notes)
    lift = only(evaluate(data, {"bit": bit}, ["snips"], against="logged"), target="bit - logged")
    assert any("missed its heaviest weights" in note for note in lift.notes)


def test_a_target_without_any_overlap_is_an_error() -> None:
    """Where the log never did what the target does, there is no estimate to report."""
    data = log(300, behavior=Table(((1.0, 0, 0), (1.0, 0, 0))))
    with pytest.raises(EvidenceError, match="none of the logged actions"):
        evaluate(data, {"other": Table(((0, 1.0, 0), (0, 0, 1.0)))}, ["snips"])


def test_missing_propensities_are_an_error_unless_estimates_are_asked_for() -> None:
    """No propensities: an error that names the way out; with "estimate" the notes say so; DM knows no overlap."""
    data = log(1_500)
    bare = MemoryDataset(TINY, data.steps.with_(propensity=None, propensities=None))
    with pytest.raises(EvidenceError, match="propensity") as caught:
        evaluate(bare, {"new": BETTER}, ["snips"])
    assert 'propensity="estimate"' in str(caught.value)
    found = evaluate(bare, {"new": BETTER}, ["snips"], propensity="estimate")[0]
    assert any("estimated propensities" in note for note in found.notes)
    assert abs(found.value - true_value(BETTER)) < 0.1
    betting = evaluate(bare, {"new": BETTER}, ["ips"], propensity="estimate", method="betting")[0]
    assert betting.refused and any("no bound on them is exact" in note for note in betting.notes)
    model_only = evaluate(bare, {"new": BETTER}, ["dm"], q=TableFit())[0]
    assert model_only.refused and any("no propensities" in note for note in model_only.notes)


def test_replay_is_refused_where_logging_was_not_uniform() -> None:
    """Replay answers under uniform logging only; elsewhere the value stands without an interval and says why."""
    uniform = Table(((1 / 3, 1 / 3, 1 / 3), (1 / 3, 1 / 3, 1 / 3)))
    greedy = Table(((1.0, 0, 0), (0, 0, 1.0)))
    good = evaluate(log(3_000, behavior=uniform), {"greedy": greedy}, ["replay"])[0]
    assert not good.refused and abs(good.value - 0.75) < 5 * good.std_error
    bad = evaluate(log(3_000), {"greedy": greedy}, ["replay"])[0]
    assert bad.refused and any("uniformly random" in note for note in bad.notes)


@pytest.mark.parametrize("method", ["betting", "empirical_bernstein"])
def test_exact_bounds_contain_the_truth_and_the_asymptotic_interval(method: str) -> None:
    """Finite-sample bounds are wider, on both sides, for targets and for differences; other estimators are refused."""
    data = log(6_000)
    names = ["clipped_ips(clip=4)", "snips"]
    exact = evaluate(data, {"new": BETTER}, names, against="logged", method=method)
    usual = evaluate(data, {"new": BETTER}, names, against="logged")
    truth = {"new": true_value(BETTER), "new - logged": true_value(BETTER) - true_value(BEHAVIOR)}
    for target, value in truth.items():
        a = only(exact, target=target, estimator="clipped_ips(clip=4.0)")
        b = only(usual, target=target, estimator="clipped_ips(clip=4.0)")
        assert a.low < b.low < value < b.high < a.high and a.std_error is None
        assert only(exact, target=target, estimator="snips").refused
    clustered = data.steps.with_(unit=data.steps.unit // np.uint64(2))
    refused = evaluate(MemoryDataset(TINY, clustered), {"new": BETTER}, names, method=method)[0]
    assert refused.refused and any("not independent" in note for note in refused.notes)


def test_empirical_bernstein_needs_a_declared_largest_weight() -> None:
    """Unclipped IPS has no declared range, so the bound is refused and the cure named."""
    found = evaluate(log(1_000), {"new": BETTER}, ["ips"], method="empirical_bernstein")[0]
    assert found.refused and any("use clipped_ips" in note for note in found.notes)


def test_the_threshold_of_switch_is_chosen_and_said() -> None:
    """With a perfect model and heavy weights a finite τ wins; its value is that of SWITCH-DR at the τ in the notes."""
    rare = Table(((0.01, 0.495, 0.495), (0.495, 0.495, 0.01)))
    data = log(3_000, behavior=rare)
    found = evaluate(data, {"new": BETTER}, ["switch"], q=Fitted(MEANS))[0]
    note = next(note for note in found.notes if note.startswith("tau = "))
    tau = float(note.split()[2].rstrip(","))
    fixed = evaluate(data, {"new": BETTER}, [f"switch_dr(tau={tau})"], q=Fitted(MEANS))[0]
    assert 1 <= tau < 1000 and found.value == pytest.approx(fixed.value, abs=1e-12)


def test_training_rows_are_refused() -> None:
    """A policy trained on a row of the log may not be judged by it; without decision ids nobody can tell."""
    steps = tiny_bandit(BEHAVIOR, 100, 6)
    ids = np.arange(100, dtype=np.uint64) + np.uint64(1_000)
    origin = Origin(ids, np.zeros(100, np.uint64), np.zeros(100), np.ones(100, np.int32))
    data = MemoryDataset(TINY, steps.with_(origin=origin))
    with pytest.raises(DataError, match="trained on 2 of 100"):
        evaluate(data, {"new": BETTER}, ["ips"], trained_on={"new": np.array([1_003, 1_050, 5], np.uint64)})
    assert evaluate(data, {"new": BETTER}, ["ips"], trained_on={"new": np.array([5], np.uint64)})
    with pytest.raises(DataError, match="no decision ids"):
        evaluate(log(100), {"new": BETTER}, ["ips"], trained_on={"new": ids})


def test_fewer_than_two_units_is_an_error() -> None:
    """A log of one user says nothing about users."""
    steps = tiny_bandit(BEHAVIOR, 50, 7).with_(unit=np.full(50, 3, np.uint64))
    with pytest.raises(EvidenceError, match="1 independent unit"):
        evaluate(MemoryDataset(TINY, steps), {"new": BETTER}, ["ips"])


def test_an_empty_log_is_an_error() -> None:
    """Nothing can be estimated from nothing."""
    none = tiny_bandit(BEHAVIOR, 5, 1).episodes(np.zeros(5, bool))
    with pytest.raises(EvidenceError, match="empty"):
        evaluate(MemoryDataset(TINY, none), {"new": BETTER}, ["ips"])


@pytest.mark.parametrize("name", ["ips", "clipped_ips", "snips", "dm", "dr", "sndr", "switch_dr", "switch", "dros",
                                  "sg_ips", "sg_dr", "replay"])  # fmt: skip
def test_longer_episodes_are_refused_by_one_step_estimators(name: str) -> None:
    """Two-step episodes would be misread, so they are an error that says how many there are."""
    steps = tiny_bandit(BEHAVIOR, 60, 8)
    long = replace(steps, starts=np.arange(0, 61, 2), unit=steps.unit[:30])
    with pytest.raises(EvidenceError, match="30 of 30 episodes have more than one step"):
        evaluate(MemoryDataset(TINY, long), {"new": BETTER}, [name], q=Fitted(MEANS))


def test_targets_that_are_no_policies_are_refused() -> None:
    """Probabilities that do not sum to 1, or are negative, are an error naming the first row."""
    for rows in (((0.5, 0.3, 0.1), (0.2, 0.3, 0.5)), ((1.2, -0.2, 0.0), (0.2, 0.3, 0.5))):
        with pytest.raises(DataError, match="no probabilities; first: row"):
            evaluate(log(50), {"bad": Table(rows)}, ["ips"])


def test_names_are_checked() -> None:
    """Unknown methods, estimators, settings, targets and duplicates say the nearest valid name."""
    data, targets = log(50), {"new": BETTER}
    wrong = [
        ({"method": "jacknife"}, ["ips"], "jackknife"),
        ({}, ["snip"], "snips"),
        ({}, ["dr(clp=2)"], "clip"),
        ({"against": "nww"}, ["ips"], "new"),
        ({}, ["ips", "ips"], "stands twice"),
        ({}, ["dr(clip=-1)"], "above 0"),
        ({}, ["sg_ips(lam=1)"], r"\[0, 1\)"),
        ({"level": 1.0}, ["ips"], "level"),
        ({"blocks": 1}, ["ips"], "blocks"),
        ({"q": None}, ["dr"], "q is None"),
        ({"propensity": "guess"}, ["ips"], "estimate"),
        ({}, [], "list of estimators"),
    ]
    for settings, names, hint in wrong:
        with pytest.raises(ConfigError, match=hint) as caught:
            evaluate(data, targets, names, **settings)
        assert caught.value.kind == "config"
    with pytest.raises(ConfigError, match="no policy"):
        evaluate(data, {"new": None}, ["ips"])


def test_names_of_estimators_round_trip() -> None:
    """parse(label(e)) is e, for defaults and for changed settings."""
    for text in ("ips", "dr(clip=2)", "switch_dr(tau=inf)", "dros(lam=0.5)"):
        made = parse(text)
        assert parse(label(made)) == made
    assert [name for name, _ in named(["dr", "dr(clip=inf)", "dr(clip=3)"][1:])] == ["dr", "dr(clip=3.0)"]


def test_clusters_widen_the_standard_error() -> None:
    """Ten identical events per user: the error is √10 times that of pretending they were independent."""
    base = tiny_bandit(BEHAVIOR, 2_000, 9)
    ten = {n: np.repeat(getattr(base, n), 10, axis=0) for n in ("action", "reward", "propensity")}
    probs = np.repeat(BETTER.probs(base.context), 10, axis=0)
    naive = estimate({"new": from_arrays(**ten, probs=probs)}, ["ips"])[0]
    users = np.repeat(np.arange(2_000, dtype=np.uint64), 10)
    honest = estimate({"new": from_arrays(**ten, probs=probs, unit=users)}, ["ips"])[0]
    assert honest.n_units == 2_000 and honest.ess == pytest.approx(naive.ess / 10)
    assert honest.std_error / naive.std_error == pytest.approx(np.sqrt(10), rel=0.25)


def test_pieces_of_arrays_give_the_whole() -> None:
    """Point values from a stream of pieces equal those from one piece of evidence."""
    rng = np.random.default_rng(11)
    n = 40_000
    probs, action = rng.dirichlet(np.ones(3), n), rng.integers(0, 3, n)
    columns = (action, rng.random(n), np.full(n, 1 / 3), probs, rng.random((n, 3)))
    many = dict(named(["ips", "snips", "dr", "switch", "replay"]))
    whole, pieces = point_values(from_arrays(*columns), many), point_values(stream(*columns), many)
    for name in many:
        assert pieces[name] == pytest.approx(whole[name], abs=1e-12)
    top = probs.max(1, keepdims=True) == np.take_along_axis(probs, action[:, None], 1)
    np.testing.assert_array_equal(from_arrays(*columns).match, top[:, 0])


def test_arrays_that_do_not_fit_are_refused() -> None:
    """Wrong lengths, actions outside the set and propensities of 0 or NaN are errors that name the first row."""
    probs = np.full((4, 2), 0.5)
    good = (np.array([0, 1, 0, 1]), np.ones(4), np.full(4, 0.5), probs)
    for at, bad, message in (
        (0, np.array([0, 1, 2, 1]), "indices in"), (2, np.array([0.5, 0.0, 0.5, 0.5]), "row 1, propensity 0.0"),
        (2, np.array([0.5, np.nan, 0.5, 0.5]), "row 1, propensity nan"), (2, np.ones(3), "shape"),
        (3, probs[:3], "shape"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            from_arrays(*good[:at], bad, *good[at + 1 :])
    with pytest.raises(DataError, match="q has shape"):
        from_arrays(*good, np.ones((4, 3)))


def test_memory_does_not_grow_with_the_log() -> None:
    """200,000 rows of 400 bytes, handed out 5,000 at a time: the peak stays below a fifth of the log."""
    import tracemalloc

    @dataclass(frozen=True)
    class Endless:
        problem: Problem = TINY
        fingerprint: str = ""
        n_steps: int = 200_000
        n_episodes: int = 200_000
        rules: None = None

        def scan(self, max_steps: int = 65_536):
            for i in range(40):
                steps = tiny_bandit(BEHAVIOR, 5_000, i)
                wide = np.repeat(steps.context, 100, axis=1)
                yield steps.with_(context=wide, unit=steps.unit + np.uint64(5_000 * i))

        def sample(self, size, rng):
            raise NotImplementedError

    tracemalloc.start()
    found = evaluate(Endless(), {"new": BETTER}, ["ips", "snips"])[0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.n_units == 200_000 and abs(found.value - true_value(BETTER)) < 5 * found.std_error
    assert peak < 200_000 * 400 / 5


def test_a_target_known_by_densities_only() -> None:
    """A policy over continuous actions is weighed by its density; a model of named actions is refused."""

    @dataclass(frozen=True)
    class Density:
        def prob(self, context, action, allowed=None):
            return np.where(action[:, 0] > 0.5, 2.0, 0.0)

        def act(self, context, rng, allowed=None):
            raise NotImplementedError

        def state(self):
            return State("density")

    rng = np.random.default_rng(12)
    action = rng.random((3_000, 1)).astype(np.float32)
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(low=(0.0,), high=(1.0,)))
    from understudy.core.steps import bandit_steps

    steps = bandit_steps(np.zeros((3_000, 1)), action, action[:, 0].astype(float), np.ones(3_000))
    data = MemoryDataset(problem, steps)
    found = evaluate(data, {"upper": Density()}, ["snips"])[0]
    assert abs(found.value - 0.75) < 5 * found.std_error and not found.refused
    with pytest.raises(ConfigError, match="cannot value continuous"):
        evaluate(data, {"upper": Density()}, ["dr"], q=Fitted(MEANS))


def test_exact_bounds_of_a_segment_use_its_rows_only() -> None:
    """The betting interval of a slice is that of a log holding just the slice."""
    data = log(2_000)
    sliced = evaluate(data, {"new": BETTER}, ["ips"], method="betting", by=By("x", (0.5,)))
    alone = evaluate(data.where(data.steps.context[:, 0] < 0.5), {"new": BETTER}, ["ips"], method="betting")
    here = only(sliced, segment="x=(-inf, 0.5)")
    assert (here.low, here.high) == pytest.approx((alone[0].low, alone[0].high), abs=1e-12)
