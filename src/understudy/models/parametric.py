"""Action values by a network that reads the action too: one output, for any action that has features. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.network import layers_of, named
from understudy.models.state import array, bad, nested, number, only, part, whole
from understudy.ops.network import Layers, forward


def scores(xp: Any, layers: Layers, x: Any, table: Any) -> Any:
    """s(x, a) of every action: φ(x) f[n, d′], features of actions f[k, f] → f[n, k], by the first of the networks.

    The first layer reads (φ(x), f_a): what each of the two contributes is computed once, then added.
    """
    (w, b), rest = (layers[0][0][0], layers[0][1][0]), [(w[0], b[0]) for w, b in layers[1:]]
    d = x.shape[-1]
    first = (x @ w[:d] + b)[:, None, :] + table @ w[d:]  # [n, k, h]
    if not rest:
        return first[..., 0]
    inside = xp.maximum(first, 0).reshape(-1, first.shape[-1])
    return forward(xp, rest, inside).reshape(first.shape[:2])


@dataclass(frozen=True)
class ParametricNetwork:
    """Q̂(x, a) = scale · s(φ(x), f_a); weights f32 as learned, forward pass f64."""

    features: FeatureMap
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[1, in, out], f32[1, out])
    table: np.ndarray  # f32[k, f], standardised features of the actions
    scale: float = 1.0

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        layers, table = self._wide
        return self.scale * scores(np, layers, self.features(context).astype(np.float64), table)

    @cached_property
    def _wide(self) -> tuple[Layers, np.ndarray]:
        return [(w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers], self.table.astype(np.float64)

    def state(self) -> State:
        own = nested(
            "parametric", {"depth": len(self.layers), "scale": self.scale}, {"features": self.features.state()}
        )
        return State(own.kind, own.config, own.arrays | named(self.layers) | {"table": self.table})

    @classmethod
    def from_state(cls, state: State) -> ParametricNetwork:
        depth = whole(state, "depth", 1, 64)
        names = [f"{letter}{i}" for i in range(depth) for letter in "wb"]
        only(state, ["depth", "scale"], [*names, "table"], ["features"])
        features, table = (
            FeatureMap.from_state(part(state, "features")),
            array(state, "table", (None, None), np.float32),
        )
        if not len(table):
            raise bad("parametric: there are no actions")
        layers = layers_of(state, depth, features.width + table.shape[1], 1)
        return cls(features, layers, table, number(state, "scale"))
