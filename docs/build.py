"""Tables from benchmark results: everything between ``<!-- table: NAME -->`` marks in README.md is written here.

    python docs/build.py [--check]

``--check`` writes nothing and fails if a table is stale. Pages that belong to one benchmark (docs/coverage.md,
docs/gate.md, docs/audit.md) are written by that benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> dict[str, Any] | None:
    """The results of a benchmark, None if it has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def speed() -> list[str]:
    """What was measured beside a peer in the same run, as ratios of CPU time."""
    rows = ["| what | beside | ratio of CPU time | bar |", "|---|---|---|---|"]
    if ope := load("ope"):
        names = {
            "point_100000": "seven estimators, 100,000 × 10 actions",
            "point_1000000": "seven estimators, 1,000,000 × 10 actions",
            "interval_100000": "the same with intervals (block jackknife; peer: bootstrap of 1,000)",
        }
        for key, what in names.items():
            task = ope["tasks"][key]
            rows.append(f"| {what} | {ope['peer']} | {task['ratio']:.1f}× faster | ≥ {task['goal']:g}× |")
    if data := load("data"):
        what = f"join of {data['decisions'] / 1e6:g} million decisions and {data['outcomes'] / 1e6:g} million outcomes"
        bar = f"≤ {data['goals']['cpu_ratio']}×, ≤ {data['goals']['peak_gb']} GB"
        what += f", peak {data['peak_gb']['ours']:.2f} GB"
        rows.append(f"| {what} | the bare DuckDB query | {data['cpu_ratio']:.2f}× | {bar} |")
    if serve := load("serve"):
        bare, mlflow = (f"{serve['ratios'][key]['ratio']:.1f}" for key in ("json", "mlflow"))
        goals = serve["goals"]
        what = "a decision over HTTP, durable before its answer"
        rows.append(f"| {what} | a bare JSON handler | {bare}× | ≤ {goals['json']:g}× |")
        rows.append(f"| the same | `mlflow models serve` | {mlflow}× faster | ≥ {goals['mlflow']:g}× |")
    if imports := load("imports"):
        rows.append(f"| `import understudy` | `import numpy` | {imports['ratio']:.2f}× | ≤ {imports['bar']}× |")
    return rows


def demos() -> list[str]:
    """The demo over many seeds, judged against the truth."""
    rows = [
        "| data | seeds | intervals that cover the truth | refused | good candidate shipped | bad one shipped |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("digits", "shuttle"):
        if found := load(f"demo-{name}"):
            s = found["summary"]
            rows.append(
                f"| {name} | {s['seeds']} | {s['coverage']:.1%} of {s['intervals']} | {s['refused']} | "
                f"{s['good_shipped']} | {s['bad_shipped']} |"
            )
    return rows


TABLES: dict[str, Callable[[], list[str]]] = {"speed": speed, "demos": demos}


def filled(text: str) -> str:
    """The text with every marked table written anew."""
    for name, make in TABLES.items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = before + start + "\n".join(make()) + "\n" + end + after
    return text


def main() -> None:
    page = ROOT / "README.md"
    before, after = page.read_text(), filled(page.read_text())
    if "--check" in sys.argv:
        raise SystemExit(0 if before == after else "README.md is stale: make docs")
    page.write_text(after)


if __name__ == "__main__":
    main()
