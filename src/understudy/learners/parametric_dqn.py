"""Deep Q-learning over actions that have features: what is learned of one action serves those like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.learners.discrete import Training, Update, begin, by_action, one_of, stepping, within
from understudy.learners.dqn import loss
from understudy.learners.gradient import GradientSettings, fit, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.models.parametric import ParametricNetwork, scores
from understudy.models.policies import Explore, floored
from understudy.ops import bellman


@dataclass(frozen=True)
class ParametricDQN(GradientSettings):
    """Q̂(x, f_a) by the minibatch steps of ``dqn``; f_a are the features of action a, standardised over the actions.

    Fields, besides ``GradientSettings`` and those of ``dqn`` (target, soften, loss, explore):

        action_features: a list of numbers per action, equally long; empty tells actions apart and no more (one input
            each).

    Source: Mnih et al. 2015, with actions as inputs: He et al. 2016 (DRRN), figure 1.
    """

    decay: float = 1.0
    guidance: float = 0.98
    action_features: dict[str, list[float]] = field(default_factory=dict, hash=False)
    target: str = "double"
    soften: float = 0.5
    loss: str = "huber"
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "target", "double", "max", "sarsa")
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "soften", "explore")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def table(self, problem: Problem) -> np.ndarray:
        """The features of the actions, standardised over them, f32[k, f].

        Raises: ConfigError where an action has none, or not as many as the others, or a number is not finite.
        """
        k = discrete(problem, "parametric_dqn")
        if not self.action_features:
            return np.eye(k, dtype=np.float32)
        rows = by_action("parametric_dqn", "action_features", self.action_features, problem)
        for name, row in zip(problem.actions.names, rows):
            if not row or len(row) != len(rows[0] or ()) or not np.isfinite(row).all():
                raise ConfigError(
                    f"action_features: {name!r} has {row}; every action needs equally many finite numbers",
                    field="action_features",
                )
        raw = np.array(rows, np.float64)
        spread = raw.std(0)
        return ((raw - raw.mean(0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update; what it leaves as it is are the features of the actions."""
        table = self.table(problem)
        own = layers((features.width + table.shape[1], *self.hidden, 1), 1, [seed, 1])
        return begin(self, own, jax().numpy.array(table))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """Greedy in the lagged network's values, in units of reward."""
        network = ParametricNetwork(features, plain(state.lagged), np.array(state.fixed), 1 / self.scale)
        return floored(Explore(network), problem.actions.k, self.explore)


@lru_cache(maxsize=32)
def _update(learner: ParametricDQN) -> Update:
    package = jax()
    xp = package.numpy

    def objective(net: Any, lagged: Any, table: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        q, following = scores(xp, net, batch.x, table), None
        if learner.target == "double":
            following = package.lax.stop_gradient(scores(xp, net, batch.next_x, table))
        value = loss(xp, q, following, scores(xp, lagged, batch.next_x, table), batch, learner)
        return value, {"q": q.mean()}

    return stepping(learner, objective)
