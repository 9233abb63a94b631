"""Advantage-weighted actor-critic: cloning, with every logged action weighed by how good twin critics find it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import awac_continuous
from understudy.learners.continuous import acting, either, family_of
from understudy.learners.discrete import Update, begin, one_of, stepping, within
from understudy.learners.gradient import GradientSettings, fit, layers
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class AWAC(GradientSettings):
    """Q̂ and π by minibatch steps on ℓ(Q_i(x, a) − y) and −w·log π(a|x), w ∝ exp(A/λ) with mean 1 in a minibatch.

    A = min_i Q_i(x, a) − E_{a′∼π} min_i Q_i(x, a′); y = R + γ^h·(1 − terminated)·E_{a′∼π} min_i Q̄_i(x′, a′), i = 1, 2,
    Q̄ lagged. Fields, besides ``GradientSettings``:

        temperature: λ. loss: ℓ, huber or squared.
        sample: act by drawing from π; false takes the likeliest action.
        explore: share of uniform exploration in the policy made (named actions).
        family: of the actor's distribution (continuous actions), see docs/families.md.

    Source: Nair, Gupta, Dalal & Levine 2020, equations 6 and 13.
    Deviations: expectations over named actions are exact; the lagged actor acts, and Huber's loss is the default.
    """

    decay: float = 1.0
    guidance: float = 0.98
    temperature: float = 1.0
    loss: str = "huber"
    sample: bool = False
    explore: float = 0.0
    family: str = "squashed"

    def __post_init__(self) -> None:
        super().__post_init__()
        family_of(self)
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "explore")
        within(self, 1e-6, 1e6, "temperature")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Any:
        """The training before the first update."""
        if not problem.actions.discrete:
            return awac_continuous.init(self, problem, features, seed)
        sizes = (features.width, *self.hidden, discrete(problem, "awac"))
        return begin(self, {"q": layers(sizes, 2, [seed, 1]), "actor": layers(sizes, 1, [seed, 2])})

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged networks."""
        return _update(self)

    def policy(self, state: Any, problem: Problem, features: FeatureMap) -> Policy:
        """The lagged actor, drawing or by its likeliest action."""
        return acting(self, state.lagged["actor"], problem, features)


def weights(xp: Any, advantage: Any, temperature: float) -> Any:
    """exp(A/λ) over its mean in the minibatch: f[b] → f[b]."""
    raised = xp.exp((advantage - advantage.max()) / temperature)
    return raised / raised.mean()


def losses(xp: Any, q: Any, scores: Any, ahead: Any, batch: Batch, settings: AWAC, still: Any) -> tuple[Any, Any]:
    """(critics' loss, actor's loss): q f[2, b, k] and scores f[b, k] at x, ahead f[b] = E min_i Q̄_i at x′.

    ``still`` keeps the slope of one loss from the other's network.
    """
    y = settings.scale * batch.reward + batch.discount * ahead
    error = bellman.LOSSES[settings.loss](xp, bellman.taken(xp, q, batch.action) - y)
    least = still(q).min(0)
    value = bellman.expected(xp, bellman.softmax(xp, still(scores), batch.allowed), least)
    weight = weights(xp, bellman.taken(xp, least, batch.action) - value, settings.temperature)
    taken = bellman.taken(xp, bellman.log_softmax(xp, scores, batch.allowed), batch.action)
    return (batch.weight * error).mean(-1).sum(), -(batch.weight * weight * taken).mean()


@lru_cache(maxsize=32)
def _update(learner: AWAC) -> Update:
    package = jax()
    xp, still = package.numpy, package.lax.stop_gradient

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q, scores = forward(xp, net["q"], batch.x), forward(xp, net["actor"], batch.x)[0]
        following = bellman.softmax(xp, still(forward(xp, net["actor"], batch.next_x)[0]), batch.next_allowed)
        ahead = bellman.expected(xp, following, forward(xp, lagged["q"], batch.next_x).min(0))
        critic, actor = losses(xp, q, scores, ahead, batch, learner, still)
        return critic + actor, {"critic": critic, "actor": actor, "q": q.mean()}

    def weighing(xp: Any, advantage: Any) -> Any:
        return weights(xp, advantage, learner.temperature)

    return either(stepping(learner, objective), awac_continuous.update(learner, weighing))
