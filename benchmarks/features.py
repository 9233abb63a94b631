"""Feature identification of 100 features × 1M sparse rows beside the scipy route, in CPU seconds of one thread.

    python benchmarks/features.py            100 features × 1M rows, 30 % present
    python benchmarks/features.py --quick    20 features × 100k rows

Ours is the whole of ``identify_features``: kinds, moments, Box–Cox and quantiles, batch by batch, all values folded,
100,000 per feature sampled. The scipy route does what the reference does, feature by feature: ``normaltest``,
``boxcox``, ``normaltest`` and ``mquantiles`` of the present values. Once it sees them all, as a user without a sampler
would call it, and once 100,000 of them, as the reference samples; on 5 features, one of each distribution, scaled to
all. Each side runs in a process of its own; runs alternate, the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

D, ROWS, PRESENT, BATCH = 100, 1_000_000, 0.3, 65_536
SIDES = ("ours", "scipy", "scipy_sampled")
GOALS = {"cpu_s": 6.0, "ratio": 15.0}
SOME = 5  # features that scipy is measured on, one of each distribution
SAMPLE = 100_000


def batches(d: int, n: int) -> Iterator:
    """Normal, lognormal, heavy-tailed, whole and probability columns in turn, f32[n, d], NaN where not present."""
    import numpy as np

    for number, start in enumerate(range(0, n, BATCH)):
        rng, rows = np.random.default_rng(number), min(BATCH, n - start)
        x = rng.standard_normal((rows, d), dtype=np.float32)
        x[:, 1::5] = np.exp(x[:, 1::5])
        x[:, 2::5] **= 3
        x[:, 3::5] = np.floor(np.abs(x[:, 3::5]) * 9)
        x[:, 4::5] = 1 / (1 + np.exp(-x[:, 4::5]))
        x[rng.random((rows, d), dtype=np.float32) >= PRESENT] = np.nan
        yield x


def ours(d: int, n: int) -> dict:
    """CPU seconds of identify_features, the making of the batches not counted."""
    import numpy as np
    import scipy.optimize

    from understudy.core.problem import ActionSpace, Feature, Problem
    from understudy.core.steps import bandit_steps
    from understudy.models.features.identify import identify_features

    assert scipy.optimize
    problem = Problem(features=tuple(Feature(name=f"x{j}") for j in range(d)), actions=ActionSpace(names=("a", "b")))
    steps = [bandit_steps(x, np.zeros(len(x)), np.zeros(len(x))) for x in batches(d, n)]
    start = time.process_time()
    features = identify_features(problem, steps)
    spent = time.process_time() - start
    kinds = [column.kind for column in sorted(features.columns, key=lambda c: c.source) if column.kind != "missing"]
    return {"cpu_s": spent, "kinds": kinds[:SOME]}


def scipy_route(d: int, n: int, most: int) -> dict:
    """CPU seconds of the reference's calls on 5 features, scaled to all."""
    import numpy as np
    from scipy import stats
    from scipy.stats.mstats import mquantiles

    columns = np.concatenate([x[:, :SOME].copy() for x in batches(d, n)]).T.copy()
    start = time.process_time()
    for column in columns:
        x = column[~np.isnan(column)].astype(np.float64)
        if len(x) > most:
            x = np.random.default_rng(0).choice(x, most, replace=False)
        stats.normaltest(x)
        y, _ = stats.boxcox(np.maximum(x - x.min(), 1e-4))
        stats.normaltest(y)
        mquantiles(x, np.arange(21) / 20, alphap=0.0, betap=1.0)
    return {"cpu_s": (time.process_time() - start) * d / SOME}


def child(side: str, d: int, n: int) -> None:
    """Run one side and print what it took."""
    made = ours(d, n) if side == "ours" else scipy_route(d, n, SAMPLE if side == "scipy_sampled" else 1 << 62)
    made["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(made))


def measure(d: int, n: int, rounds: int) -> dict[str, list[dict]]:
    """Alternate the sides, each in a process of its own, one thread each."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--child", side, str(d), str(n)]
            said = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | one).stdout
            runs[side].append(json.loads(said.strip().splitlines()[-1]))
            print(side, {k: round(v, 2) for k, v in runs[side][-1].items() if k != "kinds"}, flush=True)
    return runs


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, metavar=("SIDE", "FEATURES", "ROWS"))
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child[0], int(chosen.child[1]), int(chosen.child[2]))
        return 0
    d, n = (20, 100_000) if chosen.quick else (D, ROWS)
    runs = measure(d, n, chosen.rounds)
    cpu = {side: statistics.median(run["cpu_s"] for run in found) for side, found in runs.items()}
    ratios = {side: cpu[side] / cpu["ours"] for side in SIDES[1:]}
    result = {
        "features": d, "rows": n, "present": PRESENT, "cpu_s": cpu, "ratios": ratios, "goals": GOALS,
        "python": platform.python_version(), "runs": runs,
        "passed": cpu["ours"] <= GOALS["cpu_s"] and ratios["scipy"] >= GOALS["ratio"],
    }  # fmt: skip
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / ("features-quick.json" if chosen.quick else "features.json")
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{cpu['ours']:.2f} CPU-s; scipy {ratios['scipy']:.1f}×, of a sample {ratios['scipy_sampled']:.1f}×\n{path}")
    return 0 if result["passed"] or chosen.quick else 1


if __name__ == "__main__":
    sys.exit(main())
