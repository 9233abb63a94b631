"""Outcomes of other decisions, told by the company they keep: they come late, and do not care what was done."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.core.hashing import buckets
from understudy.ope.audit.guess import FOLDS, encode
from understudy.ope.audit.log import Log
from understudy.ops import stats

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of the arrivals, how many are called late
LEAST = 30
LEVEL = 1e-5  # this test leans on a model of delays, so it asks for more


def misjoined(log: Log, rows: np.ndarray, said: str, p: float | None) -> Finding:
    return log.finding(
        "misjoined_rewards",
        rows,
        said,
        "Outcomes credited to other decisions pull every action's value towards the mean, and lifts towards 0.",
        "Join by decision id, not by time or row; have the outcome carry the id that the decision was answered with.",
        p=p,
    )


def strangers(log: Log) -> Iterator[Finding]:
    """Among the arrivals that came later than their kind does, does the reward still depend on what was done?

    With Q̂(x, a) of the reward and the delay's expectation both cross-fitted, the statistic of an arrival is Q̂ where
    silence is the alternative, and (r − r̄)(Q̂ − Q̄) where values differ. Its mean over the late ones is compared with
    that over the others; only a fall of more than 30 % towards "no relation" counts.
    """
    origin = log.steps.origin
    if origin is None or not log.discrete or log.steps.n < 1000:
        return
    there = np.isfinite(origin.delay) & (origin.arrived > 0) & (origin.delay >= 0)
    if there.sum() < 1000:
        return
    q = _fitted(log, log.steps.reward, np.ones(log.steps.n, bool))
    score, base = _relation(log, q, there)
    seconds = np.log(np.maximum(np.where(there, origin.delay, 1.0), 1e-3))
    late = seconds - _fitted(log, seconds, there)
    order = np.flatnonzero(there)[np.argsort(-late[there], kind="stable")]
    p, found = 1.0, order[:0]
    for share in SHARES:
        size = int(share * len(order))
        if size < LEAST:
            continue
        one, rest = score[order[:size]], score[order[size:]]
        gap = rest.mean() - one.mean()
        if gap < 0.3 * (rest.mean() - base):
            continue
        z = gap / np.sqrt(one.var() / size + rest.var() / len(rest))
        tail = float(stats.normal_p(z)) * len(SHARES)
        if z > 0 and tail < p:
            p, found = tail, order[:size]
    if p > LEVEL:
        return
    rows = np.zeros(log.steps.n, bool)
    rows[found] = True
    yield misjoined(
        log,
        rows,
        f"the {len(found)} latest arrivals for their kind depend far less on context and action than the rest",
        p,
    )


def _relation(log: Log, q: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, float]:
    """(statistic f64[n], its value under "no relation")."""
    if log.events:
        return q, float(q.mean())
    r = log.steps.reward
    return (r - r[there].mean()) * (q - q[there].mean()), 0.0


def _fitted(log: Log, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Out-of-fold ridge regression of a target on the context, one per action. f64[n]."""
    x = encode(log, range(len(log.problem.features)))
    fold = buckets(log.steps.row_unit, FOLDS, salt=9)
    fitted = np.full(log.steps.n, float(target[rows].mean()))
    for action in range(log.k):
        own = log.steps.action == action
        for held in range(FOLDS):
            train, test = own & rows & (fold != held), own & (fold == held)
            if train.sum() < 5 * x.shape[1]:
                continue
            a = x[train]
            gram = a.T @ a + np.eye(x.shape[1])
            fitted[test] = x[test] @ np.linalg.solve(gram, a.T @ target[train])
    return fitted
