"""A run judged in another world than it learned in, and by estimates beside the truth."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from understudy.core.errors import ConfigError
from understudy.core.steps import apart
from understudy.envs.bandit import bandit
from understudy.envs.cartpole import cartpole
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform
from understudy.runs.sweep.beside import uniform_log
from understudy.runs.sweep.drive import run_here
from understudy.runs.sweep.experiment import Config, Judged, plan, read_experiment


def figures(place: Path, text: str) -> dict[str, float]:
    (place / "e.yaml").write_text(text)
    run_here(place / "e.yaml", {}, place / "study", "", lambda line: None)
    table = pq.read_table(place / "study" / "tables" / "results.parquet").to_pylist()
    return {row["metric"]: row["value"] for row in table}


def test_a_bandits_estimates_stand_beside_its_true_value(tmp_path: Path) -> None:
    told = figures(tmp_path, "name: b\nlearner: direct\nenv: bandit\nlog: {episodes: 500}\nseeds: 1\n"
                   "evaluate: {episodes: 200, log: 4000, with: [snips, dr]}\n")  # fmt: skip
    assert told["dr_low"] < told["dr"] < told["dr_high"]
    assert abs(told["dr"] - told["true_value"]) < 3 * (told["dr_high"] - told["dr_low"])


def test_episodes_are_read_by_both_kinds_of_estimators(tmp_path: Path) -> None:
    """A world that reveals nothing gives no one-step truth; the return is earned in the judged episodes."""
    told = figures(tmp_path, "name: c\nlearner: uniform\nenv: cartpole\nenv_settings: {steps: 20}\nseeds: 1\n"
                   "log: {episodes: 5}\nevaluate: {episodes: 50, log: 300, with: [snips, pdis]}\n")  # fmt: skip
    assert told["snips"] == pytest.approx(1)  # every decision pays 1
    assert told["pdis_low"] <= told["pdis"] <= told["pdis_high"] and "true_value" not in told
    assert abs(told["pdis"] - told["true_return"]) < 2


def test_the_world_that_judges_may_be_another(tmp_path: Path) -> None:
    """Cut at 5 steps where it learned at 20: the return is 5."""
    told = figures(tmp_path, "name: d\nlearner: uniform\nenv: cartpole\nenv_settings: {steps: 20}\nseeds: 1\n"
                   "log: {episodes: 5}\nevaluate: {episodes: 50, env_settings: {steps: 5}}\n")  # fmt: skip
    assert told["return"] == 5


def test_a_world_of_other_actions_may_not_judge(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        "name: e\nlearner: uniform\nenv: retail\nlog: {episodes: 5}\nevaluate: {env_settings: {levels: [0, 0.5]}}\n"
    )
    with pytest.raises(ConfigError, match="other actions"):
        plan(read_experiment(tmp_path / "e.yaml"))


def test_the_uniform_log_is_the_same_for_every_policy_and_new_for_every_seed() -> None:
    config = Config(learner="uniform", env="bandit", evaluate=Judged(log=50))
    assert uniform_log(config, 0) is uniform_log(config, 0)
    assert (uniform_log(config, 0).steps.reward != uniform_log(config, 1).steps.reward).any()
    assert bandit().problem.bandit


def test_steps_apart_are_decisions_of_their_units() -> None:
    log = episodes(cartpole(steps=10), Uniform(2), 4, seed=0)
    single = apart(log)
    assert single.m == single.n == log.n and single.terminated.all() and not single.truncated.any()
    assert (single.unit == log.row_unit).all()
