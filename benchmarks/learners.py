"""Gradient learners on logs of CartPole and Pendulum: what the policies earn, seed by seed, against each example's bar.

    python benchmarks/learners.py [--quick] [--only NAME] [--seeds 100-109]

And in worlds (online/NAME), on the first five of the seeds.

The examples lie in examples/<env>/<learner>.yaml. Settings were chosen on seeds 0–9; 100–109 are shown. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from understudy.runs.example import earned, log, read_example, trained
from understudy.runs.online_example import earned as online_earned
from understudy.runs.online_example import read_online_example, rehearsed

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"


@dataclass(frozen=True)
class Rule:
    """On how many of the seeds the bar must be reached, and what no seed may fall below."""

    of_ten: int = 9
    least: float = float("-inf")


RULES: dict[str, dict[str, Rule]] = {
    "cartpole": {
        "bcq": Rule(9, 185.0), "dqn": Rule(), "cql": Rule(), "iql": Rule(), "crr": Rule(),
        "awac": Rule(10), "c51": Rule(10), "qr_dqn": Rule(10), "parametric_dqn": Rule(10), "reward_network": Rule(10),
        "bc": Rule(10),
    },
    "pendulum": {
        "sac": Rule(10), "td3_bc": Rule(10), "cql": Rule(10), "iql": Rule(10),
        "td3": Rule(10), "awac": Rule(10), "crr": Rule(10),
    },
    "online": {
        "dqn": Rule(10), "sac": Rule(10), "ppo": Rule(10), "ppo_pendulum": Rule(10), "reinforce": Rule(10),
    },
}  # fmt: skip
ONLINE_SEEDS = 5


def row(env: str, name: str, rule: Rule, seeds: range) -> dict[str, Any]:
    """Mean returns by seed, CPU seconds of the trainings, and whether the rule is kept."""
    example = read_example(EXAMPLES / env / f"{name}.yaml")
    returns, cpu = [], []
    for seed in seeds:
        policy, seconds = trained(example, log(example, seed), seed)
        returns.append(round(earned(example, policy, seed), 2))
        cpu.append(round(seconds, 2))
    reached = sum(value >= example.bar for value in returns)
    return {
        "bar": example.bar, "settings": example.settings, "seeds": list(seeds), "returns": returns, "cpu_seconds": cpu,
        "reached": reached, "kept": reached >= rule.of_ten / 10 * len(returns) and min(returns) >= rule.least,
    }  # fmt: skip


def online_row(name: str, rule: Rule, seeds: range) -> dict[str, Any]:
    """The same of a training in a world: its best evaluation's policy, in 100 episodes that chose nothing."""
    example = read_online_example(EXAMPLES / "online" / f"{name}.yaml")
    returns, cpu = [], []
    for seed in seeds[:ONLINE_SEEDS]:
        policy, seconds = rehearsed(example, seed)
        returns.append(round(online_earned(example, policy, seed), 2))
        cpu.append(round(seconds, 2))
        print(f"  seed {seed}: {returns[-1]:.1f} in {seconds:.1f} CPU-s", flush=True)
    reached = sum(value >= example.bar for value in returns)
    spread = statistics.stdev(returns) if len(returns) > 1 else 0.0
    return {
        "bar": example.bar, "learner": example.learner, "env": example.env, "env_settings": example.env_settings,
        "settings": example.settings, "steps": example.growth.steps, "seeds": list(seeds[:ONLINE_SEEDS]),
        "returns": returns, "mean": round(statistics.mean(returns), 2), "spread": round(spread, 2),
        "cpu_seconds": cpu, "reached": reached, "kept": reached >= rule.of_ten / 10 * len(returns),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, nothing written: whether it runs")
    parser.add_argument("--only", help="rows whose env/name contains this")
    parser.add_argument("--seeds", default="100-109", help="first and last seed")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    seeds, missed = range(first, first + 1 if options.quick else last + 1), []
    target = HERE / "results" / "learners.json"
    for env, rules in RULES.items():
        for name, rule in rules.items():
            key = f"{env}/{name}"
            if options.only and options.only not in key:
                continue
            found = online_row(name, rule, seeds) if env == "online" else row(env, name, rule, seeds)
            missed += [] if found["kept"] else [key]
            n, cpu = len(found["seeds"]), sorted(found["cpu_seconds"])
            least, mean = min(found["returns"]), sum(found["returns"]) / len(found["returns"])
            print(
                f"{key:26} bar {found['bar']:6.0f}  reached {found['reached']} of {n}  mean {mean:7.1f}  "
                f"least {least:7.1f}  CPU {cpu[n // 2]:.2f} s",
                flush=True,
            )
            if not options.quick:
                before = json.loads(target.read_text()) if target.exists() else {}
                target.write_text(json.dumps(before | {key: found}, indent=1) + "\n")
    raise SystemExit(f"missed: {', '.join(missed)}" if missed and not options.quick else 0)


if __name__ == "__main__":
    main()
