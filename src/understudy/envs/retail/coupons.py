"""What can be offered: one coupon for the whole shop, or one for a category; and what it leaves to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from understudy.core.errors import ConfigError

SCOPES = ("store", "category")


@dataclass(frozen=True)
class Coupons:
    """k actions."""

    names: tuple[str, ...]
    depth: np.ndarray  # f64[k] share of the price that is taken off
    target: np.ndarray  # i64[k] the category it is for; −1 = everything
    categories: int

    @property
    def k(self) -> int:
        return len(self.names)

    @property
    def reach(self) -> np.ndarray:
        """f64[k] share of the categories that a coupon is for."""
        return np.where(self.target < 0, 1.0, 1.0 / self.categories)

    def kept(self, action: np.ndarray, redeemed: np.ndarray) -> np.ndarray:
        """The share of the price left to pay: f64[1, U] for the whole shop, else f64[J, U].

        Args: action i64[U], redeemed bool[U].
        """
        off = self.depth[action] * redeemed
        if (self.target < 0).all():
            return 1.0 - off[None]
        target = self.target[action]
        aimed = (target[None] == np.arange(self.categories)[:, None]) | (target < 0)
        return 1.0 - off * aimed


def make_coupons(scope: str, levels: tuple[float, ...], categories: int) -> Coupons:
    """``store``: a coupon per level. ``category``: none, or one of the levels above 0 on one category.

    Raises: ConfigError for levels outside [0, 1) or not rising.
    """
    rising = all(a < b for a, b in pairwise(levels))
    if len(levels) < 2 or not rising or levels[0] < 0 or levels[-1] >= 1:
        raise ConfigError(
            f"retail: levels must be two or more rising shares in [0, 1); got {list(levels)}", field="levels"
        )
    if scope == "store":
        return Coupons(tuple(map(_percent, levels)), np.array(levels), np.full(len(levels), -1), categories)
    if scope != "category":
        raise ConfigError(f"retail: unknown coupon {scope!r}", hint=f"One of: {', '.join(SCOPES)}", field="coupon")
    some = [(j, level) for j in range(categories) for level in levels if level > 0]
    names = ("none", *(f"c{j:02d}:{_percent(level)}" for j, level in some))
    depth = np.array([0.0, *(level for _, level in some)])
    return Coupons(names, depth, np.array([-1, *(j for j, _ in some)]), categories)


def read_levels(levels: Sequence[float] | str) -> tuple[float, ...]:
    """Numbers, or a text of numbers with commas between. Raises: ConfigError for anything else."""
    try:
        return tuple(float(level) for level in (levels.split(",") if isinstance(levels, str) else levels))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"retail: levels must be numbers; got {levels!r}", hint="For example: levels=0,.25,.5", field="levels"
        ) from error


def _percent(level: float) -> str:
    return f"{100 * level:g}%"
