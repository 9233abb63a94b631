"""A small shared cast for tests: problems whose values are known by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps, bandit_steps

# Two contexts (x = 0, 1), equally likely; mean reward of three actions in each.
MEANS = np.array([[0.9, 0.5, 0.1], [0.2, 0.4, 0.6]])

TINY = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b", "c")))


@dataclass(frozen=True)
class Table:
    """A policy over the cast's contexts: one row of probabilities for x = 0, one for x = 1."""

    rows: tuple[tuple[float, ...], tuple[float, ...]]

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        p = np.asarray(self.rows)[context[:, 0].astype(int)]
        if allowed is None:
            return p
        masked = np.where(allowed, p, 0.0)
        return masked / masked.sum(1, keepdims=True)

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return np.take_along_axis(self.probs(context, allowed), action[:, None].astype(int), 1)[:, 0]

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        p = self.probs(context, allowed)
        action = (p.cumsum(1) < rng.random(len(p))[:, None] * p.sum(1, keepdims=True)).sum(1).astype(np.int32)
        return action, np.take_along_axis(p, action[:, None].astype(int), 1)[:, 0]

    def state(self) -> State:
        return State("table", {"rows": [list(row) for row in self.rows]})


def true_value(policy: Table) -> float:
    """E r = ½ Σ_x Σ_a π(a|x) MEANS[x, a]."""
    return float((np.asarray(policy.rows) * MEANS).sum() / 2)


def tiny_bandit(behavior: Table, n: int, seed: int) -> Steps:
    """n logged decisions of the two-context bandit: Bernoulli rewards, exact propensities, every row its own unit."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, n)
    context = x[:, None].astype(np.float32)
    action, propensity = behavior.act(context, rng)
    reward = (rng.random(n) < MEANS[x, action]).astype(np.float64)
    return bandit_steps(context, action, reward, propensity, propensities=behavior.probs(context))
