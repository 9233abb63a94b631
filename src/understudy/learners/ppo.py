"""Proximal policy optimisation: steps on the policy's own decisions, cut off where it moves too far from who acted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.core.steps import Steps
from understudy.learners import on_policy
from understudy.learners.gradient import GradientSettings, adam, descend, layers
from understudy.learners.loop import jax, needed
from understudy.learners.on_policy import Told
from understudy.models.feature_map import FeatureMap
from understudy.ops.network import forward

Update = Callable[[Any, Told], tuple[Any, dict[str, Any]]]

LOUD = 1.0  # what the actor's outputs for σ begin at: σ = .55, of actions before squashing


class Training(NamedTuple):
    """Layers of actor and value, and Adam's memory."""

    actor: Any
    value: Any
    memory: Any


@dataclass(frozen=True)
class PPO(GradientSettings):
    """π and V by minibatch steps on −min(ρA, clip(ρ, 1 ± ε)A) + ½c (V − G)² − β H(π), ρ = π(a|x)/π_acted(a|x).

    A are generalised advantages, standardised over a collection; G = A + V. Fields, besides ``GradientSettings``:

        clip: ε. trace: λ of the advantages. value_weight: c. entropy: β.
        passes: how often each decision of a collection is used. longest: the norm that gradients are cut to.

    Source: Schulman et al. 2017, equations 7 and 9; Schulman et al. 2016 (advantages).
    """

    updates: int = 4_000
    batch: int = 64
    rate: float = 1e-3
    clip: float = 0.2
    trace: float = 0.95
    value_weight: float = 0.5
    entropy: float = 0.0
    passes: int = 10
    longest: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        sound(self, "ppo", ("clip", 1e-9, 10.0), ("value_weight", 0.0, 1e6))

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log that it, or a policy close to it, has made; its propensities are read."""
        return on_policy.fit(self, data, seed, progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return begin(self, problem, features, seed)

    def told(self, state: Training, steps: Steps, problem: Problem, features: FeatureMap) -> Told:
        """Advantages and targets of a collection."""
        return on_policy.told(self, state, steps, problem, features)

    @property
    def update(self) -> Update:
        """One step of Adam for both networks."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Policy:
        """The actor, as it acted."""
        return on_policy.policy(state.actor, problem, features)


def surrogate(xp: Any, log_prob: Any, batch: Told, clip: float) -> Any:
    """−mean min(ρA, clip(ρ, 1 − ε, 1 + ε)A)."""
    ratio = xp.exp(log_prob - batch.log_prob)
    return -xp.minimum(ratio * batch.advantage, xp.clip(ratio, 1 - clip, 1 + clip) * batch.advantage).mean()


def begin(learner: Any, problem: Problem, features: FeatureMap, seed: int) -> Training:
    """The training before the first update, of ppo and of reinforce."""
    actor = layers((features.width, *learner.hidden, on_policy.outputs(problem)), 1, [seed, 1])
    if not problem.actions.discrete:  # nothing else explores: a narrow start would learn of what it does already only
        w, b = actor[-1]
        actor[-1] = w, b.at[:, problem.actions.dims :].add(LOUD)
    value = layers((features.width, *learner.hidden, 1), 1, [seed, 2])
    return Training(actor, value, optimiser(learner).init((actor, value)))


def optimiser(learner: Any) -> Any:
    """Adam behind a cut of the gradient's norm."""
    return needed("optax").chain(needed("optax").clip_by_global_norm(learner.longest), adam(learner))


def sound(learner: Any, name: str, *bounds: tuple[str, float, float]) -> None:
    """Raises ConfigError where a hyper-parameter lies outside its bounds."""
    shared = (("trace", 0.0, 1.0), ("entropy", 0.0, 1e6), ("passes", 1, 1e6), ("longest", 1e-9, 1e9))
    for field, low, high in (*bounds, *shared):
        if not low <= getattr(learner, field) <= high:
            raise ConfigError(
                f"{name}: {field} must lie in [{low:g}, {high:g}]; got {getattr(learner, field)}", field=field
            )


@lru_cache(maxsize=32)
def _update(learner: PPO) -> Update:
    xp, steepest = jax().numpy, optimiser(learner)

    def objective(networks: Any, batch: Told) -> tuple[Any, dict[str, Any]]:
        actor, value = networks
        log_prob, entropy = on_policy.log_probs(xp, forward(xp, actor, batch.x)[0], batch)
        wrong = 0.5 * ((forward(xp, value, batch.x)[0][:, 0] - batch.target) ** 2).mean()
        loss = surrogate(xp, log_prob, batch, learner.clip) + learner.value_weight * wrong
        figures = {"value_loss": wrong, "entropy": entropy.mean(), "moved": (batch.log_prob - log_prob).mean()}
        return loss - learner.entropy * entropy.mean(), figures

    def update(state: Training, batch: Told) -> tuple[Training, dict[str, Any]]:
        (actor, value), memory, (loss, figures) = descend(
            steepest, objective, (state.actor, state.value), state.memory, batch
        )
        return Training(actor, value, memory), {"loss": loss} | figures

    return update
