"""Gradient learners of named actions: what they learn on a chain whose values are known, and what they keep to."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace
from understudy.core.registry import find
from understudy.core.steps import Steps, bandit_steps
from understudy.learners.bcq import BCQ
from understudy.learners.c51 import C51, projected
from understudy.learners.cql import CQL
from understudy.learners.discrete import networks_of
from understudy.learners.dqn import DQN
from understudy.learners.gradient import fit, prepared
from understudy.learners.iql import IQL
from understudy.learners.iql import losses as iql_losses
from understudy.learners.parametric_dqn import ParametricDQN
from understudy.learners.qr_dqn import QRDQN
from understudy.learners.qr_dqn import loss as quantile_loss
from understudy.learners.replay import Batch
from understudy.learners.reward_network import RewardNetwork
from understudy.models.filtered import Filtered
from understudy.models.neighbors import Neighbors
from understudy.models.state import revive
from understudy.testing.conformance_learner import CHAIN, PLAIN, LoggedSteps, chain_log

PLACES = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], np.float32)
LEARNS = ["dqn", "bcq", "cql", "iql", "crr", "awac", "c51", "qr_dqn", "parametric_dqn"]
QUICK: dict[str, Any] = {"updates": 1500, "batch": 64, "hidden": (64,), "lag": 0.05, "rate": 3e-3, "decay": 0.0}
SMALL: dict[str, Any] = {"updates": 20, "batch": 16, "hidden": (8,)}


@pytest.mark.parametrize("name", LEARNS)
def test_it_learns_to_go_on(name: str) -> None:
    """On at every place is the best policy of the chain, and where that is not allowed it has probability 0."""
    soft = {"soften": 0.0} if name not in ("iql", "crr", "awac") else {}
    policy = find("learners", name)(**QUICK, **soft).fit(chain_log(150, 1, masked=True), seed=0)
    assert (policy.probs(PLACES).argmax(1) == 2).all()
    allowed = np.array([[True, True, False]] * 4)
    assert (policy.probs(PLACES, allowed)[:, 2] == 0).all()


@pytest.mark.parametrize("name", ["dqn", "c51", "qr_dqn", "parametric_dqn"])
def test_values_are_those_of_the_chain(name: str) -> None:
    """On from place p pays 4 after 3 − p further steps of −.1: by hand, in units of reward although scaled by ½."""
    more = {"soften": 0.0, "guidance": 1.0, "scale": 0.5}
    policy = find("learners", name)(**(QUICK | more)).fit(chain_log(200, 1), seed=0)
    truth = [4 * 0.9 ** (3 - p) - 0.1 * sum(0.9**i for i in range(3 - p)) for p in range(4)]
    np.testing.assert_allclose(policy.model.values(PLACES)[:, 2], truth, atol=0.1)


@pytest.mark.parametrize("name", ["dqn", "qr_dqn", "reward_network"])
def test_at_horizon_one_it_is_a_regression_of_the_reward(name: str) -> None:
    """Nothing follows, so the value is the mean reward of the action: 3 contexts by 3 actions, counted by hand."""
    rng = np.random.default_rng(0)
    place, action = rng.integers(0, 3, 900), rng.integers(0, 3, 900)
    mean = np.array([[0.0, 0.2, 0.9], [0.5, 0.4, 0.1], [0.3, 0.8, 0.6]])
    reward = (rng.random(900) < mean[place, action]).astype(float)
    log = LoggedSteps(PLAIN, bandit_steps(np.eye(3)[place], action, reward, np.full(900, 1 / 3)))
    more = {"loss": "squared"} if name == "dqn" else {}
    policy = find("learners", name)(**(QUICK | more)).fit(log, seed=0)
    seen = np.array([[reward[(place == p) & (action == a)].mean() for a in range(3)] for p in range(3)])
    off = np.abs(policy.model.values(np.eye(3, dtype=np.float32)) - seen).max()
    assert off < (0.15 if name == "qr_dqn" else 0.06), "a Huber quantile is not quite a mean; the others are"


def test_inverse_propensities_weigh() -> None:
    """Two kinds of row that no feature tells apart: unweighted the frequent one wins, weighted both count alike."""
    action = np.tile([0, 0, 0, 1], 100)
    x, reward, p = np.zeros((400, 3)), np.tile([1.0, 1.0, 1.0, 0.0], 100), np.tile([0.75, 0.75, 0.75, 0.25], 100)
    log = LoggedSteps(PLAIN, bandit_steps(x, action * 0, reward, p))
    for ips, mean in ((False, 0.75), (True, 0.5)):
        policy = RewardNetwork(**QUICK, ips=ips).fit(log, seed=0)
        assert policy.model.values(x[:1])[0, 0] == pytest.approx(mean, abs=0.05)
    with pytest.raises(DataError, match="propensities"):
        RewardNetwork(ips=True).fit(LoggedSteps(PLAIN, log.steps.with_(propensity=None)), seed=0)
    with pytest.raises(DataError, match="reward"):
        wide = LoggedSteps(PLAIN, log.steps.with_(reward=reward * 3))
        RewardNetwork(loss="cross_entropy").fit(wide, seed=0)


def test_a_reward_network_learns_scaled_rewards_and_predicts_them_unscaled() -> None:
    """Scaled by 10 and by ½ it predicts the same means, and its network another multiple of them."""
    action, reward = np.tile([0, 0, 1, 1], 100), np.tile([1.0, 0.5, 0.0, 0.5], 100)
    log = LoggedSteps(PLAIN, bandit_steps(np.zeros((400, 3)), action, reward, np.full(400, 0.5)))
    for scale in (0.5, 10.0):
        model = RewardNetwork(**(QUICK | {"scale": scale})).fit(log, seed=0).model
        assert model.values(np.zeros((1, 3), np.float32))[0, :2] == pytest.approx([0.75, 0.25], abs=0.02)
        assert model.high - model.low == pytest.approx(1 / scale)
    with pytest.raises(ConfigError, match="scale"):
        RewardNetwork(loss="cross_entropy", scale=2.0)


@pytest.mark.parametrize("imitation", ["network", "knn", "classifier"])
def test_bcq_keeps_to_what_the_log_did(imitation: str) -> None:
    """An action that is allowed, never taken and promising by extrapolation has probability 0; also when saved."""
    log = chain_log(150, 1, skip=0)
    policy = BCQ(**(QUICK | {"updates": 300, "penalty": 0.0}), imitation=imitation).fit(log, seed=0)
    assert isinstance(policy, Filtered)
    assert (policy.imitation.probs(PLACES)[:, 0] < 0.05).all() and (policy.probs(PLACES)[:, 0] == 0).all()
    assert (revive(policy.state()).probs(PLACES) == policy.probs(PLACES)).all()


def test_the_nearest_neighbor_counts_in_mean_distances() -> None:
    """Points 0, 1, 2 of action 0 and 10 of action 1, in standard deviations; an action never taken is far away."""
    x = np.zeros((4, 3))
    x[:, 0] = [0.0, 1.0, 2.0, 10.0]
    steps = bandit_steps(x, np.array([0, 0, 0, 1]), np.zeros(4))
    made = Neighbors().fit(steps, PLAIN)
    at = np.array([[4.0, 0, 0]], np.float32)
    ratio = made.probs(at)[0]
    assert made.model.values(at)[0, :2] == pytest.approx([-2.0, -6.0], rel=1e-5)  # units of 1, the mean gap
    assert ratio[1] / ratio[0] == pytest.approx(np.exp(-4), rel=1e-4) and ratio[2] == 0
    with pytest.raises(ConfigError):
        Neighbors(width=0.0)


@pytest.mark.parametrize("learner", [DQN(**SMALL), CQL(**SMALL), BCQ(**SMALL), BCQ(**SMALL, explore=0.2)], ids=repr)
def test_it_goes_on_from_a_policy(learner: Any) -> None:
    """At a vanishing rate what was known stays, feature map included; other layers or another scale are refused."""
    first = learner.fit(chain_log(40, 1), seed=0)
    again = replace(learner, rate=1e-12, decay=0.0).fit(chain_log(20, 5), seed=3, start=first)
    np.testing.assert_allclose(again.probs(PLACES), first.probs(PLACES), atol=1e-6)
    assert networks_of(again)[0] == networks_of(first)[0]
    with pytest.raises(ConfigError, match="layers"):
        replace(learner, hidden=(9,)).fit(chain_log(20, 5), seed=3, start=first)
    with pytest.raises(ConfigError, match="scale 1"):
        replace(learner, scale=0.5).fit(chain_log(20, 5), seed=3, start=first)
    with pytest.raises(ConfigError, match="no network"):
        learner.fit(chain_log(20, 5), seed=3, start=find("learners", "uniform")().fit(chain_log(3, 1), seed=0))


def test_a_boost_makes_its_action_dearer() -> None:
    """Ten for going back outweighs all the chain pays; a name nobody has is refused."""
    policy = DQN(**QUICK, boost={"back": 10.0}).fit(chain_log(100, 1), seed=0)
    assert (policy.probs(PLACES).argmax(1) == 0).all()
    with pytest.raises(ConfigError, match="'up'"):
        DQN(boost={"up": 1.0}).fit(chain_log(3, 1), seed=0)


def test_actions_with_equal_features_have_equal_values() -> None:
    """Back and stay look alike, so they are worth alike; features must be complete."""
    table = {"back": [0.0, 1.0], "stay": [0.0, 1.0], "on": [1.0, 1.0]}
    policy = ParametricDQN(**QUICK, action_features=table, soften=0.0).fit(chain_log(100, 1), seed=0)
    values = policy.model.values(PLACES)
    assert (values[:, 0] == values[:, 1]).all() and (values[:, 2] > values[:, 0]).all()
    assert (revive(policy.state()).probs(PLACES) == policy.probs(PLACES)).all()
    for wrong in ({"back": [0.0]}, table | {"on": [1.0]}, table | {"up": [1.0, 1.0]}, table | {"on": [1.0, np.nan]}):
        with pytest.raises(ConfigError, match="action_features"):
            ParametricDQN(action_features=wrong).fit(chain_log(3, 1), seed=0)


def test_a_distribution_is_projected_onto_its_support() -> None:
    """What lies between two values is shared by nearness, what lies outside goes to the end, nothing is lost."""
    z, probs = np.array([0.0, 1.0, 2.0]), np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(projected(np, probs, np.array([[0.25, 1.0, 7.0]]), z), [[0.15, 0.35, 0.5]])


def test_the_support_is_what_the_problem_allows() -> None:
    """Rewards from −1 to 4 over 8 steps at γ = .9; with no horizon 1/(1 − γ); or as told."""
    total = (1 - 0.9**8) / 0.1
    assert C51(guidance=1.0).support(CHAIN) == pytest.approx((-total, 4 * total))
    assert C51(low=0.0, high=2.0).support(CHAIN) == (0.0, 2.0)
    assert C51(guidance=0.5).support(PLAIN) == (0.0, 1.0), "a bandit's return is a reward"
    with pytest.raises(ConfigError, match="low"):
        C51(low=0.0)


def test_the_support_counts_time_where_the_log_has_spans() -> None:
    """γ = .9, no horizon: steps of ½ make 1/(1 − √.9), what ends an episode does not count; without time no bound."""
    endless = msgspec.structs.replace(CHAIN, horizon=None)
    log = chain_log(20, 1)
    span = np.where(log.steps.terminated, 0.0, np.where(np.arange(log.steps.n) % 3, 2.0, 0.5))
    total = 1 / (1 - 0.9**0.5)
    made = prepared(C51(guidance=1.0), LoggedSteps(endless, log.steps.with_(span=span)), 0)
    assert made.support(endless) == pytest.approx((-total, 4 * total))
    assert prepared(C51(), LoggedSteps(endless, log.steps), 0) == C51(), "steps count as 1 each"
    with pytest.raises(ConfigError, match="no time"):
        prepared(C51(), LoggedSteps(endless, log.steps.with_(span=0 * span)), 0)
    told = C51(low=0.0, high=2.0)
    assert prepared(told, LoggedSteps(endless, log.steps.with_(span=0 * span)), 0) == told


def test_values_beyond_a_support_of_single_steps_are_learned() -> None:
    """One place, reward 1 for ever, spans of ½ at γ = .9: 1/(1 − √.9) = 19.5, where 1/(1 − .9) = 10 would cut."""
    endless = msgspec.structs.replace(CHAIN, horizon=None, discount=0.9, reward_range=(0.0, 1.0))
    n = 64
    steps = Steps(
        starts=np.array([0, n]), unit=np.zeros(1, np.uint64), time=np.arange(n), context=np.zeros((n, 2), np.float32),
        action=np.arange(n, dtype=np.int32) % 3, reward=np.ones(n), terminated=np.zeros(n, bool),
        truncated=np.arange(n) == n - 1, final_context=np.zeros((1, 2), np.float32), span=np.full(n, 0.5),
    )  # fmt: skip
    policy = C51(**(QUICK | {"updates": 3000, "lag": 0.2}), guidance=1.0).fit(LoggedSteps(endless, steps), seed=0)
    assert policy.model.values(PLACES[:1])[0] == pytest.approx(1 / (1 - 0.9**0.5), rel=0.1)


def test_quantile_regression_by_hand() -> None:
    """Two quantiles (0, 2) against a certain target of 1: errors 1 and −1, tilts ¼ and ¼, Huber ½ each."""
    theta, lagged = np.array([[[0.0, 2.0]]]), np.array([[[5.0, 5.0]]])
    batch = Batch(None, np.array([0]), np.array([1.0]), np.array([0.0]), None, np.array([0]), np.ones(1))
    assert quantile_loss(np, theta, lagged, lagged, batch, QRDQN()) == pytest.approx(0.25 * 0.5 + 0.25 * 0.5)


def test_implicit_q_learning_by_hand() -> None:
    """A = 2 and −1 at τ = .8: V loses (.8·4 + .2·1)/2; Q hits R + .9·V(x′); the weight e^(3·2) is clipped at 100."""
    batch = Batch(None, np.array([0, 0]), np.array([1.0, 0.0]), np.array([0.9, 0.0]), None, None, np.ones(2))
    q, better, v = np.array([[2.8, 1.0], [1.8, 0.0]]), np.array([3.0, 0.0]), np.array([1.0, 1.0])
    found = iql_losses(
        np, q, better, v, np.array([2.0, 9.0]), np.log([0.5, 0.25]), batch,
        settings=IQL(guidance=1.0, beta=3.0), still=lambda a: a,
    )  # fmt: skip
    actor = (100 * np.log(2) + np.exp(-3) * np.log(4)) / 2
    assert found == pytest.approx((1.7, (0.0 + 0.5) / 2 + (0.5 + 0.0) / 2, actor))


def test_nonsense_rewards_stop_the_training_and_say_where() -> None:
    """The loss is no number within the first chunk."""
    log = chain_log(20, 1)
    wild = LoggedSteps(CHAIN, log.steps.with_(reward=np.where(log.steps.reward > 0, 3e38, -3e38)))
    with pytest.raises(DataError, match="between updates 1 and 100"):
        fit(DQN(updates=200, batch=16, loss="squared"), wild, seed=0)


@pytest.mark.parametrize("name", ["dqn", "bcq", "c51", "qr_dqn", "reward_network", "parametric_dqn"])
def test_continuous_actions_are_refused(name: str) -> None:
    """With the learner's name."""
    from understudy.core.problem import Problem

    box = Problem(features=CHAIN.features, actions=ActionSpace(low=(0.0,), high=(1.0,)))
    with pytest.raises(ConfigError, match=name):
        find("learners", name)(**SMALL).fit(LoggedSteps(box, chain_log(3, 1).steps), seed=0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dqn", {"target": "triple"}), ("dqn", {"loss": "l1"}), ("dqn", {"soften": 1.5}), ("dqn", {"n": 0}),
        ("bcq", {"threshold": -0.1}), ("bcq", {"imitation": "ear"}), ("bcq", {"options": {"width": 2.0}}),
        ("cql", {"alpha": -1.0}), ("crr", {"weight": "log"}), ("crr", {"critics": 0}), ("iql", {"expectile": 2.0}),
        ("awac", {"temperature": 0.0}), ("c51", {"atoms": 1}), ("qr_dqn", {"quantiles": 0}),
        ("reward_network", {"loss": "cross_entropy", "n": 2}), ("bc", {"explore": -1.0}),
    ],
    ids=str,
)  # fmt: skip
def test_settings_without_meaning_are_refused(name: str, settings: dict) -> None:
    """Before any data are read."""
    with pytest.raises(ConfigError):
        find("learners", name)(**settings)
