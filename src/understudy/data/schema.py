"""The columns of a log and of a dataset, by problem: names, types, order."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem


def decision_schema(problem: Problem) -> pa.Schema:
    """decisions.parquet. ``key``, ``episode``, ``unit`` and ``policy`` are stable hashes of the texts beside them."""
    return pa.schema(
        [
            ("key", pa.uint64()),
            ("decision_id", pa.string()),
            ("episode", pa.uint64()),
            ("episode_id", pa.string()),
            ("t", pa.int32()),
            ("unit", pa.uint64()),
            ("unit_id", pa.string()),
            ("time", pa.int64()),  # microseconds since 1970 UTC
            ("policy", pa.uint64()),
            ("policy_id", pa.string()),
            *((name, pa.int32() if problem.actions.discrete else pa.float32()) for name in action_columns(problem)),
            ("allowed", pa.list_(pa.bool_())),
            ("propensity", pa.float64()),
            ("propensities", pa.list_(pa.float64())),
            *((f"context.{name}", pa.float32()) for name in problem.feature_names),
        ]
    )


def outcome_schema() -> pa.Schema:
    """outcomes.parquet. ``dedup`` is the same for every copy of one outcome; ``name`` is its place in the problem."""
    return pa.schema(
        [
            ("key", pa.uint64()),
            ("decision_id", pa.string()),
            ("name", pa.int16()),
            ("time", pa.int64()),
            ("value", pa.float64()),
            ("outcome_id", pa.string()),
            ("dedup", pa.uint64()),
        ]
    )


def quarantine_schema() -> pa.Schema:
    """quarantine.parquet: where a row stood, what it was taken for, why it was set aside, and what it said."""
    return pa.schema(
        [
            ("source", pa.string()),
            ("line", pa.int64()),
            ("kind", pa.string()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("raw", pa.string()),
        ]
    )


PLACE = [("source", pa.int32()), ("line", pa.int64())]


def staged(schema: pa.Schema, problem: Problem | None = None) -> pa.Schema:
    """The schema with the row's place, and (for decisions) outcomes that stood beside the decision."""
    beside = [(f"outcome.{name}", pa.float64()) for name in problem.outcome_names] if problem else []
    return pa.schema([*schema, *(pa.field(*item) for item in beside), *(pa.field(*item) for item in PLACE)])


def action_columns(problem: Problem) -> list[str]:
    """``action`` for discrete actions, ``action.0``, ``action.1`` … for continuous dimensions."""
    return ["action"] if problem.actions.discrete else [f"action.{i}" for i in range(problem.actions.dims)]


def final_columns(problem: Problem) -> list[str]:
    """The context that followed the last step of a truncated episode; null in every other row."""
    return [f"final.{name}" for name in problem.feature_names]


FINAL_ALLOWED = "final_allowed"  # what could have been done in that context; null in every other row


def check_names(problem: Problem) -> None:
    """Refuse names that an engine takes for one. Raises: ConfigError."""
    for what, names in (("features", problem.feature_names), ("outcomes", problem.outcome_names)):
        if twice := alike(names):
            raise ConfigError(
                f"the problem's {what} {twice[0]!r} and {twice[1]!r} differ by case only",
                "SQL engines take them for one column, and one would get the values of the other.",
                "Rename one of them, in the problem and in the data.",
                field=twice[1],
            )


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that differ by case only, or not at all."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            return seen[name.lower()], name
        seen[name.lower()] = name
    return None


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
