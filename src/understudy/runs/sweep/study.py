"""The study folder: a plan, its runs, who was sent to do them, and what came of it. Every run lands exactly once.

    experiment.yaml   the experiment, whole: overrides and seeds applied
    study.json        the plan's id, the number of settings, the seeds, the code's version
    runs/ID/          one finished run: a policy artifact, with its figures, its config.yaml and its command.txt
    failures/ID.json  one run that cannot be done: its error
    times/ID.json     seconds, machine and moment of each run
    further/N.json    runs of further rounds, by index: those that --index asked for beyond the plan
    submissions/N.json  which runs were sent to which executor, as an array of jobs called STUDY-N
    jobs/             scripts and logs of executors
    tables/           results.parquet and its companions (``table``)

In a bucket the same files lie by the same names; the folder here is then a mirror of that place, and what is there
decides (``data.mirror``).

A run is written by whoever finishes it first; a worker that comes back from the dead finds its place taken and leaves
it. A submission is written down before anything is submitted, and its number can be taken only once.
"""

from __future__ import annotations

import fcntl
import io
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import StoreError, UnderstudyError
from understudy.core.jobs import ALIVE, Executor, Job, JobState
from understudy.data.artifact import write_artifact
from understudy.data.mirror import Mirror, mirror_of
from understudy.data.store import LocalStore
from understudy.runs.sweep.experiment import Experiment, Plan, Run, plan, read_experiment
from understudy.runs.sweep.perform import manifest_of, perform

EXPERIMENT, STUDY = "experiment.yaml", "study.json"
_BEGINNING = {EXPERIMENT, STUDY, ".scratch", ".submitting", "submissions", "jobs"}  # seen while another begins the same
SAY = Callable[[str], None]


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Runs sent away together: job k of the array ``name`` does ``jobs[k]``, indices of runs."""

    number: int
    name: str
    executor: str
    jobs: list[list[int]]


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a run cannot be done."""

    run: str
    kind: str
    what: str


@dataclass(frozen=True)
class Study:
    """A study folder and its plan."""

    folder: Path
    plan: Plan

    @cached_property
    def store(self) -> LocalStore:
        """The small files: put once, never changed."""
        return LocalStore(self.folder)

    @cached_property
    def away(self) -> Mirror | None:
        """The place that the folder stands for, if the study lies elsewhere."""
        return mirror_of(self.folder)

    def path(self, run: Run) -> Path:
        """Where a run's folder is, or will be."""
        return self.folder / "runs" / run.id

    def done(self) -> set[str]:
        """Ids of the runs that are finished."""
        if self.away:
            return {key.removeprefix("runs/") for key in self.away.keys("runs/")}
        return {path.parent.name for path in (self.folder / "runs").glob("*/manifest.json")}

    def failures(self) -> dict[str, Failure]:
        """Runs that cannot be done, by id."""
        paths = self._small("failures")
        return {path.stem: msgspec.json.decode(path.read_bytes(), type=Failure) for path in paths}

    def times(self) -> dict[str, dict[str, Any]]:
        """Seconds, machine and moments of finished runs, by id."""
        paths = self._small("times")
        return {path.stem: msgspec.json.decode(path.read_bytes()) for path in paths}

    def submissions(self) -> list[Submission]:
        """All that was ever sent away, oldest first."""
        paths = self._small("submissions")
        return [msgspec.json.decode(path.read_bytes(), type=Submission) for path in paths]

    def outcome(self, run: Run) -> str:
        """done, failed or missing: of one run, without a look at the others."""
        has = self.away.has if self.away else lambda key: (self.folder / key).exists()
        if has(f"runs/{run.id}/manifest.json"):
            return "done"
        return "failed" if has(f"failures/{run.id}.json") else "missing"

    def known(self) -> Iterator[Run]:
        """All runs of the plan, and those of further rounds that somebody did."""
        beyond = sorted(int(path.stem) for path in self._small("further"))
        return self.plan.runs([*range(self.plan.total), *beyond])

    def missing(self, indices: Sequence[int] | None = None) -> list[Run]:
        """Runs that are neither finished nor known to fail."""
        settled = self.done() | self.failures().keys()
        return [run for run in self.plan.runs(indices) if run.id not in settled]

    def put(self, key: str, value: Any) -> bool:
        """Write a small file, bytes or JSON, unless it is there. Returns whether it was written."""
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        if self.away:
            return self.away.put(key, body)
        try:
            self.store.put(key, io.BytesIO(body))
        except StoreError:
            if not (self.folder / key).exists():
                raise
            return False
        return True

    def _small(self, kind: str) -> list[Path]:
        """The small files of a kind, in order of their names."""
        if self.away:
            return [self.folder / key for key in self.away.keys(f"{kind}/")]
        return sorted((self.folder / kind).glob("*.json"))


def begin(experiment: Experiment, to: str | Path, runs: int | None = None) -> Study:
    """The study of an experiment in folder ``to``, new or the same as before.

    Raises: StoreError if the folder holds another study; ConfigError if the experiment is not valid.
    """
    made, folder = plan(experiment, runs), Path(to)
    whole = msgspec.structs.replace(experiment, seeds=_written(made.seeds, experiment.seeds))
    study = Study(folder, made)
    renew(folder)
    if (folder / STUDY).exists():
        known = open_study(folder)
        if known.plan.id != made.id:
            raise StoreError(
                f"{folder} holds another study: {known.plan.experiment.name!r}, {known.plan.total} runs",
                "Its results would be mixed with those of this one.", "Choose another folder.", field=str(folder),
            )  # fmt: skip
        return known
    if study.away is None and folder.exists() and {path.name for path in folder.iterdir()} - _BEGINNING:
        raise StoreError(f"{folder} is not empty, and holds no study", hint="Choose another folder.", field=str(folder))
    body = msgspec.yaml.encode(whole)
    if not study.put(EXPERIMENT, body) and (folder / EXPERIMENT).read_bytes() != body:
        raise StoreError(f"another study is being begun in {folder}", hint="Choose another folder.", field=str(folder))
    study.put(STUDY, {"id": made.id, "settings": made.grid.total, "seeds": made.seeds, "code_version": __version__})
    return open_study(folder)


def _written(found: Sequence[int], given: int | str | list[int]) -> str | list[int]:
    """Seeds as a range where they were not listed: what follows a range is known, what follows a list is not."""
    return list(found) if isinstance(given, list) else f"{found[0]}:{found[0] + len(found)}"


def open_study(folder: str | Path) -> Study:
    """A study that was begun. Raises: StoreError if the folder holds none, or its files do not belong together."""
    folder = Path(folder)
    renew(folder)
    try:
        known = msgspec.json.decode((folder / STUDY).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{folder} holds no study: it has no {STUDY}", hint="understudy sweep begins one.", field=str(folder)
        ) from None
    made = plan(read_experiment(folder / EXPERIMENT))
    if made.id != known["id"]:
        raise StoreError(
            f"{folder / EXPERIMENT} is not what the study was begun with",
            "Runs would be called by names that say another setting.",
            "Put it back, or begin a study in another folder; if understudy was upgraded, its defaults may differ.",
            field=str(folder),
        )
    return Study(folder, made)


def renew(folder: Path) -> None:
    """Of a mirror: the study as it is there now."""
    if away := mirror_of(folder):
        away.renew(EXPERIMENT, STUDY)


def work(study: Study, indices: Sequence[int], say: SAY = lambda line: None) -> int:
    """Do these runs in this process, one after the other; those that are settled are passed over.

    Returns: how many of them failed. A fault of the run is written down and is its result; one of the machine, such as
    a full disk, ends the worker.
    """
    failed = 0
    for run in study.plan.runs(indices):
        if study.outcome(run) != "missing":
            say(f"run {run.index} ({run.id}) is done already")
            continue
        if run.index >= study.plan.total:
            study.put(f"further/{run.index}.json", run.id)
        try:
            _do(study, run)
        except (UnderstudyError, ArithmeticError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            failed += 1
            study.put(f"failures/{run.id}.json", Failure(run=run.id, kind=type(error).__name__, what=str(error)))
            say(f"run {run.index} ({run.id}) failed: {error}")
        else:
            say(f"run {run.index} ({run.id}) done")
    return failed


def _do(study: Study, run: Run) -> None:
    started = time.time()

    def fill(folder: Path) -> None:
        notes = perform(run, folder)
        where = {"host": platform.node(), "pid": os.getpid(), "started": started, "ended": time.time()}
        study.put(f"times/{run.id}.json", where | {"seconds": notes.seconds})

    write_artifact(study.path(run), manifest_of(run), fill)
    if study.away:
        study.away.deliver(f"runs/{run.id}")


def send(study: Study, executor: Executor, name: str, indices: Sequence[int] | None = None) -> Submission | None:
    """Submit what is missing and not already on its way, in jobs of ``group`` runs; None if that is nothing.

    Two that submit at once wait for one another, and where no lock is shared cannot both take a number: the second
    looks again and finds the first one's runs under way.
    """
    with _alone(study):
        return _send(study, executor, name, indices)


def _send(study: Study, executor: Executor, name: str, indices: Sequence[int] | None) -> Submission | None:
    while True:
        past = study.submissions()
        busy = set(under_way(study, executor, name, past))
        todo = [run.index for run in study.missing(indices) if run.index not in busy]
        if not todo:
            return None
        number, group = len(past) + 1, study.plan.experiment.group
        jobs = [todo[at : at + group] for at in range(0, len(todo), group)]
        made = Submission(number=number, name=f"{study.plan.id}-{number}", executor=name, jobs=jobs)
        arrays = [job(study, each) for each in jobs]
        executor.check(arrays)
        if study.put(f"submissions/{number:04d}.json", made):
            executor.submit(made.name, arrays)
            return made


def under_way(study: Study, executor: Executor, name: str, past: Iterable[Submission]) -> Iterator[int]:
    """Indices of runs in jobs that wait or run."""
    for each in past:
        if each.executor != name:
            continue
        for indices, state in zip(each.jobs, executor.poll(each.name)):
            if state in ALIVE:
                yield from indices


def last_states(study: Study, executor: Executor, name: str) -> dict[int, JobState]:
    """Run index → the state of the last job that was to do it."""
    last: dict[int, JobState] = {}
    for each in study.submissions():
        if each.executor == name:
            last |= {index: state for group, state in zip(each.jobs, executor.poll(each.name)) for index in group}
    return last


def job(study: Study, indices: Sequence[int]) -> Job:
    """The command line that does these runs."""
    text = ",".join(map(str, indices))
    place = study.away.url if study.away else str(study.folder.resolve())
    return Job(("understudy", "run", place, "--index", text), study.plan.experiment.resources)


def states(study: Study, executors: Mapping[str, Executor]) -> dict[int, str]:
    """Run index → done, failed, running, waiting or missing; a run whose job vanished is missing."""
    sent = {
        index: state
        for each in study.submissions()
        if each.executor in executors
        for indices, state in zip(each.jobs, executors[each.executor].poll(each.name))
        for index in indices
        if state in ALIVE
    }
    done, failed = study.done(), study.failures()  # after the jobs: what ended since then is settled, not missing
    return {run.index: _state(run, done, failed, sent) for run in study.known()}


def _state(run: Run, done: Collection[str], failed: Collection[str], sent: Mapping[int, str]) -> str:
    if run.id in done:
        return "done"
    return "failed" if run.id in failed else sent.get(run.index, "missing")


@contextmanager
def _alone(study: Study) -> Iterator[None]:
    """One submission at a time, of all processes that share the folder."""
    with (study.folder / ".submitting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
