"""A policy over continuous actions that is linear in tiles, or in its features. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.protocols import State
from understudy.core.registry import find
from understudy.models.families.family import Family, Params
from understudy.models.families.policy import box_of, boxed, density, draw
from understudy.models.feature_map import FeatureMap
from understudy.models.state import array, nested, number, only, part, whole
from understudy.models.tiles import Tiles


@dataclass(frozen=True)
class LinearActor:
    """As ``FamilyActor``, its scores s = Σ_active θ: ``widest`` is the largest σ, in half widths of the box."""

    features: FeatureMap
    tilings: int
    tiles: int
    theta: np.ndarray  # f32[size, outputs]
    low: np.ndarray  # f64[q]
    high: np.ndarray  # f64[q]
    family: str
    widest: float

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
        places, by = Tiles(self.features.width, self.tilings, self.tiles)(self.features(context))
        scores = (self.theta[places].astype(np.float64) * by[..., None]).sum(1)
        return bounded(np, self._family, self._family.read(np, scores, len(self.low)), self.widest)

    @cached_property
    def _family(self) -> Family:
        return find("families", self.family)()

    def state(self) -> State:
        config = {"tilings": self.tilings, "tiles": self.tiles, "family": self.family, "widest": self.widest}
        own = nested("linear_actor", config, {"features": self.features.state()})
        box = {"low": np.asarray(self.low, np.float64), "high": np.asarray(self.high, np.float64)}
        return State(own.kind, own.config, own.arrays | {"theta": self.theta} | box)

    @classmethod
    def from_state(cls, state: State) -> LinearActor:
        only(state, ["tilings", "tiles", "family", "widest"], ["theta", "low", "high"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        tilings, tiles = whole(state, "tilings", 0, 1024), whole(state, "tiles", 1, 1024)
        low, high, family = box_of(state)
        shape = Tiles(features.width, tilings, tiles).size, find("families", family)().outputs(len(low))
        theta = array(state, "theta", shape, np.float32)
        return cls(features, tilings, tiles, theta, low, high, family, number(state, "widest", 1e-6))


def bounded(xp: Any, family: Family, params: Params, widest: float) -> Params:
    """The parameters with a width of at most ``widest``, where the family has one."""
    if not family.located:
        return params
    return params[0], xp.minimum(params[1], np.log(widest)), *params[2:]
