"""Conservative Q-learning over continuous actions: soft actor-critic whose critics do not flatter unlogged actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.core.problem import Problem
from understudy.learners import continuous as c
from understudy.learners import sac
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.models.actor import Actor
from understudy.models.feature_map import FeatureMap
from understudy.ops import bellman


def init(settings: Any, problem: Problem, features: FeatureMap, seed: int) -> sac.Training:
    """The training before the first update."""
    return sac.begin(settings, problem, features, seed, 0.0)


def update(settings: Any) -> c.Update:
    """One step of Adam, of the temperature, and of the lagged critics.

    The critics' loss is that of ``sac`` without the entropy in its target, and α·gap. The gap's sum over actions is an
    importance-weighted mean over ``draws`` each from the uniform, π(·|x) and π(·|x′).
    """
    package, draws, loss = jax(), settings.draws, bellman.LOSSES[settings.loss or "squared"]
    xp, frozen = package.numpy, package.lax.stop_gradient

    def objective(parameters: Any, state: Any, alpha: Any, key: Any, batch: Batch) -> tuple[Any, sac.Figures]:
        actor, critic = parameters
        here, there, wide, single = package.random.split(key, 4)
        y = c.unit(xp, batch.action, state.box)
        moments, q = c.moments(xp, actor, batch.x, y.shape[-1]), c.critics(xp, critic, batch.x, y)
        own, density = c.drawn(xp, *moments, package.random.normal(single, y.shape))
        near, near_density = c.several(package, here, frozen(moments), draws)
        far, far_density = c.several(package, there, c.moments(xp, frozen(actor), batch.next_x, y.shape[-1]), draws)
        anywhere = package.random.uniform(wide, near.shape, minval=-1.0, maxval=1.0)
        even = xp.full(near_density.shape, -y.shape[-1] * np.log(2.0))
        tried = c.many(xp, critic, batch.x, xp.concatenate([anywhere, near, far]))
        conservative = gap(xp, q, tried, xp.concatenate([even, near_density, far_density]), batch)
        ahead = c.critics(xp, state.lagged, batch.next_x, far[0])
        wrong = c.error(xp, batch, q, c.target(settings, batch, ahead.min(0)), loss)
        effort = sac.actor_loss(c.critics(xp, frozen(critic), batch.x, own), density, alpha, batch)
        figures = {"loss": wrong, "q": q.mean(), "gap": conservative, "entropy": -density.mean()}
        return wrong + settings.alpha * conservative + effort, figures

    return sac.step(settings, objective, 0.0)


def gap(xp: Any, q: Any, tried: Any, density: Any, batch: Batch) -> Any:
    """Σ_i mean(log ∫ e^{Q_i(x, y)} dy − Q_i(x, a)), the integral estimated by mean_s e^{Q_i(x, y_s) − log p_s}.

    q f[2, b] of logged actions, tried f[2, S, b] of draws, density f[S, b] their log p.
    """
    scores = tried - density
    top = scores.max(1)
    whole = top + xp.log(xp.exp(scores - top[:, None]).mean(1))
    return (batch.weight * (whole - q)).mean(-1).sum()


def policy(settings: Any, state: sac.Training, problem: Problem, features: FeatureMap) -> Actor:
    """The actor."""
    return c.actor(state.actor, problem, features)
