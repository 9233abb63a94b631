"""steps.parquet → Steps: columns of a joined dataset as arrays, in batches that never cut an episode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from understudy.core.errors import StoreError
from understudy.core.problem import Problem
from understudy.core.steps import Origin, Steps, concat
from understudy.data.schema import action_columns

STEPS = "steps.parquet"


def read_steps(path: Path, problem: Problem, optional: list[str], batch_size: int) -> Iterator[Steps]:
    """Steps in order. ``optional``: which of allowed, propensity and propensities every row has."""
    names = ["decision", "episode", "unit", "time", "policy", *action_columns(problem), *optional, "reward", "arrived"]
    names += ["delay", "terminated", "truncated"]
    names += [f"context.{name}" for name in problem.feature_names] + [
        f"outcome.{name}" for name in problem.outcome_names
    ]
    batches = (as_steps(batch, problem, optional) for batch in _batches(path, batch_size, names) if batch.num_rows)
    yield from batches if problem.bandit else _whole_episodes(batches)


def as_steps(batch: pa.RecordBatch, problem: Problem, optional: list[str]) -> Steps:
    """One batch. Categories are codes, a missing outcome is NaN. The first and last episode may be cut."""

    def column(name: str) -> np.ndarray:
        return batch.column(name).to_numpy(zero_copy_only=False)

    n = batch.num_rows
    episode, unit = column("episode"), column("unit")
    starts = np.arange(n) if problem.bandit else np.flatnonzero(np.r_[True, episode[1:] != episode[:-1]])
    actions = [column(name) for name in action_columns(problem)]
    context = np.empty((n, len(problem.features)), np.float32)
    for j, name in enumerate(problem.feature_names):
        context[:, j] = column(f"context.{name}")
    outcomes = np.column_stack([column(f"outcome.{name}").astype(np.float64) for name in problem.outcome_names])
    k = problem.actions.k
    return Steps(
        starts=np.append(starts, n).astype(np.int64),
        unit=unit[starts],
        time=column("time"),
        context=context,
        action=actions[0] if problem.actions.discrete else np.column_stack(actions),
        reward=column("reward"),
        terminated=column("terminated"),
        truncated=column("truncated"),
        allowed=_matrix(batch.column("allowed"), k) if "allowed" in optional else None,
        propensity=column("propensity") if "propensity" in optional else None,
        propensities=_matrix(batch.column("propensities"), k) if "propensities" in optional else None,
        outcomes=outcomes,
        origin=Origin(column("decision"), column("policy"), column("delay").astype(np.float64), column("arrived")),
    )


def read_units(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(unit u64[n], bool[n] whether the row ends its episode) in batches: what the size of a slice needs."""
    for batch in _batches(path, 1 << 20, ["unit", "terminated", "truncated"]):
        unit, terminated, truncated = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        yield unit, terminated | truncated


def _batches(path: Path, size: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the file. Raises: StoreError if it is missing, cut short, or lacks a column."""
    try:
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(size, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="Make the dataset again with understudy join."
        ) from error


def _matrix(column: pa.Array, k: int) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), k)


def _whole_episodes(batches: Iterator[Steps]) -> Iterator[Steps]:
    """Hold back the last episode of each batch, and put it before the next one."""
    held: Steps | None = None
    for steps in batches:
        steps = _glue(held, steps)
        keep = np.arange(steps.m) < steps.m - 1
        held = steps.episodes(~keep)
        if keep.any():
            yield steps.episodes(keep)
    if held is not None:
        yield held


def _glue(held: Steps | None, steps: Steps) -> Steps:
    if held is None:
        return steps
    whole = concat([held, steps])
    if held.terminated[-1] or held.truncated[-1]:
        return whole
    keep = np.arange(whole.m) != held.m  # the first episode of ``steps`` goes on where ``held`` stopped
    return whole.with_(starts=whole.starts[np.append(keep, True)], unit=whole.unit[keep])
