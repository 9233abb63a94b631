"""Judged episodes of a study, policy by policy, made into logs again from the traces their runs left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.steps import Steps, concat
from understudy.envs.retail.metrics import Metrics, metrics
from understudy.runs.sweep.experiment import Config, Run
from understudy.runs.sweep.perform import METRICS, TRACE
from understudy.runs.sweep.study import Study
from understudy.runs.worlds import make_env

KINDS = {"uniform": "random", "fixed": "fixed"}


@dataclass(frozen=True)
class Judged:
    """All runs of one setting. ``size``: customers it learned from, 0 where it learned in the shops themselves."""

    name: str
    kind: str
    config: Config
    runs: tuple[Run, ...]
    steps: Steps
    metrics: Metrics
    customer: np.ndarray  # i64[m] place in its environment

    @property
    def size(self) -> int:
        return self.config.log.episodes if self.config.log else 0


def judged(study: Study, problem: Problem, categories: int) -> list[Judged]:
    """Every setting that has a finished run, in the plan's order. Raises: DataError where none has."""
    done, found = study.done(), []
    names = labels(study.plan.configs)
    for setting, config in enumerate(study.plan.configs):
        runs = tuple(run for run in study.plan.runs() if run.setting == setting and run.id in done)
        if not runs:
            continue
        steps = concat([trace(study.path(run) / TRACE, problem, config) for run in runs])
        told = metrics(steps, problem, categories)
        place = problem.outcome_names.index("customer")
        assert steps.outcomes is not None
        customer = steps.outcomes[steps.starts[:-1], place].astype(np.int64)
        kind = KINDS.get(config.learner, "learned")
        found.append(Judged(names[setting], kind, config, runs, steps, told, customer))
    if not found:
        raise DataError("no run of this study is done", hint="understudy sweep does what is missing.")
    return found


def trace(path: Path, problem: Problem, config: Config) -> Steps:
    """The log of one run's judged episodes. Raises: ConfigError if not all of their steps were kept."""
    if not path.exists():
        raise ConfigError("the judged steps were not kept", hint="Give evaluate.trace: as many steps as are judged.",
                          field="evaluate.trace")  # fmt: skip
    table = pq.read_table(path)
    column = {name: table[name].to_numpy() for name in table.column_names}
    first = np.flatnonzero(column["step"] == 0)
    if len(first) < config.evaluate.episodes or len(table) == config.evaluate.trace != _whole(column["step"], problem):
        raise ConfigError(
            f"a trace of {config.evaluate.trace} steps does not hold the {config.evaluate.episodes} episodes judged",
            "Half an episode would count as a whole one.", "Raise evaluate.trace.", field="evaluate.trace",
        )  # fmt: skip
    starts = np.append(first, len(table)).astype(np.int64)
    ends = np.zeros(len(table), bool)
    ends[starts[1:] - 1] = True
    full = column["step"] == (problem.horizon or 0) - 1
    return Steps(
        starts=starts, unit=np.arange(len(first), dtype=np.uint64), time=np.zeros(len(table), np.int64),
        context=np.stack([column[name] for name in problem.feature_names], 1), action=column["action"],
        reward=column["reward"], terminated=ends & ~full, truncated=ends & full, propensity=column["propensity"],
        outcomes=np.stack([column[f"outcome.{name}"] for name in problem.outcome_names], 1),
    )  # fmt: skip


def _whole(step: np.ndarray, problem: Problem) -> int:
    """Rows of the trace if its last episode is complete, else −1."""
    return len(step) if step[-1] == (problem.horizon or 0) - 1 else -1


def figures(study: Study, run: Run) -> Mapping[str, float]:
    """The last value of every metric of a run."""
    table = pq.read_table(study.path(run) / METRICS).to_pylist()
    return {row["metric"]: row["value"] for row in sorted(table, key=lambda row: row["step"])}


def labels(configs: Sequence[Config]) -> list[str]:
    """A name per setting: the learner, the coupon of a fixed one, and what else tells equal names apart."""
    names = [_label(config) for config in configs]
    sized = {config.log.episodes for config in configs if config.log}
    if len(sized) > 1:
        return [f"{n}, {c.log.episodes} customers" if c.log else n for n, c in zip(names, configs)]
    told = []
    for i, name in enumerate(names):
        same = [c for n, c in zip(names, configs) if n == name]
        told.append(name if len(same) == 1 else f"{name} {_different(configs[i], same)}")
    return told


def _label(config: Config) -> str:
    if config.learner == "uniform":
        return "random"
    return f"always {config.settings['action']}" if config.learner == "fixed" else config.learner


def _different(config: Config, among: Sequence[Config]) -> str:
    keys = [key for key in config.settings if len({str(each.settings.get(key)) for each in among}) > 1]
    return " ".join(f"{key}={config.settings[key]}" for key in keys) or config.run_id(0)[:4]


def world_of(study: Study) -> Any:
    """The world that judges, of the first setting. Raises: ConfigError if it is not a shop."""
    config = study.plan.configs[0]
    if config.env != "retail":
        raise ConfigError("the retail report is about env: retail", field="report")
    return make_env(config.env, config.judging)
