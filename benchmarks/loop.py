"""The loop with its gate on (the default) and off, on Statlog Shuttle: what does proof cost, and what does it prevent?

    python benchmarks/loop.py [--quick] [--seeds 20] [--processes 2] [--shuttle FILE]

15 turns of 500 and of 5,000 decisions, in this process, ε = .02 and a canary share of .2 in both arms, one learner.
Bars: mean reward with the gate ≥ .97 of that without at 500 and ≥ .99 at 5,000 (ratio of the means over the seeds);
in at least 95 % of the seeds no promotion of a policy whose true value, on all rows of Shuttle, is lower than the
incumbent's by more than .005.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"
RESULTS = HERE / "results" / "loop.json"
LOOPS, WORSE = 15, 0.005
BARS = {500: 0.97, 5_000: 0.99}
LEARNER = {"name": "neural", "settings": {"epsilon": 0.0}}
EXPLORE, CANARY = 0.02, 0.2


def kept(size: int, gate: str, seed: int, path: str, loops: int, runs: str) -> dict[str, Any]:
    """One loop, or what an interrupted benchmark has kept of it."""
    file = Path(runs) / f"{size}-{gate}-{seed}-{loops}.json"
    if runs and file.exists():
        return json.loads(file.read_text())
    made = one(size, gate, seed, path, loops)
    if runs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made))
    return made


def one(size: int, gate: str, seed: int, path: str, loops: int) -> dict[str, Any]:
    """One loop: rewards, who went live, and what each of them is truly worth."""
    from understudy.data.home import LOGGED, Home
    from understudy.envs.shuttle import shuttle
    from understudy.models.policies import Uniform
    from understudy.models.policy_file import load_policy
    from understudy.runs.client import joined
    from understudy.runs.loop import run_loop
    from understudy.runs.loop_settings import problem_of
    from understudy.runs.loop_settings import settings as loop_settings
    from understudy.serve.local import LocalService

    start, env = time.monotonic(), shuttle(path=path)
    made = loop_settings({
        "learner": LEARNER, "explore": EXPLORE, "canary": CANARY, "gate": gate, "loops": loops, "size": size,
        "seed": seed, "client": {"env": "shuttle", "settings": {"path": path}, "batch": 250},
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        with LocalService(folder, made.alias, problem=problem_of(made), client_times=True, poll=0.02) as service:
            result = run_loop(made, home=folder, service=service)
        home, values = Home(folder), {}
        history = home.ledger.history(made.alias)
        for change in history:
            if change.policy not in values:
                known = change.policy != LOGGED
                policy: Any = load_policy(home.kept(change.policy)) if known else Uniform(env.k)
                values[change.policy] = env.true_value(policy)
    driven = joined(result.driven)
    changes = [
        {"kind": now.kind, "lift": values[now.policy] - values[before.policy], "version": now.version}
        for before, now in pairwise(history)
    ]
    return {
        "size": size, "gate": gate, "seed": seed, "mean": float(driven.reward.mean()),
        "last": float(driven.reward[-1_000:].mean()), "live_value": values[history[-1].policy],
        "turns": [float(turn.mean()) for turn in driven.reward.reshape(loops, size)],
        "rolling": [round(float(mean), 4) for mean in driven.rolling()[99::100]],
        "oracle": float(driven.oracle.mean()), "best_constant": driven.best_constant[1],
        "changes": changes, "rollbacks": sum(change["kind"] == "rollback" for change in changes),
        "worse": sum(change["kind"] in ("promote", "override") and change["lift"] < -WORSE for change in changes),
        "promotions": sum(change["kind"] in ("promote", "override") for change in changes),
        "wall_s": time.monotonic() - start,
    }  # fmt: skip


def summary(size: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Both arms of one size, beside each other."""
    arms = {gate: sorted((r for r in runs if (r["size"], r["gate"]) == (size, gate)), key=lambda r: r["seed"])
            for gate in ("rules", "off")}  # fmt: skip
    on, off = (np.array([run["mean"] for run in arms[gate]]) for gate in ("rules", "off"))
    clean = float(np.mean([run["worse"] == 0 for run in arms["rules"]]))
    ratio = float(on.mean() / off.mean())
    told = {
        gate: {
            "mean": float(np.mean([r["mean"] for r in rows])),
            "last": float(np.mean([r["last"] for r in rows])),
            "promotions": float(np.mean([r["promotions"] for r in rows])),
            "worse": int(sum(r["worse"] for r in rows)),
            "rollbacks": int(sum(r["rollbacks"] for r in rows)),
            "turns": np.mean([r["turns"] for r in rows], axis=0).round(4).tolist(),
            "rolling": np.mean([r["rolling"] for r in rows], axis=0).round(4).tolist(),
            "wall_s": float(np.mean([r["wall_s"] for r in rows])),
        }
        for gate, rows in arms.items()
    }
    return {
        "size": size, "seeds": len(on), "ratio": ratio, "least_ratio": float((on / off).min()), "bar": BARS[size],
        "seeds_without_worse": clean, "met": ratio >= BARS[size] and clean >= 0.95, "arms": told,
    }  # fmt: skip


def measured() -> dict[str, Any]:
    """Sizes that an earlier run has measured, kept beside this one's."""
    return json.loads(RESULTS.read_text())["sizes"] if RESULTS.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, four turns: whether it runs")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--sizes", default="500,5000")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", default="", help="folder in which finished loops are kept, and found again")
    parser.add_argument("--shuttle", default=str(FILE))
    options = parser.parse_args()
    if not Path(options.shuttle).exists():
        raise SystemExit(f"no file {options.shuttle}: give --shuttle FILE")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    loops, count = (4, 1) if options.quick else (LOOPS, options.seeds)
    seeds, sizes = range(options.first, options.first + count), [int(size) for size in options.sizes.split(",")]
    start, runs = time.monotonic(), []
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(kept, size, gate, seed, options.shuttle, loops, options.runs)
                for seed in seeds for size in sorted(sizes, reverse=True) for gate in ("rules", "off")]  # fmt: skip
        for job in as_completed(jobs):
            run = job.result()
            runs.append(run)
            print(f"{run['size']:5} gate {run['gate']:5} seed {run['seed']:2}: mean {run['mean']:.4f} last 1,000 "
                  f"{run['last']:.4f}  {run['promotions']} promotions, {run['worse']} worse, {run['wall_s']:.0f} s",
                  flush=True)  # fmt: skip
    made = {str(size): summary(size, runs) for size in sizes}
    found = {"learner": LEARNER, "explore": EXPLORE, "canary": CANARY, "wall_s": time.monotonic() - start,
             "sizes": measured() | made}  # fmt: skip
    for size in sizes:
        row = found["sizes"][str(size)]
        on, off = row["arms"]["rules"], row["arms"]["off"]
        print(f"{loops} × {size}: gate on {on['mean']:.4f}, off {off['mean']:.4f}, ratio {row['ratio']:.4f} "
              f"(bar {row['bar']}); seeds without a worse promotion {row['seeds_without_worse']:.0%}")  # fmt: skip
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    missed = [size for size in sizes if not found["sizes"][str(size)]["met"]]
    raise SystemExit(f"missed at: {missed}" if missed and not options.quick else 0)


if __name__ == "__main__":
    main()
