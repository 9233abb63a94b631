"""Beta's distribution, stretched over the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.models.families import quadrature as quad
from understudy.models.families.family import Params, softplus

MOST = 300.0  # of α − 1 and β − 1
INSIDE = 1 - 1e-7  # how far from the middle an action may lie: at the very ends the density is 0
EDGE = 0.999  # where a logged action at the end of the box is taken to lie when its likelihood is asked
REACH = 18.0  # nats below its peak at which the density, per dw, counts as 0


@dataclass(frozen=True)
class Beta:
    """x = (y + 1)/2 ~ Beta(α, β), α and β = 1 + log(1 + eˢ), at most 301; parameters (α, β). It has one mode.

    Its constant and its quantiles by quadrature over w = log(x/(1 − x)), where the density is smooth:
    h(w) ∝ x^α·(1 − x)^β. Source: Chou, Maturana & Scherer 2017 for policies.
    """

    noise, located = "uniform", False

    def outputs(self, q: int) -> int:
        """α and β per dimension."""
        return 2 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        """``spread`` divides α − 1 and β − 1 by its square, which leaves the mode where it is."""
        beyond = xp.minimum(softplus(xp, scores), MOST) / spread**2
        return 1.0 + beyond[..., :q], 1.0 + beyond[..., q : 2 * q]

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        return self._log_density(xp, params, xp.clip(y, -INSIDE, INSIDE))

    def likelihood(self, xp: Any, params: Params, y: Any) -> Any:
        """The ends of the box, where the density is 0, count as ±EDGE."""
        return self._log_density(xp, params, xp.clip(y, -EDGE, EDGE))

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        low, high = _ends(xp, params)
        w = quad.quantile(xp, lambda w: xp.exp(_relative(xp, params, w)), low, high, noise)
        return xp.clip(xp.tanh(0.5 * w), -INSIDE, INSIDE)

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        """(α − β)/(α + β − 2); where that is 0/0, the middle."""
        alpha, beta = params
        return (alpha - beta) / xp.maximum(alpha + beta - 2.0, 1e-12)

    def entropy(self, xp: Any, params: Params) -> Any:
        """E[−log π] by the same quadrature; dy = ½(1 − y²) dw."""
        low, high = _ends(xp, params)
        w = quad.nodes(low, high)
        level = _relative(xp, params, w)
        height = xp.exp(level)
        mass = quad.integral(height, low, high)
        slope = -np.log(2.0) - 2.0 * xp.logaddexp(0.0 * w, -w) - w + np.log(4.0)  # log dy/dw = log 2x(1 − x)
        return (xp.log(mass) - quad.integral(height * (level - slope), low, high) / mass).sum(-1)

    def _log_density(self, xp: Any, params: Params, y: Any) -> Any:
        low, high = _ends(xp, params)
        mass = quad.integral(xp.exp(_relative(xp, params, quad.nodes(low, high))), low, high)
        w = 2.0 * xp.arctanh(y)
        level = _relative(xp, params, w[..., None])[..., 0]
        return (level - xp.log(mass) - xp.log(0.5 * (1.0 - y) * (1.0 + y))).sum(-1)


def _relative(xp: Any, params: Params, w: Any) -> Any:
    """log h(w) less its peak, which lies at w* = log(α/β): α, β f[...], w f[..., m]."""
    a, b = params[0][..., None], params[1][..., None]
    peak = xp.log(a / b)
    down, flat = xp.logaddexp(0.0 * w, -w), xp.logaddexp(0.0 * peak, -peak)
    return (a + b) * (flat - down) + b * (peak - w)


def _ends(xp: Any, params: Params) -> tuple[Any, Any]:
    """Between them lies all but about e^−REACH of it."""
    alpha, beta = params
    peak = xp.log(alpha / beta)
    return peak - _reach(xp, alpha, beta), peak + _reach(xp, beta, alpha)


def _reach(xp: Any, alpha: Any, beta: Any) -> Any:
    """How far left of the peak the density is REACH nats lower: Newton's steps from beyond, which stay beyond.

    log h(w* − d) = −αd − (α + β) log(1 − x*(1 − e^−d)), concave in d; x* = α/(α + β).
    """
    share = alpha / (alpha + beta)
    d = REACH / alpha + xp.sqrt(2 * REACH * (1 / alpha + 1 / beta))
    for _ in range(3):
        rest = 1.0 - share * (1.0 - xp.exp(-d))
        level, slope = -alpha * d - (alpha + beta) * xp.log(rest), alpha * (xp.exp(-d) / rest - 1.0)
        d = d - (level + REACH) / slope
    return d
