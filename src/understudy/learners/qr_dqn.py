"""Quantile-regression Q-learning: the distribution of returns, as evenly likely values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.learners.discrete import Training, Update, begin, stepping, within
from understudy.learners.gradient import GradientSettings, fit, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.fitting import discrete
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork, width
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class QRDQN(GradientSettings):
    """θ_1 … θ_J(x, a) by minibatch steps on Σ_i mean_j |τ_i − 1(u_ij < 0)|·ℓ(u_ij), τ_i = (i − ½)/J, ℓ Huber's loss.

    u_ij = R + γ^h·(1 − terminated)·θ̄_j − θ_i(x, a), θ̄_j = (1 − ε)·θ̄_j(x′, a*) + ε·mean_a θ̄_j(x′, a) of the lagged
    network, a* the best mean by the online network. Fields, besides ``GradientSettings``:

        quantiles: J. soften: ε. explore: share of uniform exploration in the policy made.

    Source: Dabney, Rowland, Bellemare & Munos 2018, equations 9 and 10, algorithm 1.
    Deviations: double Q-learning's a*; quantiles, not distributions, are mixed by ε; the lagged network acts.
    """

    decay: float = 1.0
    guidance: float = 0.98
    quantiles: int = 32
    soften: float = 0.5
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 1, 10_000, "quantiles")
        within(self, 0, 1, "soften", "explore")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        outputs = width("quantile", discrete(problem, "qr_dqn"), self.quantiles)
        return begin(self, layers((features.width, *self.hidden, outputs), 1, [seed, 1]))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """Greedy in the mean of the lagged network's quantiles, in units of reward."""
        k = problem.actions.k
        network = QNetwork(features, plain(state.lagged), k, "quantile", self.quantiles, scale=1 / self.scale)
        return floored(Explore(network), k, self.explore)


def loss(xp: Any, theta: Any, following: Any, lagged: Any, batch: Batch, settings: QRDQN) -> Any:
    """The mean quantile loss, from quantiles f[b, k, J]: online at x, online at x′, lagged at x′."""
    allowed, quantiles = batch.next_allowed, theta.shape[-1]
    a = bellman.masked(xp, following.mean(-1), allowed).argmax(-1)  # [b]
    ahead = xp.take_along_axis(lagged, a[:, None, None], 1)[:, 0]  # [b, J]
    if settings.soften:
        wide = None if allowed is None else allowed[:, None, :]
        mixed = bellman.average(xp, xp.swapaxes(lagged, 1, 2), wide)
        ahead = (1 - settings.soften) * ahead + settings.soften * mixed
    y = settings.scale * batch.reward[:, None] + batch.discount[:, None] * ahead
    own = xp.take_along_axis(theta, batch.action[:, None, None], 1)[:, 0]
    level = (np.arange(quantiles, dtype=np.float32) + 0.5) / quantiles
    error = y[:, None, :] - own[:, :, None]  # [b, i, j]
    tilted = xp.abs(level[:, None] - (error < 0)) * bellman.huber(xp, error)
    return (batch.weight * tilted.mean(-1).sum(-1)).mean()


@lru_cache(maxsize=32)
def _update(learner: QRDQN) -> Update:
    package = jax()
    xp = package.numpy

    def quantiles(net: Any, x: Any) -> Any:
        flat = forward(xp, net, x)[0]
        return flat.reshape(len(flat), -1, learner.quantiles)

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        theta, following = quantiles(net, batch.x), package.lax.stop_gradient(quantiles(net, batch.next_x))
        value = loss(xp, theta, following, quantiles(lagged, batch.next_x), batch, learner)
        return value, {"q": theta.mean()}

    return stepping(learner, objective)
