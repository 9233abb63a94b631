"""Weighted doubly robust estimation of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ops import returns


@dataclass(frozen=True)
class WDR:
    """Weighted doubly robust: sequential DR with weights that sum to one at every step.

    V̂ = mean v̂_0 + Σ_t Σ_i γ^{H_t} [W_{i,t} (r − q̂)_{i,t}] + Σ_{t≥1} Σ_i γ^{H_t} W_{i,t−1} v̂_{i,t},
    W_{i,t} = w_{i,0:t} / Σ_j w_{j,0:t}.   Terms: [γ^{H_t} w_t (r − q̂)_t] + [γ^{H_t} w_{t−1} v̂_t] + [w_t]  (p = 3T + 1).
    Horizon 1: equals SNDR. An episode that has ended counts on in the sum of weights with its last weight.
    ``alive`` leaves it out instead: that estimates the sum over steps of means over those still there, which is no
    policy's value if lengths differ and Q̂ is not exact.
    Consistent if propensities or Q̂ are right, biased O(1/m).
    Source: Thomas & Brunskill 2016, definition 2. Deviation: episodes that were cut go on in the model.
    """

    alive: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})
    reads: ClassVar[str] = "decision"

    @property
    def notes(self) -> tuple[str, ...]:
        return ("only episodes still alive are averaged at each step: not a value if lengths differ",) * self.alive

    def terms(self, e: Evidence) -> np.ndarray:
        return parts(e, self.alive)

    def value(self, mean: np.ndarray) -> np.ndarray:
        residual, first, later = by_step(mean, self.alive)
        return first + (residual + later).sum(-1)


def parts(e: Evidence, alive: bool) -> np.ndarray:
    """Terms [m, 3T + 1]: weighted residuals, weighted promises (one more: what follows a cut), weights."""
    steps, starts = seq.width(e), e.steps.starts
    m = len(starts) - 1
    out = np.zeros((m, 3 * steps + 1))
    out[:, :steps] = returns.padded(seq.residual(e), starts, steps)
    out[:, steps : 2 * steps] = returns.padded(seq.promise(e), starts, steps)
    after = seq.beyond(e)
    if after is not None:
        out[np.arange(m), steps + returns.lengths(starts)] = after
    out[:, 2 * steps + 1 :] = seq.normalizers(e, steps, alive)
    return out


def by_step(mean: np.ndarray, alive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(residuals [..., T], mean v̂_0 [...], promises of steps 1 … T [..., T]), each divided by its weights."""
    steps = (mean.shape[-1] - 1) // 3
    residual, promise, bottom = mean[..., :steps], mean[..., steps : 2 * steps + 1], mean[..., 2 * steps + 1 :]
    return seq.share(residual, bottom, alive), promise[..., 0], seq.share(promise[..., 1:], bottom, alive)
