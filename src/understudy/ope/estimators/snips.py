"""Self-normalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import columns, ratio_of, weighted


@dataclass(frozen=True)
class SNIPS:
    """Self-normalised IPS: a weighted mean of rewards.

    V̂ = Σ_i ρ_i r_i / Σ_i ρ_i.   Terms: [ρ r, ρ].
    Biased O(1/n), consistent; stays within the observed rewards and moves by exactly c when all rewards do.
    Source: Swaminathan & Joachims 2015, equation (8).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})

    def terms(self, e: Evidence) -> np.ndarray:
        w, r = weighted(e)
        return columns(w * r, w)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return ratio_of(mean[..., 0], mean[..., 1])
