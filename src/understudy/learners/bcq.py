"""Batch-constrained deep Q-learning: the best among the actions that the log's policy would have taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.core.steps import concat
from understudy.learners.discrete import Training, Update, begin, fit_from, one_of, stepping, within
from understudy.learners.gradient import GradientSettings, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.models.filtered import Filtered
from understudy.models.fitting import discrete, make
from understudy.models.policies import Explore, floored
from understudy.models.q_network import QNetwork
from understudy.ops import bellman
from understudy.ops.network import forward


@dataclass(frozen=True)
class BCQ(GradientSettings):
    """Double Q-learning among the actions with π̂_b(a|x) ≥ τ·max_a′ π̂_b(a′|x), while learning and while acting.

    π̂_b imitates the log: a softmax network, fitted beside Q̂ on −log π̂_b(a|x) + (λ/k)·Σ_a′ s_a′(x)²
    (``imitation: network``); the nearest logged contexts (``knn``); or a classifier by name (``classifier``).
    Fields, besides ``GradientSettings``:

        threshold: τ. penalty: λ. imitation: network, knn or classifier. model, options: the classifier.
        soften: share of the mean over likely actions in the bootstrap. loss: huber or squared.
        explore: share of uniform exploration in the policy made.

    Source: Fujimoto, Conti, Ghavamzadeh & Pineau 2019, equations 5 and 6.
    Deviation: soft lag; the lagged network acts.
    """

    decay: float = 1.0
    guidance: float = 0.98
    threshold: float = 0.1
    penalty: float = 0.5
    imitation: str = "network"
    model: str = "multinomial"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    soften: float = 0.5
    loss: str = "huber"
    explore: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "imitation", "network", "knn", "classifier")
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 0, 1, "threshold", "soften", "explore")
        within(self, 0, 1e6, "penalty")
        if self.options and self.imitation == "network":
            raise ConfigError("BCQ: options belong to a classifier or knn", field="options")

    def fit(
        self, data: LoggedDataset, *, seed: int, progress: Progress = quiet, start: DiscretePolicy | None = None
    ) -> DiscretePolicy:
        """The policy of a log; from the networks of an earlier policy where ``start`` is given."""
        return fit_from(self, data, seed=seed, progress=progress, start=start)

    def prepared(self, data: LoggedDataset, seed: int) -> Any:
        """This learner beside the fitted π̂_b where that is no network of its own: see ``Imitating``."""
        if self.imitation == "network":
            return self
        name = "knn" if self.imitation == "knn" else self.model
        classifier = make(name, self.options, kind="classifiers")
        discrete(data.problem, "bcq")
        return Imitating(self, classifier.fit(concat(list(data.scan())), data.problem, seed=seed))

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update: a trunk with the heads of Q̂ and, where it is a network, of π̂_b."""
        k, heads = discrete(problem, "bcq"), 2 if self.imitation == "network" else 1
        return begin(self, layers((features.width, *self.hidden, heads * k), 1, [seed, 1]))

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged networks."""
        return _update(replace(self, model="", options={}))

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """The best lagged value among the likely actions, in units of reward."""
        if self.imitation != "network":
            raise ConfigError("this learner imitates by a model of the log: prepare it with the data first")
        scores = QNetwork(features, _head(state.lagged, 1, problem.actions.k), problem.actions.k)
        return self.guarded(state, problem, features, Explore(scores, "softmax", 1.0))

    def guarded(self, state: Training, problem: Problem, features: FeatureMap, imitation: Any) -> DiscretePolicy:
        """The same with this π̂_b."""
        k = problem.actions.k
        best = Explore(QNetwork(features, _head(state.lagged, 0, k), k, scale=1 / self.scale))
        return floored(Filtered(best, imitation, self.threshold), k, self.explore)


@dataclass(frozen=True)
class Imitating:
    """BCQ whose π̂_b is fitted already: it reaches the minibatches as a mask of what may follow."""

    learner: BCQ
    imitation: DiscretePolicy

    @property
    def updates(self) -> int:
        """Minibatch updates of a whole training."""
        return self.learner.updates

    @property
    def batch(self) -> int:
        """Transitions in a minibatch."""
        return self.learner.batch

    @property
    def n(self) -> int:
        """Steps of a transition."""
        return self.learner.n

    @property
    def guidance(self) -> float:
        """Factor on the discount while learning."""
        return self.learner.guidance

    @property
    def scale(self) -> float:
        """Factor on rewards while learning."""
        return self.learner.scale

    @property
    def features(self) -> str:
        """How features are read."""
        return self.learner.features

    def limit(self, context: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        """The likely actions, bool[n, k]."""
        return bellman.likely(np, self.imitation.probs(context, allowed), self.learner.threshold, allowed)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return self.learner.init(problem, features, seed=seed)

    @property
    def update(self) -> Update:
        """One step of Adam, and of the lagged network."""
        return self.learner.update

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> DiscretePolicy:
        """The best lagged value among the likely actions, in units of reward."""
        return self.learner.guarded(state, problem, features, self.imitation)


def loss(xp: Any, q: Any, following: Any, lagged: Any, batch: Batch, allowed: Any, settings: BCQ) -> Any:
    """The mean of ℓ(Q(x, a) − y), from values f[b, k]: online at x and x′, lagged at x′; ``allowed`` at x′."""
    ahead = bellman.best(xp, following, lagged, allowed, settings.soften)
    y = settings.scale * batch.reward + batch.discount * ahead
    return (batch.weight * bellman.LOSSES[settings.loss](xp, bellman.taken(xp, q, batch.action) - y)).mean()


def imitation_loss(xp: Any, scores: Any, batch: Batch, penalty: float) -> Any:
    """The mean of −log π̂_b(a|x) + λ·mean_a′ s_a′²."""
    taken = bellman.taken(xp, bellman.log_softmax(xp, scores, batch.allowed), batch.action)
    return (batch.weight * (penalty * (scores**2).mean(-1) - taken)).mean()


def _head(tree: Any, i: int, k: int) -> Any:
    """The trunk with one of its heads."""
    *trunk, (w, b) = plain(tree)
    return (*trunk, (w[..., i * k : (i + 1) * k], b[..., i * k : (i + 1) * k]))


@lru_cache(maxsize=32)
def _update(learner: BCQ) -> Update:
    package = jax()
    xp, still, own = package.numpy, package.lax.stop_gradient, learner.imitation == "network"

    def heads(net: Any, x: Any) -> Any:
        return xp.split(forward(xp, net, x)[0], 1 + own, axis=-1)

    def objective(net: Any, lagged: Any, fixed: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        (q, *scores), (lagged_q, *ahead) = heads(net, batch.x), heads(lagged, batch.next_x)
        allowed, following = batch.next_allowed, still(heads(net, batch.next_x)[0])
        if own:
            allowed = bellman.likely(xp, bellman.softmax(xp, ahead[0], allowed), learner.threshold, allowed)
        value = loss(xp, q, following, lagged_q, batch, allowed, learner)
        figures = {"q": q.mean(), "likely": 1.0 if allowed is None else allowed.mean()}
        if not own:
            return value, figures
        imitation = imitation_loss(xp, scores[0], batch, learner.penalty)
        return value + imitation, figures | {"imitation": imitation}

    return stepping(learner, objective)
