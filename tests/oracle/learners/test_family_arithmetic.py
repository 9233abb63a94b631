"""By hand: who is followed in greedy actor-critic, what a logged action weighs in tawac, what surprises average_ac."""

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import Steps
from understudy.learners import greedy_ac
from understudy.learners.average_ac import AverageAC, table, td_error
from understudy.learners.replay import Batch
from understudy.learners.tawac import weights
from understudy.models.feature_map import fit_feature_map

LINE = Problem(
    features=(Feature(name="x"),),
    actions=ActionSpace(low=(-1.0,), high=(1.0,)),
    discount=0.9,
    horizon=9,
    unit="episode",
)


def test_the_best_of_five_proposals() -> None:
    """⌈.4·5⌉ = 2 of values 1, 5, 3, 2, 4: the second and the fifth; ⌈.41·5⌉ = 3 takes the third too; ⌈.1·5⌉ = 1."""
    q = np.array([[1.0], [5.0], [3.0], [2.0], [4.0]])
    y = np.array([-0.8, -0.4, 0.0, 0.4, 0.8])[:, None, None]
    assert greedy_ac.best(np, q, y, (5, 0.4)).ravel().tolist() == [-0.4, 0.8]
    assert greedy_ac.best(np, q, y, (5, 0.41)).ravel().tolist() == [-0.4, 0.8, 0.0]
    assert greedy_ac.best(np, q, y, (5, 0.1)).ravel().tolist() == [-0.4]
    assert len(greedy_ac.best(np, np.zeros((30, 1)), np.zeros((30, 1, 1)), (30, 0.1))) == 3


def test_each_row_has_a_best_of_its_own() -> None:
    """Two contexts, two dimensions."""
    q = np.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]])
    y = np.arange(12.0).reshape(3, 2, 2)
    assert greedy_ac.best(np, q, y, (3, 0.3)).tolist() == [[[8.0, 9.0], [2.0, 3.0]]]


def test_the_percentile_update_by_hand() -> None:
    """−½(1·(−1 − 3)/2 + 2·(−2 − 4)/2) = 4: rows weigh 1 and 2, the best two of each are averaged."""
    x = np.zeros((2, 1))
    batch = Batch(x, x, np.zeros(2), np.zeros(2), x, x, np.array([1.0, 2.0]))
    assert greedy_ac.percentile_loss(np.array([[-1.0, -2.0], [-3.0, -4.0]]), batch) == pytest.approx(4.0, abs=1e-12)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (2.0, [0.0, 0.0, 0.5, 1.0, 3.0]),  # [1 + A/2]₊
        (1.0, [np.exp(-2), np.exp(-1), np.exp(-0.5), 1.0, np.exp(2)]),
        (3.0, [0.0, 0.0, 0.0, 1.0, 5.0**0.5]),  # [1 + 2·A/2]₊^½
        (1.5, [0.0, 0.25, 0.75**2, 1.0, 4.0]),  # [1 + .5·A/2]₊²
    ],
)
def test_exp_q_by_hand(index: float, expected: list[float]) -> None:
    """A = −4, −2, −1, 0, 4 and τ = 2."""
    advantage = np.array([-4.0, -2.0, -1.0, 0.0, 4.0])
    np.testing.assert_allclose(weights(np, advantage, index, 2.0, 100.0), expected, atol=1e-12)


def test_exp_q_is_cut_and_nears_the_exponential() -> None:
    """At the largest weight; and q = 1 + 10⁻⁶ is q = 1."""
    assert weights(np, np.array([50.0]), 2.0, 1.0, 7.0).tolist() == [7.0]
    assert weights(np, np.array([50.0]), 1.0, 1.0, 7.0)[0] == pytest.approx(7.0)
    a = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(weights(np, a, 1 + 1e-6, 1.0, 100.0), np.exp(a), rtol=1e-5)


def test_the_surprise_of_an_average_reward() -> None:
    """δ = 2 − .5 + 3 − 4 = .5: no discount."""
    assert td_error(2.0, 0.5, 3.0, 4.0) == 0.5


def steps(**change) -> Steps:
    """Two episodes on a line: −1, 1 terminates; then 0 is truncated at 2."""
    found = {
        "starts": np.array([0, 2, 3]), "unit": np.arange(2, dtype=np.uint64), "time": np.arange(3, dtype=np.int64),
        "context": np.array([[-1.0], [1.0], [0.0]], np.float32), "action": np.array([[0.5], [-0.5], [0.2]], np.float32),
        "reward": np.array([1.0, 2.0, 4.0]), "terminated": np.array([False, True, False]),
        "truncated": np.array([False, False, True]), "final_context": np.array([[np.nan], [2.0]], np.float32),
    }  # fmt: skip
    return Steps(**(found | change))


def test_what_follows_a_step() -> None:
    """The next; after a terminal step the next start; after a truncated episode its final context."""
    log = steps()
    features = fit_feature_map(LINE, [log])
    rows = table(AverageAC(tilings=0), log, LINE, features)
    z = features(np.array([[-1.0], [1.0], [0.0], [2.0]], np.float32))[:, 0]
    np.testing.assert_array_equal(rows.by[:, 0], z[:3])
    np.testing.assert_array_equal(rows.next_by[:, 0], z[[1, 2, 3]])
    np.testing.assert_array_equal(rows.first, [1.0, 0.0, 1.0])


@pytest.mark.parametrize("scaled", [False, True])
def test_three_steps_by_hand(scaled: bool) -> None:
    """Linear in (z, 1), a Gaussian cut to the box; every number from the formulas of the learner's docstring.

    The score of a cut Gaussian: ∂log π/∂μ = (z − E z)/σ and ∂log π/∂log σ = z² − E z² of the cut standard normal.
    """
    from scipy.stats import truncnorm

    log = steps()
    features = fit_feature_map(LINE, [log])
    learner = AverageAC(tilings=0, decay=0.5, critic_lr=0.2, actor_lr=0.1, avg_reward_lr=0.4, scaled=scaled)
    state = learner.init(LINE, features, seed=0)
    state, _ = learner.take(state, log, LINE, features)

    z = features(np.array([[-1.0], [1.0], [0.0], [2.0]], np.float32))[:, 0].astype(float)
    value, theta, average = np.zeros(2), np.zeros((2, 2)), 0.0
    z_value, z_theta = np.zeros(2), np.zeros((2, 2))
    for i, (y, reward, first) in enumerate(zip((0.5, -0.5, 0.2), (1.0, 2.0, 4.0), (1, 0, 1))):
        here, there = np.array([z[i], 1.0]), np.array([z[i + 1], 1.0])
        delta = reward - average + there @ value - here @ value
        s = here @ theta
        mean, half = np.tanh(s[0]), 2.5 * (1 - np.tanh(s[1]) ** 2)
        std = np.exp(-2 + 2.5 * np.tanh(s[1]))
        low, high, at = (-1 - mean) / std, (1 - mean) / std, (y - mean) / std
        law = truncnorm(low, high)
        score = np.array([(at - law.mean()) / std * (1 - mean**2), (at**2 - law.moment(2)) * half])
        score *= std**2 if scaled else 1.0
        keep = 0.0 if first else 0.5
        z_value, z_theta = keep * z_value + here, keep * z_theta + np.outer(here, score)
        value, theta = value + 0.2 / 2 * delta * z_value, theta + 0.1 / 2 * delta * z_theta
        average += 0.4 * 0.2 * delta
    np.testing.assert_allclose(state.value, value, rtol=1e-5)
    np.testing.assert_allclose(state.theta, theta, rtol=1e-4, atol=1e-7)
    assert float(state.average) == pytest.approx(average, rel=1e-5)
