"""Several plausible models at once: what Thompson sampling and bagging choose by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import State, ValueModel
from understudy.models.feature_map import FeatureMap
from understudy.models.state import array, bad, nested, only, part, revive, whole


@dataclass(frozen=True)
class LinearEnsemble:
    """Q̂_j(x, a) = (φ(x), 1)·θ_ja for j = 1…M: draws of a linear model's posterior, kept so that all is repeatable."""

    features: FeatureMap
    theta: np.ndarray  # f64[M, k, d′+1]

    def members(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[M, n, k]."""
        z = np.column_stack([self.features(context), np.ones(len(context))]).astype(np.float64)
        m, k, p = self.theta.shape
        return (z @ self.theta.reshape(m * k, p).T).reshape(len(z), m, k).transpose(1, 0, 2)

    def values(self, context: np.ndarray) -> np.ndarray:
        """The mean of the members, f32[n, d] → f64[n, k]."""
        z = np.column_stack([self.features(context), np.ones(len(context))]).astype(np.float64)
        return z @ self.theta.mean(0).T

    def state(self) -> State:
        own = nested("linear_ensemble", {}, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | {"theta": self.theta})

    @classmethod
    def from_state(cls, state: State) -> LinearEnsemble:
        only(state, [], ["theta"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        theta = array(state, "theta", (None, None, features.width + 1))
        if theta.shape[0] < 1 or theta.shape[1] < 1:
            raise bad("linear_ensemble: theta is empty")
        return cls(features, theta)


@dataclass(frozen=True)
class Bag:
    """Models of the same thing, each fitted on its own resampling of the log."""

    models: tuple[ValueModel, ...]

    def members(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[M, n, k]."""
        return np.stack([model.values(context) for model in self.models])

    def values(self, context: np.ndarray) -> np.ndarray:
        """The mean of the members, f32[n, d] → f64[n, k]."""
        return self.members(context).mean(0)

    def state(self) -> State:
        parts = {f"model{i}": model.state() for i, model in enumerate(self.models)}
        return nested("bag", {"size": len(self.models)}, parts)

    @classmethod
    def from_state(cls, state: State) -> Bag:
        names = [f"model{i}" for i in range(whole(state, "size", 1, 10_000))]
        only(state, ["size"], (), names)
        models = tuple(revive(part(state, name)) for name in names)
        if not all(hasattr(model, "values") for model in models):
            raise bad("bag: a part is not a value model")
        return cls(models)
