"""Regressors and a classifier that scikit-learn grows and plain arrays keep: it is imported inside ``fit`` only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.policies import Explore
from understudy.models.trees import Tree, TreeModel, gather

CHECKED = 256  # rows on which the arrays must predict what the maker predicts
Grow = Callable[[np.ndarray, np.ndarray, np.ndarray | None, int], Any]


@dataclass(frozen=True)
class Forest:
    """Random forest regression of the reward (Breiman 2001): the mean of trees grown on bootstrapped rows.

    ``pooled``: one forest on context and one-hot action; otherwise one forest per action. Each tree alone is a
    plausible model, which is what the exploration rule ``votes`` draws on.
    """

    trees: int = 50
    min_leaf: int = 1
    max_features: float = 1.0
    pooled: bool = True

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> TreeModel:
        """The model of steps in memory; ``weight`` f64[n] ≥ 0."""
        _at_least_one("forest", trees=self.trees, min_leaf=self.min_leaf)

        def grow(x: np.ndarray, y: np.ndarray, w: np.ndarray | None, salt: int) -> Any:
            from sklearn.ensemble import RandomForestRegressor

            return RandomForestRegressor(
                self.trees,
                min_samples_leaf=self.min_leaf,
                max_features=self.max_features,
                random_state=_salted(seed, salt),
                n_jobs=1,
            ).fit(x, y, w)

        return _regress(
            steps, problem, weight, grow, lambda made: [_tree(t.tree_) for t in made.estimators_], self.pooled
        )


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient boosting of the reward on binned features (Friedman 2001; histograms as in LightGBM, Ke et al. 2017).

    ``pooled``: one model on context and one-hot action; otherwise one per action.
    """

    rounds: int = 100
    learning_rate: float = 0.1
    leaves: int = 31
    min_leaf: int = 20
    penalty: float = 0.0
    pooled: bool = True

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> TreeModel:
        """The model of steps in memory; ``weight`` f64[n] ≥ 0."""
        _at_least_one("trees", rounds=self.rounds, leaves=self.leaves - 1, min_leaf=self.min_leaf)

        def grow(x: np.ndarray, y: np.ndarray, w: np.ndarray | None, salt: int) -> Any:
            from sklearn.ensemble import HistGradientBoostingRegressor
            from threadpoolctl import threadpool_limits

            with threadpool_limits(1, user_api="openmp"):
                return HistGradientBoostingRegressor(
                    max_iter=self.rounds,
                    learning_rate=self.learning_rate,
                    max_leaf_nodes=self.leaves,
                    min_samples_leaf=self.min_leaf,
                    l2_regularization=self.penalty,
                    early_stopping=False,  # pyright: ignore[reportArgumentType]
                    random_state=_salted(seed, salt),
                ).fit(x, y, w)

        return _regress(steps, problem, weight, grow, _boosted, self.pooled)


@dataclass(frozen=True)
class ForestClassifier:
    """Random forest classification of the logged action: P(a|x) is the mean of the leaves' shares."""

    trees: int = 50
    min_leaf: int = 1
    max_features: float = 0.5

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> Explore:
        """The policy P(a|x), restricted to the allowed actions."""
        from sklearn.ensemble import RandomForestClassifier

        _at_least_one("forest classifier", trees=self.trees, min_leaf=self.min_leaf)
        features, x, kept, w = _ready(steps, problem, weight)
        made = RandomForestClassifier(
            self.trees,
            min_samples_leaf=self.min_leaf,
            max_features=self.max_features,  # pyright: ignore[reportArgumentType]
            random_state=_salted(seed, 0),
            n_jobs=1,
        ).fit(x, steps.action[kept], w)
        shares: list[list[Tree]] = [[] for _ in range(problem.actions.k)]
        nothing = _stump(0.0)
        for a in range(problem.actions.k):
            where = np.flatnonzero(made.classes_ == a)
            for t in made.estimators_:
                shares[a].append(_tree(t.tree_, int(where[0])) if len(where) else nothing)
        model = gather(features, shares, np.zeros(problem.actions.k), 1 / self.trees)
        return Explore(model, "proportional")


def _ready(
    steps: Steps, problem: Problem, weight: np.ndarray | None
) -> tuple[FeatureMap, np.ndarray, np.ndarray, np.ndarray | None]:
    """Features of the rows that weigh anything: (map, x f32[n′, d′], which rows bool[n], their weights)."""
    kept = np.ones(steps.n, bool) if weight is None else weight > 0
    if not kept.any():
        raise DataError("the rows to grow trees on have no weight", "Nothing can be learned from nothing.")
    features = fit_feature_map(problem, [steps])
    return features, features(steps.context[kept]), kept, None if weight is None else weight[kept]


def _regress(
    steps: Steps,
    problem: Problem,
    weight: np.ndarray | None,
    grow: Grow,
    read: Callable[[Any], tuple[list[Tree], float, float] | list[Tree]],
    pooled: bool,
) -> TreeModel:
    """Grow pooled trees, or trees per action, and keep them as arrays. An action without data predicts the mean."""
    features, x, kept, w = _ready(steps, problem, weight)
    y, action, k = steps.reward[kept], steps.action[kept], problem.actions.k
    if pooled:
        wide = np.hstack([x, np.eye(k, dtype=np.float32)[action]])
        made = grow(wide, y, w, 0)
        trees, base, scale = _read(read, made)
        model = gather(features, [trees], np.full(k, base), scale, one_hot=True)
        _agree(model, steps.context[kept], action, made, wide)
        return model
    grown: list[list[Tree]] = []
    bases, scale, size = np.full(k, np.average(y, weights=w)), 1.0, 1
    for a in range(k):
        own = action == a
        if own.any():
            made = grow(x[own], y[own], None if w is None else w[own], a)
            trees, bases[a], scale = _read(read, made)
            size = len(trees)
            grown.append(trees)
        else:
            grown.append([])
    grown = [trees or [_stump(0.0)] * size for trees in grown]
    return gather(features, grown, bases, scale)


def _read(read: Callable[[Any], Any], made: Any) -> tuple[list[Tree], float, float]:
    """(trees, base, scale) of what was grown; a bare list of trees is a mean of them."""
    found = read(made)
    return found if isinstance(found, tuple) else (found, 0.0, 1 / len(found))


def _tree(grown: Any, column: int = 0) -> Tree:
    """scikit-learn's ``tree_`` as arrays; ``column`` is the class whose share is the value."""
    return Tree(
        feature=np.asarray(grown.feature),
        threshold=np.asarray(grown.threshold),
        left=np.asarray(grown.children_left, np.int64),
        right=np.asarray(grown.children_right, np.int64),
        value=np.asarray(grown.value)[:, 0, column],
        missing_left=np.asarray(grown.missing_go_to_left, bool),
    )


def _boosted(made: Any) -> tuple[list[Tree], float, float]:
    """The trees of a histogram booster. Their layout is no public interface: ``_agree`` checks what comes of it."""
    trees = []
    for stage in made._predictors:
        nodes = stage[0].nodes
        leaf = nodes["is_leaf"].astype(bool)
        left = np.where(leaf, -1, nodes["left"].astype(np.int64))
        right = np.where(leaf, -1, nodes["right"].astype(np.int64))
        trees.append(
            Tree(
                feature=nodes["feature_idx"].astype(np.int64),
                threshold=nodes["num_threshold"],
                left=left,
                right=right,
                value=nodes["value"],
                missing_left=nodes["missing_go_to_left"].astype(bool),
            )
        )
    return trees, float(np.ravel(made._baseline_prediction)[0]), 1.0


def _stump(value: float) -> Tree:
    """A tree that always says ``value``."""
    none = np.array([-1])
    return Tree(np.zeros(1, np.int64), np.zeros(1), none, none, np.array([value]), np.ones(1, bool))


def _agree(model: TreeModel, context: np.ndarray, action: np.ndarray, made: Any, x: np.ndarray) -> None:
    """Refuse arrays that do not predict what their maker predicts on the first rows."""
    ours = model.values(context[:CHECKED])[np.arange(min(CHECKED, len(context))), action[:CHECKED]]
    theirs = made.predict(x[:CHECKED])
    off = float(np.abs(ours - theirs).max())
    if off > 1e-6 * max(1.0, float(np.abs(theirs).max())):
        raise ConfigError(
            f"trees kept as arrays differ from scikit-learn's predictions by {off:.2e}",
            "This version of scikit-learn lays its trees out differently.",
            "Use another model (forest, ridge), or install a scikit-learn this release was tested with.",
        )


def _salted(seed: int, salt: int) -> int:
    return int(np.random.SeedSequence([seed, salt]).generate_state(1)[0])


def _at_least_one(what: str, **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{what}: {name} is too small ({value})", field=name)
