"""The marks on Statlog Shuttle that others have set, and ours. Skips visibly where the data are not at hand."""

from pathlib import Path

import numpy as np
import pytest

from understudy.core.registry import find
from understudy.core.steps import bandit_steps, concat
from understudy.data.dataset import MemoryDataset
from understudy.envs.population import Population
from understudy.envs.rollout import rollout
from understudy.envs.shuttle import shuttle
from understudy.models.policies import Uniform
from understudy.ope.audit import audit

FILE = Path(__file__).parents[2].parent / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"


@pytest.fixture(scope="module")
def env() -> Population:
    if not FILE.exists():
        pytest.skip(f"no file {FILE}")
    return shuttle(path=FILE)


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        ("direct", {"model": "forest"}, 0.99),
        ("direct", {"model": "trees", "options": {"rounds": 30}}, 0.97),
        ("direct", {"model": "logistic", "options": {"signed_log": True}}, 0.95),
        ("ipw", {"classifier": "forest"}, 0.99),
        ("ipw", {"options": {"signed_log": True}}, 0.97),
        ("dr", {"options": {"signed_log": True}, "final_options": {"signed_log": True}}, 0.94),
        ("lin_ucb", {"signed_log": True, "alpha": 0.1, "epsilon": 0.0}, 0.94),
    ],
    ids=str,
)
def test_what_7500_uniform_decisions_teach(env: Population, name: str, options: dict, least: float) -> None:
    """The exact value of the policy; always naming class 1 is worth .784, a forest with full labels .997."""
    data = MemoryDataset(env.problem, rollout(env, Uniform(7), 7_500, seed=0))
    assert env.true_value(find("learners", name)(**options).fit(data, seed=0)) > least


@pytest.mark.parametrize("n", [150, 500])
def test_an_honest_feature_of_a_short_log_is_no_leak(env: Population, n: int) -> None:
    """Sensor a1 alone explains 75 % of the reward; in a short log it looks like more, and nothing is wrong with it.

    Of 40 logs at most 2 may be called leaking; at a rate of .002 the chance of more is below 1e-4. With the rule of
    before, a share of .8 in the sample, it was every second log of 150 and every sixth of 500.
    """
    logs = [MemoryDataset(env.problem, rollout(env, Uniform(7), n, seed=seed)) for seed in range(40)]
    assert sum("reward_leak" in {finding.name for finding in audit(log)} for log in logs) <= 2


def test_the_batch_loop_beats_every_linear_mark(env: Population) -> None:
    """Batches of 500, the first uniform: the best of Vowpal Wabbit's batch settings earned .900 (last 1,000: .975)."""
    learner = find("learners", "lin_ucb")(alpha=0.1, epsilon=0.0, signed_log=True)
    parts = [rollout(env, Uniform(7), 500, seed=0)]
    for batch in range(1, 15):
        policy = learner.fit(MemoryDataset(env.problem, concat(parts)), seed=batch)
        parts.append(rollout(env, policy, 500, seed=batch))
    rewards = concat(parts).reward
    assert rewards.mean() > 0.90 and np.mean(rewards[-1_000:]) > 0.975


def test_the_neural_batch_loop_reaches_the_marks(env: Population) -> None:
    """Batches of 500, the first uniform: at least .925 in all and .988 over the last 1,000 (forest elsewhere: .923).

    Five seeds average .933 and .995, the least .932; a perfect learner would earn .943.
    """
    learner = find("learners", "neural")()
    parts = [rollout(env, Uniform(7), 500, seed=0)]
    for batch in range(1, 15):
        policy = learner.fit(MemoryDataset(env.problem, concat(parts)), seed=batch)
        parts.append(rollout(env, policy, 500, seed=batch))
    rewards = concat(parts).reward
    assert rewards.mean() >= 0.925 and np.mean(rewards[-1_000:]) >= 0.988


@pytest.mark.parametrize(("name", "least"), [("online_linear", 0.955), ("online_neural", 0.975)])
def test_learning_from_every_event_reaches_the_marks(env: Population, name: str, least: float) -> None:
    """A policy for each of 7,500 decisions, each learned from before the next is made."""
    learner, choices = find("learners", name)(), np.random.default_rng(1)
    view, learning = env.reset(np.random.default_rng(0), 1), find("learners", name)().init(env.problem, seed=0)
    earned = 0.0
    for _ in range(7_500):
        action, propensity = learner.policy(learning).act(view.context, choices)
        following, feedback = env.step(action)
        steps = bandit_steps(view.context, action, feedback.reward, propensity)
        learning, view = learner.update(learning, steps), following
        earned += float(feedback.reward[0])
    assert earned / 7_500 >= least
