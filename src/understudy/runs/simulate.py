"""A policy acts in a world whose truth is known, and leaves the raw log it would leave in production."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import DiscretePolicy, Environment
from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.data.events import write_events
from understudy.envs.rollout import rollout
from understudy.learners.direct import Direct
from understudy.models.policies import Uniform
from understudy.models.policy_file import read_policy, save_policy
from understudy.runs.client import INTERVAL, START
from understudy.runs.worlds import make_env

WARM_UP = 600  # uniform decisions behind the "warm" behavior policy: enough to be useful, far from enough to be good
WARM_EPSILON = 0.3
DECISIONS = "decisions.jsonl"
MEAN_DELAY = 600.0  # seconds from a decision to its outcome, on average


@dataclass(frozen=True)
class Simulated:
    """A log, who made it, and what is true about it."""

    env: Environment
    behavior: DiscretePolicy
    steps: Steps
    truth: float | None  # the behavior policy's true value, where the world knows it
    best: float | None  # the best policy's

    def lines(self) -> list[str]:
        """For a person."""
        told = [f"{self.steps.n} decisions logged, mean reward {self.steps.reward.mean():.4f}"]
        if self.truth is not None and self.best is not None:
            told.append(f"true value of the policy that acted {self.truth:.4f}; of the best there is {self.best:.4f}")
        return told

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        mean = float(self.steps.reward.mean())
        return {"decisions": self.steps.n, "mean_reward": mean, "true_value": self.truth, "best_value": self.best}


def simulate(
    env: str | Environment, settings: Mapping[str, Any], *, behavior: str, n: int, seed: int, to: str | Path
) -> Simulated:
    """Log n decisions and write them as ``decisions.jsonl`` and ``outcomes.jsonl`` into ``to``.

    Args:
        env: name of a registered environment, made with ``settings``; or one already made.
        behavior: ``uniform``; ``warm`` (ε-greedy on a ridge fitted to a few uniform decisions: what a first version
            in production looks like); or a policy artifact's folder.

    A reward of 0 leaves no outcome, as in real logs where "nothing happened" is not an event; others arrive late by
    an exponential delay. The behavior policy is saved beside the log, so that its truth can be asked later.
    """
    if n < 1:
        raise ConfigError(f"{n} decisions is not a log", hint="Ask for at least one.", field="decisions")
    world = make_env(env, settings) if isinstance(env, str) else env
    actor = _behavior(world, behavior, seed)
    steps = rollout(world, actor, n, seed=seed + 1, start_time=START, interval=INTERVAL, policy_id=f"{behavior}-{seed}")
    rng = np.random.default_rng(seed + 2)
    delays = rng.exponential(MEAN_DELAY, n)
    folder = Path(to)
    with _unless_another_lies_in(folder) as part:
        write_events(steps, world.problem, part, delays=delays, sent=steps.reward != 0, policy_id=f"{behavior}-{seed}")
        save_policy(actor, part / "behavior", problem=world.problem)
    truth, best = (getattr(world, name, None) for name in ("true_value", "best_value"))
    return Simulated(world, actor, steps, truth(actor) if truth else None, best() if best else None)


@contextmanager
def _unless_another_lies_in(folder: Path) -> Iterator[Path]:
    """A folder to write a log into, moved to ``folder`` at the end. Raises: StoreError if another log lies there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        part = Path(partial) / "raw"
        yield part
        old = folder / DECISIONS
        if old.exists() and not filecmp.cmp(old, part / DECISIONS, shallow=False):
            raise StoreError(
                f"{folder} already holds another log", "A log is what everything else is made from.",
                "Give another folder, or delete this one first.", field="to",
            )  # fmt: skip
        shutil.copytree(part, folder, dirs_exist_ok=True)


def _behavior(env: Environment, name: str, seed: int) -> DiscretePolicy:
    if name == "uniform":
        return Uniform(env.problem.actions.k)
    if name == "warm":
        first = rollout(env, Uniform(env.problem.actions.k), WARM_UP, seed=seed)
        learner = Direct(model="ridge", explore="epsilon_greedy", amount=WARM_EPSILON)
        return learner.fit(MemoryDataset(env.problem, first), seed=seed)
    found = read_policy(name)
    if found.problem.actions != env.problem.actions:
        raise ConfigError(f"the policy {name} has other actions than this environment", field="with")
    return found.policy  # pyright: ignore[reportReturnType]
