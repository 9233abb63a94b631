"""Behavior cloning: the policy that acted, as the log shows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import bc_continuous
from understudy.learners.continuous import acting, either
from understudy.learners.discrete import Update, begin, stepping, within
from understudy.learners.gradient import GradientSettings, fit, layers
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class BC(GradientSettings):
    """π by minibatch steps on −log π(a|x); named actions: π ∝ exp(s_a(x)) over the allowed ones.

    Fields, besides ``GradientSettings``:

        sample: act by drawing from π, as the log's policy did; false takes the likeliest action.
        explore: share of uniform exploration in the policy made (named actions).

    Source: Pomerleau 1991. It knows nothing of rewards: it is no better than the log, and a bar for those that learn.
    """

    updates: int = 2_000
    decay: float = 0.01
    sample: bool = True
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 1, "explore")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Any:
        """The training before the first update."""
        if not problem.actions.discrete:
            return bc_continuous.init(self, problem, features, seed)
        k = discrete(problem, "bc")
        return begin(self, layers((features.width, *self.hidden, k), 1, [seed, 1]))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Any, problem: Problem, features: FeatureMap) -> Policy:
        """The lagged network, drawing or by its likeliest action."""
        actor = state.lagged if problem.actions.discrete else state.lagged["actor"]
        return acting(self, actor, problem, features)


def loss(xp: Any, scores: Any, batch: Batch) -> Any:
    """The mean of −log π(a|x), from scores of every action f[b, k]."""
    return -(batch.weight * bellman.taken(xp, bellman.log_softmax(xp, scores, batch.allowed), batch.action)).mean()


@lru_cache(maxsize=32)
def _update(learner: BC) -> Update:
    xp = jax().numpy

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        return loss(xp, forward(xp, net, batch.x)[0], batch), {}

    return either(stepping(learner, objective), bc_continuous.update(learner))
