"""The join against the bare DuckDB query of the same semantics: CPU time and peak memory, one thread each.

    python benchmarks/data.py            10M decisions × 8M outcomes
    python benchmarks/data.py --quick    1M × 0.8M

Both read the same log (Parquet, as ``ingest`` writes it) and write the same columns as Parquet. The bare query counts
each outcome once, applies the window, takes the first outcome or the default, and leaves out what has not matured; it
keeps no late or orphan outcomes, checks no reward, counts nothing, hashes nothing, and promises no order.
Each run is a child process of its own; runs alternate, and the ratio is that of the medians.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sides import alternate, arguments, keep, medians

WINDOW = 3_600_000_000  # microseconds
BACKWARD = 120_000_000
DAY = 86_400_000_000
START = 1_700_000_000_000_000
AS_OF = START + 7 * DAY
FEATURES = 4
GOALS = {"cpu_ratio": 1.15, "peak_gb": 1.5}


def make_log(folder: Path, n: int) -> None:
    """A log artifact of n decisions and 0.8 n outcomes: 5 % sent twice, some late, some of unknown decisions."""
    import msgspec
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from understudy.core.manifest import Manifest
    from understudy.core.problem import ActionSpace, Feature, Problem
    from understudy.data.artifact import write_artifact

    features = tuple(Feature(name=f"x{j}") for j in range(FEATURES))
    problem = Problem(features=features, actions=ActionSpace(names=tuple("abcdefghij")))
    tables = _tables(problem, n)

    def fill(part: Path) -> dict[str, int]:
        (part / "problem.json").write_bytes(msgspec.json.encode(problem))
        for name, columns in tables.items():
            table = pa.table(columns)
            parquet.write_table(table, part / f"{name}.parquet", compression="zstd", row_group_size=122_880)
        return {"decisions": n, "outcomes": len(tables["outcomes"]["key"]), "with_propensity": n}

    write_artifact(folder, Manifest(kind="log", problem_hash=problem.hash), fill)


def _tables(problem, n: int) -> dict[str, dict]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from understudy.data.schema import decision_schema, outcome_schema

    rng, m = np.random.default_rng(0), int(0.8 * n)
    key = rng.integers(0, 2**63, n, dtype=np.uint64)
    time_ = np.sort(rng.integers(0, 7 * DAY, n)) + START
    ids = pc.binary_join_element_wise("d", pc.utf8_lpad(pa.array(np.arange(n)).cast(pa.string()), 8, "0"), "")
    made = {
        "key": key, "decision_id": ids, "episode": key, "unit": key, "time": time_, "t": np.zeros(n, np.int32),
        "policy": np.full(n, 7, np.uint64), "policy_id": pa.array(["p"]).take(pa.array(np.zeros(n, np.int32))),
        "action": rng.integers(0, 10, n, dtype=np.int32), "propensity": rng.integers(1, 101, n) / 100,
    } | {f"context.x{j}": rng.random(n, dtype=np.float32) for j in range(FEATURES)}  # fmt: skip
    decisions = {f.name: made.get(f.name, pa.nulls(n, f.type)) for f in decision_schema(problem)}
    owner = rng.integers(0, n, m)
    when = time_[owner] + rng.exponential(WINDOW / 3, m).astype(np.int64)
    told = key[owner].copy()
    told[rng.choice(m, m // 8000, replace=False)] = 5  # orphans
    row = np.arange(m)
    row[rng.choice(m, m // 20, replace=False)] = rng.integers(0, m, m // 20)  # sent twice
    row = row[np.argsort(when[row], kind="stable")]
    dedup, value = rng.integers(0, 2**63, m, dtype=np.uint64), rng.integers(0, 1001, m) / 1000
    made = {"key": told[row], "decision_id": ids.take(pa.array(owner[row])), "name": np.zeros(m, np.int16),
            "time": when[row], "value": value[row], "dedup": dedup[row]}  # fmt: skip
    return {
        "decisions": decisions,
        "outcomes": {f.name: made.get(f.name, pa.nulls(m, f.type)) for f in outcome_schema()},
    }


def ours(log: Path, out: Path) -> Path:
    """understudy's join, artifact and all."""
    from understudy.data.join import join

    return join(log, window=WINDOW / 1e6, backward=BACKWARD / 1e6, as_of=AS_OF / 1e6, to=out).folder / "steps.parquet"


def bare(log: Path, out: Path) -> Path:
    """The same rows and columns by one DuckDB statement."""
    import duckdb

    out.mkdir()
    sql = duckdb.connect()
    sql.execute("SET threads = 1; SET memory_limit = '1GB'")
    sql.execute(f"SET temp_directory = '{out / 'spill'}'")
    context = ", ".join(f'"context.x{j}"' for j in range(FEATURES))
    decisions, outcomes = (f"read_parquet('{log / name}', file_row_number = true)" for name in _FILES)
    sql.execute(f"""
COPY (
  WITH o AS (SELECT key, dedup, min(file_row_number) AS position, min(time) AS time, min(value) AS value
             FROM {outcomes} GROUP BY key, dedup),
       s AS (SELECT o.key, arg_min(o.value, o.position) AS value, count(*)::INTEGER AS arrived,
                    min(o.time - d.time) / 1e6 AS delay
             FROM o JOIN '{log / _FILES[0]}' AS d USING (key)
             WHERE o.time - d.time < {WINDOW} AND o.time - d.time > -{BACKWARD} GROUP BY o.key)
  SELECT d.file_row_number AS log_row, d.key AS decision, decision_id, episode, episode_id, t, unit, unit_id, time,
         policy, policy_id, {context}, action, allowed, propensity, propensities, coalesce(s.value, 0) AS reward,
         s.value AS "outcome.reward", coalesce(s.arrived, 0)::INTEGER AS arrived, s.delay, true AS terminated,
         false AS truncated
  FROM {decisions} AS d LEFT JOIN s USING (key) WHERE d.time + {WINDOW} <= {AS_OF}
) TO '{out / "steps.parquet"}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)""").fetchall()
    return out / "steps.parquet"


_FILES = ("decisions.parquet", "outcomes.parquet")


def child(which: str, log: Path, out: Path) -> None:
    """Run one side and print its CPU seconds, peak memory and a checksum of its rows."""
    import duckdb
    import pyarrow.parquet

    import understudy.data.join

    assert understudy.data.join and pyarrow.parquet
    before = time.process_time()
    path = {"ours": ours, "bare": bare}[which](log, out)
    spent = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    check = "SELECT count(*), round(sum(reward), 3), sum(arrived), round(sum(delay), 3), sum(log_row)::BIGINT"
    rows = duckdb.connect().execute(f"{check} FROM '{path}'").fetchall()[0]
    print(json.dumps({"cpu_s": spent, "peak_gb": peak, "rows": rows}))


def main() -> int:
    if (chosen := arguments(__doc__, child)) is None:
        return 0
    n = 1_000_000 if chosen.quick else 10_000_000
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as root:
        maker = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import data, pathlib; "
        subprocess.run([sys.executable, "-c", f"{maker}data.make_log(pathlib.Path({root!r}) / 'log', {n})"], check=True)
        runs = alternate(__file__, ("ours", "bare"), Path(root) / "log", chosen.rounds)
    checks = {tuple(run["rows"]) for side in runs.values() for run in side}
    cpu = medians(runs, "cpu_s")
    peak = {side: max(run["peak_gb"] for run in found) for side, found in runs.items()}
    result = {
        "decisions": n, "outcomes": int(0.8 * n), "cpu_s": cpu, "peak_gb": peak, "cpu_ratio": cpu["ours"] / cpu["bare"],
        "goals": GOALS, "same_rows": len(checks) == 1, "python": platform.python_version(), "runs": runs,
        "passed": cpu["ours"] / cpu["bare"] <= GOALS["cpu_ratio"] and peak["ours"] <= GOALS["peak_gb"],
    }  # fmt: skip
    path = keep("data", result, quick=chosen.quick)
    print(f"ratio {result['cpu_ratio']:.3f}, peak {peak['ours']:.2f} GB, same rows: {result['same_rows']}\n{path}")
    return 0 if result["same_rows"] else 1


if __name__ == "__main__":
    sys.exit(main())
