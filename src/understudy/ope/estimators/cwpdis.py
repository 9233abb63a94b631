"""Consistent weighted per-decision importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence
from understudy.ope import sequential as seq
from understudy.ops import returns


@dataclass(frozen=True)
class CWPDIS:
    """Consistent weighted per-decision importance sampling: a weighted mean of rewards at every step.

    V̂ = Σ_t (Σ_i w_{i,0:t} γ^{H_t} r_{i,t}) / (Σ_i w_{i,0:t}),   w_{0:t} = Π_{s≤t} ρ_s.
    Terms: [w_t γ^{H_t} r_t for t] + [w_t for t]   (p = 2·T). Horizon 1: equals SNIPS.
    An episode that has ended counts on in the denominator with its last weight and earns 0, so that π = b gives the
    mean return. ``alive`` leaves it out instead, as some libraries do: that is the mean reward *of those still
    there*, summed over steps, and no policy's value unless all episodes are equally long.
    Consistent, biased O(1/m); needs overlap at every step.
    Source: Thomas 2015, "Safe reinforcement learning", section 3.10; Thomas & Brunskill 2016, section 4.
    """

    alive: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})
    reads: ClassVar[str] = "decision"

    @property
    def notes(self) -> tuple[str, ...]:
        return ("only episodes still alive are averaged at each step: not a value if lengths differ",) * self.alive

    def terms(self, e: Evidence) -> np.ndarray:
        steps, starts = seq.width(e), e.steps.starts
        out = np.empty((len(starts) - 1, 2 * steps))
        out[:, :steps] = returns.padded(seq.weight(e) * seq.gain(e), starts, steps)
        out[:, steps:] = seq.normalizers(e, steps, self.alive)
        return out

    def value(self, mean: np.ndarray) -> np.ndarray:
        top, bottom = np.split(mean, 2, axis=-1)
        return seq.share(top, bottom, self.alive).sum(-1)
