"""The direct method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import column, modelled


@dataclass(frozen=True)
class DM:
    """Direct method: what a fitted reward model promises.

    V̂ = (1/n) Σ_i Σ_a π(a|x_i) q̂(x_i, a).   Terms: [v̂].
    Needs no propensity; as biased as q̂ is, and its interval cannot see that bias.
    Source: Dudík, Langford & Li 2011, section 2.1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"q"})
    notes: ClassVar[tuple[str, ...]] = ("the interval holds neither the bias nor the training noise of the model",)

    def terms(self, e: Evidence) -> np.ndarray:
        _, v, _ = modelled(e)
        return column(v)

    def value(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]
