"""SWITCH-DR whose threshold the data choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence, Totals
from understudy.ope.one_step import modelled, require
from understudy.ops import weights
from understudy.ops.blocks import jackknife

TAUS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 35.0, 60.0, 100.0, 200.0, 500.0, 1000.0, np.inf)


@dataclass(frozen=True)
class Switch:
    """SWITCH-DR at the τ whose estimated bound on the mean squared error is smallest.

    τ̂ = argmin_τ  SE²(τ) + [R · (1/n) Σ_i ρ_i 1(ρ_i > τ)]²,   R the width of the reward range.
    Terms: SWITCH-DR's at every τ, then ρ 1(ρ > τ) at every τ (p = 2 · number of thresholds).
    ``settle`` chooses on the totals of the whole log; replicates keep that τ. Unsettled, ``value`` is that of the
    largest τ, the choice as n → ∞.
    Source: Wang, Agarwal & Dudík 2017, section 4.1. Deviations: SE² by blocks of units instead of by rows; the tail
    mass E_π 1(ρ > τ) is estimated by E_b ρ 1(ρ > τ), which needs the propensity of the logged action only.
    """

    taus: tuple[float, ...] = (
        0.0,
        1.0,
        2.0,
        3.0,
        5.0,
        8.0,
        13.0,
        20.0,
        35.0,
        60.0,
        100.0,
        200.0,
        500.0,
        1000.0,
        np.inf,
    )
    chosen: int | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def __post_init__(self) -> None:
        ordered = len(self.taus) > 0 and all(a < b for a, b in zip(self.taus, self.taus[1:])) and self.taus[0] >= 0
        require(ordered, "taus", len(self.taus), "at least one threshold, not negative, each larger than the last")

    @property
    def notes(self) -> tuple[str, ...]:
        if self.chosen is None:
            return ()
        tau = self.taus[self.chosen]
        bias = () if tau == np.inf else ("the interval does not contain the bias of weights above tau",)
        return (f"tau = {tau:g}, chosen by the data", *bias)

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        out = np.empty((2 * len(self.taus), len(w)))  # [p, m]
        for j, tau in enumerate(self.taus):
            kept = weights.keep(w, tau)
            np.multiply(kept, residual, out=out[j])
            out[j] += v
            np.subtract(w, kept, out=out[len(self.taus) + j])
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., len(self.taus) - 1 if self.chosen is None else self.chosen]

    def settle(self, whole: Totals, width: float) -> Switch:
        """The same estimator with τ chosen on the whole log; ``width`` is highest minus lowest possible reward."""
        count = len(self.taus)
        tail = whole.sums[:, count:].sum(0) / whole.counts.sum()  # [T]
        bound = [
            float(jackknife(replace(self, chosen=j).value, whole).bounds(0.95).std_error) ** 2 + (width * tail[j]) ** 2
            for j in range(count)
        ]
        return replace(self, chosen=int(np.argmin(bound)))
