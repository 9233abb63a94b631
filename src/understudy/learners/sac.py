"""Soft actor-critic: twin critics, a stochastic actor, and a temperature that holds its entropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import continuous as c
from understudy.learners.gradient import GradientSettings, adam, descend, fit, follow
from understudy.learners.loop import jax, needed
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap

Figures = dict[str, Any]


class Training(NamedTuple):
    """Layers of actor and critics, the critics' lagged copy, log α, Adam's memories, the noise's key, and the box."""

    actor: Any
    critic: Any
    lagged: Any
    heat: Any  # log α, f32[]
    memory: Any
    heat_memory: Any
    key: Any
    box: c.Box


@dataclass(frozen=True)
class SAC(GradientSettings):
    """Q̂ and π by minibatch steps on two losses; y in [−1, 1] is the action in its box.

    Q:  (Q_i(x, a) − y)², y = R + γ^h·(1 − terminated)·(min_i Q̄_i(x′, a′) − α log π(a′|x′)), a′ ~ π(·|x′), i = 1, 2
    π:  α log π(a|x) − min_i Q_i(x, a), a ~ π(·|x) through the draw
    α:  −log α·(log π(a|x) + H), so that the entropy becomes H

    Fields, besides ``GradientSettings``:

        temperature: α; 0 learns it. entropy: H per dimension, of y; log 2 = 0.69 is uniform.
        spread: factor on σ in the policy made. family: of the actor's distribution, see docs/families.md.

    Source: Haarnoja et al. 2018 (arXiv 1812.05905), equations 5, 7 and 18.
    Deviations: all three are stepped at once, from the same minibatch; |μ| ≤ 3 and σ ≤ 1 before squashing; a family
    that knows its entropy takes −H in place of log π.
    """

    updates: int = 10_000
    batch: int = 256
    temperature: float = 0.0
    entropy: float = -1.0
    spread: float = 1.0
    family: str = "squashed"

    def __post_init__(self) -> None:
        super().__post_init__()
        c.family_of(self)
        if not 0 <= self.temperature < 1e6:
            raise ConfigError(f"sac: temperature must be 0 or more; got {self.temperature}", field="temperature")
        if not -20 <= self.entropy < 0.69:
            raise ConfigError(
                f"sac: entropy must lie in [-20, 0.69), 0.69 being uniform; got {self.entropy}", field="entropy"
            )
        if not 0 < self.spread <= 1:
            raise ConfigError(f"sac: spread must lie in (0, 1]; got {self.spread}", field="spread")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return begin(self, problem, features, seed, self.temperature)

    @property
    def update(self) -> c.Update:
        """One step of Adam for each, and of the lagged critics."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Policy:
        """The actor."""
        return c.policy(self, state.actor, problem, features, self.spread)


def critic_loss(xp: Any, q: Any, ahead: Any, price: Any, batch: Batch, settings: Any) -> Any:
    """Σ_i mean (Q_i(x, a) − y)²: q f[2, b] at (x, a), ahead f[2, b] at (x′, a′), price f[b] = α log π(a′|x′)."""
    return c.error(xp, batch, q, c.target(settings, batch, ahead.min(0) - price))


def actor_loss(q: Any, log_density: Any, alpha: Any, batch: Batch) -> Any:
    """mean(α log π(a|x) − min_i Q_i(x, a)), a drawn from π: q f[2, b], log_density f[b]."""
    return (batch.weight * (alpha * log_density - q.min(0))).mean()


def drawn(xp: Any, family: Any, actor: Any, x: Any, noise: Any) -> tuple[Any, Any]:
    """(y f[b, q], what stands for log π(y) f[b]) of an actor at x."""
    params = c.spoken(xp, family, actor, x, noise.shape[-1])
    if family.entropy(xp, params) is None:
        return family.drawn(xp, params, noise)
    return family.sample(xp, params, noise), -family.entropy(xp, params)


def begin(learner: Any, problem: Problem, features: FeatureMap, seed: int, temperature: float) -> Training:
    """The training before the first update, of sac and of cql; temperature 0 begins at α = 1."""
    box = c.box(problem, learner)
    own = c.actor_layers(learner, problem, features, seed, 0.0)
    critic = c.critic_layers(learner, problem, features, seed)
    heat = jax().numpy.log(jax().numpy.float32(temperature or 1.0))
    memory, heat_memory = adam(learner).init((own, critic)), _warmth(learner).init(heat)
    return Training(own, critic, c.copied(critic), heat, memory, heat_memory, c.key(seed), box)


def step(learner: Any, objective: Callable[..., tuple[Any, Figures]], temperature: float) -> c.Update:
    """The update of sac and of cql.

    ``objective``: (layers of actor and critics, state, α, key, batch) → (loss, figures), of which ``entropy`` moves
    log α unless the temperature is given.
    """
    package, optimiser, warmth = jax(), adam(learner), _warmth(learner)

    def update(state: Training, batch: Batch) -> tuple[Training, Figures]:
        key, drawing = package.random.split(state.key)
        alpha = package.numpy.exp(state.heat)
        (actor, critic), memory, (_, figures) = descend(
            optimiser, objective, (state.actor, state.critic), state.memory, state, alpha, drawing, batch
        )
        heat, heat_memory = state.heat, state.heat_memory
        if not temperature:
            slope = figures["entropy"] - learner.entropy * batch.action.shape[-1]
            change, heat_memory = warmth.update(slope, heat_memory, heat)
            heat = needed("optax").apply_updates(heat, change)
        lagged = follow(state.lagged, critic, learner.lag)
        made = Training(actor, critic, lagged, heat, memory, heat_memory, key, state.box)
        return made, figures | {"temperature": alpha}

    return update


def _warmth(learner: Any) -> Any:
    """Adam for the temperature, without decay: that would pull α towards 1."""
    return adam(replace(learner, decay=0.0))


@lru_cache(maxsize=32)
def _update(learner: SAC) -> c.Update:
    package, family = jax(), c.family_of(learner)
    xp, frozen = package.numpy, package.lax.stop_gradient

    def objective(parameters: Any, state: Training, alpha: Any, key: Any, batch: Batch) -> tuple[Any, Figures]:
        actor, critic = parameters
        noise = c.noise(package, key, family, (2, *batch.action.shape))
        y, density = drawn(xp, family, actor, batch.x, noise[0])
        next_y, next_density = drawn(xp, family, frozen(actor), batch.next_x, noise[1])
        logged = c.critics(xp, critic, batch.x, c.unit(xp, batch.action, state.box))
        ahead = c.critics(xp, state.lagged, batch.next_x, next_y)
        wrong = critic_loss(xp, logged, ahead, alpha * next_density, batch, learner)
        effort = actor_loss(c.critics(xp, frozen(critic), batch.x, y), density, alpha, batch)
        return wrong + effort, {"loss": wrong, "q": logged.mean(), "entropy": -density.mean()}

    return step(learner, objective, learner.temperature)
