"""Betting bounds never claim more than their level, however heavy the tail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from understudy.ops.betting import interval, lower_bound, weighted_streams
from understudy.ops.intervals import binomial_p

pytestmark = pytest.mark.statistical
LEVEL, LOGS = 0.95, 400

# name → (draws ≥ 0 of a log, their mean): bounded, rare and huge, infinite variance, barely any mean at all
TAILS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "bernoulli": (lambda rng, n: (rng.random(n) < 0.3).astype(float), 0.3),
    "one in a thousand": (lambda rng, n: 1000.0 * (rng.random(n) < 0.001), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(-2.0, 2.0, n), 1.0),
    "pareto 1.5": (lambda rng, n: rng.pareto(1.5, n) + 1.0, 3.0),
    "pareto 1.1": (lambda rng, n: rng.pareto(1.1, n) + 1.0, 11.0),
    "constant": (lambda rng, n: np.full(n, 2.0), 2.0),
}


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("n", [20, 200, 2000])
def test_lower_bounds_cover(name, n):
    """At most 5 % of 400 logs have a bound above the true mean, by an exact binomial test at 0.1 %.

    True rates are at most 2 %, so a false alarm over all 18 cells has probability below 1e-6.
    """
    draw, mean = TAILS[name]
    rng = np.random.default_rng((n, len(name)))
    above = sum(lower_bound(draw(rng, n), 0.0, LEVEL) > mean for _ in range(LOGS))
    assert binomial_p(above, LOGS, 1 - LEVEL, "greater") > 1e-3


def test_bounds_read_at_every_look_cover_at_all_of_them():
    """Twenty looks at one growing log: the chance that any bound is above the mean is at most 5 %."""
    rng, ever = np.random.default_rng(3), 0
    for _ in range(LOGS):
        x = 20.0 * (rng.random(1000) < 0.05)
        ever += any(lower_bound(x[:n], 0.0, LEVEL) > 1.0 for n in range(50, 1001, 50))
    assert binomial_p(ever, LOGS, 1 - LEVEL, "greater") > 1e-3


@pytest.mark.parametrize("epsilon", [0.3, 0.02])
def test_two_sided_intervals_of_weighted_rewards_cover(epsilon):
    """Rewards in [0, 1], weights up to 1/ε: both sides together err in at most 5 % of logs."""
    rng, missed = np.random.default_rng(4), 0
    for _ in range(LOGS):
        hit = rng.random(500) < epsilon
        reward = (rng.random(500) < np.where(hit, 0.6, 0.2)).astype(float)
        low, high = interval(*weighted_streams(hit / epsilon, reward, 0.0, 1.0), LEVEL)
        missed += not low <= 0.6 <= high
    assert binomial_p(missed, LOGS, 1 - LEVEL, "greater") > 1e-3


def test_the_bound_is_sharp_enough_to_be_of_use():
    """On 10,000 bounded draws the anytime bound is at most 2.2 times as far from the mean as a fixed-time normal one.

    The ratio is √(2 ln(1/α) + cost)/1.645 ≈ 1.95, nearly without noise.
    """
    x = np.random.default_rng(5).random(10_000)
    normal = 1.645 * x.std() / 100.0
    assert normal < x.mean() - lower_bound(x, 0.0, LEVEL) < 2.2 * normal
