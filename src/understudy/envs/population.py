"""A bandit over a finite population: contexts are drawn from a list, so every policy's value is an exact mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, Feedback, View
from understudy.envs.rewards import SCATTER

CHUNK = 65_536  # rows of the population asked at a time


class Population:
    """N contexts, each with the mean reward of every action; drawn with replacement, one decision per draw.

    value(π) = (1/N) Σ_i Σ_a π(a|x_i) m_ia, exactly: the population is the truth, not a sample of it.

    Args:
        context: f32[N, d].
        means: f64[N, k] expected rewards, inside the problem's reward range.
        rewards: how a reward scatters about its mean: exact, binary, continuous or heavy; see ``envs.rewards``.
        allowed: bool[N, k], or None for all.
        drift: f64[N, k]: the means at phase s are ``means + s·drift``; s runs from 0 to 1 over ``horizon`` decisions.
    """

    def __init__(
        self,
        problem: Problem,
        context: np.ndarray,
        means: np.ndarray,
        *,
        rewards: str = "exact",
        allowed: np.ndarray | None = None,
        drift: np.ndarray | None = None,
        horizon: int = 0,
    ) -> None:
        if rewards not in SCATTER:
            raise ConfigError(f"unknown kind of reward {rewards!r}", hint=f"One of: {', '.join(SCATTER)}")
        if not problem.bandit or means.shape != (len(context), problem.actions.k) or not len(context):
            raise DataError(f"means of shape {means.shape} for {len(context)} contexts and {problem.actions.k} actions")
        self.problem, self.context, self.means, self.allowed = problem, context.astype(np.float32), means, allowed
        self.rewards, self.drift, self.horizon = rewards, drift, max(horizon, 1)
        for at in (0.0, 1.0):
            self._check(at)
        self._rng, self._rows, self._made = np.random.default_rng(0), np.zeros(0, np.int64), 0

    @property
    def n(self) -> int:
        """N, the size of the population."""
        return len(self.context)

    @property
    def k(self) -> int:
        """How many actions there are."""
        return self.problem.actions.k

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w contexts to decide on; later draws and rewards come from ``rng`` too."""
        self._rng, self._made = rng, 0
        return self._draw(w)

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """The rewards of w actions, and w fresh contexts: every decision is an episode of its own."""
        rows, w = self._rows, len(action)
        mean = self.means[rows, action]
        if self.drift is not None:
            mean = mean + self._phase(w) * self.drift[rows, action]
        reward = SCATTER[self.rewards](mean, self.problem.reward_range, self._rng)
        self._made += w
        feedback = Feedback(reward[:, None], reward, np.ones(w, bool), np.zeros(w, bool))
        return self._draw(w), feedback

    def expected(self) -> np.ndarray:
        """f64[w, k]: what every action would pay on average for the contexts shown last."""
        mean = self.means[self._rows]
        if self.drift is None:
            return mean
        return mean + self._phase(len(mean))[:, None] * self.drift[self._rows]

    def skip(self, n: int) -> None:
        """Time passes by n decisions that nobody made here: how a run goes on where another one ended."""
        self._made += n

    def means_at(self, phase: float) -> np.ndarray:
        """f64[N, k] expected rewards at a phase of the drift in [0, 1]."""
        return self.means if self.drift is None else self.means + phase * self.drift

    def true_value(self, policy: DiscretePolicy, *, phase: float | None = None) -> float:
        """The exact value of a policy; with drift at ``phase``, or (None) averaged over the whole drift.

        The means move linearly, so their average over phases 0 to 1 is the mean at one half.
        """
        means = self.means_at(0.5 if phase is None else phase)
        total = 0.0
        for rows in _chunks(self.n):
            allowed = None if self.allowed is None else self.allowed[rows]
            total += float((policy.probs(self.context[rows], allowed) * means[rows]).sum())
        return total / self.n

    def best_value(self, *, phase: float | None = None) -> float:
        """The value of the best policy there can be: the mean of the best allowed expected reward."""
        means = self.means_at(0.5 if phase is None else phase)
        inside = means if self.allowed is None else np.where(self.allowed, means, -np.inf)
        return float(inside.max(1).mean())

    def _phase(self, w: int) -> np.ndarray:
        """How far the drift has gone at the next w decisions, f64[w] in [0, 1]."""
        return np.minimum((self._made + np.arange(w)) / self.horizon, 1.0)

    def _draw(self, w: int) -> View:
        self._rows = self._rng.integers(0, self.n, w)
        return View(self.context[self._rows], None if self.allowed is None else self.allowed[self._rows])

    def _check(self, phase: float) -> None:
        means, (low, high) = self.means_at(phase), self.problem.reward_range
        outside = ~((means >= low) & (means <= high))
        if outside.any():
            i, a = np.argwhere(outside)[0]
            raise DataError(
                f"{int(outside.sum())} of {means.size} expected rewards lie outside [{low}, {high}]; "
                f"first: context {i}, action {a}, {means[i, a]}"
            )


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, CHUNK):
        yield slice(start, min(start + CHUNK, n))
