"""A decision table → a dataset artifact, or a table of transitions: the one text, run by DuckDB or by Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as parquet

from understudy import __version__
from understudy.core.errors import ConfigError, DataError
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.data.dataset import ParquetDataset
from understudy.data.engine import MASTER, Engine, located, opened, reaching, write
from understudy.data.log import PROBLEM, database, scratch, text
from understudy.data.parquet import STEPS
from understudy.data.schema import action_columns, check_names, quoted
from understudy.data.sources import Source, resolve
from understudy.data.timeline.faults import fault_error
from understudy.data.timeline.filters import Input
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.source import VIEW, Look, look, open_table, readable
from understudy.data.timeline.sql import Query
from understudy.data.timeline.verdicts import (
    check_lost,
    check_order,
    check_places,
    check_stateless,
    check_validation,
    longest,
)

QUARANTINED, TEXT, NOTES = "quarantined.parquet", "timeline.sql", "timeline.json"
MEMORY = "1GB"  # of DuckDB; the process takes some 150 MB more


def timeline(
    source: Any,
    *,
    problem: Problem,
    to: str | Path | None = None,
    rules: Rules | None = None,
    percentile: float | None = None,
    columns: Mapping[str, str] | None = None,
    validate: Sequence[str] = (),
    replace: bool = False,
    engine: str = "duckdb",
    master: str = MASTER,
) -> ParquetDataset:
    """Sort a decision table into episodes and write a dataset artifact.

    Args:
        source: paths, patterns, folders, pandas DataFrames or Arrow tables, or a list of these; one row per decision.
        problem: what a valid row is; its ``reward`` is computed from the table's outcomes.
        to: folder of the artifact; None makes one that lives as long as the process.
        rules: choices where a log leaves one; see ``Rules``.
        percentile: leave out episodes longer than this share of them, such as .95.
        columns: role, feature or outcome → column, where the names are not the usual ones.
        validate: SQL queries with ``{input}`` and ``{output}`` that must each give one row, all of it true.
        replace: put the dataset in the place of another one.
        engine: ``duckdb`` in this process, or ``spark``, which also reads and writes ``hdfs://``, ``s3a://`` and other
            locations of Hadoop's, and ``table:NAME``. Both give the same rows.
        master: where Spark runs.

    Returns:
        The dataset. Its counts reconcile: rows = steps + closing + beyond + outside + too_long + null_states +
        repeated + quarantined.

    Raises:
        DataError: rows break a rule, with their number and the first of them. Nothing is written then.
    """
    with reaching(engine, master, source, to):
        sources, rules = located(source, master), rules or Rules()
        config = recipe(sources, rules, percentile, columns, validate)
        manifest = Manifest(kind="dataset", problem_hash=problem.hash, config=config, code_version=__version__)
        asked = Asked(sources, rules, percentile, dict(columns or {}), tuple(validate), engine, master)
        return ParquetDataset(
            *write(to, "data", manifest, lambda part: _fill(part, problem, asked), master=master, replace=replace)
        )


def connect(folder: Path) -> Any:
    """A DuckDB connection. What files say of their own columns must not decide which columns of ours may be null."""
    sql = database(folder, memory=MEMORY)
    sql.execute("SET disabled_optimizers = 'statistics_propagation'")
    return sql


class Asked(msgspec.Struct, frozen=True):
    """What the caller gave."""

    sources: list[Source]
    rules: Rules
    percentile: float | None
    columns: dict[str, str]
    validate: tuple[str, ...]
    engine: str
    master: str


def recipe(
    sources: list[Source], rules: Rules, percentile: float | None, columns: Mapping[str, str] | None,
    validate: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """What the result depends on, for the manifest. The order of files does not matter, nor do their names."""
    return {
        "sources": sorted(source.sha256 for source in sources), "rules": rules.config, "percentile": percentile,
        "roles": dict(sorted((columns or {}).items())), "validate": list(validate),
    }  # fmt: skip


def _fill(folder: Path, problem: Problem, asked: Asked) -> dict[str, int]:
    check_names(problem)
    (folder / PROBLEM).write_bytes(msgspec.json.format(msgspec.json.encode(problem)) + b"\n")
    with opened(asked.engine, asked.master, folder, connect) as sql:
        query, counts, notes = prepare(sql, problem, asked)
        with readable(asked.sources):
            steps = sql.copy(query.steps(), folder / STEPS)
        _refuse_faults(sql, query, folder / STEPS, steps)
        if query.rules.faulty == "aside":
            counts["quarantined"] = sql.copy(query.faulty(), folder / QUARANTINED)
        if not steps:
            raise _nothing_left(counts)
        counts |= _about(sql.local, folder / STEPS)
        if asked.validate:
            check_validation(sql, asked.validate, sql.written(folder / STEPS))
        (folder / TEXT).write_text(sql.said(query.steps()) + "\n")
    (folder / NOTES).write_bytes(msgspec.json.encode(notes) + b"\n")
    left = ("closing", "outside", "too_long", "null_states", "repeated", "quarantined")
    counts["beyond"] = counts["rows"] - steps - sum(counts.get(name, 0) for name in left)
    return {name: int(n) for name, n in sorted(counts.items())}


def prepare(sql: Engine, problem: Problem, asked: Asked) -> tuple[Query, dict[str, int], dict[str, float]]:
    """The query with everything that the data decide, what was counted on the way, and sums of rewards left out."""
    rules, notes = asked.rules, {}
    table = sql.table(asked.sources, problem, asked.columns)
    check_order(rules, table)
    check_places(sql, table, problem, asked.columns)
    seen = sql.look(table)
    counts = counted(seen)
    of = Input(replaced(table, closing=seen.no_action > 0), rules, problem, VIEW)
    if asked.percentile is not None:
        most, gone = longest(sql, of, asked.percentile)
        rules, counts["too_long"] = replaced(rules, longest=most), gone
        of = replaced(of, rules=rules)
    counts |= vanished(sql, of, seen, counts.get("too_long", 0), notes)
    query = Query(problem, of.table, rules, VIEW)
    if rules.duplicates != "refuse":
        counts["repeated"] = repeated(sql, of)
    if query.may_close:
        counts |= check_lost(sql, query, notes)
    return query, counts, notes


def counted(seen: Look) -> dict[str, int]:
    """What one pass over the keys showed, as far as the engine could tell."""
    return {"rows": seen.rows} | ({} if seen.backwards is None else {"shuffled": seen.backwards})


def vanished(sql: Any, of: Input, seen: Look, too_long: int, notes: dict[str, float]) -> dict[str, int]:
    """Rows that vanish before neighbors are looked up, and what that does to episodes."""
    counts: dict[str, int] = {}
    if of.rules.null_states == "drop":
        found = sql.execute(of.dropped()).fetchall()[0]
        counts["null_states"], counts["null_state_rewards"], total, counts["cut_stateless"], *lost = found
        notes["null_state_rewards"] = float(total or 0.0)
        check_stateless(of.rules, *lost)
    if of.rules.ds != (None, None):
        inside = sql.execute(f"SELECT count(*) FROM {of.rows()}").fetchall()[0][0]
        counts["outside"] = seen.rows - inside - counts.get("null_states", 0) - too_long
        if not inside:
            raise DataError(
                f"none of {seen.rows:,} rows lies in ds from {of.rules.ds[0]} to {of.rules.ds[1]}",
                f"The table's own run from {_ds(sql, of, 'min')} to {_ds(sql, of, 'max')}.", field="ds",
            )  # fmt: skip
        counts["joined_across"], counts["cut_short"] = sql.execute(of.gaps()).fetchall()[0]
    return counts


def _ds(sql: Any, of: Input, which: str) -> str:
    return sql.execute(f"SELECT {which}({quoted(of.table.roles['ds'])}) FROM {VIEW}").fetchall()[0][0]


def repeated(sql: Any, of: Input) -> int:
    """How many rows are copies; DataError where the rule cannot tell which of them to keep."""
    if of.rules.duplicates != "refuse" and (found := sql.execute(of.disputed()).fetchall()):
        timed = of.rules.duplicates != "identical"
        raise DataError(
            f"{len(found):,} keys have rows that differ{' and the same time' if timed else ''}; first: episode "
            f"{found[0][0]!r}, sequence {found[0][1]} ({found[0][2]} rows)",
            "Which of them happened cannot be told.",
            "Correct the table"
            + (", or its times." if timed else ", or keep one by time: --duplicates first or last."),
            field="duplicates",
        )
    each = f"SELECT count(*) - 1 AS more FROM {of.rows()} GROUP BY {of.episode}, {of.sequence}"
    return sql.execute(f"SELECT coalesce(sum(more), 0)::BIGINT FROM ({each})").fetchall()[0][0]


def _refuse_faults(sql: Engine, query: Query, path: Path, steps: int) -> None:
    """A faulty row has no action, so the footer tells in no time whether there is any."""
    with parquet.ParquetFile(path) as file:
        leaf = file.schema_arrow.names.index(action_columns(query.problem)[0])
        name = file.schema_arrow.names[leaf]
        place = next(j for j in range(file.metadata.num_columns) if file.schema.column(j).path == name)
        groups = [file.metadata.row_group(i).column(place).statistics for i in range(file.metadata.num_row_groups)]
    if not sum(group.null_count for group in groups):
        return
    sql.fetch("faulty", query.faulty())
    raise fault_error(sql.local, "faulty", steps, query.problem)


def _about(sql: Any, path: Path) -> dict[str, int]:
    """Figures that a dataset is asked for before it is read."""
    names = parquet.read_schema(path).names
    asked = {
        "steps": "count(*)", "terminated": "count(*) FILTER (terminated)", "truncated": "count(*) FILTER (truncated)",
        "with_propensity": "count(propensity)",
        "one_step_episodes": "count(*) FILTER (t = 0 AND (terminated OR truncated))",
    }  # fmt: skip
    asked |= {f"with_{name}": f"count({name})" for name in ("allowed", "propensities") if name in names}
    asked["gaps"] = "count(*) FILTER (t > 0 AND sequence - before > 1)"
    rows = f"SELECT *, LAG(sequence) OVER () AS before FROM '{text(path)}'"
    found = sql.execute(f"SELECT {', '.join(asked.values())} FROM ({rows})").fetchall()[0]
    counts = dict(zip(asked, found))
    return counts | {"episodes": counts["terminated"] + counts["truncated"]}


def _nothing_left(counts: dict[str, int]) -> DataError:
    reasons = ", ".join(f"{name} {n:,}" for name, n in counts.items() if n and name not in ("rows", "shuffled"))
    return DataError(
        f"none of {counts['rows']:,} rows is a step that may be used: {reasons or 'none has an action'}",
        "There is nothing to learn or estimate from.",
        "Look at the rules that leave rows out.",
    )


def print_sql(
    source: Any,
    problem: Problem,
    rules: Rules,
    columns: Mapping[str, str] | None,
    dialect: str,
    percentile: float | None = None,
) -> str:
    """The text of the steps for another engine; what it takes from the data (a length) is looked up here and told."""
    from understudy.data.timeline.dialect import translate

    if rules.faulty == "aside":
        raise ConfigError("the text of --faulty aside is two: print it with refuse", field="faulty")
    check_names(problem)
    folder, before = scratch("look"), ""
    folder.mkdir()
    sql = database(folder, memory=MEMORY)
    try:
        table = open_table(sql, resolve(source), problem, dict(columns or {}))
        check_order(rules, table)
        of = Input(replaced(table, closing=look(sql, table).no_action > 0), rules, problem, VIEW)
        if percentile is not None:
            most, _ = longest(sql, of, percentile)
            rules = replaced(rules, longest=most)
            lengths = translate(of.lengths(), dialect).replace("\n", "\n-- ")
            before = (
                f"-- {percentile:g} of the episodes here have at most {most:g} rows, as this tells:\n-- {lengths}\n"
            )
    finally:
        sql.close()
    return before + translate(Query(problem, of.table, rules, VIEW).steps(), dialect)
