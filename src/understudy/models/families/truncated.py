"""What families share that have a middle and a width: a kernel, shifted, scaled, and cut to the box.

π(y) = k(z)/(σ·(K(b) − K(a))), z = (y − μ)/σ, a = (−1 − μ)/σ, b = (1 − μ)/σ, where K is ∫₀ k. Cutting, not clamping:
clamped actions would pile up at the ends of the box, where they have a probability and no density. Since |μ| ≤ 1,
a ≤ 0 ≤ b, and K(b) − K(a) is a sum of two numbers of one sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.models.families.family import Params

QUIETEST, LOUDEST = -4.5, 0.5  # bounds of log σ: 0.011 and 1.65 half widths of the box


def placed(xp: Any, scores: Any, q: int, spread: float) -> tuple[Any, Any]:
    """(μ, log σ) of scores f[..., n, ≥ 2q]: μ = tanh(s), log σ squashed into [QUIETEST, LOUDEST]; σ times spread."""
    middle, half = (LOUDEST + QUIETEST) / 2, (LOUDEST - QUIETEST) / 2
    return xp.tanh(scores[..., :q]), middle + half * xp.tanh(scores[..., q : 2 * q]) + np.log(spread)


def standard(xp: Any, params: Params, y: Any) -> tuple[Any, Any, Any]:
    """(z, a, b): the action and the ends of the box in widths from the middle."""
    mean, std = params[0], xp.exp(params[1])
    return (y - mean) / std, (-1.0 - mean) / std, (1.0 - mean) / std


def log_density(xp: Any, params: Params, log_kernel: Any, mass: Any) -> Any:
    """Σ_j log k(z) − log σ − log(K(b) − K(a)): log_kernel = log k(z) and mass, f[..., n, q] → f[..., n]."""
    return (log_kernel - params[1] - xp.log(mass)).sum(-1)


def unit(xp: Any, params: Params, z: Any) -> Any:
    """y = μ + σz, inside the box whatever was lost to rounding."""
    return xp.clip(params[0] + xp.exp(params[1]) * z, -1.0, 1.0)


def entropy(xp: Any, params: Params, surprise: Any, mass: Any) -> Any:
    """Σ_j log σ + log(K(b) − K(a)) + E[−log k(z)], the last given."""
    return (params[1] + xp.log(mass) + surprise).sum(-1)
