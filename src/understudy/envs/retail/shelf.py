"""What a customer meets before anybody acts: prices, the product feature that changes, and the marketing feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.envs.retail.catalogue import Catalogue
from understudy.envs.retail.draws import gumbels, spread_normals
from understudy.envs.retail.law import Law
from understudy.envs.retail.market import Market
from understudy.envs.retail.streams import Purpose, stream

Key = tuple[int, int]  # environment, noise


@dataclass(frozen=True)
class Shelf:
    """One step of one environment, before coupons."""

    on: np.ndarray  # bool[I] in the discount state
    price: np.ndarray  # f64[I] P = max((1 − D) P0, lowest)
    x: np.ndarray  # f32[I, U] X
    x_mean: np.ndarray  # f64[U] over products
    push: np.ndarray  # f64[U] the part of W that no coupon moves


def next_shelf(
    law: Law, market: Market, catalogue: Catalogue, key: Key, step: int, on: np.ndarray, tied: bool
) -> Shelf:
    """The shelf of ``step``, after the discount state ``on`` bool[I] of the step before.

    h ~ Bernoulli(p01 or p11), d ~ Beta, D = h d. X_ui ~ N(M, S²) with M normal and S half-normal; tied: S = |M|.
    """
    rng = stream(key, Purpose.PRICES, step)
    on = rng.random(catalogue.n) < np.where(on, market.stays, market.starts)
    discount = on * rng.beta(*law.depth, catalogue.n)
    price = np.maximum((1 - discount) * catalogue.price, law.lowest_price)
    x = spread_normals(stream(key, Purpose.FEATURES, step), (catalogue.n, market.customers), tied=tied)
    if law.marketing == "random":
        push = spread_normals(stream(key, Purpose.MARKETING, step), (market.customers,), tied=tied).astype(np.float64)
    else:
        push = np.full(market.customers, discount.sum())
    return Shelf(on, price, x, x.mean(0, dtype=np.float32).astype(np.float64), push)


def marketing(law: Law, catalogue: Catalogue, shelf: Shelf, goodwill: np.ndarray) -> np.ndarray:
    """W: f64[U]. ``random`` noise, ``discount`` Σ_i D_i, ``discount_coupon`` Σ_i D_i + I g with goodwill g.

    With memory 0 goodwill is the coupon of the step before, as published.
    """
    return shelf.push + catalogue.n * goodwill if law.marketing == "discount_coupon" else shelf.push


def noise(law: Law, market: Market, catalogue: Catalogue, key: Key, step: int) -> np.ndarray:
    """ε ~ Gumbel(0, law.noise): f32[I, U]."""
    return gumbels(stream(key, Purpose.NOISE, step), (catalogue.n, market.customers), law.noise)
