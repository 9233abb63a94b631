"""Greedy actor-critic: the actor follows the best of the actions that a wider, slower policy proposes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import continuous as c
from understudy.learners.discrete import within
from understudy.learners.gradient import GradientSettings, adam, descend, fit, follow, layers
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap


class Training(NamedTuple):
    """Layers of actor, proposal and critics, the critics' lagged copy, Adam's memory, the noise's key, and the box."""

    actor: Any
    proposal: Any
    critic: Any
    lagged: Any
    memory: Any
    key: Any
    box: c.Box


@dataclass(frozen=True)
class GreedyAC(GradientSettings):
    """Q̂, π and a proposal policy π̃ by minibatch steps on three losses; I are the ⌈ρN⌉ best of N actions of π̃(·|x):

    Q:  (Q_i(x, a) − y)², y = R + γ^h·(1 − terminated)·min_i Q̄_i(x′, a′), a′ ~ π(·|x′)
    π:  −mean over I of log π(a|x)
    π̃:  −mean over I of log π̃(a|x) − τ·H(π̃(·|x))

    The best by min_i Q_i(x, ·). Only the proposal is held wide; π may become as narrow as it likes. Fields, besides
    ``GradientSettings``:

        n_rho: (N, ρ). temperature: τ, what a nat of the proposal's entropy is worth. critics: how many Q_i.
        family: of both distributions, see docs/families.md. spread: factor on σ in the policy made.

    Source: Neumann, Lim, Joseph, Pan, White & White 2023, algorithm 1.
    Deviations: twin critics; all are stepped at once, from the same minibatch.
    """

    updates: int = 10_000
    batch: int = 256
    n_rho: tuple[int, float] = (30, 0.1)
    temperature: float = 0.01
    critics: int = 2
    family: str = "squashed"
    spread: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        c.family_of(self)
        if len(self.n_rho) != 2 or not 1 <= self.n_rho[0] <= 10_000 or not 0 < self.n_rho[1] <= 1:
            raise ConfigError(
                f"greedy_ac: n_rho is a number of proposals and a share in (0, 1]; got {self.n_rho}", field="n_rho"
            )
        within(self, 0, 1e6, "temperature")
        within(self, 1, 100, "critics")
        within(self, 1e-9, 1, "spread")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        box = c.box(problem, self)
        actor = c.actor_layers(self, problem, features, seed, 0.0)
        outputs = c.family_of(self).outputs(problem.actions.dims)
        proposal = layers((features.width, *self.hidden, outputs), 1, [seed, 3])
        critic = c.critic_layers(self, problem, features, seed, self.critics)
        memory = adam(self).init((actor, proposal, critic))
        return Training(actor, proposal, critic, c.copied(critic), memory, c.key(seed), box)

    @property
    def update(self) -> c.Update:
        """One step of Adam for all three, and of the lagged critics."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Policy:
        """The actor."""
        return c.policy(self, state.actor, problem, features, self.spread)


def best(xp: Any, q: Any, y: Any, n_rho: tuple[int, float]) -> Any:
    """The ⌈ρN⌉ actions of each row with the largest q: q f[N, b], y f[N, b, q] → f[⌈ρN⌉, b, q], best first."""
    order = xp.argsort(-q, axis=0)[: int(np.ceil(n_rho[0] * n_rho[1] - 1e-9))]
    return xp.take_along_axis(y, order[..., None], 0)


def percentile_loss(likelihood: Any, batch: Batch) -> Any:
    """−mean over rows and over the best actions of log π(a|x): likelihood f[⌈ρN⌉, b]."""
    return -(batch.weight * likelihood.mean(0)).mean()


@lru_cache(maxsize=32)
def _update(learner: GreedyAC) -> c.Update:
    package, family, optimiser = jax(), c.family_of(learner), adam(learner)
    xp, frozen = package.numpy, package.lax.stop_gradient

    def objective(parameters: Any, state: Training, key: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        actor, proposal, critic = parameters
        q, (here, there, aside) = batch.action.shape[-1], package.random.split(key, 3)
        own, wide = (c.spoken(xp, family, net, batch.x, q) for net in (actor, proposal))
        proposed = c.tried(package, here, family, frozen(wide), learner.n_rho[0])
        good = best(xp, c.many(xp, frozen(critic), batch.x, proposed).min(0), proposed, learner.n_rho)
        next_y = c.tried(package, there, family, c.spoken(xp, family, frozen(actor), batch.next_x, q), 1)[0]
        ahead = c.critics(xp, state.lagged, batch.next_x, next_y).min(0)
        logged = c.critics(xp, critic, batch.x, c.unit(xp, batch.action, state.box))
        wrong = c.error(xp, batch, logged, c.target(learner, batch, ahead))
        entropy = family.entropy(xp, wide)
        if entropy is None:  # of one more draw, through which its slope passes
            entropy = -family.drawn(xp, wide, c.noise(package, aside, family, batch.action.shape))[1]
        narrow = percentile_loss(family.likelihood(xp, own, good), batch)
        broad = percentile_loss(family.likelihood(xp, wide, good), batch) - learner.temperature * entropy.mean()
        return wrong + narrow + broad, {"loss": wrong, "q": logged.mean(), "entropy": entropy.mean()}

    def update(state: Training, batch: Batch) -> tuple[Training, dict[str, Any]]:
        key, drawing = package.random.split(state.key)
        nets = state.actor, state.proposal, state.critic
        (actor, proposal, critic), memory, (_, figures) = descend(
            optimiser, objective, nets, state.memory, state, drawing, batch
        )
        lagged = follow(state.lagged, critic, learner.lag)
        return Training(actor, proposal, critic, lagged, memory, key, state.box), figures

    return update
