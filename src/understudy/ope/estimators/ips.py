"""Inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, weighted


@dataclass(frozen=True)
class IPS:
    """Inverse propensity scoring: reward reweighted by how much likelier the target was to act so.

    V̂ = (1/n) Σ_i ρ_i r_i,   ρ = π(a|x) / b(a|x).   Terms: [ρ r].
    Unbiased if b is right and covers π; variance grows with E ρ².
    Source: Horvitz & Thompson 1952; Strehl, Langford, Li & Kakade 2010.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})

    def terms(self, e: Evidence) -> np.ndarray:
        w, r = weighted(e)
        return column(w * r)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]

    def weights(self, ratio: np.ndarray) -> np.ndarray:
        """Weights never above ρ, so that exact bounds hold on both sides."""
        return ratio
