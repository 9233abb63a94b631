"""A study, a run of it or one of its tables, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.runs.sweep.perform import METRICS
from understudy.runs.sweep.study import STUDY, open_study, states

ROWS = 10  # of a table, shown


def is_part(path: Path) -> bool:
    """Whether the path is a study, or a table, which have no manifest of their own."""
    return (path / STUDY).exists() or path.suffix == ".parquet"


def tell(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Lines for a person, and the same as data."""
    return _table(path) if path.suffix == ".parquet" else _study(path)


def final(run: Path) -> list[str]:
    """The last value of every metric of a run; none where the folder is no run."""
    if not (run / METRICS).exists():
        return []
    last: dict[str, tuple[int, float]] = {}
    for row in pq.read_table(run / METRICS).to_pylist():
        last[row["metric"]] = max(last.get(row["metric"], (-1, 0.0)), (row["step"], row["value"]))
    return [f"  {metric}: {value:.6g} at step {step}" for metric, (step, value) in sorted(last.items())]


def _study(path: Path) -> tuple[list[str], dict[str, Any]]:
    study = open_study(path)
    plan, found = study.plan, states(study, {})
    counts = Counter(found.values())
    axes = [f"  {key}: {', '.join(map(str, values))}" for key, values in plan.grid.axes.items()]
    failed = [f"  failed: run {failure.run}: {failure.kind}: {failure.what.splitlines()[0]}"
              for failure in study.failures().values()]  # fmt: skip
    sent = [f"  {each.name}: {len(each.jobs)} jobs at {each.executor}" for each in study.submissions()]
    lines = [
        f"study {plan.experiment.name} ({plan.id}) at {path}",
        f"{plan.grid.total} settings x {len(plan.seeds)} seeds = {plan.total} runs: "
        + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())),
        *(["swept, the first fastest:", *axes] if axes else []),
        f"seeds: {', '.join(map(str, plan.seeds))}",
        *failed,
        *(["submitted:", *sent] if sent else []),
    ]
    data = {"id": plan.id, "name": plan.experiment.name, "axes": dict(plan.grid.axes), "seeds": plan.seeds,
            "states": {str(index): state for index, state in found.items()}, "counts": dict(counts),
            "failures": msgspec.to_builtins(study.failures()),
            "submissions": msgspec.to_builtins(study.submissions())}  # fmt: skip
    return lines, data


def _table(path: Path) -> tuple[list[str], dict[str, Any]]:
    table: pa.Table = pq.read_table(path)
    head = table.slice(0, ROWS).to_pylist()
    lines = [f"{path}: {table.num_rows} rows of {', '.join(table.column_names)}"]
    lines += ["  " + "  ".join(f"{name}={value}" for name, value in row.items()) for row in head]
    return lines, {"rows": table.num_rows, "columns": table.column_names, "first": head}
