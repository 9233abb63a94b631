"""A guess of the behavior policy from the log, cross-fitted: what the actions themselves say about who chose them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.core.hashing import buckets
from understudy.ope.audit.log import Log

FOLDS = 2
ROWS = 8_000  # more rows to learn from would not change a verdict
FLOOR = 0.02


def guess(log: Log, features: Sequence[int]) -> np.ndarray:
    """Q̂(a|x) f64[n, k], rows sum to 1 over what is allowed; no row's own action went into its guess.

    Q̂ = (1 − δ) (softmax regression + tree) / 2 + δ share,  per policy version where the log names versions.
    """
    encoded = encode(log, features)
    share = log.taken.mean(0) + 1e-9
    q = np.tile(share / share.sum(), (log.steps.n, 1))
    fold = buckets(log.steps.row_unit, FOLDS, salt=5)
    for version in _versions(log):
        for held in range(FOLDS):
            train = np.flatnonzero(version & (fold != held))[:: max(int(version.sum()) // (FOLDS * ROWS), 1)]
            test = np.flatnonzero(version & (fold == held))
            if len(train) < 200 or not len(test):
                continue
            model = 0.5 * _softmax(log, encoded, train, test) + 0.5 * _tree(log, encoded, train, test)
            q[test] = (1 - FLOOR) * model + FLOOR * q[test]
    q = np.where(log.allowed & log.taken.any(0), q, 0.0)
    return q / q.sum(1, keepdims=True)


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
    inputs, target = x[train], log.taken[train]
    closed = np.where(log.allowed, 0.0, -1e9)

    def pmf(w: np.ndarray, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        z = inputs @ w.reshape(d, k) + closed[rows]
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = pmf(w, train, inputs)
        nll = -np.log(np.maximum((p * target).sum(1), 1e-300)).mean() + 5e-4 * (w @ w)
        return float(nll), (inputs.T @ (p - target) / len(train)).ravel() + 1e-3 * w

    best = minimize(loss, np.zeros(d * k), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return pmf(best.x, test, x[test])


def _tree(log: Log, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """A small decision tree's leaf shares."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=40, min_samples_leaf=25, random_state=0)
    tree.fit(x[train].astype(np.float32), log.steps.action[train])
    p = np.zeros((len(test), log.k))
    p[:, tree.classes_.astype(int)] = tree.predict_proba(x[test].astype(np.float32))
    p = np.where(log.allowed[test], p + 1e-3, 0.0)
    return p / p.sum(1, keepdims=True)
