"""What was taken minus what the propensities expect: the one quantity that every propensity audit sums.

With all propensities logged,          R_ia = 1[a_i = a] − p_ia
With the chosen propensity only,       R_ia = Q_ia (1[a_i = a] / p_i − 1)   for any Q made without row i's action

Given what was known before acting, E R_ia = 0 if the propensities are right and every allowed action has one above 0.
So Σ_i h_i R_ia is a martingale for every h known before acting, and a log in which one of them is large is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from understudy.core.problem import Feature
from understudy.ope.audit.guess import guess
from understudy.ope.audit.log import Log
from understudy.ops import stats

BINS = 8
TELLTALE = 0.8  # no honest feature explains this share of the variance of a reward within actions
LEAST = 20.0  # a cell in which fewer are expected proves nothing


@dataclass(frozen=True)
class Residuals:
    """R f64[n, k] with the variance each term has (or had), and the largest a term can be."""

    r: np.ndarray
    v: np.ndarray
    bounded: bool  # |R| ≤ 1 always; otherwise the largest seen stands for the bound

    def cells(self, codes: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Sums and p-values f64[bins, k] of R over the rows with each code i[n]; code −1 is left out."""
        live = codes >= 0
        c = codes[live]
        r, v = self.r[live], self.v[live]
        k = r.shape[1]
        total = np.array([np.bincount(c, weights=r[:, a], minlength=bins) for a in range(k)]).T
        var = np.array([np.bincount(c, weights=v[:, a], minlength=bins) for a in range(k)]).T
        return total, tail_p(total, var, 1.0 if self.bounded else self._largest(c, np.abs(r), bins), len(c))

    @staticmethod
    def _largest(codes: np.ndarray, size: np.ndarray, bins: int) -> np.ndarray:
        top = np.zeros((bins, size.shape[1]))
        np.maximum.at(top, codes, size)
        return np.maximum(top, 1e-12)

    def against(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums and p-values f64[k] of Σ_i h_i R_ia for any h f64[n]."""
        total, var = h @ self.r, (h * h) @ self.v
        largest = np.abs(h).max() if self.bounded else np.abs(h[:, None] * self.r).max(0)
        return total, tail_p(total, var, np.maximum(largest, 1e-12), len(h))


def tail_p(total: np.ndarray, variance: np.ndarray, bound: np.ndarray | float, n: int) -> np.ndarray:
    """Bennett's bound per cell; 1 where the cell holds too little to say anything."""
    p = stats.bennett_p(total, variance, bound)  # type: ignore[arg-type]
    return np.where(variance < LEAST * np.asarray(bound) ** 2 * 0.25, 1.0, p)


def full(log: Log) -> Residuals:
    """Residuals against all logged propensities."""
    pmf = log.steps.propensities
    assert pmf is not None
    return Residuals(log.taken - pmf, pmf * (1 - pmf), bounded=True)


def chosen(log: Log, q: np.ndarray) -> Residuals:
    """Residuals against the chosen propensity, spread over the actions by q f64[n, k]."""
    p = log.steps.propensity
    assert p is not None
    r = q * (log.taken / np.maximum(p, 1e-12)[:, None] - 1)
    return Residuals(r, r * r, bounded=False)


@dataclass(frozen=True)
class Balance:
    """How the residuals of a log behave: overall, and along each feature."""

    log: Log

    @property
    def possible(self) -> bool:
        return self.log.discrete and self.log.steps.propensity is not None

    @cached_property
    def codes(self) -> list[np.ndarray]:
        """i64[n] bin of each feature: categories as they are, numbers by quantile, −1 where missing."""
        context = self.log.steps.context
        return [binned(context[:, j], f) for j, f in enumerate(self.log.problem.features)]

    def along(self, residuals: Residuals) -> np.ndarray:
        """f64[d] p-value per feature, corrected for its cells and for the number of features."""
        p = [stats.bonferroni(residuals.cells(c, int(c.max(initial=0)) + 1)[1]) for c in self.codes]
        return np.minimum(1.0, np.array(p) * len(p)) if p else np.ones(0)

    @cached_property
    def plain(self) -> Residuals:
        """Residuals that no feature had a hand in."""
        if self.log.steps.propensities is not None:
            return full(self.log)
        share = np.where(self.log.allowed, self.log.taken.mean(0), 0.0)
        return chosen(self.log, share / np.maximum(share.sum(1, keepdims=True), 1e-12))

    @cached_property
    def features(self) -> np.ndarray:
        """f64[d] p-values: does the feature know more of the action than the propensities do?"""
        return self.along(self.plain)

    def suspects(self, alpha: float) -> np.ndarray:
        """Features that know too much: candidates for a leak."""
        return np.flatnonzero(self.features <= alpha)

    def informed(self, without: Sequence[int]) -> tuple[Residuals, np.ndarray]:
        """Residuals spread by a guess of the pmf from the context (bar some features), and that guess f64[n, k]."""
        keep = [j for j in range(len(self.log.problem.features)) if j not in set(without)]
        q = guess(self.log, keep)
        if self.log.steps.propensities is not None:
            return full(self.log), q
        return chosen(self.log, q), q


def binned(values: np.ndarray, feature: Feature, bins: int = BINS) -> np.ndarray:
    """Codes i64[n] of a column f32[n]; −1 where missing. Categories beyond the 30 most frequent share a bin."""
    missing = np.isnan(values)
    if feature.kind == "number" and len(np.unique(values[~missing][:1000])) > bins:
        cuts = np.unique(np.quantile(values[~missing], np.linspace(0, 1, bins + 1)[1:-1]))
        code = np.searchsorted(cuts, values, "right")
    else:
        _, code, count = np.unique(np.where(missing, -1.0, values), return_inverse=True, return_counts=True)
        rank = np.argsort(np.argsort(-count))
        code = np.minimum(rank[code], 30)
    return np.where(missing, -1, code)


def reward_share(log: Log, j: int, bins: int = 40) -> float:
    """R² of the reward on one feature (in up to 40 bins) within actions, where outcomes arrived."""
    code = binned(log.steps.context[:, j], log.problem.features[j], bins)
    return _explained(log, code, (code >= 0) & (log.events | ~log.silent))


def _explained(log: Log, code: np.ndarray, rows: np.ndarray) -> float:
    r = log.steps.reward[rows]
    action = log.steps.action[rows] if log.discrete else np.zeros(len(r), np.int64)
    cell = action * (int(code.max()) + 1) + code[rows]
    total = ((r - _means(r, action)) ** 2).sum()
    cells = len(np.unique(cell))
    if total <= 0 or len(r) <= 2 * cells:
        return 0.0
    left = ((r - _means(r, cell)) ** 2).sum()
    return float(1 - left / total * (len(r) - 1) / (len(r) - cells))


def _means(r: np.ndarray, code: np.ndarray) -> np.ndarray:
    count = np.bincount(code)
    return (np.bincount(code, weights=r) / np.maximum(count, 1))[code]
