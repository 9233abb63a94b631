"""A log at a glance."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from understudy.core.errors import DataError
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.diagnostics import summarize
from understudy.testing.cast import TINY, Table, tiny_bandit
from understudy.testing.worlds import KINDS, world

BEHAVIOR = Table(((0.5, 0.25, 0.25), (0.25, 0.25, 0.5)))


def test_counts_and_means_by_hand() -> None:
    """Three rows, two actions: shares 2/3, 1/3, 0; mean rewards 1/2, 1, and 0 where there is nothing."""
    steps = bandit_steps(np.zeros((3, 1)), np.array([0, 0, 1]), np.array([0.0, 1.0, 1.0]), np.array([0.5, 0.7, 0.1]))
    s = summarize(MemoryDataset(TINY, steps))
    assert (s.n_steps, s.n_episodes, s.n_units) == (3, 3, 3)
    assert s.mean_reward == pytest.approx(2 / 3)
    assert [(a.name, a.n, a.mean_reward) for a in s.actions] == [("a", 2, 0.5), ("b", 1, 1.0), ("c", 0, 0.0)]
    assert s.actions[0].mean_propensity == pytest.approx(0.6)
    assert s.actions[2].mean_propensity is None
    assert s.propensities is not None
    assert sum(s.propensities.counts) == 3


def test_points_have_t_intervals_and_cover_the_log() -> None:
    """At most 60 points, their counts sum to n, and each interval is Student's."""
    steps = tiny_bandit(BEHAVIOR, 600, 0)
    s = summarize(MemoryDataset(TINY, steps))
    assert len(s.rewards) == 60
    assert sum(p.n for p in s.rewards) == 600
    first = steps.reward[:10]
    low, high = scipy_stats.t.interval(0.95, 9, first.mean(), scipy_stats.sem(first))
    assert (s.rewards[0].low, s.rewards[0].high) == pytest.approx((low, high))


def test_a_single_row_knows_no_more_than_the_range() -> None:
    """One decision: its interval is the declared range of rewards."""
    s = summarize(MemoryDataset(TINY, bandit_steps(np.zeros((1, 1)), np.array([0]), np.array([1.0]))))
    assert (s.rewards[0].low, s.rewards[0].high) == TINY.reward_range
    assert s.propensities is None


def test_missing_outcomes_are_a_share() -> None:
    """Rows on which nothing arrived, as the origin counts them."""
    w = world(KINDS["masked"], 1000, 0)
    assert w.steps.origin is not None
    s = summarize(MemoryDataset(w.problem, w.steps))
    assert s.missing_outcomes == pytest.approx((w.steps.origin.arrived == 0).mean())
    assert s.n_units == len(np.unique(w.steps.unit))


def test_an_empty_log_is_an_error() -> None:
    """Nothing to describe."""

    class Empty(MemoryDataset):
        def scan(self, max_steps: int = 1):
            return iter(())

    with pytest.raises(DataError, match="empty"):
        summarize(Empty(TINY, tiny_bandit(BEHAVIOR, 1, 0)))
