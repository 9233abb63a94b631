"""A softmax over bins of the box: uniform within a bin, each bin as likely as it is learned to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.models.families.family import Params


@dataclass(frozen=True)
class Softmax:
    """π(y) = p_i·bins/2 in bin i of [−1, 1], p = softmax(s) per dimension; parameters (log p f[..., n, q, bins],).

    A draw by the inverse of the distribution function, which is continuous: slopes pass through it although the
    density has steps.
    """

    bins: int = 25
    noise, located = "uniform", False

    def outputs(self, q: int) -> int:
        """A score per bin and dimension."""
        return self.bins * q

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        """``spread`` divides scores by its square."""
        s = scores.reshape(*scores.shape[:-1], q, self.bins) / spread**2
        s = s - s.max(-1, keepdims=True)
        return (s - xp.log(xp.exp(s).sum(-1, keepdims=True)),)

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        at = xp.clip(xp.floor((y + 1.0) * (self.bins / 2)), 0, self.bins - 1).astype(np.int32)
        log_p = xp.broadcast_to(params[0], (*at.shape, self.bins))
        return (xp.take_along_axis(log_p, at[..., None], -1)[..., 0] + np.log(self.bins / 2)).sum(-1)

    likelihood = log_density

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        p = xp.broadcast_to(xp.exp(params[0]), (*noise.shape, self.bins))
        total = xp.cumsum(p, -1)
        target = noise * total[..., -1]
        at = (total[..., :-1] <= target[..., None]).sum(-1)
        own = xp.take_along_axis(p, at[..., None], -1)[..., 0]
        over = xp.take_along_axis(total, at[..., None], -1)[..., 0] - target
        inside = xp.clip(1.0 - over / xp.maximum(own, 1e-12), 0.0, 1.0)
        return xp.clip((at + inside) * (2 / self.bins) - 1.0, -1.0, 1.0)

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        y = self.sample(xp, params, noise)
        return y, self.log_density(xp, params, y)

    def mode(self, xp: Any, params: Params) -> Any:
        """The middle of the likeliest bin."""
        return (params[0].argmax(-1) + 0.5) * (2 / self.bins) - 1.0

    def entropy(self, xp: Any, params: Params) -> Any:
        """−Σ p log p + log of a bin's width, exact; the slope of a draw's log density would miss the steps."""
        return (-(xp.exp(params[0]) * params[0]).sum(-1) + np.log(2 / self.bins)).sum(-1)
