"""The gate's averaged process on paired draws: its wealth at a margin, and the margins it rejects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.ops.betting import (
    BETS,
    DR_BETS,
    DR_BOUNDS,
    DR_SHARES,
    SHARES,
    STAKE,
    Wealth,
    growth,
    log_sum_exp,
    start,
)  # fmt: skip

_CHUNK = 8192  # draws whose growth under all bets fits in a core's cache
_EXACT = 16_384  # draws up to which a bound reads every bet at every draw
_BEST = 8  # bets that it reads beyond


@dataclass(frozen=True)
class Draws:
    """One row per independent unit, in log order: what the bets are placed on. In units of the reward's range.

    Half of the first unit of wealth is spread over ``BETS`` on the draws by weights alone, half over ``DR_BETS`` on
    the doubly robust draws, of which each bet has its own. Without the latter all of it goes to the former.
    """

    ips: np.ndarray  # f64[u] ≥ −1
    dr: np.ndarray | None  # f64[u, J] ≥ −DR_BOUNDS

    @property
    def best(self) -> np.ndarray:
        """The draws with the smallest variance: under the smallest bet there is room for all of the control. f64[u]"""
        return self.ips if self.dr is None else self.dr[:, -1]

    def wealth(self, margin: float) -> Wealth:
        """The process after all draws, betting against "the mean is at most margin"."""
        state = start(SHARES if self.dr is None else np.concatenate([SHARES, DR_SHARES]))
        for first in range(0, len(self.ips), _CHUNK):
            part = slice(first, first + _CHUNK)
            grown = growth(self.ips[part], BETS, 1.0, margin)
            if self.dr is not None:
                grown = np.hstack([grown, growth(self.dr[part], np.array([STAKE]), DR_BOUNDS, margin)])
            state = state.extend(grown)
        return state

    def bound(self, need: float, margin: float, peak: float) -> float:
        """Lower bound of the mean: the largest margin at which the process has reached e^need at some draw.

        Beyond ``_EXACT`` draws only the bets that do best near the bound are read, and only every so many draws.
        Leaving out either never raises the wealth seen, so the bound errs to the safe side.

        Args:
            margin, peak: one margin whose peak is known already; the bound is never at odds with it.
        """
        from scipy.optimize import brentq

        x, bets, floor, share = self._near(self.best.mean() - 3.3 * self.best.std() / np.sqrt(len(self.ips)))
        looks = np.arange(0, len(x), max(1, len(x) // _EXACT))

        def surplus(m: float) -> float:
            path = np.cumsum(np.add.reduceat(growth(x, bets, floor, m), looks), axis=0)
            return max(0.0, float(log_sum_exp(share + path).max())) - need

        sure, open_ = (margin, 1.0 - 1e-9) if peak >= need else (-1.0 + 1e-6, margin)
        if surplus(sure) < 0:
            return margin if peak >= need else -1.0
        if surplus(open_) >= 0:
            return open_
        root = float(brentq(surplus, sure, open_, xtol=1e-5))  # pyright: ignore[reportArgumentType]
        return max(sure, root - 1e-5)  # never above the root

    def _near(self, margin: float) -> tuple[np.ndarray, ...]:
        """(draws f64[u, c], bets, floors, log shares f64[c]) of the bets to read for bounds near a margin."""
        j = len(BETS)
        state = self.wealth(float(np.clip(margin, -0.999, 0.999))) if len(self.ips) > _EXACT else None
        columns = np.arange(j if self.dr is None else j + len(DR_BETS))
        if state is not None:
            columns = np.sort(np.argsort(state.log_prior + state.log_wealth)[-_BEST:])
        shares = SHARES if self.dr is None else np.concatenate([SHARES, DR_SHARES]) / 2.0
        bets = np.concatenate([BETS, np.full(len(DR_BETS), STAKE)])[columns]
        floor = np.concatenate([np.ones(j), DR_BOUNDS])[columns]
        draws = [self.ips if c < j or self.dr is None else self.dr[:, c - j] for c in columns]
        return np.column_stack(draws), bets, floor, np.log(shares[columns])
