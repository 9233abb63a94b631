"""Estimates beside the truth: a log of uniform actions in the world that judges, and what estimators make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Estimate
from understudy.core.hashing import canonical, mix
from understudy.core.problem import Problem
from understudy.core.protocols import Revealing
from understudy.core.steps import Steps, apart
from understudy.data.dataset import MemoryDataset
from understudy.envs.rollout import episodes, rollout
from understudy.models.policies import Uniform
from understudy.ope.evaluate import evaluate
from understudy.runs.play import ENDLESS
from understudy.runs.sweep.experiment import Config
from understudy.runs.worlds import make_env

LOGGED = 2_000_000  # added to a run's seed: the log that estimates are made from is neither learned from nor judged on
ONE_STEP = frozenset(
    {"ips", "clipped_ips", "snips", "dm", "dr", "sndr", "switch", "switch_dr", "dros", "sg_ips", "sg_dr", "replay"}
)
TRUE_VALUE, TRUE_RETURN = "true_value", "true_return"


@dataclass(frozen=True)
class Beside:
    """A uniform log, and what each action would have paid on average in each of its steps where the world knows."""

    problem: Problem
    steps: Steps
    pays: np.ndarray | None  # f64[n, k]

    @property
    def decisions(self) -> MemoryDataset:
        """The log as single decisions, each a unit of its own.

        The question is what a policy earns in the states this log passed through. Given the past, ρ r less its mean is
        noise of that decision alone (a martingale difference), also where states follow from one another.
        """
        problem = msgspec.structs.replace(self.problem, horizon=1, unit="decision")
        steps = apart(self.steps)
        return MemoryDataset(problem, steps.with_(unit=mix(np.arange(steps.n, dtype=np.uint64), 0)))

    @property
    def episodes(self) -> MemoryDataset:
        return MemoryDataset(self.problem, self.steps)

    def true_value(self, policy: Any, rows: np.ndarray | slice = slice(None)) -> float | None:
        """Mean over the log's steps of Σ_a π(a|x) E[r|state, a]: what a one-step estimate from it estimates."""
        if self.pays is None:
            return None
        return float((policy.probs(self.steps.context[rows]) * self.pays[rows]).sum(1).mean())


def uniform_log(config: Config, seed: int) -> Beside:
    """``evaluate.log`` uniform episodes (decisions of a bandit) in the world that judges; equal settings, equal log."""
    return _uniform_log(canonical([config.env, config.judging, config.evaluate.log, LOGGED + seed]))


@lru_cache(maxsize=1)
def _uniform_log(recipe: bytes) -> Beside:
    """The last one is kept: the runs of one worker ask for the same."""
    name, settings, n, seed = msgspec.json.decode(recipe)
    world: Any = make_env(name, settings)
    policy = Uniform(world.problem.actions.k)
    problem = world.problem
    if isinstance(world, Revealing):
        return Beside(problem, *world.revealed(policy, n, seed))
    if world.problem.bandit:
        return Beside(world.problem, rollout(world, policy, n, seed=seed), None)
    limit = None if world.problem.horizon else ENDLESS
    return Beside(world.problem, episodes(world, policy, n, seed=seed, max_steps=limit), None)


def estimated(policy: Any, log: Beside, estimators: Sequence[str], seed: int) -> Iterator[Estimate | str]:
    """Each estimator's word on the policy; of one that refuses, its name. One-step estimators read single decisions."""
    for name in estimators:
        data = log.decisions if name.partition("(")[0] in ONE_STEP else log.episodes
        try:
            yield from evaluate(data, {"policy": policy}, (name,), seed=seed)
        except EvidenceError:
            yield name


def truths(config: Config, policy: Any, log: Beside) -> Mapping[str, float]:
    """The one-step truth, where the world knows it."""
    world: Any = make_env(config.env, config.judging)
    if world.problem.bandit and hasattr(world, "true_value"):
        return {TRUE_VALUE: float(world.true_value(policy))}
    value = log.true_value(policy)
    return {} if value is None else {TRUE_VALUE: value}
