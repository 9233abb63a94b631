"""A rollout is a log that keeps every rule of one."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.envs.bandit import bandit, behavior
from understudy.envs.rollout import BATCH, rollout
from understudy.models.policies import Fixed, Uniform


def test_it_logs_what_estimates_need() -> None:
    """Propensity of the action taken, of all actions, times in order, units, origin; across internal batches too."""
    env = bandit(blocked=0.3)
    policy = behavior(env, overlap=0.3)
    n = BATCH + 100
    log = rollout(env, policy, n, seed=5, start_time=1_000, interval=10, units=40, policy_id="p")
    assert (log.n, log.m) == (n, n) and log.starts.tolist() == list(range(n + 1))
    assert log.time.tolist() == list(range(1_000, 1_000 + 10 * n, 10))
    assert log.allowed is not None and log.allowed[np.arange(n), log.action].all()
    assert log.propensities is not None and log.propensity is not None and log.origin is not None
    np.testing.assert_allclose(log.propensities, policy.probs(log.context, log.allowed), atol=1e-12)
    assert (log.propensity == log.propensities[np.arange(n), log.action]).all() and (log.propensity > 0).all()
    assert len(np.unique(log.unit)) == 40 and len(np.unique(log.origin.decision)) == n
    assert len(np.unique(log.origin.policy)) == 1 and log.origin.policy[0] != 0


def test_one_seed_is_one_log_and_worlds_do_not_depend_on_the_policy() -> None:
    """Equal seeds, equal logs; another policy meets the same contexts; another seed does not."""
    env = bandit(rewards="exact")
    one, two = rollout(env, Uniform(5), 500, seed=1), rollout(env, Uniform(5), 500, seed=1)
    for name in ("context", "action", "reward", "propensity", "unit"):
        assert (getattr(one, name) == getattr(two, name)).all(), name
    assert (rollout(env, Fixed(5, 2), 500, seed=1).context == one.context).all()
    assert (rollout(env, Uniform(5), 500, seed=2).context != one.context).any()


def test_the_mean_reward_is_the_true_value() -> None:
    """50,000 decisions, 5 standard errors: a false alarm has chance 6e-7."""
    env = bandit(k=3)
    policy = behavior(env, overlap=0.5)
    log = rollout(env, policy, 50_000, seed=0)
    assert abs(log.reward.mean() - env.true_value(policy)) < 5 * log.reward.std() / np.sqrt(50_000)


def test_a_world_of_episodes_is_refused() -> None:
    """Until worlds of several steps are built, they are not pretended to be bandits."""

    class Long:
        problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), horizon=5)

        def reset(self, rng, w): ...

        def step(self, action): ...

    with pytest.raises(ConfigError, match="horizon"):
        rollout(Long(), Uniform(2), 10, seed=0)  # type: ignore[arg-type]
