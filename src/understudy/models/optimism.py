"""Acting by the upper end of what a linear model thinks possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.policies import Discrete
from understudy.models.state import array, nested, number, only, part
from understudy.ops import explore


@dataclass(frozen=True)
class UpperBound(Discrete):
    """π = ε/K + (1 − ε)·argmax_a [z·θ_a + α·√(zᵀ C_a z)], z = (φ(x), 1); ties share.

    θ_a and C_a are the posterior mean and covariance (for unit noise) of action a's coefficients.
    """

    features: FeatureMap
    theta: np.ndarray  # f64[k, d′+1]
    covariance: np.ndarray  # f64[k, d′+1, d′+1]
    alpha: float
    epsilon: float

    def bounds(self, context: np.ndarray) -> np.ndarray:
        """The upper bounds, f32[n, d] → f64[n, k]."""
        z = np.column_stack([self.features(context), np.ones(len(context))]).astype(np.float64)
        variance = np.stack([((z @ c) * z).sum(1) for c in self.covariance], axis=1)
        return z @ self.theta.T + self.alpha * np.sqrt(np.maximum(variance, 0.0))

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        return explore.epsilon_greedy(self.bounds(context), self.epsilon, allowed)

    def state(self) -> State:
        own = nested("upper_bound", {"alpha": self.alpha, "epsilon": self.epsilon}, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | {"theta": self.theta, "covariance": self.covariance})

    @classmethod
    def from_state(cls, state: State) -> UpperBound:
        only(state, ["alpha", "epsilon"], ["theta", "covariance"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        p = features.width + 1
        theta = array(state, "theta", (None, p))
        covariance = array(state, "covariance", (len(theta), p, p))
        return cls(features, theta, covariance, number(state, "alpha", 0.0, 1e9), number(state, "epsilon", 0.0, 1.0))
