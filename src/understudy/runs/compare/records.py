"""The runs of one or several studies as rows: who, on what task, with which setting and seed, and what it scored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import canonical, content_id
from understudy.core.registry import unknown
from understudy.runs.compare.asked import Asked
from understudy.runs.sweep.study import STUDY, open_study
from understudy.runs.sweep.table import RESULTS, RUNS, TABLES, gather

TASK = ("env", "env_settings", "on", "data")  # what is learned, not how


@dataclass(frozen=True)
class Record:
    """One run. ``setting`` names all of its config but the task; ``score`` is NaN unless it is done."""

    arm: str
    task: str
    setting: str
    seed: int
    state: str
    error: str
    fields: Mapping[str, Any]
    score: float = math.nan
    curve: tuple[np.ndarray, np.ndarray] = field(default=(np.empty(0), np.empty(0)), repr=False, compare=False)


def read_records(studies: Sequence[Path], wanted: Asked) -> list[Record]:
    """All runs of the studies, each once; a run that stands in two studies counts as the one that is done.

    Raises: StoreError for a folder that is no study; ConfigError for an unknown metric or field.
    """
    rows: dict[str, tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]] = {}
    known: set[str] = set()
    for folder in studies:
        for row, points, metrics in _read(folder, (wanted.metric, wanted.curve)):
            known |= metrics
            if row["run"] not in rows or row["state"] == "done":
                rows[row["run"]] = row, points
    done = sum(row["state"] == "done" for row, _ in rows.values())
    if not done:
        raise StoreError("no run of these studies is done", hint="understudy sweep does what is missing.")
    if wanted.metric not in known:
        raise unknown("metric of these studies:", wanted.metric, sorted(known))
    flat = {run: flattened(json.loads(row["config"])) for run, (row, _) in rows.items()}
    by = _telling([_field(name, flat.values()) for name in wanted.by], flat.values())
    tasks = _task_names(flat.values())
    return [
        _record(row, points, flat[run], by, tasks, wanted)
        for run, (row, points) in sorted(rows.items(), key=lambda item: (item[1][0]["seed"], item[0]))
    ]


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted fields; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _read(folder: Path, names: Iterable[str]) -> Iterable[tuple[dict[str, Any], dict[str, Any], set[str]]]:
    """Rows of ``runs.parquet`` with the points of the metrics asked for, and the metrics there are."""
    tables = _tables(Path(folder))
    runs = pq.read_table(tables / RUNS).to_pylist()
    results = pq.read_table(tables / RESULTS)
    metrics = set(results["metric"].unique().to_pylist())
    points: dict[tuple[int, int], dict[str, list[tuple[int, float]]]] = {}
    kept = results.filter(_among(results["metric"], names))
    for setting, seed, step, metric, value in zip(*(kept[name].to_pylist() for name in kept.column_names)):
        points.setdefault((setting, seed), {}).setdefault(metric, []).append((step, value))
    for row in runs:
        yield row, points.get((row["setting"], row["seed"]), {}), metrics


def _among(column: Any, names: Iterable[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(column, value_set=pa.array(list(names)))  # pyright: ignore[reportAttributeAccessIssue]


def _tables(folder: Path) -> Path:
    """The study's tables, gathered anew where runs were finished since."""
    tables = folder / TABLES
    if not (folder / STUDY).exists() and not (tables / RUNS).exists():
        raise StoreError(
            f"{folder} holds no study: it has no {STUDY}", hint="understudy sweep makes one.", field=str(folder)
        )
    finished = len(list((folder / "runs").glob("*/manifest.json"))) + len(list((folder / "failures").glob("*.json")))
    if (tables / RUNS).exists():
        states = pq.read_table(tables / RUNS, columns=["state"])["state"].to_pylist()
        if sum(state != "missing" for state in states) >= finished:
            return tables
    return gather(open_study(folder))


def _record(row, points, flat, by, tasks, wanted: Asked) -> Record:
    own = {key: value for key, value in flat.items() if not _of_task(key)}
    course = sorted(points.get(wanted.curve, []))
    final = sorted(points.get(wanted.metric, []))
    state, error = row["state"], row["error"]
    score = final[-1][1] if final and state == "done" else math.nan
    if state == "done" and not math.isfinite(score):
        state, error = "failed", f"{wanted.metric} is {'not a number' if final else 'not there'}"
    return Record(
        arm=" · ".join(_said(name, flat.get(name, "–")) for name in by),
        task=tasks[_task(flat)],
        setting=content_id(canonical(own))[:16],
        seed=row["seed"], state=state, error=error, fields=own, score=score,
        curve=(np.array([at for at, _ in course], np.float64), np.array([value for _, value in course])),
    )  # fmt: skip


def _field(name: str, configs: Iterable[Mapping[str, Any]]) -> str:
    """A field by its dotted name, or by the end of it where only one ends so: ``family`` is ``settings.family``."""
    known = {key for config in configs for key in config}
    if name in known:
        return name
    near = [key for key in known if key.endswith(f".{name.removeprefix('learner.')}")]
    if len(near) != 1:
        raise unknown("field of these runs:", name, sorted(known))
    return near[0]


def _telling(names: Sequence[str], configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The fields that tell runs apart: what all share is not said of each. The first, where nothing does."""
    configs = list(configs)
    telling = [name for name in names if len({_word(flat.get(name, "–")) for flat in configs}) > 1]
    return telling or list(names[:1])


def _of_task(key: str) -> bool:
    return key.partition(".")[0] in TASK


def _task(flat: Mapping[str, Any]) -> str:
    """A task's identity: a dataset is what it holds, not where it lies."""
    return canonical({key: value for key, value in flat.items() if _of_task(key) and key != "on"}).decode()


def _task_names(configs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Task → what to call it: its world or dataset, and settings of the world where two worlds have one name."""
    found: dict[str, tuple[str, str]] = {}
    for flat in configs:
        short = flat.get("env") or Path(str(flat.get("on"))).name
        rest = {k.removeprefix("env_settings."): v for k, v in flat.items() if k.startswith("env_settings.")}
        long = ", ".join(f"{key}={_word(value)}" for key, value in sorted(rest.items()))
        found[_task(flat)] = short, f"{short} {long}".strip()
    shorts = [short for short, _ in found.values()]
    names = {task: long if shorts.count(short) > 1 else short for task, (short, long) in found.items()}
    if len(set(names.values())) < len(names):
        raise ConfigError(f"two tasks are called {max(names.values(), key=list(names.values()).count)!r}",
                          "Their runs would be mixed.", "Compare them one after the other.", field="env")  # fmt: skip
    return names


def _said(name: str, value: Any) -> str:
    """A word speaks for itself; a number is said with what it is a number of."""
    return value if isinstance(value, str) else f"{name.rpartition('.')[2]}={_word(value)}"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
