"""The coupon simulator: its speed and memory, its figures beside the published program's, and the published shapes.

    python benchmarks/retail.py [--quick] [--only PART ...]

Parts: ``speed`` (CPU of a step and of the published data collection, memory, bytes of a log), ``cells`` (conditional
figures of the reference), ``published`` (fixed coupons in the published catalogue), ``own`` (in the package's own),
``delayed`` (what coupons of today are worth later), ``truth`` (the exact one-step value against what is paid).
One thread. Parts that need the reference's files say so where those are absent. Bars: ``BARS``.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import retail_cells
from retail_cells import ARMS, REFERENCE
from understudy.envs.retail.compare import fixed_coupons
from understudy.envs.retail.metrics import halves, metrics, paired_difference, paired_ratio
from understudy.envs.retail.world import Retail, retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform

RESULT = Path(__file__).parent / "results" / "retail.json"
THEIRS = (1.35, 1.65)  # CPU seconds of the published program per step of 100 customers
COUPONS = [f"{5 * level}%" for level in range(11)]
BARS = {
    "times_faster_at_least": 100.0,
    "peak_mb_at_most": 150.0,
    "protocol_cpu_minutes_at_most": 20.0,
    "log_kb_at_most": 300.0,
    "z_at_most": 3.5,
    "share_beyond_3_at_most": 0.005,
}
GROUP = 2  # environments side by side
SKIP, LAST = 15, 20  # steps; p(t) forgets its start by θ ≤ 0.45 a step, so fifteen unseen ones do as well as fifty


def speed(environments: int) -> dict[str, Any]:
    """In a process of its own, so that its peak of memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, __file__, "--collect", folder, "--environments", str(environments)]
        told = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    told["times_faster"] = [theirs / told["cpu_s_per_step"] for theirs in THEIRS]
    return told


def collect(folder: Path, total: int) -> dict[str, Any]:
    """The published protocol's data: 1,000 environments × 100 customers × 50 steps of random coupons, logged."""
    sizes, rewards = [], []
    simulated = bare = 0.0
    simulating = 0
    for first in range(0, total, GROUP):
        start = time.process_time()
        world = retail(first=first, reference_compat=True)
        log = episodes(world, Uniform(11), GROUP * 100, seed=first, width=GROUP * 100)
        simulated += time.process_time() - start
        simulating = simulating or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        from understudy.data.decision_table import decision_table, write_table  # after: it brings Arrow

        file = write_table(decision_table(log, world.problem, prefix=f"e{first}"), folder / "part.parquet")
        bare += time.process_time() - start
        sizes.append(file.stat().st_size / GROUP)
        rewards.append((float(log.reward.mean()), float(log.reward.max())))
    return {
        "environments": total,
        "cpu_s_per_step": simulated / total / 50,
        "protocol_cpu_minutes": bare / total * 1000 / 60,
        "peak_mb": simulating / 1024,
        "peak_mb_with_arrow": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "log_kb_per_environment": float(np.mean(sizes)) / 1000,
        "mean_reward": float(np.mean([mean for mean, _ in rewards])),
        "highest_reward": max(most for _, most in rewards),
    }


def cells(quick: bool) -> dict[str, Any]:
    """Every conditional statistic of both environments and all four policies; and those of single customers."""
    expected, trajectories = retail_cells.expected_figures(), (2 if quick else 6)
    found, single = retail_cells.compare_exogenous(expected, 1 if quick else 3), []
    for seed in (0, 1):
        means = {p: retail_cells.cell(seed, p, trajectories=trajectories) for p in (*ARMS, "uniform_random")}
        for policy, mean in means.items():
            found += retail_cells.compare_cell(seed, policy, mean, expected)
            single += retail_cells.compare_single(seed, policy, mean, expected)
        found += retail_cells.compare_ratios(seed, means, expected)
    z, alone = (np.abs([each.z for each in part]) for part in (found, single))
    return {
        "trajectories": trajectories,
        "statistics": len(z),
        "largest_z": float(z.max()),
        "share_beyond_3": float((z > 3).mean()),
        "largest": [(e.name, round(e.z, 2)) for e in sorted(found, key=lambda e: -abs(e.z))[:5]],
        "single_customers_and_categories": len(alone),
        "single_largest_z": float(alone.max()),
        "single_share_beyond_2": float((alone > 2).mean()),
        "single_share_beyond_3": float((alone > 3).mean()),
    }


def published(quick: bool) -> dict[str, Any]:
    """Fixed coupons in the published catalogue: 32 environments, the last 20 of 35 steps."""
    return _curve(6 if quick else 32, reference_compat=True, catalogue=str(REFERENCE / "catalogue.npz"))


def own(quick: bool) -> dict[str, Any]:
    """The same in the package's own catalogue, parameters tied as published, and independent as the law is written."""
    n = 6 if quick else 32
    return {"tied": _curve(n, reference_compat=True), "independent": _curve(n)}


def _curve(environments: int, **settings: Any) -> dict[str, Any]:
    world = retail(steps=SKIP + LAST, **settings)
    logs = fixed_coupons(world, range(11), environments=environments, skip=SKIP, steps=LAST, seed=1)
    categories = len(world.terms.catalogue.sizes)
    made = {name: metrics(log, world.problem, categories) for name, log in zip(COUPONS, logs)}
    none = made["0%"]
    half = halves(none.sensitivity)
    by_half = [[float(m.revenue[half == h].mean()) / LAST for m in made.values()] for h in (0, 1)]
    lowest = COUPONS[int(np.argmin([m.revenue.mean() for m in made.values()]))]
    steps = list(pairwise(COUPONS))
    return {
        "environments": environments,
        "revenue_per_environment": {name: float(m.revenue.mean() * 100) for name, m in made.items()},
        "revenue_relative": {n: _said(paired_ratio(m, none, "revenue")) for n, m in made.items() if m is not none},
        "lowest_at": lowest,
        "down_to_it": _said(paired_difference(made[lowest], none, "revenue")),
        "up_to_50%": _said(paired_difference(made["50%"], made[lowest], "revenue")),
        "retention": {name: float(m.retention.mean()) for name, m in made.items()},
        "least_rise_of_retention": min(paired_difference(made[b], made[a], "retention").value for a, b in steps),
        "sensitive_per_step": dict(zip(COUPONS, by_half[0])),
        "insensitive_per_step": dict(zip(COUPONS, by_half[1])),
        "sensitive_lowest_at": COUPONS[int(np.argmin(by_half[0]))],
        "penetration": {name: float(m.penetration.mean()) for name, m in made.items()},
    }  # fmt: skip


def delayed(quick: bool) -> dict[str, Any]:
    """Fixed coupons, and whoever takes what pays most now, knowing the truth: revenue of 50 steps."""
    from scipy import stats  # not above: the peak of memory is not to hold it

    n = 2 if quick else 6
    earned = {name: _delayed(lambda _, level=level: level, n) for level, name in enumerate(COUPONS) if level % 2 == 0}
    greedy = _delayed(lambda world: world.expected().argmax(1), n)
    best = max(earned, key=lambda name: float(earned[name].mean()))
    gain = earned[best] - greedy
    half = float(stats.t.ppf(0.975, n - 1)) * gain.std(ddof=1) / np.sqrt(n)
    return {
        "environments": n,
        "revenue": {name: float(each.mean()) for name, each in earned.items()},
        "greedy_on_the_truth": float(greedy.mean()),
        "best_fixed": best,
        "best_fixed_less_greedy": [float(gain.mean()), float(gain.mean() - half), float(gain.mean() + half)],
    }


def _delayed(choose: Callable[[Retail], Any], environments: int) -> np.ndarray:
    """f64[E] revenue per customer of 50 steps."""
    world, total = retail(scenario="delayed"), 0.0
    world.reset(np.random.default_rng(3), environments * 100)
    for _ in range(50):
        action = np.broadcast_to(np.asarray(choose(world), np.int32), environments * 100)
        total = total + world.step(action)[1].reward
    return np.asarray(total).reshape(environments, 100).mean(1)


def truth(quick: bool) -> dict[str, Any]:
    """The exact mean of what random coupons pay, and what they paid; what is left of others' coupons in the table.

    The table [w, k] cuts utilities where the coupons of all put the cut. One customer's own coupon moves the cut too:
    ``own_cut`` is by how much the table is off for a customer whose coupon alone is changed.
    """
    world, rng, paid, exact, own_cut = retail(), np.random.default_rng(5), [], [], []
    world.reset(np.random.default_rng(4), 400)
    for t in range(10 if quick else 30):
        action = rng.integers(0, 11, 400).astype(np.int32)
        exact.append(world.expected(action))
        if t % 3 == 0:
            changed, one = action.copy(), np.arange(4) * 100 + t  # a customer of each environment
            changed[one] = 10 - changed[one]
            own_cut += (world.expected(others=action)[one, changed[one]] / world.expected(changed)[one] - 1).tolist()
        paid.append(world.step(action)[1].reward)
    gap = np.array(paid) - np.array(exact)
    error = float(gap.std() / np.sqrt(gap.size))
    return {
        "exact": float(np.mean(exact)), "paid": float(np.mean(paid)), "z": float(gap.mean()) / error,
        "own_cut_mean": float(np.mean(own_cut)), "own_cut_largest": float(np.abs(own_cut).max()),
    }  # fmt: skip


PARTS = {"speed": speed, "cells": cells, "published": published, "own": own, "delayed": delayed, "truth": truth}
NEED_FILES = {"cells", "published"}


def _said(found: Any) -> list[float]:
    return [found.value, found.low, found.high]


def missed(result: dict[str, Any]) -> list[str]:
    """The bars not reached, of the parts that were run."""
    out = []
    if "speed" in result:
        s = result["speed"]
        out += ["times faster"] * (min(s["times_faster"]) < BARS["times_faster_at_least"])
        out += ["peak"] * (s["peak_mb"] > BARS["peak_mb_at_most"])
        out += ["protocol"] * (s["protocol_cpu_minutes"] > BARS["protocol_cpu_minutes_at_most"])
        out += ["log"] * (s["log_kb_per_environment"] > BARS["log_kb_at_most"])
    if "cells" in result:
        out += ["z"] * (result["cells"]["largest_z"] > BARS["z_at_most"])
        out += ["beyond 3"] * (result["cells"]["share_beyond_3"] > BARS["share_beyond_3_at_most"])
    curves = {"published": result.get("published")} | result.get("own", {})
    for name, curve in curves.items():
        if curve:
            out += [f"{name}: shape"] * (curve["lowest_at"] not in ("30%", "35%", "40%") or curve["up_to_50%"][1] <= 0)
            out += [f"{name}: retention"] * (curve["least_rise_of_retention"] <= 0)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few environments, nothing written")
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--environments", type=int, default=1000, help="of the data collection; 1000 as published")
    parser.add_argument("--collect", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect is not None:
        print(json.dumps(collect(options.collect, options.environments)))
        return
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() and not options.quick else {}
    for name in options.only:
        if name in NEED_FILES and not REFERENCE.exists():
            print(f"{name}: skipped, no folder {REFERENCE}", flush=True)
            continue
        start = time.process_time()
        result[name] = (
            speed(20 if options.quick else options.environments) if name == "speed" else PARTS[name](options.quick)
        )
        print(f"{name} ({time.process_time() - start:.0f} CPU s): {json.dumps(result[name])}", flush=True)
        if not options.quick:
            stored = json.loads(RESULT.read_text()) if RESULT.exists() else {}
            RESULT.write_text(json.dumps(stored | {name: result[name], "bars": BARS}, indent=1) + "\n")
    lacking = missed(result)
    raise SystemExit(f"missed: {', '.join(lacking)}" if lacking and not options.quick else 0)


if __name__ == "__main__":
    main()
