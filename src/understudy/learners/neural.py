"""A neural value model: learned by JAX, served by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import derived
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.core.steps import concat
from understudy.learners.loop import jax, needed, run
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.fitting import discrete, unit_rewards
from understudy.models.network import Network
from understudy.models.policies import RULES, Explore, Mixture, floored
from understudy.ops.explore import gamma_schedule
from understudy.ops.network import cross_entropy, forward, squared, start


class Batch(NamedTuple):
    """One minibatch, or several with one more leading axis."""

    x: Any  # f32[b, d′]
    action: Any  # i32[b]
    y: Any  # f32[b] reward scaled to [0, 1]
    weight: Any  # f32[b, M]


@dataclass(frozen=True)
class Neural:
    """Q̂(x, a) by a multilayer perceptron with one output per action, fitted to the logged action's reward.

    min Σ_i w_i ℓ(s_a(φ(x_i)), y_i), y = (r − low)/(high − low); ℓ is the cross-entropy, or the squared error. Adam,
    its step falling to 0 along half a cosine. Fields:

        hidden: units of each hidden layer.
        steps, batch, rate: updates, rows in each, and the first step size. penalty: weight decay per unit of rate.
        loss: cross_entropy (predictions stay inside the reward range) or squared.
        members: M networks with starts of their own; more than 1 needs ``votes`` to be of use.
        bootstrap: each member weighs every row by its own Poisson(1) number.
        explore, amount, growth: the rule, its amount · n^growth, n the decisions learned from; see ``Direct``.
        epsilon: share of uniform exploration mixed in, whatever the rule.
        signed_log: add each number's signed logarithm, both clipped (heavy tails).

    Source: Riquelme, Tucker & Snoek 2018, sections 3 and 4 (greedy, bootstrap); Foster & Rakhlin 2020 (SquareCB);
    Kingma & Ba 2015, algorithm 1 (Adam).
    """

    hidden: tuple[int, ...] = (64, 64)
    steps: int = 600
    batch: int = 256
    rate: float = 1e-2
    penalty: float = 0.0
    loss: str = "cross_entropy"
    members: int = 1
    bootstrap: bool = True
    explore: str = "squarecb"
    amount: float = 100.0
    growth: float = 0.5
    epsilon: float = 0.0
    signed_log: bool = True

    def __post_init__(self) -> None:
        sizes = {"steps": self.steps, "batch": self.batch, "members": self.members, "hidden": min(self.hidden or (1,))}
        for field, value in sizes.items():
            if value < 1:
                raise ConfigError(f"neural: {field} must be at least 1; got {value}", field=field)
        if self.loss not in ("cross_entropy", "squared"):
            raise ConfigError(f"neural: loss is cross_entropy or squared; got {self.loss!r}", field="loss")
        if not self.rate > 0 or not self.penalty >= 0 or not 0 <= self.epsilon <= 1:
            raise ConfigError("neural: needs rate > 0, penalty ≥ 0 and epsilon in [0, 1]")
        if self.explore not in RULES or self.explore == "proportional":
            raise ConfigError(f"neural: unknown exploration rule {self.explore!r}", field="explore")

    def fit(
        self, data: LoggedDataset, *, seed: int, progress: Progress = quiet, start: DiscretePolicy | None = None
    ) -> DiscretePolicy:
        """The policy of a log, from weights drawn by the seed, or (``start``) from those of an earlier policy of ours.

        Equal data and seed give equal policies on the same machine. Raises ConfigError if ``start`` has other layers.
        """
        steps, k = concat(list(data.scan())), discrete(data.problem, "neural")
        before = None if start is None else network_of(start)
        features = fit_feature_map(data.problem, [steps], self.signed_log) if before is None else before.features
        x, action = features(steps.context), steps.action
        y = unit_rewards(steps, data.problem, "neural").astype(np.float32)
        rng = np.random.default_rng(derived(seed, "bootstrap"))
        weight = np.ones((steps.n, self.members), np.float32)
        if self.members > 1 and self.bootstrap:
            weight = rng.poisson(1.0, weight.shape).astype(np.float32)

        def draw(rng: np.random.Generator, chunk: int) -> Batch:
            rows = rng.integers(0, steps.n, (chunk, self.batch))
            return Batch(x[rows], action[rows], y[rows], weight[rows])

        state = self.init(features, k, seed=seed, layers=None if before is None else before.layers)
        state = run(state, self.update, draw, steps=self.steps, seed=seed, progress=progress)
        return self.policy(state, data.problem, features, steps.n)

    def init(self, features: FeatureMap, k: int, *, seed: int, layers: Any = None) -> tuple[Any, Any]:
        """(layers, state of the optimiser) before the first update."""
        sizes = (features.width, *self.hidden, k)
        if layers is None:
            layers = start(np.random.default_rng(derived(seed, "layers")), sizes, self.members)
        wanted = [(self.members, *pair) for pair in pairwise(sizes)]
        if [w.shape for w, _ in layers] != wanted:
            raise ConfigError(
                f"the policy to start from has layers {[w.shape for w, _ in layers]}, this learner makes {wanted}",
                hint="Use the settings it was trained with, or start afresh.",
                field="start",
            )
        layers = [(jax().numpy.array(w), jax().numpy.array(b)) for w, b in layers]
        return layers, _optimiser(self).init(layers)

    @property
    def update(self) -> Callable[[Any, Batch], tuple[Any, dict[str, Any]]]:
        """(state, minibatch) → (state, figures): one step of Adam, pure, for ``loop.run`` to compile."""
        return _update(self)

    def policy(self, state: tuple[Any, Any], problem: Problem, features: FeatureMap, n: int) -> DiscretePolicy:
        """The policy of a state that has learned from n decisions: plain arrays."""
        layers = tuple((np.array(w), np.array(b)) for w, b in state[0])
        link = "logistic" if self.loss == "cross_entropy" else "identity"
        network = Network(features, layers, *problem.reward_range, link)
        amount = float(gamma_schedule(self.amount, n, self.growth))
        return floored(Explore(network, self.explore, amount), problem.actions.k, self.epsilon)


def network_of(policy: DiscretePolicy) -> Network:
    """The network inside a policy of this learner. Raises ConfigError for any other policy."""
    inner = policy.policies[0] if isinstance(policy, Mixture) else policy
    model = inner.model if isinstance(inner, Explore) else None
    if not isinstance(model, Network):
        raise ConfigError("the policy to start from holds no neural network", field="start")
    return model


def _optimiser(learner: Neural) -> Any:
    optax = needed("optax")
    rate = optax.cosine_decay_schedule(learner.rate, learner.steps)
    return optax.adamw(rate, weight_decay=learner.penalty)


@lru_cache(maxsize=32)
def _update(learner: Neural) -> Callable[[Any, Batch], tuple[Any, dict[str, Any]]]:
    package, optax, optimiser = jax(), needed("optax"), _optimiser(learner)
    xp, loss = package.numpy, cross_entropy if learner.loss == "cross_entropy" else squared

    def mean_loss(layers: Any, batch: Batch) -> Any:
        scores = forward(xp, layers, batch.x)  # [M, b, k]
        taken = xp.take_along_axis(scores, batch.action[None, :, None], 2)[:, :, 0]  # [M, b]
        # Members are summed, not averaged: each learns as it would alone.
        return (loss(xp, taken, batch.y) * batch.weight.T).mean(1).sum()

    def update(state: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        layers, memory = state
        value, slope = package.value_and_grad(mean_loss)(layers, batch)
        change, memory = optimiser.update(slope, memory, layers)
        return (optax.apply_updates(layers, change), memory), {"loss": value / learner.members}

    return update
