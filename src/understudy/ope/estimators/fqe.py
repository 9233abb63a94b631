"""Fitted Q evaluation: the value a model gives to where episodes begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ope.one_step import column


@dataclass(frozen=True)
class FQE:
    """Initial-value direct method: the mean of V̂ at the first step of each episode.

    V̂ = (1/m) Σ_i v̂_{i,0},   v̂_0 = Σ_a π(a|x_0) Q̂(x_0, a).   Terms: [v̂_0].   Horizon 1: equals DM.
    Needs no propensity and does not weaken with the horizon; as biased as Q̂ is, and its interval cannot see that.
    Source: Le, Voloshin & Yue 2019, algorithm 3 (Q̂: ``understudy.ope.fqe``).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"q"})
    reads: ClassVar[str] = "step"
    notes: ClassVar[tuple[str, ...]] = ("the interval holds neither the bias nor the training noise of the model",)

    def terms(self, e: Evidence) -> np.ndarray:
        return column(seq.beginning(e))

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
