"""JSON lines through a 2×256 network: ``predict`` against the loop that anyone would write. CPU seconds, one thread.

    python benchmarks/predict.py            10M lines
    python benchmarks/predict.py --quick    300k lines

Two naive loops, timed on 50k lines of the same file: ``naive`` is json.loads, a bare NumPy forward pass of one row in
single precision, ε-greedy or softmax, a draw, json.dumps, and checks nothing; ``by_row`` asks the very policy, row by
row, through this package (double precision, every row checked), as one would without ``predict``.
Each run is a child process, CPU seconds from its first import to its last byte; runs alternate; ratios of medians.
Constant memory: the peak of a run on all lines is compared with that on a thirtieth of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEATURES, HIDDEN, NAIVE = ("x", "x_dot", "theta", "theta_dot"), (256, 256), 50_000
GOALS = {"speedup": 20.0, "memory_growth": 1.15}
RULES = {"epsilon_greedy": 0.1, "softmax": 1.0}
HERE = Path(__file__).resolve()


def make(folder: Path, n: int) -> None:
    """A file of n states as CartPole logs them, and a policy for each rule."""
    import numpy as np

    from understudy.core.manifest import Manifest
    from understudy.core.problem import ActionSpace, Feature, Problem
    from understudy.data.artifact import write_artifact
    from understudy.models.feature_map import FeatureMap, FittedFeature
    from understudy.models.policies import Explore
    from understudy.models.policy_file import save_policy
    from understudy.models.q_network import QNetwork
    from understudy.ops import network

    rng = np.random.default_rng(0)
    with (folder / "states.jsonl").open("w") as file:
        for start in range(0, n, 100_000):
            rows = rng.standard_normal((min(100_000, n - start), 4)).astype(np.float32).tolist()
            file.writelines(
                f'{{"decision_id":"d{i:08d}","time":{1_700_000_000 + i},"context":{{"x":{a:.6g},"x_dot":{b:.6g},'
                f'"theta":{c:.6g},"theta_dot":{d:.6g}}}}}\n'
                for i, (a, b, c, d) in enumerate(rows, start)
            )
    problem = Problem(
        features=tuple(Feature(name=name) for name in FEATURES),
        actions=ActionSpace(names=("left", "right")),
        discount=0.99,
        horizon=200,
    )
    columns = [
        FittedFeature(kind="number", source=i, name=name, location=0.1, scale=1.1) for i, name in enumerate(FEATURES)
    ]
    layers = tuple(network.start(rng, [4, *HIDDEN, 2], 1))
    for rule, amount in RULES.items():
        policy = Explore(QNetwork(FeatureMap(tuple(columns)), layers, 2), rule, amount)

        def fill(part: Path, policy: Explore = policy) -> None:
            save_policy(policy, part, problem=problem)

        write_artifact(folder / rule, Manifest(kind="policy", problem_hash=problem.hash), fill)
    arrays = {f"{letter}{i}": part[0] for i, layer in enumerate(layers) for letter, part in zip("wb", layer)}
    np.savez(folder / "weights.npz", **arrays)


def naive(folder: Path, source: Path, rule: str) -> None:
    """The loop."""
    import json
    import random

    import numpy as np

    held = np.load(folder / "weights.npz")
    layers = [(held[f"w{i}"], held[f"b{i}"]) for i in range(3)]
    mean, std = np.full(4, 0.1, np.float32), np.full(4, 1.1, np.float32)
    names = ("left", "right")
    with source.open() as lines, (folder / "naive.jsonl").open("w") as out:
        for line in lines:
            row = json.loads(line)
            h = (np.array([row["context"][name] for name in FEATURES], np.float32) - mean) / std
            for w, b in layers[:-1]:
                h = np.maximum(h @ w + b, 0)
            q = h @ layers[-1][0] + layers[-1][1]
            if rule == "softmax":
                p = np.exp(q - q.max())
                p = p / p.sum()
            else:
                p = np.full(2, 0.05)
                p[q.argmax()] += 0.9
            action = int(np.searchsorted(p.cumsum(), random.random()))
            row["action"], row["propensity"] = names[action], float(p[action])
            row["propensities"], row["policy_id"] = p.tolist(), "naive"
            out.write(json.dumps(row) + "\n")


def by_row(folder: Path, source: Path, rule: str) -> None:
    """The loop around the policy itself."""
    import json

    import numpy as np

    from understudy.data.context import Coder
    from understudy.models.policy_file import read_policy
    from understudy.ops.explore import draw

    held = read_policy(folder / rule)
    policy, coder, names = held.policy, Coder(held.problem), held.problem.actions.names
    rng = np.random.default_rng(0)
    with source.open() as lines, (folder / "by_row.jsonl").open("w") as out:
        for line in lines:
            row = json.loads(line)
            p = policy.probs(coder.row(row["context"]))  # pyright: ignore[reportAttributeAccessIssue]
            action = int(draw(p, rng.random(1))[0])
            row["action"], row["propensity"] = names[action], float(p[0, action])
            row["propensities"], row["policy_id"] = p[0].tolist(), rule
            out.write(json.dumps(row) + "\n")


def ours(folder: Path, source: Path, rule: str) -> None:
    """The function behind the verb."""
    from understudy.runs.predict import predict

    predict(source, policy=folder / rule, to=folder / "ours.jsonl", replace=True)


def measure(who: str, folder: Path, source: Path, rule: str) -> dict[str, float]:
    """CPU seconds, wall seconds and peak memory of a child process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
    line = [sys.executable, str(HERE), "--child", who, str(folder), str(source), rule]
    start = time.monotonic()
    done = subprocess.run(line, env=os.environ | threads, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) | {"wall": time.monotonic() - start}


def child(who: str, folder: Path, source: Path, rule: str) -> None:
    {"naive": naive, "by_row": by_row, "ours": ours}[who](folder, source, rule)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"cpu": time.process_time(), "peak_mb": int(peak.split()[1]) / 1024}))


def head(source: Path, to: Path, n: int) -> Path:
    with source.open("rb") as lines, to.open("wb") as out:
        for _ in range(n):
            out.write(next(lines))
    return to


def run(n: int, rounds: int, folder: Path) -> dict:
    source, lines = folder / "states.jsonl", max(n // 30, 30_000)
    some, few = head(source, folder / "some.jsonl", min(NAIVE, n)), head(source, folder / "few.jsonl", lines)
    rows = {}
    for rule in RULES:
        found: dict[str, list[dict[str, float]]] = {"naive": [], "by_row": [], "ours": []}
        for _ in range(rounds):
            for who in ("naive", "by_row"):
                found[who].append(measure(who, folder, some, rule))
            found["ours"].append(measure("ours", folder, source, rule))
        small = measure("ours", folder, few, rule)
        cpu = {who: statistics.median(each["cpu"] for each in own) for who, own in found.items()}
        rate = {who: (n if who == "ours" else min(NAIVE, n)) / seconds for who, seconds in cpu.items()}
        peak = max(each["peak_mb"] for each in found["ours"])
        lasting = (n - lines) / (cpu["ours"] - small["cpu"])  # what start-up costs is left out: it is gone at 10M
        times = {who: rate["ours"] / rate[who] for who in ("naive", "by_row")}
        rows[rule] = {
            "rows_per_cpu_second": rate,
            "rows_per_cpu_second_after_start": lasting,
            "speedup": times["naive"],
            "speedup_by_row": times["by_row"],
            "peak_mb": peak,
            "peak_mb_of_a_thirtieth": small["peak_mb"],
            "memory_growth": peak / small["peak_mb"],
            "runs": found,
        }
        print(f"{rule}: {rate['ours']:,.0f} rows per CPU second, {lasting:,.0f} after the start")
        print(f"  {times['naive']:.1f} times the naive loop, {times['by_row']:.1f} times the policy row by row")
        print(f"  peak {peak:.0f} MB, of a thirtieth {small['peak_mb']:.0f} MB", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, folder, source, rule = options.child
        return child(who, Path(folder), Path(source), rule)
    n = 300_000 if options.quick else 10_000_000
    with tempfile.TemporaryDirectory(prefix="predict.") as folder:
        make(Path(folder), n)
        rows = run(n, options.rounds, Path(folder))
    met = {
        rule: row["speedup"] >= GOALS["speedup"] and row["memory_growth"] <= GOALS["memory_growth"]
        for rule, row in rows.items()
    }
    result = {"rows": n, "python": platform.python_version(), "goals": GOALS, "met": met, "rules": rows}
    if not options.quick:
        (HERE.parent / "results" / "predict.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
