"""Tsallis advantage-weighted actor-critic: cloning, with weights that are 0 for what is clearly worse than π's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.learners import awac_continuous
from understudy.learners import continuous as c
from understudy.learners.discrete import one_of, within
from understudy.learners.gradient import GradientSettings, fit
from understudy.models.feature_map import FeatureMap
from understudy.ops import bellman


@dataclass(frozen=True)
class TAWAC(GradientSettings):
    """As ``awac`` over continuous actions, with w = min(exp_q(A/τ), clip), exp_q(u) = [1 + (q − 1)u]₊^(1/(q − 1)).

    q = 2: [1 + A/τ]₊, which drops every logged action that is worse than π's own by more than τ; q = 1: e^(A/τ).
    Fields, besides ``GradientSettings``:

        index: q. temperature: τ. clip: the largest weight. loss: ℓ, huber or squared.
        sample: act by drawing from π; false keeps close to its likeliest action.
        family: of the actor's distribution, see docs/families.md.

    Source: Zhu et al. 2024 (arXiv 2408.07245), section 4. Deviations: A is measured against the mean of draws from π,
    as in ``awac``, not against a value network; the lagged actor acts; Huber's loss is the default.
    """

    updates: int = 10_000
    decay: float = 0.3
    guidance: float = 0.98
    index: float = 2.0
    temperature: float = 0.5
    clip: float = 100.0
    loss: str = "huber"
    sample: bool = False
    family: str = "squashed"

    def __post_init__(self) -> None:
        super().__post_init__()
        c.family_of(self)
        one_of(self, "loss", *bellman.LOSSES)
        within(self, 1, 10, "index")
        within(self, 1e-6, 1e6, "temperature", "clip")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> c.Training:
        """The training before the first update."""
        return awac_continuous.init(self, problem, features, seed)

    @property
    def update(self) -> c.Update:
        """One step of Adam, and of the lagged networks."""
        return _update(self)

    def policy(self, state: c.Training, problem: Problem, features: FeatureMap) -> Policy:
        """The lagged actor."""
        return c.policy(self, state.lagged["actor"], problem, features, c.kept(self))


def weights(xp: Any, advantage: Any, index: float, temperature: float, clip: float) -> Any:
    """min(exp_q(A/τ), clip), q = index: f[b] → f[b].

    >>> import numpy as np
    >>> weights(np, np.array([-1.0, 0.0, 0.5]), 2.0, 0.5, 100.0).tolist()
    [0.0, 1.0, 2.0]
    """
    u = advantage / temperature
    if index == 1.0:
        return xp.exp(xp.minimum(u, xp.log(clip)))
    return xp.minimum(xp.maximum(1.0 + (index - 1.0) * u, 0.0) ** (1.0 / (index - 1.0)), clip)


@lru_cache(maxsize=32)
def _update(learner: TAWAC) -> c.Update:
    def weighing(xp: Any, advantage: Any) -> Any:
        return weights(xp, advantage, learner.index, learner.temperature, learner.clip)

    return awac_continuous.update(learner, weighing)
