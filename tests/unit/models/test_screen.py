"""The single-precision screen: the very numbers of the policy, rows near a tie included, and a bound that holds."""

import numpy as np
import pytest

from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.network import Network
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork
from understudy.models.scoring import Scorer
from understudy.models.screen import Screen, probabilities
from understudy.ops import network

K, D, ROWS = 3, 4, 20_000
FEATURES = FeatureMap(tuple(FittedFeature(kind="number", source=i, name=f"x{i}") for i in range(D)))


def layers(gain: float = 1.0, last: float = 1.0) -> tuple:
    made = network.start(np.random.default_rng(1), [D, 64, 64, K], 1)
    scales = [gain, gain, last]
    return tuple((w * np.float32(s), b + np.float32(0.01)) for (w, b), s in zip(made, scales))


def contexts() -> np.ndarray:
    """Ordinary, huge, tiny, missing."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((ROWS, D)) * 10.0 ** rng.choice([-20, 0, 0, 0, 6, 30], (ROWS, 1))
    x[::100, 0] = np.nan
    return x.astype(np.float32)


def masks() -> np.ndarray:
    rng = np.random.default_rng(3)
    allowed = rng.random((ROWS, K)) < 0.6
    allowed[np.arange(ROWS), rng.integers(0, K, ROWS)] = True
    return allowed


@pytest.mark.parametrize("rule,amount", [("greedy", 0.0), ("epsilon_greedy", 0.1)])
@pytest.mark.parametrize("gain,last", [(1.0, 1.0), (5.0, 1e-4), (1.0, 0.0)])
def test_the_probabilities_are_the_policys_to_the_last_bit(rule: str, amount: float, gain: float, last: float) -> None:
    """Also where all actions tie (last = 0), and where some are not allowed."""
    for model in (
        QNetwork(FEATURES, layers(gain, last), K),
        Network(FEATURES, layers(gain, last), -1.0, 3.0, "identity"),
    ):
        policy = floored(Explore(model, rule, amount), K, 0.02)
        for allowed in (None, masks()):
            found = probabilities(policy)(contexts(), allowed)
            np.testing.assert_array_equal(found, policy.probs(contexts(), allowed))


def test_most_rows_are_decided_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is tight enough to be of use: fewer than 5 % of ordinary rows are asked about again."""
    policy, asked = Explore(QNetwork(FEATURES, layers(), K)), []
    own = QNetwork.values
    monkeypatch.setattr(QNetwork, "values", lambda self, context: asked.append(len(context)) or own(self, context))
    x = np.random.default_rng(4).standard_normal((ROWS, D)).astype(np.float32)
    probabilities(policy)(x, None)
    assert sum(asked) < 0.05 * ROWS


@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
def test_no_row_is_further_off_than_its_bound(gain: float) -> None:
    """Against the same weights in double; and within a factor of 1000 of the truth, or it would prove nothing."""
    own, x = layers(gain), np.random.default_rng(5).standard_normal((ROWS, D)).astype(np.float32)
    scores, bound = Screen.of(tuple((w[0], b[0]) for w, b in own)).scores(x)
    wide = [(w[0].astype(np.float64), b[0].astype(np.float64)) for w, b in own]
    off = np.abs(scores - network.forward(np, wide, x.astype(np.float64))).max(1)
    assert (off <= bound).all() and bound.max() < 1000 * off.max()


def test_what_cannot_be_screened_is_asked_itself() -> None:
    """A saturated link makes ties that the scores do not show; softmax needs every digit."""
    for model, rule in (
        (Network(FEATURES, layers(), 0.0, 1.0, "logistic"), "greedy"),
        (QNetwork(FEATURES, layers(), K), "softmax"),
    ):
        policy = Explore(model, rule, 1.0 if rule == "softmax" else 0.0)
        assert probabilities(policy) == policy.probs


def test_a_row_gets_what_it_would_get_alone() -> None:
    """Whatever else is decided at the same time."""
    scorer = Scorer(Explore(QNetwork(FEATURES, layers(), K), "epsilon_greedy", 0.3))
    x, keys = contexts()[:1500], np.arange(1500, dtype=np.uint64)
    whole = scorer(x, keys)
    for i in range(0, 1500, 97):
        alone = scorer(x[i : i + 1], keys[i : i + 1])
        assert alone.action[0] == whole.action[i] and alone.propensity[0] == whole.propensity[i]
