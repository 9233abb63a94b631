"""Sub-Gaussian inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, require, weighted
from understudy.ops import weights


@dataclass(frozen=True)
class SubGaussianIPS:
    """IPS with harmonically corrected weights, whose error has sub-Gaussian tails.

    V̂ = (1/n) Σ_i ρ_i / (1 − λ + λ ρ_i) · r_i.   Terms: one per episode.
    λ = 0: equals IPS. A weight is at most 1/λ.
    Source: Metelli, Russo & Restelli 2021, "Subgaussian and differentiable importance sampling", equation (9), s = −1.
    """

    lam: float = 0.1
    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})

    def __post_init__(self) -> None:
        require(0 <= self.lam < 1, "lam", self.lam, "in [0, 1)")

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.lam == 0 else ("the interval does not contain the bias of shrinking",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, r = weighted(e)
        return column(weights.harmonic(w, self.lam) * r)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
