"""What a sweep costs over the bare commands, how idle its workers are, and what the shared compilation cache saves.

    python benchmarks/sweep_overhead.py [--quick] [PART ...]     → results/sweep-overhead.json

overhead: ``understudy run STUDY --index k`` by a loop of the shell, 200 times, against ``understudy sweep`` on the
local pool; CPU seconds of all processes, in blocks that alternate, so that both see the same load of the machine.
idle: 20 seeds of a learner on logs of CartPole, two workers; 1 - (time of jobs) / (workers x time of the whole); and
the same with five runs to a job, which share its imports.
cache: the first run of a learner that compiles, and a second one with what the first has compiled; equal results.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from understudy.runs.executors.array import Array
from understudy.runs.sweep.experiment import read_experiment
from understudy.runs.sweep.study import begin, open_study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "sweep-overhead.json"
UNDERSTUDY = Path(sys.executable).with_name("understudy")
WORKERS = 2
_SUBREAPER = 36  # prctl: who is orphaned below us becomes our child, so that its CPU time is counted too


def cpu_of(act: Callable[[], Any]) -> float:
    """CPU seconds of all processes that ``act`` starts, and of those they start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def quiet(line: list[object]) -> None:
    """A command that must succeed."""
    subprocess.run(list(map(str, line)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def no_ops(folder: Path, name: str, runs: int) -> tuple[Path, Path]:
    """An experiment of runs that do next to nothing, and where its study is to lie."""
    file = folder / f"{name}.yaml"
    fields = {"name": "no-op", "learner": "uniform", "env": "bandit", "log": {"episodes": 20},
              "evaluate": {"episodes": 20}, "seeds": runs, "resources": {"memory_mb": 500}}  # fmt: skip
    file.write_bytes(msgspec.yaml.encode(fields))
    return file, folder / name


def bare(folder: Path, name: str, runs: int) -> float:
    """A loop of the shell over the lines that the sweep's jobs are."""
    file, study = no_ops(folder, name, runs)
    begin(read_experiment(file), study)
    threads = "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
    loop = f"{threads}; for k in $(seq 0 {runs - 1}); do '{UNDERSTUDY}' run '{study}' --index $k || exit 1; done"
    return cpu_of(lambda: quiet(["sh", "-c", loop]))


def swept(folder: Path, name: str, runs: int) -> float:
    """The same runs by sweep: the verb, its pool, and their jobs."""
    file, study = no_ops(folder, name, runs)
    spent = cpu_of(lambda: quiet([UNDERSTUDY, "sweep", file, "--to", study]))
    assert len(open_study(study).done()) == runs
    return spent


def overhead(folder: Path, quick: bool, runs: int = 200) -> dict[str, Any]:
    """CPU seconds per run, both ways; each block of a sweep pays for the verb itself, as any sweep does once."""
    blocks, each = (1, 5) if quick else (4, runs // 4) if runs >= 100 else (1, runs)
    spent: dict[str, list[float]] = {"bare": [], "swept": []}
    for block in range(blocks):
        for name, way in (("bare", bare), ("swept", swept))[:: 1 if block % 2 else -1]:
            spent[name].append(way(folder, f"{name}{block}", each) / each)
            print(f"  {name}: {spent[name][-1]:.3f} s of CPU per run", flush=True)
    means = {name: sum(values) / blocks for name, values in spent.items()}
    return {"runs": blocks * each, "blocks": spent, "bare_cpu_s": means["bare"], "swept_cpu_s": means["swept"],
            "overhead_cpu_s_per_run": means["swept"] - means["bare"]}  # fmt: skip


def cartpole(folder: Path, name: str, **fields: Any) -> Path:
    """An offline study of CartPole."""
    file = folder / f"{name}.yaml"
    base = {"name": name, "learner": "bcq", "env": "cartpole", "log": {"with": "uniform", "episodes": 200},
            "evaluate": {"episodes": 100}, "resources": {"memory_mb": 2000}}  # fmt: skip
    file.write_bytes(msgspec.yaml.encode(base | fields))
    return file


def idle(folder: Path, quick: bool, group: int = 1) -> dict[str, Any]:
    """Two measures: by when jobs were started and had ended, and by when runs were, without a worker's imports."""
    seeds, updates = (4, 500) if quick else (20, 20_000)
    file = cartpole(folder, "idle", seeds=seeds, settings={"updates": updates}, group=group)
    cluster, study = folder / "cluster.yaml", folder / "idle"
    cluster.write_text(f"workers: {WORKERS}\n")
    quiet([UNDERSTUDY, "sweep", file, "--to", study, "--cluster", cluster])
    spans = [span for path in (study / "jobs").iterdir() if path.is_dir() for span in Array(path).spans()]
    times = pq.read_table(study / "tables" / "times.parquet").to_pylist()
    runs = {(row["setting"], row["seed"]): (row["started"], row["ended"]) for row in times}
    return {"seeds": seeds, "workers": WORKERS, "updates": updates, "jobs": len(spans), "runs_per_job": group,
            "idle_by_jobs": idle_share(spans, spans), "idle_by_runs": idle_share(list(runs.values()), spans),
            "cpu_s_per_run": sum(r["seconds"] for r in times if r["what"] == "run_cpu") / len(runs)}  # fmt: skip


def idle_share(busy: list[tuple[float, float]], whole: list[tuple[float, float]]) -> float:
    """1 - busy time / (workers x the time from the first start to the last end)."""
    length = max(end for _, end in whole) - min(start for start, _ in whole)
    return 1 - sum(end - start for start, end in busy) / (WORKERS * length)


def cache(folder: Path, quick: bool) -> dict[str, Any]:
    """CPU seconds of one whole command: without a cache, with an empty one, with what that one left."""
    file = cartpole(folder, "cache", seeds=1, settings={"updates": 2_000})
    spent, bytes_of = {}, {}
    for name, place in (("without", ""), ("empty", str(folder / "jax")), ("filled", str(folder / "jax"))):
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": place} if place else {}
        study = folder / name
        spent[name] = cpu_of(lambda study=study: quiet([UNDERSTUDY, "run", file, "--to", study]))
        bytes_of[name] = [(study / "tables" / t).read_bytes() for t in ("results.parquet", "episodes.parquet")]
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    return {"cpu_s": spent, "results_equal": bytes_of["without"] == bytes_of["empty"] == bytes_of["filled"]}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "overhead": overhead, "idle": idle, "idle_grouped": lambda folder, quick: idle(folder, quick, 5), "cache": cache,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--runs", type=int, default=200, help="of overhead, each way")
    parser.add_argument("--quick", action="store_true", help="reduced sizes; nothing written")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    for name in options.parts or PARTS:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            more = {"runs": options.runs} if name == "overhead" else {}
            told = PARTS[name](Path(folder), options.quick, **more) | {"wall_s": time.monotonic() - begun}
        print(name, json.dumps(told), flush=True)
        if not options.quick:  # parts measured earlier stay until they are measured again
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps(known | {name: told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
