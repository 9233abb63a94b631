"""Columns of logged decisions: the one data model, in memory. Validated at the border, trusted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from understudy.core.errors import DataError


@dataclass(frozen=True)
class Origin:
    """Where rows came from and how their outcomes arrived: for lineage and audit, never for learning."""

    decision: np.ndarray  # u64[n] hash of decision_id
    policy: np.ndarray  # u64[n] hash of policy_id, 0 where the log names none
    delay: np.ndarray  # f64[n] seconds from decision to first outcome, NaN where none arrived
    arrived: np.ndarray  # i32[n] outcomes that arrived inside the window, after removing duplicates

    def take(self, rows: np.ndarray | slice) -> Origin:
        return Origin(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Steps:
    """n logged decisions in m episodes, sorted by (episode, t); a bandit has m = n.

    Invariants: the last step of an episode is terminated xor truncated, no other is; the logged action is allowed;
    rewards are finite; propensities lie in (0, 1] (a density: > 0).
    """

    starts: np.ndarray  # i64[m+1] row where each episode starts; starts[m] = n
    unit: np.ndarray  # u64[m] hash of the independent unit of each episode
    time: np.ndarray  # i64[n] microseconds since 1970 UTC
    context: np.ndarray  # f32[n, d] raw but numeric: NaN = missing, category = code
    action: np.ndarray  # i32[n], or f32[n, q] if continuous
    reward: np.ndarray  # f64[n]
    terminated: np.ndarray  # bool[n]
    truncated: np.ndarray  # bool[n]
    allowed: np.ndarray | None = None  # bool[n, k]; None = all
    propensity: np.ndarray | None = None  # f64[n]
    propensities: np.ndarray | None = None  # f64[n, k]
    outcomes: np.ndarray | None = None  # f64[n, o]; NaN = none arrived and the default stood in
    final_context: np.ndarray | None = None  # f32[m, d] context after the last step of a truncated episode
    final_allowed: np.ndarray | None = None  # bool[m, k] what could have been done in it; None = not known, so all
    span: np.ndarray | None = None  # f64[n] time to the next step, in units of γ's exponent; None = 1 each
    origin: Origin | None = None

    @property
    def n(self) -> int:
        return len(self.reward)

    @property
    def m(self) -> int:
        return len(self.starts) - 1

    @property
    def row_unit(self) -> np.ndarray:
        """u64[n] unit of each row."""
        return self.unit if self.m == self.n else np.repeat(self.unit, np.diff(self.starts))

    def episodes(self, keep: np.ndarray) -> Steps:
        """The episodes marked in ``keep`` bool[m], whole and in order."""
        lengths = np.diff(self.starts)
        rows = keep if self.m == self.n else np.repeat(keep, lengths)
        per_row = {f.name: _take(getattr(self, f.name), rows) for f in fields(self) if f.name not in _PER_EPISODE}
        starts = np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64)
        per_episode = {name: _take(getattr(self, name), keep) for name in _PER_EPISODE - {"starts"}}
        return Steps(starts=starts, **per_episode, **per_row)

    def with_(self, **changes: object) -> Steps:
        """A copy with some columns replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


_PER_EPISODE = frozenset({"starts", "unit", "final_context", "final_allowed"})


def _take(column: Any, rows: np.ndarray) -> Any:
    if column is None:
        return None
    return column.take(rows) if isinstance(column, Origin) else column[rows]


def bandit_steps(
    context: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    propensity: np.ndarray | None = None,
    *,
    time: np.ndarray | None = None,
    unit: np.ndarray | None = None,
    **columns: object,
) -> Steps:
    """Steps of n one-step episodes from plain arrays; every row its own unit unless ``unit`` u64[n] says otherwise."""
    n = len(reward)
    return Steps(
        starts=np.arange(n + 1, dtype=np.int64),
        unit=np.arange(n, dtype=np.uint64) if unit is None else unit.astype(np.uint64),
        time=np.arange(n, dtype=np.int64) if time is None else time,
        context=np.asarray(context, np.float32),
        action=np.asarray(action, np.int32) if np.ndim(action) == 1 else np.asarray(action, np.float32),
        reward=np.asarray(reward, np.float64),
        terminated=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        propensity=None if propensity is None else np.asarray(propensity, np.float64),
        **columns,  # type: ignore[arg-type]
    )


def apart(steps: Steps) -> Steps:
    """The same decisions, each an episode of its own: what a one-step question asks of them. Units stay theirs."""
    whole = {"final_context": None, "final_allowed": None, "span": None}
    return steps.with_(
        starts=np.arange(steps.n + 1, dtype=np.int64), unit=steps.row_unit, terminated=np.ones(steps.n, bool),
        truncated=np.zeros(steps.n, bool), **whole,
    )  # fmt: skip


def concat(parts: Sequence[Steps]) -> Steps:
    """Several batches as one, in order. Optional columns must be present in all or in none."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise DataError("there are no steps to put together", "Nothing can be learned or estimated from nothing.")
    offsets = np.cumsum([0] + [part.n for part in parts])
    starts = np.concatenate([part.starts[:-1] + offset for part, offset in zip(parts, offsets)] + [offsets[-1:]])
    columns: dict[str, object] = {"starts": starts}
    for field in fields(Steps):
        if field.name == "starts":
            continue
        values = [getattr(part, field.name) for part in parts]
        if all(value is None for value in values):
            columns[field.name] = None
        elif any(value is None for value in values):
            raise DataError(f"column {field.name!r} is present in some batches and absent in others")
        elif field.name == "origin":
            columns["origin"] = Origin(*(np.concatenate([getattr(v, f.name) for v in values]) for f in fields(Origin)))
        else:
            columns[field.name] = np.concatenate(values)
    return Steps(**columns)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Transitions:
    """A minibatch of (step, next step). In a bandit ``discount`` is all zero and the Bellman target is the reward."""

    context: np.ndarray  # f32[b, d]
    action: np.ndarray  # i32[b] or f32[b, q]
    reward: np.ndarray  # f32[b] Σ_{i<n} γ^{h_i} r_{t+i}, over n steps or up to the episode's end
    discount: np.ndarray  # f32[b] γ^h · (1 − terminated)
    next_context: np.ndarray  # f32[b, d]
    next_allowed: np.ndarray | None  # bool[b, k]
    propensity: np.ndarray | None  # f64[b]
    weight: np.ndarray  # f32[b]
    next_action: np.ndarray | None = None  # as action; where an episode ends, the action of its last step stands in
    allowed: np.ndarray | None = None  # bool[b, k]
