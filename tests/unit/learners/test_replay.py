"""Minibatches are the same from memory and from files, and carry what a learner limits."""

import msgspec
import numpy as np
import pytest

from understudy.core.steps import Steps
from understudy.learners.dqn import DQN
from understudy.learners.gradient import fit
from understudy.learners.replay import Batch, Replay
from understudy.models.feature_map import fit_feature_map
from understudy.testing.conformance_learner import CHAIN, LoggedSteps, chain_log


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


@pytest.mark.parametrize("held", [1 << 20, 0])
def test_guidance_counts_for_every_step_and_span(held: int) -> None:
    """γ = .9, g = .5: rewards 1, 2, 4 with spans 2, 3, 1 over n = 2 are 1 + .45²·2, and what follows counts .45⁵."""
    steps = Steps(
        starts=np.array([0, 3]), unit=np.zeros(1, np.uint64), time=np.arange(3), context=np.zeros((3, 2), np.float32),
        action=np.zeros(3, np.int32), reward=np.array([1.0, 2.0, 4.0]), terminated=np.zeros(3, bool),
        truncated=np.array([False, False, True]), final_context=np.ones((1, 2), np.float32),
        span=np.array([2.0, 3.0, 1.0]),
    )  # fmt: skip
    log = LoggedSteps(CHAIN, steps)
    replay = Replay(log, fit_feature_map(CHAIN, log.scan()), 2, held, guidance=0.5)
    drawn = replay.draw(np.random.default_rng(0), 1, 64)
    by_hand = {1.0 + 0.45**2 * 2: 0.45**5, 2.0 + 0.45**3 * 4: 0.45**4, 4.0: 0.45}
    found = dict(zip(drawn.reward[0].tolist(), drawn.discount[0].tolist()))
    assert sorted(found.items()) == [pytest.approx(pair, rel=1e-6) for pair in sorted(by_hand.items())]


def test_guidance_reaches_the_minibatches_of_a_training() -> None:
    """A learner of γ = .9 guided by ½ is one of γ = .45, over two steps too: the same policy bit for bit."""
    log = chain_log(30, 1)
    guided = fit(DQN(updates=100, batch=16, n=2, guidance=0.5), log, seed=1)
    short = LoggedSteps(msgspec.structs.replace(CHAIN, discount=0.45), log.steps)
    plain = fit(DQN(updates=100, batch=16, n=2, guidance=1.0), short, seed=1)
    assert all((a == b).all() for a, b in zip(guided.state().arrays.values(), plain.state().arrays.values()))
