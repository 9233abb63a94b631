"""Several fixed coupons in the same environments with the same luck: what they share is drawn once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.core.steps import Steps, bandit_steps
from understudy.envs.retail.shop import Shop
from understudy.envs.retail.world import Retail


def fixed_coupons(
    world: Retail, levels: Sequence[int], *, environments: int, skip: int, steps: int, seed: int
) -> list[Steps]:
    """A log per level: everybody is offered that coupon in each step; the last ``steps`` after ``skip`` unseen ones.

    Equal to walking the world once per level with equal seeds, where no coupon moves the shelf (it never does) and
    nobody leaves; in a third of the time, for prices, features and noise are drawn once.
    """
    world.reset(np.random.default_rng(seed), world.customers)
    parts: list[list[np.ndarray]] = [[] for _ in levels]
    for _ in range(environments):
        leader = world.shops[0]
        shops = [leader, *(Shop(world.terms, leader.market, leader.key) for _ in levels[1:])]
        for t in range(skip + steps):
            eps = leader.noise()
            for level, shop, part in zip(levels, shops, parts):
                shop.shelf = leader.shelf
                outcomes, _ = shop.step(shop.offer(np.full(world.customers, level), eps))
                if t >= skip:
                    part.append(outcomes)
            leader.look()
        world.renew(np.ones(world.customers, bool))
    return [_log(world, level, part, steps) for level, part in zip(levels, parts)]


def _log(world: Retail, level: int, part: list[np.ndarray], steps: int) -> Steps:
    """Outcomes [U, o] of environments × steps → steps, customer by customer."""
    whole = np.array(part)
    outcomes = whole.reshape(-1, steps, *whole.shape[1:]).swapaxes(1, 2).reshape(-1, whole.shape[-1])
    n, m = len(outcomes), len(outcomes) // steps
    margin = world.settings.reward == "margin"
    log = bandit_steps(
        np.zeros((n, 0)), np.full(n, level), outcomes[:, 0] - margin * outcomes[:, 1], np.ones(n), outcomes=outcomes
    )
    last = np.arange(n) % steps == steps - 1
    return log.with_(
        starts=np.arange(0, n + 1, steps),
        unit=np.arange(m, dtype=np.uint64),
        terminated=~np.ones(n, bool),
        truncated=last,
    )
