"""Self-normalised doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import columns, modelled, ratio_of


@dataclass(frozen=True)
class SNDR:
    """Doubly robust with a weighted mean of residuals.

    V̂ = (1/n) Σ_i v̂_i + Σ_i ρ_i (r_i − q̂_i) / Σ_i ρ_i.   Terms: [v̂, ρ (r − q̂), ρ].
    Biased O(1/n), consistent; steadier than DR when few weights are large.
    Source: Robins, Sued, Lei-Gomez & Rotnitzky 2007; Thomas & Brunskill 2016, section 5 (weighted DR, one step).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})

    def terms(self, e: Evidence) -> np.ndarray:
        w, v, residual = modelled(e)
        out = columns(3, len(w))
        out[0] = v
        np.multiply(w, residual, out=out[1])
        out[2] = w
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0] + ratio_of(mean[..., 1], mean[..., 2])
