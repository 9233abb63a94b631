"""Differences of many pairs that share their seeds, with the chance of any false claim held at α. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from understudy.ops.bootstrap import Strata
from understudy.ops.stats import holm


@dataclass(frozen=True)
class PairedMean:
    """The mean difference of one pair: its value, standard error, degrees of freedom and two-sided p-value.

    ``std_error`` is 0 and ``p`` 1 where nothing varies: then there is nothing to measure a difference by.
    """

    value: float
    std_error: float
    df: float
    p: float


def paired_mean(differences: Strata) -> PairedMean:
    """Differences by seed on several tasks → the mean of the tasks' means.

    D̄ = Σ_t d̄_t / T,  SE² = Σ_t s_t²/n_t / T²,  t = D̄ / SE with Satterthwaite's degrees of freedom
    (Σ s_t²/n_t)² / Σ (s_t²/n_t)²/(n_t − 1).  One task: the paired t test.

    Args:
        differences: f64[n_t] per task, at least two each.
    """
    value = float(np.mean([d.mean() for d in differences]))
    parts = np.array([d.var(ddof=1) / len(d) for d in differences])
    freedom = np.array([len(d) - 1 for d in differences])
    scale = max(1.0, *(float(np.abs(d).max()) for d in differences))
    if np.sqrt(parts.sum()) <= 1e-12 * scale:
        return PairedMean(value, 0.0, float(freedom.sum()), 1.0)
    std_error = float(np.sqrt(parts.sum()) / len(parts))
    df = float(parts.sum() ** 2 / (parts**2 / freedom).sum())
    return PairedMean(value, std_error, df, float(2.0 * special.stdtr(df, -abs(value) / std_error)))


def simultaneous(pairs: list[PairedMean], level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Holm's adjusted p-values and Bonferroni's intervals of a family of differences.

    adjusted p ≤ α claims a difference: P(any false claim) ≤ α.  D̄ ± t_{1−α/(2m)} SE: P(all m cover) ≥ 1 − α.
    Both hold however the pairs depend on one another. Holm may claim a pair whose interval still touches 0: it needs
    to keep one promise, the intervals m at once.

    Returns:
        adjusted p, low, high: f64[m] each; low and high are NaN where nothing varies.
    Source: Holm 1979. A max-t bootstrap over pairs, which would use their dependence, claims nothing at 5 runs (its
    critical value is above 300) and is wider than Bonferroni up to 20 (benchmarks/results/compare.json).
    """
    if not pairs:
        return np.empty(0), np.empty(0), np.empty(0)
    value, error, df, p = (
        np.array([getattr(pair, name) for pair in pairs]) for name in ("value", "std_error", "df", "p")
    )
    reach = special.stdtrit(df, 1.0 - (1.0 - level) / (2.0 * len(pairs))) * np.where(error > 0, error, np.nan)
    return holm(p), value - reach, value + reach


def left_out(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best setting chosen without each seed, and what it scores on that seed.

    c_i = argmax_s Σ_{j≠i} x_sj,  y_i = x_{c_i, i}: the mean of y is free of the optimism of max_s x̄_s. Ties go to the
    first setting.

    Args:
        scores: f64[settings, seeds].
    Returns:
        c: i64[seeds], y: f64[seeds].
    Source: Stone 1974 (cross-validatory choice).
    """
    others = scores.sum(1, keepdims=True) - scores
    chosen = np.argmax(others, 0)
    return chosen, scores[chosen, np.arange(scores.shape[1])]


def best_interval(scores: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Where the mean of the best of several settings lies, chosen by these very scores.

    x̄ ± max(t_{n−1} s, t_{S(n−1)} s̄) / √n at level 1 − α/S: S settings of n runs, x̄ and s of the best one, s̄² the mean
    of all s². It holds for all settings at once, so also for the one that looks best. The best one's own spread will
    not do alone: what looks best is often what happened to spread little.

    Args:
        scores: f64[settings, seeds].
    Returns:
        (low, high); NaN, NaN with one run each, or where nothing varies.
    Source: Bonferroni; Berk et al. 2013 (inference that outlives the choice).
    """
    settings, n = scores.shape
    if n < 2:
        return float("nan"), float("nan")
    variances = scores.var(1, ddof=1)
    best = int(scores.mean(1).argmax())
    tail = 1.0 - (1.0 - level) / (2 * settings)
    own = special.stdtrit(n - 1, tail) * np.sqrt(variances[best])
    pooled = special.stdtrit(settings * (n - 1), tail) * np.sqrt(variances.mean())
    reach = float(max(own, pooled) / np.sqrt(n)) or float("nan")
    return float(scores[best].mean()) - reach, float(scores[best].mean()) + reach
