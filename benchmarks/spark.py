"""The timeline's one text on DuckDB and on Spark, from Parquet to Parquet: CPU seconds of everything that ran.

    python benchmarks/spark.py            1M rows
    python benchmarks/spark.py --quick    50k

Both sides read the table of benchmarks/timeline.py and write what ``timeline`` writes, sorted and checked. Spark runs
under local[2], Java included from its start; what an idle session costs is measured too. CPU seconds are those of the
process and of its children. ``text`` is the query alone, ``verb`` the whole artifact. The ratio is that of the medians.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import tempfile
from pathlib import Path

from sides import alternate, arguments, keep, medians
from timeline import make_table, problem

GOAL = 7.0
SIDES = ("duckdb text", "spark text", "duckdb verb", "spark verb", "spark idle")


def verb(source: Path, out: Path, engine: str) -> int:
    """The artifact. Returns its number of steps."""
    from understudy.data.timeline.run import timeline

    return timeline(source, problem=problem(), to=out, engine=engine).counts["steps"]


def text(source: Path, out: Path, engine: str) -> int:
    """The text alone, into Parquet as the engine writes it."""
    from understudy.data.engine import PARQUET, opened
    from understudy.data.sources import resolve
    from understudy.data.timeline.run import connect
    from understudy.data.timeline.sql import Query

    out.mkdir()
    with opened(engine, "local[2]", out, connect) as sql:
        table = sql.table(resolve(source), problem(), {})
        query = Query(problem(), table).steps()
        if engine == "duckdb":
            return sql.execute(f"COPY ({query}) TO '{out / 'steps.parquet'}' {PARQUET}").fetchall()[0][0]
        from understudy.data.spark.session import running

        with running() as session:
            session.read.parquet(f"file://{source}").createOrReplaceTempView("decisions")
            session.sql(sql.said(query)).write.parquet(f"file://{out / 'steps'}", compression="zstd")
            return session.read.parquet(f"file://{out / 'steps'}").count()


def idle(source: Path, out: Path, engine: str) -> int:
    """A session that starts and stops."""
    from understudy.data.spark.session import running

    out.mkdir()
    with running() as session:
        return session.range(1).count()


def child(side: str, source: Path, out: Path) -> None:
    """Run one side and print the CPU seconds of this process and of those it started and waited for."""
    import duckdb
    import pyarrow.parquet

    assert duckdb and pyarrow.parquet
    engine, what = side.split()
    before = resource.getrusage(resource.RUSAGE_SELF)
    rows = {"verb": verb, "text": text, "idle": idle}[what](source, out, engine)
    after, java = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu_s": own + java.ru_utime + java.ru_stime, "rows": rows}))


def main() -> int:
    if (chosen := arguments(__doc__, child)) is None:
        return 0
    n = 50_000 if chosen.quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as root:
        source = Path(root) / "table.parquet"
        make_table(source, n)
        runs = alternate(__file__, SIDES, source, chosen.rounds)
    cpu = medians(runs, "cpu_s")
    ratio, whole = cpu["spark text"] / cpu["duckdb text"], cpu["spark verb"] / cpu["duckdb verb"]
    same = {run["rows"] for side, found in runs.items() if side != "spark idle" for run in found} == {n}
    result = {
        "rows": n, "cpu_s": cpu, "ratio": ratio, "verb_ratio": whole, "goal": GOAL, "same_rows": same,
        "without_start": (cpu["spark text"] - cpu["spark idle"]) / cpu["duckdb text"],
        "python": platform.python_version(), "runs": runs, "passed": same and ratio >= GOAL,
    }  # fmt: skip
    path = keep("spark", result, quick=chosen.quick)
    print(
        f"Spark takes {ratio:.1f} times DuckDB's CPU for the text, {whole:.1f} for the verb; same rows: {same}\n{path}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
