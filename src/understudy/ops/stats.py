"""Tests and tails: p-values from sums, tables and samples, and the shape of a weight's tail. Pure; arrays in."""

from __future__ import annotations

import numpy as np
from scipy import special


def normal_p(z: np.ndarray | float) -> np.ndarray:
    """Two-sided p-value of a standard normal z: p = 2 Φ(−|z|)."""
    return 2.0 * special.ndtr(-np.abs(np.asarray(z, np.float64)))


def bennett_p(total: np.ndarray | float, variance: np.ndarray | float, bound: float = 1.0) -> np.ndarray:
    """Two-sided tail bound of a martingale's sum, valid at every sample size.

    P(|S| ≥ s) ≤ 2 exp(−(V / b²) φ(b s / V)),   φ(u) = (1 + u) ln(1 + u) − u

    Args:
        total: S, sum of increments with conditional mean 0.
        variance: V, sum of their conditional variances.
        bound: b, no increment is larger in absolute value.

    Source: Freedman 1975, theorem 1.6 (Bennett's inequality for martingales).
    """
    s, v = np.abs(np.asarray(total, np.float64)), np.asarray(variance, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        u = bound * s / v
        exponent = v / bound**2 * ((1 + u) * np.log1p(u) - u)
    exponent = np.where(v > 0, exponent, np.where(s > 1e-9, np.inf, 0.0))
    return np.minimum(1.0, 2.0 * np.exp(-exponent))


def chi_square_p(statistic: float, freedom: float) -> float:
    """P(χ²_freedom ≥ statistic)."""
    return float(special.chdtrc(freedom, max(statistic, 0.0))) if freedom > 0 else 1.0


def homogeneity_p(table: np.ndarray) -> float:
    """Pearson's χ² of independence of rows and columns of counts [r, c]; empty rows and columns do not count."""
    table = np.asarray(table, np.float64)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape, default=0) < 2:
        return 1.0
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return chi_square_p(statistic, (table.shape[0] - 1) * (table.shape[1] - 1))


def binomial_upper(successes: int, trials: int, level: float = 0.95) -> float:
    """Upper one-sided limit of a binomial chance. Source: Clopper & Pearson 1934."""
    return 1.0 if successes >= trials else float(special.betaincinv(successes + 1, trials - successes, level))


def binomial_lower(successes: int, trials: int, level: float = 0.95) -> float:
    """Lower one-sided limit of a binomial chance. Source: Clopper & Pearson 1934."""
    return 0.0 if successes <= 0 else float(special.betaincinv(successes, trials - successes + 1, 1 - level))


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """D = sup_x |F_a(x) − F_b(x)| of two samples."""
    a, b = np.sort(a), np.sort(b)
    if not len(a) or not len(b):
        return 0.0
    points = np.concatenate([a, b])
    return float(
        np.abs(np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)).max()
    )


def ks_p(a: np.ndarray, b: np.ndarray) -> float:
    """Asymptotic p-value of the two-sample Kolmogorov–Smirnov test; conservative where values tie.

    p = K(D √(n m / (n + m))), K Kolmogorov's survival function. Source: Smirnov 1939.
    """
    if not len(a) or not len(b):
        return 1.0
    return float(special.kolmogorov(np.sqrt(len(a) * len(b) / (len(a) + len(b))) * ks_distance(a, b)))


def cross_table(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Counts [r, c] of two code columns i[n]."""
    return np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)


def holm(p: np.ndarray) -> np.ndarray:
    """Step-down adjusted p-values: reject where adjusted ≤ α, and P(any false rejection) ≤ α. Source: Holm 1979."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def bonferroni(p: np.ndarray) -> float:
    """The smallest of p-values, times their number: a p-value for "all of them are chance"."""
    p = np.asarray(p, np.float64)
    return float(min(1.0, p.min() * p.size)) if p.size else 1.0


def tail_size(n: int) -> int:
    """How many of n weights make the tail: ⌈min(n / 5, 3 √n)⌉. Source: Vehtari et al. 2024, section 2.2."""
    return int(np.ceil(min(n / 5, 3 * np.sqrt(n))))


def pareto_k(weights: np.ndarray, n: int | None = None) -> float | None:
    """k̂, the shape of the generalised Pareto tail of the largest weights; above 0.7 no mean of them is to be trusted.

    Args:
        weights: f64, all weights, or at least the ``tail_size(n) + 1`` largest.
        n: number of all weights, where only the largest are given.

    Returns:
        None where the tail has fewer than 5 weights or no spread: then there is no tail to fit.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling".
    """
    size = tail_size(len(weights) if n is None else n)
    largest = np.sort(np.asarray(weights, np.float64))[-(size + 1) :]
    if size < 5 or len(largest) <= size or (largest[0] <= 0 and largest[-1] <= 0):
        return None
    over = largest[1:] - largest[0]
    over = over[over > 1e-12 * largest[-1]]
    if len(over) < 5 or over[-1] - over[0] <= 1e-9 * over[-1]:
        return None
    shape, _ = generalized_pareto(over)
    return (len(over) * shape + 5.0) / (len(over) + 10.0)  # weak prior: ten observations of k = 0.5


def generalized_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale (k, σ) of sorted positive excesses f64[n]; density (1 + k x / σ)^(−1/k − 1) / σ.

    A posterior mean of b = −k/σ on a grid of 30 + √n points. Source: Zhang & Stephens 2009, section 4.
    """
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    quartile = excess[max(int(n / 4 + 0.5) - 1, 0)]
    b = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)  # [g]
    k = np.log1p(-b[:, None] * excess).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = np.where(b == 0, -np.inf, n * (np.log(-b / k) - k - 1))
    weight = np.exp(profile - special.logsumexp(profile))
    mean_b = float((b * weight).sum())
    shape = float(np.log1p(-mean_b * excess).mean())
    return shape, -shape / mean_b
