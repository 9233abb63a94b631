"""Inverse propensity scoring with bounded weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, require, weighted
from understudy.ops import weights


@dataclass(frozen=True)
class ClippedIPS:
    """IPS whose weights are cut at ``clip``.

    V̂ = (1/n) Σ_i min(ρ_i, M) r_i.   Terms: [min(ρ, M) r].
    Biased toward 0 by E (ρ − M)⁺ r; each term is at most M times the largest reward. M = ∞: equals IPS.
    Source: Ionides 2008; Bottou et al. 2013, section 4.3.
    """

    clip: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})
    notes: ClassVar[tuple[str, ...]] = ("the interval does not contain the bias of clipping",)

    def __post_init__(self) -> None:
        require(self.clip > 0, "clip", self.clip, "above 0")

    def terms(self, e: Evidence) -> np.ndarray:
        w, r = weighted(e)
        return column(weights.clip(w, self.clip) * r)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]

    def weights(self, ratio: np.ndarray) -> np.ndarray:
        """Weights never above ρ, so that exact bounds hold on both sides."""
        return weights.clip(ratio, self.clip)
