"""Numbers from uniforms through inverse distribution functions, so that tied draws can share one uniform."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_STANDARD = NormalDist()


def below(x: np.ndarray) -> np.ndarray:
    """Φ(x): f64[n] → f64[n]."""
    return np.array([_STANDARD.cdf(value) for value in np.ravel(x).tolist()]).reshape(np.shape(x))


def quantile(p: np.ndarray) -> np.ndarray:
    """Φ⁻¹(p) for p in (0, 1), 0 and 1 moved inside by a rounding error."""
    inside = np.clip(p, 1e-16, 1 - 1e-16)
    return np.array([_STANDARD.inv_cdf(value) for value in np.ravel(inside).tolist()]).reshape(np.shape(p))


def truncated(
    u: np.ndarray, mean: float | np.ndarray, spread: float | np.ndarray, low: float = -np.inf, high: float = np.inf
) -> np.ndarray:
    """N(mean, spread²) cut to [low, high], at the levels u in [0, 1)."""
    bottom, top = (below(np.broadcast_to((edge - mean) / spread, u.shape)) for edge in (low, high))
    return np.clip(mean + spread * quantile(bottom + u * (top - bottom)), low, high)


def level(x: np.ndarray, mean: float, spread: float, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """The level u at which ``truncated`` gives x."""
    bottom, top = (below(np.array((edge - mean) / spread)) for edge in (low, high))
    return (below((x - mean) / spread) - bottom) / (top - bottom)
