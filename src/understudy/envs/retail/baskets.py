"""From probabilities to baskets: one uniform number per customer and category decides, so policies share their luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.envs.retail.catalogue import Catalogue
from understudy.envs.retail.market import Market
from understudy.envs.retail.step import Choice


@dataclass(frozen=True)
class Lines:
    """What was bought in one step: L lines, ordered by category, then customer."""

    customer: np.ndarray  # i64[L]
    category: np.ndarray  # i64[L]
    product: np.ndarray  # i64[L]
    units: np.ndarray  # i64[L] ≥ 1

    def sum(self, each: np.ndarray, customers: int) -> np.ndarray:
        """f64[U] sums of one number per line."""
        return np.bincount(self.customer, each, customers)


@dataclass(frozen=True)
class Luck:
    """The uniform numbers of one step. Which of them matter depends on actions; what they are does not."""

    visit: np.ndarray  # f64[U]
    redeem: np.ndarray  # f64[U]
    leave: np.ndarray  # f64[U]
    category: np.ndarray  # f64[J, U]
    product: np.ndarray  # f64[J, U]
    units: np.ndarray  # f64[J, U]


def draw_luck(rng: np.random.Generator, categories: int, customers: int) -> Luck:
    """All of one step's, in an order that stands for ever."""
    return Luck(*rng.random((3, customers)), *rng.random((3, categories, customers)))


def buy(market: Market, catalogue: Catalogue, choice: Choice, came: np.ndarray, luck: Luck) -> Lines:
    """Categories with chance q, one product each with chance π, 1 + Poisson(λ) units.

    Products are looked at only where a category was chosen: about one in twenty.

    Args: came bool[U].
    """
    category, customer = np.nonzero((luck.category < choice.chance) & came)
    product = _pick(choice, catalogue, category, customer, luck.product[category, customer])
    slope = market.units_slope[product, customer].astype(np.float64)
    mean = np.exp(market.units_base[product] + slope * choice.utility[product, customer])
    return Lines(customer, category, product, 1 + poisson(luck.units[category, customer], mean))


def poisson(u: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The smallest k with P(K ≤ k) > u: f64[n] each → i64[n]. Climbs the probabilities; means to 700."""
    count = np.zeros(len(u), np.int64)
    term = np.exp(-mean)
    reached = term.copy()
    rest = np.flatnonzero((u >= reached) & (term > 0))
    while len(rest):
        count[rest] += 1
        term[rest] *= mean[rest] / count[rest]
        reached[rest] += term[rest]
        rest = rest[(u[rest] >= reached[rest]) & ((term[rest] > 1e-18) | (count[rest] < mean[rest]))]
    return count


def _pick(
    choice: Choice, catalogue: Catalogue, category: np.ndarray, customer: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """i64[L] products by inverse distribution function, all ragged categories in one running sum."""
    sizes, starts = catalogue.sizes[category], catalogue.starts[category]
    ends = np.cumsum(sizes)
    begins = ends - sizes
    line = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(line)) - begins[line] + starts[line]
    running = np.cumsum(choice.weight[rows, customer[line]], dtype=np.float64)
    before = np.where(begins > 0, running[begins - 1], 0.0)
    last = running[ends - 1]
    at = np.searchsorted(running, before + u * (last - before), side="right")
    return starts + np.minimum(at - begins, sizes - 1)


def lines_at_rest(shops: Sequence[Lines | None]) -> dict[str, np.ndarray]:
    """The last lines of several shops as one array: ``lines`` i64[L, 5], shop first; none where none were."""
    parts = [
        np.column_stack([np.full(len(each.units), b), each.customer, each.category, each.product, each.units])
        for b, each in enumerate(shops)
        if each is not None
    ]
    return {"lines": np.concatenate([np.zeros((0, 5), np.int64), *parts])}


def lines_of(arrays: Mapping[str, np.ndarray], b: int) -> Lines:
    """Those of shop b."""
    rows = arrays["lines"][arrays["lines"][:, 0] == b]
    return Lines(*rows[:, 1:].T)
