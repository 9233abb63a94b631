"""What a shop tells beyond rewards: figures of episodes, and what every coupon would have paid."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.protocols import Revealing, Telling
from understudy.envs.retail.world import retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform


def test_the_log_that_is_revealed_is_the_log_that_is_walked() -> None:
    world = retail(steps=5, customers=20, products=90)
    assert isinstance(world, Revealing) and isinstance(world, Telling)
    log, pays = world.revealed(Uniform(11), 100, 3)
    plain = episodes(retail(steps=5, customers=20, products=90), Uniform(11), 100, seed=3)
    assert np.array_equal(log.reward, plain.reward) and np.array_equal(log.action, plain.action)
    assert pays.shape == (500, 11)


def test_rewards_scatter_about_what_is_revealed() -> None:
    """3,000 steps: the mean gap within 4 standard errors (false alarm 6e-5), and rows matched to their own steps."""
    world = retail(steps=10, customers=50, products=200)
    log, pays = world.revealed(Uniform(11), 300, 1)
    expected = pays[np.arange(log.n), log.action]
    gap = log.reward - expected
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(log.n)
    for rows in (1, 10):  # the next step's, the next customer's
        assert (gap**2).mean() < ((log.reward - np.roll(expected, rows)) ** 2).mean()


def test_figures_of_both_halves_average_to_those_of_all() -> None:
    world = retail(steps=6, customers=40, products=90)
    told = world.figures(episodes(world, Uniform(11), 80, seed=2))
    assert (told["revenue[sensitive]"] + told["revenue[insensitive]"]) / 2 == pytest.approx(told["revenue"])
    assert sum(value for name, value in told.items() if name.startswith("share[")) == pytest.approx(1)


def test_where_customers_leave_nothing_is_revealed() -> None:
    with pytest.raises(ConfigError, match="nobody leaves"):
        retail(steps=5, customers=20, products=90, churn=0.1).revealed(Uniform(11), 20, 0)
