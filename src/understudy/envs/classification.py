"""Any labelled data as a bandit whose truth is known: name the class, earn 1 if it is the right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.envs.population import Population


def classification(
    x: np.ndarray,
    y: np.ndarray,
    *,
    actions: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    noise: float = 0.0,
) -> Population:
    """A bandit from (X, y): x f[N, d], y i[N] in 0…k−1. One action per class; the right one earns 1, others 0.

    With ``noise`` η the reward is flipped with probability η: means η and 1 − η, rewards still 0 or 1.
    A class nobody belongs to is an action that never pays. Raises DataError for labels outside 0…k−1.
    """
    if not 0 <= noise < 0.5:
        raise ConfigError(f"noise must lie in [0, 0.5); got {noise}", field="noise")
    y = np.asarray(y)
    k = int(y.max()) + 1 if actions is None else len(actions)
    if len(x) != len(y) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= k:
        raise DataError(f"{len(x)} rows need {len(x)} whole labels from 0 to {k - 1}; got {len(y)}, {y.dtype}")
    names = tuple(actions) if actions is not None else tuple(str(label) for label in range(k))
    columns = tuple(features) if features is not None else tuple(f"x{i}" for i in range(x.shape[1]))
    problem = Problem(
        features=tuple(Feature(name=name) for name in columns),
        actions=ActionSpace(names=names),
        reward_range=(0.0, 1.0),
    )
    means = np.where(y[:, None] == np.arange(k), 1.0 - noise, noise)  # [N, k]
    return Population(problem, x, means, rewards="binary" if noise else "exact")


def digits(*, noise: float = 0.0) -> Population:
    """1,797 scanned digits of 8 × 8 grey values, ten actions. Ships with scikit-learn; no network needed."""
    from sklearn.datasets import load_digits

    x, y = (np.asarray(column) for column in load_digits(return_X_y=True))
    names = [f"pixel_{i // 8}_{i % 8}" for i in range(x.shape[1])]
    return classification(x, y, features=names, noise=noise)
