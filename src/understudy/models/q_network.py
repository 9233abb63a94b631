"""Action values by a multilayer perceptron: plain, dueling, or as the mean of a learned distribution. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.network import layers_of, named
from understudy.models.state import choice, nested, number, only, part, whole
from understudy.ops.bellman import softmax
from understudy.ops.network import forward

HEADS = ("plain", "dueling", "categorical", "quantile")


def width(head: str, k: int, atoms: int) -> int:
    """Outputs of the last layer for k actions."""
    return {"plain": k, "dueling": k + 1}.get(head, k * atoms)


def values(xp: Any, head: str, scores: Any, k: int, atoms: int, low: float, high: float) -> Any:
    """Q̂(x, ·) of the last layer's outputs: f[..., n, width] → f[..., n, k].

    plain        s_a
    dueling      V + A_a − mean_a A. Source: Wang et al. 2016, equation 9
    categorical  Σ_j z_j softmax_j(s_a), z evenly spaced from low to high. Source: Bellemare, Dabney & Munos 2017
    quantile     the mean of the quantiles s_a1 … s_aJ. Source: Dabney et al. 2018, section 3
    """
    if head == "plain":
        return scores
    if head == "dueling":
        advantage = scores[..., 1:]
        return scores[..., :1] + advantage - advantage.mean(-1)[..., None]
    apart = scores.reshape(*scores.shape[:-1], k, atoms)
    if head == "quantile":
        return apart.mean(-1)
    return softmax(xp, apart) @ xp.linspace(low, high, atoms)


@dataclass(frozen=True)
class QNetwork:
    """Q̂(x, a) = scale · head(s(φ(x))): the mean of M networks; weights f32 as learned, forward pass f64.

    ``low``, ``high`` and ``atoms`` are read by the categorical head (support) and the quantile head (their number).
    """

    features: FeatureMap
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[M, in, out], f32[M, out])
    k: int
    head: str = "plain"
    atoms: int = 1
    low: float = 0.0
    high: float = 1.0
    scale: float = 1.0

    def members(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[M, n, k]."""
        scores = forward(np, self._wide, self.features(context).astype(np.float64))
        if scores.ndim == 2:
            scores = scores[None]
        return self.scale * values(np, self.head, scores, self.k, self.atoms, self.low, self.high)

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
        config = {name: getattr(self, name) for name in _CONFIG} | {"depth": len(self.layers)}
        own = nested("q_network", config, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | named(self.layers))

    @classmethod
    def from_state(cls, state: State) -> QNetwork:
        depth = whole(state, "depth", 1, 64)
        only(state, [*_CONFIG, "depth"], [f"{letter}{i}" for i in range(depth) for letter in "wb"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        k, head, atoms = whole(state, "k", 1, 2**20), choice(state, "head", HEADS), whole(state, "atoms", 1, 2**16)
        layers = layers_of(state, depth, features.width, width(head, k, atoms))
        low = number(state, "low")
        return cls(features, layers, k, head, atoms, low, number(state, "high", low), number(state, "scale"))


_CONFIG = ("k", "head", "atoms", "low", "high", "scale")
