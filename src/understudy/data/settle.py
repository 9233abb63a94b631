"""What needs all rows at once: duplicates, contradictions, and the order in which a log is kept.

The order is a function of the rows and not of their arrival, so any shuffling of the input gives the same log; only
of two decisions that contradict each other at the same instant does the first to arrive stay.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from understudy.core.problem import Problem
from understudy.data.log import DECISIONS, OUTCOMES, database, text
from understudy.data.read import Reject
from understudy.data.schema import decision_schema, outcome_schema, quoted
from understudy.data.staging import Quarantine, Staging
from understudy.data.times import MICRO
from understudy.data.validate import dedup_keys

PARQUET = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"


def settle(staging: Staging, folder: Path, problem: Problem, quarantine: Quarantine) -> dict[str, int]:
    """Write decisions.parquet and outcomes.parquet in canonical order; set aside what contradicts itself.

    Of several rows with one decision_id the earliest stays (at equal times the first to arrive): exact copies of it
    are counted as ``duplicates``, others go to quarantine. Copies of one outcome are all kept (the join counts them
    once), but one outcome_id with two values keeps the earliest value only.
    """
    sql = database(staging.folder)
    try:
        counts = _decisions(sql, staging, folder, problem, quarantine)
        counts |= _outcomes(sql, staging, folder, problem, quarantine)
    finally:
        sql.close()
    return counts


def _decisions(sql: Any, staging: Staging, folder: Path, problem: Problem, quarantine: Quarantine) -> dict[str, int]:
    source = f"read_parquet('{text(staging.path('decisions'))}', file_row_number = true)"
    sql.execute(f"CREATE VIEW staged AS SELECT * EXCLUDE (file_row_number), file_row_number AS rid FROM {source}")
    sql.execute("CREATE TEMP TABLE dropped (rid BIGINT, reason VARCHAR, detail VARCHAR)")
    n, known = sql.execute("SELECT count(*), count(propensity) FROM staged").fetchall()[0]
    if 0 < known < n:
        sql.execute(
            "INSERT INTO dropped SELECT rid, 'propensity_missing', 'no propensity, though other decisions have one' "
            "FROM staged WHERE propensity IS NULL"
        )
    duplicates = _same_id(sql, staging)
    if problem.unit == "unit" and not problem.bandit:  # half an episode has another value, so the whole one goes
        sql.execute(
            "INSERT INTO dropped SELECT rid, 'unit_conflict', 'decisions of its episode have different unit_ids' "
            "FROM (SELECT rid, episode, unit FROM staged ANTI JOIN dropped USING (rid)) AS kept SEMI JOIN "
            "(SELECT episode FROM staged ANTI JOIN dropped USING (rid) GROUP BY episode HAVING min(unit) <> max(unit)) "
            "USING (episode)"
        )
    columns = ", ".join(quoted(name) for name in decision_schema(problem).names)
    order = "time, decision_id" if problem.bandit else "min(time) OVER (PARTITION BY episode), episode_id, t, time"
    kept = "staged" if not _count(sql, "dropped") else "(SELECT * FROM staged ANTI JOIN dropped USING (rid))"
    sql.execute(f"COPY (SELECT {columns} FROM {kept} ORDER BY {order}) TO '{text(folder / DECISIONS)}' {PARQUET}")
    _set_aside(sql, quarantine, problem, "decision", "staged JOIN dropped USING (rid) WHERE reason <> 'duplicate'")
    filled = ", ".join(f"count({name})" for name in _OPTIONAL)
    found = sql.sql(f"SELECT {filled} FROM '{text(folder / DECISIONS)}'").fetchall()[0]
    counts = {f"with_{name}": count for name, count in zip(_OPTIONAL, found)}
    return counts | {"decisions": n - _count(sql, "dropped"), "duplicates": duplicates}


def _same_id(sql: Any, staging: Staging) -> int:
    """Put all but the first of equal decision_ids into ``dropped``. Returns how many were exact copies."""
    sql.execute(
        "CREATE TEMP TABLE twice AS SELECT key FROM staged ANTI JOIN dropped USING (rid) "
        "GROUP BY key HAVING count(*) > 1"
    )
    if not _count(sql, "twice"):
        return 0
    content = [quoted(name) for name in staging.schemas["decisions"].names if name not in ("source", "line")]
    before = _count(sql, "dropped")
    sql.execute(
        f"""INSERT INTO dropped
        WITH copies AS (
            SELECT rid, ({", ".join(content)}) AS content, first_value(({", ".join(content)})) OVER earliest AS kept,
                   row_number() OVER earliest AS copy
            FROM staged SEMI JOIN twice USING (key) ANTI JOIN dropped USING (rid)
            WINDOW earliest AS (PARTITION BY key ORDER BY time, rid))
        SELECT rid, CASE WHEN content IS NOT DISTINCT FROM kept THEN 'duplicate' ELSE 'decision_conflict' END,
               'an earlier decision with this decision_id says something else'
        FROM copies WHERE copy > 1"""
    )
    conflicts = sql.execute("SELECT count(*) FROM dropped WHERE reason = 'decision_conflict'").fetchall()[0][0]
    return _count(sql, "dropped") - before - conflicts


def _outcomes(sql: Any, staging: Staging, folder: Path, problem: Problem, quarantine: Quarantine) -> dict[str, int]:
    beside = _beside(sql, staging, problem)
    parts = [f"SELECT * FROM read_parquet('{text(staging.path('outcomes'))}')"]
    if beside:
        parts.append(f"SELECT * FROM read_parquet('{text(staging.path('beside'))}')")
    sql.execute(f"CREATE VIEW results AS {' UNION ALL '.join(parts)}")
    sql.execute(
        "CREATE TEMP TABLE disputed AS SELECT dedup, arg_min(value, (time, value)) AS first FROM results "
        "SEMI JOIN (SELECT dedup FROM results GROUP BY dedup HAVING min(value) <> max(value)) USING (dedup) "
        "GROUP BY dedup"
    )
    columns = ", ".join(outcome_schema().names)
    kept, refused = "results", 0
    if _count(sql, "disputed"):
        kept = "(SELECT results.* FROM results LEFT JOIN disputed USING (dedup) WHERE first IS NULL OR value = first)"
        refused = _set_aside(
            sql,
            quarantine,
            problem,
            "outcome",
            "(SELECT results.*, 'outcome_conflict' AS reason, 'this outcome_id came earlier with value ' || first "
            "AS detail FROM results JOIN disputed USING (dedup) WHERE value <> first)",
        )
    order = "time, key, name, value, dedup, outcome_id"
    sql.execute(f"COPY (SELECT {columns} FROM {kept} ORDER BY {order}) TO '{text(folder / OUTCOMES)}' {PARQUET}")
    total = staging.counts["outcomes"] + beside - refused
    return {"outcome_rows": staging.counts["outcomes"] - refused, "outcomes_beside": beside, "outcomes": total}


def _beside(sql: Any, staging: Staging, problem: Problem) -> int:
    """Outcomes that stood in a decision's row, of the decisions that stay, at the decision's own time."""
    schema, written = staging.schemas["beside"], 0
    with parquet.ParquetWriter(staging.path("beside"), schema, compression="lz4") as writer:
        for number, name in enumerate(problem.outcome_names):
            reader = sql.sql(
                f"SELECT key, decision_id, {number}::SMALLINT AS name, time, {quoted(f'outcome.{name}')} AS value, "
                "NULL::VARCHAR AS outcome_id, source, line "
                f"FROM staged ANTI JOIN dropped USING (rid) WHERE {quoted(f'outcome.{name}')} IS NOT NULL"
            ).to_arrow_reader(65_536)
            for batch in reader:
                column = {field: batch.column(field) for field in batch.schema.names}
                place, time, value = (column[name].to_numpy(zero_copy_only=False) for name in ("name", "time", "value"))
                column["dedup"] = dedup_keys(column["decision_id"], place, time, value, None)
                writer.write_batch(_as(schema, column))
                written += batch.num_rows
    return written


def _as(schema: Any, column: dict[str, Any]) -> Any:
    import pyarrow as pa

    arrays = [column[field.name] for field in schema]
    arrays = [a if isinstance(a, pa.Array) else pa.array(a) for a in arrays]
    return pa.RecordBatch.from_arrays([a.cast(f.type) for a, f in zip(arrays, schema)], schema=schema)


def _set_aside(sql: Any, quarantine: Quarantine, problem: Problem, kind: str, what: str) -> int:
    """Move the selected rows to quarantine; their text is the row as it was understood."""
    reader = sql.sql(f"SELECT * FROM {what}").to_arrow_reader(8_192)
    n = 0
    for batch in reader:
        for row in batch.to_pylist():
            reject = {name: row.pop(name, None) for name in ("source", "line", "reason", "detail", "rid")}
            said = {name: value for name, value in row.items() if value is not None and name not in _HASHES}
            said = _as_written(said, problem, kind)
            raw = json.dumps(said, ensure_ascii=False, default=str)
            quarantine.add(reject["source"], [(kind, Reject(reject["line"], reject["reason"], reject["detail"], raw))])
            n += 1
    return n


def _as_written(said: dict[str, Any], problem: Problem, kind: str) -> dict[str, Any]:
    """Codes back to names, microseconds to seconds."""
    if kind == "decision" and problem.actions.discrete:
        said["action"] = problem.actions.names[said["action"]]
    elif kind == "outcome":
        said["name"] = problem.outcome_names[said["name"]]
    for feature in problem.features if kind == "decision" else ():
        code = said.get(f"context.{feature.name}")
        if feature.kind == "category" and code is not None and code < len(feature.values):
            said[f"context.{feature.name}"] = feature.values[int(code)]
    return said | {"time": said["time"] / MICRO}


_OPTIONAL = ("allowed", "propensities", "propensity")
_HASHES = frozenset({"key", "episode", "unit", "policy", "dedup"})


def _count(sql: Any, table: str) -> int:
    return sql.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
