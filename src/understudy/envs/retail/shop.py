"""One environment in progress: a market, what has happened to its customers so far, and what lies on the shelf."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from understudy.envs.retail.baskets import Lines, Luck, buy, draw_luck
from understudy.envs.retail.catalogue import Catalogue
from understudy.envs.retail.coupons import Coupons
from understudy.envs.retail.law import Law
from understudy.envs.retail.market import Market
from understudy.envs.retail.observe import new_tallies, scalars, tally
from understudy.envs.retail.shelf import Key, Shelf, marketing, next_shelf, noise
from understudy.envs.retail.step import (
    Basket,
    Choice,
    attraction,
    choose,
    expected_basket,
    store_value,
    utility,
    visit,
)
from understudy.envs.retail.streams import Purpose, stream

OUTCOMES = ("revenue", "cost", "units", "new_categories", "coupon_spend", "environment", "sensitivity", "customer")
MEMORY = ("tallies", "age", "before", "came", "value", "goodwill", "seen", "on")


@dataclass(frozen=True)
class Terms:
    """What all environments of a world share."""

    law: Law
    catalogue: Catalogue
    coupons: Coupons
    cost: np.ndarray  # f64[I] what a unit costs the shop
    tied: bool
    churn: float


@dataclass(frozen=True)
class Offer:
    """One step of U customers between the coupon and the till."""

    action: np.ndarray  # i64[U]
    luck: Luck
    redeemed: np.ndarray  # bool[U]
    kept: np.ndarray  # f64[1, U] or f64[J, U] share of the price left to pay
    choice: Choice
    chance: np.ndarray  # f64[U] p of a visit


@dataclass
class Shop:
    """U customers at step ``t``. All that the next step depends on is in ``MEMORY``, ``key`` and ``t``."""

    terms: Terms
    market: Market
    key: Key
    t: int = 0
    tallies: np.ndarray = field(init=False)  # f64[9, U]
    age: np.ndarray = field(init=False)  # i64[U] steps of each customer's episode so far
    before: np.ndarray = field(init=False)  # f64[U] p(t−1)
    came: np.ndarray = field(init=False)  # bool[U] V(t−1)
    value: np.ndarray = field(init=False)  # f64[U] SV(t−1)
    goodwill: np.ndarray = field(init=False)  # f64[U] g(t)
    seen: np.ndarray = field(init=False)  # bool[J, U] categories bought in this episode
    on: np.ndarray = field(init=False)  # bool[I] discount state of t − 1
    shelf: Shelf = field(init=False)
    lines: Lines | None = field(init=False, default=None)  # of the step before

    def __post_init__(self) -> None:
        customers, categories = self.market.customers, len(self.terms.catalogue.sizes)
        self.tallies, self.age = new_tallies(customers), np.zeros(customers, np.int64)
        self.before, self.came = np.ones(customers), np.zeros(customers, bool)
        self.value, self.goodwill = np.zeros(customers), np.zeros(customers)
        self.seen, self.on = np.zeros((categories, customers), bool), np.zeros(self.terms.catalogue.n, bool)
        self.look()

    def look(self) -> None:
        """Set out the shelf of step t: a function of the key, the step and the discount state before."""
        terms = self.terms
        self.shelf = next_shelf(terms.law, self.market, terms.catalogue, self.key, self.t, self.on, terms.tied)

    def arrive(self, customers: np.ndarray) -> None:
        """In these places begin new episodes: newcomers with the tastes of those who left, and no past."""
        self.tallies[:, customers] = 0
        self.age[customers], self.before[customers] = 0, 1
        self.came[customers], self.value[customers], self.goodwill[customers] = False, 0, 0
        self.seen[:, customers] = False

    @property
    def marketing(self) -> np.ndarray:
        """f64[U] W(t)."""
        return marketing(self.terms.law, self.terms.catalogue, self.shelf, self.goodwill)

    @property
    def visit_chance(self) -> np.ndarray:
        """f64[U] p(t): 1 in the first step of an episode."""
        pull = attraction(self.market, self.came, self.value, self.marketing)
        return np.where(self.age == 0, 1.0, visit(self.market, pull, self.before))

    def context(self) -> np.ndarray:
        """f32[U, 9] what a policy sees."""
        shelf = self.shelf
        return scalars(self.tallies, self.terms.catalogue, shelf.price, self.marketing, shelf.x_mean)

    def luck(self) -> Luck:
        """The uniform numbers of this step."""
        rng = stream(self.key, Purpose.DECISIONS, self.t)
        return draw_luck(rng, len(self.terms.catalogue.sizes), self.market.customers)

    def noise(self) -> np.ndarray:
        """f32[I, U] ε of this step."""
        return noise(self.terms.law, self.market, self.terms.catalogue, self.key, self.t)

    def choice(self, kept: np.ndarray, eps: np.ndarray, level: float | None = None) -> Choice:
        """What customers would choose if this share of the prices were left to pay."""
        terms = self.terms
        mu = utility(self.market, terms.catalogue, self.shelf.x, self.shelf.price, kept, eps)
        return choose(self.market, terms.catalogue, mu, terms.law.percentile, level)

    def basket(self, kept: np.ndarray, eps: np.ndarray, level: float | None = None) -> Basket:
        """Its exact means, given that they come."""
        choice, terms = self.choice(kept, eps, level), self.terms
        return expected_basket(self.market, terms.catalogue, choice, self.shelf.price, terms.cost)

    def offer(self, action: np.ndarray, eps: np.ndarray | None = None) -> Offer:
        """What coupons i64[U] make of this step, before anybody has decided anything; ``eps`` where it is at hand."""
        luck = self.luck()
        redeemed = luck.redeem < self.market.redemption
        kept = self.terms.coupons.kept(action, redeemed)
        return Offer(
            action, luck, redeemed, kept, self.choice(kept, self.noise() if eps is None else eps), self.visit_chance
        )

    def step(self, offer: Offer) -> tuple[np.ndarray, np.ndarray]:
        """Customers decide: (outcomes f64[U, o], who left for good bool[U]). ``look`` then sets out the next shelf."""
        terms, price, action = self.terms, self.shelf.price, offer.action
        luck, redeemed, kept, choice, chance = offer.luck, offer.redeemed, offer.kept, offer.choice, offer.chance
        came = luck.visit < chance
        lines = buy(self.market, terms.catalogue, choice, came, luck)
        off = 1.0 - kept[lines.category % len(kept), lines.customer]
        outcomes = self._outcomes(lines, price, off)
        tally(self.tallies, lines, terms.catalogue, price, np.where(redeemed[lines.customer], off, np.nan))
        memory = terms.law.memory
        offered = terms.coupons.depth[action] * terms.coupons.reach[action]
        self.goodwill = memory * self.goodwill + (1 - memory) * offered
        self.before, self.came, self.value = chance, came, store_value(choice.value)
        self.lines, self.on = lines, self.shelf.on
        self.age += 1
        self.t += 1
        return outcomes, ~came & (luck.leave < terms.churn)

    def _outcomes(self, lines: Lines, price: np.ndarray, off: np.ndarray) -> np.ndarray:
        """f64[U, o] in the order of ``OUTCOMES``; notes the categories that were bought for the first time."""
        customers = self.market.customers
        shelf = price[lines.product] * lines.units
        new = ~self.seen[lines.category, lines.customer]
        self.seen[lines.category, lines.customer] = True
        columns = [
            shelf * (1 - off),
            self.terms.cost[lines.product] * lines.units,
            lines.units,
            new,
            shelf * off,
        ]
        sums = [lines.sum(column, customers) for column in columns]
        places = np.arange(customers, dtype=np.float64)
        return np.stack([*sums, np.full(customers, float(self.key[0])), self.market.sensitivity, places], 1)
