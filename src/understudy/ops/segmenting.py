"""Groups of customers from what they did: quantiles of any number, recency-frequency-money, estimated elasticity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def quantile_edges(values: np.ndarray, parts: int) -> tuple[float, ...]:
    """The inner edges that cut known values into ``parts`` of equal size; fewer where values are tied."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return ()
    cuts = np.quantile(known, np.arange(1, parts) / parts)
    return tuple(float(cut) for cut in np.unique(cuts) if cut > known.min())


def codes(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """i64[n] the interval [edge, next edge) of each value; a value that is missing: one beyond the last."""
    found = np.searchsorted(np.asarray(edges, np.float64), values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, found).astype(np.int64)


@dataclass(frozen=True)
class RFM:
    """Of m customers, f64[m] each."""

    recency: np.ndarray  # steps since the last purchase at the end of their history; all of it if there was none
    frequency: np.ndarray  # share of steps with a purchase
    money: np.ndarray  # spent per step with a purchase; 0 if there was none

    def score(self, parts: int = 3) -> np.ndarray:
        """Σ of three ranks in 1 … parts, each by its own quantiles, the best highest: i64[m]."""
        columns = (-self.recency, self.frequency, self.money)
        return sum((codes(c, quantile_edges(c, parts)) + 1 for c in columns), np.zeros(len(self.money), np.int64))


def rfm(starts: np.ndarray, bought: np.ndarray, spent: np.ndarray) -> RFM:
    """Recency, frequency and money of m histories.

    Args:
        starts: i64[m+1] where each history begins; bought: bool[n]; spent: f64[n].
    """
    lengths, begins = np.diff(starts), starts[:-1]
    age = np.arange(starts[-1]) - np.repeat(begins, lengths)
    last = np.maximum.reduceat(np.where(bought, age, -1), begins)
    times = np.add.reduceat(bought.astype(np.float64), begins)
    money = np.add.reduceat(np.where(bought, spent, 0.0), begins)
    return RFM(lengths - 1.0 - last, times / lengths, money / np.maximum(times, 1))


RFM_LABELS = ("low", "middle", "high")


def rfm_groups(found: RFM) -> np.ndarray:
    """i64[m] 0 low (score 3 and 4), 1 middle (5 to 7), 2 high (8 and 9): places in ``RFM_LABELS``."""
    return np.searchsorted([5, 8], found.score(), side="right").astype(np.int64)


def elasticity(starts: np.ndarray, log_price: np.ndarray, units: np.ndarray) -> np.ndarray:
    """How demand answers to price, per customer, from prices that were drawn at random: f64[m].

    y_t = ȳ (1 + e (x_t − x̄)) + noise with x = log price: ê = slope / ȳ, variance v. Estimates are drawn towards their
    common mean as far as they are noise: e* = (ê τ² + ē v) / (τ² + v), τ² by moments. Who never bought has ē.

    Args:
        starts: i64[m+1]; log_price, units: f64[n].
    Source: DerSimonian & Laird 1986 (τ²); James & Stein 1961 (shrinkage).
    """
    begins, lengths = starts[:-1], np.diff(starts)

    def mean(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(x, begins) / lengths

    x = log_price - np.repeat(mean(log_price), lengths)
    level = mean(units)
    spread = np.add.reduceat(x * x, begins)
    known = (level > 0) & (spread > 0) & (lengths > 2)
    safe_spread, safe_level = np.where(known, spread, 1.0), np.where(known, level, 1.0)
    slope = np.add.reduceat(x * units, begins) / safe_spread
    rest = units - np.repeat(level, lengths) - x * np.repeat(slope, lengths)
    noise = np.add.reduceat(rest * rest, begins) / np.maximum(lengths - 2, 1)
    if not known.any():
        return np.zeros(len(level))
    # Counts scatter in proportion to their mean, and one customer's few steps say little of how much.
    over = float(noise[known].mean()) / float(level[known].mean())
    e, v = slope / safe_level, np.maximum(over, 1e-12) / (safe_level * safe_spread)
    w = 1 / v[known]
    centre = float((w * e[known]).sum() / w.sum())
    excess = float((w * (e[known] - centre) ** 2).sum()) - (known.sum() - 1)
    tau = max(0.0, excess / float(w.sum() - (w * w).sum() / w.sum())) if known.sum() > 1 else 0.0
    return np.where(known, (e * tau + centre * v) / np.where(tau + v > 0, tau + v, 1.0), centre)


def relevance(x: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Mutual information of two numbers in nats, by a table of quantile bins, less its bias: f64[n], f64[n] → ≥ 0.

    I = Σ p_ij log(p_ij / p_i p_j) − (r − 1)(c − 1) / 2n, the mean of a table of independent rows and columns.
    Source: Miller 1955 (the correction).
    """
    keep = ~(np.isnan(x) | np.isnan(y))
    a, b = (codes(z[keep], quantile_edges(z[keep], bins)) for z in (x, y))
    table = np.zeros((a.max() + 1, b.max() + 1)) if keep.any() else np.ones((1, 1))
    if keep.any():
        np.add.at(table, (a, b), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    p = table / table.sum()
    expected = p.sum(1, keepdims=True) * p.sum(0)
    inside = p > 0
    found = float((p[inside] * np.log(p[inside] / expected[inside])).sum())
    return max(0.0, found - (table.shape[0] - 1) * (table.shape[1] - 1) / (2 * float(table.sum())))
