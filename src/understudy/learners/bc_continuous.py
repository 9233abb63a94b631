"""Behavior cloning over continuous actions: the squashed Gaussian under which the logged actions are likeliest."""

from __future__ import annotations

from typing import Any

from understudy.core.problem import Problem
from understudy.learners import continuous as c
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.feature_map import FeatureMap


def init(settings: Any, problem: Problem, features: FeatureMap, seed: int) -> c.Training:
    """The training before the first update."""
    return c.begin(settings, problem, features, seed, {})


def update(settings: Any) -> c.Update:
    """One step of Adam on −log π(a|x), and of the lagged network."""
    xp = jax().numpy

    def objective(net: Any, lagged: Any, box: c.Box, key: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        y = c.unit(xp, batch.action, box)
        likelihood = c.likelihood(xp, *c.moments(xp, net["actor"], batch.x, y.shape[-1]), y)
        return -(batch.weight * likelihood).mean(), {}

    return c.stepping(settings, objective)
