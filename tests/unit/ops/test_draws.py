"""Bounds of the averaged process: exact on few draws, on the safe side on many."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.ops import draws
from understudy.ops.betting import DR_BOUNDS
from understudy.ops.draws import Draws
from understudy.ops.paired import controlled_difference, ips_difference

NEED = float(np.log(20))


def some(n: int, seed: int = 0) -> Draws:
    """ε-greedy over three actions, lift about .08, a model that knows the truth."""
    rng = np.random.default_rng(seed)
    old, new, mean = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.8, 0.1]), np.array([0.6, 0.72, 0.3])
    action = rng.choice(3, n, p=old)
    reward = (rng.random(n) < mean[action]).astype(float)
    tables = [np.broadcast_to(table, (n, 3)) for table in (new, old, old)]
    w = new[action] / old[action]
    dr = controlled_difference(*tables, action, reward, np.broadcast_to(mean, (n, 3)), DR_BOUNDS)
    return Draws(ips_difference(w, np.ones(n), reward), dr)


@pytest.mark.parametrize("model", [True, False])
def test_the_bound_is_the_margin_that_is_just_rejected(model):
    """On few draws the peak of the process at the bound is 1/α, to the precision of the root."""
    x = some(1500)
    x = x if model else Draws(x.ips, None)
    bound = x.bound(NEED, 0.0, x.wealth(0.0).peak)
    assert x.wealth(bound).peak >= NEED > x.wealth(bound + 5e-5).peak


def test_on_many_draws_the_bound_is_a_little_lower_and_never_higher(monkeypatch):
    """Reading fewer bets at fewer draws lowers the bound by less than a tenth of its distance from the mean."""
    x = some(6000, 1)
    exact = x.bound(NEED, 0.0, x.wealth(0.0).peak)
    monkeypatch.setattr(draws, "_EXACT", 1000)
    fast = x.bound(NEED, 0.0, x.wealth(0.0).peak)
    assert fast <= exact + 1e-5
    assert exact - fast < 0.1 * (x.best.mean() - exact)


def test_the_bound_is_never_at_odds_with_the_proof(monkeypatch):
    """If the process rejected a margin, the bound is at least that margin, however coarsely it is computed."""
    monkeypatch.setattr(draws, "_EXACT", 10)
    monkeypatch.setattr(draws, "_BEST", 1)
    x = some(3000, 2)
    margin = 0.0
    peak = x.wealth(margin).peak
    assert peak >= NEED
    assert x.bound(NEED, margin, peak) >= margin
    assert x.bound(NEED, 0.5, x.wealth(0.5).peak) <= 0.5


def test_the_range_ends_the_bounds():
    """All draws at the floor: nothing can be claimed, and the bound is −1, the lowest difference there is."""
    assert Draws(np.full(20, -1.0), None).bound(NEED, 0.0, 0.0) == -1.0
