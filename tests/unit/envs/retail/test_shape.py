"""The package's own catalogue has the published shape: revenue by fixed coupon falls, then rises again.

A fast part of benchmarks/retail.py, from exact conditional means, so that no luck of customers is in it.
"""

from __future__ import annotations

import numpy as np
import pytest

from understudy.envs.retail.truth import Means, conditional
from understudy.envs.retail.world import retail
from understudy.models.shares import Shares

ENVIRONMENTS = 8


def fixed(level: int, **settings: object) -> Means:
    """Five steps unseen, three kept, with equal noise for every coupon."""
    world = retail(**settings)  # pyright: ignore[reportArgumentType]
    policy = Shares(tuple(np.eye(11)[level].tolist()))
    return conditional(world, policy, environments=ENVIRONMENTS, skip=5, steps=3, seed=1)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "independent"])
def test_revenue_falls_and_rises_again(tied: bool) -> None:
    """35 % earns a tenth less than none in nearly every environment, and 50 % more than 35 %; visits go the other way.

    Not a test of chance: environments and noise are fixed by their numbers.
    """
    none, middle, half = (fixed(level, reference_compat=tied) for level in (0, 7, 10))
    revenue = [means.revenue.mean((0, 2)) for means in (none, middle, half)]
    assert revenue[1].mean() < 0.9 * revenue[0].mean()
    assert (revenue[1] < revenue[0]).sum() >= ENVIRONMENTS - 1
    assert revenue[2].mean() > 1.02 * revenue[1].mean()
    buys = [means.buys.mean() for means in (none, middle, half)]
    assert buys[0] < buys[1] < buys[2], "more coupon, more customers who buy"


def test_in_the_delayed_shop_coupons_bring_visits_back() -> None:
    """Without coupons people stay away; a coupon of a third costs now and fills the shop later."""
    none, third = (fixed(level, scenario="delayed", customers=50) for level in (0, 7))
    assert none.visit.mean() < 0.4 < 0.8 < third.visit.mean()
    assert third.revenue.mean() > 1.5 * none.revenue.mean()
    per_visit = [means.revenue.sum() / means.visit.sum() for means in (none, third)]
    assert per_visit[1] < per_visit[0], "each single visit pays less, which is all that a myopic policy sees"
