"""Who buys, and how: the tastes of U customers and the nature of one shop, drawn once per environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import DataError
from understudy.envs.retail.catalogue import Catalogue, read_arrays
from understudy.envs.retail.law import Law
from understudy.envs.retail.normal import level, quantile, truncated
from understudy.envs.retail.streams import Purpose, stream


@dataclass(frozen=True)
class Market:
    """Static parameters of one environment. Matrices hold a column per customer: sums over products run along rows."""

    taste: np.ndarray  # f[I, U] β^x, of the product feature that changes
    quality: np.ndarray  # f[I, U] β^z Z, of the product feature that does not
    units_slope: np.ndarray  # f[I, U] γ1^q
    units_base: np.ndarray  # f64[I] γ0^q
    customer: np.ndarray  # f64[U] β^u ≤ 0
    product: np.ndarray  # f64[I] c β^i, so that β^w = β^i β^u
    category_base: np.ndarray  # f64[J] γ0^c
    category_slope: np.ndarray  # f64[J] γ1^c
    inertia: np.ndarray  # f64[U] θ
    redemption: np.ndarray  # f64[U] r
    starts: np.ndarray  # f64[I] p01, chance that a discount begins
    stays: np.ndarray  # f64[I] p11, chance that it goes on
    store_base: float  # γ0^s
    store_slope: float  # γ1^s
    store_marketing: float  # γ2^s

    @property
    def customers(self) -> int:
        """U."""
        return len(self.customer)

    @cached_property
    def sensitivity(self) -> np.ndarray:
        """f64[U] mean own-price coefficient mean_i β^w_ui; the more negative, the more a price matters."""
        return self.customer * self.product.mean()

    def only(self, customers: np.ndarray) -> Market:
        """The same shop with some of its customers, by index."""
        per = {name: getattr(self, name)[:, customers] for name in ("taste", "quality", "units_slope")}
        per |= {name: getattr(self, name)[customers] for name in ("customer", "inertia", "redemption")}
        rest = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in per}
        return Market(**per, **rest)


def draw_market(law: Law, catalogue: Catalogue, number: int, customers: int, *, tied: bool = False) -> Market:
    """Environment ``number``: equal arguments, equal market. Matrices are float32.

    Args:
        tied: as the published program draws: β^x, β^z and γ1^q from one normal matrix; θ rising with β^u; γ0^c with
            γ1^c; p01 = p11. Without it all are independent, as the law is written.
    """
    key, n, j = (number, 0), catalogue.n, len(catalogue.sizes)
    taste, quality, units = _matrices(stream(key, Purpose.TASTES), (n, customers), tied)
    people, shelf, kinds, store = (
        stream(key, purpose) for purpose in (Purpose.CUSTOMERS, Purpose.PRODUCTS, Purpose.CATEGORIES, Purpose.STORE)
    )
    bu = truncated(people.random(customers), *law.price_customer, -np.inf, 0.0)
    loyal = level(bu, *law.price_customer, -np.inf, 0.0) if tied else people.random(customers)
    redeem = law.redemption[0] + (law.redemption[1] - law.redemption[0]) * people.random(customers)
    bi = truncated(shelf.random(n), *law.price_product, -np.inf, 0.0)
    starts = shelf.beta(*law.discount_starts, n)
    slope_level, base_level = kinds.random(j), kinds.random(j)
    return Market(
        taste=_exp(taste, law.taste),
        quality=_exp(quality, law.quality) * catalogue.feature[:, None].astype(np.float32),
        units_slope=_exp(units, law.units_slope),
        units_base=shelf.gumbel(*law.units_base, n),
        customer=bu,
        product=law.price_scale * bi,
        category_base=law.category_base[0] + law.category_base[1] * quantile(slope_level if tied else base_level),
        category_slope=truncated(slope_level, *law.category_slope, 0.0, law.category_most),
        inertia=law.inertia[0] + (law.inertia[1] - law.inertia[0]) * loyal,
        redemption=redeem,
        starts=starts,
        stays=starts if tied else shelf.beta(*law.discount_stays, n),
        store_base=float(store.gumbel(*law.store_base)),
        store_slope=float(truncated(store.random(1), *law.store_slope, 0.0)[0]),
        store_marketing=float(store.uniform(*law.store_marketing)),
    )


def read_market(path: str | Path, catalogue: Catalogue, law: Law, dtype: Any = np.float32) -> Market:
    """The static draws of one published environment: an .npz laid out as the reference figures describe.

    Raises: StoreError if it is not there, DataError if its arrays do not fit the catalogue.
    """
    found = read_arrays(path, NAMES)
    n = found["n_ui"].astype(np.float64).T
    users = n.shape[1] if n.ndim == 2 else -1
    want = {"n_ui": (users, catalogue.n), "bu_u": (users,), "theta_u": (users,)}
    want |= dict.fromkeys(("bi_i", "g0q_i", "p01_i"), (catalogue.n,))
    want |= dict.fromkeys(("g0c_j", "g1c_j"), (len(catalogue.sizes),))
    for name, shape in want.items():
        if found[name].shape != shape or not np.isfinite(found[name]).all():
            raise DataError(f"{path}: {name} must be {shape} finite numbers; got {found[name].shape}")
    return Market(
        taste=np.exp(law.taste[0] + law.taste[1] * n).astype(dtype),
        quality=(np.exp(law.quality[0] + law.quality[1] * n) * catalogue.feature[:, None]).astype(dtype),
        units_slope=np.exp(law.units_slope[0] + law.units_slope[1] * n).astype(dtype),
        units_base=found["g0q_i"],
        customer=found["bu_u"],
        product=float(found["c"]) * found["bi_i"],
        category_base=found["g0c_j"],
        category_slope=found["g1c_j"],
        inertia=found["theta_u"],
        redemption=np.ones(users),
        starts=found["p01_i"],
        stays=found["p01_i"],
        store_base=float(found["g0s"]),
        store_slope=float(found["g1s"]),
        store_marketing=float(found["g2s"]),
    )


NAMES = ("n_ui", "bu_u", "bi_i", "c", "g0q_i", "g0c_j", "g1c_j", "theta_u", "g0s", "g1s", "g2s", "p01_i")


def _matrices(rng: np.random.Generator, shape: tuple[int, int], tied: bool) -> list[np.ndarray]:
    first = rng.standard_normal(shape, np.float32)
    return [first] * 3 if tied else [first, *(rng.standard_normal(shape, np.float32) for _ in range(2))]


def _exp(normal: np.ndarray, pair: tuple[float, float]) -> np.ndarray:
    """exp(mean + deviation·n) in the precision of n."""
    return np.exp(np.float32(pair[0]) + np.float32(pair[1]) * normal)
