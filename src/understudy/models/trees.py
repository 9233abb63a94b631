"""Tree ensembles as plain arrays, and a vectorised predictor that gives what their maker would have given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.state import array, bad, nested, only, part

LEAF = np.finfo(np.float64).max  # the threshold of a leaf: nothing lies beyond it, so a leaf leads to itself
ROUTED = 16  # from this many rows per node on, rows are sent down together
CHUNK = 1 << 18  # (row, tree) pairs walked at a time: what stays in the cache


class Tree(NamedTuple):
    """One tree as its maker laid it out: node 0 is the root; leaves have left = right = −1."""

    feature: np.ndarray  # i[N]
    threshold: np.ndarray  # f64[N] left if x ≤ threshold
    left: np.ndarray  # i[N]
    right: np.ndarray  # i[N]
    value: np.ndarray  # f64[N]
    missing_left: np.ndarray  # bool[N]


@dataclass(frozen=True)
class TreeModel:
    """Q̂(x, a) = base_a + scale · Σ_t value(leaf of φ(x) in tree t of action a).

    Nodes of all trees lie in one row of arrays; siblings are neighbors, so the next node is ``left + (x > threshold)``.
    """

    features: FeatureMap
    base: np.ndarray  # f64[k]
    scale: np.ndarray  # f64[1]
    roots: np.ndarray  # i32[k, T]
    feature: np.ndarray  # i32[N]
    threshold: np.ndarray  # f64[N]
    left: np.ndarray  # i32[N]
    value: np.ndarray  # f64[N]
    missing_left: np.ndarray  # bool[N]

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        x = self.features(context)
        if len(x) * self.roots.size > ROUTED * len(self.value):
            sums = np.stack([self._route(x, roots) for roots in self.roots], axis=1)
        else:
            sums = self._walk(x)
        return self.base + self.scale[0] * sums

    def members(self, context: np.ndarray) -> np.ndarray:
        """What each tree alone would predict, were it a mean of trees: f32[n, d] → f64[T, n, k]."""
        x = self.features(context)
        k, trees = self.roots.shape
        each = self.value[self._leaves(x, self.roots.ravel())].reshape(-1, k, trees)
        return self.base + self.scale[0] * trees * each.transpose(2, 0, 1)

    def _walk(self, x: np.ndarray) -> np.ndarray:
        """Σ over the trees of each action, f64[n, k]: every row in every tree at once, a level per turn."""
        k, trees = self.roots.shape
        rows = max(1, CHUNK // max(self.roots.size, 1))
        sums = np.zeros((len(x), k))
        for i in range(0, len(x), rows):
            leaf = self._leaves(x[i : i + rows], self.roots.ravel())
            sums[i : i + rows] = self.value[leaf].reshape(-1, k, trees).sum(2)
        return sums

    def _route(self, x: np.ndarray, roots: np.ndarray) -> np.ndarray:
        """The same sum for one action, f64[n], all rows sent down a tree together: faster for many rows."""
        total, columns = np.zeros(len(x)), np.asfortranarray(x)
        everybody = np.arange(len(x))
        for root in roots:
            waiting = [(int(root), everybody)]
            while waiting:
                node, rows = waiting.pop()
                left = int(self.left[node])
                if left == node or not len(rows):
                    total[rows] += self.value[node]
                    continue
                seen = columns[rows, self.feature[node]]
                beyond = seen > self.threshold[node]
                if not self.missing_left[node]:
                    beyond |= np.isnan(seen)
                waiting += [(left, rows[~beyond]), (left + 1, rows[beyond])]
        return total

    def _leaves(self, x: np.ndarray, roots: np.ndarray) -> np.ndarray:
        """The leaf of each row in each tree, i64[n, T]."""
        flat, width = np.ascontiguousarray(x).ravel(), x.shape[1]
        offset = np.arange(len(x), dtype=np.int64)[:, None] * width
        node = np.broadcast_to(roots.astype(np.int64), (len(x), len(roots)))
        gaps = bool(np.isnan(flat).any())
        for _ in range(self._depth):
            seen = flat[offset + self.feature[node]]
            beyond = seen > self.threshold[node]
            if gaps:
                beyond |= np.isnan(seen) & ~self.missing_left[node]
            node = self.left[node] + beyond
        return node

    @cached_property
    def _depth(self) -> int:
        level, depth = np.unique(self.roots), 0
        while True:
            inner = level[self.left[level] != level]
            if not len(inner):
                return depth
            level, depth = np.r_[self.left[inner], self.left[inner] + 1], depth + 1

    def state(self) -> State:
        own = nested("trees", {}, {"features": self.features.state()})
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return State(own.kind, own.config, own.arrays | arrays)

    @classmethod
    def from_state(cls, state: State) -> TreeModel:
        only(state, [], _ARRAYS, ["features"])
        features = FeatureMap.from_state(part(state, "features"))
        base = array(state, "base", (None,))
        value = array(state, "value", (None,))
        n = len(value)
        model = cls(
            features=features,
            base=base,
            scale=array(state, "scale", (1,)),
            roots=array(state, "roots", (len(base), None), np.int32),
            feature=array(state, "feature", (n,), np.int32),
            threshold=array(state, "threshold", (n,)),
            left=array(state, "left", (n,), np.int32),
            value=value,
            missing_left=array(state, "missing_left", (n,), np.bool_),
        )
        _sound(model)
        return model


_ARRAYS = ("base", "scale", "roots", "feature", "threshold", "left", "value", "missing_left")


def _sound(model: TreeModel) -> None:
    """Every node leads to itself or onwards, inside the arrays: a walk ends, and reads nothing else."""
    n, here = len(model.value), np.arange(len(model.value))
    leaf = model.left == here
    if n == 0 or ((model.roots < 0) | (model.roots >= n)).any():
        raise bad("trees: a root lies outside the nodes")
    if (~leaf & ((model.left <= here) | (model.left >= n - 1))).any() or (leaf & (model.threshold != LEAF)).any():
        raise bad("trees: a node does not lead onwards")
    if (leaf & model.missing_left.__invert__()).any():
        raise bad("trees: a leaf must keep missing values")
    if (~leaf & ((model.feature < 0) | (model.feature >= model.features.width))).any() or (
        model.feature[leaf] != 0
    ).any():
        raise bad("trees: a node reads a feature that is not there")


def gather(
    features: FeatureMap, trees: list[list[Tree]], base: np.ndarray, scale: float, *, one_hot: bool = False
) -> TreeModel:
    """One model of the trees of each action.

    trees[a] are the trees of action a. With ``one_hot`` there is one list of trees, grown on (φ(x), one-hot action):
    each is cut down, per action, to the splits that still depend on x, which predicts exactly the same.
    """
    width, k = features.width, len(base)
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("feature", "threshold", "left", "value", "missing_left")
    }
    roots, at = [], 0
    for a in range(k):
        row = []
        for tree in trees[0] if one_hot else trees[a]:
            laid = _lay_out(tree, at, _resolved(tree, width, a) if one_hot else np.arange(len(tree.value)))
            for name, column in laid.items():
                columns[name].append(column)
            row.append(at)
            at += len(laid["value"])
        roots.append(row)
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    return TreeModel(
        features=features,
        base=np.asarray(base, np.float64),
        scale=np.array([scale]),
        roots=np.asarray(roots, np.int32),
        **arrays,
    )


def _resolved(tree: Tree, width: int, action: int) -> np.ndarray:
    """Where each node really leads once the action is known: past every split on the one-hot action. i64[N]."""
    target = np.arange(len(tree.value))
    split = (tree.left >= 0) & (tree.feature >= width)
    on = (tree.feature - width == action).astype(np.float64)
    onwards = np.where(split, np.where(on <= tree.threshold, tree.left, tree.right), target)
    while split[target].any():
        target = onwards[target]
    return target


def _lay_out(tree: Tree, at: int, target: np.ndarray) -> dict[str, np.ndarray]:
    """The tree level by level, siblings side by side, its first node at index ``at``."""
    levels: list[dict[str, np.ndarray]] = []
    nodes, first = target[:1], at
    while len(nodes):
        inner = tree.left[nodes] >= 0
        here = first + np.arange(len(nodes))
        below = first + len(nodes)
        parents = nodes[inner]
        left = here.copy()
        left[inner] = below + 2 * np.arange(len(parents))
        levels.append(
            {
                "feature": np.where(inner, tree.feature[nodes], 0).astype(np.int32),
                "threshold": np.where(inner, tree.threshold[nodes], LEAF),
                "left": left.astype(np.int32),
                "value": tree.value[nodes].astype(np.float64),
                "missing_left": np.where(inner, tree.missing_left[nodes], True),
            }
        )
        nodes = target[np.column_stack([tree.left[parents], tree.right[parents]]).ravel()]
        first = below
    return {name: np.concatenate([level[name] for level in levels]) for name in levels[0]}
