"""Spark running the texts: it reads and computes; what it made is written down by DuckDB, in the types of the text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.data.engine import PARQUET
from understudy.data.log import copy_to, text
from understudy.data.schema import quoted
from understudy.data.sources import Source
from understudy.data.spark.places import frame
from understudy.data.spark.session import first_line
from understudy.data.spark.stage import staged, write_parts
from understudy.data.timeline import values
from understudy.data.timeline.dialect import translate
from understudy.data.timeline.source import VIEW, Look, describe, open_table, tidied
from understudy.data.timeline.table import REAL, WHOLE, Table, map_types

_ALIKE = WHOLE | REAL | {"VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP"}  # both engines read these alike from Parquet


class Spark:
    """An engine on a session. Relations of the texts are its temporary views; ``local`` knows their types."""

    name, orderly = "spark", False

    def __init__(self, local: Any, stage: Path, session: Any) -> None:
        self.local, self._stage, self._session = local, stage, session
        self._number, self._open = itertools.count(), ExitStack()

    def close(self) -> None:
        """Give back what was held. The session is its owner's."""
        self._open.close()
        self.local.close()

    # ------------------------------------------------------------------------------------------------------- as Engine

    def execute(self, query: str) -> Answer:
        """See Engine."""
        rows = self._rows(query)
        with _told():
            return Answer(rows.columns, [tuple(row) for row in rows.collect()])

    def keep(self, name: str, query: str) -> None:
        """See Engine."""
        self.local.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")
        rows = self._rows(query).persist()
        self._open.callback(rows.unpersist)
        rows.createOrReplaceTempView(name)

    def fetch(self, name: str, query: str) -> None:
        """See Engine."""
        path = self._new("fetched.parquet")
        self.copy(query, path)
        self.local.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM read_parquet('{text(path)}')")

    def copy(self, query: str, path: Path) -> int:
        """See Engine."""
        types = self.local.execute(f"SELECT * FROM ({query}) AS made LIMIT 0").description
        folder = self._new("parts")
        rows = self._rows(query)
        with _told():
            parts = write_parts(self._session, rows, folder)
        files = ", ".join(f"'{text(part)}'" for part in parts)
        chosen = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind, *_ in types)
        made = f"SELECT {chosen} FROM read_parquet([{files}], hive_partitioning = false)"
        return copy_to(self.local, made if parts else f"SELECT * FROM ({query}) AS made LIMIT 0", path, PARQUET)

    def numbered(self, path: Path) -> str:
        """See Engine."""
        name = f"{path.stem}_{next(self._number)}"
        source = f"read_parquet('{text(path)}', file_row_number = true)"
        self.local.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {source}")
        (place,) = self._open.enter_context(staged(self._session, [path]))
        rows = self._session.read.parquet(place)
        rows.selectExpr("*", "_metadata.row_index AS file_row_number").createOrReplaceTempView(name)
        return name

    def written(self, path: Path) -> str:
        """See Engine."""
        name = f"{path.stem}_{next(self._number)}"
        (place,) = self._open.enter_context(staged(self._session, [path]))
        self._session.read.parquet(place).createOrReplaceTempView(name)
        return name

    def said(self, query: str) -> str:
        """See Engine."""
        from sqlglot.errors import SqlglotError

        try:
            return translate(query, "spark")
        except SqlglotError as error:
            raise DataError(f"not SQL: {first_line(error)}") from error

    # --------------------------------------------------------------------------------------------- the decision table

    def table(self, sources: list[Source], problem: Problem | None, columns: Mapping[str, str]) -> Table:
        """Make the view of decisions; see ``open_table``."""
        if sources[0].format == "spark":
            return self._distant(sources, problem, columns)
        table = open_table(self.local, sources, problem, columns)
        files = [source.path for source in sources if source.format == "parquet" and source.path is not None]
        if len(files) < len(sources) or not self._as_it_is(files):
            files = [self._new("table.parquet")]
            copy_to(self.local, f"SELECT * FROM {VIEW}", files[0], PARQUET)
        places = self._open.enter_context(staged(self._session, files))
        with _told():
            self._session.read.parquet(*places).createOrReplaceTempView(VIEW)
        return table

    def _as_it_is(self, files: list[Path]) -> bool:
        """Whether Spark reads from these files what DuckDB does: one schema, plain types, nothing to be taken apart."""
        import pyarrow.parquet as parquet

        given = describe(self.local, "given")
        plain = given == describe(self.local, VIEW) and all(map(_alike, given.values()))
        first = parquet.read_schema(files[0])
        return plain and list(given) == first.names and all(parquet.read_schema(f).equals(first) for f in files[1:])

    def _distant(self, sources: list[Source], problem: Problem | None, columns: Mapping[str, str]) -> Table:
        """A table that only Spark reads: DuckDB gets its types and no rows."""
        import pyarrow as pa
        from pyspark.sql.pandas.types import to_arrow_schema
        from pyspark.sql.types import TimestampType

        rows = frame(self._session, [source.name for source in sources])
        clock = [f.name for f in rows.schema if isinstance(f.dataType, TimestampType)]
        rows = rows.withColumns({name: rows[f"`{name}`"].cast("timestamp_ntz") for name in clock}) if clock else rows
        empty = pa.Table.from_batches([], schema=to_arrow_schema(rows.schema))
        table = open_table(self.local, [Source("none", "table", table=empty)], problem, columns)
        rows.createOrReplaceTempView("given")
        self._rows(tidied(self.local, problem, columns)).createOrReplaceTempView(VIEW)
        if problem is not None and not problem.actions.discrete and map_types(table.type("action")):
            column = quoted(table.roles["action"])
            keys = f"SELECT DISTINCT unnest(map_keys({column})) AS k FROM {VIEW} ORDER BY k"
            table = replace(table, action_keys=tuple(str(key) for (key,) in self.execute(keys).fetchall()))
        return table

    def look(self, table: Table) -> Look:
        """Counts as ``look`` makes them, but how many rows are out of order: a distributed table has no order."""
        closes = f"COUNT(CASE WHEN {values.no_action(table)} THEN 1 END)"
        rows, no_action = self.execute(f"SELECT COUNT(*) AS n, {closes} AS closes FROM {VIEW}").fetchall()[0]
        return Look(rows, no_action)

    # ---------------------------------------------------------------------------------------------------------- pieces

    def _rows(self, query: str) -> Any:
        with _told():
            return self._session.sql(self.said(query))

    def _new(self, name: str) -> Path:
        self._stage.mkdir(parents=True, exist_ok=True)
        return self._stage / f"{next(self._number):03d}-{name}"


class Answer:
    """Rows as DuckDB hands them out."""

    def __init__(self, names: list[str], rows: list[tuple]) -> None:
        self.description, self._rows = [(name,) for name in names], rows

    def fetchall(self) -> list[tuple]:
        """All rows."""
        return self._rows

    def fetchmany(self, size: int) -> list[tuple]:
        """The first rows."""
        return self._rows[:size]


@contextmanager
def _told() -> Iterator[None]:
    """Spark's own errors, as ours."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise DataError(
            f"Spark could not run the query: {first_line(error)}",
            hint="Correct the column or the file it names; nothing was written.",
        ) from error


def _alike(kind: str) -> bool:
    """Whether both engines read this type from Parquet and mean the same."""
    if types := map_types(kind):
        return types[0] in _ALIKE and _alike(types[1])
    if kind.endswith("[]"):
        return _alike(kind[:-2])
    return kind in _ALIKE or re.fullmatch(r"DECIMAL\(\d+,\d+\)", kind) is not None
