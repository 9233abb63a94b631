"""Trials, rungs, pruning; a search that was interrupted; what the best is worth on fresh seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from understudy.cli.rehearse import with_best
from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.runs.sweep.experiment import Experiment
from understudy.runs.sweep.space import Axis, Tune
from understudy.runs.sweep.study import Study, work
from understudy.runs.tuning.found import best_of, found
from understudy.runs.tuning.search import Search, checked

CHOICES = Axis(choices=["ridge", "forest"])
AMOUNT = Axis(low=0.01, high=0.9, log=True)


def experiment(**tune: Any) -> Experiment:
    how = {"space": {"settings.amount": AMOUNT}, "trials": 6, "at_once": 2, "seeds": [1, 2], "fresh": "10:14"}
    return Experiment(
        name="search", learner="direct", env="bandit", settings={"explore": "epsilon_greedy"},
        log={"episodes": 60}, evaluate={"episodes": 60}, tune=Tune(**{**how, **tune}),
    )  # fmt: skip


def here(study: Study) -> None:
    work(study, range(study.plan.total))


def test_trials_and_a_fresh_look(tmp_path: Path) -> None:
    """Each trial on each of its seeds; the best again on others, the difference said."""
    best = found(Search(checked(experiment(prune=False)), tmp_path / "s", here))
    rows = pq.read_table(tmp_path / "s" / "trials.parquet").to_pylist()
    assert [row["trial"] for row in rows] == list(range(6)) and {row["state"] for row in rows} == {"complete"}
    assert best.tuned == max(row["mean"] for row in rows) and best.fresh_seeds == 4
    assert best.optimism == pytest.approx(best.tuned - best.fresh) and "optimism" in best.lines()[-1]
    assert all(0.01 <= row["settings.amount"] <= 0.9 and row["seeds"] == 2 for row in rows)


class Stop(Exception):
    """Somebody pressed Ctrl-C."""


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_interrupted_and_resumed_is_undisturbed(tmp_path: Path, after: int) -> None:
    """Whatever study was under way, half done or done and not told: the same trials, the same best."""
    calls = []

    def interrupted(study: Study) -> None:
        calls.append(study)
        if len(calls) > after:
            work(study, [0])
            raise Stop
        here(study)

    one = found(Search(checked(experiment()), tmp_path / "one", here))
    with pytest.raises(Stop):
        found(Search(checked(experiment()), tmp_path / "two", interrupted))
    two = found(Search(checked(experiment()), tmp_path / "two", here))
    assert one == two
    logs = [pq.read_table(tmp_path / name / "trials.parquet") for name in ("one", "two")]
    assert logs[0].equals(logs[1])


def test_a_failed_trial_is_a_failed_trial(tmp_path: Path) -> None:
    """Of settings that no run can have, or whose run fails, or whose objective is no number; the others go on."""
    space = {"settings.model": Axis(choices=["ridge", "nothing", "forest"]), "learner": Axis(choices=["direct"])}
    best = found(Search(checked(experiment(space=space, trials=9)), tmp_path / "s", here))
    assert best.failed > 0 and best.setting["settings.model"] != "nothing" and best.trials == 9
    nothing = {"settings.model": Axis(choices=["nothing"])}
    with pytest.raises(EvidenceError, match="none of 2 trials ended well: 2 failed"):
        found(Search(experiment(space=nothing, trials=2), tmp_path / "t", here))


def test_the_median_prunes(tmp_path: Path) -> None:
    """Who is below the others after the first seed gets no more; Optuna's rule, which spares the first five."""
    best = found(Search(checked(experiment(trials=16, at_once=1)), tmp_path / "s", here))
    rows = pq.read_table(tmp_path / "s" / "trials.parquet").to_pylist()
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert best.pruned == len(pruned) > 0 and all(row["seeds"] == 1 for row in pruned)
    first = np.median([row["mean"] for row in rows if row["seeds"] == 2])
    assert all(row["trial"] >= 5 and row["mean"] < first + 0.1 for row in pruned)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fresh": [5, 2]}, "seed 2 both chooses"),
        ({"space": {"settings.amout": AMOUNT}}, "unknown setting"),
        ({"objective": "reward"}, "no run has a metric 'reward'"),
    ],
)
def test_what_is_wrong_with_a_search_is_said(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Before it is believed."""
    with pytest.raises(ConfigError) as caught:
        found(Search(checked(experiment(**change)), tmp_path / "s", here))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{}, {"low": 1, "high": 1}, {"low": 0.0, "high": 1.0, "log": True}, {"choices": []}, {"choices": [1], "low": 0.0}],
)
def test_an_axis_is_choices_or_a_range(fields: dict[str, Any]) -> None:
    """Nothing else."""
    with pytest.raises(ConfigError):
        Axis(**fields)


def test_train_takes_the_best(tmp_path: Path) -> None:
    """As settings of its learner, of the world and of the log that grows; what is typed comes first."""
    best = found(Search(checked(experiment(trials=2, fresh=[10])), tmp_path / "s", here))
    assert best.fresh_std_error is None and "on 1 fresh ones" in best.lines()[-1]
    best = best_of(tmp_path / "s", "direct")
    assert set(best) == {"amount"}
    assert with_best(tmp_path / "s", "direct", ["amount=0.5", "model=forest"]) == ["amount=0.5", "model=forest"]
    assert with_best(tmp_path / "s", "direct", None) == [f"amount={best['amount']}"]
    with pytest.raises(ConfigError, match="searched for settings of 'direct', not of 'dr'"):
        best_of(tmp_path / "s", "dr")
    with pytest.raises(StoreError, match="no finished search"):
        best_of(tmp_path, "direct")
