"""Outcomes → rewards: what counts for which decision, and when a decision may be learned from at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace as replaced
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as parquet

from understudy import __version__
from understudy.core.errors import ConfigError, DataError
from understudy.core.manifest import Manifest, Parent
from understudy.core.problem import Problem
from understudy.data.dataset import STEPS, ParquetDataset
from understudy.data.engine import MASTER, PARQUET, Engine, opened, reaching, write
from understudy.data.join_sql import EARLY, JOINED, LATE, ORPHAN, PAST, WAITING, Query
from understudy.data.log import DECISIONS, OUTCOMES, PROBLEM, Log, copy_to, text
from understudy.data.segments import merge, open_segments
from understudy.data.times import MICRO, duration, instant, iso

LATE_FILE, ORPHANS_FILE, QUARANTINED_FILE = "late.parquet", "orphans.parquet", "quarantined.parquet"


def join(
    logs: str | Path | Log | Sequence[str | Path | Log],
    *,
    window: str | float,
    backward: str | float = "2m",
    as_of: str | float | None = None,
    after: str | float | None = None,
    to: str | Path | None = None,
    problem: Problem | None = None,
    replace: bool = False,
    engine: str = "duckdb",
    master: str = MASTER,
) -> ParquetDataset:
    """Attach outcomes to decisions and write a dataset artifact.

    An outcome counts for its decision if −backward < t_outcome − t_decision < window (or both are at one instant).
    A decision enters the dataset only when its window has closed, t_decision + window ≤ as_of, even if it was
    rewarded at once: otherwise quick rewards would be over-represented.

    Args:
        logs: a log artifact, or its folder; or several segments of one log, in whatever pieces it was exported: the
            dataset is the one that the whole log would give.
        window, backward: durations, as seconds or text such as ``10m``, ``7d``.
        as_of: the moment up to which the log is known to be complete, ISO 8601 text or seconds; by default the
            newest time in the log (a log declared complete: that plus the window).
        after: leave out decisions whose window had closed by then, as a dataset with that ``as_of`` holds them.
        to: folder of the artifact; None makes one that lives as long as the process.
        problem: the log's problem with another reward, range, default or aggregation; by default the log's own.
        replace: put the dataset in the place of another one.
        engine: ``duckdb``, or ``spark``, which also writes to its own locations; see ``timeline``.
        master: where Spark runs.

    Returns:
        The dataset. Its counts reconcile: decisions = steps + pending + quarantined (+ past), and
        outcomes = joined + duplicates + late + early + orphans + waiting (+ outcomes_past). Outcomes that did not
        count are kept in late.parquet and orphans.parquet, mature decisions that may not be used in
        quarantined.parquet. Of several segments ``repeated`` decisions and ``disputed`` outcomes were left out before.

    Raises:
        DataError: no decision is left.
    """
    segments = open_segments(logs)
    chosen = _same_rows(segments[0].problem, problem)
    span, before = duration(window), duration(backward, field="backward")
    if span == 0:
        raise ConfigError("window is 0, so no outcome could ever count", hint="Give a duration, such as 1h.")
    until = _as_of(segments, span) if as_of is None else instant(as_of, field="as_of")
    since = None if after is None else instant(after, field="after")
    config = {"window": span / MICRO, "backward": before / MICRO, "as_of": until, "columns": _columns(segments)}
    manifest = Manifest(
        kind="dataset",
        problem_hash=chosen.hash,
        parents=tuple(Parent(id=log.manifest.id, kind="log") for log in segments),
        config=config if since is None else config | {"after": since},
        code_version=__version__,
    )
    query = Query(chosen, "", "", span, before, until, since)

    def fill(part: Path) -> dict[str, int]:
        with opened(engine, master, part) as sql:
            return _fill(part, query, segments, sql)

    with reaching(engine, master, to):
        return ParquetDataset(*write(to, "data", manifest, fill, master=master, replace=replace))


def _same_rows(logged: Problem, wanted: Problem | None) -> Problem:
    """The problem to join under: it may reward differently, but not read the rows differently."""
    if wanted is None:
        return logged
    for name in ("features", "actions", "outcome_names", "horizon", "unit", "ignore"):
        if getattr(logged, name) != getattr(wanted, name):
            raise ConfigError(
                f"the log was validated under other {name.replace('_', ' ')} than this problem has",
                "Its rows would mean something else than they were checked for.",
                "Ingest the events again under this problem.",
                field=name,
            )
    return wanted


def _as_of(segments: Sequence[Log], window: int) -> int:
    """The newest time in the log; where the log is complete, late enough for every window to have closed."""
    newest = max(_newest(log.folder / name) for log in segments for name in (DECISIONS, OUTCOMES))
    return newest + window if all(log.manifest.config.get("complete") for log in segments) else newest


def _newest(path: Path) -> int:
    """Largest ``time`` of a Parquet file, read from its footer where that tells."""
    with parquet.ParquetFile(path) as file:
        leaf = next(j for j in range(file.metadata.num_columns) if file.schema.column(j).path == "time")
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        found = [group.column(leaf).statistics for group in groups if group.num_rows]
        if all(statistics is not None and statistics.has_min_max for statistics in found):
            return max((statistics.max for statistics in found), default=-(2**62))
        batches = file.iter_batches(columns=["time"])
        return max(int(batch.column(0).to_numpy().max()) for batch in batches if batch.num_rows)


def _columns(segments: Sequence[Log]) -> list[str]:
    """The optional columns that every decision of the log has."""
    names = ("allowed", "propensities", "propensity")
    return [n for n in names if all(log.counts.get(f"with_{n}", 0) == log.counts["decisions"] for log in segments)]


def _fill(folder: Path, query: Query, segments: Sequence[Log], sql: Engine) -> dict[str, int]:
    (folder / PROBLEM).write_bytes(msgspec.json.format(msgspec.json.encode(query.problem)) + b"\n")
    try:
        whole = merge(sql.local, segments, query.problem, folder / "whole")
        query = replaced(query, decisions=sql.numbered(whole.decisions), outcomes=sql.numbered(whole.outcomes))
        sql.keep("hits", query.hits())
        fates = dict(sql.execute("SELECT fate, count(*) FROM hits GROUP BY fate").fetchall())
        sql.fetch("lost", query.lost())
        copy_to(sql.local, "SELECT * FROM lost WHERE fate <> 'orphan'", folder / LATE_FILE, PARQUET)
        copy_to(sql.local, "SELECT * EXCLUDE (delay) FROM lost WHERE fate = 'orphan'", folder / ORPHANS_FILE, PARQUET)
        mature, pending = _due(sql, query)
        steps = sql.copy(query.dataset(sort=not sql.orderly or not query.problem.bandit), folder / STEPS)
        if not _in_order(folder / STEPS):  # the engine promises no order behind a join, though it keeps it
            steps = sql.copy(query.dataset(sort=True), folder / STEPS)
        faults = _faults(sql, query, folder, mature - steps)
        counts = _about(sql.local, folder / STEPS, query.problem.bandit)
    finally:
        shutil.rmtree(folder / "whole", ignore_errors=True)
    n = whole.counts["decisions"]
    if not steps:
        raise _nothing_left(query, n, mature, faults)
    names = {JOINED: "joined", EARLY: "early", LATE: "late", ORPHAN: "orphans", WAITING: "waiting"}
    if query.after is not None:
        names[PAST] = "outcomes_past"
        counts["past"] = n - mature - pending
    counts |= {name: fates.get(fate, 0) for fate, name in names.items()}
    counts |= whole.counts | {"steps": steps, "pending": pending}
    counts["duplicates"] = counts["outcomes"] - sum(fates.values())
    return counts | {"quarantined": mature - steps} | {f"quarantined.{reason}": n for reason, n in faults.items()}


def _due(sql: Engine, query: Query) -> tuple[int, int]:
    """How many decisions are due for the dataset, and how many have a window that is still open."""
    counts = f"count(*) FILTER (WHERE {query.due}), count(*) FILTER (WHERE closes > {query.as_of})"
    return sql.execute(f"SELECT {counts} FROM {query.d} AS d").fetchall()[0]


def _in_order(path: Path) -> bool:
    """Whether the rows stand in the log's order: the range of every row group, and the rows of three of them.

    A join that loses the order scatters rows over the whole file, so the ranges would overlap.
    """
    with parquet.ParquetFile(path) as file:
        groups = range(file.metadata.num_row_groups)
        ranges = [file.metadata.row_group(i).column(0).statistics for i in groups]
        if any(a.max >= b.min for a, b in pairwise(ranges)):
            return False
        for i in {0, len(ranges) // 2, len(ranges) - 1} & set(groups):
            rows = file.read_row_group(i, columns=["log_row"]).column(0).to_numpy()
            if not (rows[1:] > rows[:-1]).all():
                return False
    return True


def _about(sql: Any, path: Path, bandit: bool) -> dict[str, int]:
    """Figures that a dataset is asked for before it is read."""
    episodes = "count(*)" if bandit else "count(*) FILTER (terminated)"
    found = sql.sql(f"SELECT {episodes}, count(*) FILTER (arrived = 0) FROM '{text(path)}'").fetchall()[0]
    return dict(zip(("episodes", "defaulted"), found))


def _faults(sql: Engine, query: Query, folder: Path, expected: int) -> dict[str, int]:
    if not expected:
        return {}
    path = folder / QUARANTINED_FILE
    sql.copy(query.faulty(), path)
    return dict(sql.local.sql(f"SELECT fault, count(*) FROM '{text(path)}' GROUP BY fault ORDER BY fault").fetchall())


def _nothing_left(query: Query, n: int, mature: int, faults: dict[str, int]) -> DataError:
    if not mature and query.after is not None:
        return DataError(
            f"the window of none of {n:,} decisions has closed after {iso(query.after)} and by {iso(query.as_of)}",
            "There is nothing that an earlier dataset does not hold already.",
            "Wait, or give a shorter window.",
        )
    if not mature:
        return DataError(
            f"the window of none of {n:,} decisions has closed by {iso(query.as_of)}",
            "Learning from a decision before its outcomes are in would favor quick rewards.",
            "Wait, give a shorter window, or say with as_of up to when the log is complete.",
        )
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in faults.items())
    return DataError(
        f"none of {mature:,} decisions whose window has closed has a usable reward: {reasons}",
        f"Rewards must be finite and in the declared range {list(query.problem.reward_range)}.",
        "Correct reward_range, reward or the outcomes' defaults in the problem.",
        field="reward_range",
    )
