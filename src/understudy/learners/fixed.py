"""The policy that never changes its mind: one named action, or the one that paid best on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.core.registry import unknown
from understudy.models.fitting import discrete
from understudy.models.policies import Fixed


@dataclass(frozen=True)
class FixedLearner:
    """π(action|x) = 1. Without a name: the action with the best weighted mean reward in the log.

    mean_a = Σ r/p / Σ 1/p over the rows with action a (p the propensity; 1 where the log has none).
    """

    action: str = ""

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Fixed:
        """The constant policy. Raises ConfigError if no action has that name."""
        discrete(data.problem, "fixed")
        names = data.problem.actions.names
        if self.action:
            if self.action not in names:
                raise unknown("action", self.action, names)
            return Fixed(len(names), names.index(self.action))
        top, bottom = np.zeros(len(names)), np.zeros(len(names))
        for batch in data.scan():
            weight = np.ones(batch.n) if batch.propensity is None else 1 / batch.propensity
            top += np.bincount(batch.action, weight * batch.reward, len(names))
            bottom += np.bincount(batch.action, weight, len(names))
        if not bottom.any():
            raise EvidenceError("the log is empty, so no action can be the best", hint='Name one: action="…"')
        mean = np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), -np.inf)
        return Fixed(len(names), int(mean.argmax()))
