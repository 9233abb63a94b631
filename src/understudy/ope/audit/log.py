"""What an audit reads: the steps of a log in memory, what is known beside them, and words for the offenders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.errors import DataError
from understudy.core.evidence import Finding
from understudy.core.hashing import text_hash
from understudy.core.problem import Problem
from understudy.core.protocols import JoinRules, LoggedDataset, Policy
from understudy.core.steps import Steps, concat


@dataclass(frozen=True)
class Known:
    """What a person or a manifest can say about a log that the joined table cannot.

    Args:
        counts: counts of the ingest and join manifests, e.g. ``{"outcomes": 900, "orphans": 30}``.
        events: names of outcomes that are only sent when something happened, so that silence means the default.
            None: judged from the log (silence is an event's normal state if no arrived value equals the default).
        witnessed: contexts were written down before their actions were drawn, by whoever drew them: no feature can
            know what came of it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    events: frozenset[str] | None = None
    witnessed: bool = False


@dataclass(frozen=True)
class Log:
    """A log to be audited."""

    problem: Problem
    steps: Steps
    rules: JoinRules | None = None
    known: Known = Known()
    behavior: Policy | Mapping[int, Policy] | None = None
    whole: int = 0  # steps in the log, of which ``steps`` may be a part
    memo: dict[str, Any] = field(default_factory=dict, compare=False)  # what several audits need, made once

    @property
    def k(self) -> int:
        return self.problem.actions.k

    @property
    def discrete(self) -> bool:
        return self.problem.actions.discrete

    @cached_property
    def rows(self) -> np.ndarray:
        return np.arange(self.steps.n)

    @cached_property
    def allowed(self) -> np.ndarray:
        """bool[n, k], all True where the log has no mask."""
        return np.ones((self.steps.n, self.k), bool) if self.steps.allowed is None else self.steps.allowed

    @cached_property
    def taken(self) -> np.ndarray:
        """f64[n, k] one-hot of the logged action."""
        return np.eye(self.k)[self.steps.action]

    @cached_property
    def silent(self) -> np.ndarray:
        """bool[n]: no outcome arrived."""
        if self.steps.origin is not None:
            return np.asarray(self.steps.origin.arrived == 0)
        if self.steps.outcomes is not None and self.steps.outcomes.shape[1]:
            return np.asarray(np.isnan(self.steps.outcomes).all(1))
        return np.zeros(self.steps.n, bool)

    @cached_property
    def events(self) -> bool:
        """Whether silence is normal: outcomes are only sent when something happened.

        Judged from the log where nobody said: no arrived value equals the default, and they are all the same, or all
        whole numbers, or most decisions are silent.
        """
        if self.known.events is not None:
            return set(self.problem.outcome_names) <= self.known.events
        values = self.arrived_values
        defaults = {spec.default for spec in self.problem.outcomes}
        if not len(values) or np.isin(values, [d for d in defaults if d is not None]).any():
            return False
        return bool((values == np.round(values)).all() or self.silent.mean() > 0.5)

    @cached_property
    def arrived_values(self) -> np.ndarray:
        """f64: the values of all outcomes that arrived."""
        values = (
            self.steps.outcomes[~self.silent] if self.steps.outcomes is not None else self.steps.reward[~self.silent]
        )
        return values[np.isfinite(values)]

    def who(self, row: int) -> str:
        """A row as a person would look it up."""
        text = f"row {row} at {datetime.fromtimestamp(self.steps.time[row] / 1e6, UTC).isoformat()}"
        if self.steps.origin is not None:
            text += f", decision #{int(self.steps.origin.decision[row]):016x}"
        return text

    def finding(
        self,
        name: str,
        rows: np.ndarray | int,
        observed: str,
        effect: str,
        cure: str,
        *,
        p: float | None = None,
        severity: str = "refuse",
        first: str | None = None,
    ) -> Finding:
        """A Finding about rows: bool[n], or a count where no single row can be blamed."""
        if isinstance(rows, np.ndarray):
            count = int(rows.sum())
            first = first or (self.who(int(rows.argmax())) if count else "no single row")
        else:
            count = rows
        return Finding(
            name=name,
            severity=severity,
            rows=count,
            first=first or "no single row",
            observed=observed,
            effect=effect,
            cure=cure,
            p_value=None if p is None else float(p),
        )


def read(
    data: LoggedDataset,
    *,
    behavior: Policy | Mapping[str, Policy] | None,
    known: Known,
    max_steps: int,
) -> Log:
    """The steps of a log, or of whole batches spread evenly over it where there are more than ``max_steps``."""
    size = 16_384
    wanted = max(max_steps // size, 1)
    total = max(-(-data.n_steps // size), 1)
    every = max(total / wanted, 1.0)
    parts = [
        steps
        for i, steps in enumerate(data.scan(data.n_steps + 1 if data.n_steps <= max_steps else size))
        if int(i / every) != int((i - 1) / every) or i == 0
    ]
    if not parts or not sum(part.n for part in parts):
        raise DataError("the log is empty", "There is nothing to audit.")
    if isinstance(behavior, Mapping):
        policies: Policy | Mapping[int, Policy] | None = {text_hash(name): p for name, p in behavior.items()}
    else:
        policies = behavior
    return Log(data.problem, concat(parts), data.rules, known, policies, data.n_steps)
