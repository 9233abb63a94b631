"""Statlog Shuttle as a live loop, in this process: 7,500 decisions by batches of 500 or one by one, seeds 0–4 and 5–9.

    python benchmarks/shuttle_learners.py [--quick] [--only NAME] [--shuttle FILE]

Batch: the first 500 uniform, then a policy trained afresh on all the past for each 500. Per event: learn from every
decision before the next is made. Settings were chosen on seeds 100–102. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from understudy.core.registry import find
from understudy.core.steps import bandit_steps, concat
from understudy.data.dataset import MemoryDataset
from understudy.envs.population import Population
from understudy.envs.rollout import rollout
from understudy.envs.shuttle import shuttle
from understudy.models.policies import Fixed, Uniform

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"
SIZE, LOOPS = 500, 15
SEEDS = {"seeds 0-4": range(5), "seeds 5-9": range(5, 10)}

# name: (learner, settings, least mean, least mean of the last 1,000); 0 = a row for comparison.
BATCH: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "neural, SquareCB": ("neural", {}, 0.925, 0.988),
    "neural, softmax": ("neural", {"explore": "softmax", "amount": 30.0, "growth": 0.0}, 0.925, 0.988),
    "neural, ε = .01": ("neural", {"explore": "epsilon_greedy", "amount": 0.01, "growth": 0.0}, 0.0, 0.0),
    "neural, SquareCB, floor ε = .02": ("neural", {"epsilon": 0.02}, 0.0, 0.0),
    "neural, bootstrap 10": (
        "neural",
        {"members": 10, "batch": 128, "explore": "votes", "amount": 0.0, "growth": 0.0},
        0.925,
        0.988,
    ),
    "forest_ts": ("forest_ts", {}, 0.0, 0.0),
    "lin_ucb": ("lin_ucb", {"alpha": 0.1, "epsilon": 0.0, "signed_log": True}, 0.0, 0.0),
    "lin_ucb, quadratic": ("lin_ucb", {"alpha": 0.1, "epsilon": 0.0, "signed_log": True, "quadratic": True}, 0.0, 0.0),
    "online_linear, retrained": ("online_linear", {}, 0.0, 0.0),
    "vw, ADF SquareCB γ 100, quadratic": ("vw", {}, 0.0, 0.0),
}
EVENT: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "online_linear, quadratic, SquareCB": ("online_linear", {}, 0.955, 0.0),
    "online_linear, linear, SquareCB": ("online_linear", {"quadratic": False}, 0.955, 0.0),
    "online_linear, quadratic, Thompson": (
        "online_linear",
        {"explore": "votes", "amount": 0.0, "growth": 0.0, "scale": 0.05},
        0.955,
        0.0,
    ),
    "online_neural, SquareCB": ("online_neural", {}, 0.975, 0.0),
    "online_neural, SquareCB, floor ε = .02": ("online_neural", {"epsilon": 0.02}, 0.0, 0.0),
}


def by_batch(env: Population, learner: Any, seed: int, loops: int) -> np.ndarray:
    """Rewards of ``loops`` batches, f64[n]."""
    streams = np.random.SeedSequence(seed).generate_state(2 * LOOPS)
    parts = [rollout(env, Uniform(env.k), SIZE, seed=int(streams[0]))]
    for loop in range(1, loops):
        policy = learner.fit(MemoryDataset(env.problem, concat(parts)), seed=int(streams[LOOPS + loop]))
        parts.append(rollout(env, policy, SIZE, seed=int(streams[loop])))
    return concat(parts).reward


def by_event(env: Population, learner: Any, seed: int, loops: int) -> np.ndarray:
    """Rewards of as many decisions, a policy for each, f64[n]."""
    world, choices = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    view, learning = env.reset(world, 1), learner.init(env.problem, seed=seed)
    rewards = np.empty(SIZE * loops)
    for i in range(len(rewards)):
        action, propensity = learner.policy(learning).act(view.context, choices)
        following, feedback = env.step(action)
        rewards[i] = feedback.reward[0]
        learning = learner.update(learning, bandit_steps(view.context, action, feedback.reward, propensity))
        view = following
    return rewards


def row(env: Population, play: Any, learner: Any, seeds: range, loops: int) -> dict[str, float]:
    """What the seeds earned on average and at least, and the CPU it took."""
    start = time.process_time()
    rewards = np.stack([play(env, learner, seed, loops) for seed in seeds])
    cpu = (time.process_time() - start) / rewards.size
    mean, last = rewards.mean(1), rewards[:, -1_000:].mean(1)
    return {
        "mean": float(mean.mean()), "mean_least": float(mean.min()),
        "last": float(last.mean()), "last_least": float(last.min()),
        "microseconds": 1e6 * cpu,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, four batches: whether it runs")
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--shuttle", default=str(FILE) if FILE.exists() else None, help="shuttle.trn; else a download")
    options = parser.parse_args()
    env, loops, missed = shuttle(path=options.shuttle), 4 if options.quick else LOOPS, []
    found: dict[str, Any] = {}
    threadpool_limits(1)
    constant = max(env.true_value(Fixed(env.k, action)) for action in range(env.k))
    print(f"best constant {constant:.4f}; with a uniform first batch the best mean is {(14 + 1 / 7) / 15:.4f}")
    found["best constant"] = constant
    for mode, play, table in (("batch", by_batch, BATCH), ("event", by_event, EVENT)):
        for name, (learner, settings, least, least_last) in table.items():
            if options.only and options.only not in name:
                continue
            made = find("learners", learner)(**settings)
            entry: dict[str, Any] = {"learner": learner, "settings": settings}
            for group, seeds in SEEDS.items():
                result = row(env, play, made, seeds[:1] if options.quick else seeds, loops)
                entry[group] = result
                if result["mean"] < least or result["last"] < least_last:
                    missed.append(f"{name} ({group})")
                print(
                    f"{mode:5} {name:40} {group:10} mean {result['mean']:.4f} (least {result['mean_least']:.4f})  last "
                    f"1,000 {result['last']:.4f} (least {result['last_least']:.4f})  {result['microseconds']:.0f} µs",
                    flush=True,
                )
            found[f"{mode}: {name}"] = entry
    target = HERE / "results" / "shuttle-learners.json"
    if not options.quick:
        before = json.loads(target.read_text()) if target.exists() else {}
        target.write_text(json.dumps(before | found, indent=1) + "\n")
    raise SystemExit(f"missed: {', '.join(missed)}" if missed and not options.quick else 0)


if __name__ == "__main__":
    main()
