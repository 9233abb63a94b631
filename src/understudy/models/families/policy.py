"""A policy over continuous actions of any family. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.protocols import State
from understudy.core.registry import find, table
from understudy.models.families.family import Family, Params
from understudy.models.feature_map import FeatureMap
from understudy.models.network import layers_of, named
from understudy.models.state import array, bad, choice, nested, number, only, part, whole
from understudy.ops.network import forward


@dataclass(frozen=True)
class FamilyActor:
    """a = middle + half·y, y drawn from the family with the parameters that a network gives; the box is [low, high].

    ``spread``, in (0, 1]: below 1 the policy keeps closer to its mode than it did while learning.
    """

    features: FeatureMap
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[1, in, out], f32[1, out])
    low: np.ndarray  # f64[q]
    high: np.ndarray  # f64[q]
    family: str
    spread: float = 1.0

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Density of given actions f32[n, q], per unit of action → f64[n]."""
        return density(self._family, self.params(context), action, self.low, self.high)

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an action per row. → (f32[n, q], its density f64[n])."""
        return draw(self._family, self.params(context), rng, self.low, self.high)

    def mean(self, context: np.ndarray) -> np.ndarray:
        """The likeliest action, f32[n, q]."""
        return boxed(self._family.mode(np, self.params(context)), self.low, self.high)

    def params(self, context: np.ndarray) -> Params:
        """The family's parameters, f64[n, q, …] each."""
        scores = forward(np, self._wide, self.features(context).astype(np.float64))[0]
        return self._family.read(np, scores, len(self.low), self.spread)

    @cached_property
    def _family(self) -> Family:
        return find("families", self.family)()

    @cached_property
    def _wide(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers]

    def state(self) -> State:
        config = {"depth": len(self.layers), "family": self.family, "spread": self.spread}
        own = nested("family_actor", config, {"features": self.features.state()})
        box = {"low": np.asarray(self.low, np.float64), "high": np.asarray(self.high, np.float64)}
        return State(own.kind, own.config, own.arrays | named(self.layers) | box)

    @classmethod
    def from_state(cls, state: State) -> FamilyActor:
        depth = whole(state, "depth", 1, 64)
        names = [f"{letter}{i}" for i in range(depth) for letter in "wb"]
        only(state, ["depth", "family", "spread"], [*names, "low", "high"], ["features"])
        features, spread = FeatureMap.from_state(part(state, "features")), number(state, "spread", 1e-9, 1.0)
        low, high, family = box_of(state)
        layers = layers_of(state, depth, features.width, find("families", family)().outputs(len(low)))
        if len(layers[0][0]) != 1:
            raise bad("family_actor: needs one network")
        return cls(features, layers, low, high, family, spread)


def box_of(state: State) -> tuple[np.ndarray, np.ndarray, str]:
    """(low, high, family) of a saved policy. Raises StoreError if they are none."""
    low = array(state, "low", (None,))
    high = array(state, "high", (len(low),))
    if not len(low) or not (low < high).all():
        raise bad(f"{state.kind}: needs low < high in every dimension")
    return low, high, choice(state, "family", tuple(table("families")))


def boxed(y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """y f64[n, q] in [−1, 1] as actions f32[n, q], none outside the box."""
    action = ((high + low) / 2 + (high - low) / 2 * y).astype(np.float32)
    return np.clip(action, low.astype(np.float32), high.astype(np.float32))


def density(family: Family, params: Params, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """π per unit of action, f32[n, q] → f64[n]; 0 outside the box."""
    middle, half = (high + low) / 2, (high - low) / 2
    y = (action.astype(np.float64) - middle) / half
    outside = (np.abs(y) > 1 + 1e-6).any(-1)
    log_density = family.log_density(np, params, np.clip(y, -1.0, 1.0))
    return np.where(outside, 0.0, np.exp(log_density) / np.prod(half))


def draw(family: Family, params: Params, rng: Any, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(actions f32[n, q], their densities f64[n]): of the actions as they are taken, rounded to f32."""
    shape = params[0].shape[:2]
    noise = rng.standard_normal(shape) if family.noise == "normal" else rng.random(shape)
    action = boxed(family.sample(np, params, noise), low, high)
    found = density(family, params, action, low, high)
    if (found > 0).all():
        return action, found
    # Rounding may have taken an action over the edge of a narrow support: one step back.
    back = np.nextafter(action, boxed(family.mode(np, params), low, high))
    action = np.where((found > 0)[:, None], action, back)
    return action, density(family, params, action, low, high)
