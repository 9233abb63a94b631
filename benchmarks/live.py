"""Statlog Shuttle through the real HTTP service, gate off: 7,500 decisions.

    python benchmarks/live.py [--quick] [--seeds 5] [--only NAME] [--fresh] [--shuttle FILE]

Batch: ``understudy serve`` in a process of its own; the first 500 decisions are uniform, then the loop beside it
retrains for each 500. Per event: besides,
``understudy learn`` follows the log, and the simulated application waits until each reward has been learned from.
Bars: batch ≥ .925 on average and ≥ .988 over the last 1,000; per event ≥ .955 linear, ≥ .975 neural (mean of the
seeds). ``--fresh``: from one more reward to a new model live, a linear learner on 1,000,000 joined events, ≤ 7 s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"
RUN = [sys.executable, "-c", "from understudy.cli import run; run()"]
SIZE, LOOPS, LAST = 500, 15, 1_000
ALIAS = "production"

# name: (mode, learner, settings, least mean, least mean of the last 1,000); 0 = a row for comparison.
ROWS: dict[str, tuple[str, str, dict[str, Any], float, float]] = {
    "batch, neural": ("batch", "neural", {}, 0.925, 0.988),
    "per event, linear": ("event", "online_linear", {"quadratic": False}, 0.955, 0.0),
    "per event, quadratic": ("event", "online_linear", {}, 0.955, 0.0),
    "per event, neural": ("event", "online_neural", {}, 0.975, 0.0),
    "batch, LinUCB": ("batch", "lin_ucb", {"alpha": 0.1, "epsilon": 0.0, "signed_log": True}, 0.0, 0.0),
    "batch, vw ADF SquareCB γ 100, quadratic": ("batch", "vw", {}, 0.0, 0.0),
}


@contextmanager
def process(*argv: str, ready: str) -> Iterator[re.Match[str]]:
    """A verb in a process of its own, from when it says it is ready until it has been told to end."""
    verb = subprocess.Popen([*RUN, *argv], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    assert verb.stdout is not None
    try:
        said = []
        for line in verb.stdout:
            said.append(line)
            if found := re.search(ready, line):
                yield found
                break
        else:
            raise SystemExit(f"{argv[0]} ended before it was ready:\n{''.join(said)}")
    finally:
        verb.send_signal(signal.SIGTERM)
        verb.communicate(timeout=60)


@contextmanager
def service(home: Path, problem: Any) -> Iterator[tuple[Any, str]]:
    """``understudy serve`` on a free port. Yields a client of it, and its address."""
    from understudy.serve.client import Client

    file = home / "problem.yaml"
    home.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.yaml.encode(problem))
    argv = ["serve", ALIAS, "--home", str(home), "--problem", str(file), "--client-times", "--port", "0"]
    with process(*argv, ready=r"ready: (http://\S+)") as found, Client(found[1], timeout=60.0) as client:
        yield client, found[1]


def batch(home: Path, path: str, learner: str, settings: dict[str, Any], seed: int, loops: int) -> Any:
    """The loop with the gate off: a policy for each 500, trained on all that was joined before."""
    from understudy.runs.client import joined
    from understudy.runs.loop import run_loop
    from understudy.runs.loop_settings import problem_of
    from understudy.runs.loop_settings import settings as loop_settings

    made = loop_settings({
        "learner": {"name": learner, "settings": settings}, "explore": 0.0, "gate": "off", "loops": loops,
        "size": SIZE, "seed": seed, "guardrail": {"on": False},
        "client": {"env": "shuttle", "settings": {"path": path}, "batch": 10},
    })  # fmt: skip
    with service(home, problem_of(made)) as (client, _):
        return joined(run_loop(made, home=home, service=client).driven)


def event(home: Path, path: str, learner: str, settings: dict[str, Any], seed: int, loops: int) -> Any:
    """A policy for each decision, learned from all before it by a process that follows the log.

    Nobody is live at first, so the very first decision is uniform; a first batch of uniform ones would cap the mean
    at .943, whatever is learned from it.
    """
    from understudy.envs.shuttle import shuttle
    from understudy.runs.client import drive, joined, patience

    env = shuttle(path=path)
    words = [f"{key}={value}" for key, value in settings.items()]
    with service(home, env.problem) as (client, url):
        argv = ["learn", learner, *words, "--home", str(home), "--problem", str(home / "problem.yaml")]
        with process(*argv, "--url", url, "--seed", str(seed), ready="ready"):
            return joined([drive(env, client, SIZE * loops, seed=seed, after=patience(client))])


def one(name: str, path: str, seed: int, loops: int) -> dict[str, Any]:
    """One row, one seed."""
    mode, learner, settings, _, _ = ROWS[name]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        play = batch if mode == "batch" else event
        driven = play(Path(folder) / "home", path, learner, settings, seed, loops)
    rewards = driven.reward
    return {
        "seed": seed,
        "mean": float(rewards.mean()),
        "last": float(rewards[-LAST:].mean()),
        "wall_s": time.monotonic() - start,
        "policies": len(set(driven.policy)),
        "fallbacks": driven.policy.count("baseline"),  # a policy that took longer than 25 ms: the machine was busy
        "best_constant": driven.best_constant[1],
        "rolling": [round(float(mean), 4) for mean in driven.rolling()[99::100]],
    }


def summary(name: str, runs: list[dict[str, Any]], decisions: int) -> dict[str, Any]:
    """A row of the results."""
    mode, learner, settings, least, least_last = ROWS[name]
    means, lasts = ([run[key] for run in runs] for key in ("mean", "last"))
    wall = float(np.mean([run["wall_s"] for run in runs]))
    return {
        "mode": mode, "learner": learner, "settings": settings, "mean": float(np.mean(means)),
        "least": min(means), "last": float(np.mean(lasts)), "bar": least, "bar_last": least_last,
        "met": bool(np.mean(means) >= least and np.mean(lasts) >= least_last),
        "fallbacks": sum(run["fallbacks"] for run in runs),
        "wall_s": wall, "ms_per_decision": 1e3 * wall / decisions, "runs": runs,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, four batches: whether it runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1, help="seeds run side by side")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--fresh", action="store_true", help="only: how long from one more reward to a new model")
    parser.add_argument("--shuttle", default=str(FILE))
    options = parser.parse_args()
    if not Path(options.shuttle).exists():
        raise SystemExit(f"no file {options.shuttle}: give --shuttle FILE")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if options.fresh:
        from fresh import measure

        raise SystemExit(measure(options.shuttle, quick=options.quick))
    loops, seeds = (4, 1) if options.quick else (LOOPS, options.seeds)
    target, missed = HERE / "results" / "live.json", []
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(options.at_once) as pool:
        for name in ROWS:
            if options.only not in name:
                continue
            runs = list(pool.map(one, [name] * seeds, [options.shuttle] * seeds, range(seeds), [loops] * seeds))
            row = found[name] = summary(name, runs, SIZE * loops)
            missed += [] if row["met"] or options.quick else [name]
            print(
                f"{name:40} mean {row['mean']:.4f} (least {row['least']:.4f})  last 1,000 {row['last']:.4f}  "
                f"best constant {np.mean([run['best_constant'] for run in runs]):.4f}  "
                f"{row['ms_per_decision']:.1f} ms per decision, {row['fallbacks']} fallbacks",
                flush=True,
            )
    if not options.quick:
        known = json.loads(target.read_text()) if target.exists() else {}  # rows that other runs have measured
        rows = {name: (known | found)[name] for name in ROWS if name in known | found}
        target.write_text(json.dumps(rows, indent=1) + "\n")
    raise SystemExit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
