"""How far away the log last did the same: distances to the nearest logged context of every action. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.policies import Explore
from understudy.models.state import array, bad, nested, number, only, part, whole

FARTHEST = 1e6  # the distance, in units of ``near``, of an action that was never logged


@dataclass(frozen=True)
class NeighborModel:
    """−d_a(x) / near: d_a the distance of φ(x) to the nearest logged context in which a was taken."""

    features: FeatureMap
    points: np.ndarray  # f32[n, d′]
    action: np.ndarray  # i32[n]
    k: int
    near: float

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        x = self.features(context)
        away = np.full((len(x), self.k), FARTHEST)
        for a, tree in enumerate(self._trees):
            if tree is not None and len(x):
                away[:, a] = np.minimum(tree.query(x)[0] / self.near, FARTHEST)
        return -away

    @cached_property
    def _trees(self) -> list[Any]:
        from scipy.spatial import KDTree

        own = [self.points[self.action == a] for a in range(self.k)]
        return [KDTree(points) if len(points) else None for points in own]

    def state(self) -> State:
        own = nested("neighbors", {"k": self.k, "near": self.near}, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | {"points": self.points, "action": self.action})

    @classmethod
    def from_state(cls, state: State) -> NeighborModel:
        only(state, ["k", "near"], ["points", "action"], ["features"])
        features, k = FeatureMap.from_state(part(state, "features")), whole(state, "k", 1, 2**20)
        points = array(state, "points", (None, features.width), np.float32)
        action = array(state, "action", (len(points),), np.int32)
        if ((action < 0) | (action >= k)).any():
            raise bad("neighbors: an action lies outside the problem's")
        return cls(features, points, action, k, number(state, "near", 1e-12, 1e12))


@dataclass(frozen=True)
class Neighbors:
    """Which action would be taken here: P(a|x) ∝ exp(−d_a(x)/d̄), d_a the distance to the nearest context with a.

    d̄ is the mean distance from a logged context to its nearest other with the same action, times ``width``.
    ``most``: logged contexts that are kept, drawn at random beyond that.
    """

    width: float = 1.0
    most: int = 50_000

    def __post_init__(self) -> None:
        if not self.width > 0 or self.most < 2:
            raise ConfigError(f"neighbors: needs width > 0 and most ≥ 2; got {self.width}, {self.most}")

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> Explore:
        """The policy P(a|x). ``weight`` f64[n] is read as present or absent."""
        features = fit_feature_map(problem, [steps])
        rows = np.arange(steps.n) if weight is None else np.flatnonzero(weight > 0)
        if not len(rows):
            raise DataError("the rows to fit a classifier on have no weight", "Nothing can be learned from nothing.")
        if len(rows) > self.most:
            rows = np.sort(np.random.default_rng([seed, 3]).choice(rows, self.most, replace=False))
        points, action = features(steps.context[rows]), steps.action[rows].astype(np.int32)
        model = NeighborModel(features, points, action, problem.actions.k, 1.0)
        return Explore(NeighborModel(features, points, action, problem.actions.k, self._near(model)), "softmax", 1.0)

    def _near(self, model: NeighborModel) -> float:
        apart = [
            tree.query(tree.data, k=2)[0][:, 1] for tree in model._trees if tree is not None and len(tree.data) > 1
        ]
        mean = float(np.concatenate(apart).mean()) if apart else 1.0
        return self.width * mean if mean > 1e-9 else self.width
