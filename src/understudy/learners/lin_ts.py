"""LinTS: act as a linear model drawn from its posterior would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.learners.linear import Learned, check, learn, posterior
from understudy.models.ensembles import LinearEnsemble
from understudy.models.policies import Explore


@dataclass(frozen=True)
class LinTS:
    """Thompson sampling: draw θ ~ N(A⁻¹b, v² A⁻¹), act greedily on z·θ.

    The posterior is represented by ``draws`` coefficients drawn once, by the seed, and kept in the policy: the
    probability of an action is the share of draws that prefer it, mixed with ε of uniform. So propensities are exact
    for the policy that acts, the same every time they are asked for, and never less than ε/k.

    Args:
        scale: v; 1 is the posterior of unit noise, smaller explores less.
        draws: coefficients kept.
        penalty, shared, forgetting, epsilon, signed_log, quadratic: as in LinUCB.

    Source: Agrawal & Goyal 2013, algorithm 1. Deviation: a finite set of draws instead of a fresh one per decision.
    """

    scale: float = 0.1
    draws: int = 200
    penalty: float = 1.0
    shared: bool = False
    forgetting: float = 1.0
    epsilon: float = 0.01
    signed_log: bool = False
    quadratic: bool = False

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy of a log; the seed fixes the draws."""
        self._check()
        learned = learn(data, self.forgetting, self.signed_log, self.quadratic)
        progress("fit", {"steps": float(data.n_steps)})
        return self.policy(learned, seed=seed)

    def policy(self, learned: Learned, *, seed: int = 0) -> Explore:
        """The policy of what was learned so far: ``policy(learned.update(batch), seed=…)`` continues online."""
        self._check()
        belief = posterior(learned, self.penalty, self.shared)
        theta = belief.draws(self.draws, self.scale, np.random.default_rng(seed))
        return Explore(LinearEnsemble(learned.features, theta), "votes", self.epsilon)

    def _check(self) -> None:
        check("lin_ts", self.penalty, self.forgetting, self.epsilon)
        if not self.scale >= 0 or self.draws < 1:
            raise ConfigError(f"lin_ts: scale must be ≥ 0 and draws ≥ 1; got {self.scale}, {self.draws}")
