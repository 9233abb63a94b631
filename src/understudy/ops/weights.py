"""Importance weights: how much they are worth, and how they are tamed. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np

from understudy.ops.returns import LOOSE, lengths, level, longest, padded, walk


def ess(weight: np.ndarray, axis: int = 0) -> np.ndarray:
    """Effective sample size (Σw)² / Σw²; 0 where all weights are 0. Weights [n, ...] → [...].

    Source: Kish 1965.  >>> float(ess(np.array([1.0, 1.0, 2.0])))  # 16 / 6
    """
    total, square = weight.sum(axis), (weight * weight).sum(axis)
    return np.divide(total * total, square, out=np.zeros_like(total), where=square > 0)


def max_share(weight: np.ndarray, axis: int = 0) -> np.ndarray:
    """Largest weight over the sum of weights; 0 where all weights are 0. Weights [n, ...] → [...]."""
    total = weight.sum(axis)
    return np.divide(weight.max(axis, initial=0.0), total, out=np.zeros_like(total), where=total > 0)


def clip(weight: np.ndarray, most: float) -> np.ndarray:
    """min(w, most): biased toward 0, bounded. Source: Ionides 2008, "Truncated importance sampling"."""
    return weight if most == np.inf else np.minimum(weight, most)


def keep(weight: np.ndarray, most: float) -> np.ndarray:
    """w · 1(w ≤ most): what SWITCH keeps. Source: Wang, Agarwal & Dudík 2017, equation (7)."""
    if most == np.inf:
        return weight
    kept = weight.copy()
    kept[weight > most] = 0.0
    return kept


def shrink(weight: np.ndarray, amount: float) -> np.ndarray:
    """λ w / (w² + λ): optimistic shrinkage, 0 at λ = 0 and w at λ = ∞.

    Source: Su, Dimakopoulou, Krishnamurthy & Dudík 2020, section 4.2.
    """
    if amount == 0.0:
        return np.zeros_like(weight)
    shrunk = weight * weight  # in place from here: this runs once per row of every log
    shrunk *= 1.0 / amount
    shrunk += 1.0
    return np.divide(weight, shrunk, out=shrunk)


def harmonic(weight: np.ndarray, amount: float) -> np.ndarray:
    """w / (1 − λ + λ w): bounded by 1/λ, w at λ = 0; 0 ≤ λ < 1.

    Source: Metelli, Russo & Restelli 2021, equation (9) with s = −1.
    """
    return weight if amount == 0.0 else weight / ((1.0 - amount) + amount * weight)


def cumulative(ratio: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """w_{0:t} = Π_{s≤t} ρ_s within each episode. Ratios f64[n], starts i64[m+1] → f64[n].

    >>> cumulative(np.array([1.4, 2.4, 2.0]), np.array([0, 2, 3]))  # 1.4, 1.4 · 2.4, 2
    array([1.4 , 3.36, 2.  ])
    """
    m, width = len(starts) - 1, longest(starts)
    if m * width > LOOSE * len(ratio):
        out = ratio.copy()
        for t, rows in enumerate(walk(starts)):
            if t:
                out[rows] *= out[rows - 1]
        return out
    inside = None if level(starts) else np.arange(width) < lengths(starts)[:, None]
    table = ratio.reshape(m, width).copy() if inside is None else padded(ratio, starts, width)
    for t in range(1, width):  # column by column: an accumulation along a short last axis is slow
        np.multiply(table[:, t - 1], table[:, t], out=table[:, t])
    return table.ravel() if inside is None else table[inside]


def before(weight: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """w_{0:t−1} of each row, from w_{0:t}: 1 at the first step of an episode. → f64[n]."""
    out = np.empty_like(weight)
    out[1:] = weight[:-1]
    out[starts[:-1]] = 1.0
    return out


def final(weight: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Π_t ρ_t of each whole episode, from w_{0:t}. → f64[m]."""
    return weight[starts[1:] - 1]
