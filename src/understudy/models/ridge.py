"""Ridge regression of the reward, closed form: one pass over the data, mergeable sums, weights per row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.state import array, nested, only, part

Scan = Callable[[], Iterator[Steps]]


@dataclass(frozen=True)
class LinearModel:
    """Q̂(x, a) = intercept_a + φ(x)·coef_a, φ the feature map."""

    features: FeatureMap
    coef: np.ndarray  # f64[k, d′]
    intercept: np.ndarray  # f64[k]

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        return self.features(context).astype(np.float64) @ self.coef.T + self.intercept

    def state(self) -> State:
        whole = nested("linear", {}, {"features": self.features.state()})
        return State(whole.kind, whole.config, whole.arrays | {"coef": self.coef, "intercept": self.intercept})

    @classmethod
    def from_state(cls, state: State) -> LinearModel:
        only(state, [], ["coef", "intercept"], ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        intercept = array(state, "intercept", (None,))
        return cls(features, array(state, "coef", (len(intercept), features.width)), intercept)


@dataclass(frozen=True)
class Sums:
    """Weighted sums per action of z zᵀ and z r, with z = (φ(x), 1); mergeable by ``+``."""

    gram: np.ndarray  # f64[k, d′+1, d′+1]
    cross: np.ndarray  # f64[k, d′+1]

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.cross + other.cross)


@dataclass(frozen=True)
class Ridge:
    """Ridge regression per action: argmin Σ w (r − b − φ(x)·β)² + penalty·‖β‖², the intercept b free.

    An action without data predicts the mean reward of the log, so it is neither sought nor shunned.
    ``shared`` adds one coefficient vector common to all actions (β_a = β + δ_a, both penalised), which pools what
    actions have in common; its intercepts are shrunk towards the common one. ``signed_log``, ``quadratic``: see
    ``feature_map.fit_feature_map``.
    Source: Hoerl & Kennard 1970, equation 2.1.
    """

    penalty: float = 1.0
    shared: bool = False
    signed_log: bool = False
    quadratic: bool = False

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ConfigError(f"ridge: penalty must be > 0; got {self.penalty}", field="penalty")

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> LinearModel:
        """The model of steps in memory; ``weight`` f64[n] ≥ 0, all 1 if None. Deterministic: the seed is unused."""
        features = fit_feature_map(problem, [steps], self.signed_log, self.quadratic)
        return self.solve(features, sums(features, steps, problem.actions.k, weight))

    def fit_scan(self, scan: Scan, problem: Problem, *, seed: int = 0) -> LinearModel:
        """The same model from batches: one pass for the features, one for the sums."""
        features = fit_feature_map(problem, scan(), self.signed_log, self.quadratic)
        total: Sums | None = None
        for batch in scan():
            own = sums(features, batch, problem.actions.k, None)
            total = own if total is None else total + own
        assert total is not None
        return self.solve(features, total)

    def solve(self, features: FeatureMap, total: Sums) -> LinearModel:
        """The coefficients that the sums imply."""
        if not total.gram[:, -1, -1].sum() > 0:
            raise DataError("the rows to fit ridge on have no weight", "Nothing can be learned from nothing.")
        theta = _pooled(total, self.penalty) if self.shared else _disjoint(total, self.penalty)
        return LinearModel(features, np.ascontiguousarray(theta[:, :-1]), np.ascontiguousarray(theta[:, -1]))


def sums(features: FeatureMap, steps: Steps, k: int, weight: np.ndarray | None) -> Sums:
    """The sums of one batch."""
    z = np.column_stack([features(steps.context), np.ones(steps.n)]).astype(np.float64)  # [n, d'+1]
    w = np.ones(steps.n) if weight is None else weight
    gram, cross = np.zeros((k, z.shape[1], z.shape[1])), np.zeros((k, z.shape[1]))
    for a in range(k):
        rows = steps.action == a
        za = z[rows] * w[rows, None]
        gram[a], cross[a] = za.T @ z[rows], za.T @ steps.reward[rows]
    return Sums(gram, cross)


def _disjoint(total: Sums, penalty: float) -> np.ndarray:
    k, p = total.cross.shape
    count = total.gram[:, -1, -1]
    theta = np.zeros((k, p))
    theta[:, -1] = total.cross[:, -1].sum() / count.sum()
    ridge = np.diag([penalty] * (p - 1) + [0.0])
    for a in np.flatnonzero(count > 0):
        theta[a] = np.linalg.solve(total.gram[a] + ridge, total.cross[a])
    return theta


def _pooled(total: Sums, penalty: float) -> np.ndarray:
    """Unknowns: the common vector with a free intercept, then one deviation per action, all penalised."""
    k, p = total.cross.shape
    size = p * (k + 1)
    gram, cross = np.zeros((size, size)), np.zeros(size)
    gram[:p, :p], cross[:p] = total.gram.sum(0), total.cross.sum(0)
    for a in range(k):
        block = slice(p * (a + 1), p * (a + 2))
        gram[block, block] = gram[:p, block] = gram[block, :p] = total.gram[a]
        cross[block] = total.cross[a]
    gram[np.diag_indices(size)] += np.where(np.arange(size) == p - 1, 0.0, penalty)
    solution = np.linalg.solve(gram, cross).reshape(k + 1, p)
    return solution[:1] + solution[1:]
