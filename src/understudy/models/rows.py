"""Policies row by row: the pmf of one context, bit for bit what ``probs`` says of that row, at a tenth of the cost.

NumPy's price is per call, not per number. A single row is therefore worked on by as few calls as possible, and by
plain floats where they round as NumPy does: + − × / and comparisons, but neither sums nor exponentials.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from understudy.core.protocols import DiscretePolicy, ValueModel
from understudy.models.feature_map import FeatureMap
from understudy.models.features.row import EXACT, row_inputs
from understudy.models.policies import Explore, Fixed, Mixture, Uniform
from understudy.models.ridge import LinearModel

RowProbs = Callable[[np.ndarray, np.ndarray | None], list[float]]
Row = Callable[[np.ndarray], np.ndarray]
_F32, _F64 = np.float32, np.float64
Rule = Callable[[list[float], list[bool] | None], list[float]]
_FEW = 1 << 16  # coefficients whose products take well under a millisecond


def row_probs(policy: DiscretePolicy) -> RowProbs:
    """(context f32[1, d], allowed bool[1, k] or None) → k floats, exactly ``policy.probs(context, allowed)[0]``."""
    if type(policy) is Explore and policy.rule in _RULES:
        return _exploring(policy)
    if type(policy) is Uniform or type(policy) is Fixed:
        return _constant(policy, policy.k)
    if type(policy) is Mixture:
        return _mixed(policy)
    return _plain(policy)


def prompt(policy: DiscretePolicy) -> bool:
    """Whether a row takes a fixed number of operations, and few: nothing there can wait, loop or hang."""
    if type(policy) is Mixture:
        return all(prompt(part) for part in policy.policies)
    if type(policy) is Explore and type(policy.model) is LinearModel:
        return policy.rule in _RULES and policy.model.coef.size <= _FEW
    return type(policy) is Uniform or type(policy) is Fixed


def _plain(policy: DiscretePolicy) -> RowProbs:
    def probs(context: np.ndarray, allowed: np.ndarray | None) -> list[float]:
        return policy.probs(context, allowed)[0].tolist()

    return probs


def _constant(policy: DiscretePolicy, k: int) -> RowProbs:
    plain = _plain(policy)
    everything = plain(np.zeros((1, 0), np.float32), None)

    def probs(context: np.ndarray, allowed: np.ndarray | None) -> list[float]:
        return everything[:] if allowed is None else plain(context, allowed)

    return probs


def _mixed(policy: Mixture) -> RowProbs:
    parts = [(row_probs(part), weight) for part, weight in zip(policy.policies, policy.weights)]

    def probs(context: np.ndarray, allowed: np.ndarray | None) -> list[float]:
        total = [0.0] * len(parts[0][0](context, allowed))
        for part, weight in parts:
            total = [t + weight * p for t, p in zip(total, part(context, allowed))]
        return total

    return probs


def _exploring(policy: Explore) -> RowProbs:
    values, plain = _row_values(policy.model), _plain(policy)
    rule = _RULES[policy.rule](policy.amount)

    def probs(context: np.ndarray, allowed: np.ndarray | None) -> list[float]:
        v = values(context).tolist()
        total = sum(v)
        if total - total != 0.0:  # NaN or infinite somewhere, or too large to tell
            return plain(context, allowed)
        return rule(v, None if allowed is None else allowed[0].tolist())

    return probs


def _greedy(epsilon: float) -> Rule:
    """``explore.epsilon_greedy`` of one row; ``greedy`` is its case ε = 0."""
    rest = 1 - epsilon

    def rule(v: list[float], ok: list[bool] | None) -> list[float]:
        if ok is None:
            top, k = max(v), len(v)
            if v.count(top) == 1:
                p = [epsilon * (1 / k)] * k
                p[v.index(top)] += rest
                return p
            ok = [True] * k
        top, k = max(x for x, may in zip(v, ok) if may), sum(ok)
        best = [may and x >= top for x, may in zip(v, ok)]
        low, high = epsilon * (1 / k), rest * (1 / sum(best))
        return [(low if may else 0.0) + (high if tops else 0.0) for may, tops in zip(ok, best)]

    return rule


def _squarecb(gamma: float) -> Rule:
    """``explore.squarecb`` of one row."""

    def rule(v: list[float], ok: list[bool] | None) -> list[float]:
        ok = [True] * len(v) if ok is None else ok
        top, k = max(x for x, may in zip(v, ok) if may), sum(ok)
        best = [may and x >= top for x, may in zip(v, ok)]
        p = [1.0 / (k + gamma * (top - x)) if may and not tops else 0.0 for x, may, tops in zip(v, ok, best)]
        left = (1 - float(np.add.reduce(np.array(p)))) / sum(best)
        return [left if tops else x for x, tops in zip(p, best)]

    return rule


def _softmax(strength: float) -> Rule:
    """``explore.softmax`` of one row."""

    def rule(v: list[float], ok: list[bool] | None) -> list[float]:
        inside = strength * np.array(v)
        if ok is not None:
            inside[[not may for may in ok]] = -np.inf
        inside -= np.maximum.reduce(inside)
        weights = np.exp(inside)
        weights /= np.add.reduce(weights)
        return weights.tolist()

    return rule


_RULES = {"greedy": _greedy, "epsilon_greedy": _greedy, "squarecb": _squarecb, "softmax": _softmax}


def _row_values(model: ValueModel) -> Row:
    """f32[1, d] → f64[k], exactly ``model.values(context)[0]``."""
    if type(model) is not LinearModel:
        return lambda context: model.values(context)[0]
    inputs, coef, intercept = _row_inputs(model.features), model.coef.T, model.intercept
    return lambda context: inputs(context) @ coef + intercept


def _row_inputs(features: FeatureMap) -> Row:
    """f32[1, d] → f64[d′], exactly ``features(context)[0].astype(np.float64)``."""
    kinds = {column.kind for column in features.columns}
    if features.quadratic or not features.columns or not kinds <= EXACT:
        return lambda context: features(context)[0].astype(np.float64)
    if kinds in ({"number"}, {"continuous"}):
        return _numbers(features)
    inputs = row_inputs(features.ordered)
    return lambda context: inputs(context).astype(_F64)


def _numbers(features: FeatureMap) -> Row:
    columns = features.columns
    source = np.array([column.source for column in columns])
    location = np.array([column.location for column in columns])
    scale = np.array([column.scale for column in columns])
    bound = min(column.limit for column in columns) ** 2
    whole = source.tolist() == list(range(len(source)))

    def inputs(context: np.ndarray) -> np.ndarray:
        raw = context[0]
        if not whole or len(raw) != len(source):
            raw = raw[source]
        z = raw - location
        z /= scale
        if z.dot(z) <= bound:  # nothing is missing and nothing is clipped: one call for what would take four
            return z.astype(_F32).astype(_F64)
        return features(context)[0].astype(np.float64)

    return inputs
