"""Self-normalised marginalised importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import columns, ratio_of
from understudy.ops import returns


@dataclass(frozen=True)
class SelfNormalizedMIS:
    """Self-normalised MIS: the weighted mean reward, times how many discounted steps the target takes.

    V̂ = Σ ω ρ r / Σ ω ρ · (1/m) Σ ω,   sums over all steps of all episodes.   Terms: [Σ_t ω ρ r, Σ_t ω ρ, Σ_t ω].
    Horizon 1: equals SNIPS. A constant reward c is worth c times the discounted length, whatever the weights.
    Source: as ``mis``; self-normalised as in Liu et al. 2018, section 4.2.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "density_ratio"})
    reads: ClassVar[str] = "visit"
    notes: ClassVar[tuple[str, ...]] = ("the interval holds neither the bias nor the training noise of visit ratios",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, starts = seq.visit(e), e.steps.starts
        out = columns(3, len(starts) - 1)
        out[0] = returns.sums(w * e.steps.reward, starts)
        out[1] = returns.sums(w, starts)
        out[2] = returns.sums(seq.visits(e), starts)
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return ratio_of(mean[..., 0], mean[..., 1]) * mean[..., 2]
