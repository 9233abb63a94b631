"""Deep Q-learning on a log: double, dueling, over n steps, or along the logged actions (SARSA)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.learners.gradient import GradientSettings, adam, descend, fit, follow, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork, values, width
from understudy.ops import bellman
from understudy.ops.network import forward


class Training(NamedTuple):
    """Layers, their lagged copy, and Adam's memory."""

    layers: Any
    lagged: Any
    memory: Any


@dataclass(frozen=True)
class DQN(GradientSettings):
    """Q̂ by minibatch steps on ℓ(Q(x, a) − y), y = R + γ^h·(1 − terminated)·V̄(x′), the lagged network's best value.

    V̄ = (1 − ε)·Q̄(x′, a*) + ε·mean_a Q̄(x′, a); a* the best action by the online network (``target: double``), by the
    lagged one (``max``), or the action the log took next, without ε (``sarsa``). ℓ is Huber's loss. Fields, besides
    ``GradientSettings``:

        target: double, max or sarsa. soften: ε. dueling: split Q into a value and advantages.
        explore: share of uniform exploration in the policy made.

    The lagged network acts: it is the average of the last 1/lag updates.
    Source: Mnih et al. 2015; van Hasselt, Guez & Silver 2016, equation 3; Wang et al. 2016, equation 9.
    Deviation: soft lag instead of periodic copies; ε > 0 in the bootstrap.
    """

    decay: float = 1.0
    guidance: float = 0.98
    target: str = "double"
    soften: float = 0.5
    dueling: bool = False
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target not in ("double", "max", "sarsa"):
            raise ConfigError(f"dqn: target is double, max or sarsa; got {self.target!r}", field="target")
        for field in ("soften", "explore"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f"dqn: {field} must lie in [0, 1]; got {getattr(self, field)}", field=field)

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        k = discrete(problem, "dqn")
        own = layers((features.width, *self.hidden, width(self._head, k, 1)), 1, [seed, 1])
        return Training(own, jax().tree.map(lambda leaf: leaf.copy(), own), adam(self).init(own))

    @property
    def update(self) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """Greedy in the lagged network's values, in units of reward."""
        k = problem.actions.k
        network = QNetwork(features, plain(state.lagged), k, self._head, scale=1 / self.scale)
        return floored(Explore(network), k, self.explore)

    @property
    def _head(self) -> str:
        return "dueling" if self.dueling else "plain"


def loss(xp: Any, q: Any, following: Any, lagged: Any, batch: Batch, settings: DQN) -> Any:
    """The mean of ℓ(Q(x, a) − y), from values of every action f[b, k]: online at x, online at x′, lagged at x′."""
    if settings.target == "sarsa":
        ahead = bellman.taken(xp, lagged, batch.next_action)
    else:
        chooser = following if settings.target == "double" else lagged
        ahead = bellman.best(xp, chooser, lagged, batch.next_allowed, settings.soften)
    y = settings.scale * batch.reward + settings.guidance * batch.discount * ahead
    return (batch.weight * bellman.huber(xp, bellman.taken(xp, q, batch.action) - y)).mean()


@lru_cache(maxsize=32)
def _update(learner: DQN) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
    package, optimiser, head = jax(), adam(learner), learner._head
    xp = package.numpy

    def q_values(net: Any, x: Any) -> Any:
        scores = forward(xp, net, x)[0]  # [b, k], or [b, k + 1] dueling
        return values(xp, head, scores, scores.shape[-1] - learner.dueling, 1, 0.0, 1.0)

    def objective(net: Any, lagged: Any, batch: Batch) -> tuple[Any, Any]:
        q = q_values(net, batch.x)
        following = package.lax.stop_gradient(q_values(net, batch.next_x)) if learner.target == "double" else None
        return loss(xp, q, following, q_values(lagged, batch.next_x), batch, learner), q.mean()

    def update(state: Training, batch: Batch) -> tuple[Training, dict[str, Any]]:
        net, memory, (value, q) = descend(optimiser, objective, state.layers, state.memory, state.lagged, batch)
        return Training(net, follow(state.lagged, net, learner.lag), memory), {"loss": value, "q": q}

    return update
