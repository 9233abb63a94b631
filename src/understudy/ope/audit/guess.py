"""A guess of the behavior policy from the log, cross-fitted: what the actions themselves say about who chose them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.core.hashing import buckets
from understudy.ope.audit.log import Log

FOLDS = 2
ROWS = 8_000  # more rows to learn from would not change a verdict
FLOOR = 0.02
RIDGE = 5e-6


def guess(log: Log, features: Sequence[int]) -> np.ndarray:
    """Q̂(a|x) f64[n, k], rows sum to 1 over what is allowed; no row's own action went into its guess.

    Per policy version (where the log names versions) a softmax regression or a tree, whichever predicts better. Rows
    weigh by their propensity and the outcome's square root is taken: the weighted rows follow b² / Σ b², whose top
    action stands out clearer, so that less of the exploration has to be averaged away.
    """
    encoded = encode(log, features)
    share = log.taken.mean(0)
    q = np.tile(share, (log.steps.n, 1))
    fold = buckets(log.steps.row_unit, FOLDS, salt=5)
    for version in _versions(log):
        rows = [np.flatnonzero(version & (fold == f)) for f in range(FOLDS)]
        if min(len(r) for r in rows) < 200:
            continue
        fits = [[fit(log, encoded, _thin(rows[1 - f]), rows[f]) for fit in (_softmax, _tree)] for f in range(FOLDS)]
        scores = [[_score(log, rows[f], p) for p in fits[f]] for f in range(FOLDS)]
        for f in range(FOLDS):  # which family: judged on the other fold
            model = fits[f][int(np.argmax(scores[1 - f]))]
            q[rows[f]] = (1 - FLOOR) * model + FLOOR * q[rows[f]]
    q = np.where(log.allowed & log.taken.any(0), q, 0.0)
    return q / np.maximum(q.sum(1, keepdims=True), 1e-12)


def _thin(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(len(rows) // ROWS, 1)]


def _score(log: Log, rows: np.ndarray, p: np.ndarray) -> float:
    """Mean log-likelihood of the actions taken."""
    return float(np.log(np.maximum(p[np.arange(len(rows)), log.steps.action[rows]], 1e-4)).mean())


def _weights(log: Log, rows: np.ndarray) -> np.ndarray:
    assert log.steps.propensity is not None
    w = np.clip(log.steps.propensity[rows], 1e-6, None)
    return w / w.mean()


def _unsquared(p: np.ndarray) -> np.ndarray:
    root = np.sqrt(p)
    return root / np.maximum(root.sum(1, keepdims=True), 1e-12)


def _versions(log: Log) -> list[np.ndarray]:
    """Rows bool[n] of each policy version that has enough of them; the rest together."""
    everyone = np.ones(log.steps.n, bool)
    if log.steps.origin is None:
        return [everyone]
    names, code, count = np.unique(log.steps.origin.policy, return_inverse=True, return_counts=True)
    big = np.flatnonzero(count >= 1000)
    if len(big) < 2 or len(names) > 50:
        return [everyone]
    return [code == b for b in big] + [~np.isin(code, big)]


def encode(log: Log, features: Sequence[int]) -> np.ndarray:
    """f64[n, d'] inputs for a regression: standardised numbers, indicators of categories, of missing and of masks."""
    columns = [np.ones(log.steps.n)]
    for j in features:
        feature, x = log.problem.features[j], log.steps.context[:, j].astype(np.float64)
        missing = np.isnan(x)
        x = np.where(missing, 0.0 if missing.all() else np.nanmedian(x), x)
        if feature.kind == "category":
            codes, counts = np.unique(x, return_counts=True)
            columns += [(x == c).astype(np.float64) for c in codes[np.argsort(-counts)][:12]]
        else:
            scale = float(x.std())
            columns.append(np.clip((x - x.mean()) / scale, -4, 4) if scale > 0 else np.zeros_like(x))
        if missing.any():
            columns.append(missing.astype(np.float64))
    return np.column_stack(columns)


def _softmax(log: Log, x: np.ndarray, train: np.ndarray, test: np.ndarray, steps: int = 60) -> np.ndarray:
    """Multinomial logistic regression, masked like the log; a light ridge, L-BFGS."""
    from scipy.optimize import minimize

    k, d = log.k, x.shape[1]
    inputs, target, weight = x[train], log.taken[train], _weights(log, train)
    closed = np.where(log.allowed, 0.0, -1e9)

    def pmf(w: np.ndarray, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        z = inputs @ w.reshape(d, k) + closed[rows]
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = pmf(w, train, inputs)
        nll = -(weight * np.log(np.maximum((p * target).sum(1), 1e-300))).mean() + RIDGE * (w @ w)
        slope = inputs.T @ (weight[:, None] * (p - target)) / len(train)
        return float(nll), slope.ravel() + 2 * RIDGE * w

    best = minimize(loss, np.zeros(d * k), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return _unsquared(pmf(best.x, test, x[test]))


def _tree(log: Log, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """A small decision tree's leaf shares."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=40, min_samples_leaf=25, random_state=0)
    tree.fit(x[train].astype(np.float32), log.steps.action[train], sample_weight=_weights(log, train))
    p = np.zeros((len(test), log.k))
    p[:, np.asarray(tree.classes_, np.int64)] = tree.predict_proba(x[test].astype(np.float32))
    return _unsquared(np.where(log.allowed[test], p + 1e-3, 0.0))
