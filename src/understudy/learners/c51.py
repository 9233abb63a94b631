"""Categorical deep Q-learning: the whole distribution of returns, as probabilities of evenly spaced values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
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
class C51(GradientSettings):
    """Z(x, a) = Σ_j p_j(x, a) δ(z_j) by minibatch steps on −Σ_j m_j log p_j(x, a), z evenly spaced from low to high.

    m is the distribution of R + γ^h·(1 − terminated)·z under (1 − ε)·p̄(x′, a*) + ε·mean_a p̄(x′, a), each value's
    probability shared by the two z next to it; a* the best mean by the online network, p̄ lagged. Fields, besides
    ``GradientSettings``:

        atoms: how many z. low, high: least and largest z, in units of reward; both None is what the problem allows:
            the reward range times Σ_t (gγ)^{th} over the horizon, g the guidance; h is 1, or the log's smallest span.
        soften: ε. explore: share of uniform exploration in the policy made.

    Source: Bellemare, Dabney & Munos 2017, algorithm 1. Deviations: double Q-learning's a*; the lagged network acts.
    """

    decay: float = 1.0
    guidance: float = 0.98
    atoms: int = 51
    low: float | None = None
    high: float | None = None
    soften: float = 0.5
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 2, 10_000, "atoms")
        within(self, 0, 1, "soften", "explore")
        if (self.low is None) != (self.high is None) or (self.low is not None and self.low >= (self.high or 0)):
            raise ConfigError(f"C51: give low < high, or neither; got {self.low}, {self.high}", field="low")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def prepared(self, data: LoggedDataset, seed: int) -> C51:
        """This learner with a support that holds every return of the log's spans of time; as it is where it has none.

        Raises: ConfigError where no support can: steps that take no time, in episodes without end.
        """
        shortest = None if self.low is not None else _shortest(data)
        if shortest is None:
            return self
        low, high = self.support(data.problem, shortest)
        return replace(self, low=low, high=high)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update; what it leaves as it is are the values z."""
        outputs = width("categorical", discrete(problem, "c51"), self.atoms)
        z = self.scale * np.linspace(*self.support(problem), self.atoms)
        return begin(self, layers((features.width, *self.hidden, outputs), 1, [seed, 1]), jax().numpy.array(z))

    def support(self, problem: Problem, span: float = 1.0) -> tuple[float, float]:
        """The least and the largest z, in units of reward, where a step takes no less than ``span``."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        factor, horizon = (self.guidance * problem.discount) ** span, problem.horizon
        if factor >= 1 and horizon is None:
            raise ConfigError(
                "the log has steps that take no time and the problem has no horizon, so returns have no bound",
                "Returns beyond the support would be cut off at its ends.",
                "Give low and high, the least and the largest return there can be.", field="low",
            )  # fmt: skip
        if factor < 1:
            total = (1 - factor ** (horizon or np.inf)) / (1 - factor)
        else:
            total = float(horizon or 1)
        low, high = problem.reward_range
        return min(low, low * total), max(high, high * total)

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """Greedy in the mean of the lagged network's distributions, in units of reward."""
        k, z = problem.actions.k, np.array(state.fixed)
        network = QNetwork(
            features, plain(state.lagged), k, "categorical", self.atoms, float(z[0]), float(z[-1]), 1 / self.scale
        )
        return floored(Explore(network), k, self.explore)


def _shortest(data: LoggedDataset) -> float | None:
    """The least time from one step to the next; None where the log does not say, and steps count as 1 each."""
    least = np.inf
    for steps in data.scan():
        if steps.span is None:
            return None
        least = min(least, float(steps.span[~steps.terminated].min(initial=np.inf)))
    return least if np.isfinite(least) else None


def projected(xp: Any, probs: Any, y: Any, z: Any) -> Any:
    """Probabilities on z of a value that is y_i with probability p_i: probs, y f[b, J], z f[J] evenly spaced → f[b, J].

    m_j = Σ_i p_i · max(0, 1 − |clip(y_i) − z_j| / Δ).
    """
    inside = xp.clip(y, z[0], z[-1])
    near = xp.maximum(1 - xp.abs(inside[:, None, :] - z[:, None]) / (z[1] - z[0]), 0)  # [b, j, i]
    return (near @ probs[..., None])[..., 0]


def loss(xp: Any, scores: Any, following: Any, lagged: Any, z: Any, batch: Batch, settings: C51) -> Any:
    """The mean cross-entropy, from scores f[b, k, J]: online at x, online at x′, lagged at x′."""
    p, allowed = bellman.softmax(xp, lagged), batch.next_allowed
    a = bellman.masked(xp, bellman.softmax(xp, following) @ z, allowed).argmax(-1)  # [b]
    p_best = xp.take_along_axis(p, a[:, None, None], 1)[:, 0]
    if settings.soften:
        wide = None if allowed is None else allowed[:, None, :]
        mixed = bellman.average(xp, xp.swapaxes(p, 1, 2), wide)
        p_best = (1 - settings.soften) * p_best + settings.soften * mixed
    y = settings.scale * batch.reward[:, None] + batch.discount[:, None] * z
    target = projected(xp, p_best, y, z)
    own = xp.take_along_axis(scores, batch.action[:, None, None], 1)[:, 0]
    return -(batch.weight * (target * bellman.log_softmax(xp, own)).sum(-1)).mean()


@lru_cache(maxsize=32)
def _update(learner: C51) -> Update:
    package = jax()
    xp = package.numpy

    def scores(net: Any, x: Any) -> Any:
        flat = forward(xp, net, x)[0]
        return flat.reshape(len(flat), -1, learner.atoms)

    def objective(net: Any, lagged: Any, z: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        following = package.lax.stop_gradient(scores(net, batch.next_x))
        return loss(xp, scores(net, batch.x), following, scores(lagged, batch.next_x), z, batch, learner), {}

    return stepping(learner, objective)
