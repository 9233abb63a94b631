"""Nine numbers a shop knows of a customer before it acts: of past purchases, and of what lies on the shelf now."""

from __future__ import annotations

import numpy as np

from understudy.envs.retail.baskets import Lines
from understudy.envs.retail.catalogue import Catalogue

FEATURES = (
    "previous_units",  # bought in the step before, averaged over all products
    "shelf_price",  # mean over products, this step
    "marketing",  # this step
    "product_feature",  # mean over products, this step
    "purchase_quantity",  # units per step with a purchase
    "purchase_probability",  # share of steps with a purchase
    "purchase_price",  # shelf price of what was bought, when it was bought
    "redeemed_discount",  # coupon on what was bought
    "purchase_discount",  # 1 − P/P0 of what was bought, when it was bought
)
TALLIES = ("steps", "purchases", "units", "lines", "price", "discount", "redeemed", "coupon", "last")
_STEPS, _PURCHASES, _UNITS, _LINES, _PRICE, _DISCOUNT, _REDEEMED, _COUPON, _LAST = range(len(TALLIES))


def new_tallies(customers: int) -> np.ndarray:
    """f64[9, U] running sums, all 0: a row per name of ``TALLIES``."""
    return np.zeros((len(TALLIES), customers))


def tally(tallies: np.ndarray, lines: Lines, catalogue: Catalogue, price: np.ndarray, coupon: np.ndarray) -> None:
    """Add one step's purchases, in place, at the prices they were made at.

    Args:
        price: f64[I] on the shelf when they were bought.
        coupon: f64[L] redeemed on each line; NaN where none was redeemed.
    """
    customers = tallies.shape[1]
    units = lines.sum(lines.units, customers)
    tallies[_STEPS] += 1
    tallies[_PURCHASES] += units > 0
    tallies[_UNITS] += units
    tallies[_LAST] = units
    tallies[_LINES] += lines.sum(np.ones(len(lines.units)), customers)
    paid = price[lines.product]
    tallies[_PRICE] += lines.sum(paid, customers)
    tallies[_DISCOUNT] += lines.sum(1 - paid / catalogue.price[lines.product], customers)
    redeemed = ~np.isnan(coupon)
    tallies[_REDEEMED] += lines.sum(redeemed, customers)
    tallies[_COUPON] += lines.sum(np.where(redeemed, coupon, 0.0), customers)


def scalars(
    tallies: np.ndarray, catalogue: Catalogue, price: np.ndarray, marketing: np.ndarray, x_mean: np.ndarray
) -> np.ndarray:
    """f32[U, 9] in the order of ``FEATURES``, each from what is known at this moment.

    Who never bought is shown the mean of those who did (of the same environment), and 0 while nobody has.
    """
    rows = [
        tallies[_LAST] / catalogue.n,
        np.full(tallies.shape[1], price.mean()),
        marketing,
        x_mean,
        _ratio(tallies[_UNITS], tallies[_PURCHASES]),
        _ratio(tallies[_PURCHASES], tallies[_STEPS]),
        _filled(tallies[_PRICE], tallies[_LINES]),
        _filled(tallies[_COUPON], tallies[_REDEEMED]),
        _filled(tallies[_DISCOUNT], tallies[_LINES]),
    ]
    return np.stack(rows, 1).astype(np.float32)


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return total / np.maximum(count, 1)


def _filled(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    known = count > 0
    mean = _ratio(total, count)
    return np.where(known, mean, mean[known].mean() if known.any() else 0.0)
