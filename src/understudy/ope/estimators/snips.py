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
        out = columns(2, len(w))
        np.multiply(w, r, out=out[0])
        out[1] = w
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return ratio_of(mean[..., 0], mean[..., 1])
