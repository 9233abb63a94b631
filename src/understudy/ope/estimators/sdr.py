"""Sequential doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column
from understudy.ops import returns


@dataclass(frozen=True)
class SDR:
    """Sequential doubly robust: what Q̂ promises, corrected step by step by reweighted residuals.

    D_t = v̂_t + ρ_t (r_t + γ^{span_t} D_{t+1} − q̂_t),   V̂ = (1/m) Σ_i D_{i,0}; unrolled
    D_0 = Σ_t γ^{H_t} [w_{0:t} (r_t − q̂_t) + w_{0:t−1} v̂_t] + γ^{H_L} w_{0:L−1} v̂_end.   Terms: [D_0].
    v̂_end is 0 where the world ended the episode and V̂(final context) where it was cut. Horizon 1: equals DR.
    Unbiased if propensities are right and Q̂ is out-of-fold; residuals shrink the variance where Q̂ is good.
    Source: Jiang & Li 2016, equation (10). Deviation: episodes that were cut go on in the model.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})
    reads: ClassVar[str] = "decision"

    def terms(self, e: Evidence) -> np.ndarray:
        whole = returns.sums(seq.residual(e) + seq.promise(e), e.steps.starts)
        after = seq.beyond(e)
        return column(whole if after is None else whole + after)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
