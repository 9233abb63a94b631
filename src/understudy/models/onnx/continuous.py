"""Policies over continuous actions inside a graph: one converter per kind. The draw is a vector of standard normals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from understudy.models.actor import INSIDE, gaussian, log_density
from understudy.models.onnx.features import inputs
from understudy.models.onnx.trace import Tensor, Trace
from understudy.models.onnx.values import layers
from understudy.ops.network import forward


class Acted(NamedTuple):
    """What a graph over continuous actions gives."""

    action: Tensor  # f32[n, q]
    density: Tensor  # f64[n]
    middle: Tensor  # f32[n, q], the action at z = 0


def _actor(policy: Any, context: Tensor, z: Tensor) -> Acted:
    scores = forward(Trace, layers(context.graph, policy.layers), inputs(policy.features, context))
    mean, log_std = gaussian(Trace, scores, len(policy.low), policy.std, policy.spread)
    center, half = (policy.high + policy.low) / 2, (policy.high - policy.low) / 2

    def boxed(y: Tensor) -> Tensor:
        return (center + half * Trace.clip(y, -INSIDE, INSIDE)).astype(np.float32)

    action = boxed(Trace.tanh(mean + Trace.exp(log_std) * z))
    y = (action.astype(np.float64) - center) / half
    raw = Trace.arctanh(Trace.clip(y, -INSIDE, INSIDE))
    density = Trace.exp(log_density(Trace, raw, mean, log_std)) / float(np.prod(half))
    return Acted(action, density, boxed(Trace.tanh(mean)))


CONTINUOUS: dict[str, Callable[[Any, Tensor, Tensor], Acted]] = {"actor": _actor}
