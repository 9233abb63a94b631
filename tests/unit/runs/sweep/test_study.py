"""The study folder: every run once, whoever does it; what is there is never overwritten."""

import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from understudy.core.errors import StoreError
from understudy.core.jobs import Job, JobState
from understudy.runs.sweep.experiment import Experiment, plan
from understudy.runs.sweep.study import Study, begin, open_study, send, states, work
from understudy.runs.sweep.table import gather

FIELDS: dict[str, Any] = {
    "name": "cheap", "learner": "uniform", "env": "bandit", "log": {"episodes": 20}, "evaluate": {"episodes": 20},
    "sweep": {"log.episodes": [20, 30], "learner": ["uniform", "direct"]}, "seeds": 2,
}  # fmt: skip


def cheap(folder: Path, **fields: Any) -> Study:
    return begin(Experiment(**{**FIELDS, **fields}), folder)


@dataclass
class Shelf:
    """An executor that starts nothing and keeps what it was given, so that a test says what becomes of it."""

    arrays: dict[str, list[Job]] = field(default_factory=dict)
    state: JobState = "running"

    def check(self, jobs: Any) -> None: ...

    def submit(self, name: str, jobs: Any, *, after: Any = ()) -> None:
        self.arrays.setdefault(name, list(jobs))

    def poll(self, name: str) -> tuple[JobState, ...]:
        return (self.state,) * len(self.arrays.get(name, []))

    def cancel(self, name: str) -> None: ...

    def log(self, name: str, job: int) -> str:
        return ""


def test_all_runs_once(tmp_path: Path) -> None:
    """Runs land under their names; doing them again does nothing."""
    study, said = cheap(tmp_path / "s"), []
    assert work(study, range(8), said.append) == 0 and len(study.done()) == 8
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "runs").rglob("*") if path.is_file()}
    work(study, range(8), said.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [line.split(") ")[1] for line in said] == ["done"] * 8 + ["is done already"] * 8


def test_a_further_round_stands_in_the_tables(tmp_path: Path) -> None:
    """An index beyond the plan is the next seed of its setting, and is told of like the others."""
    study = cheap(tmp_path / "s")
    assert work(study, [0, 9]) == 0
    assert states(study, {})[9] == "done" and 8 not in states(study, {})
    rows = pq.read_table(gather(study) / "runs.parquet").to_pylist()
    assert [(row["index"], row["setting"], row["seed"]) for row in rows if row["state"] == "done"] == [
        (0, 0, 0),
        (9, 1, 2),
    ]


def test_equal_studies_have_equal_tables(tmp_path: Path) -> None:
    """In whatever order and however often interrupted; only the times differ."""
    one, two = cheap(tmp_path / "one"), cheap(tmp_path / "two")
    work(one, range(8))
    for index in (5, 1, 7, 0, 6, 2, 3, 4):
        work(two, [index])
        gather(two)
    for name in ("results.parquet", "episodes.parquet", "runs.parquet"):
        assert (gather(one) / name).read_bytes() == (gather(two) / name).read_bytes()
    table = pq.read_table(gather(one) / "results.parquet").to_pylist()
    assert [row["setting"] for row in table] == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    assert {row["metric"] for row in table} == {"return", "return_std_error"}
    assert pq.read_table(gather(one) / "times.parquet").num_rows > 0


def test_another_experiment_is_refused(tmp_path: Path) -> None:
    """A folder holds one study; the same experiment goes on with it."""
    cheap(tmp_path / "s")
    assert cheap(tmp_path / "s").plan.total == 8
    with pytest.raises(StoreError, match="holds another study"):
        cheap(tmp_path / "s", seeds=3)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match="is not empty"):
        cheap(tmp_path / "t")
    with pytest.raises(StoreError, match="holds no study"):
        open_study(tmp_path / "t")


def test_a_study_half_begun_is_begun_by_the_next(tmp_path: Path) -> None:
    """Two that begin the same study at once, or one that was killed in the midst of it; another study is refused."""
    (cheap(tmp_path / "s").folder / "study.json").unlink()
    with pytest.raises(StoreError, match="another study is being begun"):
        cheap(tmp_path / "s", seeds=3)
    assert cheap(tmp_path / "s").plan.total == 8


def test_a_changed_experiment_file_is_refused(tmp_path: Path) -> None:
    """Runs would be called by names that say another setting."""
    study = cheap(tmp_path / "s")
    path = study.folder / "experiment.yaml"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("- 20\n", "- 21\n"))
    with pytest.raises(StoreError, match="not what the study was begun with"):
        open_study(study.folder)


def test_a_fault_of_a_run_is_its_result(tmp_path: Path) -> None:
    """It is written down, the others go on, and it is not tried again."""
    variants = [{"learner": "uniform"}, {"learner": "fixed", "settings.action": "nobody"}]
    study = cheap(tmp_path / "s", sweep={"variant": variants})
    said: list[str] = []
    assert work(study, range(4), said.append) == 2
    assert len(study.done()) == 2 and len(study.failures()) == 2 and not study.missing()
    assert set(states(study, {}).values()) == {"done", "failed"}
    rows = pq.read_table(gather(study) / "runs.parquet").to_pylist()
    assert [row["state"] for row in rows] == ["done", "failed"] * 2
    assert "nobody" in rows[1]["error"] and not rows[0]["error"]


def test_only_what_is_missing_is_submitted(tmp_path: Path) -> None:
    """Not what is done, and not what is on its way; what vanished is submitted again."""
    study, shelf = cheap(tmp_path / "s", group=3), Shelf()
    work(study, [0, 4])
    first = send(study, shelf, "shelf")
    assert first is not None and first.jobs == [[1, 2, 3], [5, 6, 7]]
    assert [job.argv[-1] for job in shelf.arrays[first.name]] == ["1,2,3", "5,6,7"]
    assert send(study, shelf, "shelf") is None
    work(study, [1])
    shelf.state = "gone"
    second = send(study, shelf, "shelf")
    assert second is not None and second.number == 2 and second.jobs == [[2, 3, 5], [6, 7]]


def _submit(folder: Path, barrier: Any, queue: Any) -> None:
    study = open_study(folder)
    from understudy.runs.executors.local import Local

    barrier.wait()
    sent = send(study, Local(folder / "jobs", workers=1), "local")
    queue.put(None if sent is None else sent.number)


def test_two_that_submit_at_once_start_nothing_twice(tmp_path: Path) -> None:
    """One submits all, the other finds it on its way."""
    study = cheap(tmp_path / "s", sweep={}, seeds=3)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    both = [context.Process(target=_submit, args=(study.folder, barrier, queue)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert sorted(str(queue.get(timeout=10)) for _ in both) == ["1", "None"]
    assert len(study.submissions()) == 1
    from understudy.runs.executors.local import Local

    Local(study.folder / "jobs").cancel(study.submissions()[0].name)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    """Axes keep their order, which decides what an index means."""
    study = cheap(tmp_path / "s", sweep={"log.episodes": [20, 30], "evaluate.episodes": [5, 6], "learner": ["uniform"]})
    known = open_study(study.folder).plan
    assert list(known.grid.axes) == ["log.episodes", "evaluate.episodes", "learner"]
    assert [run.id for run in known.runs()] == [run.id for run in plan(study.plan.experiment).runs()]
