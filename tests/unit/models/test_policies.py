"""Policies at work: constant, random, exploring, optimistic, mixed; and what a state must be to become one again."""

from dataclasses import dataclass

import numpy as np
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.models import load
from understudy.models.ensembles import Bag, LinearEnsemble
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.optimism import UpperBound
from understudy.models.policies import Explore, Fixed, Mixture, Uniform
from understudy.models.ridge import LinearModel
from understudy.testing import check_policy

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b", "c")))
MAP = FeatureMap((FittedFeature(kind="number", source=0, name="x"),))
LINEAR = LinearModel(MAP, np.array([[1.0], [0.0], [-1.0]]), np.array([0.0, 0.1, 0.0]))
X = np.array([[-2.0], [0.0], [3.0]], np.float32)
THETA = np.random.default_rng(0).standard_normal((40, 3, 2))

POLICIES = {
    "uniform": Uniform(3),
    "fixed": Fixed(3, 1),
    "greedy": Explore(LINEAR),
    "epsilon_greedy": Explore(LINEAR, "epsilon_greedy", 0.3),
    "softmax": Explore(LINEAR, "softmax", 2.0),
    "squarecb": Explore(LINEAR, "squarecb", 8.0),
    "votes": Explore(LinearEnsemble(MAP, THETA), "votes", 0.05),
    "bag": Explore(Bag((LINEAR, LINEAR)), "votes", 0.0),
    "optimist": UpperBound(MAP, THETA[0], np.stack([np.eye(2)] * 3), 0.5, 0.1),
    "mixture": Mixture((Explore(LINEAR), Uniform(3), Fixed(3, 2)), (0.5, 0.25, 0.25)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_kind_conforms(name: str) -> None:
    """Valid pmf, masks respected, honest propensities, actions drawn from them, saved and loaded bit for bit."""
    check_policy(POLICIES[name], PROBLEM)


def test_greedy_over_a_linear_model_by_hand() -> None:
    """Scores (−2, .1, 2), (0, .1, 0), (3, .1, −3): c, b, a."""
    assert POLICIES["greedy"].probs(X).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_a_fixed_action_that_is_not_allowed_gives_way() -> None:
    """Any allowed one alike, for want of a reason."""
    allowed = np.array([[True, True, True], [True, False, True], [True, False, False]])
    assert Fixed(3, 1).probs(X, allowed).tolist() == [[0, 1, 0], [0.5, 0, 0.5], [1, 0, 0]]


def test_a_mixture_mixes_probabilities() -> None:
    """½ greedy + ¼ uniform + ¼ the third."""
    np.testing.assert_allclose(POLICIES["mixture"].probs(X)[0], [1 / 12, 1 / 12, 0.5 + 1 / 12 + 0.25])


def test_the_upper_bound_by_hand() -> None:
    """z = (x, 1), θ, C = I: z·θ + α‖z‖."""
    z = np.column_stack([X, np.ones(3)])
    expected = z @ THETA[0].T + 0.5 * np.linalg.norm(z, axis=1)[:, None]
    np.testing.assert_allclose(POLICIES["optimist"].bounds(X), expected, atol=1e-12)


def test_votes_are_shares_of_the_members() -> None:
    """Forty drawn models; each prefers one action; ε .05 of uniform."""
    scores = np.column_stack([X, np.ones(3)]) @ THETA.transpose(0, 2, 1)  # [40, 3, 3]
    share = np.stack([(scores.argmax(2) == a).mean(0) for a in range(3)], 1)
    np.testing.assert_allclose(POLICIES["votes"].probs(X), 0.05 / 3 + 0.95 * share, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "amount"), [("epsilon_greedy", 1.5), ("softmax", -1.0), ("greedy", 0.1), ("ucb", 0.1)]
)
def test_a_rule_or_amount_that_cannot_be_is_refused(rule: str, amount: float) -> None:
    """At construction, before anything acts."""
    with pytest.raises(ConfigError):
        Explore(LINEAR, rule, amount)


def test_votes_need_members() -> None:
    """One model has nobody to disagree with."""
    with pytest.raises(ConfigError, match="ensemble"):
        Explore(LINEAR, "votes", 0.1)


def damage(state: State, **changes) -> State:
    return State(state.kind, state.config | changes.get("config", {}), state.arrays | changes.get("arrays", {}))


@pytest.mark.parametrize(
    "state",
    [
        State("os.system", {"k": 3}),
        State("understudy.models.policies:Uniform", {"k": 3}),
        State("uniform", {"k": 0}),
        State("uniform", {"k": True}),
        State("uniform", {"k": 3, "more": 1}),
        State("fixed", {"k": 3, "action": 3}),
        State("uniform", {"k": 3}, {"extra": np.zeros(1)}),
        damage(POLICIES["greedy"].state(), config={"rule": "votes"}),
        damage(POLICIES["greedy"].state(), config={"amount": float("nan")}),
        damage(POLICIES["greedy"].state(), config={"parts": {"model": POLICIES["uniform"].state().config}}),
        damage(POLICIES["greedy"].state(), config={"parts": {"model": {"kind": "uniform", "config": {"k": 3}}}}),
        damage(POLICIES["greedy"].state(), arrays={"model.coef": np.zeros((3, 2))}),
        damage(POLICIES["greedy"].state(), arrays={"model.coef": np.zeros((3, 1), np.float32)}),
        damage(POLICIES["greedy"].state(), arrays={"model.coef": np.full((3, 1), np.inf)}),
        damage(POLICIES["mixture"].state(), arrays={"weights": np.array([0.5, 0.5, 0.5])}),
        damage(POLICIES["mixture"].state(), arrays={"weights": np.array([1.0])}),
    ],
    ids=lambda s: s.kind,
)
def test_a_state_that_nobody_wrote_is_refused(state: State) -> None:
    """Unknown kinds, wrong numbers, wrong shapes, extra keys: a StoreError, and nothing is imported by name."""
    with pytest.raises(StoreError):
        load(state)


def test_states_cannot_nest_without_end() -> None:
    """A hostile file of mixtures within mixtures is refused, not recursed into."""
    policy = Uniform(2)
    for _ in range(60):
        policy = Mixture((policy,), (1.0,))
    with pytest.raises(StoreError, match="within"):
        load(policy.state())


def test_the_suite_catches_a_dishonest_policy() -> None:
    """A policy whose actions do not follow its probabilities, or ignore the mask, fails the conformance suite."""

    @dataclass(frozen=True)
    class Liar(Uniform):
        def act(self, context, rng, allowed=None):
            action = np.zeros(len(context), np.int32)
            if allowed is not None:
                action = allowed.argmax(1).astype(np.int32)
            rng.random(len(context))
            return action, self.prob(context, action, allowed)

    @dataclass(frozen=True)
    class Deaf(Uniform):
        def probs(self, context, allowed=None):
            return super().probs(context)

    with pytest.raises(AssertionError, match="was drawn"):
        check_policy(Liar(3), PROBLEM)
    with pytest.raises(Exception, match="not allowed"):
        check_policy(Deaf(3), PROBLEM)
