"""Replay: keep what the target would have done anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope.one_step import columns, matches, ratio_of


@dataclass(frozen=True)
class Replay:
    """Mean reward where the logged action is a most probable one of the target.

    V̂ = Σ_i 1(a_i ∈ argmax π(·|x_i)) r_i / Σ_i 1(a_i ∈ argmax π(·|x_i)).   Terms: [match · r, match].
    Unbiased only if the log is uniformly random and the target deterministic; then it equals SNIPS.
    Source: Li, Chu, Langford & Wang 2011, algorithm 3, for a fixed policy. Ties count as matches.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"match"})
    notes: ClassVar[tuple[str, ...]] = ("judges the target's most probable action only",)

    def terms(self, e: Evidence) -> np.ndarray:
        match, r = matches(e)
        out = columns(2, len(r))
        np.multiply(match, r, out=out[0])
        out[1] = match
        return out.T

    def value(self, mean: np.ndarray) -> np.ndarray:
        return ratio_of(mean[..., 0], mean[..., 1])
