"""Minibatches are the same from memory and from files, and carry what a learner limits."""

import numpy as np
import pytest

from understudy.learners.dqn import DQN
from understudy.learners.gradient import fit
from understudy.learners.replay import Batch, Replay
from understudy.models.feature_map import fit_feature_map
from understudy.testing.conformance_learner import CHAIN, chain_log


@pytest.mark.parametrize("n", [1, 3])
def test_a_table_in_memory_and_samples_are_the_same_minibatches(n: int) -> None:
    """Column by column, masks and propensities too."""
    log = chain_log(30, 1, masked=True)
    features = fit_feature_map(CHAIN, log.scan())
    held, sampled = Replay(log, features, n), Replay(log, features, n, held=0)
    assert held._table is not None and sampled._table is None
    one, two = (replay.draw(np.random.default_rng(3), 4, 16) for replay in (held, sampled))
    for name in Batch._fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
        assert getattr(one, name).shape[:2] == (4, 16)


def test_training_from_samples_ends_where_training_from_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, with nothing held."""
    log, learner = chain_log(30, 1, masked=True), DQN(updates=150, batch=16, n=2)
    policy = fit(learner, log, seed=1)
    monkeypatch.setattr(Replay, "_table", None)
    again = fit(learner, log, seed=1)
    assert all((a == b).all() for a, b in zip(policy.state().arrays.values(), again.state().arrays.values()))


def test_a_learner_limits_what_may_follow() -> None:
    """Its mask reads the raw next context and takes the log's place."""
    log = chain_log(30, 1)
    features = fit_feature_map(CHAIN, log.scan())

    def on_if_beyond_one(context: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        assert allowed is None
        return np.column_stack([np.ones(len(context)), np.ones(len(context)), context[:, 0] > 1]).astype(bool)

    drawn = Replay(log, features, limit=on_if_beyond_one).draw(np.random.default_rng(0), 2, 32)
    assert drawn.next_allowed[..., 2].any() and not drawn.next_allowed[..., 2].all() and drawn.allowed is None
