"""Where an experiment stands: read from the ledger each time, never remembered by a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import Problem
from understudy.data.home import Home, now
from understudy.data.identify import load_problem
from understudy.data.journal import DONE, GIVEN_UP, WORKING, Change, Experiment, Journal, Workflow, job_id
from understudy.runs.loop_settings import LoopSettings

SETTINGS, PROBLEM = "loop.json", "problem.json"
LOCAL = "local"  # the executor that runs a stage in this process


class Step(NamedTuple):
    """What comes next: a verb, in which turn, and in which role where a turn knows several of its kind."""

    verb: str
    turn: int
    role: str = ""


def next_step(settings: LoopSettings, jobs: tuple[Change, ...]) -> Step | None:
    """The one step that may follow; None if the loop is at its end. A pure function of settings and journal."""
    done = {(job.workflow, job.body["turn"], job.body["role"]): job for job in jobs if job.done}
    if ("hosting", 0, "first") not in done:
        return Step("start", 0, "first")
    turn = max((turn for workflow, turn, _ in done if workflow == "joining"), default=0)
    for step in _steps(settings, done, turn) if turn else ():
        if not _finished(step, done, settings):
            return step
    return Step("join", turn + 1) if turn < settings.loops else None


def _steps(settings: LoopSettings, done: Mapping[Any, Change], turn: int) -> list[Step]:
    if settings.gate == "off":
        return [Step("train", turn, "next"), Step("promote", turn, "promote")]
    on_trial = ("hosting", turn - 1, "canary") in done
    steps = []
    if settings.design == "holdout" or (turn == 1 and not on_trial):
        steps = [Step("train", turn, "first"), Step("evaluate", turn), Step("promote", turn, "promote")]
    elif on_trial:
        steps = [Step("evaluate", turn), Step("promote", turn, "promote")]
    promoted = done.get(("hosting", turn, "promote"))
    watched = promoted is not None and promoted.body["watched"]  # then the next turn's share is the previous policy's
    if settings.design == "prospective" and turn < settings.loops and not watched:
        steps.append(Step("train", turn, "next"))
    return steps


def _finished(step: Step, done: Mapping[Any, Change], settings: LoopSettings) -> bool:
    if step.verb == "train":
        tried = step.role == "first" or settings.gate == "off" or ("hosting", step.turn, "canary") in done
        return ("training", step.turn, step.role) in done and tried
    if step.verb == "evaluate":
        return ("evaluation", step.turn, "") in done
    judged = done.get(("evaluation", step.turn, ""))
    refused = judged is not None and judged.body["outcome"] != "ship"
    return refused or ("hosting", step.turn, "promote") in done


@dataclass(frozen=True)
class Course:
    """One experiment in one home, with its settings as they were resolved when it was started."""

    home: Home
    record: Experiment
    settings: LoopSettings

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def alias(self) -> str:
        return self.record.alias

    @property
    def folder(self) -> Path:
        """Where the experiment's segments, datasets and candidates lie."""
        return Path(self.home.folder) / "experiments" / self.id

    @property
    def log(self) -> str | Path:
        """Where the event log is."""
        return self.settings.log or Path(self.home.folder) / "log" / self.alias

    @cached_property
    def problem(self) -> Problem:
        return load_problem(self.folder / PROBLEM)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.home.ledger)

    @property
    def jobs(self) -> tuple[Change, ...]:
        """Every job in its latest state."""
        return tuple(job for job in self.journal.jobs(self.id) if job.workflow != "experiment")

    @property
    def state(self) -> str:
        """RUNNING, FINISHED or CLEANED."""
        return self.journal.jobs(self.id, "experiment")[0].state

    @property
    def next(self) -> Step | None:
        """What may be done now."""
        return next_step(self.settings, self.jobs) if self.state == "RUNNING" else None

    def done(self, workflow: Workflow, turn: int, role: str = "") -> Change | None:
        """A job that ended as it should; None if there is none."""
        wanted = (workflow, turn, role)
        found = [job for job in self.jobs if job.done and (job.workflow, job.body["turn"], job.body["role"]) == wanted]
        return found[0] if found else None

    def expect(self, verb: str, at: str = LOCAL) -> Step:
        """The next step, if it is this verb's. Raises: StoreError names the step that is next."""
        if at != LOCAL:
            raise ConfigError(
                f"no executor {at!r}", "Stages run in this process; executors for clusters come later.",
                "Leave --at out, or say --at local.", field="at",
            )  # fmt: skip
        step = self.next
        if step is None or step.verb != verb:
            hint = "" if step is None else f"understudy {step.verb} --experiment {self.id}"
            what = f"the experiment is {self.state}" if step is None else f"next is {step.verb} of turn {step.turn}"
            raise StoreError(
                f"experiment {self.id!r} cannot {verb} now: {what}", "Each step rests on the one before it.", hint,
                field="experiment",
            )  # fmt: skip
        return step

    def work(
        self,
        workflow: Workflow,
        step: Step,
        inputs: Callable[[], Mapping[str, Any]],
        work: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> Change:
        """Do a job once, whatever happens to the process that does it.

        A job that is done is returned; one in flight, whose process must be gone, is finished with the inputs that it
        was begun with; one that was given up is tried anew under another id. What goes wrong is written down and
        raised.

        Args:
            inputs: fixed when the job is announced, so that whoever resumes works on the same.
            work: must leave the same behind however often it is done. Returns the results.
        """
        tried = sum(
            job.state in GIVEN_UP and (job.body["turn"], job.body["role"]) == (step.turn, step.role)
            for job in self.journal.jobs(self.id, workflow)
        )
        id = job_id(self.id, workflow, step.turn, step.role, tried)
        known = next((job for job in self.jobs if job.job == id), None)
        if known is not None and known.done:
            return known
        if known is None:
            body = {"turn": step.turn, "role": step.role, "attempt": tried, **inputs()}
            known = self.journal.move(self.id, workflow, id, "PENDING", time=now(), body=body)
        self.journal.move(self.id, workflow, id, WORKING[workflow], time=now())
        try:
            made = dict(work(known.body))
        except Exception as error:  # the reason belongs in the record, the error to whoever asked
            reason = f"{type(error).__name__}: {error}"
            self.journal.move(self.id, workflow, id, "FAILED", time=now(), reason=reason)
            raise
        return self.journal.move(self.id, workflow, id, DONE[workflow], time=now(), body=msgspec.to_builtins(made))

    def finish(self) -> None:
        """Close the experiment's record if nothing is left to do."""
        if self.state == "RUNNING" and next_step(self.settings, self.jobs) is None:
            self.journal.move(self.id, "experiment", self.id, "FINISHED", time=now())


def open_course(home: str | Path | Home, experiment: str) -> Course:
    """An experiment by its id. Raises: StoreError if nobody started it in this home."""
    place = home if isinstance(home, Home) else Home(home)
    if not place.exists:
        raise StoreError(f"there is no ledger in {place.folder}, so nothing was ever started", field="experiment")
    record = Journal(place.ledger).experiment(experiment)
    return Course(place, record, msgspec.convert(record.settings, LoopSettings))
