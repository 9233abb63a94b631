"""A study as one nested JSON, ``experiment_data[setting]["runs"][…]``: the layout of older tools' plots and scripts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from understudy.runs.sweep.perform import EPISODES, EVALUATION, METRICS, TRAINING
from understudy.runs.sweep.study import Study

_OWN = {"return", "return_std_error", "evaluation", "training_return"}


def write_nested(study: Study, to: Path) -> Path:
    """Write the finished runs of a study as nested JSON.

    ``experiment``: environment and agent. ``experiment_data``: setting number → agent_params, and runs with
    run_number, random_seed, total_timesteps, timesteps_at_eval, eval_episode_rewards and eval_episode_steps [evals ×
    episodes], train_episode_rewards and train_episode_steps, train_time and eval_time in seconds, learned_params (last
    value of each of the learner's own figures).
    """
    done, times = study.done(), study.times()
    data: dict[str, Any] = {}
    for run in study.known():
        if run.id not in done:
            continue
        entry = data.setdefault(str(run.setting), {"agent_params": run.config.settings, "runs": []})
        seconds = times.get(run.id, {}).get("seconds", {})
        entry["runs"].append(
            {"run_number": study.plan.grid.place(run.index)[1], "random_seed": run.seed}
            | _episodes(pq.read_table(study.path(run) / EPISODES).to_pylist())
            | _figures(pq.read_table(study.path(run) / METRICS).to_pylist())
            | {"train_time": seconds.get("train_wall"), "eval_time": seconds.get("evaluate_wall")}
        )
    first = study.plan.configs[0]
    whole = {"experiment": {"environment": first.env or first.on, "agent": first.learner}, "experiment_data": data}
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
    return to


def _episodes(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    returns, steps = defaultdict(list), defaultdict(list)
    for row in rows:
        key = row["phase"], row["step"]
        returns[key].append(row["return"])
        steps[key].append(row["steps"])
    evaluations = sorted(key for key in returns if key[0] == EVALUATION) or sorted(
        k for k in returns if k[0] != TRAINING
    )
    trained = sorted(key for key in returns if key[0] == TRAINING)
    return {
        "timesteps_at_eval": [step for _, step in evaluations],
        "episodes_per_eval": max((len(returns[key]) for key in evaluations), default=0),
        "eval_episode_rewards": [returns[key] for key in evaluations],
        "eval_episode_steps": [steps[key] for key in evaluations],
        "train_episode_rewards": [value for key in trained for value in returns[key]],
        "train_episode_steps": [value for key in trained for value in steps[key]],
        "total_train_episodes": sum(len(returns[key]) for key in trained),
    }


def _figures(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    last: dict[str, tuple[int, float]] = {}
    for row in rows:
        last[row["metric"]] = max(last.get(row["metric"], (-1, 0.0)), (row["step"], row["value"]))
    learned = {name: value for name, (_, value) in last.items() if name not in _OWN}
    return {"total_timesteps": max((step for step, _ in last.values()), default=0), "learned_params": learned}
