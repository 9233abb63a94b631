"""Training and evaluation from 3 GB of steps in Parquet: peak memory, and the same results as in memory.

    python benchmarks/rows.py             3.1 GB  → results/rows.json
    python benchmarks/rows.py --quick     0.3 GB only, nothing written

Datasets of random episodes of 20 steps, 60 features each, written row group by row group, and deleted afterwards. A
child trains ``cql`` (2,000 minibatches of 256 drawn from all of it) and evaluates the policy with every sequential
estimator that training by epochs draws; its peak memory (VmHWM) is taken. On a tenth of the size, where rows are drawn
from disk too, another child holds everything in memory, in the same batches: weights and estimates must be equal bit
for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "rows.json"
D, K, LENGTH, GROUP = 60, 5, 20, 100_000
ESTIMATORS = ("drl", "wdr", "cwpdis", "fqe")
GOALS = {"gb": 3.0, "peak_gb": 1.0}


def make(folder: Path, n: int) -> None:
    """n steps of n/20 episodes; the reward depends on the state and the action."""
    import msgspec
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from understudy.core.manifest import Manifest
    from understudy.core.problem import ActionSpace, Feature, Problem
    from understudy.data.artifact import write_artifact

    problem = Problem(
        features=tuple(Feature(name=f"x{j}") for j in range(D)),
        actions=ActionSpace(names=tuple("abcde")),
        discount=0.9,
        horizon=LENGTH,
    )

    def fill(part: Path) -> dict[str, int]:
        (part / "problem.json").write_bytes(msgspec.json.encode(problem))
        rng, writer = np.random.default_rng(0), None
        for first in range(0, n, GROUP):
            row = np.arange(first, first + GROUP)
            x, action = rng.random((GROUP, D), np.float32), rng.integers(0, K, GROUP, dtype=np.int32)
            reward = x[np.arange(GROUP), action] + 0.1 * rng.standard_normal(GROUP)
            ends = row % LENGTH == LENGTH - 1
            columns: dict[str, Any] = {
                "episode_id": pa.array(np.char.add("e", (row // LENGTH).astype(str))),
                "sequence": row % LENGTH,
                "unit_id": pa.nulls(GROUP, pa.string()),
                "policy_id": pa.array(["uniform"]).take(pa.array(np.zeros(GROUP, np.int32))),
                "time": row.astype(np.int64), "action": action, "propensity": np.full(GROUP, 1 / K),
                "reward": reward, "outcome.reward": reward, "terminated": ends, "truncated": np.zeros(GROUP, bool),
            } | {f"context.x{j}": x[:, j] for j in range(D)}  # fmt: skip
            table = pa.table(columns)
            writer = writer or parquet.ParquetWriter(part / "steps.parquet", table.schema, compression="zstd")
            writer.write_table(table, row_group_size=GROUP)
        assert writer is not None
        writer.close()
        return {"steps": n, "episodes": n // LENGTH, "with_propensity": n}

    write_artifact(folder, Manifest(kind="dataset", problem_hash=problem.hash), fill)


@dataclass(frozen=True)
class Held:
    """A dataset whose batches are all in memory, as its scan gave them."""

    data: Any

    @cached_property
    def batches(self) -> list[Any]:
        return list(self.data.scan())

    @cached_property
    def whole(self) -> Any:
        from understudy.core.steps import concat
        from understudy.data.dataset import MemoryDataset

        return MemoryDataset(self.data.problem, concat(self.batches))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def scan(self, max_steps: int = 65_536) -> Any:
        """The batches; another size is cut from the whole."""
        return iter(self.batches) if max_steps == 65_536 else self.whole.scan(max_steps)

    def sample(self, size: int, rng: Any, n: int = 1, discount: float | None = None) -> Any:
        """From memory."""
        return self.whole.sample(size, rng, n, discount)


def child(where: str, folder: Path, updates: int) -> None:
    """Train and evaluate; prints peaks, CPU seconds and what came out."""
    from understudy.data.dataset import open_dataset
    from understudy.ope.evaluate import evaluate
    from understudy.runs.settings import learner

    data: Any = open_dataset(folder) if where == "folder" else Held(open_dataset(folder))
    told: dict[str, Any] = {"rows": data.n_steps}
    start = time.process_time()
    policy = learner("cql", {"updates": updates, "batch": 256}).fit(data, seed=0)
    told |= {"train_cpu_s": round(time.process_time() - start, 1), "train_peak_gb": peak()}
    arrays = policy.state().arrays
    told["weights"] = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
    start = time.process_time()
    found = evaluate(data, {"policy": policy, "logged": None}, ESTIMATORS)
    told |= {"evaluate_cpu_s": round(time.process_time() - start, 1), "peak_gb": peak()}
    told["estimates"] = [[e.target, e.estimator, e.value, e.low, e.high] for e in found]
    print(json.dumps(told))


def peak() -> float:
    """VmHWM of this process, in GB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) * 1024 / 1e9, 3)


def run(where: str, folder: Path, updates: int) -> dict[str, Any]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    line = [sys.executable, str(HERE / "rows.py"), "--child", where, str(folder), str(updates)]
    done = subprocess.run(line, env=os.environ | threads, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3_000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        where, folder, updates = options.child
        child(where, Path(folder), int(updates))
        return 0
    with tempfile.TemporaryDirectory(prefix="understudy-rows-") as scratch:
        small, large = Path(scratch) / "small", Path(scratch) / "large"
        make(small, 1_200_000)
        runs = {where: run(where, small, 500) for where in ("folder", "memory")}
        if not options.quick:
            make(large, 12_200_000)
            runs["large"] = run("folder", large, 2_000)
        size = sum(path.stat().st_size for path in large.glob("*")) / 1e9
    for where, row in runs.items():
        print(where, {key: value for key, value in row.items() if key != "estimates"}, flush=True)
    a, b = runs["folder"], runs["memory"]
    same = {"weights": a["weights"] == b["weights"], "estimates": a["estimates"] == b["estimates"]}
    peak_gb = runs.get("large", a)["peak_gb"]
    met = all(same.values()) and peak_gb <= GOALS["peak_gb"] and size >= GOALS["gb"]
    result = {
        "benchmark": "rows", "gb": round(size, 2), "peak_gb": peak_gb, "goals": GOALS, "same": same, "met": met,
        "runs": runs,
    }  # fmt: skip
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}))
    if not options.quick:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
