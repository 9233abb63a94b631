"""Steps → a table of decisions, one row each, as a warehouse would hold it: what ``timeline`` reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Feature, Problem
from understudy.core.steps import Steps
from understudy.data.times import MICRO

FORMATS = (".csv", ".parquet", ".jsonl")
KEYS = ("episode_id", "sequence_number", "ds", "time", "policy_id", "action", "possible_actions", "propensity",
        "reward", "terminated", "truncated")  # fmt: skip


def decision_table(steps: Steps, problem: Problem, *, prefix: str = "e", policy_id: str = "") -> pa.Table:
    """A row per decision, in order; episode i is called ``<prefix>-<i>``.

    A truncated episode gets one row more, without an action: the context that followed its last step. ``ds`` is the
    day on which the episode began, so that no range of days cuts one.
    """
    source, closing = _rows(steps)
    episode = np.repeat(np.arange(steps.m), np.diff(steps.starts))[source]
    first = steps.starts[:-1][episode]
    number = source - first + closing
    columns: dict[str, Any] = {
        "episode_id": _named([f"{prefix}-{i:06d}" for i in range(steps.m)], episode),
        "sequence_number": pa.array(number, pa.int64()),
        "ds": _days(steps.time[first]),
        "time": pa.array(steps.time[source] + closing * _gap(steps), pa.timestamp("us")),
    }
    if policy_id:
        columns["policy_id"] = _named([policy_id], np.zeros(len(source), np.int64))
    context = steps.context[source]
    if closing.any():
        assert steps.final_context is not None, "_rows closes no episode without its final context"
        context[closing] = steps.final_context[episode[closing]]
    for j, feature in enumerate(problem.features):
        name = f"context.{feature.name}" if feature.name in (*KEYS, *problem.outcome_names) else feature.name
        columns[name] = _feature(feature, context[:, j])
    columns["action"] = _action(steps.action[source], problem, closing)
    if steps.allowed is not None:
        allowed, unknown = steps.allowed[source], closing
        if steps.final_allowed is not None:
            allowed[closing] = steps.final_allowed[episode[closing]]
            unknown = closing & ~allowed.any(1)
        columns["possible_actions"] = _allowed(allowed, problem.actions.names, unknown)
    if steps.propensity is not None:
        columns["propensity"] = pa.array(steps.propensity[source], mask=closing)
    for j, name in enumerate(problem.outcome_names):
        values = _outcomes(steps, problem)[source, j]
        columns[name] = pa.array(values, mask=closing | np.isnan(values))
    columns["terminated"] = steps.terminated[source] & ~closing
    columns["truncated"] = steps.truncated[source] & ~closing
    return pa.table(columns)


def write_table(table: pa.Table, file: str | Path) -> Path:
    """A table as CSV, Parquet or JSON lines, by the file's ending. Equal tables give equal bytes.

    Raises: ConfigError for another ending, or for vectors in a CSV.
    """
    file = Path(file)
    if file.suffix == ".parquet":
        parquet.write_table(table, file)
    elif file.suffix == ".jsonl":
        _write_lines(table, file)
    elif file.suffix == ".csv":
        lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
        if lists:
            raise ConfigError(
                f"a CSV holds no lists, and {lists[0]!r} is one", hint="Write .parquet or .jsonl.", field=lists[0]
            )
        csv.write_csv(table, file)
    else:
        raise ConfigError(f"{file.name} ends in none of {', '.join(FORMATS)}", field=str(file))
    return file


def _rows(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """The step behind each row of the table, and which rows only close a truncated episode."""
    last = steps.starts[1:] - 1
    cut = last[steps.truncated[last]] if steps.final_context is not None else last[:0]
    source = np.concatenate([np.arange(steps.n), cut])
    closing = np.arange(len(source)) >= steps.n
    order = np.argsort(source, kind="stable")
    return source[order], closing[order]


def _gap(steps: Steps) -> int:
    """Microseconds between two steps of an episode, for the moment after the last."""
    inner = np.setdiff1d(np.arange(1, steps.n), steps.starts)
    return int(np.median(np.diff(steps.time)[inner - 1])) if len(inner) else MICRO


def _named(names: list[str], codes: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string())).dictionary_decode()


def _days(time: np.ndarray) -> pa.Array:
    days, codes = np.unique(time // (86_400 * MICRO), return_inverse=True)
    return _named([f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}" for day in days.tolist()], codes)


def _feature(feature: Feature, column: np.ndarray) -> pa.Array:
    """As people write it: numbers, true and false, names of categories; null where missing."""
    missing = np.isnan(column)
    if feature.kind == "number":
        return pa.array(column, mask=missing)
    codes = np.where(missing, 0, column).astype(np.int32)
    if feature.kind == "boolean":
        return pa.array(codes != 0, mask=missing)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=missing), pa.array([*feature.values, "(other)"], pa.string())
    ).dictionary_decode()


def _action(action: np.ndarray, problem: Problem, closing: np.ndarray) -> pa.Array:
    """Names; one number, or a list of them, if continuous."""
    if problem.actions.discrete:
        codes = pa.array(action, pa.int32(), mask=closing)
        return pa.DictionaryArray.from_arrays(codes, pa.array(problem.actions.names)).dictionary_decode()
    if action.shape[1] == 1:
        return pa.array(action[:, 0], mask=closing)
    whole = pa.ListArray.from_arrays(
        pa.array(np.arange(len(action) + 1) * action.shape[1], pa.int32()), pa.array(action.ravel())
    )
    return _nulled(whole, closing)


def _allowed(allowed: np.ndarray, names: tuple[str, ...], closing: np.ndarray) -> pa.Array:
    lengths = np.concatenate([[0], np.cumsum(allowed.sum(1))])
    values = _named(list(names), np.nonzero(allowed)[1])
    return _nulled(pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), values), closing)


def _nulled(lists: pa.Array, closing: np.ndarray) -> pa.Array:
    rows = pa.array(np.arange(len(lists)), mask=closing)
    return lists.take(rows)


def _outcomes(steps: Steps, problem: Problem) -> np.ndarray:
    if steps.outcomes is not None:
        return steps.outcomes
    if problem.reward not in problem.outcome_names or len(problem.outcomes) > 1:
        raise DataError(f"the steps have a reward and no outcomes, and {problem.reward!r} cannot be undone")
    return steps.reward[:, None]


def _write_lines(table: pa.Table, file: Path) -> None:
    import msgspec

    encode = msgspec.json.Encoder().encode
    with file.open("wb") as out:
        for batch in table.to_batches(65_536):
            for row in batch.to_pylist():
                out.write(encode({key: value for key, value in row.items() if value is not None}) + b"\n")
