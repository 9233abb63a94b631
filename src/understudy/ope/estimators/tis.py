"""Trajectory importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column


@dataclass(frozen=True)
class TIS:
    """Trajectory importance sampling: the return of each episode, reweighted as a whole.

    V̂ = (1/m) Σ_i w_i G_i,   w = Π_t ρ_t,   G = Σ_t γ^{H_t} r_t.   Terms: [w G].   Horizon 1: equals IPS.
    Unbiased if propensities are right and cover the target; the variance grows exponentially with the horizon.
    Source: Precup, Sutton & Singh 2000, equation (3) (ordinary importance sampling).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})
    reads: ClassVar[str] = "episode"

    def terms(self, e: Evidence) -> np.ndarray:
        return column(seq.final(e) * seq.total(e))

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]

    def weights(self, ratio: np.ndarray) -> np.ndarray:
        """Weights never above those of whole episodes, so that exact bounds hold on both sides."""
        return ratio
