"""Several segments of one log → the log they would have been in one piece: one order, every event once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.data.log import DECISIONS, OUTCOMES, Log, copy_to, exactly, open_log
from understudy.data.schema import decision_schema, outcome_schema, quoted

FAST = "(FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE 122880)"  # read once and thrown away


@dataclass(frozen=True)
class Whole:
    """Where all decisions and all outcomes are, and their numbers."""

    decisions: Path
    outcomes: Path
    counts: dict[str, int]


def open_segments(logs: str | Path | Log | Sequence[str | Path | Log]) -> list[Log]:
    """One log, or the segments of one. Raises: ConfigError if they were validated under different problems."""
    several = [logs] if isinstance(logs, (str, Path, Log)) else list(logs)
    opened = [open_log(log) for log in several]
    if not opened:
        raise ConfigError("no log was given to join")
    for log in opened[1:]:
        if log.manifest.problem_hash != opened[0].manifest.problem_hash:
            raise ConfigError(
                f"{log.folder} was validated under another problem than {opened[0].folder}",
                "The same column would mean different things in different segments.",
                "Give segments of one log; export or ingest the others again under the same problem.",
                field="logs",
            )
    if not any(log.counts["decisions"] for log in opened):
        raise DataError(f"none of {len(opened)} segments holds a decision", "There is nothing to attach outcomes to.")
    return opened


def merge(sql: Any, segments: Sequence[Log], problem: Problem, folder: Path) -> Whole:
    """The segments as one log, written into ``folder``; a single one as it is.

    The rules are those of ingest: of several decisions with one id the earliest stays (at equal times the one of the
    first segment), one outcome_id with two values keeps the earliest; copies of outcomes stay, for the join to count.

    Returns: paths, and counts of ``decisions``, ``outcomes``; of several segments also ``repeated`` decisions and
    ``disputed`` outcomes, which are left out.
    """
    counts = {name: sum(log.counts[name] for log in segments) for name in ("decisions", "outcomes")}
    if len(segments) == 1:
        return Whole(segments[0].folder / DECISIONS, segments[0].folder / OUTCOMES, counts)
    folder.mkdir()
    decisions = _decisions(sql, segments, problem, folder / DECISIONS)
    outcomes = _outcomes(sql, segments, folder / OUTCOMES)
    left_out = {"repeated": counts["decisions"] - decisions, "disputed": counts["outcomes"] - outcomes}
    return Whole(folder / DECISIONS, folder / OUTCOMES, {"decisions": decisions, "outcomes": outcomes} | left_out)


def _decisions(sql: Any, segments: Sequence[Log], problem: Problem, path: Path) -> int:
    rows = " UNION ALL ".join(
        f"SELECT *, {i} AS segment FROM {_parquet([log.folder / DECISIONS])}" for i, log in enumerate(segments)
    )
    sql.execute(f"CREATE TEMP VIEW pieces AS {rows}")
    sql.execute(
        "CREATE TEMP TABLE copies AS SELECT segment, file_row_number FROM (SELECT segment, file_row_number, "
        "row_number() OVER (PARTITION BY key ORDER BY time, segment) AS copy "
        "FROM pieces SEMI JOIN (SELECT key FROM pieces GROUP BY key HAVING count(*) > 1) USING (key)) WHERE copy > 1"
    )
    columns = ", ".join(quoted(name) for name in decision_schema(problem).names)
    order = "time, decision_id" if problem.bandit else "min(time) OVER (PARTITION BY episode), episode_id, t, time"
    kept = "(SELECT * FROM pieces ANTI JOIN copies USING (segment, file_row_number))"
    return copy_to(sql, f"SELECT {columns} FROM {kept} ORDER BY {order}", path, FAST)


def _outcomes(sql: Any, segments: Sequence[Log], path: Path) -> int:
    source = _parquet([log.folder / OUTCOMES for log in segments])
    disputed = (
        f"SELECT dedup, arg_min(value, (time, value)) AS kept FROM {source} GROUP BY dedup "
        "HAVING min(value) <> max(value)"
    )
    columns = ", ".join(outcome_schema().names)
    rows = f"(SELECT o.* FROM {source} AS o LEFT JOIN ({disputed}) USING (dedup) WHERE kept IS NULL OR value = kept)"
    order = "time, key, name, value, dedup, outcome_id"
    return copy_to(sql, f"SELECT {columns} FROM {rows} ORDER BY {order}", path, FAST)


def _parquet(files: Sequence[Path]) -> str:
    names = ", ".join(f"'{exactly(file)}'" for file in files)
    return f"read_parquet([{names}], file_row_number = true)"
