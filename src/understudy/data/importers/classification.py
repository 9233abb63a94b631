"""Labelled data as a bandit log: the action is a guess of the label, the reward is 1 if it is right.

Source: Beygelzimer & Langford 2009, "The offset tree for learning with partial labels".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.importers.imported import Imported
from understudy.data.importers.sapr import _table
from understudy.data.validate import listed

BEHAVIORS = ("uniform", "epsilon")


def classification(
    path: str | Path | pa.Table, *, label: str | int = -1, behavior: str = "uniform", epsilon: float = 0.2,
    noise: float = 0.3, seed: int = 0,
) -> Imported:  # fmt: skip
    """A bandit log from a table of features and a label, under a behavior policy whose propensities are exact.

    Args:
        path: CSV or Parquet file with a header, numbers separated by spaces without one, or an Arrow table.
        label: column of the label, by name or place.
        behavior: ``uniform``; or ``epsilon``: π(a) = (1 − ε) 1[a = g] + ε/k around a guess g, which is the label
            with probability 1 − noise and any class else.
    """
    if behavior not in BEHAVIORS:
        raise ConfigError(f"unknown behavior {behavior!r}", hint=f"Choose one of {', '.join(BEHAVIORS)}.")
    if not 0 < epsilon <= 1:
        raise ConfigError(
            f"epsilon must be in (0, 1]; got {epsilon}", "At 0 some action has no chance, so no estimate."
        )
    features, labels, names = _split(path, label)
    classes, truth = np.unique(labels, return_inverse=True)  # truth i64[n]
    n, k, rng = len(truth), len(classes), np.random.default_rng(seed)
    if k < 2:
        raise DataError(f"the label has {k} class; a choice needs two")
    p = np.full((n, k), 1 / k)
    if behavior == "epsilon":
        guess = np.where(rng.random(n) < noise, rng.integers(0, k, n), truth)
        p = np.full((n, k), epsilon / k)
        p[np.arange(n), guess] += 1 - epsilon
    action = np.minimum((p.cumsum(1) < rng.random(n)[:, None]).sum(1), k - 1)
    ids, actions = [f"row-{i:07d}" for i in range(n)], [str(name) for name in classes]
    decisions = pa.table(
        {
            "decision_id": ids, "time": np.arange(n, dtype=np.float64), "action": [actions[a] for a in action],
            "propensity": p[np.arange(n), action], "propensities": listed(p, np.zeros(n, bool), pa.float64()),
        }
        | {f"context.{name}": features[:, j] for j, name in enumerate(names)}
    )  # fmt: skip
    outcomes = pa.table({
        "decision_id": ids, "time": np.arange(n, dtype=np.float64), "name": ["reward"] * n,
        "value": (action == truth).astype(np.float64),
    })  # fmt: skip
    problem = Problem(features=tuple(Feature(name=name) for name in names), actions=ActionSpace(names=tuple(actions)))
    return Imported(problem, decisions, outcomes)


def _split(path: Any, label: str | int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(features f64[n, d], labels [n], names of the features)."""
    if isinstance(path, pa.Table) or Path(path).suffix in (".csv", ".parquet") or str(path).endswith(".csv.gz"):
        table = _table(path)
        chosen = table.column_names[label] if isinstance(label, int) else label
        if chosen not in table.column_names:
            raise ConfigError(f"no column is called {chosen!r}", hint=f"There are: {', '.join(table.column_names)}")
        names = [name for name in table.column_names if name != chosen]
        try:
            columns = [table[name].cast(pa.float64()).to_numpy() for name in names]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"features must be numbers: {error}") from error
        return np.column_stack(columns), np.asarray(table[chosen].to_pylist()), names
    try:
        values = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a table of numbers separated by spaces: {error}") from error
    place = int(label) % values.shape[1]
    rest = np.delete(values, place, axis=1)
    return rest, values[:, place].astype(np.int64), [f"x{j + 1}" for j in range(rest.shape[1])]
