"""Decisions that stand in the log twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log
from understudy.ops import stats

_EFFECT = "Copies count as independent evidence: intervals are too narrow and the copied rows weigh double."
_CURE = "Make ids idempotent (one id per decision, re-sent unchanged), and keep one row per decision."


def duplicates(log: Log) -> Iterator[Finding]:
    """The same decision id twice, or under different ids the same moment, context and action."""
    steps = log.steps
    if steps.origin is not None:
        again = repeated(steps.origin.decision)
        if again.any():
            yield log.finding(
                "duplicated_decisions", again, "the same decision id stands in several rows", _EFFECT, _CURE
            )
            return
    yield from _under_other_ids(log)


def _under_other_ids(log: Log) -> Iterator[Finding]:
    """Rows that share context and mask: as draws of one policy they would agree in the action by chance only.

    Each later row agrees with its predecessor with chance Σ_a p_a² (all propensities logged), or at most max p;
    P(as many agreements) by Bennett's bound. Contexts that are mostly repeats (few distinct ones) say nothing.
    """
    steps = log.steps
    if not log.discrete or not steps.context.shape[1]:
        return
    mask = np.packbits(log.allowed, axis=1).astype(np.float32)
    order, same = _followers(np.column_stack([steps.context, mask]))
    if same.sum() < 5 or same.mean() > 0.5:
        return
    later, before = order[1:][same], order[:-1][same]
    agree = steps.action[later] == steps.action[before]
    chance = _agreement(log, later)
    surplus, variance = (agree - chance).sum(), (chance * (1 - chance)).sum()
    if surplus <= 0:
        return
    rows = np.zeros(steps.n, bool)
    rows[later[agree]] = True
    yield log.finding(
        "duplicated_decisions",
        rows,
        f"{len(later)} rows repeat the context of another, and {int(agree.sum())} of them its action, where "
        f"{chance.sum():.0f} would by chance",
        _EFFECT,
        _CURE,
        p=float(stats.bennett_p(surplus, variance)),
    )


def _followers(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in an order that puts equal ones side by side i64[n], and whether each equals the one before bool[n−1]."""
    codes = _codes(np.nan_to_num(table, nan=-1e30))
    order = np.argsort(codes, kind="stable")
    return order, codes[order][1:] == codes[order][:-1]


def _agreement(log: Log, rows: np.ndarray) -> np.ndarray:
    """Chance f64 that a fresh draw on each row repeats a draw before it; generous where the pmf is not logged."""
    pmf, p = log.steps.propensities, log.steps.propensity
    if pmf is not None:
        return np.minimum((pmf[rows] ** 2).sum(1), 0.999)
    share = log.taken.mean(0)
    return np.full(len(rows), (share**2).sum()) if p is None else np.clip(p[rows], (share**2).sum(), 0.98)


def repeated(keys: np.ndarray) -> np.ndarray:
    """bool[n]: the key was seen in an earlier row."""
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), bool)
    again[first] = False
    return again


def _codes(columns: np.ndarray) -> np.ndarray:
    """One integer per distinct row of a table."""
    table = np.ascontiguousarray(columns)
    view = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    return np.unique(view, return_inverse=True)[1]
