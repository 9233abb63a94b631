"""The timeline against the bare DuckDB query of the same neighbors: CPU time and peak memory, one thread each.

    python benchmarks/timeline.py            10M rows
    python benchmarks/timeline.py --quick    1M

Both read one Parquet file: episodes of 20 rows, states as a map of four numbers. The bare query is a warehouse's:
next state, next action, next possible actions, ordinal, time difference, terminal. It checks and counts nothing and
promises no order. ``steps`` is the dataset artifact, checked, sorted and hashed; ``transitions`` the same table as the
bare query's, checked and sorted. Each run is a child process; runs alternate.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from sides import alternate, arguments, keep, medians

LENGTH = 20
GOALS = {"cpu_ratio": 1.15, "peak_gb": 1.2}
SIDES = ("steps", "bare", "transitions")
BARE = """
SELECT *, ROW_NUMBER() OVER w AS ordinal, sequence_number - (FIRST_VALUE(sequence_number) OVER w) AS since_first,
       COALESCE((LEAD(sequence_number) OVER w) - sequence_number, 0) AS time_diff,
       (LEAD(sequence_number) OVER w) IS NULL AS terminal, COALESCE(LEAD(state_features) OVER w, MAP {}) AS next_state,
       COALESCE(LEAD(action) OVER w, '') AS next_action, COALESCE(LEAD(possible_actions) OVER w, []) AS next_possible
FROM decisions WINDOW w AS (PARTITION BY mdp_id ORDER BY sequence_number)"""


def make_table(path: Path, n: int) -> None:
    """n decisions of n/20 episodes."""
    import duckdb

    sql = duckdb.connect()
    sql.execute("SET threads = 1; SELECT setseed(0.5)")
    sql.execute(f"""
COPY (SELECT 'mdp' || lpad(((i // {LENGTH}) * 7919 % {n // LENGTH})::VARCHAR, 8, '0') AS mdp_id,
             i % {LENGTH} AS sequence_number, MAP([0::BIGINT, 1, 2, 3], [random(), random(), random(), random()])
             AS state_features, CASE WHEN random() < .5 THEN 'left' ELSE 'right' END AS action,
             .5::DOUBLE AS action_probability, random() AS reward, ['left', 'right'] AS possible_actions,
             '2026-01-01' AS ds FROM range({n}) AS t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")


def problem():
    from understudy.core.problem import ActionSpace, Feature, Problem

    features = tuple(Feature(name=str(j)) for j in range(4))
    return Problem(features=features, actions=ActionSpace(names=("left", "right")), discount=0.99, horizon=None)


def steps(source: Path, out: Path) -> list:
    from understudy.data.timeline.run import timeline

    counts = timeline(source, problem=problem(), to=out).counts
    return [counts["steps"], counts["episodes"]]


def transitions(source: Path, out: Path) -> list:
    import duckdb

    from understudy.data.timeline.transitions import transitions as made

    path = made(source, problem=problem(), to=out)
    return list(duckdb.connect().execute(f"SELECT count(*), count(*) FILTER (last) FROM '{path}'").fetchall()[0])


def bare(source: Path, out: Path) -> list:
    import duckdb

    out.mkdir()
    sql = duckdb.connect()
    sql.execute("SET threads = 1; SET memory_limit = '1GB'")
    sql.execute(f"SET temp_directory = '{out / 'spill'}'")
    sql.execute(f"CREATE VIEW decisions AS SELECT * FROM '{source}'")
    how = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
    sql.execute(f"COPY ({BARE}) TO '{out / 'bare.parquet'}' {how}").fetchall()
    return list(sql.execute(f"SELECT count(*), count(*) FILTER (terminal) FROM '{out / 'bare.parquet'}'").fetchall()[0])


def child(which: str, source: Path, out: Path) -> None:
    """Run one side and print its CPU seconds, peak memory, and how many rows and episodes it made."""
    import duckdb
    import pyarrow.parquet

    import understudy.data.timeline.run

    assert duckdb and pyarrow.parquet and understudy.data.timeline.run
    before = time.process_time()
    rows = {"steps": steps, "bare": bare, "transitions": transitions}[which](source, out)
    spent = time.process_time() - before
    print(
        json.dumps(
            {"cpu_s": spent, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "rows": rows}
        )
    )


def main() -> int:
    if (chosen := arguments(__doc__, child)) is None:
        return 0
    n = 1_000_000 if chosen.quick else 10_000_000
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as root:
        source = Path(root) / "table.parquet"
        make_table(source, n)
        runs = alternate(__file__, SIDES, source, chosen.rounds)
    same = len({tuple(run["rows"]) for side in runs.values() for run in side}) == 1
    cpu = medians(runs, "cpu_s")
    peak = {side: max(run["peak_gb"] for run in found) for side, found in runs.items()}
    ratio = cpu["steps"] / cpu["bare"]
    result = {
        "rows": n, "cpu_s": cpu, "peak_gb": peak, "cpu_ratio": ratio, "goals": GOALS, "same_rows": same,
        "transitions_cpu_ratio": cpu["transitions"] / cpu["bare"], "python": platform.python_version(), "runs": runs,
        "passed": same and ratio <= GOALS["cpu_ratio"] and peak["steps"] <= GOALS["peak_gb"],
    }  # fmt: skip
    path = keep("timeline", result, quick=chosen.quick)
    print(f"ratio {ratio:.3f}, peak {peak['steps']:.2f} GB, same rows: {same}\n{path}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
