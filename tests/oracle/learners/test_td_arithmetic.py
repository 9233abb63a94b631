"""DQN's and CRR's arithmetic against the reference (batch-rl.md, D5), in NumPy: three steps of one episode.

Q̂ online (1, 2), (3, 1), (0, 5); lagged at the second and third context (2, 4), (1, 3); actions 1, 0, 1; rewards
1, ½, −1; γ = .9; the third step ends the episode. The reference computed in float32: figures agree to 2e-7 of them.
"""

import numpy as np
import pytest

from understudy.learners.crr import CRR, actor_loss, advantages, critic_loss, weights
from understudy.learners.dqn import DQN, loss
from understudy.learners.replay import Batch

Q = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0]])
LAGGED = np.array([[2.0, 4.0], [1.0, 3.0], [7.0, 7.0]])
LOGITS = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
GAMMA = 0.9
SINGLE = 2e-7


def batch(discount=(GAMMA, GAMMA, 0.0), allowed=None) -> Batch:
    return Batch(
        x=None, action=np.array([1, 0, 1]), reward=np.array([1.0, 0.5, -1.0]), discount=np.array(discount),
        next_x=None, next_action=np.array([0, 1, 1]), weight=np.ones(3), next_allowed=allowed,
    )  # fmt: skip


def dqn(made: Batch, boost=None, **settings) -> float:
    learner = DQN(**({"target": "sarsa", "loss": "squared", "guidance": 1.0, "soften": 0.0} | settings))
    return float(loss(np, Q, LAGGED, LAGGED, made, learner, boost))


def test_the_maximum_of_the_lagged_network() -> None:
    """Targets 4.6, 3.2, −1."""
    assert dqn(batch(), target="max") == pytest.approx(14.2666667, rel=SINGLE)


def test_double_q_learning_with_masks_of_what_may_follow() -> None:
    """Only action 1, then only action 0: targets 4.6, 1.4, −1."""
    allowed = np.array([[False, True], [True, False], [True, True]])
    assert dqn(batch(allowed=allowed), target="double") == pytest.approx(15.1066667, rel=SINGLE)


def test_along_the_logged_actions() -> None:
    """SARSA: targets 2.8, 3.2, −1; with Huber's loss half of what is below 1."""
    assert dqn(batch()) == pytest.approx(12.2266667, rel=SINGLE)
    assert dqn(batch(), loss="huber") == pytest.approx(1.9466667, rel=SINGLE)


def test_discounts_over_time_and_over_several_steps() -> None:
    """γ to the power of elapsed time 1, 3, 1; then γ² of two steps, as ``transitions`` gives them."""
    assert dqn(batch((GAMMA, GAMMA**3, 0.0))) == pytest.approx(12.2459898, rel=SINGLE)
    assert dqn(batch((GAMMA**2, GAMMA**2, 0.0))) == pytest.approx(12.1297674, rel=SINGLE)


def test_a_boost_is_added_to_the_reward_of_its_action() -> None:
    """½ for action 0, 1 for action 1."""
    assert dqn(batch(), boost=np.array([0.5, 1.0])) == pytest.approx(9.5766667, rel=SINGLE)


def test_critic_regularised_regression() -> None:
    """Targets 3.7, 1.6145651, −1 under the actor at the next context; weights clipped at 20."""
    learner = CRR(weight="exp", loss="squared", guidance=1.0, soften=0.0)
    following = np.array([LOGITS[1], LOGITS[2], LOGITS[2]])
    found = critic_loss(np, Q[None], following, LAGGED[None], batch(), learner)
    assert found == pytest.approx(13.6031427, rel=SINGLE)
    weight = weights(np, advantages(np, Q[None], LOGITS, batch()), learner)
    np.testing.assert_allclose(weight, [1.3086, 2.7183, 20.0], atol=5e-5)
    assert actor_loss(np, LOGITS, weight, batch()) == pytest.approx(14.9442205, rel=SINGLE)
    np.testing.assert_array_equal(weights(np, np.array([-1.0, 0.0, 2.0]), CRR()), [0, 0, 1])
