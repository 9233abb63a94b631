"""SWITCH with a doubly robust first part, at a fixed threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, modelled, require
from understudy.ops import weights


@dataclass(frozen=True)
class SwitchDR:
    """SWITCH-DR: correct the model where the weight is at most τ, trust it elsewhere.

    V̂ = (1/n) Σ_i [v̂_i + ρ_i 1(ρ_i ≤ τ) (r_i − q̂_i)].   Terms: [v̂ + ρ 1(ρ ≤ τ)(r − q̂)].
    τ = ∞: equals DR. τ = 0: equals DM. Biased by E ρ 1(ρ > τ)(q̂ − r).
    Source: Wang, Agarwal & Dudík 2017, equation (8).
    """

    tau: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def __post_init__(self) -> None:
        require(self.tau >= 0, "tau", self.tau, "at least 0")

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.tau == np.inf else ("the interval does not contain the bias of weights above tau",)

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        residual *= weights.keep(w, self.tau)
        residual += v
        return column(residual)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
