"""LinUCB: act by the upper confidence bound of a linear model."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.core.errors import ConfigError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.learners.linear import Learned, check, learn, posterior
from understudy.models.optimism import UpperBound


@dataclass(frozen=True)
class LinUCB:
    """argmax_a z·θ_a + α·√(zᵀ A_a⁻¹ z), mixed with ε of uniform so that every action keeps a propensity.

    Args:
        alpha: α, how far up the bound lies.
        penalty: prior precision of every coefficient.
        shared: coefficients are a common vector plus a deviation per action; otherwise separate per action.
        forgetting: λ ≤ 1, weight of a decision λ^age.
        epsilon: share of uniform exploration.
        signed_log: add each number's signed logarithm, both clipped (heavy tails).
        quadratic: add the products of every two inputs.

    Source: Li, Chu, Langford & Schapire 2010, algorithm 1 (disjoint); the shared form has one joint posterior
    instead of their algorithm 2, and the intercept is part of z.
    """

    alpha: float = 0.5
    penalty: float = 1.0
    shared: bool = False
    forgetting: float = 1.0
    epsilon: float = 0.01
    signed_log: bool = False
    quadratic: bool = False

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> UpperBound:
        """The policy of a log. Deterministic: the seed is unused."""
        self._check()
        learned = learn(data, self.forgetting, self.signed_log, self.quadratic)
        progress("fit", {"steps": float(data.n_steps)})
        return self.policy(learned)

    def policy(self, learned: Learned, *, seed: int = 0) -> UpperBound:
        """The policy of what was learned so far: ``policy(learned.update(batch))`` continues online."""
        self._check()
        belief = posterior(learned, self.penalty, self.shared)
        return UpperBound(learned.features, belief.mean, belief.covariance(), self.alpha, self.epsilon)

    def _check(self) -> None:
        check("lin_ucb", self.penalty, self.forgetting, self.epsilon)
        if not self.alpha >= 0:
            raise ConfigError(f"lin_ucb: alpha must be ≥ 0; got {self.alpha}", field="alpha")
