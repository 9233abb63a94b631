"""TD3 with behavior cloning: the actor climbs Q̂ and stays near the actions of the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.learners import continuous as c
from understudy.learners.gradient import GradientSettings, fit
from understudy.learners.loop import jax
from understudy.learners.replay import Batch
from understudy.learners.td3 import Training, begin, made, sound, step
from understudy.models.actor import Actor
from understudy.models.feature_map import FeatureMap


@dataclass(frozen=True)
class TD3BC(GradientSettings):
    """As ``td3``, with the actor's loss −α·Q_1(x, π(x))/mean|Q_1| + ‖π(x) − a‖², a the logged action.

    Fields, besides those of ``td3``:

        alpha: α. Small stays with the log; on data of uniform actions, which nobody should imitate, take 40.

    Source: Fujimoto & Gu 2021, equation 5. Deviation: as ``td3``.
    """

    updates: int = 10_000
    batch: int = 256
    alpha: float = 2.5
    noise: float = 0.2
    clip: float = 0.5
    delay: int = 2
    std: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        sound(self, "td3_bc")
        if not 0 <= self.alpha < 1e6:
            raise ConfigError(f"td3_bc: alpha must be 0 or more; got {self.alpha}", field="alpha")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Actor:
        """The policy of a log. Equal data and seed give equal policies on the same machine."""
        return fit(self, data, seed=seed, progress=progress)  # type: ignore[return-value]

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """The training before the first update."""
        return begin(self, problem, features, seed)

    @property
    def update(self) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
        """One step of Adam for the critics; every ``delay`` of them one for the actor and the lagged copies."""
        return _update(self)

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Actor:
        """The lagged actor, with noise of ``std``."""
        return made(self, state, problem, features)


def near(xp: Any, q: Any, y: Any, logged: Any, size: Any, batch: Batch, alpha: float) -> Any:
    """The actor's loss: Q_1 f[b] at (x, π(x)), y = π(x) and ``logged`` f[b, q], size = mean|Q_1| held fixed."""
    stray = ((y - logged) ** 2).mean(-1)
    return (batch.weight * (stray - alpha * q / xp.maximum(size, 1e-6))).mean()


@lru_cache(maxsize=32)
def _update(learner: TD3BC) -> Callable[[Training, Batch], tuple[Training, dict[str, Any]]]:
    def guide(xp: Any, q: Any, y: Any, batch: Batch, box: c.Box) -> Any:
        size = jax().lax.stop_gradient(xp.abs(q).mean())
        return near(xp, q, y, c.unit(xp, batch.action, box), size, batch, learner.alpha)

    return step(learner, guide)
