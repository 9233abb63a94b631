"""REINFORCE with a learned baseline: every decision is made likelier by how much better than expected it turned out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.core.steps import Steps
from understudy.learners import on_policy
from understudy.learners.gradient import GradientSettings, descend
from understudy.learners.loop import jax
from understudy.learners.on_policy import Told
from understudy.learners.ppo import Training, Update, begin, optimiser, sound
from understudy.models.feature_map import FeatureMap
from understudy.ops.network import forward


@dataclass(frozen=True)
class Reinforce(GradientSettings):
    """π and V by minibatch steps on −w log π(a|x)·A + ½ (V − G)² − β H(π), A = G − V standardised, G the return to go.

    w = min(π(a|x)/π_acted(a|x), weight), held fixed: 1 on the policy's own decisions, and what corrects a log of
    another one, cut at ``weight``. Fields, besides ``GradientSettings``:

        weight: the cut; 0 does not correct. trace: 1 is the return itself, below 1 leans on V.
        entropy: β. passes: how often each decision of a collection is used. longest: the norm gradients are cut to.

    Source: Williams 1992, equation 4; Degris, White & Sutton 2012, section 2.2 (weights).
    """

    updates: int = 2_000
    batch: int = 256
    rate: float = 3e-3
    weight: float = 10.0
    trace: float = 1.0
    entropy: float = 0.0
    passes: int = 1
    longest: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        sound(self, "reinforce", ("weight", 0.0, 1e6))

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log that it, or a policy close to it, has made; its propensities are read."""
        return on_policy.fit(self, data, seed, progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return begin(self, problem, features, seed)

    def told(self, state: Training, steps: Steps, problem: Problem, features: FeatureMap) -> Told:
        """Returns to go less the baseline, of a collection."""
        return on_policy.told(self, state, steps, problem, features)

    @property
    def update(self) -> Update:
        """One step of Adam for both networks."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Policy:
        """The actor, as it acted."""
        return on_policy.policy(state.actor, problem, features)


def loss(xp: Any, log_prob: Any, frozen: Any, batch: Told, weight: float) -> Any:
    """−mean w·log π(a|x)·A; ``frozen`` is log π that no gradient flows through."""
    w = xp.minimum(xp.exp(frozen - batch.log_prob), weight) if weight else 1.0
    return -(w * log_prob * batch.advantage).mean()


@lru_cache(maxsize=32)
def _update(learner: Reinforce) -> Update:
    package, steepest = jax(), optimiser(learner)
    xp = package.numpy

    def objective(networks: Any, batch: Told) -> tuple[Any, dict[str, Any]]:
        actor, value = networks
        log_prob, entropy = on_policy.log_probs(xp, forward(xp, actor, batch.x)[0], batch)
        wrong = 0.5 * ((forward(xp, value, batch.x)[0][:, 0] - batch.target) ** 2).mean()
        own = loss(xp, log_prob, package.lax.stop_gradient(log_prob), batch, learner.weight)
        return own + wrong - learner.entropy * entropy.mean(), {"value_loss": wrong, "entropy": entropy.mean()}

    def update(state: Training, batch: Told) -> tuple[Training, dict[str, Any]]:
        (actor, value), memory, (found, figures) = descend(
            steepest, objective, (state.actor, state.value), state.memory, batch
        )
        return Training(actor, value, memory), {"loss": found} | figures

    return update
