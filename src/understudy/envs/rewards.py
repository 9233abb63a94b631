"""How rewards scatter about their expected value inside a declared range. Each kind keeps the mean exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from understudy.core.errors import DataError

Range = tuple[float, float]
CONCENTRATION = 5.0  # of the Beta: standard deviation √(m(1−m)/6)
TAIL, SPAN = 1.5, 1000.0  # Pareto shape and the ratio of the largest to the smallest heavy reward


def exact(mean: np.ndarray, span: Range, rng: np.random.Generator) -> np.ndarray:
    """The mean itself. f64[n] → f64[n]."""
    return mean.astype(np.float64)


def binary(mean: np.ndarray, span: Range, rng: np.random.Generator) -> np.ndarray:
    """The top of the range with the probability that gives the mean, else the bottom."""
    low, high = span
    return np.where(rng.random(len(mean)) < (mean - low) / (high - low), high, low)


def continuous(mean: np.ndarray, span: Range, rng: np.random.Generator) -> np.ndarray:
    """A Beta(c·m, c·(1 − m)) over the range, c = 5; means at the ends of the range are exact."""
    low, high = span
    m = (mean - low) / (high - low)
    inner = np.clip(m, 1e-9, 1 - 1e-9)
    z = rng.beta(CONCENTRATION * inner, CONCENTRATION * (1 - inner))
    return low + (high - low) * np.where((m <= 0) | (m >= 1), m, z)


def heavy(mean: np.ndarray, span: Range, rng: np.random.Generator) -> np.ndarray:
    """low + (mean − low)·X, X a Pareto of shape 1.5 cut to a ratio of 1,000, scaled to mean 1.

    So that X·(mean − low) stays inside the range, means must lie in its lowest ``heavy_share`` part.
    """
    low, high = span
    if ((mean - low) > heavy_share() * (high - low) * (1 + 1e-12)).any():
        raise DataError(f"heavy rewards need means in the lowest {heavy_share():.4f} of the reward range")
    u = rng.random(len(mean)) * (1 - SPAN**-TAIL)
    x = (1 - u) ** (-1 / TAIL)  # in [1, SPAN)
    return low + np.minimum((mean - low) * x / _pareto_mean(), high - low)


def heavy_share() -> float:
    """The share of the reward range that the means of heavy rewards may use: E X / max X."""
    return _pareto_mean() / SPAN


def _pareto_mean() -> float:
    """E X of density ∝ x^(−α−1) on [1, H]: α/(α−1) · (1 − H^(1−α)) / (1 − H^(−α))."""
    return TAIL / (TAIL - 1) * (1 - SPAN ** (1 - TAIL)) / (1 - SPAN**-TAIL)


Scatter = Callable[[np.ndarray, Range, np.random.Generator], np.ndarray]
SCATTER: Mapping[str, Scatter] = {"exact": exact, "binary": binary, "continuous": continuous, "heavy": heavy}
