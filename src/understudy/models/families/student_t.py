"""Student's t cut to the box: how heavy its tails are is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy.models.families import quadrature as q
from understudy.models.families import truncated as t
from understudy.models.families.family import Params, softplus

MOST = 29.0  # of ν − 1: with 30 degrees of freedom it is a Gaussian to the eye


@dataclass(frozen=True)
class StudentT:
    """k(z) = (1 + z²/ν)^(−(ν + 1)/2); parameters (μ, log σ, ν), ν = 1 + log(1 + eˢ), at most 30.

    K and its inverse, which have no closed form, by quadrature over w, z = sinh w; slopes pass through all three.
    """

    noise, located = "uniform", True

    def outputs(self, q: int) -> int:
        """μ, log σ and ν per dimension."""
        return 3 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        return *t.placed(xp, scores, q, spread), 1.0 + xp.minimum(softplus(xp, scores[..., 2 * q :]), MOST)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        z, a, b = t.standard(xp, params, y)
        low, high = xp.arcsinh(a), xp.arcsinh(b)
        mass = q.integral(_height(xp, params[2], q.nodes(low, high)), low, high)
        return t.log_density(xp, params, _log_kernel(xp, params[2], z), mass)

    likelihood = log_density

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        _, a, b = t.standard(xp, params, 0.0)
        w = q.quantile(xp, lambda w: _height(xp, params[2], w), xp.arcsinh(a), xp.arcsinh(b), noise)
        return t.unit(xp, params, xp.sinh(w))

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        return params[0]

    def entropy(self, xp: Any, params: Params) -> Any:
        """E[−log k(z)] by the same quadrature."""
        _, a, b = t.standard(xp, params, 0.0)
        low, high = xp.arcsinh(a), xp.arcsinh(b)
        w = q.nodes(low, high)
        height = _height(xp, params[2], w)
        mass = q.integral(height, low, high)
        surprise = q.integral(-height * _log_kernel(xp, params[2][..., None], xp.sinh(w)), low, high) / mass
        return t.entropy(xp, params, surprise, mass)


def _log_kernel(xp: Any, df: Any, z: Any) -> Any:
    return -0.5 * (df + 1.0) * xp.log1p(z**2 / df)


def _height(xp: Any, df: Any, w: Any) -> Any:
    """k(sinh w)·cosh w, the density per dw: ν f[...], w f[..., m]."""
    return xp.exp(_log_kernel(xp, df[..., None], xp.sinh(w))) * xp.cosh(w)
