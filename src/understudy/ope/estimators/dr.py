"""Doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, modelled, require
from understudy.ops import weights


@dataclass(frozen=True)
class DR:
    """Doubly robust: the model's promise, corrected by reweighted residuals.

    V̂ = (1/n) Σ_i [v̂_i + min(ρ_i, M) (r_i − q̂_i)].   Terms: [v̂ + min(ρ, M)(r − q̂)].   M = ∞ unless clipped.
    Unbiased (M = ∞, q̂ out-of-fold) if propensities are right; consistent if either they or q̂ are.
    Source: Dudík, Langford & Li 2011, equation (3).
    """

    clip: float = np.inf
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def __post_init__(self) -> None:
        require(self.clip > 0, "clip", self.clip, "above 0")

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.clip == np.inf else ("the interval does not contain the bias of clipping",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        residual *= weights.clip(w, self.clip)
        residual += v
        return column(residual)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
