"""How likely a run of one learner beats a run of another, with an interval that exists when it always did. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, special

from understudy.ops.bootstrap import Strata


def improvement(a: Strata, b: Strata) -> float:
    """P(A > B) + P(A = B) / 2, the mean over tasks; with runs x of A and y of B, Σ_ij [x_i > y_j] + [x_i = y_j]/2.

    Source: Mann & Whitney 1947; Agarwal et al. 2021 (mean over tasks).
    """
    return float(np.mean([placements(x, y).mean() for x, y in zip(a, b)]))


def placements(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of y that each x beats, ties half. f64[len(x)]"""
    ranked = np.sort(y)
    return (np.searchsorted(ranked, x, "left") + np.searchsorted(ranked, x, "right")) / (2.0 * len(y))


def improvement_interval(a: Strata, b: Strata, level: float = 0.95) -> tuple[float, float]:
    """Where P(A > B) may lie: a score interval of each task, put together.

    One task: all θ with |θ̂ − θ| ≤ t √(f V(θ)),  V(θ) = θ(1−θ)/(mn) · [1 + n*(1−θ)/(2−θ) + n*θ/(1+θ)],
    n* = (m+n)/2 − 1. V is the variance where both are exponential; f ≥ 1 widens it where the runs themselves show
    more (DeLong's variance at θ̂), such as two learners of unequal spread. V(θ) > 0 inside (0, 1), so that "always" in
    5 runs is not proof of 1. t: Student, m + n − 2 degrees of freedom. Several tasks: the distances from θ̂_t to the
    limits add in squares. Seeds that both share make it too wide, never too narrow.

    Returns:
        (low, high); NaN, NaN where a task has fewer than two runs of either.
    Source: Newcombe 2006, method 5 (one task); DeLong et al. 1988; Zou & Donner 2008 (the sum).
    """
    if min(min(len(x), len(y)) for x, y in zip(a, b)) < 2:
        return float("nan"), float("nan")
    center = improvement(a, b)
    limits = np.array([_task(x, y, level) for x, y in zip(a, b)])  # [tasks, (θ̂, low, high)]
    below, above = (float(np.sqrt(((limits[:, 0] - limits[:, k]) ** 2).sum()) / len(limits)) for k in (1, 2))
    return max(0.0, center - below), min(1.0, center + above)


def _task(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, float, float]:
    wins, losses = placements(x, y), placements(y, x)
    theta = float(wins.mean())
    seen = float(wins.var(ddof=1) / len(x) + losses.var(ddof=1) / len(y))
    expected = _variance(theta, len(x), len(y))
    factor = max(1.0, seen / expected) if expected > 0 else 1.0
    t = float(special.stdtrit(len(x) + len(y) - 2, 0.5 + level / 2))

    def gap(at: float) -> float:
        return (theta - at) ** 2 - t**2 * factor * _variance(at, len(x), len(y))

    return theta, _root(gap, 0.0, theta), _root(gap, 1.0, theta)


def _variance(theta: float, m: int, n: int) -> float:
    half = (m + n) / 2.0 - 1.0
    return theta * (1 - theta) / (m * n) * (1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta))


def _root(gap: Callable[[float], float], far: float, theta: float) -> float:
    """Where the gap changes its sign between an end, where it is positive, and θ̂, where it is not."""
    if theta == far:
        return theta
    near = theta if gap(theta) < 0 else theta + 1e-9 * (far - theta)  # θ̂ at the other end has no variance itself
    return float(optimize.brentq(gap, far, near))  # pyright: ignore[reportArgumentType]


def profile(strata: Strata, at: Sequence[float] | np.ndarray) -> np.ndarray:
    """The share of runs that score more than τ, the mean over tasks. f64[len(at)]

    Source: Dolan & Moré 2002; Agarwal et al. 2021 (score distributions).
    """
    shares = [1.0 - np.searchsorted(np.sort(scores), np.asarray(at), "right") / len(scores) for scores in strata]
    return np.mean(shares, 0)


def profile_band(
    strata: Strata, at: Sequence[float] | np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise limits of ``profile``: Wilson's of each task, put together as in ``improvement_interval``.

    p̃ = (p + z²/2n) / (1 + z²/n),  half = z √(p(1−p)/n + z²/4n²) / (1 + z²/n).  Source: Wilson 1927; Zou & Donner 2008.

    Returns: low, high f64[len(at)] each; of width > 0 even where all runs score more, or none.
    """
    z, low, high = float(special.ndtri(0.5 + level / 2)), 0.0, 0.0
    for scores in strata:
        n, p = len(scores), profile([scores], at)
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        low, high = low + (p - middle + half) ** 2, high + (middle + half - p) ** 2
    whole = profile(strata, at)
    return np.maximum(whole - np.sqrt(low) / len(strata), 0.0), np.minimum(whole + np.sqrt(high) / len(strata), 1.0)
