"""Q̂ and visit ratios as solutions of linear systems, from sums over rows that add up fold by fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.problem import Problem
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap
from understudy.ope.following import Following

MOST_CELLS = 1_500  # pairs of state and action that a table may have: its system is solved densely


@dataclass(frozen=True)
class System:
    """A θ = b of one fold of rows, and Σ z per block, from which blocks that hold no row are filled in."""

    a: np.ndarray  # f64[k·p, k·p]
    b: np.ndarray  # f64[k·p]
    seen: np.ndarray  # f64[k, p] Σ z of the rows of each block; the last input is the constant
    n: float

    def __add__(self, other: System) -> System:
        return System(self.a + other.a, self.b + other.b, self.seen + other.seen, self.n + other.n)


def system(z: np.ndarray, following: np.ndarray, shares: np.ndarray, block: np.ndarray, reward: np.ndarray) -> System:
    """The temporal-difference system: A = Σ_i φ_i (φ_i − φ'_i)ᵀ, b = Σ_i φ_i r_i.

    Args:
        z: inputs with a constant last [n, p]; φ_i puts them into the block of row i's action.
        following: inputs of what follows each row [n, p].
        shares: γ^{span} π(a'|x') of every block [n, k]: φ'_i puts share · following into each.
    Source: Bradtke & Barto 1996, equation (11); Lagoudakis & Parr 2003, section 5.2, of a fixed stochastic policy.
    """
    k, p = shares.shape[1], z.shape[1]
    a, b, seen = np.zeros((k, p, k, p)), np.zeros((k, p)), np.zeros((k, p))
    for j in range(k):
        rows = np.flatnonzero(block == j)
        own = z[rows]
        a[j, :, j] = own.T @ own
        for i in range(k):
            a[j, :, i] -= own.T @ (shares[rows, i, None] * following[rows])
        b[j], seen[j] = own.T @ reward[rows], own.sum(0)
    return System(a.reshape(k * p, k * p), b.ravel(), seen, float(len(z)))


def solve(total: System, penalty: float) -> np.ndarray:
    """θ f64[k, p], ridge on all but constants; an action without data is worth the mean of all, as in ``Ridge``."""
    k, p = total.seen.shape
    free = np.arange(k * p) % p == p - 1
    a, b = total.a + np.diag(np.where(free, 0.0, penalty)), total.b.copy()
    for j in np.flatnonzero(total.seen[:, -1] == 0):
        row = j * p + p - 1
        a[row] = -total.seen.ravel() / total.n
        a[row, row] += 1.0
        b[row] = 0.0
    return solved(a, b).reshape(k, p)


def solved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a⁻¹ b; the shortest least-squares solution where a has no inverse."""
    try:
        found = np.linalg.solve(a, b)
        if np.isfinite(found).all() and np.abs(a @ found - b).max(initial=0.0) <= 1e-6 * (1 + np.abs(b).max(initial=0)):
            return found
    except np.linalg.LinAlgError:
        pass
    return np.linalg.lstsq(a, b, rcond=1e-12)[0]


def inputs(features: FeatureMap, context: np.ndarray) -> np.ndarray:
    """Model inputs with a constant 1 last. f32[n, d] → f64[n, d' + 1]."""
    return np.column_stack([features(context), np.ones(len(context))]).astype(np.float64)


@dataclass(frozen=True)
class States:
    """Contexts of categories and booleans as numbers of distinct states; a context never seen is −1."""

    radix: tuple[int, ...]
    codes: np.ndarray  # i64[S] sorted

    def index(self, context: np.ndarray) -> np.ndarray:
        """i64[n] in [−1, S)."""
        code = _code(context, self.radix)
        place = np.searchsorted(self.codes, code).clip(max=max(len(self.codes) - 1, 0))
        return np.where(self.codes[place] == code, place, -1)


def states(problem: Problem, steps: Steps, after: Following, k: int) -> States | None:
    """The states of a log; None if a feature is a number, or there are too many for a table."""
    if any(feature.kind == "number" for feature in problem.features):
        return None
    radix = tuple(len(feature.values) + 2 if feature.kind == "category" else 3 for feature in problem.features)
    if np.prod(np.array(radix, np.float64)) > 2**62:
        return None
    there = after.context[after.discount > 0]
    codes = np.unique(np.concatenate([_code(steps.context, radix), _code(there, radix)]))
    return States(radix, codes) if len(codes) * k <= MOST_CELLS else None


def _code(context: np.ndarray, radix: tuple[int, ...]) -> np.ndarray:
    code = np.zeros(len(context), np.int64)
    for column, size in zip(context.T, radix):
        code = code * size + np.where(np.isnan(column), size - 1, column).astype(np.int64)
    return code
