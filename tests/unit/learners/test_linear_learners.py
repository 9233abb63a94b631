"""LinUCB and LinTS: sums that add up, forgetting that forgets, posteriors against their definition."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.steps import Steps, bandit_steps
from understudy.learners.lin_ts import LinTS
from understudy.learners.lin_ucb import LinUCB
from understudy.learners.linear import learn, nothing_learned, posterior
from understudy.models.feature_map import fit_feature_map
from understudy.testing.conformance_learner import PLAIN, LoggedSteps, example_log

LOG = example_log(PLAIN, 300, 11)
FEATURES = fit_feature_map(PLAIN, [LOG.steps])


def rows(steps: Steps, start: int, stop: int) -> Steps:
    index = np.arange(steps.m)
    return steps.episodes((index >= start) & (index < stop))


@pytest.mark.parametrize("forgetting", [1.0, 0.99, 0.5])
@pytest.mark.parametrize("cuts", [[300], [1] * 300, [7, 93, 150, 50]], ids=["batch", "online", "mixed"])
@pytest.mark.parametrize("shared", [False, True])
def test_batch_update_is_online_update(forgetting: float, cuts: list[int], shared: bool) -> None:
    """One by one, all at once, or in between: the same beliefs to 1e-9, with and without forgetting."""
    whole = nothing_learned(FEATURES, 3, forgetting).update(LOG.steps)
    parts, start = nothing_learned(FEATURES, 3, forgetting), 0
    for width in cuts:
        parts = parts.update(rows(LOG.steps, start, start + width))
        start += width
    one, two = posterior(whole, 1.0, shared), posterior(parts, 1.0, shared)
    np.testing.assert_allclose(two.mean, one.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.covariance(), one.covariance(), rtol=0, atol=1e-9)
    p = LinUCB(shared=shared).policy(whole).bounds(LOG.steps.context)
    np.testing.assert_allclose(LinUCB(shared=shared).policy(parts).bounds(LOG.steps.context), p, rtol=0, atol=1e-9)


def test_forgetting_weighs_by_age() -> None:
    """λ^age with the newest decision at age 0: the weighted sums written out."""
    learned = nothing_learned(FEATURES, 3, 0.9).update(LOG.steps)
    z = np.column_stack([FEATURES(LOG.steps.context), np.ones(300)]).astype(np.float64)
    weight = 0.9 ** np.arange(299, -1, -1.0)
    own = LOG.steps.action == 2
    np.testing.assert_allclose(learned.sums.gram[2], (z[own] * weight[own, None]).T @ z[own], atol=1e-9)
    np.testing.assert_allclose(learned.sums.cross[2], z[own].T @ (weight[own] * LOG.steps.reward[own]), atol=1e-9)


def test_forgetting_follows_a_world_that_changed() -> None:
    """What paid turns over at decision 1,200 of 2,000: who forgets acts by the new world, who does not by the old."""
    rng = np.random.default_rng(0)
    x, action = rng.choice([-1.0, 1.0], (2_000, 3)), rng.integers(0, 3, 2_000)
    pays = (x[:, 0] > 0) == (action == 0)
    reward = (pays == (np.arange(2_000) >= 1_200)).astype(float)
    log = LoggedSteps(PLAIN, bandit_steps(x, action, reward, np.full(2_000, 1 / 3)))
    earned = {}
    for forgetting in (1.0, 0.99):
        p = LinUCB(alpha=0.0, epsilon=0.0, forgetting=forgetting).fit(log, seed=0).probs(log.steps.context)
        earned[forgetting] = float(np.where(x[:, 0] > 0, p[:, 0], 1 - p[:, 0]).mean())
    assert earned[0.99] > 0.99 and earned[1.0] < 0.01


def test_the_disjoint_posterior_is_the_closed_form() -> None:
    """A⁻¹b and A⁻¹ per action, A = I·penalty + Σ zzᵀ."""
    belief = posterior(learn(LOG, 1.0, False), 2.0, False)
    z = np.column_stack([FEATURES(LOG.steps.context), np.ones(300)]).astype(np.float64)
    for a in range(3):
        own = LOG.steps.action == a
        precision = 2.0 * np.eye(z.shape[1]) + z[own].T @ z[own]
        np.testing.assert_allclose(
            belief.mean[a], np.linalg.solve(precision, z[own].T @ LOG.steps.reward[own]), atol=1e-8
        )
        np.testing.assert_allclose(belief.covariance()[a], np.linalg.inv(precision), atol=1e-8)


def test_the_shared_posterior_is_one_regression() -> None:
    """φ(x, a) = (z, e_a ⊗ z): mean and variance of φ·θ from the whole design."""
    belief = posterior(learn(LOG, 1.0, False), 2.0, True)
    z = np.column_stack([FEATURES(LOG.steps.context), np.ones(300)]).astype(np.float64)
    p = z.shape[1]

    def design(action: np.ndarray) -> np.ndarray:
        wide = np.zeros((300, 4 * p))
        wide[:, :p] = z
        for a in range(3):
            wide[action == a, p * (a + 1) : p * (a + 2)] = z[action == a]
        return wide

    seen = design(LOG.steps.action)
    precision = 2.0 * np.eye(4 * p) + seen.T @ seen
    theta, covariance = np.linalg.solve(precision, seen.T @ LOG.steps.reward), np.linalg.inv(precision)
    for a in range(3):
        asked = design(np.full(300, a))
        np.testing.assert_allclose(z @ belief.mean[a], asked @ theta, atol=1e-8)
        np.testing.assert_allclose(
            ((z @ belief.covariance()[a]) * z).sum(1), ((asked @ covariance) * asked).sum(1), atol=1e-8
        )


@pytest.mark.parametrize("shared", [False, True])
def test_draws_have_the_posterior_moments(shared: bool) -> None:
    """20,000 draws: mean θ and covariance v²C of each action's coefficients.

    A mean is 5 standard errors off with chance 6e-7, over 12 coefficients 7e-6; covariances get 8 of theirs.
    """
    belief = posterior(learn(LOG, 1.0, False), 1.0, shared)
    draws = belief.draws(20_000, 0.5, np.random.default_rng(0))
    for a in range(3):
        wanted = 0.25 * belief.covariance()[a]
        error = np.sqrt(np.diag(wanted) / 20_000)
        assert (np.abs(draws[:, a].mean(0) - belief.mean[a]) < 5 * error).all()
        spread = np.sqrt((np.outer(np.diag(wanted), np.diag(wanted)) + wanted**2) / 20_000)
        assert (np.abs(np.cov(draws[:, a].T) - wanted) < 8 * spread).all()


def test_before_the_first_decision_all_actions_are_alike() -> None:
    """Nothing learned: no action is preferred by LinUCB, and LinTS spreads its draws."""
    nothing = nothing_learned(FEATURES, 3, 1.0)
    np.testing.assert_allclose(LinUCB().policy(nothing).probs(LOG.steps.context), 1 / 3)
    p = LinTS(scale=1.0, draws=3_000).policy(nothing, seed=1).probs(LOG.steps.context[:5])
    np.testing.assert_allclose(p, 1 / 3, atol=5 * np.sqrt(2 / 9 / 3_000))


def test_an_action_never_tried_is_the_most_uncertain() -> None:
    """With a large α optimism tries it; with α = 0 it does not."""
    log = example_log(PLAIN, 300, 5, skip=1)
    log = LoggedSteps(PLAIN, log.steps.with_(reward=0.5 + 0.1 * log.steps.reward))
    eager = LinUCB(alpha=5.0, epsilon=0.0).fit(log, seed=0).probs(log.steps.context)
    greedy = LinUCB(alpha=0.0, epsilon=0.0).fit(log, seed=0).probs(log.steps.context)
    assert eager[:, 1].mean() > 0.95 and greedy[:, 1].mean() < 0.05


def test_propensities_of_lin_ts_are_the_same_every_time() -> None:
    """The draws are part of the policy: asked twice, or fitted twice with a seed, the answer is one."""
    policy = LinTS().fit(LOG, seed=4)
    p = policy.probs(LOG.steps.context)
    assert (policy.probs(LOG.steps.context) == p).all()
    assert (LinTS().fit(LOG, seed=4).probs(LOG.steps.context) == p).all()
    assert (LinTS().fit(LOG, seed=5).probs(LOG.steps.context) != p).any()
    assert p.min() >= 0.01 / 3 - 1e-15


@pytest.mark.parametrize(
    "options", [{"penalty": 0.0}, {"forgetting": 0.0}, {"forgetting": 1.1}, {"epsilon": 2.0}, {"epsilon": float("nan")}]
)
def test_settings_that_cannot_be_are_refused(options: dict) -> None:
    """Before anything is read."""
    for learner in (LinUCB, LinTS):
        with pytest.raises(ConfigError):
            learner(**options).fit(LOG, seed=0)
