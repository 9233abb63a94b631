"""MAGIC: weighted doubly robust and the model, blended where the error is least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from understudy.core.evidence import Evidence, Totals
from understudy.ope.estimators.wdr import by_step, parts
from understudy.ope.one_step import require
from understudy.ops.blocks import jackknife, leave_one_out, nonempty

_WEIGHTED = 0.9  # share of WDR in the blend from which its interval is taken for the blend's


@dataclass(frozen=True)
class MAGIC:
    """Model and guided importance sampling combined: a convex blend of partial returns.

    g^(j) = mean v̂_0 + Σ_{t≤j} Σ_i W_{i,t} γ^{H_t} (r − q̂)_{i,t} + Σ_{1≤t≤j+1} Σ_i W_{i,t−1} γ^{H_t} v̂_{i,t}:
    weights up to step j, the model from there on; g^(−1) is FQE, g^(T−1) is WDR.
    V̂ = Σ_j x_j g^(j),   x = argmin over the simplex of xᵀ (Ω̂ + b̂ b̂ᵀ) x.
    Ω̂ is the covariance *of the estimates* g, by leaving out one block of episodes at a time; b̂_j is the distance of
    g^(j) from the interval of WDR, so that partial returns pay for bias that the data can see.
    Terms: WDR's. ``settle`` chooses x on the whole log; replicates keep it. Unsettled it is WDR.
    Source: Thomas & Brunskill 2016, section 6. Deviations: Ω̂ and the interval by the jackknife over blocks of units
    instead of a bootstrap of episodes; ``returns`` partial returns, evenly spread, where there are more steps.
    """

    returns: int = 25
    level: float = 0.9
    chosen: tuple[float, ...] | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"propensity", "q"})
    reads: ClassVar[str] = "decision"

    def __post_init__(self) -> None:
        require(self.returns >= 2, "returns", self.returns, "at least 2")
        require(0 < self.level < 1, "level", self.level, "strictly between 0 and 1")

    @property
    def notes(self) -> tuple[str, ...]:
        if self.chosen is None:
            return ()
        model = f"{100 * self.chosen[0]:.0f} % of the weight is on the model alone"
        return (model, "the interval does not contain the bias of the blend, nor the choice of it")

    @property
    def refusal(self) -> str:
        """Why there is no interval: the jackknife cannot see the error of the model's share of the blend."""
        if self.chosen is None or self.chosen[-1] >= _WEIGHTED:
            return ""
        return f"{100 - 100 * self.chosen[-1]:.0f} % of the blend leans on Q̂, whose own error no interval here holds"

    def terms(self, e: Evidence) -> np.ndarray:
        return parts(e, alive=False)

    def value(self, mean: np.ndarray) -> np.ndarray:
        g = self.partial(mean)
        return g[..., -1] if self.chosen is None else g @ np.asarray(self.chosen)

    def partial(self, mean: np.ndarray) -> np.ndarray:
        """g^(j) [..., J], of evenly spread j from −1 to T − 1. A step without overlap leaves WDR undefined."""
        residual, first, later = by_step(mean, alive=False)
        steps = residual.shape[-1]
        g = np.concatenate([first[..., None], first[..., None] + (residual + later).cumsum(-1)], axis=-1)
        return g[..., np.unique(np.linspace(0, steps, min(self.returns, steps + 1)).round().astype(int))]

    def settle(self, whole: Totals, width: float) -> MAGIC:
        """The same estimator with its blend chosen on the whole log."""
        sums, counts = nonempty(whole)
        g = self.partial(sums.sum(0) / counts.sum())  # [J]
        left = self.partial(leave_one_out(sums, counts))  # [G, J]
        kept = np.isfinite(left).all(1)
        if not np.isfinite(g).all() or kept.sum() < 2:
            return self
        d = left[kept] - left[kept].mean(0)
        covariance = d.T @ d * (len(d) - 1) / len(d)
        bounds = jackknife(replace(self, chosen=None).value, whole).bounds(self.level)
        low, high = float(bounds.low), float(bounds.high)
        bias = np.maximum(g - high, 0.0) - np.maximum(low - g, 0.0)
        return replace(self, chosen=tuple(simplex(covariance + np.outer(bias, bias)).tolist()))


def simplex(m: np.ndarray) -> np.ndarray:
    """argmin xᵀ M x over x ≥ 0, Σ x = 1, of a positive semi-definite M [J, J].

    Without the sum: min ‖Lᵀx‖² + (Σ x − 1)², M = L Lᵀ, is non-negative least squares; its minimum over the length of
    x at a given direction u on the simplex is q/(1 + q), q = uᵀMu, so both have the same best direction.
    Source: Lawson & Hanson 1974, chapter 23 (NNLS).
    """
    from scipy.optimize import nnls

    scale = float(np.trace(m)) / len(m)
    if not scale > 0:
        return np.full(len(m), 1.0 / len(m))
    value, vector = np.linalg.eigh(m / scale)
    root = np.sqrt(np.maximum(value, 0.0))[:, None] * vector.T  # [J, J]
    x, _ = nnls(np.vstack([root, np.ones(len(m))]), np.append(np.zeros(len(m)), 1.0), maxiter=100 * len(m))
    return x / x.sum()
