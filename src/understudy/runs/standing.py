"""How an experiment stands, turn by turn, and its clearing away: read from the ledger, said before it is done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, StoreError
from understudy.core.evidence import Estimate, Lift
from understudy.data.home import LOGGED, Home, now
from understudy.data.journal import Change, Journal
from understudy.data.ledger import Promotion
from understudy.data.traffic import Direction, Traffic, kept_beside
from understudy.report.loop_model import LoopRow
from understudy.runs import hosting
from understudy.runs.course import Course, open_course
from understudy.runs.prove import LIFT, verdict_folder

SCRATCH = ("segments", "data", "runs")  # what a turn makes; a promoted policy has a copy elsewhere


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an experiment is.

    Args:
        next: the verb that may follow, "" at the end. turn: the one it belongs to.
        live: who is live under the alias; trial: who has a share of the traffic, and how large; watched: whether that
            is the previous policy, kept beside the one that took its place.
        by_hand: changes of who is live that no step of the experiment made: rollbacks, overrides, promotions.
        in_flight: jobs that were begun and have not ended: somebody works on them, or was killed.
        given_up: jobs that failed, with their reasons.
    """

    experiment: str
    alias: str
    state: str
    next: str
    turn: int
    live: str
    trial: str
    share: float
    watched: bool
    by_hand: tuple[dict[str, Any], ...]
    turns: tuple[dict[str, Any], ...]
    in_flight: tuple[dict[str, Any], ...]
    given_up: tuple[dict[str, Any], ...]
    settings: dict[str, Any]


def status(home: str | Path | Home, experiment: str) -> Standing:
    """An experiment at this moment. Raises: StoreError if nobody started it."""
    course = open_course(home, experiment)
    step, jobs = course.next, course.jobs
    history = course.home.ledger.history(course.alias)
    live, direction = history[-1] if history else None, Traffic(course.home.ledger).current(course.alias)
    return Standing(
        experiment=course.id,
        alias=course.alias,
        state=course.state,
        next=step.verb if step else "",
        turn=step.turn if step else max((job.body["turn"] for job in jobs), default=0),
        live=live.policy if live else LOGGED,
        trial=direction.candidate or "" if direction.mode == "canary" else "",
        share=direction.share,
        watched=live is not None and kept_beside(history, live.policy, direction.candidate),
        by_hand=_by_hand(course, history),
        turns=tuple(_plain(row) for row in rows(course)),
        in_flight=tuple(_job(job) for job in jobs if job.in_flight),
        given_up=tuple(_job(job) for job in jobs if job.reason),
        settings=course.record.settings,
    )


def only_experiment(home: str | Path, named: str) -> str:
    """The experiment that is meant: the named one, or the only one there is. Raises: ConfigError lists them."""
    place = Home(home)
    known = [one.id for one in Journal(place.ledger).experiments()] if place.exists else []
    if named or len(known) == 1:
        return named or known[0]
    what = f"{len(known)} experiments are known" if known else f"no experiment was ever started in {place.folder}"
    hint = f"Say --experiment, one of: {', '.join(known)}" if known else "Start one with: understudy loop loop.yaml"
    raise ConfigError(what, hint=hint, field="experiment")


def status_lines(at: Standing) -> list[str]:
    """For a person."""
    following = f"next: {at.next} of turn {at.turn}" if at.next else "nothing is left to do"
    lines = [f"experiment {at.experiment} on {at.alias}: {at.state}, {following}", f"live: {at.live}"]
    if at.trial:
        role = "previous policy, kept to watch the live one" if at.watched else "on trial"
        lines.append(f"{role}: {at.trial} with {at.share:.0%} of the traffic")
    lines += [f"by hand: {one['kind']} to {one['policy']} (version {one['version']})" + (f": {one['reason']}" if
              one["reason"] else "") for one in at.by_hand]  # fmt: skip
    for row in at.turns:
        verdict = row["outcome"].replace("_", " ") or _unjudged(row, at)
        verdict += "; promoted" if row["promoted"] else ""
        told = f"{row['decisions']} decisions, mean reward {row['mean_reward']:.4f}"
        lines.append(f"  turn {row['loop']}: {told}; {verdict}")
    lines += [f"in flight: {job['workflow']} of turn {job['turn']} is {job['state']}" for job in at.in_flight]
    return lines + [f"given up: {job['workflow']} of turn {job['turn']}: {job['reason']}" for job in at.given_up]


def _by_hand(course: Course, history: Sequence[Promotion]) -> tuple[dict[str, Any], ...]:
    """Changes since the start whose version no step of the experiment has noted as the one it made."""
    made = {job.body["version"][0] for job in course.jobs if job.workflow == "hosting" and job.done}
    busy = any(job.workflow == "hosting" and job.in_flight for job in course.jobs)  # its change may be the last one
    since = [one for one in history if one.time >= course.record.time and one.kind != "install"]
    changes = [one for one in since if one.version not in made]
    if busy and changes and changes[-1] is history[-1]:
        changes.pop()
    return tuple({"kind": one.kind, "policy": one.policy, "version": one.version, "reason": one.reason,
                  "time": one.time} for one in changes)  # fmt: skip


def _unjudged(row: dict[str, Any], at: Standing) -> str:
    if at.next and row["loop"] == at.turn and at.next in ("evaluate", "train"):
        return "not judged yet"
    return "nobody was on trial: the last promotion was watched" if row["share"] else "nobody was on trial"


def rows(course: Course) -> tuple[LoopRow, ...]:
    """One row per turn whose decisions were joined, as a report shows them."""
    done = {(job.workflow, job.body["turn"], job.body["role"]): job.body for job in course.jobs if job.done}
    turns = sorted(turn for workflow, turn, _ in done if workflow == "joining" and turn)
    return tuple(_row(course, turn, done[("joining", turn, "")], done) for turn in turns)


def _row(course: Course, turn: int, joined: dict[str, Any], done: dict[Any, dict[str, Any]]) -> LoopRow:
    judged, hosted = done.get(("evaluation", turn, ""), {}), done.get(("hosting", turn, "promote"))
    estimates = msgspec.convert(judged.get("estimates", ()), tuple[Estimate, ...])
    candidate = judged.get("candidate") or (hosted or {}).get("policy", "")
    other = course.alias if judged.get("incumbent") != LOGGED else LOGGED
    return LoopRow(
        loop=turn,
        decisions=joined["decisions"],
        mean_reward=joined["mean_reward"],
        hosted=joined["hosted"],
        candidate=candidate or "",
        share=joined["share"],
        new=_best(estimates, candidate or ""),
        old=_best(estimates, other),
        lift=_lift(course, judged.get("look")),
        outcome=judged.get("outcome", ""),
        reason=(hosted or {}).get("superseded") or judged.get("reason", "" if hosted is None else "gate off"),
        promoted=hosted is not None and "superseded" not in hosted,
    )


def _best(estimates: Sequence[Estimate], target: str) -> Estimate | None:
    """The doubly robust estimate where there is one, else another."""
    mine = {e.estimator: e for e in estimates if e.target == target and not e.segment}
    return mine.get("dr") or next(iter(mine.values()), None)


def _lift(course: Course, look: int | None) -> Lift | None:
    path = None if look is None else verdict_folder(course.home.folder, look) / LIFT
    return msgspec.json.decode(path.read_bytes(), type=Lift) if path is not None and path.exists() else None


def _plain(row: LoopRow) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(row, name)) for name in row.__dataclass_fields__}


def _job(job: Change) -> dict[str, Any]:
    return {"workflow": job.workflow, "job": job.job, "turn": job.body["turn"], "state": job.state,
            "reason": job.reason, "time": job.time}  # fmt: skip


def clean(home: str | Path | Home, experiment: str, *, dry_run: bool = False) -> dict[str, list[str]]:
    """End an experiment and delete what its turns made: segments, datasets, candidates.

    Kept: the ledger with every look, verdict, promotion and job; the policies that were ever served; verdicts and
    estimates; the event log; the resolved settings and the problem. With the datasets gone ``why`` can still name
    them by id and hash, but no longer compare them.

    Args:
        dry_run: say it and do nothing.
    Returns:
        ``deletes`` and ``keeps``, a line each.
    """
    course = open_course(home, experiment)
    found = [course.folder / name for name in SCRATCH if (course.folder / name).exists()]
    said = {"deletes": [f"{path} ({_size(path)})" for path in found], "keeps": _kept(course)}
    if dry_run:
        return said
    if course.state == "RUNNING":
        hosting.direct(course, Direction(alias=course.alias, reason=f"experiment {course.id} was ended"))
    for path in found:
        shutil.rmtree(path)
    course.journal.move(course.id, "experiment", course.id, "CLEANED", time=now())
    return said


def _kept(course: Course) -> list[str]:
    home = Path(course.home.folder)
    policies = {job.body["policy"] for job in course.jobs if job.workflow == "training" and job.done}
    return [
        f"{home / 'ledger.db'} (every look, verdict, promotion and job)",
        f"{len(policies)} policies in {home / 'policies'}",
        f"{home / 'verdicts'} and {home / 'estimates'}",
        f"{course.log} (the event log)",
        f"{course.folder} (settings and problem)",
    ]


def _size(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files and not folder.is_dir():
        raise StoreError(f"{folder} is no folder", field=str(folder))
    return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB"
