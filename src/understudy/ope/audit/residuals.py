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
SURE = 2.0  # standard errors
LEVELS, UNSEEN = 5, 2
EXPLORED = 30.0  # improbable actions to be expected, below which their absence proves nothing
LEAST = 20.0  # a cell in which fewer are expected proves nothing


@dataclass(frozen=True)
class Residuals:
    """R f64[n, k], the variance of each term, and how far down a term can go (up, what was seen is the bound)."""

    r: np.ndarray
    v: np.ndarray
    floor: np.ndarray | None = None  # f64[n, k] R ≥ −floor; None is |R| ≤ 1
    own: np.ndarray | None = None  # f64[n, k] of mean Var R, from the taken actions alone
    scarce: bool = False  # so little exploration was to be expected that none of it proves nothing

    def cells(self, codes: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Sums and p-values f64[bins, k] of R over the rows with each code i[n]; code −1 is left out."""
        live = codes >= 0
        c = codes[live]
        total, variance = _summed(self.r[live], c, bins), _summed(self.v[live], c, bins)
        if self.floor is None:
            return total, tail_p(total, variance, 1.0)
        seen = _summed(self.r[live] ** 2, c, bins)
        assert self.own is not None
        variance = np.maximum(seen, np.where(total < 0, variance, _summed(self.own[live], c, bins)))
        down, up = _largest(self.floor[live], c, bins), _largest(self.r[live], c, bins)
        return total, self._judged(total, tail_p(total, variance, np.where(total < 0, down, up)))

    def along(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums and p-values f64[k] of Σ_i h_i R_ia for any h f64[n] made without the actions."""
        total, variance = h @ self.r, (h * h) @ self.v
        if self.floor is None:
            return total, tail_p(total, variance, float(np.abs(h).max()))
        terms = h[:, None] * self.r
        p = tail_p(total, np.maximum(variance, (terms**2).sum(0)), np.abs(terms).max(0))
        return total, np.ones_like(p) if self.scarce else p

    def summed(self, g: np.ndarray) -> tuple[float, float]:
        """Sum and p-value of Σ_ia g_ia R_ia for any g f64[n, k] ≥ 0 made without the actions."""
        each = (g * self.r).sum(1)
        total = float(each.sum())
        if self.floor is None:
            raise ValueError("the terms of a row depend on each other; use the pmf's own variance")
        assert self.own is not None
        spread = self.v if total < 0 else self.own
        variance = max(float((each**2).sum()), float((g * g * spread).sum()))
        bound = (g * self.floor).sum(1).max() if total < 0 else each.max()
        return total, float(self._judged(np.array(total), tail_p(np.array(total), np.array(variance), float(bound))))

    def _judged(self, total: np.ndarray, p: np.ndarray) -> np.ndarray:
        """A sum is too low because improbable actions were not taken: no news where few were to be expected."""
        return np.where(total < 0, 1.0, p) if self.scarce else p


def _summed(x: np.ndarray, codes: np.ndarray, bins: int) -> np.ndarray:
    return np.array([np.bincount(codes, weights=column, minlength=bins) for column in x.T]).T


def _largest(x: np.ndarray, codes: np.ndarray, bins: int) -> np.ndarray:
    top = np.full((bins, x.shape[1]), 1e-12)
    np.maximum.at(top, codes, x)
    return top


def tail_p(total: np.ndarray, variance: np.ndarray, bound: np.ndarray | float) -> np.ndarray:
    """Bennett's bound per cell; 1 where the cell holds too little to say anything."""
    bound = np.maximum(bound, 1e-12)
    p = stats.bennett_p(total, variance, bound)  # type: ignore[arg-type]
    return np.where(variance < LEAST * bound**2 * 0.25, 1.0, p)


def full(log: Log) -> Residuals:
    """Residuals against all logged propensities."""
    pmf = log.steps.propensities
    assert pmf is not None
    return Residuals(log.taken - pmf, pmf * (1 - pmf))


def chosen(log: Log, q: np.ndarray) -> Residuals:
    """Residuals against the chosen propensity, spread over the actions by q f64[n, k].

    Var R_ia = Q² (1/p_ia − 1), and p_ia is known of the taken action only. A cell in which no improbable action
    happened to be taken would look certain, and its sum too low to be chance. So E[1/p − 1 | Q] is pooled over the
    whole log in a few levels of Q, as the mean of (1[a_i = a] / p_i) (1 / p_i − 1) over their (i, a), with a few
    improbable actions more than were seen. A sum that is too high has seen its improbable actions, and is judged by
    what was seen: a hundred certain actions each add a little, and would have lost all of it by one exception.
    """
    p = log.steps.propensity
    assert p is not None
    weight = log.taken / np.maximum(p, 1e-12)[:, None]
    seen = (weight * (1 / np.maximum(p, 1e-12) - 1)[:, None]).ravel()
    level = np.searchsorted(np.unique(np.quantile(q, np.linspace(0, 1, LEVELS + 1)[1:-1])), q.ravel(), "right")
    rare = max(float(np.quantile(p, 0.02)), 1e-6)
    spread = (np.bincount(level, weights=seen) + UNSEEN / rare * (1 / rare - 1)) / np.maximum(np.bincount(level), 1)
    due = float(np.where(p > 0.5, 1 / np.maximum(p, 1e-12) - 1, 1.0).sum())  # improbable actions to be expected
    own = q * q * seen.reshape(q.shape)
    return Residuals(q * (weight - 1), q * q * spread[level].reshape(q.shape), q, own, due < EXPLORED)


@dataclass(frozen=True)
class Balance:
    """How the residuals of a log behave: overall, and along each feature."""

    log: Log

    @property
    def possible(self) -> bool:
        """Whether there is something to weigh; impossible propensities are told of elsewhere."""
        p = self.log.steps.propensity
        return self.log.discrete and p is not None and bool((p > 0).all() and np.isfinite(p).all())

    @cached_property
    def codes(self) -> list[np.ndarray]:
        """i64[n] bin of each feature: categories as they are, numbers by quantile, −1 where missing."""
        context = self.log.steps.context
        return [binned(context[:, j], f) for j, f in enumerate(self.log.problem.features)]

    def by_feature(self, residuals: Residuals) -> np.ndarray:
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
        return self.by_feature(self.plain)

    def suspects(self, alpha: float) -> list[int]:
        """Features that know too much: candidates for a leak."""
        return [int(j) for j in np.flatnonzero(self.features <= alpha)]

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
    loss, total, cells = _losses(log, j, bins)
    if total.sum() <= 0 or len(total) <= 2 * cells:
        return 0.0
    return float(1 - loss[0].sum() / total.sum() * (len(total) - 1) / (len(total) - cells))


def surely_explained(log: Log, j: int, bins: int = 20) -> float:
    """A lower limit of the share of the reward's variance that a feature explains within actions.

    Each row is predicted from the other rows of its cell, a row alone in its cell from its action; two standard
    errors (of a ratio of means) are taken off. A copy of the reward still explains nearly all; an honest feature of
    a short log, whose few successes happen to lie together, does not.
    """
    loss, total, _ = _losses(log, j, bins)
    if total.sum() <= 0:
        return 0.0
    left = loss[1].sum() / total.sum()
    error = np.sqrt(((loss[1] - left * total) ** 2).sum()) / total.sum()
    return float(1 - left - SURE * error)


def _losses(log: Log, j: int, bins: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, int]:
    """Squared errors of the reward f64[n]: about its cell's mean, about that of the cell's other rows, its action's."""
    code = binned(log.steps.context[:, j], log.problem.features[j], bins)
    rows = (code >= 0) & (log.events | ~log.silent)
    r = log.steps.reward[rows]
    action = log.steps.action[rows] if log.discrete else np.zeros(len(r), np.int64)
    cell = action * (int(code.max(initial=0)) + 1) + code[rows]
    count = np.bincount(cell)[cell] if len(cell) else np.zeros(0)
    total, inside = (r - _means(r, action)) ** 2, (r - _means(r, cell)) ** 2
    alone = np.where(count > 1, inside * (count / np.maximum(count - 1, 1)) ** 2, total)
    return (inside, alone), total, len(np.unique(cell))


def _means(r: np.ndarray, code: np.ndarray) -> np.ndarray:
    count = np.bincount(code)
    return (np.bincount(code, weights=r) / np.maximum(count, 1))[code]
