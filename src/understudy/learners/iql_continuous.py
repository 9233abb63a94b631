"""Implicit Q-learning over continuous actions: twin critics read the action, the actor is of any family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from understudy.core.problem import Problem
from understudy.learners import continuous as c
from understudy.learners.gradient import layers
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.ops.network import forward


def init(settings: Any, problem: Problem, features: FeatureMap, seed: int) -> c.Training:
    """The training before the first update."""
    q = c.critic_layers(settings, problem, features, seed)
    v = layers((features.width, *settings.hidden, 1), 1, [seed, 3])
    return c.begin(settings, problem, features, seed, {"q": q, "v": v})


def update(settings: Any, losses: Callable[..., tuple[Any, Any, Any]]) -> c.Update:
    """One step of Adam, and of the lagged networks; ``losses`` are those of ``iql``, of the logged actions' numbers."""
    package, family = jax(), c.family_of(settings)
    xp, still = package.numpy, package.lax.stop_gradient

    def objective(net: Any, lagged: Any, box: c.Box, key: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        y = c.unit(xp, batch.action, box)
        q = c.critics(xp, net["q"], batch.x, y)
        better = c.critics(xp, lagged["q"], batch.x, y).min(0)
        v, ahead = forward(xp, net["v"], batch.x)[0, :, 0], forward(xp, still(net["v"]), batch.next_x)[0, :, 0]
        likelihood = family.likelihood(xp, c.spoken(xp, family, net["actor"], batch.x, y.shape[-1]), y)
        value, critic, actor = losses(xp, q, better, v, ahead, likelihood, batch, settings=settings, still=still)
        return value + critic + actor, {"value": value, "critic": critic, "actor": actor, "q": q.mean()}

    return c.stepping(settings, objective)
