"""Minibatches of transitions in the space of model inputs: from a table in memory, or gathered from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Transitions, concat
from understudy.models.feature_map import FeatureMap
from understudy.ops.transitions import transitions

Limit = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # raw next context, its mask → bool[b, k]
HELD = 1 << 26  # numbers (f32) of model inputs that are held in memory: 256 MiB


class Batch(NamedTuple):
    """One minibatch; with one more leading axis, several. Columns the log lacks are None."""

    x: Any  # f32[b, d′]
    action: Any  # i32[b] or f32[b, q]
    reward: Any  # f32[b], over n steps
    discount: Any  # f32[b] (gγ)^h·(1 − terminated), g the learner's guidance
    next_x: Any  # f32[b, d′]
    next_action: Any  # as action
    weight: Any  # f32[b]
    allowed: Any = None  # bool[b, k]
    next_allowed: Any = None  # bool[b, k]
    propensity: Any = None  # f32[b]


@dataclass(frozen=True)
class Replay:
    """Draws minibatches of ``data`` through ``features``: the same ones whether the data are in memory or in files."""

    data: LoggedDataset
    features: FeatureMap
    n: int = 1  # steps of a transition
    held: int = HELD
    limit: Limit | None = None  # a learner's own mask of what may follow
    guidance: float = 1.0  # factor on γ: (gγ)^h over every span of time, rewards within n steps included

    def draw(self, rng: np.random.Generator, updates: int, batch: int) -> Batch:
        """``updates`` minibatches of ``batch`` transitions, uniformly with replacement."""
        size = updates * batch
        if self._table is None:
            drawn = self._mapped(self.data.sample(size, rng, self.n, self._discount))
        else:
            rows = rng.integers(0, self.data.n_steps, size)
            drawn = Batch(*(None if column is None else column[rows] for column in self._table))
        return Batch(*(None if c is None else c.reshape(updates, batch, *c.shape[1:]) for c in drawn))

    @property
    def _discount(self) -> float:
        return self.guidance * self.data.problem.discount

    @cached_property
    def _table(self) -> Batch | None:
        """Every transition of the log, where they fit."""
        if 2 * self.data.n_steps * max(self.features.width, 1) > self.held:
            return None
        steps = concat(list(self.data.scan()))
        return self._mapped(transitions(steps, np.arange(steps.n), self._discount, self.n))

    def _mapped(self, t: Transitions) -> Batch:
        x, following = self.features(t.context), self.features(t.next_context)
        after = t.next_allowed if self.limit is None else self.limit(t.next_context, t.next_allowed)
        p = None if t.propensity is None else t.propensity.astype(np.float32)
        return Batch(x, t.action, t.reward, t.discount, following, t.next_action, t.weight, t.allowed, after, p)
