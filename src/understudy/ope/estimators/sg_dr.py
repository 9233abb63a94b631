"""Sub-Gaussian doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, modelled, require
from understudy.ops import weights


@dataclass(frozen=True)
class SubGaussianDR:
    """DR with harmonically corrected weights.

    V̂ = (1/n) Σ_i [v̂_i + ρ_i / (1 − λ + λ ρ_i) · (r_i − q̂_i)].   Terms: one per episode.
    λ = 0: equals DR. A weight is at most 1/λ.
    Source: Metelli, Russo & Restelli 2021, equation (9) with s = −1, in the correction of Dudík et al. 2011.
    """

    lam: float = 0.1
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def __post_init__(self) -> None:
        require(0 <= self.lam < 1, "lam", self.lam, "in [0, 1)")

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.lam == 0 else ("the interval does not contain the bias of shrinking",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        residual *= weights.harmonic(w, self.lam)
        residual += v
        return column(residual)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
