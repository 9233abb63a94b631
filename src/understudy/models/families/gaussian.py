"""A Gaussian cut to the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.models.families import truncated as t
from understudy.models.families.family import Params, special

FULL = np.sqrt(np.pi / 2)  # ∫₀^∞ e^(−z²/2)
MOST = 1 - 2.0**-22  # of FULL: beyond it the inverse has no number in f32


@dataclass(frozen=True)
class Gaussian:
    """k(z) = e^(−z²/2) on the box; parameters (μ, log σ).

    y = μ + σ·√2·erf⁻¹(…), by the inverse of its distribution function.
    """

    noise, located = "uniform", True

    def outputs(self, q: int) -> int:
        """μ and log σ per dimension."""
        return 2 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        return t.placed(xp, scores, q, spread)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        z, a, b = t.standard(xp, params, y)
        return t.log_density(xp, params, -0.5 * z**2, _mass(xp, b) - _mass(xp, a))

    likelihood = log_density

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        _, a, b = t.standard(xp, params, 0.0)
        low, high = _mass(xp, a), _mass(xp, b)
        share = xp.clip((low + noise * (high - low)) / FULL, -MOST, MOST)
        return t.unit(xp, params, np.sqrt(2.0) * special(xp).erfinv(share))

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        return params[0]

    def entropy(self, xp: Any, params: Params) -> Any:
        """E[z²/2] = ½(1 + (a·k(a) − b·k(b))/(K(b) − K(a)))."""
        _, a, b = t.standard(xp, params, 0.0)
        mass = _mass(xp, b) - _mass(xp, a)
        ends = a * xp.exp(-0.5 * a**2) - b * xp.exp(-0.5 * b**2)
        return t.entropy(xp, params, 0.5 * (1.0 + ends / mass), mass)


def _mass(xp: Any, z: Any) -> Any:
    """K(z) = √(π/2)·erf(z/√2)."""
    return FULL * special(xp).erf(z / np.sqrt(2.0))
