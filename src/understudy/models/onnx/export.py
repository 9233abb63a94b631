"""The file: a policy's graph with its names, checked, and the same bytes for the same policy."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from understudy import __version__
from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.models.onnx.continuous import CONTINUOUS
from understudy.models.onnx.policies import draw, probabilities
from understudy.models.onnx.trace import ROWS, Graph, Tensor, Trace

OPSET = 18  # of September 2022: what a runtime of any later year reads
IR = 8  # the file format that came with it


def to_onnx(policy: Any, problem: Problem, policy_id: str) -> bytes:
    """A policy as one ONNX model: feature map, value model, mask, exploration and draw, computed in f64.

    Inputs:  context f32[n, d], NaN = missing, a category by its code; u f64[n], uniform in [0, 1);
             allowed bool[n, k], optional: all where it is not given. Continuous actions: z f64[n, q], standard normal.
    Outputs: action i64[n], propensity f64[n], probabilities f64[n, k].
             Continuous actions: action f32[n, q], propensity (its density) f64[n], middle f32[n, q].
    Names of features, categories and actions, and the policy's id, are in its metadata.
    Raises: ConfigError for a kind that cannot be exported, or where the package onnx is not installed.
    """
    onnx = need("onnx")
    graph = Graph()
    context = Tensor(graph, "context", np.dtype(np.float32), (ROWS, len(problem.features)))
    build = _discrete if problem.actions.discrete else _continuous
    inputs, outputs, defaults = build(policy, problem, context)
    helper = onnx.helper
    for name, found in outputs.items():
        graph.nodes.append(helper.make_node("Identity", [found.name], [name]))
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in (graph.constants | defaults).items()]
    body = helper.make_graph(
        graph.nodes,
        "policy",
        [_declared(onnx, each) for each in (context, *inputs)],
        [_declared(onnx, found, name) for name, found in outputs.items()],
        constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    model.producer_name, model.producer_version = "understudy", __version__
    helper.set_model_props(model, metadata(problem, policy_id))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def metadata(problem: Problem, policy_id: str) -> dict[str, str]:
    """What a consumer has to know beside the graph: JSON texts under sorted keys."""
    found: dict[str, Any] = {
        "actions": problem.actions,
        "categories": {feature.name: feature.values for feature in problem.features if feature.kind == "category"},
        "features": problem.feature_names,
        "open": [feature.name for feature in problem.features if feature.open],
    }
    texts = {key: msgspec.json.encode(value).decode() for key, value in found.items()}
    return dict(sorted((texts | {"policy_id": policy_id, "problem_hash": problem.hash}).items()))


Parts = tuple[list[Tensor], dict[str, Tensor], dict[str, np.ndarray]]


def _discrete(policy: Any, problem: Problem, context: Tensor) -> Parts:
    graph, k = context.graph, problem.actions.k
    u = Tensor(graph, "u", np.dtype(np.float64), (ROWS,))
    allowed = Tensor(graph, "allowed", np.dtype(np.bool_), (1, k))
    rows = u[..., None] + np.zeros((1, k))
    ok = allowed.spread(rows)
    p = probabilities(policy, context, ok)
    p = Trace.where(ok.sum(1, keepdims=True) > 0.0, p, np.nan)
    action, propensity = draw(p, ok, u)
    default = {"allowed": np.ones((1, k), np.bool_)}
    return [u, allowed], {"action": action, "propensity": propensity, "probabilities": p}, default


def _continuous(policy: Any, problem: Problem, context: Tensor) -> Parts:
    kind = policy.state().kind
    if kind not in CONTINUOUS:
        raise ConfigError(
            f"a {kind} over continuous actions cannot be exported to ONNX", hint=f"Can be: {', '.join(CONTINUOUS)}"
        )
    z = Tensor(context.graph, "z", np.dtype(np.float64), (ROWS, problem.actions.dims))
    made = CONTINUOUS[kind](policy, context, z)
    return [z], {"action": made.action, "propensity": made.density, "middle": made.middle}, {}


def _declared(onnx: Any, tensor: Tensor, name: str = "") -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    if tensor.name == "allowed":  # one row for all of them, or a row each
        return onnx.helper.make_tensor_value_info("allowed", kind, ["rows_or_1", tensor.shape[1]])
    shape = ["n" if axis == ROWS and i == 0 else axis for i, axis in enumerate(tensor.shape)]
    return onnx.helper.make_tensor_value_info(name or tensor.name, kind, shape)


def need(package: str) -> Any:
    """An optional package. Raises ConfigError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ONNX needs the package {package!r}, which is not installed", hint='pip install "understudy[onnx]"'
        ) from error
