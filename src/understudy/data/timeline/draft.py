"""A decision table of episodes → the draft of its Problem. A person edits it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.log import database, scratch
from understudy.data.schema import alike, quoted
from understudy.data.sources import resolve
from understudy.data.timeline.source import VIEW, first_names, open_table
from understudy.data.timeline.table import REAL, ROLES, WHOLE, Table, map_types, plain

MOST_CATEGORIES = 100
REWARDS = ("reward", "rewards", "outcome.reward")
UNBOUNDED = 0.99  # γ of a problem whose episodes are cut off
_LEFT = frozenset({"cumulative_rewards", "episode_name", "decision_id", "propensities"})

Notes = dict[str, list[str]]


def is_table(path: Path) -> bool:
    """Whether a file's columns are those of a table of episodes: an episode, a sequence number and an action."""
    names = first_names(path)
    return "decision_id" not in names and all(
        any(name in names for name in ROLES[role]) for role in ("episode", "sequence", "action")
    )


def draft_table(source: Any, columns: Mapping[str, str] | None = None) -> tuple[Problem, Notes]:
    """The draft of a Problem and notes by section, from every row of a decision table.

    Raises:
        DataError: the table lacks an episode, a sequence number or an action, or has no reward.
    """
    folder = scratch("draft")
    folder.mkdir()
    sql = database(folder)
    try:
        return _draft(sql, open_table(sql, resolve(source), None, dict(columns or {})))
    finally:
        sql.close()


def _draft(sql: Any, table: Table) -> tuple[Problem, Notes]:
    notes: Notes = {}
    outcomes, reward = _outcomes(sql, table)
    notes["outcomes"] = ["0 stands in where an outcome is missing; null refuses such a row instead"]
    state = table.roles.get("state") if not _keys(sql, table, "state") else None  # a column of that name, and no map
    used = {*table.roles.values(), *(name for name in table.types if name.startswith("outcome.")), *REWARDS} - {state}
    features = [
        feature
        for name, kind in table.types.items()
        if name not in used | _LEFT and (feature := _feature(sql, name, plain(kind), notes)) is not None
    ]
    features += [Feature(name=key, optional=True) for key in _keys(sql, table, "state")]
    if twice := alike(feature.name for feature in features):
        where = "stands in two columns" if twice[0] == twice[1] else f"differs from {twice[1]!r} by case only"
        raise DataError(
            f"feature {twice[0]!r} {where}: on its own and inside of {table.roles.get('state', 'context')}, say",
            "Some rows would seem to lack it.",
            "Write every row in the same way.",
            field=twice[1],
        )
    low, high = sql.execute(f"SELECT coalesce(min(r), 0), coalesce(max(r), 0) FROM ({reward})").fetchall()[0]
    low, high = math.floor(min(0.0, low)), math.ceil(max(0.0, high))
    notes["reward_range"] = [
        f"seen: {low:g} to {high:g}. Declare the lowest and highest reward there can ever be: the proof scales by it"
    ]
    problem = Problem(
        features=tuple(features), actions=_actions(sql, table, notes),
        outcomes=tuple(OutcomeSpec(name=name) for name in outcomes), reward=outcomes[0],
        reward_range=(float(low), float(high if high > low else low + 1)),
        unit="unit" if table.has("unit") else "episode", **_horizon(sql, table, notes),
    )  # fmt: skip
    return problem, notes


def _outcomes(sql: Any, table: Table) -> tuple[list[str], str]:
    """(names of outcomes, the first one's values as SQL)."""
    column = next((name for name in REWARDS if name in table.types), None)
    others = [name.removeprefix("outcome.") for name in table.types if name.startswith("outcome.")]
    keys = _keys(sql, table, "metrics")
    if column is not None:
        name = column.removeprefix("outcome.")
        rest = [other for other in [*others, *keys] if other != name]
        return [name, *rest], f"SELECT CAST({quoted(column)} AS DOUBLE) AS r FROM {VIEW}"
    names = [*others, *keys]
    if not names:
        raise DataError(
            "the table has no reward",
            f"It would be called reward, or be a key of {ROLES['metrics'][0]}.",
            "Rename the column that says what a decision earned.",
        )
    if others:
        return names, f"SELECT CAST({quoted(f'outcome.{others[0]}')} AS DOUBLE) AS r FROM {VIEW}"
    metrics = quoted(table.roles["metrics"])
    return names, f"SELECT CAST(map_values({metrics})[1] AS DOUBLE) AS r FROM {VIEW}"


def _keys(sql: Any, table: Table, role: str) -> list[str]:
    if not table.has(role) or not map_types(table.type(role)):
        return []
    column = quoted(table.roles[role])
    found = sql.execute(f"SELECT DISTINCT unnest(map_keys({column})) AS k FROM {VIEW} ORDER BY k").fetchall()
    return [str(key) for (key,) in found]


def _feature(sql: Any, column: str, kind: str, notes: Notes) -> Feature | None:
    name, said = column.removeprefix("context."), notes.setdefault("features", [])
    absent = "IS NULL" if kind not in REAL else f"IS NULL OR isnan({quoted(column)})"
    acts = f"SELECT {quoted(column)} AS v FROM {VIEW}"
    missing, distinct = sql.execute(
        f"SELECT count(*) FILTER ({quoted(column)} {absent}), count(DISTINCT {quoted(column)}) FROM {VIEW}"
    ).fetchall()[0]
    if missing:
        said.append(f"{name} is missing in {missing:,} rows, so it is optional")
    if kind in WHOLE | REAL:
        return Feature(name=name, optional=missing > 0)
    if kind == "BOOLEAN":
        return Feature(name=name, kind="boolean", optional=missing > 0)
    if kind == "VARCHAR" and 0 < distinct <= MOST_CATEGORIES:
        values = [
            v for (v,) in sql.execute(f"SELECT DISTINCT v FROM ({acts}) WHERE v IS NOT NULL ORDER BY v").fetchall()
        ]
        return Feature(name=name, kind="category", values=tuple(values), optional=missing > 0)
    said.append(f"{name} left out: it is {kind} with {distinct:,} different values")
    return None


def _actions(sql: Any, table: Table, notes: Notes) -> ActionSpace:
    column, kind = quoted(table.roles["action"]), table.type("action")
    if kind in WHOLE | {"VARCHAR"}:
        found = f"SELECT CAST({column} AS VARCHAR) AS a FROM {VIEW} WHERE {column} IS NOT NULL"
        if table.has("allowed"):
            found += f" UNION SELECT CAST(unnest({quoted(table.roles['allowed'])}) AS VARCHAR) FROM {VIEW}"
        names = [a for (a,) in sql.execute(f"SELECT DISTINCT a FROM ({found}) WHERE a <> ''").fetchall()]
        if kind in WHOLE and all(name.isdigit() for name in names):
            return ActionSpace(names=tuple(map(str, range(max(map(int, names)) + 1))))
        return ActionSpace(names=tuple(sorted(names)))
    notes["actions"] = ["bounds are the smallest and largest value seen; declare the true ones"]
    spread = f"unnest({column}), generate_subscripts({column}, 1)" if kind.endswith("[]") else f"{column}, 1"
    if map_types(kind):
        spread = f"unnest(map_values({column})), unnest(map_keys({column}))"
    rows = sql.execute(
        f"SELECT min(v)::DOUBLE, max(v)::DOUBLE FROM (SELECT {spread} FROM {VIEW} WHERE {column} IS NOT NULL) "
        "AS s(v, i) GROUP BY i ORDER BY i"
    ).fetchall()
    return ActionSpace(low=tuple(a for a, _ in rows), high=tuple(b if b > a else a + 1 for a, b in rows))


def _horizon(sql: Any, table: Table, notes: Notes) -> dict[str, Any]:
    episode = quoted(table.roles["episode"])
    most = sql.execute(f"SELECT max(n) FROM (SELECT count(*) AS n FROM {VIEW} GROUP BY {episode})").fetchall()[0][0]
    notes["horizon"] = [f"the longest episode has {most:,} rows; null is unbounded, which asks for discount below 1"]
    return {"horizon": None, "discount": UNBOUNDED}
