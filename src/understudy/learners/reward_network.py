"""A reward network: what follows an action, by plain regression, and the policy that is greedy in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.learners.discrete import Training, Update, begin, one_of, stepping, within
from understudy.learners.gradient import GradientSettings, fit, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete, unit_rewards
from understudy.models.network import Network
from understudy.models.policies import Explore, floored
from understudy.ops import bellman
from understudy.ops.network import cross_entropy, forward


@dataclass(frozen=True)
class RewardNetwork(GradientSettings):
    """Q̂(x, a) by minibatch steps on w·ℓ(s_a(x), y), y = scale·(R − low)/(high − low).

    R is summed over ``n`` steps, no more. With n = 1 it is the expected reward, and the best policy of a bandit; with n
    as long as an episode it is the value of the log's own policy, and acting greedily is one step of policy
    improvement. Fields, besides ``GradientSettings``:

        loss: ℓ, squared, huber or cross_entropy (n = 1: predictions stay inside the reward range).
        ips: w = min(1/p, most), p the logged propensity, as if every action had been tried alike; else w = 1.
        explore: share of uniform exploration in the policy made.

    Source: Dudik, Langford & Li 2011, section 2.1 (direct method). ``lag`` < 1: the lagged network acts.
    """

    loss: str = "squared"
    ips: bool = False
    most: float = 20.0
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "loss", "squared", "huber", "cross_entropy")
        within(self, 0, 1, "explore")
        within(self, 1, 1e9, "most")
        if self.loss == "cross_entropy" and self.n > 1:
            raise ConfigError("RewardNetwork: a sum over n steps leaves the reward range; take n = 1", field="loss")
        if self.loss == "cross_entropy" and self.scale != 1:
            raise ConfigError(
                "RewardNetwork: cross-entropy reads shares of the reward range; take scale = 1", field="scale"
            )

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def prepared(self, data: LoggedDataset, seed: int) -> RewardNetwork:
        """Itself, once it is known that the log has what the loss needs.

        Raises: DataError where propensities are asked for and missing, or rewards lie outside the declared range.
        """
        for batch in data.scan():
            if self.ips and batch.propensity is None:
                raise DataError(
                    "the log has no propensities, which ips weighs by",
                    hint="Leave ips off, or estimate them: see docs/guide/evaluate.md.",
                    field="propensity",
                )
            if self.loss == "cross_entropy":
                unit_rewards(batch, data.problem, "Cross-entropy")
        return self

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update; what it leaves as it is is the reward range."""
        own = layers((features.width, *self.hidden, discrete(problem, "reward_network")), 1, [seed, 1])
        return begin(self, own, jax().numpy.array(problem.reward_range, np.float32))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """Greedy in the lagged network's predictions."""
        link = "logistic" if self.loss == "cross_entropy" else "identity"
        low, high = problem.reward_range
        network = Network(features, plain(state.lagged), low, low + (high - low) / self.scale, link)
        return floored(Explore(network), problem.actions.k, self.explore)


def loss(xp: Any, scores: Any, span: Any, batch: Batch, settings: RewardNetwork) -> Any:
    """The mean of w·ℓ, from scores of every action f[b, k] and (low, high)."""
    own = bellman.taken(xp, scores, batch.action)
    y = settings.scale * (batch.reward - span[0]) / (span[1] - span[0])
    missed = cross_entropy(xp, own, y) if settings.loss == "cross_entropy" else _missed(xp, own - y, settings)
    weight = batch.weight * xp.minimum(1 / batch.propensity, settings.most) if settings.ips else batch.weight
    return (weight * missed).mean()


def _missed(xp: Any, error: Any, settings: RewardNetwork) -> Any:
    return bellman.LOSSES[settings.loss](xp, error)


@lru_cache(maxsize=32)
def _update(learner: RewardNetwork) -> Update:
    xp = jax().numpy

    def objective(net: Any, lagged: Any, span: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        return loss(xp, forward(xp, net, batch.x)[0], span, batch, learner), {}

    return stepping(learner, objective)
