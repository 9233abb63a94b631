"""Implicit Q-learning: the value of the better logged actions, learned without ever asking about an unlogged one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import iql_continuous
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
class IQL(GradientSettings):
    """V̂, Q̂ and π by minibatch steps on three losses, A = min_i Q̄_i(x, a) − V(x):

    V:  |τ − 1(A < 0)|·A²
    Q:  ℓ(Q_i(x, a) − R − γ^h·(1 − terminated)·V(x′)), i = 1, 2
    π:  −min(e^(βA), clip)·log π(a|x)

    Fields, besides ``GradientSettings``:

        expectile: τ; above ½ V leans to the better logged actions. beta, clip: β and the bound of the weights.
        loss: ℓ, huber or squared. sample: act by drawing from π; false takes the likeliest action.
        explore: share of uniform exploration in the policy made (named actions).
        family: of the actor's distribution (continuous actions), see docs/families.md.

    Source: Kostrikov, Nair & Levine 2022, equations 5 to 7. Deviation: the lagged actor acts.
    """

    updates: int = 10_000
    decay: float = 0.3
    guidance: float = 0.98
    expectile: float = 0.8
    beta: float = 10.0
    clip: float = 100.0
    loss: str = "huber"
    sample: bool = False
    explore: float = 0.0
    family: str = "squashed"

    def __post_init__(self) -> None:
        super().__post_init__()
        family_of(self)
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "explore", "expectile")
        within(self, 0, 1e6, "beta")
        within(self, 1e-6, 1e6, "clip")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Any:
        """The training before the first update."""
        if not problem.actions.discrete:
            return iql_continuous.init(self, problem, features, seed)
        k, inside = discrete(problem, "iql"), (features.width, *self.hidden)
        nets = {"q": layers((*inside, k), 2, [seed, 1]), "actor": layers((*inside, k), 1, [seed, 2])}
        return begin(self, nets | {"v": layers((*inside, 1), 1, [seed, 3])})

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged networks."""
        return _update(self)

    def policy(self, state: Any, problem: Problem, features: FeatureMap) -> Policy:
        """The lagged actor, drawing or by its likeliest action."""
        return acting(self, state.lagged["actor"], problem, features)


def losses(
    xp: Any, q: Any, better: Any, v: Any, ahead: Any, likelihood: Any, batch: Batch, *, settings: IQL, still: Any
) -> tuple[Any, Any, Any]:
    """(of V, of Q, of π), from numbers of the logged actions.

    q f[2, b] online, better f[b] = min_i Q̄_i, v and ahead f[b] = V at x and x′, likelihood f[b] = log π(a|x).
    ``still`` keeps the slope of one loss from another's network.
    """
    advantage = better - v
    value = (batch.weight * bellman.expectile(xp, advantage, settings.expectile)).mean()
    y = settings.scale * batch.reward + batch.discount * still(ahead)
    critic = (batch.weight * bellman.LOSSES[settings.loss](xp, q - y)).mean(-1).sum()
    weight = xp.exp(xp.minimum(settings.beta * still(advantage), np.log(settings.clip)))
    return value, critic, -(batch.weight * weight * likelihood).mean()


@lru_cache(maxsize=32)
def _update(learner: IQL) -> Update:
    package = jax()
    xp, still = package.numpy, package.lax.stop_gradient

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q = bellman.taken(xp, forward(xp, net["q"], batch.x), batch.action)
        better = bellman.taken(xp, forward(xp, lagged["q"], batch.x), batch.action).min(0)
        v, ahead = forward(xp, net["v"], batch.x)[0, :, 0], forward(xp, net["v"], batch.next_x)[0, :, 0]
        scores = forward(xp, net["actor"], batch.x)[0]
        likelihood = bellman.taken(xp, bellman.log_softmax(xp, scores, batch.allowed), batch.action)
        value, critic, actor = losses(xp, q, better, v, ahead, likelihood, batch, settings=learner, still=still)
        return value + critic + actor, {"value": value, "critic": critic, "actor": actor, "q": q.mean()}

    return either(stepping(learner, objective), iql_continuous.update(learner, losses))
