"""Doubly robust estimation with optimistic shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, modelled, require
from understudy.ops import weights


@dataclass(frozen=True)
class DRos:
    """DR with optimistic shrinkage of the weights.

    V̂ = (1/n) Σ_i [v̂_i + λ ρ_i / (ρ_i² + λ) · (r_i − q̂_i)].   Terms: one per episode.
    λ → 0: DM. λ → ∞: DR. A weight is at most √λ / 2.
    Source: Su, Dimakopoulou, Krishnamurthy & Dudík 2020, section 4.2.
    """

    lam: float = 100.0
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def __post_init__(self) -> None:
        require(self.lam >= 0, "lam", self.lam, "at least 0")

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.lam == np.inf else ("the interval does not contain the bias of shrinking",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        residual *= weights.shrink(w, self.lam)
        residual += v
        return column(residual)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
