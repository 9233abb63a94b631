"""Doubly robust learning: regress what doubly robust evaluation says every action would have earned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.hashing import buckets
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.core.steps import Steps, bandit_steps, concat
from understudy.models.fitting import discrete, make
from understudy.models.policies import Explore


@dataclass(frozen=True)
class DoublyRobust:
    """Γ_ia = Q̂(x_i, a) + 1[a = a_i]/max(p_i, floor)·(r_i − Q̂(x_i, a_i)); then regress Γ on context and action.

    Q̂ is cross-fitted: the model that judges a row never saw its unit. Γ_ia is an unbiased score of action a in
    context x_i if the propensities are right, and has the small variance of Q̂ where Q̂ is right.

    Args:
        model: regressor of Q̂; final: regressor of Γ (ridge, trees or forest: Γ leaves the reward range).
        folds: parts of the cross-fit. floor: propensities below it count as it, which trades variance for bias.
        explore, amount: see ``models.policies.Explore``.

    Source: Dudík, Langford & Li 2011, equation 3; regression of the scores as in Athey & Wager 2021, section 2.
    """

    model: str = "ridge"
    options: Mapping[str, Any] = field(default_factory=dict)
    final: str = "ridge"
    final_options: Mapping[str, Any] = field(default_factory=dict)
    folds: int = 3
    floor: float = 0.01
    explore: str = "greedy"
    amount: float = 0.0

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy. Raises EvidenceError if the log has no propensities or fewer units than folds."""
        if self.folds < 2 or self.final == "logistic":
            raise ConfigError(
                f"dr needs folds ≥ 2 and a final model of any real number; got {self.folds}, {self.final}"
            )
        steps, k = concat(list(data.scan())), discrete(data.problem, "dr")
        if steps.propensity is None:
            raise EvidenceError("the log has no propensities, and dr weights by them", hint="Use the direct learner.")
        q = self._cross_fit(steps, data.problem, seed)  # [n, k]
        rows = np.arange(steps.n)
        scores = q.copy()
        correction = (steps.reward - q[rows, steps.action]) / np.maximum(steps.propensity, self.floor)
        scores[rows, steps.action] += correction
        progress("scores", {"mean": float(scores.mean())})
        allowed = np.ones((steps.n, k), bool) if steps.allowed is None else steps.allowed
        row, action = np.nonzero(allowed)
        every = bandit_steps(steps.context[row], action, scores[row, action])
        final = make(self.final, self.final_options).fit(every, data.problem, seed=seed)
        return Explore(final, self.explore, self.amount)

    def _cross_fit(self, steps: Steps, problem: Problem, seed: int) -> np.ndarray:
        fold = buckets(steps.row_unit, self.folds, seed)
        if len(np.unique(fold)) < self.folds:
            raise EvidenceError(f"too few units to cross-fit in {self.folds} folds", hint="Log more, or use direct.")
        q = np.zeros((steps.n, problem.actions.k))
        whole = np.bincount(np.searchsorted(steps.starts, np.arange(steps.n), side="right") - 1, minlength=steps.m)
        for f in range(self.folds):
            inside = fold == f
            outside = np.add.reduceat(~inside, steps.starts[:-1]) == whole  # episodes: a unit is on one side
            model = make(self.model, self.options).fit(steps.episodes(outside), problem, seed=seed)
            q[inside] = model.values(steps.context[inside])
        return q
