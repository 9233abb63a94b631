"""The shape of a sample: central moments that merge, how far from normal they are, and quantiles. Pure; arrays in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Shape(NamedTuple):
    """n, mean, and Σ (x − mean)^p for p = 2, 3, 4: numbers or arrays of one shape."""

    n: np.ndarray | float
    mean: np.ndarray | float
    m2: np.ndarray | float
    m3: np.ndarray | float
    m4: np.ndarray | float

    @property
    def skewness(self) -> np.ndarray:
        """√n m3 / m2^1.5; NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(self.n) * self.m3 / np.power(self.m2, 1.5)

    @property
    def kurtosis(self) -> np.ndarray:
        """n m4 / m2² (3 if normal); NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.n) * self.m4 / np.square(self.m2)


def shape_of(x: np.ndarray) -> Shape:
    """The shape of one sample, f64[n]."""
    n = len(x)
    if n == 0:
        return Shape(0.0, 0.0, 0.0, 0.0, 0.0)
    mean = float(x.mean())
    gap = x - mean
    square = gap * gap
    m2 = float(square.sum())
    gap *= square
    square *= square
    return Shape(float(n), mean, m2, float(gap.sum()), float(square.sum()))


def merged(a: Shape, b: Shape) -> Shape:
    """The shape of two samples together. Source: Pébay 2008, equations 2.1, 3.1 (p = 2, 3, 4)."""
    n = np.maximum(np.asarray(a.n) + b.n, 1.0)
    d = np.asarray(b.mean) - a.mean
    fa, fb = np.asarray(a.n) / n, np.asarray(b.n) / n
    both = d * d * fa * fb * n
    m2 = a.m2 + b.m2 + both
    m3 = a.m3 + b.m3 + both * d * (fa - fb) + 3 * d * (fa * b.m2 - fb * a.m2)
    m4 = a.m4 + b.m4 + both * d * d * (fa * fa - fa * fb + fb * fb)
    m4 = m4 + 6 * d * d * (fa * fa * b.m2 + fb * fb * a.m2) + 4 * d * (fa * b.m3 - fb * a.m3)
    return Shape(np.asarray(a.n) + b.n, a.mean + d * fb, m2, m3, m4)


def k_squared(n: float, skewness: float, kurtosis: float) -> float:
    """K² = Z(skewness)² + Z(kurtosis)²: χ² with 2 degrees of freedom if the n ≥ 20 values are normal.

    Source: D'Agostino & Pearson 1973; the skewness by D'Agostino 1970, the kurtosis by Anscombe & Glynn 1983.
    """
    return _skew_z(n, skewness) ** 2 + _kurtosis_z(n, kurtosis) ** 2


def _skew_z(n: float, skewness: float) -> float:
    y = skewness * np.sqrt((n + 1) * (n + 3) / (6.0 * (n - 2)))
    b = 3.0 * (n * n + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2.0) * (n + 5) * (n + 7) * (n + 9))
    w = np.sqrt(2 * (b - 1)) - 1
    return float(np.arcsinh(y / np.sqrt(2.0 / (w - 1))) / np.sqrt(0.5 * np.log(w)))


def _kurtosis_z(n: float, kurtosis: float) -> float:
    variance = 24.0 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - 3.0 * (n - 1) / (n + 1)) / np.sqrt(variance)
    third = 6.0 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9)) * np.sqrt(6.0 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6.0 + 8.0 / third * (2.0 / third + np.sqrt(1 + 4.0 / third**2))
    cube = (1 - 2.0 / a) / (1 + x * np.sqrt(2.0 / (a - 4)))
    return float((1 - 2.0 / (9 * a) - np.cbrt(cube)) / np.sqrt(2.0 / (9 * a)))


def quantiles(ordered: np.ndarray, pieces: int) -> np.ndarray:
    """The i/K quantiles, i = 0 … K, of sorted values f64[n]: linear between order statistics, F(x_(k)) = k/n.

    Equals ``scipy.stats.mstats.mquantiles`` with alphap = 0, betap = 1 (Hyndman & Fan 1996, definition 4).

    >>> quantiles(np.arange(101.0), 4).tolist()
    [0.0, 24.25, 49.5, 74.75, 100.0]
    """
    n = len(ordered)
    place = n * (np.arange(pieces + 1) / pieces)
    k = np.clip(np.floor(place), 1, max(n - 1, 1)).astype(np.int64)
    share = np.clip(place - k, 0.0, 1.0)
    return (1 - share) * ordered[k - 1] + share * ordered[np.minimum(k, n - 1)]
