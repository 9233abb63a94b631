"""The mathematics of one step, on arrays: utility, category, product, quantity, visit. No state, no randomness.

I products, J categories, U customers; matrices are [I, U] in any precision, sums of categories are float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.envs.retail.catalogue import Catalogue
from understudy.envs.retail.market import Market
from understudy.ops.network import sigmoid


@dataclass(frozen=True)
class Choice:
    """What U customers would choose in one step, if they came."""

    utility: np.ndarray  # f[I, U] μ after the cut
    weight: np.ndarray  # f[I, U] exp(μ − the category's highest μ)
    total: np.ndarray  # f[J, U] Σ weight over a category
    value: np.ndarray  # f64[J, U] CV = log Σ exp μ
    chance: np.ndarray  # f64[J, U] q, of buying from a category
    level: float  # at which utilities were cut


def utility(
    market: Market, catalogue: Catalogue, x: np.ndarray, price: np.ndarray, kept: np.ndarray, noise: np.ndarray | None
) -> np.ndarray:
    """μ = β^x X + β^w log P̃ + β^z Z + ε before the cut: f[I, U].

    Args:
        x: f[I, U];  price: f64[I] on the shelf;  noise: f[I, U] ε, or None for none.
        kept: f64[1, U] or f64[J, U] share of the price that is left to pay, 1 − c; P̃ = kept · price.
    """
    kind = x.dtype
    mu = market.taste * x
    if len(kept) == 1:  # log P̃ = log P + log kept, so β^w log P̃ is a matrix of rank two
        left = np.stack([market.product * np.log(price), market.product], 1).astype(kind)
        mu += left @ np.stack([market.customer, market.customer * np.log(kept[0])]).astype(kind)
    else:
        paid = np.log(kept)[catalogue.category] + np.log(price)[:, None]
        mu += (np.outer(market.product, market.customer) * paid).astype(kind)
    mu += market.quality
    if noise is not None:
        mu += noise
    return mu


def cut_level(mu: np.ndarray, percentile: float, highest: np.ndarray) -> float:
    """The percentile of all of ``mu`` by linear interpolation, as ``np.percentile``; ∞ at 100.

    At least as many entries as there are blocks reach the lowest of the blocks' highest values, so where the
    percentile lies among the n highest entries, those at or above the n-th highest block maximum suffice.

    Args: highest f[J, U], the largest entry of each of J·U disjoint blocks that make up ``mu``.
    """
    if percentile >= 100:
        return np.inf
    place = percentile / 100 * (mu.size - 1)
    low = int(place)
    n = mu.size - low  # the entry at ``low``, counted from the highest, which is 1
    if n > highest.size:
        return float(np.percentile(mu, percentile))
    floor = np.partition(highest, highest.size - n, axis=None)[highest.size - n]
    top = np.sort(mu[mu >= floor]).astype(np.float64)
    return float(top[-n] + (place - low) * (top[min(1 - n, -1)] - top[-n]))


def choose(
    market: Market, catalogue: Catalogue, mu: np.ndarray, percentile: float, level: float | None = None
) -> Choice:
    """Cut μ at its percentile, and share it out: CV_j = log Σ_{i∈j} e^μ, q_j = σ(γ0^c + γ1^c CV_j). Uses ``mu`` up.

    ``level``: cut there instead, where other customers' utilities are given.

    Exponents are taken relative to each category's highest, so that float32 neither overflows nor loses a category.
    """
    starts = catalogue.starts
    highest = np.maximum.reduceat(mu, starts, axis=0)
    cut = mu.dtype.type(cut_level(mu, percentile, highest) if level is None else level)
    np.minimum(mu, cut, out=mu)
    np.minimum(highest, cut, out=highest)
    weight = np.repeat(highest, catalogue.sizes, axis=0)
    np.subtract(mu, weight, out=weight)
    np.exp(weight, out=weight)
    total = np.add.reduceat(weight, starts, axis=0)
    value = highest.astype(np.float64) + np.log(total.astype(np.float64))
    chance = sigmoid(np, market.category_base[:, None] + market.category_slope[:, None] * value)
    return Choice(mu, weight, total, value, chance, float(cut))


def product_probability(choice: Choice, catalogue: Catalogue) -> np.ndarray:
    """π = e^μ / Σ e^μ within the category: f[I, U]."""
    return choice.weight / np.repeat(choice.total, catalogue.sizes, axis=0)


def mean_extra(market: Market, choice: Choice) -> np.ndarray:
    """λ = exp(γ0^q + γ1^q μ), the mean of the units bought beyond the first: f[I, U]."""
    rate = market.units_slope * choice.utility
    rate += market.units_base[:, None].astype(rate.dtype)
    return np.exp(rate, out=rate)


def store_value(value: np.ndarray) -> np.ndarray:
    """SV = log Σ_j exp CV_j: f64[J, U] → f64[U]."""
    top = value.max(0)
    return top + np.log(np.exp(value - top).sum(0))


def attraction(market: Market, visited: np.ndarray, before: np.ndarray, marketing: np.ndarray) -> np.ndarray:
    """s = σ(γ0^s + γ1^s V(t−1) SV(t−1) + γ2^s W(t)): f64[U]."""
    pull = market.store_slope * visited * before + market.store_marketing * marketing
    return sigmoid(np, market.store_base + pull)


def visit(market: Market, pull: np.ndarray, before: np.ndarray) -> np.ndarray:
    """p(t) = (1 − θ) s + θ p(t−1): f64[U]."""
    return (1 - market.inertia) * pull + market.inertia * before


@dataclass(frozen=True)
class Basket:
    """Exact means of one visit, by category: f64[J, U]. Multiply by the chance of a visit."""

    bought: np.ndarray  # q, the chance of a line
    units: np.ndarray  # q Σ_i π (1 + λ)
    shelf: np.ndarray  # q Σ_i π (1 + λ) P, at shelf prices
    cost: np.ndarray  # q Σ_i π (1 + λ) × what the product costs the shop


def expected_basket(
    market: Market, catalogue: Catalogue, choice: Choice, price: np.ndarray, cost: np.ndarray
) -> Basket:
    """What a visit buys on average, given utilities and prices; price and cost are f64[I]."""
    units = mean_extra(market, choice)
    units += 1
    units *= choice.weight
    share = choice.chance / choice.total.astype(np.float64)
    sums = [
        np.add.reduceat(units if each is None else units * each[:, None].astype(units.dtype), catalogue.starts, axis=0)
        for each in (None, price, cost)
    ]
    return Basket(choice.chance, *(share * total for total in sums))


@dataclass(frozen=True)
class Elasticities:
    """Own-price elasticities in closed form, f[I, U] each: by how many percent for a percent of price."""

    product: np.ndarray  # (1 − π) β^w
    category: np.ndarray  # π (1 − q) γ1^c β^w
    quantity: np.ndarray  # λ / (1 + λ) γ1^q β^w


def elasticities(market: Market, catalogue: Catalogue, choice: Choice) -> Elasticities:
    """Of the product given its category, of the category given a visit, of the quantity given the product."""
    share, extra = product_probability(choice, catalogue), mean_extra(market, choice)
    weight = np.outer(market.product, market.customer)
    slope = ((1 - choice.chance) * market.category_slope[:, None])[catalogue.category]
    return Elasticities((1 - share) * weight, share * slope * weight, extra / (1 + extra) * market.units_slope * weight)
