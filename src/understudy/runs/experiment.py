"""The loop by hand: start, join, train, evaluate, promote, status, clean. Each is one call, and may be called again.

Every step finds out from the ledger what has been done, finishes what a killed process left, and says what is next.
``runs.loop`` makes the same calls in a row, so by hand and unattended the ledger ends up the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import ConfigError
from understudy.core.hashing import canonical
from understudy.core.service import Service
from understudy.data.artifact import MANIFEST
from understudy.data.dataset import ParquetDataset
from understudy.data.eventlog import open_event_log
from understudy.data.eventlog.export import export
from understudy.data.home import LOGGED, Home, now
from understudy.data.join import join as join_logs
from understudy.data.journal import Change, Experiment, Journal
from understudy.data.log import Log, open_log
from understudy.data.times import iso
from understudy.data.traffic import Direction, Traffic
from understudy.runs import guard, hosting
from understudy.runs.course import LOCAL, PROBLEM, SETTINGS, Course, Step, open_course
from understudy.runs.loop_settings import LoopSettings, problem_of
from understudy.runs.stages import candidate, first_policy, judged, trained
from understudy.runs.standing import clean, status


def start(settings: LoopSettings, *, home: str | Path, service: Service | None = None) -> Course:
    """Enter an experiment in the ledger and name its first policy: from historical data, or the uniform one.

    Starting the same again finishes what was begun; a policy that is live under the alias already stays.

    Raises: StoreError if the id stands for other settings, or another experiment runs on the alias.
    """
    place, problem = Home(home), problem_of(settings)
    record = Experiment(
        id=settings.id, alias=settings.alias, problem_hash=problem.hash, settings=msgspec.to_builtins(settings),
        code_version=__version__, time=now(),
    )  # fmt: skip
    course = Course(place, Journal(place.ledger).open(record), settings)
    course.folder.mkdir(parents=True, exist_ok=True)
    for name, body in ((SETTINGS, canonical(settings)), (PROBLEM, canonical(problem))):
        (course.folder / name).write_bytes(msgspec.json.format(body, indent=1) + b"\n")
    if course.done("hosting", 0, "first") is None:
        policy, reason = first_policy(course)
        hosting.install(course, policy, reason, service)
    _close(course)
    return course


def join(
    home: str | Path | Home,
    experiment: str,
    *,
    train_share: float | None = None,
    as_of: str | float | None = None,
    service: Service | None = None,
) -> Change:
    """Begin the next turn: what the event log has grown by, joined, and the guardrail read.

    Makes ``segments/<turn>`` (a log of the new events), ``data/<turn>`` (the decisions whose window has closed since
    the last turn) and ``data/all-<turn>`` (all of them up to now). If the live policy proves worse than the one before
    it, it is rolled back here.

    Args:
        train_share: of this turn's units, the part that may be learned from before the judgement; default: settings'.
        as_of: the moment up to which the log is complete; default: its newest time.
        service: to be asked whether a rollback has arrived; None does not ask.
    """
    course = open_course(home, experiment)
    step = course.expect("join")
    hosting.finish_rollback(course, service)
    before = course.done("joining", step.turn - 1)

    def inputs() -> dict[str, Any]:
        live, direction = course.home.ledger.current(course.alias), Traffic(course.home.ledger).current(course.alias)
        share = course.settings.train_share if train_share is None else train_share
        if not 0 < share < 1:
            raise ConfigError(f"train_share is a share inside (0, 1); got {share}", field="train_share")
        return {
            "after": before.body["upto"] if before else {}, "closed": before.body["as_of"] if before else None,
            "as_of": as_of, "train_share": share, "hosted": live.policy if live else LOGGED,
            "candidate": direction.candidate, "share": direction.share,
            "version": [live.version if live else 0, direction.version],
        }  # fmt: skip

    change = course.work("joining", step, inputs, lambda body: _join(course, body, service))
    return _after(course, change)


def watch(course: Course, turn: int, as_of: str, service: Service | None = None) -> guard.Watched | None:
    """Read the guardrail within a turn, on what has been decided so far; nothing of it is kept but a rollback.

    Not where units may return: each reading is a test of its own there, and α is shared out among those of the turns.
    """
    hosting.finish_rollback(course, service)
    if course.problem.unit == "unit" or not guard.active(course):
        return None
    before = course.done("joining", turn - 1)
    after, closed = (before.body["upto"], before.body["as_of"]) if before else ({}, None)
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        source = open_event_log(course.log, None)
        try:
            export(source, problem=course.problem, to=Path(scratch) / "segment", after=after)
        finally:
            source.close()
        logs, data = [*_segments(course), Path(scratch) / "segment"], Path(scratch) / "data"
        s = course.settings
        join_logs(logs, window=s.window, backward=s.backward, as_of=as_of, after=closed, to=data)
        watched = guard.look(course, data)
    if watched is not None and watched.breached:
        hosting.roll_back(course, turn, watched.reason, service)
    return watched


def train(home: str | Path | Home, experiment: str, *, at: str = LOCAL, service: Service | None = None) -> Change:
    """Train the turn's candidate and, where it is to be tried on traffic, put it on its share.

    It learns from everything up to now; the candidate that is judged by hold-out, from its part of that. A learner
    that goes on from an older policy goes on from the one last promoted, never from a rejected one.
    """
    course = open_course(home, experiment)
    step = course.expect("train", at)
    change = trained(course, step)
    if step.role == "next" and course.settings.gate != "off":
        hosting.try_out(course, step.turn, change.body["policy"], service)
    return _after(course, change)


def evaluate(home: str | Path | Home, experiment: str, *, at: str = LOCAL) -> Change:
    """Judge the candidate against who is live, on the same events: the verdict first, then the estimates to look at.

    A verdict that the ledger already holds on this very question is taken, not asked for again.
    """
    course = open_course(home, experiment)
    return _after(course, judged(course, course.expect("evaluate", at)))


def promote(home: str | Path | Home, experiment: str, *, service: Service | None = None) -> Change:
    """Make the turn's candidate live. Raises: EvidenceError unless its verdict is ``ship`` (or the gate is off)."""
    course = open_course(home, experiment)
    step = course.next
    if step is None or step.verb != "promote":
        _refuse_unproven(course)
    step = course.expect("promote")
    policy = candidate(course, step.turn)
    return _after(course, hosting.promote(course, step, policy, service))


def _join(course: Course, body: dict[str, Any], service: Service | None) -> dict[str, Any]:
    name = f"{body['turn']}-{body['attempt']}" if body["attempt"] else str(body["turn"])
    segment = _segment(course, body, f"segments/{name}")
    served = [*_segments(course), course.folder / f"segments/{name}"]
    given = {"window": course.settings.window, "backward": course.settings.backward, "as_of": body["as_of"]}
    new = join_logs(served, after=body["closed"], to=course.folder / f"data/{name}", **given)
    whole = join_logs([*_history(course), *served], to=course.folder / f"data/all-{name}", **given)
    for made in (segment, new, whole):
        course.home.record(made.folder)
    watched = guard.look(course, new.folder)
    if watched is not None and watched.breached:
        hosting.roll_back(course, body["turn"], watched.reason, service)
    return {
        "segment": f"segments/{name}", "upto": segment.manifest.config["to"],
        "as_of": iso(new.manifest.config["as_of"]),
        "dataset": {"path": f"data/{name}", "id": new.manifest.id},
        "all": {"path": f"data/all-{name}", "id": whole.manifest.id},
        "decisions": new.n_steps, "pending": new.manifest.counts["pending"], "mean_reward": _mean_reward(new),
        "guard": None if watched is None else watched.as_dict(),
    }  # fmt: skip


def _segment(course: Course, body: dict[str, Any], name: str) -> Log:
    """The events since the last turn; one that a killed process finished is taken as it is: later events are next."""
    to = course.folder / name
    if (to / MANIFEST).exists():
        return open_log(to)
    source = open_event_log(course.log, None)
    try:
        return export(source, problem=course.problem, to=to, after=body["after"])
    finally:
        source.close()


def _segments(course: Course) -> list[Path]:
    """Logs of the turns before, oldest first."""
    done = [job.body for job in course.jobs if job.workflow == "joining" and job.done]
    return [course.folder / body["segment"] for body in done if body["turn"]]


def _history(course: Course) -> list[Path]:
    """The log that the first policy was trained on, if it is one that further decisions can be joined with."""
    first = course.done("joining", 0)
    return [Path(first.body["segment"])] if first is not None and first.body["segment"] else []


def _mean_reward(data: ParquetDataset) -> float:
    return sum(float(steps.reward.sum()) for steps in data.scan()) / data.n_steps


def _refuse_unproven(course: Course) -> None:
    """Whoever wants to promote what was judged and not shipped is told the verdict, not the order of the steps."""
    judged = [job for job in course.jobs if job.workflow == "evaluation" and job.done]
    turn = max((job.body["turn"] for job in course.jobs if job.workflow == "joining" and job.done), default=0)
    if judged and judged[-1].body["turn"] == turn and judged[-1].body["outcome"] != "ship":
        hosting.promote(course, Step("promote", turn, "promote"), judged[-1].body["candidate"], None)


def _after(course: Course, change: Change) -> Change:
    _close(course)
    return change


def _close(course: Course) -> None:
    """At the end of the last turn nobody is left on trial, and the record is closed."""
    if course.state == "RUNNING" and course.next is None:
        hosting.direct(course, Direction(alias=course.alias, reason=f"experiment {course.id} is at its end"))
        course.finish()


__all__ = ["clean", "evaluate", "join", "promote", "start", "status", "train", "watch"]
