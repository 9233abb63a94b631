"""Exact means of a walk: what customers do on average given prices, tastes and noise, before they decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import DiscretePolicy
from understudy.envs.retail.shop import Offer
from understudy.envs.retail.step import expected_basket
from understudy.envs.retail.world import Retail
from understudy.envs.walk import decide

BATCH = 10  # consecutive steps whose mean counts as one observation


@dataclass(frozen=True)
class Means:
    """Per step, environment and customer, f64[T, E, U]; of categories f64[T, E, J]."""

    visit: np.ndarray  # p
    revenue: np.ndarray  # p Σ_j q Σ_i π (1 + λ) P̃
    lines: np.ndarray  # p Σ_j q
    units: np.ndarray  # p Σ_j q Σ_i π (1 + λ)
    buys: np.ndarray  # p (1 − Π_j (1 − q))
    category: np.ndarray  # mean of q over customers


def conditional(world: Retail, policy: DiscretePolicy, *, environments: int, skip: int, steps: int, seed: int) -> Means:
    """Walk ``skip`` steps unseen, then keep the exact means of ``steps``. World and policy have their own streams."""
    noise, choices = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    world.reset(noise, environments * world.customers)
    kept: list[list[tuple[np.ndarray, ...]]] = []
    for t in range(skip + steps):
        action, _, _ = decide(policy, world.view().context, choices)
        offers = world.offers(action)
        if t >= skip:
            kept.append([])
            offers = _noted(world, offers, kept[-1])
        world.take(offers)
    return Means(*(np.array([[shop[i] for shop in row] for row in kept]) for i in range(6)))


def _noted(world: Retail, offers: Iterator[Offer], row: list[tuple[np.ndarray, ...]]) -> Iterator[Offer]:
    """The offers as they pass, and in ``row`` what each means on average."""
    for shop, offer in zip(world.shops, offers):
        terms, p = world.terms, offer.chance
        mean = expected_basket(shop.market, terms.catalogue, offer.choice, shop.shelf.price, terms.cost)
        q = mean.bought
        revenue, lines, units = (p * part.sum(0) for part in (offer.kept * mean.shelf, q, mean.units))
        row.append((p, revenue, lines, units, p * (1 - (1 - q).prod(0)), q.mean(1)))
        yield offer


def one_step_values(
    world: Retail, behavior: DiscretePolicy, policies: Sequence[DiscretePolicy], *, environments: int, seed: int
) -> np.ndarray:
    """The exact one-step value of each policy in the states a log of ``behavior`` shows: f64[n, E].

    v(π) = mean over the log's contexts of Σ_a π(a|x) E[r|a]: what an estimate from that log estimates. The states,
    and the others' coupons, are those of ``rollout.episodes(world, behavior, w, seed=seed, width=w)`` with
    w = environments × customers.
    """
    noise, choices = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    world.reset(noise, environments * world.customers)
    total = np.zeros((len(policies), environments))
    for _ in range(world.settings.steps):
        context = world.view().context
        action, _, _ = decide(behavior, context, choices)
        pays = world.expected(others=action)
        for i, policy in enumerate(policies):
            total[i] += (policy.probs(context) * pays).sum(1).reshape(environments, -1).mean(1)
        world.step(action)
    return total / world.settings.steps


def ratio(top: np.ndarray, bottom: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """R = Σ top / Σ bottom and its standard error, from the means a, b of n batches of ``BATCH`` consecutive steps.

    se = sd(a − R b) / (b̄ √n): the ratio, linearised.

    Args: f64[T, E, ...]: steps, environments (or trajectories), and what stays apart. bottom None = 1.
    """
    bottom = np.ones_like(top) if bottom is None else bottom
    a, b = (_batches(each) for each in (top, bottom))
    mean = a.mean(0) / b.mean(0)
    return mean, (a - mean * b).std(0, ddof=1) / b.mean(0) / np.sqrt(len(a))


def _batches(each: np.ndarray) -> np.ndarray:
    whole = each[: len(each) // BATCH * BATCH]
    split = whole.reshape(-1, BATCH, *whole.shape[1:]).mean(1)
    return split.reshape(-1, *split.shape[2:])
