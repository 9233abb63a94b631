"""Learners of policies: each finds what there is to find in a world whose truth is known, and says what it lacks."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.problem import ActionSpace, Problem
from understudy.core.registry import find
from understudy.data.dataset import MemoryDataset
from understudy.envs.bandit import bandit, behavior
from understudy.envs.classification import classification
from understudy.envs.rollout import rollout
from understudy.learners import LEARNERS
from understudy.learners.bag import Bagging
from understudy.learners.direct import Direct
from understudy.learners.dr import DoublyRobust
from understudy.learners.fixed import FixedLearner
from understudy.learners.floor import Floor
from understudy.learners.ipw import IPW
from understudy.learners.uniform import UniformLearner
from understudy.models.policies import Uniform
from understudy.testing import check_learner
from understudy.testing.conformance_learner import PLAIN, LoggedSteps, example_log

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3_000, 4))
ENV = classification(X, X[:, :3].argmax(1), noise=0.1)  # the best policy is worth .9, uniform 1/3·.9 + 2/3·.1 = .367
DATA = MemoryDataset(ENV.problem, rollout(ENV, behavior(ENV, overlap=0.4), 3_000, seed=1))

GOOD = [
    ("direct", {"model": "ridge"}, 0.80),
    ("direct", {"model": "logistic"}, 0.84),
    ("direct", {"model": "trees"}, 0.80),
    ("direct", {"model": "forest", "options": {"min_leaf": 5}}, 0.80),
    ("ipw", {}, 0.82),
    ("ipw", {"classifier": "forest", "options": {"min_leaf": 5}}, 0.75),
    ("dr", {}, 0.80),
    ("dr", {"model": "logistic", "final": "trees"}, 0.75),
    ("lin_ucb", {"alpha": 0.1}, 0.80),
    ("lin_ts", {"scale": 0.1}, 0.75),
    ("bag", {"model": "logistic"}, 0.80),
]


@pytest.mark.parametrize(("name", "options", "least"), GOOD, ids=lambda v: str(v))
def test_each_learner_finds_most_of_what_there_is(name: str, options: dict, least: float) -> None:
    """3,000 decisions logged by a lopsided policy worth about .4, rewards flipped one time in ten; the best is .9."""
    policy = find("learners", name)(**options).fit(DATA, seed=0)
    assert ENV.true_value(policy) > least


def test_uniform_and_fixed() -> None:
    """The two policies that need no learning have the values that can be written down."""
    assert ENV.true_value(UniformLearner().fit(DATA, seed=0)) == pytest.approx(0.1 + 0.8 / 3, abs=1e-9)
    shares = np.bincount(X[:, :3].argmax(1)) / 3_000
    for a in range(3):
        assert ENV.true_value(FixedLearner(str(a)).fit(DATA, seed=0)) == pytest.approx(0.1 + 0.8 * shares[a], abs=1e-9)


def test_fixed_finds_the_action_that_pays_best() -> None:
    """By weighted means, which a lopsided log does not mislead; and names the nearest action if one is misspelt."""
    env = bandit(k=3, noise=0.0, seed=4)
    data = MemoryDataset(env.problem, rollout(env, behavior(env, overlap=0.2), 20_000, seed=0))
    assert FixedLearner().fit(data, seed=0).action == env.means.mean(0).argmax()
    with pytest.raises(ConfigError, match="unknown action 'a9'"):
        FixedLearner("a9").fit(data, seed=0)


def test_ipw_does_not_depend_on_where_the_range_starts() -> None:
    """Rewards and their range moved by 5: the same policy, because rewards count from the bottom of the range."""
    log = example_log(PLAIN, 300, 1)
    import msgspec

    moved = LoggedSteps(
        msgspec.structs.replace(PLAIN, reward_range=(5.0, 6.0)), log.steps.with_(reward=log.steps.reward + 5)
    )
    p = IPW(explore="sample").fit(log, seed=0).probs(log.steps.context)
    np.testing.assert_allclose(IPW(explore="sample").fit(moved, seed=0).probs(log.steps.context), p, atol=1e-6)


def test_ipw_undoes_the_logging_policy() -> None:
    """No context: the policy that maximises Σ r/p picks the better action although the log took it one time in ten."""
    rng = np.random.default_rng(0)
    n = 4_000
    log = example_log(PLAIN, n, 1)
    action = (rng.random(n) < 0.1).astype(np.int32)
    reward = (rng.random(n) < np.where(action == 1, 0.9, 0.5)).astype(float)
    steps = log.steps.with_(action=action, reward=reward, propensity=np.where(action == 1, 0.1, 0.9), propensities=None)
    p = IPW().fit(LoggedSteps(PLAIN, steps), seed=0).probs(steps.context)
    assert p[:, 1].mean() > 0.95


@pytest.mark.parametrize("learner", [IPW(), DoublyRobust()], ids=["ipw", "dr"])
def test_a_log_without_propensities_is_refused_by_who_needs_them(learner) -> None:
    """With what would go wrong, and what to do instead."""
    log = example_log(PLAIN, 50, 1)
    with pytest.raises(EvidenceError, match="no propensities"):
        learner.fit(LoggedSteps(PLAIN, log.steps.with_(propensity=None)), seed=0)
    Direct().fit(LoggedSteps(PLAIN, log.steps.with_(propensity=None)), seed=0)


def test_ipw_of_nothing_good_is_refused() -> None:
    """All rewards at the bottom of the range: there is nobody to imitate."""
    log = example_log(PLAIN, 50, 1)
    with pytest.raises(EvidenceError, match="no reward"):
        IPW().fit(LoggedSteps(PLAIN, log.steps.with_(reward=np.zeros(50))), seed=0)


def test_dr_scores_are_unbiased_where_the_model_is_wrong() -> None:
    """The mean score of every action equals its true value, although Q̂ knows nothing of what pays.

    Means of 20,000 scores; each is allowed 5 standard errors: a false alarm has chance 2e-6 over three actions.
    """
    n = 20_000
    log = rollout(ENV, behavior(ENV, overlap=0.5), n, seed=3)
    learner = DoublyRobust(model="ridge", options={"penalty": 1e9})
    q = learner._cross_fit(log, ENV.problem, 0)
    scores = q.copy()
    rows = np.arange(n)
    scores[rows, log.action] += (log.reward - q[rows, log.action]) / log.propensity
    error = scores.std(0) / np.sqrt(n)
    assert (np.abs(scores.mean(0) - ENV.means.mean(0)) < 5 * error).all()


def test_dr_never_judges_a_unit_by_a_model_that_saw_it() -> None:
    """Change one unit's rewards: the predictions for that unit stay as they were."""
    log = rollout(ENV, Uniform(3), 600, seed=3, units=60)
    own = log.unit == log.unit[0]
    changed = log.with_(reward=np.where(own, 1 - log.reward, log.reward))
    before = DoublyRobust()._cross_fit(log, ENV.problem, 0)
    after = DoublyRobust()._cross_fit(changed, ENV.problem, 0)
    np.testing.assert_array_equal(after[own], before[own])
    assert (after != before).any()


def test_floor_is_a_floor() -> None:
    """Whatever the base learned, ε/K of every action; the rest is the base's."""
    base = Direct().fit(DATA, seed=0).probs(ENV.context)
    p = Floor(base="direct", epsilon=0.3).fit(DATA, seed=0).probs(ENV.context)
    np.testing.assert_allclose(p, 0.1 + 0.7 * base, atol=1e-12)
    with pytest.raises(ConfigError, match="floor over direct"):
        Floor(options={"amount": "much"}).fit(DATA, seed=0)


def test_bagging_disagrees_where_it_does_not_know() -> None:
    """Fifty decisions leave doubt, three thousand little: the most probable action gains probability."""
    few = MemoryDataset(ENV.problem, rollout(ENV, Uniform(3), 50, seed=2))
    sure = [Bagging(size=20, epsilon=0.0).fit(d, seed=0).probs(ENV.context).max(1).mean() for d in (few, DATA)]
    assert sure[0] < 0.9 < sure[1]


def test_exploration_settles_as_decisions_accumulate() -> None:
    """γ = 10·√3000 for SquareCB; ε = 3000^(−1/3) for ε-greedy; both in the policy, to be read."""
    assert Direct(explore="squarecb", amount=10.0, growth=0.5).fit(DATA, seed=0).amount == pytest.approx(
        10 * 3_000**0.5
    )
    epsilon = Direct(explore="epsilon_greedy", amount=1.0, growth=-1 / 3).fit(DATA, seed=0).amount
    assert epsilon == pytest.approx(3_000 ** (-1 / 3))


BOXED = {  # learn in a box, too
    "average_ac", "awac", "bc", "cql", "crr", "greedy_ac", "iql", "ppo", "reinforce", "sac", "tawac", "td3", "td3_bc",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(LEARNERS) - BOXED))
def test_continuous_actions_are_refused_by_name(name: str) -> None:
    """Every other learner chooses among named actions, and says so instead of failing somewhere inside."""
    problem = Problem(features=PLAIN.features, actions=ActionSpace(low=(0.0,), high=(1.0,)))
    steps = example_log(PLAIN, 20, 1).steps
    data = LoggedSteps(problem, steps.with_(action=np.zeros((20, 1), np.float32), propensities=None))
    with pytest.raises(ConfigError, match="continuous"):
        find("learners", name)().fit(data, seed=0)


def test_the_suite_catches_a_learner_without_a_seed() -> None:
    """A learner that is different every time fails the conformance suite."""
    from dataclasses import dataclass

    from understudy.models.fitting import discrete
    from understudy.models.policies import Fixed

    state = {"turn": 0}

    @dataclass(frozen=True)
    class Moody:
        def fit(self, data, *, seed, progress=None):
            state["turn"] += 1
            k = discrete(data.problem, "moody")
            return Fixed(k, state["turn"] % k)

    with pytest.raises(AssertionError, match="equal data and seed"):
        check_learner(Moody())  # type: ignore[arg-type]
