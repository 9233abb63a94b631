"""Deep Q-learning on a log: double, dueling, over n steps, or along the logged actions (SARSA)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.learners.discrete import Training, Update, begin, by_action, fit_from, one_of, stepping, within
from understudy.learners.gradient import GradientSettings, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork, values, width
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class DQN(GradientSettings):
    """Q̂ by minibatch steps on ℓ(Q(x, a) − y), y = R + γ^h·(1 − terminated)·V̄(x′), the lagged network's best value.

    V̄ = (1 − ε)·Q̄(x′, a*) + ε·mean_a Q̄(x′, a); a* the best action by the online network (``target: double``), by the
    lagged one (``max``), or the action the log took next, without ε (``sarsa``). Fields, besides ``GradientSettings``:

        target: double, max or sarsa. soften: ε. dueling: split Q into a value and advantages.
        loss: ℓ, huber or squared. boost: added to the reward of an action, while learning only.
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
    loss: str = "huber"
    boost: dict[str, float] = field(default_factory=dict, hash=False)
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "target", "double", "max", "sarsa")
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "soften", "explore")

    def fit(
        self, data: LoggedDataset, *, seed: int, progress: Progress = quiet, start: DiscretePolicy | None = None
    ) -> DiscretePolicy:
        """The policy of a log; from the network of an earlier policy where ``start`` is given.

        Equal data and seed give equal policies on the same machine.
        """
        return fit_from(self, data, seed=seed, progress=progress, start=start)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        k = discrete(problem, "dqn")
        boost = [x or 0.0 for x in by_action("dqn", "boost", self.boost, problem)] if self.boost else None
        own = layers((features.width, *self.hidden, width(self._head, k, 1)), 1, [seed, 1])
        return begin(self, own, None if boost is None else jax().numpy.array(boost))

    @property
    def update(self) -> Update:
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


def loss(xp: Any, q: Any, following: Any, lagged: Any, batch: Batch, settings: Any, boost: Any = None) -> Any:
    """The mean of ℓ(Q(x, a) − y), from values of every action f[b, k]: online at x, online at x′, lagged at x′.

    ``settings``: scale, target, soften and loss of a ``DQN``, or of another learner with these fields.
    ``boost`` f[k] is added to the reward of the action taken.
    """
    if settings.target == "sarsa":
        ahead = bellman.taken(xp, lagged, batch.next_action)
    else:
        chooser = following if settings.target == "double" else lagged
        ahead = bellman.best(xp, chooser, lagged, batch.next_allowed, settings.soften)
    reward = batch.reward if boost is None else batch.reward + boost[batch.action]
    y = settings.scale * reward + batch.discount * ahead
    return (batch.weight * bellman.LOSSES[settings.loss](xp, bellman.taken(xp, q, batch.action) - y)).mean()


@lru_cache(maxsize=32)
def _update(learner: DQN) -> Update:
    package, head = jax(), learner._head
    xp = package.numpy

    def q_values(net: Any, x: Any) -> Any:
        scores = forward(xp, net, x)[0]  # [b, k], or [b, k + 1] dueling
        return values(xp, head, scores, scores.shape[-1] - learner.dueling, 1, 0.0, 1.0)

    def objective(net: Any, lagged: Any, boost: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q = q_values(net, batch.x)
        following = package.lax.stop_gradient(q_values(net, batch.next_x)) if learner.target == "double" else None
        return loss(xp, q, following, q_values(lagged, batch.next_x), batch, learner, boost), {"q": q.mean()}

    return stepping(learner, objective)
