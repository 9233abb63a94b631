"""What the verbs do with a study: plan it, send what is missing, watch, gather; and the worker's own part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.jobs import ALIVE, Executor
from understudy.data.store import remote
from understudy.runs.executors.build import make_executor, remember
from understudy.runs.sweep.experiment import Plan, overridden, plan, read_experiment
from understudy.runs.sweep.radix import indices
from understudy.runs.sweep.reports import report
from understudy.runs.sweep.study import SAY, Study, begin, last_states, open_study, renew, send, states, under_way, work
from understudy.runs.sweep.table import gather

LOOK = 0.1  # seconds between looks at jobs that run here; twenty times as long at a scheduler, which others ask too
WATCHING = 200  # times as long as a look takes, the next one is off
VAIN = 5  # times in a row that runs are sent again though none is settled: then it is they that end their workers
FAR = ("slurm", "aws_batch")


@dataclass(frozen=True)
class Asked:
    """What the verb was asked for."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    at: str = "local"
    cluster: Path | None = None
    index: str = ""
    first: int = 0
    runs: int | None = None
    wrap: bool = True
    wait: bool = True
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a study stands. ``lost``: runs that were waited for and have no result."""

    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    lost: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """For a person."""
        total = sum(self.counts.values())
        states = ", ".join(f"{n} {state}" for state, n in self.counts.items())
        lines = [*self.notes, f"{total} runs: {states}"]
        if self.lost:
            first = self.lost[0]
            lines.append(f"{len(self.lost)} runs have no result, first {first}: understudy logs STUDY --index {first}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {"runs": dict(self.counts)}

    @property
    def code(self) -> int:
        """1 where a run failed or was lost."""
        return int(self.counts.get("failed", 0) > 0 or len(self.lost) > 0)


def sweep(file: Path, to: Path, asked: Asked, told: SAY = lambda line: None) -> Outcome:
    """Do what is missing of an experiment's runs. What a worker has lost is sent again while that settles any run.

    Raises: ConfigError, ExecutorError for whatever is wrong, before anything is submitted.
    """
    experiment = overridden(read_experiment(file), asked.overrides)
    made = plan(experiment, asked.runs)
    chosen = _chosen(made, asked)
    if asked.dry_run:
        return _would(made, to, chosen)
    at = asked.at.replace("-", "_")
    executor = make_executor(at, to, asked.cluster)
    _within_reach(made, at)
    study = begin(experiment, to, asked.runs)
    remember(at, to, asked.cluster)
    lost = finish(study, at, executor, chosen, wait=asked.wait, told=told)
    return replace(standing(study, {at: executor}), lost=lost, notes=_reported(study))


def finish(
    study: Study, at: str, executor: Executor, chosen: Sequence[int] | None = None, *, wait: bool = True,
    told: SAY = lambda line: None,
) -> tuple[int, ...]:  # fmt: skip
    """Send what is missing, and again those whose workers vanished, until it is no use. Returns what has no result."""
    left, vain = _open(study, chosen), 0
    while vain < VAIN:
        sent = send(study, executor, at, left)
        told(f"{study.folder}: nothing to submit" if sent is None else f"{sent.name}: {len(sent.jobs)} jobs at {at}")
        if not wait:
            return ()
        _watch(study, at, executor, told)
        last, before = last_states(study, executor, at), len(left)
        left = [index for index in _open(study, chosen) if last.get(index) == "gone"]
        if not left:
            break
        vain = 0 if len(left) < before else vain + 1
    return tuple(_open(study, chosen))


def run_here(path: Path, overrides: Mapping[str, Any], to: Path | None, index: str, told: SAY) -> Outcome:
    """The worker's part: runs of a study, or of an experiment file in a study of its own, in this process."""
    if path.is_dir():
        if to is not None or overrides:
            raise ConfigError(f"{path} is a study: its experiment is settled", hint="Give --index only.", field="to")
        study = open_study(path)
    elif to is None:
        raise ConfigError("missing: --to", hint="Say where the study is to lie.", field="to")
    else:
        study = begin(read_experiment(path, overrides), to)
    chosen = indices(index) if index else range(study.plan.total)
    work(study, chosen, told)
    notes = ()
    if not path.is_dir():
        gather(study)
        notes = _reported(study)
    return Outcome(Counter(sorted(study.outcome(run) for run in study.plan.runs(chosen))), notes)


def _reported(study: Study) -> tuple[str, ...]:
    """Where the study's own report lies, if it asks for one and is complete."""
    page = report(study)
    return () if page is None else (f"report: {page}",)


def _within_reach(made: Plan, at: str) -> None:
    """Raises: ConfigError for a dataset on this machine that runs in containers could not read."""
    for run in made.runs() if at == "aws_batch" else ():
        if run.config.on and not remote(run.config.on):
            raise ConfigError(
                f"on: {run.config.on} is on this machine, and the runs are not",
                "Each container has its own disk.", "Put the dataset into a bucket: s3://BUCKET/DATA.", field="on",
            )  # fmt: skip


def standing(study: Study, executors: Mapping[str, Any]) -> Outcome:
    """The states of all runs, counted."""
    return Outcome(Counter(sorted(states(study, executors).values())))


def cancel(folder: Path) -> int:
    """End what waits and runs; returns how many jobs that were."""
    study, ended = open_study(folder), 0
    for each in study.submissions():
        executor = make_executor(each.executor, folder, None)
        ended += sum(state in ALIVE for state in executor.poll(each.name))
        executor.cancel(each.name)
    return ended


def log_of(folder: Path, index: int) -> str:
    """What the last job of a run printed. Raises: ConfigError if it was never submitted."""
    study = open_study(folder)
    for each in reversed(study.submissions()):
        for k, job in enumerate(each.jobs):
            if index in job:
                return make_executor(each.executor, folder, None).log(each.name, k)
    raise ConfigError(
        f"run {index} was never submitted", hint="understudy sweep submits what is missing.", field="index"
    )


def _open(study: Study, chosen: Sequence[int] | None) -> list[int]:
    return [run.index for run in study.missing(chosen)]


def _watch(study: Study, at: str, executor: Any, told: SAY) -> None:
    """Until nothing waits or runs; tells of every change, and gathers at the end."""
    before: Mapping[str, int] = {}
    while True:
        begun = time.process_time()
        busy = next(under_way(study, executor, at, study.submissions()), None) is not None
        counts = Counter(states(study, {at: executor}).values())
        if counts != before:
            told("  ".join(f"{n} {state}" for state, n in sorted(counts.items())))
            before = counts
        if not busy:
            gather(study)
            return
        cost = time.process_time() - begun  # a large study is looked at less often: watching is no work
        time.sleep(max(LOOK * (20 if at in FAR or study.away else 1), WATCHING * cost))


def _chosen(made: Plan, asked: Asked) -> list[int] | None:
    if not asked.index:
        return None
    chosen = indices(asked.index, asked.first)
    if not asked.wrap:
        made.within(chosen)
    return chosen


def _would(made: Plan, to: Path, chosen: list[int] | None) -> Outcome:
    """What a sweep would do: its runs, what is done of them, and what the rest will cost."""
    renew(to)
    known = open_study(to) if (to / "study.json").exists() else None
    done = known.done() if known else set()
    lines = []
    for run in made.runs(chosen):
        values = made.grid.setting(run.setting)
        text = " ".join(f"{key}={value}" for key, value in values.items())
        lines.append(f"{run.index:>6}  setting {run.setting}  seed {run.seed}  {run.id}  {text}"
                     + ("  done" if run.id in done else ""))  # fmt: skip
    todo = [run for run in made.runs(chosen) if run.id not in done]
    cost, basis = _cost(known, len(todo), made)
    lines.append(f"{len(todo)} runs to do: about {cost:.2f} core-hours ({basis})")
    counts = Counter("done" if run.id in done else "missing" for run in made.runs(chosen))
    return Outcome(counts, tuple(lines))


def _cost(known: Study | None, n: int, made: Plan) -> tuple[float, str]:
    """Core-hours of n runs: from those of the study that are done, else the most they may use."""
    resources = made.experiment.resources
    spent = [told["seconds"]["run_cpu"] for told in known.times().values()] if known else []
    if spent:
        return n * sum(spent) / len(spent) / 3600, f"the mean of {len(spent)} runs that are done"
    return n * resources.cpus * resources.minutes / 60, "at most: no run is done yet, each may take its minutes"
