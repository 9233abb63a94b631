"""Bets against a claim about a mean: e-processes, anytime-valid bounds. No weight bound, no central limit.

Whoever bets a fixed share λ of the wealth on X ≥ −1 has wealth Π_i (1 + λ X_i). If E[X_i | past] ≤ 0, wealth is a
nonnegative supermartingale that starts at 1, so it ever reaches 1/α with probability at most α (Ville 1939): the claim
"mean ≤ 0" may be rejected the first time that happens, at any look. A weighted average of such wealths is one too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from understudy.core.errors import DataError

# Largest share of the wealth at stake on one draw: the worst draw leaves a fifth.
STAKE = 0.8

# Bets λ_j on draws ≥ −1, spaced by factors of two. The best bet for n draws of second moment M is about
# √(2 ln(1/α) / (n M)): fourteen points reach down to 1e-4, and no target is further than √2 from one of them.
BETS = STAKE * 0.5 ** np.arange(14)  # f64[14]

# Bets on doubly robust draws, spaced by √2. A draw made for the j-th bet is ≥ −B_j, B_j = .8/λ_j, so that staking .8 on
# D/B_j is betting λ_j on D. Larger bets would leave no room for the control (ops/paired.py) and repeat those above.
DR_BETS = 0.5 * STAKE * 0.5 ** (np.arange(28) / 2)  # f64[28]
DR_BOUNDS = STAKE / DR_BETS  # f64[28] 2, 2.8, 4, …


def _shares(bets: np.ndarray) -> np.ndarray:
    """Even down to λ = .8/256, then falling with λ: bets that only pay after a million draws get little."""
    shares = np.minimum(1.0, 256.0 * bets / STAKE)
    return shares / shares.sum()


SHARES, DR_SHARES = _shares(BETS), _shares(DR_BETS)  # the first unit of wealth, split over the bets

_CELLS = 32_768  # distinct values a bound is computed from; more are put together
_CHUNK = 8192  # rows whose path is held at once: chunk × bets × 8 bytes stay in cache


class Stream(NamedTuple):
    """Independent draws with a known hard floor; nothing is assumed about how large they can be."""

    values: np.ndarray  # f64[n]
    floor: float


@dataclass(frozen=True)
class Wealth:
    """State of an averaged e-process: all it needs to go on where the last batch ended.

    E_t = Σ_j p_j exp(log_wealth_j(t));  peak = max_{s ≤ t} ln E_s.
    """

    log_prior: np.ndarray  # f64[J] ln p_j, summing to 1 in p
    log_wealth: np.ndarray  # f64[J]
    peak: float = 0.0  # ln E_0 = 0
    n: int = 0

    @property
    def log_e(self) -> float:
        """ln E at the last draw seen."""
        return float(log_sum_exp(self.log_prior + self.log_wealth))

    def extend(self, growth: np.ndarray) -> Wealth:
        """Bet on further draws, in log order. growth f64[n, J] = ln(1 + λ_j X_ij), each entry > −∞.

        One call with all rows and many calls with consecutive batches give the same state to rounding (S17).
        """
        wealth, peak = self.log_wealth, self.peak
        for first in range(0, len(growth), _CHUNK):
            path = wealth + np.cumsum(growth[first : first + _CHUNK], axis=0)  # [c, J]
            peak = max(peak, float(log_sum_exp(self.log_prior + path).max()))
            wealth = path[-1]
        return replace(self, log_wealth=wealth, peak=peak, n=self.n + len(growth))


def start(prior: np.ndarray) -> Wealth:
    """An e-process before its first draw. prior f64[J] ≥ 0, the share of the first unit of wealth on each bet."""
    prior = np.asarray(prior, np.float64)
    if not np.isfinite(prior).all() or (prior < 0).any() or not prior.sum() > 0:
        raise DataError("the shares of an averaged e-process must be nonnegative, finite and not all zero")
    with np.errstate(divide="ignore"):
        return Wealth(np.log(prior / prior.sum()), np.zeros(len(prior)))


def growth(x: np.ndarray, bets: np.ndarray, bound: np.ndarray | float = 1.0, margin: float = 0.0) -> np.ndarray:
    """Logarithmic growth of each bet on each draw against "the mean is at most ``margin``".

    ln(1 + λ_j (X_ij − m) / (B_j + m)),  X_ij ≥ −B_j,  −B_j < m.  At m < 0 this tests non-inferiority.

    Args:
        x: f64[n] the same draws for every bet, or f64[n, J].
        bets: f64[J] λ_j in (0, 1).
        bound: B_j, scalar or f64[J], fixed before the data were seen.
        margin: m, in units of x.
    Returns:
        f64[n, J], every entry ≥ ln(1 − λ_j).
    Raises:
        DataError: a draw lies below −B: the bound was not one, and the proof would be void.
    Source: Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", section 4;
        one-sided and unbounded above as in Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro 2022, section 3.

    >>> np.exp(growth(np.array([-1.0, 4.0]), np.array([0.5]))).ravel().round(9).tolist()
    [0.5, 3.0]
    """
    x = x[:, None] if x.ndim == 1 else x
    scaled = (x - margin) / (np.asarray(bound) + margin)
    if not (scaled.min(initial=0.0) >= -1 - 1e-9):  # also catches NaN
        bad = int((~(scaled >= -1 - 1e-9)).any(1).sum())
        raise DataError(
            f"{bad} of {len(x)} draws lie below the floor they were declared to have",
            "A bet could then lose more than its stake, and its wealth would prove nothing.",
        )
    return np.log1p(bets * np.maximum(scaled, -1.0))


def lower_bound(values: np.ndarray, floor: float, level: float) -> float:
    """Lower confidence bound of the mean of independent draws ≥ floor, however heavy their upper tail.

    L = sup { m > floor : Σ_j p_j Π_i (1 + λ_j (v_i − m)/(m − floor)) ≥ 1/α },  α = 1 − level.

    The product falls in m (its derivative has the sign of floor − v_i), so L is a root. P(L_n > mean for any n) ≤ α:
    the bound may be read at every n. It does not depend on the order of the draws.

    Args:
        values: f64[n], each ≥ floor; for a value by inverse propensities w·r with r in [0, 1], floor 0.
        floor: a number known without looking at the data.
        level: confidence, in (0, 1).
    Returns:
        The bound, in units of values; ``floor`` where nothing above it can be claimed.
    Raises:
        DataError: a value below floor or not finite; level outside (0, 1).
    Source: as ``growth``.

    >>> round(lower_bound(np.ones(100), 0.0, 0.95), 4)
    0.938
    """
    values = np.asarray(values, np.float64)
    if not 0 < level < 1:
        raise DataError(f"level must be in (0, 1); got {level}", field="level")
    excess, counts = np.unique(values - floor, return_counts=True)  # the order of draws does not matter here
    _check_floor(excess, floor)
    mean = float(excess @ counts) / max(len(values), 1)
    if not mean > 0:
        return floor
    excess, counts, slack = _cells(excess, counts)
    need, prior = slack - np.log1p(-level), np.log(SHARES)

    excess = excess / mean

    def surplus(log_m: float) -> float:  # of the claim "mean ≤ floor + (sample mean − floor)·exp(log_m)"
        relative = excess * np.exp(-log_m) - 1.0  # (v − m) / (m − floor) ≥ −1
        logs = np.log1p(np.multiply.outer(relative, BETS))  # [u, J]
        return float(log_sum_exp(prior + counts @ logs)) - need

    low = -1.0
    while surplus(low) < 0:
        low *= 3.0
        if low < -600.0:
            return floor
    from scipy.optimize import brentq

    # By concavity of the logarithm no bet has gained at the sample mean itself.
    root = float(brentq(surplus, low, 0.0, xtol=1e-10))  # pyright: ignore[reportArgumentType]
    return float(floor + mean * np.exp(root))


def interval(lower: Stream, upper: Stream, level: float) -> tuple[float, float]:
    """Anytime-valid two-sided interval of a value V; each side may err with probability (1 − level)/2.

    low = L(lower stream), high = −L(upper stream), where E lower = V and E upper = −V.

    A stream bounded on both sides gives both: ``Stream(x, a)`` and ``Stream(-x, -b)``. One unbounded above needs a
    second stream for the other side, see ``weighted_streams``.

    Raises: as ``lower_bound``.
    """
    side = (1.0 + level) / 2.0
    low = lower_bound(lower.values, lower.floor, side)
    high = -lower_bound(upper.values, upper.floor, side)
    if low > high:  # the two streams contradict each other, which happens with probability at most 1 − level
        low = high = (low + high) / 2.0
    return low, high


def weighted_streams(weight: np.ndarray, reward: np.ndarray, low: float, high: float) -> tuple[Stream, Stream]:
    """The two streams of an importance-weighted value with rewards in [low, high] and weights ≥ 0 of mean 1.

    lower_i = low + w_i (r_i − low) ≥ low, mean V;   upper_i = w_i (high − r_i) − high ≥ −high, mean −V.

    Each is bounded where its bet needs it, whatever the largest weight. If the target is partly unsupported
    (E w < 1) both bounds err to the safe side. weight, reward f64[n].
    """
    return Stream(low + weight * (reward - low), low), Stream(weight * (high - reward) - high, -high)


def spent(alpha: float, k: int) -> float:
    """Error allowance of the k-th test of a family, k = 1, 2, …: α_k = α · 6 / (π² k²), which sums to α.

    >>> round(sum(spent(0.05, k) for k in range(1, 100_000)), 6)
    0.05
    """
    if k < 1:
        raise DataError(f"tests of a family are counted from 1; got {k}")
    return alpha * 6.0 / (np.pi**2 * k**2)


def _cells(excess: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Many distinct values as few: (means of cells, their counts, most that this can add to a log wealth).

    Cells are even in ln(excess), δ wide. A multiplier 1 − λ + λ·excess/(m − floor) varies within one by at most a
    factor e^δ, so putting the cell's mean in place of its values adds at most δ²/8 per draw (Hoeffding's lemma), which
    the caller asks for on top. Values under 1e-12 of the largest count as 0, which only lowers the wealth.
    """
    if len(excess) <= _CELLS:
        return excess, counts, 0.0
    width = np.log(1e12) / _CELLS
    small = excess < 1e-12 * excess[-1]
    cell = np.zeros(len(excess), np.int64)
    cell[~small] = 1 + np.floor(np.log(excess[~small] / excess[-1]) / width).astype(np.int64) + _CELLS
    _, cell = np.unique(cell, return_inverse=True)
    number = np.bincount(cell, counts)
    mean = np.bincount(cell, np.where(small, 0.0, excess) * counts) / number
    return mean, number, float(counts.sum()) * width**2 / 8.0


def _check_floor(excess: np.ndarray, floor: float) -> None:
    if len(excess) and not (np.isfinite(excess[-1]) and excess[0] >= -1e-9 * max(1.0, abs(floor))):
        raise DataError(
            f"a value lies {-excess[0]:.6g} below the floor {floor:.6g}, or is not finite",
            "The bound holds only for draws that can never be below their floor.",
        )
    np.maximum(excess, 0.0, out=excess)


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    """ln Σ_j exp x[..., j], without overflow."""
    top = x.max(-1)
    return top + np.log(np.exp(x - top[..., None]).sum(-1))
