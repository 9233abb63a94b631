"""steps.parquet → Steps: columns of a joined dataset as arrays, in batches that never cut an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from understudy.core.errors import StoreError
from understudy.core.hashing import mix
from understudy.core.problem import Problem
from understudy.core.steps import Origin, Steps, concat
from understudy.data.schema import FINAL_ALLOWED, action_columns, final_columns
from understudy.data.validate import hashed

STEPS = "steps.parquet"
JOINED = ["decision", "episode", "unit", "policy", "arrived", "delay"]  # what tells rows apart where join wrote them
PLACED = ["episode_id", "sequence", "unit_id", "policy_id"]  # and where a timeline did


def read_steps(path: Path, problem: Problem, optional: list[str], batch_size: int) -> Iterator[Steps]:
    """Steps in order. ``optional``: which of allowed, propensity and propensities every row has."""
    names = ["time", *action_columns(problem), *optional, "reward", "terminated", "truncated"]
    names += [f"context.{name}" for name in problem.feature_names]
    names += [f"outcome.{name}" for name in problem.outcome_names]
    there = set(column_names(path))
    names += JOINED if "decision" in there else PLACED
    masked = [FINAL_ALLOWED] if "allowed" in optional else []
    names += [name for name in ("span", *final_columns(problem), *masked) if name in there]
    batches = (as_steps(batch, problem, optional) for batch in _batches(path, batch_size, names) if batch.num_rows)
    yield from batches if problem.bandit else _whole_episodes(batches)


def as_steps(batch: pa.RecordBatch, problem: Problem, optional: list[str]) -> Steps:
    """One batch. Categories are codes, a missing outcome is NaN. The first and last episode may be cut."""

    def column(name: str) -> np.ndarray:
        return batch.column(name).to_numpy(zero_copy_only=False)

    def matrix(names: list[str], dtype: Any) -> np.ndarray:
        values = np.empty((batch.num_rows, len(names)), dtype)
        for j, name in enumerate(names):
            values[:, j] = column(name)
        return values

    n, k = batch.num_rows, problem.actions.k
    outcomes = matrix([f"outcome.{name}" for name in problem.outcome_names], np.float64)
    episode, unit, origin = _joined(column) if "decision" in batch.schema.names else _placed(batch, problem, outcomes)
    starts = np.arange(n) if problem.bandit else np.flatnonzero(np.r_[True, episode[1:] != episode[:-1]])
    starts = np.append(starts, n).astype(np.int64)
    final = [name for name in final_columns(problem) if name in batch.schema.names]
    masked = FINAL_ALLOWED in batch.schema.names
    return Steps(
        starts=starts,
        unit=unit[starts[:-1]],
        time=column("time"),
        context=matrix([f"context.{name}" for name in problem.feature_names], np.float32),
        action=column("action") if problem.actions.discrete else matrix(action_columns(problem), np.float32),
        reward=column("reward"),
        terminated=column("terminated"),
        truncated=column("truncated"),
        allowed=_matrix(batch.column("allowed"), k) if "allowed" in optional else None,
        propensity=column("propensity") if "propensity" in optional else None,
        propensities=_matrix(batch.column("propensities"), k) if "propensities" in optional else None,
        outcomes=outcomes,
        final_context=matrix(final, np.float32)[starts[1:] - 1] if final else None,
        final_allowed=_final_masks(batch.column(FINAL_ALLOWED), starts[1:] - 1, k) if masked else None,
        span=column("span") if "span" in batch.schema.names else None,
        origin=origin,
    )


def _joined(column: Callable[[str], np.ndarray]) -> tuple[np.ndarray, np.ndarray, Origin]:
    """(episode u64[n], unit u64[n], origin) as the join wrote them down."""
    origin = Origin(column("decision"), column("policy"), column("delay").astype(np.float64), column("arrived"))
    return column("episode"), column("unit"), origin


def _placed(batch: pa.RecordBatch, problem: Problem, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray, Origin]:
    """The same of a timeline, which keeps the ids as text, so that every engine can write it; outcomes are at hand."""
    episode, policy = hashed(batch.column("episode_id")), hashed(batch.column("policy_id"))
    unit = hashed(batch.column("unit_id")) if problem.unit == "unit" else episode
    sequence = batch.column("sequence").to_numpy().view(np.uint64)
    arrived = (~np.isnan(outcomes)).sum(1).astype(np.int32)
    delay = np.where(arrived > 0, 0.0, np.nan)
    return episode, unit, Origin(mix(episode ^ mix(sequence)), policy, delay, arrived)


def read_units(path: Path, problem: Problem) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(unit u64[n], bool[n] whether the row ends its episode) in batches: what the size of a slice needs."""
    placed = "unit_id" if problem.unit == "unit" else "episode_id"
    name = "unit" if "unit" in column_names(path) else placed
    for batch in _batches(path, 1 << 20, [name, "terminated", "truncated"]):
        unit, terminated, truncated = batch.columns
        ends = terminated.to_numpy(zero_copy_only=False) | truncated.to_numpy(zero_copy_only=False)
        yield hashed(unit) if pa.types.is_string(unit.type) else unit.to_numpy(), ends


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file, or of the files of a folder. Raises: StoreError if it cannot be read."""
    with _readable(path):
        return parquet.read_schema(_files(path)[0]).names


def _batches(path: Path, size: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the file, or of a folder's files in the order of their names."""
    with _readable(path):
        for part in _files(path):
            with parquet.ParquetFile(part, pre_buffer=False) as file:  # read ahead, it would all stay in memory
                yield from file.iter_batches(size, columns=columns)


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises: StoreError if it is missing, cut short, or lacks a column."""
    try:
        yield
    except (pa.ArrowException, OSError, IndexError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="Make the dataset again with understudy join or timeline."
        ) from error


def _matrix(column: pa.Array, k: int) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), k)


def _final_masks(column: pa.Array, last: np.ndarray, k: int) -> np.ndarray:
    """bool[m, k] of the rows ``last``; all where there is none, since nothing follows there."""
    masks, told = column.take(pa.array(last)), np.ones((len(last), k), bool)
    there = np.asarray(masks.is_valid())
    told[there] = _matrix(masks.drop_null(), k)
    return told


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
    final = {  # they stand in the episode's last row, so the part before has none
        name: np.delete(column, held.m - 1, axis=0)
        for name in ("final_context", "final_allowed")
        if (column := getattr(whole, name)) is not None
    }
    return whole.with_(starts=whole.starts[np.append(keep, True)], unit=whole.unit[keep], **final)
