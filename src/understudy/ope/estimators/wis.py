"""Weighted trajectory importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import columns, ratio_of


@dataclass(frozen=True)
class WIS:
    """Weighted trajectory importance sampling: a weighted mean of returns.

    V̂ = Σ_i w_i G_i / Σ_i w_i,   w = Π_t ρ_t,   G = Σ_t γ^{H_t} r_t.   Terms: [w G, w].   Horizon 1: equals SNIPS.
    Biased O(1/m), consistent; stays within the returns that were seen.
    Source: Precup, Sutton & Singh 2000, equation (4) (weighted importance sampling).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})
    reads: ClassVar[str] = "episode"

    def terms(self, e: Evidence) -> np.ndarray:
        w = seq.final(e)
        out = columns(2, len(w))
        np.multiply(w, seq.total(e), out=out[0])
        out[1] = w
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return ratio_of(mean[..., 0], mean[..., 1])
