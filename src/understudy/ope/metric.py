"""A log whose reward is one of its outcomes: any measured quantity can be evaluated, not only what is rewarded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.hashing import content_id
from understudy.core.problem import Problem
from understudy.core.protocols import JoinRules, LoggedDataset
from understudy.core.registry import unknown
from understudy.core.steps import Steps, Transitions


@dataclass(frozen=True)
class Metric:
    """What ``ope`` reads of a dataset, with another reward; where no outcome arrived its default stands in."""

    data: LoggedDataset
    problem: Problem
    column: int
    default: float | None

    @property
    def n_steps(self) -> int:
        return self.data.n_steps

    @property
    def n_episodes(self) -> int:
        return self.data.n_episodes

    @property
    def fingerprint(self) -> str:
        return content_id(self.data.fingerprint.encode(), self.problem.reward.encode())

    @property
    def rules(self) -> JoinRules | None:
        return self.data.rules

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """Refused: what is to be learned from is the problem's reward."""
        raise ConfigError(
            "an outcome in place of the reward is for evaluation", hint="Name it as the problem's reward."
        )

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        for steps in self.data.scan(max_steps):
            yield steps.with_(reward=self._reward(steps))

    def _reward(self, steps: Steps) -> np.ndarray:
        name = self.problem.reward
        if steps.outcomes is None:
            raise DataError(
                f"the log keeps no outcomes, so nobody can tell {name!r} from its reward",
                hint="Evaluate a dataset made by `understudy join` or `timeline`.",
                field="outcome",
            )
        value = steps.outcomes[:, self.column].astype(np.float64)
        gone = np.isnan(value)
        if gone.any() and self.default is None:
            raise DataError(
                f"{int(gone.sum())} of {steps.n} rows have no {name!r}, and it has no default; first: row "
                f"{int(gone.argmax())}",
                "A missing outcome is not 0.",
                "Give the outcome a default in the problem, or join again so that such rows are refused.",
                field="outcome",
            )
        return np.where(gone, self.default or 0.0, value)


def metric(data: LoggedDataset, outcome: str) -> Metric:
    """The same log with ``outcome`` as its reward; its range is what was seen, since none is declared.

    Raises: ConfigError if the problem has no such outcome.
    """
    names = data.problem.outcome_names
    if outcome not in names:
        raise unknown("outcome", outcome, names)
    column = names.index(outcome)
    problem = msgspec.structs.replace(data.problem, reward=outcome)
    made = Metric(data, problem, column, data.problem.outcomes[column].default)
    low, high = np.inf, -np.inf
    for steps in made.scan():
        low, high = min(low, float(steps.reward.min(initial=low))), max(high, float(steps.reward.max(initial=high)))
    if not low < high:
        high = low + 1.0 if np.isfinite(low) else 1.0
        low = high - 1.0
    return Metric(data, msgspec.structs.replace(problem, reward_range=(low, high)), column, made.default)
