"""Learners on one task, or on all of them on a common scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.registry import unknown
from understudy.ops.bootstrap import Strata
from understudy.runs.compare.choose import Chosen

OVERALL = ""  # the name of all tasks together


@dataclass(frozen=True)
class Table:
    """Learners on one task, or on all of them: what their rows, differences and profiles are computed from."""

    task: str
    strata: Mapping[str, tuple[Chosen, ...]]
    scales: Mapping[str, tuple[float, float]]

    def scores(self, arm: str) -> Strata:
        """Scores of an arm by task, on the common scale where there is one."""
        return [self.scaled(each.group.task, each.scores) for each in self.strata[arm]]

    def scaled(self, task: str, scores: np.ndarray) -> np.ndarray:
        """(score − low) / (high − low), with the scale's ends; as they are where the task has no scale."""
        low, high = self.scales.get(task, (0.0, 1.0))
        return (np.asarray(scores) - low) / (high - low)


def read_scales(given: Sequence[str], tasks: Sequence[str]) -> dict[str, tuple[float, float]]:
    """``cartpole=9:500``: the scores that become 0 and 1."""
    found = {}
    for text in given:
        task, _, ends = text.rpartition("=")
        if task not in tasks:
            raise unknown("task of these studies:", task, list(tasks))
        try:
            low, high = map(float, ends.split(":"))
        except ValueError:
            raise ConfigError(f"scale {text!r} cannot be read", hint="Write cartpole=9:500.", field="scale") from None
        if not low < high < np.inf or not np.isfinite(low):
            raise ConfigError(f"scale {text!r}: the second score has to be the higher one", field="scale")
        found[task] = low, high
    return found


def overall(
    each: Sequence[Table], arms: Sequence[str], tasks: Sequence[str], scales: Mapping[str, tuple[float, float]]
) -> Table | None:
    """All tasks as strata of one table, of the learners that did all of them; None where they share no scale."""
    if len(tasks) == 1:
        return replace(each[0], scales=scales)
    if set(scales) != set(tasks):
        return None
    everywhere = [arm for arm in arms if all(arm in table.strata for table in each)]
    if not everywhere:
        return None
    return Table(OVERALL, {arm: tuple(t.strata[arm][0] for t in each) for arm in everywhere}, scales)
