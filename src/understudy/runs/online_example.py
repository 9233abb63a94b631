"""A learner, a world to learn in, and a bar, in one small file: ``examples/online/<name>.yaml``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.protocols import Policy
from understudy.envs.rollout import mean_return
from understudy.runs.example import Evaluation
from understudy.runs.online import Growth, best_of, learn_in
from understudy.runs.settings import learner, read_yaml
from understudy.runs.worlds import make_env


class OnlineExample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``learner`` with ``settings`` in ``env``, the log growing by ``growth``; the mean return should reach ``bar``."""

    learner: str
    env: str
    bar: float
    env_settings: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    growth: Growth = Growth()
    evaluate: Evaluation = Evaluation()

    def world(self) -> Any:
        """A world of its own."""
        return make_env(self.env, self.env_settings)


def read_online_example(path: str | Path) -> OnlineExample:
    """The example in a YAML file. Raises: ConfigError with the field at fault."""
    return read_yaml(path, OnlineExample)


def rehearsed(example: OnlineExample, seed: int) -> tuple[Policy, float]:
    """The policy of the best evaluation, as ``train --in`` would choose it, and the seconds of CPU it all took."""
    start = time.process_time()
    made: Any = learner(example.learner, example.settings)
    found = list(learn_in(made, example.world(), example.growth, seed=seed, judge=example.world))
    return found[best_of([each.point for each in found])].policy, time.process_time() - start


def earned(example: OnlineExample, policy: Policy, seed: int) -> float:
    """The mean return of a policy in episodes of their own, which chose nothing."""
    return float(mean_return(example.world(), policy, example.evaluate.episodes, seed=1_000_000 + seed).mean())
