"""Steps per CPU second, 100 episodes side by side, one thread: our worlds and rollouts, and Gymnasium's, in one run.

    python benchmarks/envs.py [--quick]

Everybody is given the same random actions, drawn before the clock starts; rollouts draw their own. Interleaved rounds,
medians. Bars: CartPole ≥ 15 × Gymnasium's sync vector, ≥ 1.2 × its vectorised class; a logged rollout of uniform
actions ≥ 500,000 steps per CPU second; our wrapper of any Gymnasium id ≥ 0.9 × sync vector.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from understudy.envs.cartpole import cartpole
from understudy.envs.gym import gym
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes, mean_return
from understudy.models.policies import Uniform

W = 100
BARS = {"cartpole / sync": 15.0, "cartpole / vector": 1.2, "wrapper / sync": 0.9, "log": 500_000.0}


def ours(env: Any, actions: np.ndarray) -> Callable[[], int]:
    def run() -> int:
        env.reset(np.random.default_rng(0), W)
        for action in actions:
            _, feedback = env.step(action)
            ended = feedback.terminated | feedback.truncated
            if ended.any():
                env.renew(ended)
        return actions.shape[0] * W

    return run


def theirs(id: str, mode: str, actions: np.ndarray) -> Callable[[], int]:
    plain = {"disable_env_checker": True} if mode == "sync" else {}  # ours checks nothing either
    env = gymnasium.make_vec(id, num_envs=W, vectorization_mode=mode, **plain)

    def run() -> int:
        env.reset(seed=0)
        for action in actions:
            env.step(action)
        return actions.shape[0] * W

    return run


def contenders(steps: int) -> dict[str, Callable[[], int]]:
    rng = np.random.default_rng(1)
    few = max(steps // 20, 20)  # of what is slow
    push = rng.integers(0, 2, (steps, W)).astype(np.int32)
    wide = push.astype(np.int64)  # what Gymnasium's spaces ask for
    torque = rng.uniform(-2, 2, (steps, W, 1)).astype(np.float32)
    return {
        "cartpole": ours(cartpole(steps=500), push),
        "cartpole vector": theirs("CartPole-v1", "vector_entry_point", wide),
        "cartpole sync": theirs("CartPole-v1", "sync", wide[:few]),
        "cartpole wrapper": ours(gym("CartPole-v1"), push[:few]),
        "pendulum": ours(pendulum(), torque),
        "pendulum sync": theirs("Pendulum-v1", "sync", torque[:few]),
        "pendulum wrapper": ours(gym("Pendulum-v1"), torque[:few]),
        "log of cartpole": lambda: episodes(cartpole(), Uniform(2), steps * 4, seed=0).n,
        "returns of cartpole": lambda: int(mean_return(cartpole(), Uniform(2), steps * 4, 0).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps and rounds, nothing written")
    quick = parser.parse_args().quick
    rounds, runs = (2, contenders(100)) if quick else (7, contenders(2_000))
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            steps = run()
            rates[name].append(steps / (time.process_time() - start))
    speed = {name: statistics.median(each) for name, each in rates.items()}
    ratios = {
        "cartpole / sync": speed["cartpole"] / speed["cartpole sync"],
        "cartpole / vector": speed["cartpole"] / speed["cartpole vector"],
        "pendulum / sync": speed["pendulum"] / speed["pendulum sync"],
        "wrapper / sync": min(speed[f"{name} wrapper"] / speed[f"{name} sync"] for name in ("cartpole", "pendulum")),
        "log": speed["log of cartpole"],
    }
    result = {"width": W, "rounds": rounds, "steps_per_cpu_s": speed, "ratios": ratios, "bars": BARS}
    if not quick:
        path = Path(__file__).parent / "results" / "envs.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    missed = [name for name, bar in BARS.items() if ratios[name] < bar]
    raise SystemExit(f"missed: {', '.join(missed)}" if missed and not quick else 0)


if __name__ == "__main__":
    main()
