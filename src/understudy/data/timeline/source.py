"""Files and tables → one DuckDB view ``decisions`` whose columns are scalars, lists and maps, and its ``Table``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.data.log import exactly, text
from understudy.data.parquet import column_names
from understudy.data.read import event_lines
from understudy.data.schema import alike, quoted
from understudy.data.sources import Source, format_of
from understudy.data.timeline import values
from understudy.data.timeline.table import ROLES, WHOLE, Table, assign, map_types

VIEW = "decisions"
_STRUCT = re.compile(r"STRUCT\((.*)\)$")
_FIXED = re.compile(r"^(.*)\[\d+\]$")
# Lists and maps as CSV can hold them: JSON text, or what NumPy prints.
_WRITTEN = {"allowed": "VARCHAR[]", "mask": "BIGINT[]", "propensities": "DOUBLE[]"}
_NUMPY = r"regexp_replace({}, 'np\.\w+\(([^)]*)\)', '\1', 'g')"


@dataclass(frozen=True)
class Look:
    """What one pass over the keys showed."""

    rows: int
    no_action: int  # rows without an action
    backwards: int | None = None  # rows that stand after a later row of their episode; None where rows have no order


def open_table(sql: Any, sources: list[Source], problem: Problem | None, given: Mapping[str, str]) -> Table:
    """Make the view and say which column plays which role.

    Raises:
        DataError: a file cannot be read. ConfigError: a column is missing.
    """
    with readable(sources):
        sql.execute(f"CREATE OR REPLACE VIEW given AS {_union(sql, sources)}")
        sql.execute(f"CREATE OR REPLACE VIEW {VIEW} AS {tidied(sql, problem, given)}")
        table = assign(describe(sql, VIEW), problem, given)
        if problem is not None and not problem.actions.discrete and map_types(table.type("action")):
            column = quoted(table.roles["action"])
            keys = sql.execute(f"SELECT DISTINCT unnest(map_keys({column})) AS k FROM {VIEW} ORDER BY k").fetchall()
            table = replace(table, action_keys=tuple(str(key) for (key,) in keys))
    return table


def tidied(sql: Any, problem: Problem | None, columns: Mapping[str, str]) -> str:
    """The text of the view: relation ``given`` with every column in a type that all engines have."""
    types = describe(sql, "given")
    roles = {role: columns.get(role) or next((n for n in names if n in types), "") for role, names in ROLES.items()}
    for role in _not_maps(sql, types, roles, problem, columns):
        del roles[role]
    chosen = ", ".join(_tidy(sql, types, {column: role for role, column in roles.items()}, problem))
    return f"SELECT {chosen} FROM given"


def _not_maps(
    sql: Any, types: Mapping[str, str], roles: Mapping[str, str], problem: Problem | None, columns: Mapping[str, str]
) -> list[str]:
    """Which of state and metrics is a column of text and no map that is written as text: a category, say.

    With a problem, because every feature (outcome) has a column; without one, because some text is no JSON object.
    """
    found = []
    for role, prefix in (("state", "context"), ("metrics", "outcome")):
        column = roles[role]
        if types.get(column) not in ("VARCHAR", "JSON"):
            continue
        if problem is not None:
            names = problem.feature_names if role == "state" else problem.outcome_names
            own = all({columns.get(name, name), f"{prefix}.{name}"} & types.keys() for name in names)
        else:
            odd = f"json_type(TRY_CAST({quoted(column)} AS JSON)) IS DISTINCT FROM 'OBJECT'"
            own = bool(
                sql.execute(f"SELECT count(*) FROM given WHERE {quoted(column)} IS NOT NULL AND {odd}").fetchall()[0][0]
            )
        if own:
            found.append(role)
    return found


def look(sql: Any, table: Table, where: str = "") -> Look:
    """Count rows, rows without an action, and rows out of order; the latter as they stand in the files."""
    episode, sequence = values.texted(table, "episode"), values.sequence(table)
    back = f"{episode} = LAG({episode}) OVER () AND {sequence} < LAG({sequence}) OVER ()"
    keys = f"SELECT {values.no_action(table)} AS closes, {back} AS back FROM {VIEW}{where}"
    return Look(
        *sql.execute(f"SELECT count(*), count(*) FILTER (closes), count(*) FILTER (back) FROM ({keys})").fetchall()[0]
    )


def describe(sql: Any, relation: str) -> dict[str, str]:
    return {name: str(kind) for name, kind, *_ in sql.execute(f"DESCRIBE {relation}").fetchall()}


@contextmanager
def readable(sources: list[Source]) -> Iterator[None]:
    """The engine's own errors about what it reads, as ours."""
    import duckdb

    try:
        yield
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.IOException, duckdb.BinderException) as e:
        raise DataError(
            f"{sources[0].name if len(sources) == 1 else f'the {len(sources)} files'} cannot be read as a table of "
            f"decisions: {str(e).splitlines()[0]}",
            "Which rows are missing could not be told.",
            "Correct the column or the file; nothing was written.",
        ) from e


def _union(sql: Any, sources: list[Source]) -> str:
    parts, files = [], {"parquet": [], "csv": [], "jsonl": []}
    for source in sources:
        if isinstance(source.table, dict):
            raise DataError(
                "a column of the table mixes types", "An id or a number must be one thing.", "Give it one type."
            )
        _check_header(source)
        if source.table is not None:
            sql.register(f"table_{len(parts)}", source.table)
            parts.append(f"SELECT * FROM table_{len(parts)}")
        else:
            files[source.format].append(f"'{exactly(source.path)}'")
    if files["parquet"]:
        parts.append(f"SELECT * FROM read_parquet([{', '.join(files['parquet'])}], union_by_name = true)")
    if files["csv"]:
        parts.append(f"SELECT * FROM read_csv([{', '.join(files['csv'])}], union_by_name = true, sample_size = -1)")
    if files["jsonl"]:
        parts.append(_lines(sql, f"[{', '.join(files['jsonl'])}]"))
    return " UNION ALL BY NAME ".join(parts)


def _check_header(source: Source) -> None:
    if source.path is not None:
        names = first_names(source.path)
    else:
        names = source.table.column_names if source.table is not None else []
    if twice := alike(names):
        raise DataError(
            f"{source.name}: columns {twice[0]!r} and {twice[1]!r} differ by case only",
            "SQL engines take them for one column, and one would get the values of the other.",
            "Rename one of them.",
            field=twice[1],
        )


def first_names(path: Path) -> list[str]:
    """Names of a file's columns, from its beginning; none where it cannot be told."""
    kind = format_of(path)
    if kind == "parquet":
        return column_names(path)
    if kind is None or not path.is_file():
        return []
    line = next((line for _, line in event_lines(path)), b"")
    if not isinstance(line, bytes):
        return []
    if kind == "csv":
        return next(csv.reader([line.decode("utf-8", "replace")]), [])
    try:
        return list(msgspec.json.decode(line, type=dict))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def _lines(sql: Any, paths: str) -> str:
    """JSON lines. Objects of numbers become maps, so that a key that is rare is no column of its own."""
    plain = f"read_json({paths}, format = 'newline_delimited', union_by_name = true, sample_size = -1)"
    types = describe(sql, f"SELECT * FROM {plain}")
    changed = {}
    for name, kind in types.items():
        fields = struct_fields(sql, kind)
        if fields and all(each in WHOLE | {"DOUBLE", "FLOAT", "HUGEINT"} for each in fields.values()):
            changed[name] = "MAP(BIGINT, DOUBLE)" if all(map(str.isdigit, fields)) else "MAP(VARCHAR, DOUBLE)"
    if not changed:
        return f"SELECT * FROM {plain}"
    said = ", ".join(f"'{text(name)}': '{text(changed.get(name, kind))}'" for name, kind in types.items())
    return f"SELECT * FROM read_json({paths}, format = 'newline_delimited', columns = {{{said}}})"


def struct_fields(sql: Any, kind: str) -> dict[str, str]:
    """Fields of a struct type with their types; empty for any other type."""
    if not _STRUCT.match(kind):
        return {}
    return {
        name: str(each) for name, each in sql.execute(f"SELECT CAST(NULL AS {kind}) AS s").description[0][1].children
    }


def _tidy(sql: Any, types: Mapping[str, str], roles: Mapping[str, str], problem: Problem | None) -> Iterator[str]:
    """One expression per column, in types that every engine has."""
    for name, kind in types.items():
        column, role = quoted(name), roles.get(name, "")
        fields = struct_fields(sql, kind)
        if fields:
            prefix = {"state": "context", "metrics": "outcome"}.get(role, name)
            yield from (f"{column}.{quoted(each)} AS {quoted(f'{prefix}.{each}')}" for each in fields)
            continue
        yield f"{_plainly(column, kind, role, problem)} AS {column}"


def _plainly(column: str, kind: str, role: str, problem: Problem | None) -> str:
    if kind in ("VARCHAR", "JSON") and role in _WRITTEN:
        return f"CAST({_NUMPY.format(f'CAST({column} AS VARCHAR)')} AS {_WRITTEN[role]})"
    if kind in ("VARCHAR", "JSON") and role in ("state", "metrics"):
        return f"CAST(CAST({column} AS JSON) AS MAP(VARCHAR, DOUBLE))"
    if kind in ("VARCHAR", "JSON") and role == "action" and problem is not None and not problem.actions.discrete:
        return f"CAST({_NUMPY.format(f'CAST({column} AS VARCHAR)')} AS DOUBLE[])"
    if fixed := _FIXED.match(kind):
        return f"CAST({column} AS {fixed[1]}[])"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({column}))"
    if kind == "JSON":  # values of several kinds: texts without the quotes that they are written with
        return f"({column} ->> '$')"
    if kind.startswith("ENUM") or kind == "UUID":
        return f"CAST({column} AS VARCHAR)"
    return f"CAST({column} AS BIGINT)" if kind in ("HUGEINT", "UHUGEINT") else column
