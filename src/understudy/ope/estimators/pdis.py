"""Per-decision importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column
from understudy.ops import returns


@dataclass(frozen=True)
class PDIS:
    """Per-decision importance sampling: each reward is weighted by what led to it, not by what came after.

    V̂ = (1/m) Σ_i Σ_t γ^{H_t} w_{0:t} r_t,   w_{0:t} = Π_{s≤t} ρ_s.   Terms: [Σ_t γ^{H_t} w_{0:t} r_t].
    Horizon 1: equals IPS. Unbiased if propensities are right and cover the target; the sum is divided by all m
    episodes, also at steps that few of them reach.
    Source: Precup, Sutton & Singh 2000, equation (5).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})
    reads: ClassVar[str] = "decision"

    def terms(self, e: Evidence) -> np.ndarray:
        return column(returns.sums(seq.weight(e) * seq.gain(e), e.steps.starts))

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
