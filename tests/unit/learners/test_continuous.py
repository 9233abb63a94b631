"""Learners of continuous actions: their losses by hand, draws and densities, resuming, truncation, and bad settings."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.registry import find
from understudy.learners import awac_continuous, cql_continuous, sac, td3, td3_bc
from understudy.learners import continuous as c
from understudy.learners.gradient import epochs, fit
from understudy.learners.loop import jax
from understudy.learners.replay import Batch, Replay
from understudy.models.actor import log_density
from understudy.models.feature_map import fit_feature_map
from understudy.ops.network import forward
from understudy.testing.conformance_learner import PLAIN, WIDE, LoggedSteps, chain_log, example_episodes, example_log

LOG = example_episodes(WIDE, 60, 1)


def short(name: str, **settings):
    """A learner of that name after 300 small minibatches."""
    return find("learners", name)(**{"updates": 300, "batch": 16, "hidden": (8,)} | settings)


def batch(reward=(1.0, 2.0), discount=(0.9, 0.0), weight=(1.0, 1.0)) -> Batch:
    """Two transitions, the second of which terminates."""
    x = np.zeros((2, 1))
    return Batch(x, np.zeros((2, 1)), np.array(reward), np.array(discount), x, np.zeros((2, 1)), np.array(weight))


def test_targets_and_losses_of_sac_by_hand() -> None:
    """y = r + γ(min(3, 4) − .5·2) = 2.8 and 2; errors .2, 1 and .8, 2: (.04 + 1)/2 + (.64 + 4)/2 = 2.84."""
    q, ahead = np.array([[3.0, 3.0], [2.0, 4.0]]), np.array([[3.0, 9.0], [4.0, 9.0]])
    found = sac.critic_loss(np, q, ahead, 0.5 * np.array([2.0, 7.0]), batch(), sac.SAC())
    assert found == pytest.approx((0.2**2 + 1 + 0.8**2 + 4) / 2, abs=1e-12)
    assert sac.actor_loss(q, np.array([1.0, -1.0]), 0.5, batch()) == pytest.approx((0.5 - 2 - 0.5 - 3) / 2, abs=1e-12)


def test_targets_take_scale() -> None:
    """.1·r + γ^h·V; guidance is in the minibatch's discount already."""
    settings = sac.SAC(scale=0.1, guidance=0.5)
    np.testing.assert_allclose(c.target(settings, batch(), np.array([2.0, 2.0])), [0.1 + 1.8, 0.2], atol=1e-15)


def test_losses_of_td3_and_td3_bc_by_hand() -> None:
    """y = 1 + .9·3 and 2; −mean Q_1; stray − α·Q_1/mean|Q_1| with distances 1 and 4, α = 2, mean|Q_1| = 2."""
    q, ahead = np.array([[3.0, 3.0], [2.0, 4.0]]), np.array([[3.0, 9.0], [4.0, 9.0]])
    assert td3.critic_loss(np, q, ahead, batch(), td3.TD3()) == pytest.approx((0.49 + 1 + 1.7**2 + 4) / 2, abs=1e-12)
    first = np.array([1.0, -3.0])
    assert td3.climb(np, first, None, batch(), c.Box(0, 1)) == pytest.approx(1.0, abs=1e-12)
    y, logged = np.array([[1.0], [2.0]]), np.zeros((2, 1))
    found = td3_bc.near(np, first, y, logged, 2.0, batch(), 2.0)
    assert found == pytest.approx((1 - 1 + 4 + 3) / 2, abs=1e-12)


def test_the_gap_of_cql_by_hand() -> None:
    """log ½(e^{Q_1 − log p_1} + e^{Q_2 − log p_2}) − Q(a), one critic, one context; equal values leave log ∫ dy."""
    one = Batch(*(None if column is None else column[:1] for column in batch()))
    q, tried = np.array([[0.5]]), np.array([[[1.0], [2.0]]])
    density = np.log([[0.5], [0.25]])
    by_hand = np.log(0.5 * (np.e / 0.5 + np.e**2 / 0.25)) - 0.5
    assert cql_continuous.gap(np, q, tried, density, one) == pytest.approx(by_hand, abs=1e-12)
    even = cql_continuous.gap(np, np.zeros((1, 1)), np.zeros((1, 5, 1)), np.full((5, 1), -np.log(2.0)), one)
    assert even == pytest.approx(np.log(2.0), abs=1e-12)


def test_losses_of_awac_and_crr_by_hand() -> None:
    """Huber's ½·.2² + (1 − ½), halved over two rows; −mean w·log π."""
    settings = find("learners", "awac")(scale=1.0, guidance=1.0)
    q, ahead, weight = np.array([[3.5, 3.0]]), np.array([3.0, 9.0]), np.array([1.0, 0.0])
    critic, actor = awac_continuous.losses(np, q, ahead, weight, np.array([-2.0, -3.0]), batch(), settings)
    assert critic == pytest.approx((0.5 * 0.2**2 + 0.5) / 2, abs=1e-12) and actor == pytest.approx(1.0, abs=1e-12)


def test_many_actions_are_read_as_one_by_one() -> None:
    """What x contributes once, and the plain way: the same numbers, with one hidden layer, two, and none."""
    rng = np.random.default_rng(0)
    for sizes in ((5, 8, 1), (5, 8, 8, 1), (5, 1)):
        net = [(rng.standard_normal((2, i, o)), rng.standard_normal((2, o))) for i, o in pairwise(sizes)]
        x, y = rng.standard_normal((7, 3)), rng.standard_normal((4, 7, 2))
        one_by_one = np.stack([forward(np, net, np.concatenate([x, each], 1))[..., 0] for each in y], 1)
        np.testing.assert_allclose(c.many(np, net, x, y), one_by_one, atol=1e-12)


def test_the_likelihood_of_the_ends_of_the_box_is_finite() -> None:
    """An action at the end counts as .999; elsewhere it is the density of what was drawn."""
    mean, log_std = np.zeros((3, 1)), np.full((3, 1), np.log(0.5))
    y, density = c.drawn(np, mean, log_std, np.array([[0.3], [-1.2], [2.0]]))
    np.testing.assert_allclose(c.likelihood(np, mean, log_std, y), density, atol=1e-9)
    ends = c.likelihood(np, mean, log_std, np.array([[1.0], [-1.0], [0.999]]))
    assert np.isfinite(ends).all() and ends[0] == pytest.approx(ends[2]) and ends[0] == pytest.approx(ends[1])


def test_slopes_pass_through_the_draw() -> None:
    """∂y/∂μ and ∂log p/∂σ by JAX against differences of the same lines in NumPy."""
    package = jax()
    noise = np.array([[0.7, -0.4]])

    def value(xp, m, s):
        y, density = c.drawn(xp, m, s, noise)
        return y.sum() + density.sum()

    m, s = np.array([[0.3, -0.2]]), np.array([[-0.5, -1.0]])
    slopes = package.grad(lambda m, s: value(package.numpy, m, s), argnums=(0, 1))(m, s)
    for place, slope in enumerate(slopes):
        for j in range(2):
            step = np.zeros((1, 2))
            step[0, j] = 1e-5
            up, down = ([m, s], [m, s])
            up[place], down[place] = up[place] + step, down[place] - step
            assert float(slope[0, j]) == pytest.approx((value(np, *up) - value(np, *down)) / 2e-5, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", ["sac", "iql"])
def test_a_truncated_episode_goes_on(name: str) -> None:
    """From its final context: another one there gives another policy; in a terminated episode it is not read."""
    final = np.asarray(LOG.steps.final_context)
    elsewhere = LoggedSteps(
        WIDE, LOG.steps.with_(final_context=np.where(np.isnan(final), np.nan, final + 1).astype("f4"))
    )
    context = LOG.steps.context[:20]
    drawn = [fit(short(name), log, seed=1).act(context, np.random.default_rng(0))[0] for log in (LOG, elsewhere)]
    assert not (drawn[0] == drawn[1]).all()
    features = fit_feature_map(WIDE, LOG.scan())
    table = Replay(LOG, features)._table
    assert table is not None
    last = LOG.steps.starts[1:] - 1
    cut = LOG.steps.truncated[last]
    np.testing.assert_array_equal(table.next_x[last[cut]], features(final[cut]))
    assert (table.discount[last[cut]] == 1).all() and (table.discount[last[~cut]] == 0).all()


@pytest.mark.parametrize("name", ["sac", "iql"])
def test_a_loss_that_is_no_number_stops_the_training(name: str) -> None:
    """Rewards whose sum over a minibatch, or whose square, is beyond single precision."""
    with pytest.raises(DataError, match="between updates 1 and 100"):
        short(name).fit(LoggedSteps(WIDE, LOG.steps.with_(reward=LOG.steps.reward * 1e38)), seed=0)


@pytest.mark.parametrize("name", ["sac", "td3", "td3_bc"])
def test_named_actions_are_refused(name: str) -> None:
    """With the learners that could."""
    with pytest.raises(ConfigError, match="continuous") as caught:
        short(name).fit(example_log(PLAIN, 50, 0), seed=0)
    assert caught.value.field == "actions"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sac", {"temperature": -1.0}),
        ("sac", {"entropy": 0.7}),
        ("sac", {"spread": 0.0}),
        ("td3", {"delay": 0}),
        ("td3", {"std": 0.0}),
        ("td3_bc", {"noise": 3.0}),
        ("td3_bc", {"alpha": -1.0}),
        ("cql", {"draws": 0}),
    ],
)
def test_settings_without_sense_are_refused(name: str, change: dict) -> None:
    """By the name of the field."""
    with pytest.raises(ConfigError) as caught:
        short(name, **change)
    assert caught.value.field == next(iter(change))


def test_exploring_at_random_is_for_named_actions() -> None:
    """A box has no uniform share here: say so instead of ignoring it."""
    with pytest.raises(ConfigError, match="explore"):
        short("iql", explore=0.1).fit(LOG, seed=0)


def test_a_given_temperature_stays() -> None:
    """And a learned one moves."""
    states = [next(iter(epochs(short("sac", temperature=t), LOG, seed=0))).state for t in (0.25, 0.0)]
    assert float(states[0].heat) == pytest.approx(np.log(0.25), abs=1e-6) and float(states[1].heat) != 0


def test_what_is_served_has_the_density_that_learned() -> None:
    """Actor's density in the box against the learner's, per unit of action: 1e-5 relative."""
    learner = short("sac")
    state = next(iter(epochs(learner, LOG, seed=0))).state
    features = fit_feature_map(WIDE, LOG.scan())
    policy = learner.policy(state, WIDE, features)
    context, rng = LOG.steps.context[:30], np.random.default_rng(0)
    action, density = policy.act(context, rng)
    mean, log_std = (np.asarray(part, np.float64) for part in c.moments(jax().numpy, state.actor, features(context), 2))
    y = (action.astype(np.float64) - [-0.5, 2.5]) / [1.5, 2.5]
    theirs = np.exp(log_density(np, np.arctanh(y), mean, log_std)) / (1.5 * 2.5)
    np.testing.assert_allclose(density, theirs, rtol=1e-3)
    closer = replace(policy, spread=0.1)
    assert closer.prob(context, closer.mean(context)).mean() > 10 * policy.prob(context, policy.mean(context)).mean()


@pytest.mark.parametrize("name", ["cql", "crr"])
def test_a_box_has_no_mean_over_actions(name: str) -> None:
    """``soften`` is refused before training; left out, or 0, it is what a box does anyway."""
    with pytest.raises(ConfigError, match="soften"):
        fit(short(name, soften=0.3), LOG, seed=0)
    context = LOG.steps.context[:20]
    drawn = [fit(short(name, **more), LOG, seed=1).act(context, np.random.default_rng(0))[0]
             for more in ({}, {"soften": 0.0})]  # fmt: skip
    np.testing.assert_array_equal(*drawn)


def test_cql_in_a_box_learns_by_the_loss_it_is_told() -> None:
    """Squared unless told, as it is published; Huber's gives another policy. Named actions: the other way round."""
    context = LOG.steps.context[:20]
    kinds = [{}, {"loss": "squared"}, {"loss": "huber"}]
    boxed = [fit(short("cql", **kind), LOG, seed=1).act(context, np.random.default_rng(0))[0] for kind in kinds]
    np.testing.assert_array_equal(boxed[0], boxed[1])
    assert not (boxed[1] == boxed[2]).all()
    chain = chain_log(20, 1)
    named = [fit(short("cql", **kind), chain, seed=1).state().arrays.values() for kind in kinds]
    assert all((a == b).all() for a, b in zip(named[0], named[2]))
    assert not all((a == b).all() for a, b in zip(named[0], named[1]))


@pytest.mark.parametrize("field", ["draws", "entropy"])
def test_named_actions_have_no_draws_of_a_box(field: str) -> None:
    """Refused before training."""
    with pytest.raises(ConfigError, match=field):
        fit(short("cql", **{field: 1 if field == "draws" else -2.0}), chain_log(20, 1), seed=0)
