"""The policy that knows nothing: every allowed action alike."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.models.fitting import discrete
from understudy.models.policies import Uniform


@dataclass(frozen=True)
class UniformLearner:
    """π(a|x) = 1 / (number of allowed actions). Reads only the problem; the best logger for a first log."""

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Uniform:
        """The uniform policy over the problem's actions."""
        return Uniform(discrete(data.problem, "uniform"))
