"""Policies inside a graph: one converter per kind, and every exploration rule as ``ops.explore`` has it.

Throughout: scores f64[n, k]; ok bool[n, k], the allowed actions; probabilities f64[n, k].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from understudy.models.onnx.features import inputs
from understudy.models.onnx.trace import Tensor, Trace
from understudy.models.onnx.values import converter, members
from understudy.ops.bellman import likely


def probabilities(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    """π(·|x) of any policy over named actions that can be exported. Raises ConfigError for one that cannot."""
    return converter(POLICIES, policy)(policy, context, ok)


def draw(p: Tensor, ok: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse CDF as ``explore.draw``: p f64[n, k], u f64[n] → (action i64[n], its probability f64[n]).

    A row that allows nothing, which NumPy refuses, gets action −1 and NaN.
    """
    k = p.shape[-1]
    cdf = p.graph.node("CumSum", p, p.graph.constant(1, np.int64), dtype=p.dtype, shape=p.shape)
    total = cdf.take(np.array([k - 1]))  # [n, 1]
    chosen = (cdf <= u[..., None] * total).sum(1)
    last = Trace.where(p > 0.0, np.arange(k, dtype=np.float64), -1.0).max(1)
    action = Trace.where(ok.sum(1) > 0.0, Trace.minimum(chosen, last), -1.0).astype(np.int64)
    return action, p.along(Trace.maximum(action, 0)[..., None]).sum(1)


def _uniform(ok: Tensor) -> Tensor:
    allowed = ok.astype(np.float64)
    return allowed / allowed.sum(1, keepdims=True)


def _best(scores: Tensor, ok: Tensor) -> tuple[Tensor, Tensor]:
    """The best score of each row, and where it stands."""
    inside = Trace.where(ok, scores, -np.inf)
    top = inside.max(-1, keepdims=True)
    return top, ok & (inside >= top)


def _greedy(scores: Tensor, ok: Tensor, amount: float = 0.0) -> Tensor:
    return _uniform(_best(scores, ok)[1])


def _epsilon_greedy(scores: Tensor, ok: Tensor, amount: float) -> Tensor:
    return amount * _uniform(ok) + (1 - amount) * _greedy(scores, ok)


def _softmax(scores: Tensor, ok: Tensor, amount: float) -> Tensor:
    inside = Trace.where(ok, amount * scores, -np.inf)
    weights = Trace.exp(inside - inside.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _squarecb(scores: Tensor, ok: Tensor, amount: float) -> Tensor:
    top, best = _best(scores, ok)
    behind = ok & ~best
    gap = Trace.where(behind, top - Trace.where(ok, scores, 0.0), 1.0)
    p = Trace.where(behind, 1.0 / (ok.sum(1, keepdims=True) + amount * gap), 0.0)
    return p + best.astype(np.float64) * ((1 - p.sum(1, keepdims=True)) / best.sum(1, keepdims=True))


def _proportional(scores: Tensor, ok: Tensor, amount: float = 0.0) -> Tensor:
    inside = Trace.where(ok, scores, 0.0)
    total = inside.sum(1, keepdims=True)
    some = total > 0.0
    places = np.arange(scores.shape[-1], dtype=np.float64)
    lowest = -Trace.where(ok, -places, -np.inf).max(1, keepdims=True)  # the first allowed action
    first = lowest.equals(places).astype(np.float64)
    return Trace.where(some, inside / Trace.where(some, total, 1.0), first)


RULES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "greedy": _greedy,
    "epsilon_greedy": _epsilon_greedy,
    "softmax": _softmax,
    "squarecb": _squarecb,
    "proportional": _proportional,
}


def _explore(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    each = members(policy.model, context)
    if policy.rule == "votes":
        voters = ok.unsqueeze(0)
        best = _best(each, voters)[1].astype(np.float64)
        share = (best / best.sum(2, keepdims=True)).mean(0)
        return policy.amount * _uniform(ok) + (1 - policy.amount) * share
    return RULES[policy.rule](each.mean(0), ok, policy.amount)


def _fixed(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    return _greedy(ok.graph.constant(np.eye(policy.k)[[policy.action]]), ok)


def _mixture(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    parts = [w * probabilities(each, context, ok) for each, w in zip(policy.policies, policy.weights)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _shares(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    inside = Trace.where(ok, np.array([policy.shares]), 0.0)
    some = inside.sum(1, keepdims=True) > 0.0
    weights = Trace.where(some, inside, ok.astype(np.float64))
    return weights / weights.sum(1, keepdims=True)


def _filtered(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    behavior = probabilities(policy.imitation, context, ok)
    return probabilities(policy.policy, context, likely(Trace, behavior, policy.threshold, ok))


def _upper_bound(policy: Any, context: Tensor, ok: Tensor) -> Tensor:
    plain = inputs(policy.features, context)
    theta, spread = policy.theta, policy.covariance
    mean = plain @ np.ascontiguousarray(theta[:, :-1].T) + theta[:, -1]
    columns = []
    for c in spread:  # zᵀ C z with z = (φ, 1), written out
        square = ((plain @ np.ascontiguousarray(c[:-1, :-1])) * plain).sum(1)
        columns.append(square + plain @ np.ascontiguousarray(c[:-1, -1] + c[-1, :-1]) + c[-1, -1])
    variance = Trace.stack(columns, 1)
    scores = mean + policy.alpha * Trace.sqrt(Trace.maximum(variance, 0.0))
    return _epsilon_greedy(scores, ok, policy.epsilon)


POLICIES: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "uniform": lambda policy, context, ok: _uniform(ok),
    "fixed": _fixed,
    "explore": _explore,
    "mixture": _mixture,
    "shares": _shares,
    "filtered": _filtered,
    "upper_bound": _upper_bound,
}
