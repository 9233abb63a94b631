"""Conservative Q-learning: action values that do not flatter what the log has not tried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import cql_continuous
from understudy.learners.continuous import either
from understudy.learners.discrete import SOFTEN, Update, begin, fit_from, one_of, only_in_a_box, stepping, within
from understudy.learners.gradient import GradientSettings, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class CQL(GradientSettings):
    """Q̂ by minibatch steps on ℓ(Q(x, a) − y) + α·(log Σ_{a′ allowed} exp Q(x, a′) − Q(x, a)).

    y is double Q-learning's target with the lagged network, ε of it softened as in ``dqn``; in a box that of ``sac``.
    Fields, besides ``GradientSettings``:

        alpha: α, how much less an action is worth for not being in the log.
        soften: ε, ½ unless given (named actions). loss: ℓ, huber or squared; unless given, huber with named actions and
            squared in a box. explore: share of uniform exploration in the policy made (named actions).
        draws, entropy: actions drawn thrice per context for the gap; H per dimension, as in ``sac`` (continuous ones).

    Source: Kumar, Zhou, Tucker & Levine 2020, equation 4 (CQL(H)).
    Deviation: the lagged network acts.
    """

    decay: float = 1.0
    guidance: float = 0.98
    alpha: float = 0.5
    soften: float | None = None
    loss: str | None = None
    explore: float = 0.0
    draws: int = 10
    entropy: float = -1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss is not None:
            one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "explore", *(["soften"] if self.soften is not None else []))
        within(self, 0, 1e6, "alpha")
        within(self, 1, 1000, "draws")
        within(self, -20, 0.69, "entropy")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet, start: Policy | None = None) -> Policy:
        """The policy of a log; from the network of an earlier policy where ``start`` is given."""
        return fit_from(self, data, seed=seed, progress=progress, start=start)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Any:
        """The training before the first update."""
        if not problem.actions.discrete:
            return cql_continuous.init(self, problem, features, seed)
        k = discrete(problem, "cql")
        only_in_a_box(self, "draws", "entropy")
        return begin(self, layers((features.width, *self.hidden, k), 1, [seed, 1]))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Any, problem: Problem, features: FeatureMap) -> Policy:
        """Greedy in the lagged network's values, in units of reward."""
        if not problem.actions.discrete:
            return cql_continuous.policy(self, state, problem, features)
        k = problem.actions.k
        return floored(Explore(QNetwork(features, plain(state.lagged), k, scale=1 / self.scale)), k, self.explore)


def loss(xp: Any, q: Any, following: Any, lagged: Any, batch: Batch, settings: CQL) -> tuple[Any, Any]:
    """(the whole loss, its conservative part before α), from values f[b, k]: online at x and x′, lagged at x′."""
    soften = SOFTEN if settings.soften is None else settings.soften
    ahead = bellman.best(xp, following, lagged, batch.next_allowed, soften)
    y = settings.scale * batch.reward + batch.discount * ahead
    error = bellman.LOSSES[settings.loss or "huber"](xp, bellman.taken(xp, q, batch.action) - y)
    gap = -bellman.taken(xp, bellman.log_softmax(xp, q, batch.allowed), batch.action)
    return (batch.weight * (error + settings.alpha * gap)).mean(), gap.mean()


@lru_cache(maxsize=32)
def _update(learner: CQL) -> Update:
    package = jax()
    xp = package.numpy

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q, following = forward(xp, net, batch.x)[0], package.lax.stop_gradient(forward(xp, net, batch.next_x)[0])
        value, gap = loss(xp, q, following, forward(xp, lagged, batch.next_x)[0], batch, learner)
        return value, {"q": q.mean(), "gap": gap}

    return either(stepping(learner, objective), cql_continuous.update(learner))
