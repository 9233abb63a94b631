"""The pmf of one row is the same whether it is asked for by itself or as a batch of one: bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.ensembles import Bag
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.features.kinds import CENTERED
from understudy.models.policies import Explore, Fixed, Mixture, Uniform
from understudy.models.ridge import LinearModel
from understudy.models.rows import row_probs

KINDS = ("number", "signed_log", "boolean", "category", "missing")


def feature_map(rng: np.random.Generator, kinds: list[str], quadratic: bool, shuffle: bool) -> FeatureMap:
    source = rng.permutation(len(kinds)) if shuffle else np.arange(len(kinds))
    columns = [
        FittedFeature(kind=kind, source=int(s), name=f"f{s}",
                      location=float(rng.normal()) if kind in CENTERED else 0.0,
                      scale=float(rng.uniform(0.1, 3)) if kind in CENTERED else 1.0,
                      limit=float(rng.choice([2.0, 1e6])), values=3 if kind == "category" else 0)
        for kind, s in zip(kinds, source)
    ]  # fmt: skip
    return FeatureMap(tuple(columns), quadratic)


def raw(rng: np.random.Generator, d: int) -> np.ndarray:
    values = np.where(rng.random(d) < 0.5, rng.integers(-1, 4, d), rng.normal(size=d) * 10.0 ** rng.integers(-3, 9))
    return np.where(rng.random(d) < 0.1, np.nan, values).astype(np.float32)[None]


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 25),
    st.sampled_from([KINDS[:1], KINDS[:1], ("number", "category", "boolean", "missing"), KINDS,
                     ("continuous",), ("continuous", "binary", "missing", "probability", "clip_log")]),
    st.sampled_from([("greedy", 0.0), ("epsilon_greedy", 0.1), ("epsilon_greedy", 0.7), ("epsilon_greedy", 1.0),
                     ("squarecb", 40.0), ("squarecb", 1e12), ("softmax", 2.0), ("proportional", 0.0), ("votes", 0.1)]),
)  # fmt: skip
def test_a_row_by_itself_is_a_batch_of_one(seed, k, d, kinds, rule):
    """Any feature map, any rule, ties, absurd values, masks: the same 64 bits."""
    rng = np.random.default_rng(seed)
    features = feature_map(rng, list(rng.choice(kinds, d)), bool(rng.random() < 0.1), bool(rng.random() < 0.3))
    coef = np.round(rng.normal(size=(k, features.width)) * rng.choice([0.0, 1.0, 1e3]), int(rng.choice([0, 12])))
    model = LinearModel(features, coef, np.round(rng.normal(size=k), int(rng.choice([0, 12]))))
    if rule[0] == "proportional":
        model = LinearModel(features, coef * 0, np.abs(model.intercept))
    policy = Explore(Bag((model, model)) if rule[0] == "votes" else model, *rule)
    if rng.random() < 0.2:
        policy = Mixture((policy, Uniform(k), Fixed(k, k - 1)), (0.7, 0.2, 0.1))
    ask = row_probs(policy)
    for _ in range(5):
        context = raw(rng, d)
        allowed = rng.random((1, k)) < 0.6 if rng.random() < 0.5 else None
        if allowed is not None:
            allowed[0, rng.integers(k)] = True
        assert np.array(ask(context, allowed)).tobytes() == policy.probs(context, allowed)[0].tobytes()


@pytest.mark.parametrize("policy", [Uniform(4), Fixed(4, 2)])
def test_policies_that_do_not_look(policy):
    """The answer that is made beforehand is not shared between rows: nobody can spoil it."""
    ask = row_probs(policy)
    first = ask(np.zeros((1, 2), np.float32), None)
    first[0] = 9.0
    assert ask(np.zeros((1, 2), np.float32), None) == policy.probs(np.zeros((1, 2), np.float32))[0].tolist()


def test_values_that_are_not_finite_are_left_to_the_policy():
    """What the shortcut cannot judge, the policy itself answers, NaN and all."""
    features = FeatureMap((FittedFeature(kind="number", source=0, name="x"),))
    policy = Explore(LinearModel(features, np.array([[np.inf], [1.0]]), np.zeros(2)), "epsilon_greedy", 0.1)
    context = np.zeros((1, 1), np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(row_probs(policy)(context, None), policy.probs(context)[0])
