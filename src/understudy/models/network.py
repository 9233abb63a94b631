"""A neural value model at rest and at work: arrays, and a forward pass in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.state import array, bad, choice, nested, number, only, part, whole
from understudy.ops.network import forward, sigmoid

LINKS = ("logistic", "identity")


@dataclass(frozen=True)
class Network:
    """Q̂_j(x, a) = low + (high − low)·g(s_ja(φ(x))) for networks j = 1…M; g is σ (``logistic``) or nothing.

    Weights are f32, as they were learned; the forward pass is f64, so that a row does not depend on its batch.
    """

    features: FeatureMap
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[M, in, out], f32[M, out])
    low: float
    high: float
    link: str = "logistic"

    def members(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[M, n, k]."""
        scores = forward(np, self._wide, self.features(context).astype(np.float64))
        if scores.ndim == 2:
            scores = scores[None]
        return self.low + (self.high - self.low) * (sigmoid(np, scores) if self.link == "logistic" else scores)

    def values(self, context: np.ndarray) -> np.ndarray:
        """The mean of the members, f32[n, d] → f64[n, k]."""
        members = self.members(context)
        return members[0] if len(members) == 1 else members.mean(0)

    @cached_property
    def _wide(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The layers in f64; one network without its leading axis, which multiplies faster."""
        one = len(self.layers[0][0]) == 1
        wide = [(w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers]
        return [(w[0], b[0]) for w, b in wide] if one else wide

    def state(self) -> State:
        config = {"depth": len(self.layers), "low": self.low, "high": self.high, "link": self.link}
        own = nested("network", config, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | named(self.layers))

    @classmethod
    def from_state(cls, state: State) -> Network:
        depth = whole(state, "depth", 1, 64)
        names = [f"{letter}{i}" for i in range(depth) for letter in "wb"]
        only(state, ["depth", "low", "high", "link"], names, ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        layers = layers_of(state, depth, features.width)
        low = number(state, "low")
        return cls(features, layers, low, number(state, "high", low), choice(state, "link", LINKS))


def named(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Layers as named arrays: w0, b0, w1, b1, …"""
    return {f"{letter}{i}": part for i, layer in enumerate(layers) for letter, part in zip("wb", layer)}


def layers_of(
    state: State, depth: int, inputs: int, outputs: int | None = None, prefix: str = ""
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The layers that ``named`` wrote, each as wide as the one before it gives. Raises StoreError otherwise."""
    layers, width, members = [], inputs, None
    for i in range(depth):
        w = array(state, f"{prefix}w{i}", (members, width, outputs if i == depth - 1 else None), np.float32)
        members, _, width = w.shape
        layers.append((w, array(state, f"{prefix}b{i}", (members, width), np.float32)))
    if not members or not width:
        raise bad(f"{state.kind}: its layers are empty")
    return tuple(layers)
