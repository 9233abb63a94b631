"""A policy over continuous actions: a Gaussian squashed into the box of possible actions. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.network import layers_of, named
from understudy.models.state import array, bad, nested, number, only, part, whole
from understudy.ops.network import forward

INSIDE = 1 - 1e-6  # how far from the middle of the box, in half widths, an action may lie: its density stays finite
# Bounds of |μ| and of log σ. Within them less than 2e-5 of a policy's draws lie beyond INSIDE (u = ±7.25) and are cut
# to it, so the density integrates to 1 over the box; σ = 0.9 about the middle is all but uniform on it.
FARTHEST, QUIETEST, LOUDEST = 3.0, -5.0, 0.0


def gaussian(xp: Any, scores: Any, q: int, std: float = 0.0, spread: float = 1.0) -> tuple[Any, Any]:
    """(μ, log σ) before squashing, each f[..., n, q], from the last layer's outputs: f[..., n, 2q], or q if ``std``.

    μ = 3·tanh(s/3) lies in ±FARTHEST; σ = spread·std, or spread times what the network says, squashed into
    [e^QUIETEST, e^LOUDEST].
    """
    mean = FARTHEST * xp.tanh(scores[..., :q] / FARTHEST)
    if std:
        return mean, 0.0 * mean + np.log(std * spread)
    middle, half = (LOUDEST + QUIETEST) / 2, (LOUDEST - QUIETEST) / 2
    return mean, middle + half * xp.tanh(scores[..., q:]) + np.log(spread)


def log_density(xp: Any, raw: Any, mean: Any, log_std: Any) -> Any:
    """log density of y = tanh(u), u = ``raw`` ~ N(μ, σ²), summed over dimensions: f[..., n, q] → f[..., n].

    Σ_j [−½((u − μ)/σ)² − log σ − ½ log 2π − log(1 − tanh² u)], the last term as 2(log 2 − u − log(1 + e^(−2u))), which
    does not lose its digits for large |u|. Source: Haarnoja et al. 2018, appendix C, equation 21.
    """
    standard = (raw - mean) / xp.exp(log_std)
    squash = 2.0 * (np.log(2.0) - raw - xp.logaddexp(0.0, -2.0 * raw))
    return (-0.5 * standard**2 - log_std - 0.5 * np.log(2 * np.pi) - squash).sum(-1)


@dataclass(frozen=True)
class Actor:
    """a = middle + half·tanh(μ(x) + σ(x)·z), z ~ N(0, 1) per dimension; the box is [low, high].

    ``std``: 0 takes σ(x) from the network (2q outputs); in (0, 1] it is the same σ everywhere (q outputs).
    ``spread``, in (0, 1], multiplies σ: below 1 the policy keeps closer to its mean than it did while learning.
    """

    features: FeatureMap
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[1, in, out], f32[1, out])
    low: np.ndarray  # f64[q]
    high: np.ndarray  # f64[q]
    std: float = 0.0
    spread: float = 1.0

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Density of given actions f32[n, q], per unit of action → f64[n]."""
        mean, log_std = self.moments(context)
        return self._density(action, mean, log_std)

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an action per row. → (f32[n, q], its density f64[n])."""
        mean, log_std = self.moments(context)
        raw = mean + np.exp(log_std) * rng.standard_normal(mean.shape)
        action = self._boxed(np.tanh(raw))
        return action, self._density(action, mean, log_std)

    def mean(self, context: np.ndarray) -> np.ndarray:
        """The action in the middle of the squashed Gaussian, f32[n, q]."""
        return self._boxed(np.tanh(self.moments(context)[0]))

    def moments(self, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(μ, log σ) before squashing, each f64[n, q]."""
        scores = forward(np, self._wide, self.features(context).astype(np.float64))
        return gaussian(np, scores, len(self.low), self.std, self.spread)

    def _boxed(self, y: np.ndarray) -> np.ndarray:
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return (middle + half * np.clip(y, -INSIDE, INSIDE)).astype(np.float32)

    def _density(self, action: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        y = (action.astype(np.float64) - middle) / half
        raw = np.arctanh(np.clip(y, -INSIDE, INSIDE))
        outside = (np.abs(y) > 1 + 1e-6).any(-1)
        return np.where(outside, 0.0, np.exp(log_density(np, raw, mean, log_std)) / np.prod(half))

    @cached_property
    def _wide(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(w[0].astype(np.float64), b[0].astype(np.float64)) for w, b in self.layers]

    def state(self) -> State:
        config = {"depth": len(self.layers), "std": self.std, "spread": self.spread}
        own = nested("actor", config, {"features": self.features.state()})
        box = {"low": np.asarray(self.low, np.float64), "high": np.asarray(self.high, np.float64)}
        return State(own.kind, own.config, own.arrays | named(self.layers) | box)

    @classmethod
    def from_state(cls, state: State) -> Actor:
        depth = whole(state, "depth", 1, 64)
        names = [f"{letter}{i}" for i in range(depth) for letter in "wb"]
        only(state, ["depth", "std", "spread"], [*names, "low", "high"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        std, spread = number(state, "std", 0.0, 1.0), number(state, "spread", 1e-9, 1.0)
        low = array(state, "low", (None,))
        high = array(state, "high", (len(low),))
        layers = layers_of(state, depth, features.width, len(low) * (1 if std else 2))
        if len(layers[0][0]) != 1 or not len(low) or not (low < high).all():
            raise bad("actor: needs one network, and low < high in every dimension")
        return cls(features, layers, low, high, std, spread)
