"""Studies read as rows: from their tables, each run once, failures and missing runs with their names."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.runs.compare.asked import Asked
from understudy.runs.compare.records import flattened, read_records


def config(learner: str = "sac", rate: float = 0.1, env: str = "pendulum", **more) -> dict:
    return {"learner": learner, "env": env, "env_settings": {}, "settings": {"rate": rate, "hidden": [8]}, **more}


def tables(folder: Path, rows: list[dict], points: list[tuple[int, int, int, str, float]]) -> Path:
    """A study's tables: rows of (config, seed, state), points of (setting, seed, step, metric, value)."""
    (folder / "tables").mkdir(parents=True)
    columns = {"index": [], "setting": [], "seed": [], "run": [], "state": [], "error": [], "config": []}
    for i, row in enumerate(rows):
        values = (i, row["setting"], row["seed"], row.get("run", f"run{i}"), row.get("state", "done"),
                  row.get("error", ""), json.dumps(row["config"]))  # fmt: skip
        for name, value in zip(columns, values):
            columns[name].append(value)
    pq.write_table(pa.table(columns), folder / "tables" / "runs.parquet")
    names = ("setting", "seed", "step", "metric", "value")
    results = {name: list(column) for name, column in zip(names, zip(*points))}
    pq.write_table(pa.table(results), folder / "tables" / "results.parquet")
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    rows = [
        {"setting": 0, "seed": 0, "config": config()},
        {"setting": 1, "seed": 0, "config": config(rate=0.2), "state": "failed", "error": "DataError: no number"},
        {"setting": 0, "seed": 1, "config": config(), "state": "missing"},
        {"setting": 1, "seed": 1, "config": config(rate=0.2)},
    ]
    points = [
        (0, 0, 10, "evaluation", -5.0), (0, 0, 20, "evaluation", -3.0), (0, 0, 10, "return", 99.0),
        (0, 0, 20, "return", -2.0), (1, 1, 20, "return", float("nan")), (1, 1, 20, "loss", 1.0),
    ]  # fmt: skip
    return tables(tmp_path / "study", rows, points)


def test_a_run_scores_its_last_value_and_has_its_course(study: Path) -> None:
    first = next(r for r in read_records([study], Asked()) if (r.seed, r.fields["settings.rate"]) == (0, 0.1))
    assert (first.arm, first.task, first.state, first.score) == ("sac", "pendulum", "done", -2.0)
    assert [part.tolist() for part in first.curve] == [[10, 20], [-5, -3]]


def test_a_number_that_is_none_is_a_failure_and_none_is_dropped(study: Path) -> None:
    states = {(r.fields["settings.rate"], r.seed): (r.state, r.error) for r in read_records([study], Asked())}
    assert states == {
        (0.1, 0): ("done", ""), (0.2, 0): ("failed", "DataError: no number"), (0.1, 1): ("missing", ""),
        (0.2, 1): ("failed", "return is not a number"),
    }  # fmt: skip


def test_a_run_of_two_studies_counts_once_and_done_wins(study: Path, tmp_path: Path) -> None:
    """Where it is missing in one and done in the other, in either order; and its setting is the same in both."""
    again = tables(tmp_path / "b", [{"setting": 7, "seed": 1, "config": config(), "run": "run2"}],
                   [(7, 1, 20, "return", -1.0)])  # fmt: skip
    for order in ([study, again], [again, study]):
        found = [r for r in read_records(order, Asked()) if r.fields["settings.rate"] == 0.1]
        assert sorted((r.seed, r.state, r.score) for r in found) == [(0, "done", -2.0), (1, "done", -1.0)]
        assert len({r.setting for r in found}) == 1


def test_learners_are_any_fields(study: Path) -> None:
    """Dotted or by its end; what all runs share is not said of each."""
    for by in (("settings.rate",), ("rate",), ("learner", "learner.rate")):
        assert {r.arm for r in read_records([study], Asked(by=by))} == {"rate=0.1", "rate=0.2"}
    assert {r.arm for r in read_records([study], Asked(by=("env",)))} == {"pendulum"}


def test_worlds_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By their settings; and a dataset by what it holds, wherever it lies."""
    rows = [{"setting": i, "seed": 0, "config": config(env_settings={"gravity": g})} for i, g in enumerate((9, 10))]
    points = [(i, 0, 1, "return", 1.0) for i in range(2)]
    found = read_records([tables(tmp_path / "a", rows, points)], Asked())
    assert {r.task for r in found} == {"pendulum gravity=9", "pendulum gravity=10"}
    rows = [{"setting": i, "seed": i, "config": config(env="", on=on, data="d1")} for i, on in enumerate("xy")]
    found = read_records([tables(tmp_path / "b", rows, [(i, i, 1, "return", 1.0) for i in range(2)])], Asked())
    assert len({r.task for r in found}) == len({r.setting for r in found}) == 1


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    rows = [{"setting": i, "seed": 0, "config": config(env="", on=f"{i}/data", data=f"d{i}")} for i in range(2)]
    study = tables(tmp_path / "a", rows, [(i, 0, 1, "return", 1.0) for i in range(2)])
    with pytest.raises(ConfigError, match="two tasks are called 'data'"):
        read_records([study], Asked())


@pytest.mark.parametrize(
    ("asked", "said"),
    [(Asked(metric="retrun"), "metric of these studies: 'retrun'"), (Asked(by=("lerner",)), "field of these runs:")],
)
def test_what_is_not_there_is_named_with_what_is(study: Path, asked: Asked, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        read_records([study], asked)
    assert "return" in error.value.hint or "learner" in error.value.hint


def test_a_folder_without_a_study_and_one_without_results(study: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no study"):
        read_records([tmp_path / "nothing"], Asked())
    bare = tables(tmp_path / "bare", [{"setting": 0, "seed": 0, "config": config(), "state": "missing"}],
                  [(0, 0, 0, "return", 0.0)])  # fmt: skip
    with pytest.raises(StoreError, match="no run of these studies is done"):
        read_records([bare], Asked())


def test_fields_are_dotted() -> None:
    assert flattened({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {"a.b.c": 1, "a.d": {}, "e": [1]}
