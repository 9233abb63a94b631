"""Doubly robust estimation by visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column
from understudy.ops import returns


@dataclass(frozen=True)
class DRL:
    """Double reinforcement learning: what Q̂ promises at the start, corrected by its Bellman residuals where π goes.

    V̂ = (1/m) Σ_i [v̂_0 + Σ_t ω(x_t) ρ_t (r_t + γ^{span_t} v̂_{t+1} − q̂_t)].   Terms: one per episode.
    ω is the ratio of discounted visits (see ``mis``); v̂ after the end is 0, after a cut V̂(final context).
    Horizon 1: equals DR. Consistent if Q̂ or ω is; weights are single ratios, not products, so long episodes do not
    ruin it, and its interval holds the training noise of Q̂ to first order where both models are about right.
    Source: Kallus & Uehara 2020, "Double reinforcement learning", equation (8); Tang et al. 2020, equation (9).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q", "density_ratio"})
    reads: ClassVar[str] = "visit"
    notes: ClassVar[tuple[str, ...]] = ("the interval does not contain what Q̂ and visit ratios both get wrong",)

    def terms(self, e: Evidence) -> np.ndarray:
        corrections = returns.sums(seq.visit(e) * seq.surprise(e), e.steps.starts)
        return column(seq.beginning(e) + corrections)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
