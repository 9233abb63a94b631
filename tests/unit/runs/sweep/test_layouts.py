"""In from the layout of older tools, and out to it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError
from understudy.runs.sweep.experiment import Experiment, plan, read_experiment
from understudy.runs.sweep.foreign import import_experiment
from understudy.runs.sweep.nested import write_nested
from understudy.runs.sweep.study import begin, work

AGENT = {
    "agent_name": "linearAC",
    "parameters": {
        "decay": [0.5], "critic_lr": [0.005, 0.1, 0.3], "actor_lr": [0.005, 0.1, 0.3],
        "avg_reward_lr": [0.1, 0.3, 0.5, 0.9], "scaled": [True], "clip_stddev": [1000],
    },
}  # fmt: skip
WORLD = {
    "env_name": "Pendulum-v1", "total_timesteps": 5000, "steps_per_episode": 100, "eval_interval_timesteps": 1000,
    "eval_episodes": 0, "gamma": 0.95, "continuous": True, "overwrite_rewards": False, "rewards": {"timestep": -1},
}  # fmt: skip


def imported(folder: Path, agent: Any = AGENT, world: Any = WORLD) -> Path:
    for name, body in (("agent", agent), ("world", world)):
        (folder / f"{name}.json").write_text(json.dumps(body))
    return import_experiment(folder / "agent.json", folder / "world.json", folder / "e.yaml")


def test_an_agent_and_its_environment(tmp_path: Path) -> None:
    """Keys keep their order: index 1 is the second critic_lr, index 37 the same of the second round."""
    made = plan(read_experiment(imported(tmp_path)))
    assert made.grid.total == 36 and len(made.seeds) == 5
    one, again = made.run(1), made.run(37)
    assert one.config.learner == "average_ac" and one.config.settings["critic_lr"] == 0.1
    assert one.config.settings["actor_lr"] == 0.005 and again.config == one.config and (one.seed, again.seed) == (0, 1)
    assert one.config.env_settings == {"steps": 100, "discount": 0.95}
    assert one.config.growth is not None and one.config.growth["steps"] == 5000
    assert one.config.growth["eval_every"] == 1000


@pytest.mark.parametrize(
    ("agent", "world", "said"),
    [
        ({"agent_name": "QLearner", "parameters": {}}, WORLD, "unknown agent"),
        ({"agent_name": "SAC", "parameters": {"n_rho": [1]}}, WORLD, "no setting 'n_rho'"),
        ({"agent_name": "SAC", "parameters": {"tau": 0.1}}, WORLD, "no list of values"),
        ({"agent_name": "SAC", "parameters": {"lr": [0.1], "critic_lr": [0.1]}}, WORLD, "second name of 'rate'"),
        (AGENT, {**WORLD, "overwrite_rewards": True}, "overwrite_rewards is not supported"),
        (AGENT, {**WORLD, "frames": 4}, "unknown key"),
        (AGENT, {}, "names no environment"),
        ({"name": "x"}, WORLD, "needs agent_name"),
    ],
)
def test_what_would_be_another_experiment_is_refused(tmp_path: Path, agent: Any, world: Any, said: str) -> None:
    """Nothing is left out silently: an index would mean another setting."""
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, agent, world)
    assert said in str(caught.value)


def test_init_takes_the_two_files(tmp_path: Path) -> None:
    """As a verb."""
    imported(tmp_path)
    where = ["--agent", str(tmp_path / "agent.json"), "--env", str(tmp_path / "world.json")]
    assert main(["init", *where, "--to", str(tmp_path / "f.yaml")]) == 0
    assert main(["init", *where[:2], "--to", str(tmp_path / "g.yaml")]) == 2


def test_a_study_as_nested_json(tmp_path: Path) -> None:
    """Evaluations by episodes, training episodes, the learner's figures, times: by setting, by run."""
    growth = {"steps": 4000, "warmup_steps": 600, "eval_every": 2000, "eval_episodes": 3}
    study = begin(
        Experiment(
            name="e", learner="average_ac", env="pendulum", growth=growth, evaluate={"episodes": 2, "trace": 7},
            sweep={"settings.actor_lr": [0.1, 0.3]}, seeds=2,
        ),
        tmp_path / "s",
    )  # fmt: skip
    assert work(study, [0, 1, 2]) == 0
    told = json.loads(write_nested(study, tmp_path / "data.json").read_text())
    assert told["experiment"] == {"environment": "pendulum", "agent": "average_ac"}
    runs = told["experiment_data"]["0"]["runs"]
    assert [(run["run_number"], run["random_seed"]) for run in runs] == [(0, 0), (1, 1)]
    assert len(told["experiment_data"]["1"]["runs"]) == 1
    assert told["experiment_data"]["1"]["agent_params"]["actor_lr"] == 0.3
    (first, _) = runs
    assert [len(each) for each in first["eval_episode_rewards"]] == [3] * len(first["timesteps_at_eval"])
    assert first["eval_episode_steps"][0] == [200, 200, 200] and first["train_time"] > 0
    assert first["total_train_episodes"] == len(first["train_episode_rewards"]) > 0
    assert set(first["train_episode_steps"]) == {200} and first["total_timesteps"] >= 4000
    assert main(["export", str(study.folder), "--to", str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "data.json").read_bytes()

    trace = pq.read_table(study.path(study.plan.run(0)) / "trace.parquet").to_pylist()
    assert len(trace) == 7 and [row["step"] for row in trace] == list(range(7))
    assert all(-2 <= row["action"] <= 2 and row["propensity"] > 0 for row in trace)
