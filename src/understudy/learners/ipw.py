"""Inverse-propensity-weighted classification: learn the policy itself, without a model of the reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.core.steps import concat
from understudy.models.fitting import discrete, make
from understudy.models.policies import Explore


@dataclass(frozen=True)
class IPW:
    """max_π Σ_i (r_i − low)/p_i · 1[π(x_i) = a_i], by a classifier of the logged action with those weights.

    Rewards are counted from the bottom of their declared range, so that weights are ≥ 0 and do not depend on the
    sample. Weights are scaled to mean 1, so that the classifier's penalty means the same on every log.

    Args:
        classifier: multinomial or forest.
        options: its hyper-parameters.
        explore: greedy, epsilon_greedy or softmax over the classifier's scores; ``sample`` acts by its probabilities.
        amount: see ``models.policies.Explore``.

    Needs propensities; the variance is that of 1/p. Source: Zadrozny 2003; Dudík, Langford & Li 2011, section 4.1.
    """

    classifier: str = "multinomial"
    options: Mapping[str, Any] = field(default_factory=dict)
    explore: str = "greedy"
    amount: float = 0.0

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy. Raises EvidenceError if the log has no propensities, or no reward above the bottom."""
        discrete(data.problem, "ipw")
        learner = make(self.classifier, self.options, kind="classifiers")
        steps = concat(list(data.scan()))
        if steps.propensity is None:
            raise EvidenceError(
                "the log has no propensities, and ipw weights by them",
                "Unweighted, it would learn to imitate the log.",
                "Use the direct learner, or log the probability of every action.",
            )
        low, _ = data.problem.reward_range
        weight = np.maximum(steps.reward - low, 0.0) / steps.propensity
        if not weight.sum() > 0:
            raise EvidenceError(f"no reward in the log is above {low}, so no action is worth imitating")
        sampled = learner.fit(steps, data.problem, seed=seed, weight=weight / weight.mean())
        progress("fit", {"steps": float(steps.n)})
        return sampled if self.explore == "sample" else Explore(sampled.model, self.explore, self.amount)
