"""The shop as a world of episodes: one customer of one environment a row, many environments side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import DiscretePolicy, Feedback, Policy, State, View
from understudy.core.steps import Steps
from understudy.envs.retail import told
from understudy.envs.retail.baskets import lines_at_rest, lines_of
from understudy.envs.retail.catalogue import Catalogue, draw_catalogue, read_catalogue
from understudy.envs.retail.coupons import make_coupons, read_levels
from understudy.envs.retail.law import LAWS
from understudy.envs.retail.market import Market, draw_market, read_market
from understudy.envs.retail.observe import FEATURES
from understudy.envs.retail.settings import LEVELS, SPLITS, Settings, problem_of
from understudy.envs.retail.shop import MEMORY, Offer, Shop, Terms
from understudy.ops import explore


class Retail:
    """w customers, ⌈w/U⌉ environments: place i is customer i mod U of the environment number first + ⌊i/U⌋.

    When all customers of an environment have ended their episodes at once, the place is taken by the next environment
    that nobody has met; a customer who leaves before is followed by a newcomer with the same tastes. Customers beyond
    w exist, and are offered nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        law = LAWS[settings.scenario]
        catalogue = _catalogue(settings)
        coupons = make_coupons(settings.coupon, settings.levels, len(catalogue.sizes))
        cost = settings.cost * catalogue.price
        self.terms = Terms(law, catalogue, coupons, cost, settings.reference_compat, settings.churn)
        self._files = [] if settings.draws is None else _draw_files(Path(settings.draws))
        self._read: dict[Path, Market] = {}
        self.customers = self.market(0).customers if self._files else settings.customers
        self.problem = problem_of(settings, coupons.names)
        self.shops: list[Shop] = []
        self._noise, self._next, self._w = 0, 0, 0
        self._context = np.zeros((0, len(FEATURES)), np.float32)

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w customers at their first step. ``rng`` gives one number: the key of all noise. Environments stay the same.

        So two policies walked with equal seeds meet the same customers, prices and luck.
        """
        self._noise, self._next, self._w = int(rng.integers(0, 2**63)), 0, w
        self.shops = [self._open() for _ in range(-(-w // self.customers))]
        self._context = np.concatenate([shop.context() for shop in self.shops])
        return self.view()

    def renew(self, ended: np.ndarray) -> View:
        """Begin the episodes marked in bool[w] anew."""
        self._context = self._context.copy()
        for b, rows in enumerate(self._rows()):
            leaves = np.zeros(self.customers, bool)
            leaves[: len(ended[rows])] = ended[rows]
            if ended[rows].all():
                self.shops[b] = self._open()
                self._context[b * self.customers : (b + 1) * self.customers] = self.shops[b].context()
            elif leaves.any():
                self.shops[b].arrive(leaves)
                self._context[np.flatnonzero(leaves) + rows.start] = self.shops[b].context()[leaves]
        return self.view()

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """Offer each customer coupon i32[w]; they visit, choose and pay."""
        return self.take(self.offers(action))

    def offers(self, action: np.ndarray) -> Iterator[Offer]:
        """What coupons i32[w] make of this step, one environment after the other: nothing has been decided yet."""
        return (shop.offer(each) for shop, each in zip(self.shops, self._actions(action)))

    def take(self, offers: Iterable[Offer]) -> tuple[View, Feedback]:
        """Customers decide on what they were offered; the environments move on."""
        made = []
        for shop, offer in zip(self.shops, offers):
            made.append(shop.step(offer))
            shop.look()
        outcomes, terminated = (self._joined(list(column)) for column in zip(*made))
        age = self._joined([shop.age for shop in self.shops])
        self._context = np.concatenate([shop.context() for shop in self.shops])
        reward = outcomes[:, 0] - outcomes[:, 1] if self.settings.reward == "margin" else outcomes[:, 0]
        reward = np.clip(reward, *self.problem.reward_range)
        return self.view(), Feedback(outcomes, reward, terminated, (age >= self.settings.steps) & ~terminated)

    def view(self) -> View:
        """What is known now."""
        return View(self._context[: self._w])

    def fields(self, b: int = 0) -> dict[str, np.ndarray]:
        """The raw observation of the U customers of environment b, by the published names; the context condenses it."""
        shop, rows = self.shops[b], slice(b * self.customers, (b + 1) * self.customers)
        bought = np.zeros((self.customers, self.terms.catalogue.n), np.int32)
        if shop.lines is not None:
            bought[shop.lines.customer, shop.lines.product] = shop.lines.units
        named = dict(zip(FEATURES, self._context[rows].T))
        return {
            "previous_transaction": bought,
            "product_price": shop.shelf.price.astype(np.float32),
            "marketing_feature": shop.marketing,
            "observed_customer_product_feature": shop.shelf.x.T,
            "avg_purchase_quantity": named["purchase_quantity"],
            "avg_purchase_probability": named["purchase_probability"],
            "avg_purchase_price": named["purchase_price"],
            "avg_redeemed_discount": named["redeemed_discount"],
            "avg_purchase_discount": named["purchase_discount"],
        }

    def expected(self, action: np.ndarray | None = None, *, others: np.ndarray | None = None) -> np.ndarray:
        """What this step pays on average: f64[w] under the coupons i32[w], or f64[w, k] for every coupon.

        E[r | X, P, ε, past] = p Σ_j q_j Σ_i π_i (1 + λ_i) (P̃_i − cost_i): exact but for decisions that are yet to be
        drawn. Utilities are cut at a percentile of the whole environment: in [w, k] at that of the coupons ``others``
        i32[w], or where nobody says, column a is the world in which everybody is offered a.
        """
        if action is not None:
            return self._joined([self._pays(*each) for each in zip(self.shops, self._actions(action), self._noises())])
        everybody, parts = np.ones(self.customers, np.int64), []
        given = [None] * len(self.shops) if others is None else self._actions(others)
        for shop, eps, offer in zip(self.shops, self._noises(), given):
            level = None if offer is None else shop.choice(self.terms.coupons.kept(offer, everybody > 0), eps).level
            columns = [self._pays(shop, a * everybody, eps, level) for a in range(self.terms.coupons.k)]
            parts.append(np.stack(columns, 1))
        return self._joined(parts)

    def true_value(self, policy: DiscretePolicy) -> float:
        """The exact one-step value of a policy here and now: the mean over customers of Σ_a π(a|x) E[r|a].

        The others' coupons, which matter for the cut only, are one fixed draw of the policy's.
        """
        probs = policy.probs(self.view().context)
        others = explore.draw(probs, np.random.default_rng(0).random(len(probs)))
        return float((probs * self.expected(others=others)).sum(1).mean())

    def figures(self, steps: Steps) -> dict[str, float]:
        """Revenue, demand, retention, reach, spend and coupons of whole episodes here; of all, and of either half."""
        return told.figures(steps, self.problem, len(self.terms.catalogue.sizes))

    def revealed(self, policy: Policy, episodes: int, seed: int, width: int | None = None) -> tuple[Steps, np.ndarray]:
        """(the log of a policy, what every coupon would have paid on average in each of its n steps f64[n, k])."""
        if self.settings.churn:
            raise ConfigError("retail: what coupons would have paid is told where nobody leaves", field="churn")
        return told.revealed(self, policy, episodes, seed, width)

    def state(self) -> State:
        """Everything ``from_state`` needs to go on from here, bit for bit. Noise has an address and is not in it."""
        arrays = {name: np.stack([getattr(shop, name) for shop in self.shops]) for name in MEMORY}
        arrays |= {"context": self._context.copy(), "t": np.array([shop.t for shop in self.shops], np.int64)}
        arrays |= lines_at_rest([shop.lines for shop in self.shops])
        numbers = [shop.key[0] for shop in self.shops]
        config = {"settings": asdict(self.settings) | {"levels": list(self.settings.levels)}, "numbers": numbers}
        return State("retail", config | {"noise": self._noise, "next": self._next, "w": self._w}, arrays)

    def _noises(self) -> Iterator[np.ndarray]:
        return (shop.noise() for shop in self.shops)

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts)[: self._w]

    def _pays(self, shop: Shop, action: np.ndarray, eps: np.ndarray, level: float | None = None) -> np.ndarray:
        """f64[U] expected reward under coupons i64[U], over who redeems and who does not."""
        redemption, margin, per = shop.market.redemption, self.settings.reward == "margin", []
        for redeemed in (True, False) if (redemption < 1).any() else (True,):
            kept = self.terms.coupons.kept(action, np.full(self.customers, redeemed))
            basket = shop.basket(kept, eps, level)
            per.append((kept * basket.shelf - (basket.cost if margin else 0.0)).sum(0))
        spend = per[0] if len(per) == 1 else redemption * per[0] + (1 - redemption) * per[1]
        return shop.visit_chance * spend

    def _rows(self) -> list[slice]:
        u = self.customers
        return [slice(b * u, min((b + 1) * u, self._w)) for b in range(len(self.shops))]

    def _actions(self, action: np.ndarray) -> list[np.ndarray]:
        """i64[U] per environment; customers beyond w are offered nothing."""
        whole = np.zeros(len(self.shops) * self.customers, np.int64)
        whole[: self._w] = action
        return list(whole.reshape(-1, self.customers))

    def _open(self) -> Shop:
        shop = self._shop(SPLITS.index(self.settings.split) * 2**32 + self.settings.first + self._next)
        self._next += 1
        return shop

    def _shop(self, number: int) -> Shop:
        return Shop(self.terms, self.market(number), (number, self._noise))

    def market(self, number: int) -> Market:
        law, catalogue = self.terms.law, self.terms.catalogue
        if not self._files:
            return draw_market(law, catalogue, number, self.settings.customers, tied=self.terms.tied)
        file = self._files[number % len(self._files)]
        if file not in self._read:
            self._read[file] = read_market(file, catalogue, law)
        return self._read[file]


def from_state(state: State) -> Retail:
    """The world that gave this state, at that moment. Raises: StoreError if it is not one."""
    if state.kind != "retail":
        raise StoreError(f"this is the state of a {state.kind!r}, not of a retail world")
    settings = dict(state.config["settings"])
    world = Retail(Settings(**{**settings, "levels": tuple(settings["levels"])}))
    world._noise, world._next, world._w = (state.config[name] for name in ("noise", "next", "w"))
    world.shops = [world._shop(number) for number in state.config["numbers"]]
    for b, shop in enumerate(world.shops):
        for name in MEMORY:
            setattr(shop, name, state.arrays[name][b].copy())
        shop.t, shop.lines = int(state.arrays["t"][b]), lines_of(state.arrays, b)
        shop.look()
    world._context = state.arrays["context"].copy()
    return world


def retail(
    *,
    scenario: str = "no_marketing",
    split: str = "train",
    first: int = 0,
    customers: int = 100,
    steps: int = 50,
    discount: float = 0.9,
    reward: str = "revenue",
    coupon: str = "store",
    levels: Sequence[float] | str = LEVELS,
    cost: float = 0.5,
    churn: float = 0.0,
    products: int | None = None,
    catalogue: str | None = None,
    draws: str | None = None,
    reference_compat: bool = False,
) -> Retail:
    """A shop that offers coupons; a row is a customer, an episode ``steps`` visits or reasons to stay away.

    Args:
        scenario: ``no_marketing`` and ``hfhd`` as published; ``delayed``, where coupons of today bring visits later.
        split: ``train``, ``tune`` or ``held_out``: ranges of environments that share none.
        first: number of the first environment within its split.
        customers: U of an environment. products: about so many in the catalogue; None = 2,514 as published.
        discount: γ of the problem. levels: of coupons, shares of the price, rising; or a text with commas between.
        reward: ``revenue`` after coupon, or ``margin``: less ``cost`` times the base price of each unit.
        coupon: ``store`` for everything, or ``category``: none, or a level on one category.
        churn: chance that a customer who stays away in a step leaves for good.
        catalogue: path of a published catalogue; None = the one beside ``draws``, else the package's own.
        draws: path of an environment's published static draws (env_0.npz), or a folder of such, taken in turn.
        reference_compat: tie parameters to each other as the published program does.

    Source: arXiv 2312.14095 and 2405.10469; docs/retail.md lists every deviation.
    """
    return Retail(
        Settings(
            scenario, split, first, customers, steps, discount, reward, coupon, read_levels(levels), cost, churn,
            products, catalogue, draws, reference_compat,
        )
    )  # fmt: skip


def _catalogue(settings: Settings) -> Catalogue:
    """The file named, else the one beside the draws, else our own."""
    if settings.catalogue is not None:
        return read_catalogue(settings.catalogue)
    if settings.draws is not None:
        path = Path(settings.draws)
        return read_catalogue((path if path.is_dir() else path.parent) / "catalogue.npz")
    return draw_catalogue(products=settings.products, tied=settings.reference_compat)


def _draw_files(path: Path) -> list[Path]:
    files = sorted(path.glob("env_*.npz")) if path.is_dir() else [path]
    if not files:
        raise StoreError(f"{path} holds no env_*.npz", hint="Give a file, or the folder of such files.", field="draws")
    return files
