"""Sequential estimators: speed on 10,000 episodes of 20 steps, and coverage of their intervals on a chain.

    python benchmarks/sequential.py             full counts → results/sequential.json
    python benchmarks/sequential.py --quick     few rounds, nothing written

Speed: one thread, CPU milliseconds of this process, median over rounds; weights are computed anew each time from the
ratios of every step. Coverage: logs of 800 and 3,000 episodes of the three-state chain, whose value is exact.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  # after the threads are fixed

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "sequential.json"
SIX = ("tis", "wis", "pdis", "cwpdis", "sdr", "wdr")
ALL = (*SIX, "magic", "mis", "snmis", "drl", "fqe")
M, T = 10_000, 20
PEER_MS = 84.0  # scope-rl, six estimators, as recorded in reference/performance.md on this kind of machine


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    report = {
        "benchmark": "sequential",
        "speed": speed(5 if options.quick else 40),
        "coverage": [coverage(m, 20 if options.quick else 500) for m in (800, 3_000)],
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }
    print(json.dumps(report, indent=2))
    if not options.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def speed(rounds: int) -> dict:
    """CPU milliseconds of six point values, of each alone, and of six with intervals."""
    from dataclasses import replace

    from understudy.ope.evaluate import estimate
    from understudy.ope.evidence import point_values
    from understudy.ope.naming import named

    e, six = evidence(), dict(named(SIX))
    tasks = {"six": lambda: point_values(replace(e), six)}  # a copy: nothing is kept from the round before
    tasks |= {name: lambda n=name: point_values(replace(e), {n: six[n]}) for name in SIX}
    tasks["six_with_intervals"] = lambda: estimate({"target": replace(e)}, SIX, blocks=256)
    found = {}
    for name, task in tasks.items():
        task()
        spent = []
        for _ in range(rounds):
            start = time.process_time()
            task()
            spent.append(1e3 * (time.process_time() - start))
        found[name] = round(statistics.median(spent), 3)
    return {
        "unit": "CPU milliseconds, one thread, median",
        "episodes": M,
        "steps": T,
        "product": found,
        "peer_ms": PEER_MS,
        "ratio": round(PEER_MS / found["six"], 1),
        "goal": 10.0,
    }


def evidence():
    """Random ratios near 1, rewards and model values."""
    from understudy.core.evidence import Evidence
    from understudy.core.steps import Steps

    rng = np.random.default_rng(0)
    n = M * T
    last = np.tile(np.arange(T) == T - 1, M)
    steps = Steps(
        starts=np.arange(M + 1) * T, unit=np.arange(M, dtype=np.uint64), time=np.arange(n),
        context=np.zeros((n, 1), np.float32), action=np.zeros(n, np.int32), reward=rng.normal(size=n),
        terminated=last, truncated=np.zeros(n, bool), propensity=np.full(n, 0.5),
    )  # fmt: skip
    ratio = np.exp(0.05 * rng.normal(size=n))
    return Evidence(steps, 0.95, ratio, rng.normal(size=n), rng.normal(size=n), horizon=T)


def coverage(m: int, logs: int) -> dict:
    """Bias, spread and coverage of nominal 95 % intervals over many logs of m episodes."""
    from understudy.data.dataset import MemoryDataset
    from understudy.ope.evaluate import evaluate
    from understudy.testing.chain import ChainPolicy, chain_problem, exact_value, tiny_chain

    behavior, target = ChainPolicy((0.5, 0.5, 0.5)), ChainPolicy((0.7, 0.6, 0.3))
    truth, problem = exact_value(target), chain_problem()
    hits: dict[str, list[bool]] = {name: [] for name in ALL}
    values: dict[str, list[float]] = {name: [] for name in ALL}
    for seed in range(logs):
        for e in evaluate(MemoryDataset(problem, tiny_chain(behavior, m, seed)), {"target": target}, ALL):
            values[e.estimator].append(e.value)
            if e.low is not None and e.high is not None:
                hits[e.estimator].append(e.low <= truth <= e.high)
    rows = {}
    for name in ALL:
        drawn, hit = np.array(values[name]), hits[name]
        rows[name] = {
            "bias": round(float(drawn.mean() - truth), 5),
            "bias_se": round(float(drawn.std(ddof=1) / np.sqrt(len(drawn))), 5),
            "spread": round(float(drawn.std(ddof=1)), 4),
            "answered": len(hit),
            "covered": round(float(np.mean(hit)), 4) if hit else None,
        }
    return {"episodes": m, "logs": logs, "truth": round(truth, 5), "estimators": rows}


if __name__ == "__main__":
    raise SystemExit(main())
