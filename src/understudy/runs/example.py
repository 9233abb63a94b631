"""A learner, a world, a log and a bar, in one small file: ``examples/<env>/<learner>.yaml``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.protocols import LoggedDataset, Policy
from understudy.core.registry import find
from understudy.data.dataset import MemoryDataset
from understudy.envs.rollout import episodes, mean_return, rollout
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform, floored
from understudy.runs.settings import learner, read_yaml

FIRST = 500  # uniform episodes from which a learner that is to make a log learns


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"by": "with"}):
    """``episodes`` of a policy: ``uniform``, or what the learner of that name makes of 500 uniform episodes.

    ``explore`` of a learner's policy is uniform.
    """

    by: str = "uniform"
    episodes: int
    explore: float = 0.0


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the policy made is judged: the mean of the undiscounted returns of ``episodes``."""

    episodes: int = 100


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``learner`` with ``settings`` on a log of ``env``; the mean return should reach ``bar``."""

    learner: str
    env: str
    log: Log
    bar: float
    settings: dict[str, Any] = {}
    evaluate: Evaluation = Evaluation()


def read_example(path: str | Path) -> Example:
    """The example in a YAML file. Raises: ConfigError with the field at fault."""
    return read_yaml(path, Example)


def log(example: Example, seed: int) -> LoggedDataset:
    """The example's log; the seed decides it."""
    return logged_in(find("envs", example.env)(), example.log, seed)


def logged_in(env: Any, made: Log, seed: int) -> MemoryDataset:
    """``made.episodes`` of a behavior policy in a world (decisions of a bandit); the seed decides them."""

    def by(policy: Any, n: int) -> MemoryDataset:
        play = rollout if env.problem.bandit else episodes
        return MemoryDataset(env.problem, play(env, policy, n, seed=seed))

    actions = env.problem.actions
    policy: Any = Uniform(actions.k) if actions.discrete else UniformBox(actions.low, actions.high)
    if made.by != "uniform":
        taught: Any = learner(made.by, {}).fit(by(policy, FIRST), seed=seed)
        policy = floored(taught, actions.k, made.explore) if actions.discrete else taught
    return by(policy, made.episodes)


def trained(example: Example, data: LoggedDataset, seed: int) -> tuple[Policy, float]:
    """The policy that the example's learner makes of the log, and the seconds of CPU it took."""
    start = time.process_time()
    policy = learner(example.learner, example.settings).fit(data, seed=seed)
    return policy, time.process_time() - start


def earned(example: Example, policy: Policy, seed: int) -> float:
    """The mean return of a policy in episodes of their own."""
    returns = mean_return(find("envs", example.env)(), policy, example.evaluate.episodes, seed=1_000_000 + seed)
    return float(returns.mean())
