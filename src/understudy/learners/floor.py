"""A floor under any learner's probabilities: what it learned, with a share of uniform exploration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.core.registry import find
from understudy.models.fitting import discrete
from understudy.models.policies import Mixture, Uniform


@dataclass(frozen=True)
class Floor:
    """π(a|x) = (1 − ε)·π_base(a|x) + ε/K: every allowed action keeps a propensity of at least ε/K.

    Args:
        base: a registered learner. options: its hyper-parameters. epsilon: ε.
    """

    base: str = "direct"
    options: Mapping[str, Any] = field(default_factory=dict)
    epsilon: float = 0.05

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Mixture:
        """The mixture. Raises ConfigError for an unknown base or option."""
        if not 0 <= self.epsilon <= 1:
            raise ConfigError(f"floor: epsilon must lie in [0, 1]; got {self.epsilon}", field="epsilon")
        try:
            base = msgspec.convert(dict(self.options), find("learners", self.base))
        except msgspec.ValidationError as error:
            raise ConfigError(f"floor over {self.base}: {error}") from error
        policy = base.fit(data, seed=seed, progress=progress)
        return Mixture((policy, Uniform(discrete(data.problem, "floor"))), (1 - self.epsilon, self.epsilon))
