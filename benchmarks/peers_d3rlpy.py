"""The peer's side of learner_speed.py: d3rlpy 2.8.1, in an environment of its own, without this package.

    python benchmarks/peers_d3rlpy.py steps FOLDER          reads ``NAME STEPS`` lines; CPU seconds of each
    python benchmarks/peers_d3rlpy.py whole FOLDER WIDTH SEED     from the first import to a policy of 195

``FOLDER`` holds cartpole.npz and pendulum.npz: the same rows as ours.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDE, SMALL, BATCH = (256, 256), (64, 64), 256
EVERY, MOST, ENOUGH = 250, 10_000, 195.0


def dataset(folder: Path, env: str) -> Any:
    """The rows of a log as d3rlpy holds them."""
    import d3rlpy

    with np.load(folder / f"{env}.npz") as held:
        columns = {name: held[name] for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    kind = d3rlpy.ActionSpace.DISCRETE if env.startswith("cartpole") else d3rlpy.ActionSpace.CONTINUOUS
    return d3rlpy.dataset.MDPDataset(**columns, action_space=kind)


def made(name: str) -> Any:
    """An algorithm with nets and minibatches as ours; all else is d3rlpy's default."""
    from d3rlpy import algos
    from d3rlpy.models.encoders import VectorEncoderFactory

    hidden = VectorEncoderFactory(list(SMALL if name == "bcq_small" else WIDE))
    one = {"batch_size": BATCH, "encoder_factory": hidden}
    two = {"batch_size": BATCH, "actor_encoder_factory": hidden, "critic_encoder_factory": hidden}
    kinds = {
        "dqn": lambda: algos.DoubleDQNConfig(**one),
        "bcq": lambda: algos.DiscreteBCQConfig(**one),
        "bcq_small": lambda: algos.DiscreteBCQConfig(**one),
        "cql": lambda: algos.DiscreteCQLConfig(**one),
        "iql": lambda: algos.IQLConfig(**two, value_encoder_factory=hidden),
        "td3_bc": lambda: algos.TD3PlusBCConfig(**two),
        "sac": lambda: algos.SACConfig(**two),
    }
    return kinds[name]().create(device="cpu:0")


def steps(folder: Path) -> None:
    """Gradient steps on request: sampling and update, without d3rlpy's logging and its files."""
    import torch

    torch.set_num_threads(1)
    logs = {env: dataset(folder, env) for env in ("cartpole", "pendulum")}
    algorithms: dict[str, Any] = {}
    for line in sys.stdin:
        name, count = line.split()
        log = logs["pendulum" if name in ("iql", "td3_bc", "sac") else "cartpole"]
        if name not in algorithms:
            algorithms[name] = made(name)
            algorithms[name].build_with_dataset(log)
        start = time.process_time()
        for _ in range(int(count)):
            algorithms[name].update(log.sample_transition_batch(BATCH))
        print(json.dumps({"cpu": time.process_time() - start}), flush=True)


def whole(folder: Path, width: int, seed: int) -> None:
    """Double DQN with the settings that were quickest for it (batch 128, rate 5e-4, γ .98, a copy every 100 steps).

    It is looked at every 250 steps, and stops at the first 195; looking costs it nothing.
    """
    import d3rlpy
    import torch

    torch.set_num_threads(1)
    d3rlpy.seed(seed)
    hidden = d3rlpy.models.encoders.VectorEncoderFactory([width, width])
    config = d3rlpy.algos.DoubleDQNConfig(
        batch_size=128, learning_rate=5e-4, gamma=0.98, target_update_interval=100, encoder_factory=hidden
    )
    algorithm, log, looking = config.create(device="cpu:0"), dataset(folder, f"cartpole{seed}"), 0.0
    algorithm.build_with_dataset(log)
    for done in range(1, MOST + 1):
        algorithm.update(log.sample_transition_batch(128))
        if done % EVERY == 0:
            start = time.process_time()
            earned = mean_return(algorithm, seed)
            looking += time.process_time() - start
            if earned >= ENOUGH:
                break
    print(json.dumps({"cpu": time.process_time() - looking, "steps": done, "earned": earned}), flush=True)


def mean_return(algorithm: Any, seed: int, episodes: int = 100, longest: int = 200) -> float:
    """Mean return of 100 episodes of at most 200 steps."""
    import gymnasium

    worlds = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="vector_entry_point")
    states, _ = worlds.reset(seed=1_000_000 + seed)
    alive, total = np.ones(episodes, bool), np.zeros(episodes)
    for _ in range(longest):
        states, _, terminated, _, _ = worlds.step(algorithm.predict(states))
        total += alive
        alive &= ~terminated
    return float(total.mean())


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "steps":
        steps(Path(folder))
    else:
        whole(Path(folder), *map(int, rest))
