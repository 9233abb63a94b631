"""A Gaussian squashed into the box: y = tanh(μ + σz)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy.models import actor
from understudy.models.families.family import Params

EDGE = 0.999  # where a logged action at the end of the box is taken to lie when its likelihood is asked: u = ±3.8


@dataclass(frozen=True)
class Squashed:
    """y = tanh(u), u ~ N(μ, σ²); parameters (μ, log σ). See ``models.actor``, which serves it."""

    noise, located = "normal", True

    def outputs(self, q: int) -> int:
        """μ and log σ per dimension."""
        return 2 * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        return actor.gaussian(xp, scores, q, spread=spread)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        return actor.log_density(xp, xp.arctanh(xp.clip(y, -actor.INSIDE, actor.INSIDE)), *params)

    def likelihood(self, xp: Any, params: Params, y: Any) -> Any:
        """The ends of the box, which are infinitely far in u, count as ±EDGE."""
        return actor.log_density(xp, xp.arctanh(xp.clip(y, -EDGE, EDGE)), *params)

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        return xp.tanh(params[0] + xp.exp(params[1]) * noise)

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        """Without the way back from y to u, which loses digits at the ends."""
        mean, log_std = params
        raw = mean + xp.exp(log_std) * noise
        return xp.tanh(raw), actor.log_density(xp, raw, mean, log_std)

    def mode(self, xp: Any, params: Params) -> Any:
        return xp.tanh(params[0])

    def entropy(self, xp: Any, params: Params) -> Any:
        return None
