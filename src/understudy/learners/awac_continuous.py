"""Advantage-weighted actor-critic over continuous actions; what the policy itself is worth is a mean over draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from understudy.core.problem import Problem
from understudy.learners import continuous as c
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap
from understudy.ops import bellman

DRAWS = 4  # actions of the policy's own that a logged one is compared with


def init(settings: Any, problem: Problem, features: FeatureMap, seed: int) -> c.Training:
    """The training before the first update."""
    q = c.critic_layers(settings, problem, features, seed, getattr(settings, "critics", 2))
    return c.begin(settings, problem, features, seed, {"q": q})


def update(settings: Any, weights: Callable[..., Any], slow: bool = False) -> c.Update:
    """One step of Adam, and of the lagged networks: of ``awac`` and of ``crr``.

    ``weights``: (xp, A f[b]) → f[b]. ``slow``: the action bootstrapped from is the lagged actor's.
    """
    package, family = jax(), c.family_of(settings)
    xp, still = package.numpy, package.lax.stop_gradient

    def objective(net: Any, lagged: Any, box: c.Box, key: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        y = c.unit(xp, batch.action, box)
        here, there = package.random.split(key)
        params, q = c.spoken(xp, family, net["actor"], batch.x, y.shape[-1]), c.critics(xp, net["q"], batch.x, y)
        own = c.tried(package, here, family, still(params), DRAWS)
        advantage = still(q).min(0) - c.many(xp, still(net["q"]), batch.x, own).min(0).mean(0)
        chooser = lagged["actor"] if slow else still(net["actor"])
        next_y = c.tried(package, there, family, c.spoken(xp, family, chooser, batch.next_x, y.shape[-1]), 1)
        ahead = c.critics(xp, lagged["q"], batch.next_x, next_y[0]).min(0)
        weight = weights(xp, advantage)
        critic, actor = losses(xp, q, ahead, weight, family.likelihood(xp, params, y), batch, settings)
        return critic + actor, {"critic": critic, "actor": actor, "q": q.mean(), "weight": weight.mean()}

    return c.stepping(settings, objective)


def losses(xp: Any, q: Any, ahead: Any, weight: Any, likelihood: Any, batch: Batch, settings: Any) -> tuple[Any, Any]:
    """(critics' loss, actor's loss): q f[M, b] of logged actions, V(x′), their weights and log π(a|x), each f[b]."""
    critic = c.error(xp, batch, q, c.target(settings, batch, ahead), bellman.LOSSES[settings.loss])
    return critic, -(batch.weight * weight * likelihood).mean()
