"""Saved results: one Parquet table per study, and its companions. Equal studies give equal bytes, wherever they ran.

results.parquet   setting, seed, step, metric, value
episodes.parquet  setting, seed, phase, step, episode, return, steps: in training, evaluations, the final judgment
runs.parquet      index, setting, seed, run, state, error, config
times.parquet     setting, seed, what, seconds; host, started, ended: never the same twice, so they stand alone
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.runs.sweep.perform import EPISODE_SCHEMA, EPISODES, METRIC_SCHEMA, METRICS
from understudy.runs.sweep.study import Study

TABLES = "tables"
RESULTS, RUNS, TIMES = "results.parquet", "runs.parquet", "times.parquet"
_KEY = [("setting", pa.int32()), ("seed", pa.int64())]
_RUNS = pa.schema([("index", pa.int64()), *_KEY, ("run", pa.string()), ("state", pa.string()), ("error", pa.string()),
                   ("config", pa.string())])  # fmt: skip
_TIMES = pa.schema([*_KEY, ("what", pa.string()), ("seconds", pa.float64()), ("host", pa.string()),
                    ("started", pa.float64()), ("ended", pa.float64())])  # fmt: skip


def gather(study: Study) -> Path:
    """Write the tables of all runs that are finished by now; returns their folder. Rows are in order of index."""
    done, failures, times = study.done(), study.failures(), study.times()
    results, episodes, runs, seconds = [], [], [], []
    for run in study.known():
        failure = failures.get(run.id)
        state = "done" if run.id in done else "failed" if failure else "missing"
        error = f"{failure.kind}: {failure.what}" if failure and state == "failed" else ""
        config = msgspec.json.encode(run.config, order="deterministic").decode()
        runs.append((run.index, run.setting, run.seed, run.id, state, error, config))
        if state != "done":
            continue
        results.append(_keyed(pq.read_table(study.path(run) / METRICS), run.setting, run.seed))
        episodes.append(_keyed(pq.read_table(study.path(run) / EPISODES), run.setting, run.seed))
        told = times.get(run.id, {"seconds": {}})
        seconds += [
            (run.setting, run.seed, what, value, told["host"], told["started"], told["ended"])
            for what, value in sorted(told["seconds"].items())
        ]
    folder = study.folder / TABLES
    folder.mkdir(exist_ok=True)
    for name, parts in ((RESULTS, results), (EPISODES, episodes)):
        _write(pa.concat_tables(parts) if parts else _empty(name), folder / name)
    _write(_table(runs, _RUNS), folder / RUNS)
    _write(_table(seconds, _TIMES), folder / TIMES)
    if study.away and all(row[4] != "missing" for row in runs):  # there nothing changes, so only when all is in
        for name in (RESULTS, EPISODES, RUNS, TIMES):
            study.put(f"{TABLES}/{name}", (folder / name).read_bytes())
    return folder


def _keyed(table: pa.Table, setting: int, seed: int) -> pa.Table:
    """The same rows behind the columns that say whose they are."""
    columns = [pa.array([value] * len(table), kind) for value, (_, kind) in zip((setting, seed), _KEY)]
    return pa.Table.from_arrays([*columns, *table.columns], schema=pa.schema([*_KEY, *table.schema]))


def _empty(name: str) -> pa.Table:
    inner = METRIC_SCHEMA if name == RESULTS else EPISODE_SCHEMA
    return pa.schema([*_KEY, *inner]).empty_table()


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows)) or [()] * len(schema)
    return pa.Table.from_arrays([pa.array(column, f.type) for column, f in zip(columns, schema)], schema=schema)


def _write(table: pa.Table, path: Path) -> None:
    """Whole or not at all: somebody may be reading."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table, partial)
    os.replace(partial, path)
