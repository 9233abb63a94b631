"""Twin delayed deep deterministic policy gradient: twin critics, a deterministic actor, both followed slowly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.learners import continuous as c
from understudy.learners.gradient import GradientSettings, adam, descend, fit, follow
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.actor import Actor
from understudy.models.feature_map import FeatureMap

Guide = Callable[[Any, Any, Any, Batch, c.Box], Any]


class Training(NamedTuple):
    """Layers of actor and critics, lagged copies of both, Adam's memories, updates done, the noise's key, the box."""

    actor: Any
    critic: Any
    slow_actor: Any
    slow_critic: Any
    actor_memory: Any
    critic_memory: Any
    done: Any  # i32[]
    key: Any
    box: c.Box


@dataclass(frozen=True)
class TD3(GradientSettings):
    """Q̂ and a deterministic π by minibatch steps on two losses; y in [−1, 1] is the action in its box.

    Q:  (Q_i(x, a) − y)², y = R + γ^h·(1 − terminated)·min_i Q̄_i(x′, a′), a′ = clip(π̄(x′) + clip(ε)), ε ~ N(0, noise²)
    π:  −Q_1(x, π(x)), every ``delay`` updates, and then the lagged copies

    Fields, besides ``GradientSettings``:

        noise, clip: of the action bootstrapped from, in half widths of the box. delay: critic steps per actor step.
        std: σ of the policy made, before squashing: what is served has a density.

    The lagged actor acts. Source: Fujimoto, van Hoof & Meger 2018, algorithm 1.
    Deviations: |μ| ≤ 3 before squashing; both critics and the actor share one key of noise.
    """

    updates: int = 10_000
    batch: int = 256
    noise: float = 0.2
    clip: float = 0.5
    delay: int = 2
    std: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        sound(self, "td3")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Actor:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return begin(self, problem, features, seed)

    @property
    def update(self) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
        """One step of Adam for the critics; every ``delay`` of them one for the actor and the lagged copies."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Actor:
        """The lagged actor, with noise of ``std``."""
        return made(self, state, problem, features)


def made(settings: Any, state: Training, problem: Problem, features: FeatureMap) -> Actor:
    """The policy of td3 and of td3_bc: the lagged actor, with noise of ``std``."""
    return c.actor(state.slow_actor, problem, features, std=settings.std)


def sound(settings: Any, who: str) -> None:
    """Refuses hyper-parameters that make no sense."""
    if settings.delay < 1:
        raise ConfigError(f"{who}: delay must be at least 1; got {settings.delay}", field="delay")
    for field in ("noise", "clip"):
        if not 0 <= getattr(settings, field) <= 2:
            raise ConfigError(f"{who}: {field} must lie in [0, 2]; got {getattr(settings, field)}", field=field)
    if not 0 < settings.std <= 1:
        raise ConfigError(f"{who}: std must lie in (0, 1]; got {settings.std}", field="std")


def begin(settings: Any, problem: Problem, features: FeatureMap, seed: int) -> Training:
    """The training before the first update, of td3 and of td3_bc."""
    box = c.box(problem, settings)
    actor = c.actor_layers(settings, problem, features, seed, settings.std)
    critic = c.critic_layers(settings, problem, features, seed)
    optimiser, none = adam(settings), jax().numpy.int32(0)
    memories = optimiser.init(actor), optimiser.init(critic)
    return Training(actor, critic, c.copied(actor), c.copied(critic), *memories, none, c.key(seed), box)


def critic_loss(xp: Any, q: Any, ahead: Any, batch: Batch, settings: GradientSettings) -> Any:
    """Σ_i mean (Q_i(x, a) − y)²: q f[2, b] at (x, a), ahead f[2, b] lagged at (x′, a′)."""
    return c.error(xp, batch, q, c.target(settings, batch, ahead.min(0)))


def climb(xp: Any, q: Any, y: Any, batch: Batch, box: c.Box) -> Any:
    """The actor's loss −mean Q_1(x, π(x)): q f[b]."""
    return -(batch.weight * q).mean()


def step(learner: Any, guide: Guide) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
    """The update of td3 and its kin. ``guide``: (xp, Q_1 f[b], y f[b, q], batch, box) → the actor's loss."""
    package, optimiser = jax(), adam(learner)
    slow_optimiser = adam(replace(learner, updates=max(1, learner.updates // learner.delay)))
    xp = package.numpy

    def critic_objective(critic: Any, state: Training, next_y: Any, batch: Batch) -> tuple[Any, Any]:
        q = c.critics(xp, critic, batch.x, c.unit(xp, batch.action, state.box))
        ahead = c.critics(xp, state.slow_critic, batch.next_x, next_y)
        return critic_loss(xp, q, ahead, batch, learner), q.mean()

    def actor_objective(actor: Any, critic: Any, batch: Batch, box: c.Box) -> tuple[Any, None]:
        y = c.middle(xp, actor, batch.x, batch.action.shape[-1])
        first = [(w[:1], b[:1]) for w, b in critic]
        return guide(xp, c.critics(xp, first, batch.x, y)[0], y, batch, box), None

    def improve(state: Training, batch: Batch) -> Training:
        actor, memory, _ = descend(
            slow_optimiser, actor_objective, state.actor, state.actor_memory, state.critic, batch, state.box
        )
        slow_actor = follow(state.slow_actor, actor, learner.lag)
        slow_critic = follow(state.slow_critic, state.critic, learner.lag)
        return state._replace(actor=actor, slow_actor=slow_actor, slow_critic=slow_critic, actor_memory=memory)

    def update(state: Training, batch: Batch) -> tuple[Training, dict[str, Any]]:
        key, drawing = package.random.split(state.key)
        noise = learner.noise * package.random.normal(drawing, batch.action.shape)
        straight = c.middle(xp, state.slow_actor, batch.next_x, batch.action.shape[-1])
        next_y = xp.clip(straight + xp.clip(noise, -learner.clip, learner.clip), -1.0, 1.0)
        critic, memory, (wrong, q) = descend(
            optimiser, critic_objective, state.critic, state.critic_memory, state, next_y, batch
        )
        done = state.done + 1
        state = state._replace(critic=critic, critic_memory=memory, done=done, key=key)
        state = package.lax.cond(done % learner.delay == 0, improve, lambda same, _: same, state, batch)
        return state, {"loss": wrong, "q": q}

    return update


@lru_cache(maxsize=32)
def _update(learner: TD3) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
    return step(learner, climb)
