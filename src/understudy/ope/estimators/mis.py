"""Marginalised importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column
from understudy.ops import returns


@dataclass(frozen=True)
class MIS:
    """Marginalised importance sampling: how much oftener the target comes by, times how much likelier it acts so.

    V̂ = (1/m) Σ_i Σ_t ω(x_t) ρ_t r_t,   ω(x) = E_π Σ_t γ^{H_t} 1(x_t = x) ÷ E_b Σ_t 1(x_t = x).
    Terms: [Σ_t ω ρ r].   Horizon 1: ω = 1, equals IPS.   ω is learned out-of-fold (``understudy.ope.visits``).
    Its variance does not grow exponentially with the horizon; it is as biased as ω is. Contexts must say all that
    matters for what follows.
    Source: Liu, Li, Tang & Zhou 2018, equation (4); Uehara, Huang & Jiang 2020, section 4.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "density_ratio"})
    reads: ClassVar[str] = "visit"
    notes: ClassVar[tuple[str, ...]] = ("the interval holds neither the bias nor the training noise of visit ratios",)

    def terms(self, e: Evidence) -> np.ndarray:
        return column(returns.sums(seq.visit(e) * e.steps.reward, e.steps.starts))

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
