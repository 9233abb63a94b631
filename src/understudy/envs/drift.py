"""A bandit whose best action changes while it is being played: what was learned yesterday is wrong today."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import DiscretePolicy, Feedback, View
from understudy.envs.rewards import SCATTER

CHANGES = ("abrupt", "gradual")


class Drift:
    """N contexts, and a cycle of worlds that share them; in each world other actions are the best.

    m_t(x, a) = (1 − s)·m_j(x, a) + s·m_{j+1}(x, a) with j = ⌊t / period⌋ modulo the number of worlds; s is the part
    of the period that has passed if the change is gradual, and 0 if it is abrupt. The contexts are a finite
    population drawn from with replacement, so the value of any policy at any moment is an exact mean.

    Args:
        context: f32[N, d]. worlds: f64[W, N, k] expected rewards, in [0, 1].
        period: decisions in one world; after W periods the first comes round again.
        change: ``abrupt`` or ``gradual``. rewards: how they scatter; see ``envs.rewards``.
    """

    def __init__(
        self, problem: Problem, context: np.ndarray, worlds: np.ndarray, *, period: int, change: str, rewards: str
    ) -> None:
        self.problem, self.context, self.worlds = problem, context.astype(np.float32), worlds
        self.period, self.change, self.rewards = period, change, rewards
        self._rng, self._rows, self._made = np.random.default_rng(0), np.zeros(0, np.int64), 0

    @property
    def cycle(self) -> int:
        """Decisions until the first world comes round again."""
        return self.period * len(self.worlds)

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w contexts at moment 0; later draws and rewards come from ``rng`` too."""
        self._rng, self._made = rng, 0
        return self._draw(w)

    def skip(self, n: int) -> None:
        """Time passes by n decisions that nobody made here: how a run goes on where another one ended."""
        self._made += n

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """The rewards of w actions, at w consecutive moments, and w fresh contexts."""
        w = len(action)
        mean = np.take_along_axis(self.expected(), action.astype(np.int64)[:, None], 1)[:, 0]
        reward = SCATTER[self.rewards](mean, self.problem.reward_range, self._rng)
        self._made += w
        return self._draw(w), Feedback(reward[:, None], reward, np.ones(w, bool), np.zeros(w, bool))

    def expected(self) -> np.ndarray:
        """f64[w, k]: what every action would pay on average for the contexts shown last."""
        start, end, share = self._between(self._made + np.arange(len(self._rows)))
        s = share[:, None]
        return (1 - s) * self.worlds[start, self._rows] + s * self.worlds[end, self._rows]

    def means_at(self, t: int) -> np.ndarray:
        """f64[N, k] expected rewards at decision t, counted from 0."""
        start, end, share = (part[0] for part in self._between(np.array([t])))
        return (1 - share) * self.worlds[start] + share * self.worlds[end]

    def true_value(self, policy: DiscretePolicy, t: int | None = None) -> float:
        """The exact value of a policy at decision t; None averages over one cycle: every world weighs alike."""
        means = self.worlds.mean(0) if t is None else self.means_at(t)
        return float((policy.probs(self.context) * means).sum(1).mean())

    def best_value(self, t: int | None = None) -> float:
        """The value of whoever knows the world, and the moment; None averages over one cycle."""
        if t is not None:
            return float(self.means_at(t).max(1).mean())
        moments = range(0, self.cycle, self.period if self.change == "abrupt" else 1)
        return float(np.mean([self.best_value(moment) for moment in moments]))

    def _between(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The world that moment t leaves, the one it goes to, and how far it has gone."""
        count = len(self.worlds)
        world = t // self.period % count
        share = (t % self.period) / self.period if self.change == "gradual" else np.zeros(len(t))
        return world, (world + 1) % count, share

    def _draw(self, w: int) -> View:
        self._rows = self._rng.integers(0, len(self.context), w)
        return View(self.context[self._rows])


def drift(
    *,
    k: int = 4,
    d: int = 3,
    worlds: int = 4,
    period: int = 2_500,
    change: str = "abrupt",
    rewards: str = "binary",
    strength: float = 3.0,
    population: int = 1_000,
    seed: int = 0,
) -> Drift:
    """A drifting bandit drawn once by ``seed``: in world j action a pays σ(strength·(x·w_{a+j} − ½)) on average.

    The w are k unit vectors drawn at random, and every world hands each of them to the next action: nothing about
    contexts changes, no action is best for long, and no constant is good.

    Args:
        strength: how far apart the actions are.
        others: as in ``Drift``.
    """
    if k < 2 or d < 1 or worlds < 1 or period < 1 or population < 1:
        raise ConfigError(
            f"drift: needs k ≥ 2, d ≥ 1, worlds ≥ 1, period ≥ 1, population ≥ 1; "
            f"got {k}, {d}, {worlds}, {period}, {population}"
        )
    for what, name, known in (
        ("change", change, CHANGES),
        ("kind of reward", rewards, ("binary", "continuous", "exact")),
    ):
        if name not in known:
            raise ConfigError(f"drift: unknown {what} {name!r}", hint=f"One of: {', '.join(known)}", field=name)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((population, d))
    tastes = rng.standard_normal((k, d))
    tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)
    pays = 1 / (1 + np.exp(-strength * (x @ tastes.T - 0.5)))  # [N, k]
    problem = Problem(
        features=tuple(Feature(name=f"x{i}") for i in range(d)),
        actions=ActionSpace(names=tuple(f"a{a}" for a in range(k))),
    )
    turned = np.stack([np.roll(pays, -j, axis=1) for j in range(worlds)])
    return Drift(problem, x, turned, period=period, change=change, rewards=rewards)
