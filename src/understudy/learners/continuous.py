"""What learners of continuous actions share: the box, twin critics, and a distribution to draw from and to fit.

Within a learner an action is y = (a − middle)/half, in [−1, 1] per dimension; Q̂ reads (φ(x), y).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import Policy
from understudy.core.registry import find
from understudy.learners.discrete import drawing
from understudy.learners.gradient import GradientSettings, adam, descend, follow, layers, plain
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.actor import Actor, gaussian, log_density
from understudy.models.families.family import Family, Params
from understudy.models.families.policy import FamilyActor
from understudy.models.families.squashed import EDGE
from understudy.models.feature_map import FeatureMap
from understudy.ops import bellman
from understudy.ops.network import forward

Update = Callable[[Any, Any], tuple[Any, dict[str, Any]]]
Objective = Callable[..., tuple[Any, dict[str, Any]]]  # (layers, lagged, box, key, batch) → (loss, figures)
CLOSE = 0.1  # share of σ that a policy keeps which is asked for its likeliest action: it must have a density


class Box(NamedTuple):
    """The box of possible actions, as arrays of the training state."""

    middle: Any  # f32[q]
    half: Any  # f32[q]


class Training(NamedTuple):
    """Layers, their lagged copy, Adam's memory, the noise's key, and the box."""

    layers: Any
    lagged: Any
    memory: Any
    key: Any
    box: Box


def begin(settings: Any, problem: Problem, features: FeatureMap, seed: int, nets: dict[str, Any]) -> Training:
    """The training of an actor, and of other networks, before the first update."""
    inside, own = box(problem, settings), {"actor": actor_layers(settings, problem, features, seed, 0.0)} | nets
    return Training(own, copied(own), adam(settings).init(own), key(seed), inside)


def stepping(learner: GradientSettings, objective: Objective) -> Update:
    """One step of Adam down the objective, and of the lagged copy."""
    optimiser, package = adam(learner), jax()

    def update(state: Training, batch: Batch) -> tuple[Training, dict[str, Any]]:
        following, drawing = package.random.split(state.key)
        net, memory, (value, figures) = descend(
            optimiser, objective, state.layers, state.memory, state.lagged, state.box, drawing, batch
        )
        lagged = follow(state.lagged, net, learner.lag)
        return Training(net, lagged, memory, following, state.box), {"loss": value} | figures

    return update


def either(named: Update, continuous: Update) -> Update:
    """The update of a learner of both kinds of action: the minibatch's own actions tell which."""

    def update(state: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        return (named if batch.action.ndim == 1 else continuous)(state, batch)

    return update


def acting(settings: Any, net: Any, problem: Problem, features: FeatureMap) -> Policy:
    """The policy of an actor's layers, as ``sample`` and ``explore`` ask: of named actions, or of a box."""
    if problem.actions.discrete:
        return drawing(net, features, problem.actions.k, sample=settings.sample, explore=settings.explore)
    return policy(settings, net, problem, features, kept(settings))


def box(problem: Problem, settings: Any) -> Box:
    """The problem's box. Raises ConfigError where actions have names, or the settings ask for what a box has not."""
    who = type(settings).__name__
    if getattr(settings, "explore", 0):
        raise ConfigError(
            f"{who}: explore mixes in a uniform choice among named actions; these are continuous",
            hint="Take sample: true, which draws from the whole policy.",
            field="explore",
        )
    if problem.actions.discrete:
        raise ConfigError(
            f"{who} learns continuous actions; this problem has {problem.actions.k} named ones",
            hint="Choose a learner of named actions, such as dqn.",
            field="actions",
        )
    if getattr(settings, "soften", None):
        raise ConfigError(
            f"{who}: soften mixes in the mean value of the named actions; these are continuous",
            hint="Leave it out.",
            field="soften",
        )
    low, high = np.array(problem.actions.low, np.float32), np.array(problem.actions.high, np.float32)
    xp = jax().numpy
    return Box(xp.array((low + high) / 2), xp.array((high - low) / 2))


def unit(xp: Any, action: Any, box: Box) -> Any:
    """y in [−1, 1] of actions f[b, q]."""
    return xp.clip((action - box.middle) / box.half, -1.0, 1.0)


def actor_layers(settings: GradientSettings, problem: Problem, features: FeatureMap, seed: int, std: float) -> Any:
    """Layers of an actor to begin with; as many outputs as its family has, or q where σ is given (``std``)."""
    outputs = problem.actions.dims if std else family_of(settings).outputs(problem.actions.dims)
    return layers((features.width, *settings.hidden, outputs), 1, [seed, 2])


def critic_layers(
    settings: GradientSettings, problem: Problem, features: FeatureMap, seed: int, members: int = 2
) -> Any:
    """Layers of critics side by side to begin with."""
    return layers((features.width + problem.actions.dims, *settings.hidden, 1), members, [seed, 1])


def key(seed: int) -> Any:
    """Where the noise of a training begins: u32[2], so that it can lie in a checkpoint."""
    return jax().random.PRNGKey(seed)


def copied(tree: Any) -> Any:
    """A copy in buffers of its own."""
    return jax().tree.map(lambda leaf: leaf.copy(), tree)


def critics(xp: Any, net: Any, x: Any, y: Any) -> Any:
    """Q̂ of every critic: φ(x) f[b, d′], y f[b, q] → f[M, b]."""
    return forward(xp, net, xp.concatenate([x, y], -1))[..., 0]


def many(xp: Any, net: Any, x: Any, y: Any) -> Any:
    """Q̂ of every critic for S actions of every row: y f[S, b, q] → f[M, S, b]. What x contributes is computed once."""
    (w, b), rest, d = net[0], net[1:], x.shape[-1]
    first = (x @ w[:, :d] + b[:, None, :])[:, None] + xp.einsum("sbq,mqh->msbh", y, w[:, d:])
    if not rest:
        return first[..., 0]
    hidden = xp.maximum(first, 0).reshape(len(w), -1, w.shape[-1])
    return forward(xp, rest, hidden)[..., 0].reshape(len(w), *y.shape[:-1])


def moments(xp: Any, net: Any, x: Any, q: int) -> tuple[Any, Any]:
    """(μ, log σ) of an actor that learns both, each f[b, q]."""
    return gaussian(xp, forward(xp, net, x)[0], q)


def middle(xp: Any, net: Any, x: Any, q: int) -> Any:
    """y = tanh(μ) of an actor, f[b, q]: its action without noise."""
    return xp.tanh(gaussian(xp, forward(xp, net, x)[0], q, std=1.0)[0])


def drawn(xp: Any, mean: Any, log_std: Any, noise: Any) -> tuple[Any, Any]:
    """y = tanh(μ + σz) and its log density, for given z f[..., b, q]. Source: Haarnoja et al. 2018, equation 11."""
    raw = mean + xp.exp(log_std) * noise
    return xp.tanh(raw), log_density(xp, raw, mean, log_std)


def several(package: Any, key: Any, moments: tuple[Any, Any], draws: int) -> tuple[Any, Any]:
    """``draws`` of y per row, f[S, b, q], and their log densities f[S, b]; ``moments`` are (μ, log σ)."""
    return drawn(package.numpy, *moments, package.random.normal(key, (draws, *moments[0].shape)))


def likelihood(xp: Any, mean: Any, log_std: Any, y: Any) -> Any:
    """log density of given y f[b, q] → f[b]; the ends of the box, which are infinitely far in u, count as ±EDGE."""
    return log_density(xp, xp.arctanh(xp.clip(y, -EDGE, EDGE)), mean, log_std)


def family_of(settings: Any) -> Family:
    """The family of distributions that the settings name; unless they do, ``squashed``. ConfigError if unknown."""
    return find("families", getattr(settings, "family", "squashed"))()


def spoken(xp: Any, family: Family, net: Any, x: Any, q: int) -> Params:
    """The family's parameters that an actor gives, each f[b, q, …]."""
    return family.read(xp, forward(xp, net, x)[0], q)


def noise(package: Any, key: Any, family: Family, shape: tuple[int, ...]) -> Any:
    """What the family's draws are made from."""
    return (package.random.normal if family.noise == "normal" else package.random.uniform)(key, shape)


def tried(package: Any, key: Any, family: Family, params: Params, draws: int) -> Any:
    """``draws`` of y per row, f[S, b, q]."""
    return family.sample(package.numpy, params, noise(package, key, family, (draws, *params[0].shape[:2])))


def kept(settings: Any) -> float:
    """The share of σ a policy keeps: all of it to ``sample``, little of it otherwise."""
    return 1.0 if settings.sample else CLOSE


def target(settings: GradientSettings, batch: Batch, ahead: Any) -> Any:
    """y = R + γ^h·(1 − terminated)·V(x′), f[b]."""
    return settings.scale * batch.reward + batch.discount * ahead


def error(xp: Any, batch: Batch, q: Any, y: Any, loss: Any = bellman.squared) -> Any:
    """Σ_critics mean ℓ(Q(x, a) − y), ℓ(e) = e² unless given: q f[2, b], y f[b]."""
    return (batch.weight * loss(xp, q - y)).mean(-1).sum()


def actor(net: Any, problem: Problem, features: FeatureMap, *, std: float = 0.0, spread: float = 1.0) -> Actor:
    """The squashed Gaussian of an actor's layers."""
    low, high = np.array(problem.actions.low), np.array(problem.actions.high)
    return Actor(features, plain(net), low, high, std, spread)


def policy(settings: Any, net: Any, problem: Problem, features: FeatureMap, spread: float) -> Policy:
    """The policy of an actor's layers, in the family that the settings name."""
    family = getattr(settings, "family", "squashed")
    if family == "squashed":
        return actor(net, problem, features, spread=spread)
    low, high = np.array(problem.actions.low), np.array(problem.actions.high)
    return FamilyActor(features, plain(net), low, high, family, spread)
