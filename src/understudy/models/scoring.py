"""Many rows decided at once: probabilities, draws that depend on each row's key alone, and nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from understudy.core.hashing import fractions
from understudy.models.screen import probabilities
from understudy.ops import explore

CHUNK = 1024  # rows whose hidden layers stay in the cache


class Scored(NamedTuple):
    """What was drawn for n rows."""

    action: np.ndarray  # i32[n], or f32[n, q]
    propensity: np.ndarray  # f64[n]
    probs: np.ndarray | None  # f64[n, k]; None for continuous actions


class Scorer:
    """Decides on many rows: u = ``fractions`` of each row's key, then the inverse CDF of the policy's probabilities.

    Each row gets what it would get alone, up to the rounding of a matrix product.
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.probs = probabilities(policy) if hasattr(policy, "probs") else None

    def __call__(self, context: np.ndarray, keys: np.ndarray, allowed: np.ndarray | None = None) -> Scored:
        """Decide on context f32[n, d] with keys u64[n]; allowed bool[n, k]."""
        parts = []
        for i in range(0, len(context), CHUNK):
            rows = slice(i, i + CHUNK)
            parts.append(self._chunk(context[rows], keys[rows], None if allowed is None else allowed[rows]))
        action, propensity, probs = (np.concatenate(column) for column in zip(*parts))
        return Scored(action, propensity, None if self.probs is None else probs)

    def _chunk(self, context: np.ndarray, keys: np.ndarray, allowed: np.ndarray | None) -> tuple[np.ndarray, ...]:
        if self.probs is None:
            return *self.policy.act(context, Keyed(keys), allowed), np.empty(0)
        p = explore.check_pmf(self.probs(context, allowed), allowed)
        action = explore.draw(p, fractions(keys))
        return action, p[np.arange(len(p)), action], p


class Keyed:
    """What a policy over continuous actions asks of a generator, row by row from the rows' keys."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> np.ndarray:
        """U[low, high), f64 of shape ``size``, whose first axis is the rows."""
        width = int(np.prod(size[1:], dtype=int)) if isinstance(size, tuple) else 1
        u = np.stack([fractions(self.keys, salt=j) for j in range(width)], axis=1)
        return np.asarray(low) + (np.asarray(high) - np.asarray(low)) * u.reshape(size if size is not None else -1)

    def random(self, size: Any = None) -> np.ndarray:
        """U[0, 1)."""
        return self.uniform(size=size)

    def standard_normal(self, size: Any = None) -> np.ndarray:
        """N(0, 1), by the inverse of its distribution function; u is moved half a step off 0."""
        from scipy.special import ndtri

        return ndtri(self.uniform(size=size) + 2.0**-54)
