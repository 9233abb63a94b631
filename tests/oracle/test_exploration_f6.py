"""Oracle group F6: exploration pmfs, each figure with the sum that gives it."""

import numpy as np
import pytest

from understudy.models.policies import Explore
from understudy.ops import explore


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float64)


def test_epsilon_greedy_puts_the_rest_on_the_top() -> None:
    """ε .4, the third of four on top: .4/4 each, and .6 more."""
    np.testing.assert_allclose(explore.epsilon_greedy(row(0, 1, 5, 2), 0.4), row(0.1, 0.1, 0.7, 0.1), atol=1e-12)
    np.testing.assert_allclose(explore.epsilon_top(4, 2, 0.4), [0.1, 0.1, 0.7, 0.1], atol=1e-12)


def test_a_top_beyond_the_last_action_means_the_last() -> None:
    """An index out of range does not fail; it is the last action."""
    np.testing.assert_allclose(explore.epsilon_top(4, 17, 0.4), [0.1, 0.1, 0.1, 0.7], atol=1e-12)


def test_softmax() -> None:
    """λ .2 over 1 2 3 8: e^.2 e^.4 e^.6 e^1.6 over their sum 9.489."""
    np.testing.assert_allclose(explore.softmax(row(1, 2, 3, 8), 0.2), row(0.128, 0.157, 0.192, 0.522), atol=1e-3)
    weights = np.exp([0.2, 0.4, 0.6, 1.6])
    np.testing.assert_allclose(explore.softmax(row(1, 2, 3, 8), 0.2)[0], weights / weights.sum(), atol=1e-12)


def test_softmax_of_costs() -> None:
    """In a bandit p ~ exp(−λ(c − min c)): costs are negative scores."""
    costs = np.array([0.3, 0.1, 0.9])
    weights = np.exp(-5 * (costs - 0.1))
    np.testing.assert_allclose(explore.softmax(-costs[None], 5.0)[0], weights / weights.sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("ballots", "k", "expected"),
    [([0, 0, 1, 1], 2, [0.5, 0.5]), ([2, 2, 3, 3], 4, [0, 0, 0.5, 0.5]), ([], 4, [1, 0, 0, 0])],
)
def test_bag_votes(ballots: list[int], k: int, expected: list[float]) -> None:
    """Shares of the votes; nobody voting is the first action."""
    np.testing.assert_allclose(explore.votes(np.array(ballots, np.int64).reshape(-1, 1), k)[0], expected, atol=1e-12)


def test_votes_counted_per_action() -> None:
    """Two actions with no vote and two with one each: {0,0,1,1} → [0,0,.5,.5]."""
    np.testing.assert_allclose(explore.by_weight(row(0, 0, 1, 1)), row(0, 0, 0.5, 0.5), atol=1e-12)


def test_weights() -> None:
    """Weights 1…5 → 1/15…5/15; all zero → the first."""
    np.testing.assert_allclose(explore.by_weight(row(1, 2, 3, 4, 5)), row(1, 2, 3, 4, 5) / 15, atol=1e-12)
    np.testing.assert_allclose(explore.by_weight(row(0, 0, 0, 0, 0)), row(1, 0, 0, 0, 0), atol=1e-12)


def test_tied_best_actions_share() -> None:
    """Five tied of seven, ε .001: .001/7 each, and .999/5 more for the five."""
    p = explore.epsilon_greedy(row(1, 1, 0, 1, 1, 0, 1), 0.001)[0]
    np.testing.assert_allclose(sorted(p), [0.000143] * 2 + [0.199943] * 5, atol=1e-6)
    assert p[2] == p[5] == pytest.approx(0.001 / 7)


def test_first_n() -> None:
    """Uniform for the first n decisions, greedy afterwards."""
    scores = row(0, 3, 1)
    np.testing.assert_allclose(explore.first_n(scores, 9, 10), row(1, 1, 1) / 3)
    np.testing.assert_allclose(explore.first_n(scores, 10, 10), row(0, 1, 0))


def test_squarecb() -> None:
    """K 3, γ 10, costs .2 .5 .3: 1/(3+3), 1/(3+1), and what is left for the best."""
    np.testing.assert_allclose(explore.squarecb(-row(0.2, 0.5, 0.3), 10.0), row(7 / 12, 1 / 6, 1 / 4), atol=1e-9)


def test_squarecb_schedule() -> None:
    """γ = gamma_scale · t^0.5."""
    assert explore.gamma_schedule(10.0, 400) == pytest.approx(200.0)
    assert explore.gamma_schedule(10.0, 400, 0.25) == pytest.approx(10 * 400**0.25)


def test_the_policy_gives_the_same_figures() -> None:
    """What the pure function says is what a policy over any value model acts by."""

    class Known:
        def values(self, context: np.ndarray) -> np.ndarray:
            return np.tile([-0.2, -0.5, -0.3], (len(context), 1))

        def state(self):
            raise NotImplementedError

    p = Explore(Known(), "squarecb", 10.0).probs(np.zeros((2, 1), np.float32))
    np.testing.assert_allclose(p, [[7 / 12, 1 / 6, 1 / 4]] * 2, atol=1e-9)
