"""Value models inside a graph: one converter per kind. Raw context f32[n, d] → estimates f64[M, n, k] of M members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.models.onnx.features import inputs
from understudy.models.onnx.trace import Graph, Tensor, Trace
from understudy.models.q_network import values as of_head
from understudy.ops.network import forward, sigmoid


def layers(graph: Graph, own: tuple[tuple[np.ndarray, np.ndarray], ...]) -> list[tuple[Tensor, Tensor]]:
    """Weights f32 in the file, f64 at work; one network without its leading axis."""
    one = len(own[0][0]) == 1
    return [(graph.wide(w[0] if one else w), graph.wide(b[0] if one else b)) for w, b in own]


def _network(model: Any, context: Tensor) -> Tensor:
    scores = forward(Trace, layers(context.graph, model.layers), inputs(model.features, context))
    shaped = sigmoid(Trace, scores) if model.link == "logistic" else scores
    return _members(model.low + (model.high - model.low) * shaped)


def _q_network(model: Any, context: Tensor) -> Tensor:
    scores = forward(Trace, layers(context.graph, model.layers), inputs(model.features, context))
    found = of_head(Trace, model.head, scores, model.k, model.atoms, model.low, model.high)
    return _members(model.scale * found)


def _parametric(model: Any, context: Tensor) -> Tensor:
    w, b = (each[0].astype(np.float64) for each in model.layers[0])
    x, d = inputs(model.features, context), model.features.width
    from_action = model.table.astype(np.float64) @ w[d:]  # [k, h], the same for every context
    found = (x @ np.ascontiguousarray(w[:d]) + b).unsqueeze(1) + from_action[None]  # [n, k, h]
    for own in model.layers[1:]:
        found = Trace.maximum(found, 0.0) @ context.graph.wide(own[0][0]) + context.graph.wide(own[1][0])
    return _members(model.scale * found.sum(2))


def _linear(model: Any, context: Tensor) -> Tensor:
    return _members(inputs(model.features, context) @ np.ascontiguousarray(model.coef.T) + model.intercept)


def _logistic(model: Any, context: Tensor) -> Tensor:
    return model.low + (model.high - model.low) * sigmoid(Trace, _linear(model.linear, context))


def _linear_ensemble(model: Any, context: Tensor) -> Tensor:
    theta = model.theta.transpose(0, 2, 1)  # [M, d′+1, k]
    return inputs(model.features, context) @ np.ascontiguousarray(theta[:, :-1]) + theta[:, -1:]


def _bag(model: Any, context: Tensor) -> Tensor:
    return Trace.stack([members(each, context).mean(0) for each in model.models], 0)


def _trees(model: Any, context: Tensor) -> Tensor:
    """Every row in every tree at once, one level of all trees per turn; a leaf leads to itself."""
    graph, x = context.graph, inputs(model.features, context)
    feature, threshold = graph.constant(model.feature, np.int64), graph.constant(model.threshold)
    left, value = graph.constant(model.left, np.int64), graph.constant(model.value)
    k, trees = model.roots.shape
    roots = model.roots.ravel()
    beyond = x.take(model.feature[roots]) > model.threshold[roots]  # [n, k·T]
    node = beyond.astype(np.int64) + model.left[roots]
    for _ in range(model._depth - 1):
        beyond = x.along(feature.at(node)) > threshold.at(node)
        node = left.at(node) + beyond.astype(np.int64)
    each = value.at(node).reshape(0, k, trees).transpose(2, 0, 1)
    return model.base + model.scale[0] * trees * each


def _members(scores: Tensor) -> Tensor:
    return scores if scores.ndim == 3 else scores.unsqueeze(0)


def members(model: Any, context: Tensor) -> Tensor:
    """Estimates of every member of a value model, f64[M, n, k]. Raises ConfigError for one that cannot be exported."""
    return converter(MODELS, model)(model, context)


def converter(table: dict[str, Any], thing: Any) -> Any:
    """The function for a thing's kind. Raises ConfigError that says what can be exported."""
    kind = thing.state().kind
    if kind not in table:
        raise ConfigError(
            f"a {kind} cannot be exported to ONNX",
            "A graph that acts differently from the policy that was judged would be another policy.",
            f"What can be, in its place: {', '.join(table)}. Any policy is served by understudy serve and predict.",
            field=kind,
        )
    return table[kind]


MODELS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "network": _network,
    "q_network": _q_network,
    "parametric": _parametric,
    "linear": _linear,
    "logistic": _logistic,
    "linear_ensemble": _linear_ensemble,
    "bag": _bag,
    "trees": _trees,
}
