"""What became of every job of a loop: append-only states with legal transitions only, in the ledger.

A job's state changes by one more row; (experiment, workflow, job, number) is a unique key, so of two processes that
want the next change exactly one gets it, and the other is told what the state is by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from understudy.core.errors import StoreError
from understudy.core.hashing import content_id
from understudy.data.ledger import Ledger
from understudy.data.ledger_tables import experiments, journal

Workflow = Literal["experiment", "joining", "training", "evaluation", "hosting"]

# workflow → state → the states that may follow; "" is a job that nobody has heard of.
LEGAL: dict[str, dict[str, tuple[str, ...]]] = {
    "experiment": {"": ("RUNNING",), "RUNNING": ("FINISHED", "CLEANED"), "FINISHED": ("CLEANED",)},
    "joining": {
        "": ("PENDING",),
        "PENDING": ("RUNNING", "FAILED", "CANCELLED"),
        "RUNNING": ("SUCCEEDED", "FAILED", "CANCELLED"),
    },
    "training": {
        "": ("PENDING",),
        "PENDING": ("TRAINING", "FAILED", "STOPPED"),
        "TRAINING": ("TRAINED", "FAILED", "STOPPED"),
    },
    "evaluation": {
        "": ("PENDING",),
        "PENDING": ("EVALUATING", "FAILED", "STOPPED"),
        "EVALUATING": ("EVALUATED", "FAILED", "STOPPED"),
    },
    "hosting": {"": ("PENDING",), "PENDING": ("DEPLOYING", "FAILED"), "DEPLOYING": ("DEPLOYED", "FAILED")},
}
WORKING = {"joining": "RUNNING", "training": "TRAINING", "evaluation": "EVALUATING", "hosting": "DEPLOYING"}
DONE = {"joining": "SUCCEEDED", "training": "TRAINED", "evaluation": "EVALUATED", "hosting": "DEPLOYED"}
GIVEN_UP = frozenset({"FAILED", "STOPPED", "CANCELLED"})


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One loop: its settings as they were resolved, and the code that resolved them."""

    id: str
    alias: str
    problem_hash: str
    settings: dict[str, Any]
    code_version: str
    time: int  # microseconds since 1970 UTC


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of a job's state.

    Args:
        number: 1, 2, … per job.
        reason: why it was given up; "" of a job that goes on.
        body: what is known by then: inputs when it is pending, results when it is done.
    """

    experiment: str
    workflow: str
    job: str
    number: int
    state: str
    time: int
    reason: str = ""
    body: dict[str, Any] = {}

    @property
    def in_flight(self) -> bool:
        """Whether something may still follow. Asked of the table of transitions, never of the state's spelling."""
        return self.state in LEGAL[self.workflow]

    @property
    def done(self) -> bool:
        """Whether the job ended as it should."""
        return DONE.get(self.workflow) == self.state


def job_id(experiment: str, workflow: str, *parts: object) -> str:
    """The id of a job: of what it is, never of when, so that no two jobs share one and one job never has two.

    >>> job_id("a", "training", 1, 0) == job_id("a", "training", 1, 0) != job_id("a", "training", 1, 1)
    True
    """
    return content_id(*(str(part).encode() for part in (experiment, workflow, *parts)))


@dataclass(frozen=True)
class Journal:
    """The experiments of a ledger and the states of their jobs."""

    ledger: Ledger

    def open(self, experiment: Experiment) -> Experiment:
        """Enter an experiment and set it running; entering the same again returns what was entered first.

        Raises: StoreError if the id stands for other settings, or another experiment directs the alias.
        """

        def write(db: sa.Connection) -> Experiment:
            known = _experiment(db, experiment.id)
            if known is not None:
                if (known.settings, known.problem_hash) != (experiment.settings, experiment.problem_hash):
                    names = _different(known, experiment)
                    raise StoreError(
                        f"experiment {experiment.id!r} was started with other settings: {names}",
                        "Its record would no longer say how its results came about.",
                        "Say experiment=ANOTHER, or give the settings it was started with.",
                        field="experiment",
                    )
                return known
            _refuse_taken(db, experiment)
            row = msgspec.structs.asdict(experiment)
            db.execute(experiments.insert().values(row | {"settings": _text(experiment.settings)}))
            _append(db, _first(experiment))
            return experiment

        return self.ledger.write(write)

    def experiment(self, id: str) -> Experiment:
        """An experiment by its id. Raises: StoreError if nobody started it."""
        with self.ledger.read() as db:
            found = _experiment(db, id)
        if found is None:
            known = ", ".join(one.id for one in self.experiments()) or "none"
            raise StoreError(
                f"there is no experiment {id!r}",
                f"Known here: {known}.",
                "understudy start loop.yaml",
                field="experiment",
            )
        return found

    def experiments(self) -> tuple[Experiment, ...]:
        """Every experiment there ever was, oldest first."""
        with self.ledger.read() as db:
            rows = db.execute(sa.select(experiments).order_by(experiments.c.time, experiments.c.id)).mappings()
            return tuple(_as_experiment(row) for row in rows)

    def move(
        self,
        experiment: str,
        workflow: Workflow,
        job: str,
        state: str,
        *,
        time: int,
        reason: str = "",
        body: dict[str, Any] | None = None,
    ) -> Change:
        """Change a job's state. The same change again, by whoever resumes, returns what stands.

        Raises: StoreError if the state may not follow, if another job of the workflow is in flight, or if a job is
        given up without a reason.
        """
        if state in GIVEN_UP and not reason.strip():
            raise StoreError(f"{workflow} job {job} becomes {state} without a reason", "Others will ask for it.")

        def write(db: sa.Connection) -> Change:
            if _experiment(db, experiment) is None:
                raise StoreError(f"there is no experiment {experiment!r}", field="experiment")
            last = _last(db, experiment, workflow, job)
            if last is not None and last.state == state:
                return last
            _refuse_illegal(workflow, job, last.state if last else "", state)
            if last is None:
                _refuse_second(db, experiment, workflow, job)
            return _append(db, Change(
                experiment=experiment, workflow=workflow, job=job, number=last.number + 1 if last else 1, state=state,
                time=time, reason=reason, body=(last.body if last else {}) | (body or {}),
            ))  # fmt: skip

        return self.ledger.write(write)

    def history(self, experiment: str) -> tuple[Change, ...]:
        """Every change of an experiment's jobs, oldest first."""
        with self.ledger.read() as db:
            return _changes(db, journal.c.experiment == experiment)

    def jobs(self, experiment: str, workflow: Workflow | None = None) -> tuple[Change, ...]:
        """Every job of an experiment in its latest state, in order of first appearance."""
        latest: dict[tuple[str, str], Change] = {}
        for change in self.history(experiment):
            if workflow is None or change.workflow == workflow:
                latest[change.workflow, change.job] = change
        return tuple(latest.values())


def _different(known: Experiment, asked: Experiment) -> str:
    """Names of the settings that differ, as one writes them: ``client.env``."""
    old, new = _flat(known.settings), _flat(asked.settings)
    names = sorted(name for name in {*old, *new} if old.get(name, "") != new.get(name, ""))
    return ", ".join(names[:10]) or "the problem itself is another one"


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in settings.items():
        inner = isinstance(value, Mapping) and bool(value)
        found |= _flat(value, f"{before}{name}.") if inner else {before + name: repr(value)}
    return found


def _experiment(db: sa.Connection, id: str) -> Experiment | None:
    row = db.execute(sa.select(experiments).where(experiments.c.id == id)).mappings().first()
    return None if row is None else _as_experiment(row)


def _as_experiment(row: Any) -> Experiment:
    return Experiment(**{**row, "settings": msgspec.json.decode(row["settings"])})


def _first(experiment: Experiment) -> Change:
    return Change(experiment=experiment.id, workflow="experiment", job=experiment.id, number=1, state="RUNNING",
                  time=experiment.time)  # fmt: skip


def _refuse_taken(db: sa.Connection, wanted: Experiment) -> None:
    """Two loops on one alias would promote against, and direct traffic away from, each other."""
    for row in db.execute(sa.select(experiments).where(experiments.c.alias == wanted.alias)).mappings():
        state = _last(db, row["id"], "experiment", row["id"])
        if state is not None and state.state == "RUNNING":
            raise StoreError(
                f"experiment {row['id']!r} is running on the alias {wanted.alias!r}",
                "Two loops on one alias would undo each other's work.",
                f"Finish it, or end it with: understudy clean --experiment {row['id']}; or use another alias.",
                field="alias",
            )


def _refuse_illegal(workflow: str, job: str, now: str, wanted: str) -> None:
    if wanted not in LEGAL[workflow].get(now, ()):
        following = ", ".join(LEGAL[workflow].get(now, ())) or "nothing: it has ended"
        raise StoreError(
            f"{workflow} job {job} is {now or 'unknown'} and cannot become {wanted}",
            f"After {now or 'nothing'} may follow: {following}.",
            field=workflow,
        )


def _refuse_second(db: sa.Connection, experiment: str, workflow: str, job: str) -> None:
    mine = sa.and_(journal.c.experiment == experiment, journal.c.workflow == workflow)
    states = {change.job: change for change in _changes(db, mine)}
    for other in states.values():
        if other.in_flight:
            raise StoreError(
                f"{workflow} job {other.job} is {other.state}; job {job} may not begin beside it",
                "Each workflow of an experiment does one thing at a time.",
                "Wait for it; if its process is gone, run the same step again: it finishes what was begun.",
                field=workflow,
            )


def _last(db: sa.Connection, experiment: str, workflow: str, job: str) -> Change | None:
    found = _changes(db, sa.and_(journal.c.experiment == experiment, journal.c.workflow == workflow,
                                 journal.c.job == job))  # fmt: skip
    return found[-1] if found else None


def _changes(db: sa.Connection, where: Any) -> tuple[Change, ...]:
    query = sa.select(*(column for column in journal.c if column.name != "id")).where(where).order_by(journal.c.id)
    return tuple(Change(**{**row, "body": msgspec.json.decode(row["body"])}) for row in db.execute(query).mappings())


def _append(db: sa.Connection, change: Change) -> Change:
    db.execute(journal.insert().values(msgspec.structs.asdict(change) | {"body": _text(change.body)}))
    return change


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
