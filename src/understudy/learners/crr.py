"""Critic-regularised regression: clone the logged actions that the critic finds better than the policy's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import awac_continuous
from understudy.learners.continuous import acting, either
from understudy.learners.discrete import SOFTEN, Update, begin, one_of, stepping, within
from understudy.learners.gradient import GradientSettings, fit, layers
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class CRR(GradientSettings):
    """Q̂ and π by minibatch steps on ℓ(Q_i(x, a) − y) and −f(A)·log π(a|x), A = Q(x, a) − Σ_a′ π(a′|x) Q(x, a′).

    Q = min_i Q_i of one or more critics; y = R + γ^h·(1 − terminated)·Σ_a′ ((1 − ε)·π̄(a′|x′) + ε/k)·Q̄(x′, a′); sums are
    over the k allowed actions, bars mark lagged networks.
    Fields, besides ``GradientSettings``:

        weight: f, ``binary`` 1(A > 0), or ``exp`` min(e^(A/β), clip). beta, clip: β and its bound.
        critics: how many Q_i. soften: ε, ½ unless given (named actions). loss: ℓ, huber or squared.
        sample: act by drawing from π; false takes the likeliest action.
        explore: share of uniform exploration in the policy made (named actions).

    Source: Wang et al. 2020 (critic regularized regression), equations 3 to 6.
    Deviations: expectations over named actions are exact; ε > 0; the lagged actor acts.
    """

    decay: float = 1.0
    guidance: float = 0.98
    weight: str = "binary"
    beta: float = 1.0
    clip: float = 20.0
    critics: int = 1
    soften: float | None = None
    loss: str = "huber"
    sample: bool = False
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "weight", "binary", "exp")
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "explore", *(["soften"] if self.soften is not None else []))
        within(self, 1e-6, 1e6, "beta", "clip")
        within(self, 1, 100, "critics")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Any:
        """The training before the first update."""
        if not problem.actions.discrete:
            return awac_continuous.init(self, problem, features, seed)
        sizes = (features.width, *self.hidden, discrete(problem, "crr"))
        return begin(self, {"q": layers(sizes, self.critics, [seed, 1]), "actor": layers(sizes, 1, [seed, 2])})

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged networks."""
        return _update(self)

    def policy(self, state: Any, problem: Problem, features: FeatureMap) -> Policy:
        """The lagged actor, drawing or by its likeliest action."""
        return acting(self, state.lagged["actor"], problem, features)


def critic_loss(xp: Any, q: Any, following: Any, lagged: Any, batch: Batch, settings: CRR) -> Any:
    """Σ_i mean ℓ(Q_i(x, a) − y): q f[M, b, k] at x, the lagged actor's scores f[b, k] and q f[M, b, k] at x′."""
    least = lagged.min(0)
    ahead = bellman.expected(xp, bellman.softmax(xp, following, batch.next_allowed), least)
    soften = SOFTEN if settings.soften is None else settings.soften
    if soften:
        ahead = (1 - soften) * ahead + soften * bellman.average(xp, least, batch.next_allowed)
    y = settings.scale * batch.reward + batch.discount * ahead
    return (batch.weight * bellman.LOSSES[settings.loss](xp, bellman.taken(xp, q, batch.action) - y)).mean(-1).sum()


def advantages(xp: Any, q: Any, scores: Any, batch: Batch) -> Any:
    """A of the logged actions f[b], from q f[M, b, k] and the actor's scores f[b, k] at x."""
    least = q.min(0)
    value = bellman.expected(xp, bellman.softmax(xp, scores, batch.allowed), least)
    return bellman.taken(xp, least, batch.action) - value


def weights(xp: Any, advantage: Any, settings: CRR) -> Any:
    """f(A), f[b] → f[b]."""
    if settings.weight == "binary":
        return 1.0 * (advantage > 0)
    return xp.exp(xp.minimum(advantage / settings.beta, np.log(settings.clip)))


def actor_loss(xp: Any, scores: Any, weight: Any, batch: Batch) -> Any:
    """The mean of −f·log π(a|x)."""
    taken = bellman.taken(xp, bellman.log_softmax(xp, scores, batch.allowed), batch.action)
    return -(batch.weight * weight * taken).mean()


@lru_cache(maxsize=32)
def _update(learner: CRR) -> Update:
    package = jax()
    xp, still = package.numpy, package.lax.stop_gradient

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q, scores = forward(xp, net["q"], batch.x), forward(xp, net["actor"], batch.x)[0]
        following, ahead = forward(xp, lagged["actor"], batch.next_x)[0], forward(xp, lagged["q"], batch.next_x)
        critic = critic_loss(xp, q, following, ahead, batch, learner)
        weight = weights(xp, advantages(xp, still(q), still(scores), batch), learner)
        actor = actor_loss(xp, scores, weight, batch)
        return critic + actor, {"critic": critic, "actor": actor, "q": q.mean(), "weight": weight.mean()}

    def weighing(xp: Any, advantage: Any) -> Any:
        return weights(xp, advantage, learner)

    return either(stepping(learner, objective), awac_continuous.update(learner, weighing, slow=True))
