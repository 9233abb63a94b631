"""q-Gaussians cut to the box, on either side of the Gaussian (q = 1): light-tailed with q = 0, heavy-tailed with q = 2.

k(z) = exp_q(−z²/2), exp_q(x) = [1 + (1 − q)x]₊^(1/(1 − q)). Both have distribution functions with a closed inverse.
Source: Tsallis 1988; Zhu et al. 2024 (arXiv 2408.07245) for policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.models.families import quadrature
from understudy.models.families import truncated as t
from understudy.models.families.family import Params

ROOT = np.sqrt(2.0)
FLOOR = 0.2  # of the kernel: below it the likelihood goes on along its tangent in 1 − z²/2
MOST = 1 - 2.0**-20  # of the support: where its density is 0 slopes have no end


@dataclass(frozen=True)
class Light:
    """k(z) = [1 − z²/2]₊, q = 0: a parabola on (μ − √2σ, μ + √2σ), density 0 beyond; parameters (μ, log σ).

    K(z) = z − z³/6; y by its inverse, z = 2√2·sin(⅓·arcsin(3K/(2√2))).
    """

    noise, located = "uniform", True

    def outputs(self, q: int) -> int:
        """μ and log σ per dimension."""
        return 2 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        return t.placed(xp, scores, q, spread)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        z, a, b = t.standard(xp, params, y)
        height = 1.0 - 0.5 * z**2
        some = height > 0
        log_kernel = xp.where(some, xp.log(xp.where(some, height, 1.0)), -np.inf)
        return t.log_density(xp, params, log_kernel, _parabola(xp, b) - _parabola(xp, a))

    def likelihood(self, xp: Any, params: Params, y: Any) -> Any:
        """Beyond the support (and where k < FLOOR) the tangent: it pulls the support towards the action."""
        z, a, b = t.standard(xp, params, y)
        height = 1.0 - 0.5 * z**2
        tangent = np.log(FLOOR) + (height - FLOOR) / FLOOR
        log_kernel = xp.where(height > FLOOR, xp.log(xp.maximum(height, FLOOR)), tangent)
        return t.log_density(xp, params, log_kernel, _parabola(xp, b) - _parabola(xp, a))

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        _, a, b = t.standard(xp, params, 0.0)
        low, high = _parabola(xp, a), _parabola(xp, b)
        share = xp.clip(1.5 / ROOT * (low + noise * (high - low)), -MOST, MOST)
        return t.unit(xp, params, 2 * ROOT * xp.sin(xp.arcsin(share) / 3))

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        return params[0]

    def entropy(self, xp: Any, params: Params) -> Any:
        """∫(1 − x²) log(1 − x²) dx = (P − ⅔) log(1 − x) + (P + ⅔) log(1 + x) + 2x³/9 − 4x/3, P = x − x³/3, x = z/√2."""
        _, a, b = t.standard(xp, params, 0.0)
        mass = _parabola(xp, b) - _parabola(xp, a)
        return t.entropy(xp, params, -ROOT * (_bent(xp, b / ROOT) - _bent(xp, a / ROOT)) / mass, mass)


@dataclass(frozen=True)
class Heavy:
    """k(z) = 1/(1 + z²/2), q = 2: Cauchy's; parameters (μ, log σ). K(z) = √2·arctan(z/√2), and y by its inverse."""

    noise, located = "uniform", True

    def outputs(self, q: int) -> int:
        """μ and log σ per dimension."""
        return 2 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        return t.placed(xp, scores, q, spread)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        z, a, b = t.standard(xp, params, y)
        return t.log_density(xp, params, -xp.log1p(0.5 * z**2), _arc(xp, b) - _arc(xp, a))

    likelihood = log_density

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        _, a, b = t.standard(xp, params, 0.0)
        low, high = _arc(xp, a), _arc(xp, b)
        return t.unit(xp, params, ROOT * xp.tan((low + noise * (high - low)) / ROOT))

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        return params[0]

    def entropy(self, xp: Any, params: Params) -> Any:
        """E[log(1 + z²/2)] by quadrature over w, z = sinh w."""
        _, a, b = t.standard(xp, params, 0.0)
        low, high = xp.arcsinh(a), xp.arcsinh(b)
        w = quadrature.nodes(low, high)
        stretched = 0.5 * xp.sinh(w) ** 2
        read = xp.cosh(w) / (1.0 + stretched) * xp.log1p(stretched)
        mass = _arc(xp, b) - _arc(xp, a)
        return t.entropy(xp, params, quadrature.integral(read, low, high) / mass, mass)


def _parabola(xp: Any, z: Any) -> Any:
    x = xp.clip(z, -ROOT, ROOT)
    return x - x**3 / 6


def _arc(xp: Any, z: Any) -> Any:
    return ROOT * xp.arctan(z / ROOT)


def _bent(xp: Any, x: Any) -> Any:
    """The antiderivative in ``Light.entropy``; P ∓ ⅔ in factors, which are 0 at ±1 as they should be."""
    x = xp.clip(x, -MOST, MOST)
    left, right = -((1 - x) ** 2) * (x + 2) / 3, (1 + x) ** 2 * (2 - x) / 3
    return left * xp.log(1 - x) + right * xp.log(1 + x) + 2 * x**3 / 9 - 4 * x / 3
