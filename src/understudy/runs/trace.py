"""Why was this done? From one decision back to its policy, verdict, estimates and exact training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import DataError, StoreError
from understudy.core.evidence import Estimate, Verdict
from understudy.core.problem import Problem
from understudy.core.service import Logged, parse_canary
from understudy.data.artifact import MANIFEST, read_manifest, verify_artifact
from understudy.data.dataset import decision_hashes
from understudy.data.eventlog import EventLog, open_event_log
from understudy.data.home import Home
from understudy.data.ledger import Promotion
from understudy.data.traffic import kept_beside
from understudy.models.policy_file import read_policy
from understudy.runs.assess import read_estimates
from understudy.runs.course import Course, open_course
from understudy.runs.slices import open_slice
from understudy.runs.train import open_policy


class Rows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decisions a policy was trained on, and whether they can still be shown to be those.

    ``verified`` None: the dataset is no longer where the ledger last saw it, so its id and hashes are all there is.
    """

    dataset: str
    slice: str
    rows: int
    path: str | None
    files: dict[str, str]  # relative path → sha256, as the ledger remembers them
    verified: bool | None
    said: str


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One look at a policy: which comparison, on what, the verdict, and the estimates made on the same data."""

    look: int
    k: int
    alpha: float
    incumbent: str
    dataset: str
    time: int
    verdict: Verdict | None
    estimates: tuple[Estimate, ...] = ()


class Actor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy that had a part in a decision.

    Args:
        role: ``live``, ``on trial`` (a canary's candidate), ``previous`` (whose place the live one took, and which
            keeps a share while that is watched) or ``asked only`` (a shadow's).
        intact: its files are what was written.
    """

    id: str
    role: str
    intact: bool
    config: dict[str, Any]
    seed: int | None
    code_version: str
    parents: tuple[str, ...]
    promotions: tuple[Promotion, ...]
    judged: tuple[Judged, ...]
    trained_on: tuple[Rows, ...]


class Trace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a decision goes back to."""

    decision: Logged
    actors: tuple[Actor, ...]
    experiment: str = ""  # the loop that was running on the alias, if one was


def why(decision_id: str, *, home: str | Path, alias: str, log: str | None = None) -> Trace:
    """A decision with all that led to it. Raises: DataError if the log holds nothing, or another, under its id."""
    place = Home(home)
    with _reading(place, alias, log) as source:
        body = source.find("decision", decision_id)
    if body is None:
        raise DataError(
            f"the event log of {alias!r} holds no decision {decision_id!r}",
            "Only what was written down can be explained.",
            "Name its alias with --for, or another log with --log.",
            field=decision_id,
        )
    decision = _logged(decision_id, body, alias)
    history = place.ledger.history(alias) if place.exists else ()
    actors = tuple(_actor(place, alias, id, role) for role, id in _parts(decision, history) if _exists(place, id))
    ran = [job.id for job in _experiments(place, alias) if _made(job, [actor.id for actor in actors])]
    return Trace(decision=decision, actors=actors, experiment=ran[-1] if ran else "")


def decisions(*, home: str | Path, alias: str, log: str | None = None) -> Iterator[Logged]:
    """Every decision of an event log, per worker in order. Raises: DataError at one that is not what it stands for."""
    with _reading(Home(home), alias, log) as source:
        mark: dict[str, int] = {}
        while True:
            entries, mark = source.read(mark)
            if not entries:
                return
            for entry in entries:
                if entry.kind == "decision":
                    yield _logged(entry.key, entry.body, alias)


def _logged(key: str, body: bytes, alias: str) -> Logged:
    """What stands under an id: its own decision, whose draw is a hash of just that id and alias."""
    try:
        found = msgspec.json.decode(body, type=Logged)
    except msgspec.MsgspecError as error:
        raise DataError(f"what the event log holds under {key!r} is no decision: {error}", field=key) from error
    if (found.decision_id, found.application) != (key, alias):
        raise DataError(
            f"under {key!r} the event log of {alias!r} holds decision {found.decision_id!r} of {found.application!r}",
            "Another id or alias draws another action, so this is not what was decided.",
            "The log was changed, or is another alias's: name that with --for.",
            field=key,
        )
    return found


def served_problem(home: str | Path, alias: str) -> Problem:
    """The problem an alias is served under: of its experiment, or of its policies. Raises: StoreError if neither is."""
    place = Home(home)
    for course in reversed(_experiments(place, alias)):
        return course.problem
    for change in reversed(place.ledger.history(alias) if place.exists else ()):
        if _exists(place, change.policy):
            return read_policy(place.kept(change.policy)).problem
    raise StoreError(
        f"nothing in {home} says which problem {alias!r} is served under",
        "Nobody was ever live there, and no experiment ran on it.",
        f"Name the alias with --for. {_served(place)}",
        field=alias,
    )


def trace_lines(trace: Trace) -> list[str]:
    """For a person: the decision, then each policy with what let it act and what it learned from."""
    d = trace.decision
    lines = [
        f"{d.decision_id}: {d.action} with probability {d.propensity}, in {d.mode} mode, by {d.policy_id}",
        *([f"  the baseline acted: {d.fallback}"] if d.fallback else []),
        *([f"  in experiment {trace.experiment}"] if trace.experiment else []),
    ]
    for actor in trace.actors:
        intact = "files intact" if actor.intact else "FILES CHANGED"
        lines.append(f"{actor.role}: {actor.id} ({actor.config.get('learner', 'policy')}, seed {actor.seed}, {intact})")
        lines += [f"  {p.kind} as version {p.version}" + (f": {p.reason}" if p.reason else "")
                  for p in actor.promotions]  # fmt: skip
        for one in actor.judged:
            outcome = one.verdict.outcome.replace("_", " ") if one.verdict else "no verdict"
            lines.append(f"  look {one.look} (comparison {one.k}) against {one.incumbent}: {outcome}")
            ids = {d.application: one.incumbent}  # estimates name the incumbent by the alias it was live under
            lines += [f"    {ids.get(e.target, e.target)}, {e.estimator}: {_interval(e)}" for e in one.estimates]
        lines += [f"  learned from {r.rows} decisions of dataset {r.dataset} ({r.slice}): {r.said}"
                  for r in actor.trained_on]  # fmt: skip
        if not actor.trained_on:
            lines.append("  learned from nothing")
    return lines


def _interval(e: Estimate) -> str:
    if e.low is None or e.high is None:
        return f"{e.value:.4f}, no interval: {'; '.join(e.notes) or 'the data carry none'}"
    return f"{e.value:.4f} [{e.low:.4f}, {e.high:.4f}]"


def _served(place: Home) -> str:
    """The aliases of which anything is known."""
    logs = Path(place.folder) / "log"
    found = {path.name for path in logs.iterdir() if path.is_dir()} if logs.is_dir() else set()
    known = sorted(found | set(place.ledger.aliases() if place.exists else ()))
    return f"Aliases: {', '.join(known)}" if known else "There are none so far."


@contextmanager
def _reading(place: Home, alias: str, log: str | None) -> Iterator[EventLog]:
    if not log and not place.log(alias).is_dir():
        raise StoreError(
            f"there is no event log of {alias!r} in {place.folder}",
            hint=f"Name the alias with --for, or its log with --log. {_served(place)}",
            field=alias,
        )
    source = open_event_log(log or place.log(alias), None)
    try:
        yield source
    finally:
        source.close()


def _parts(decision: Logged, history: Sequence[Promotion]) -> list[tuple[str, str]]:
    """(role, policy id) of everybody who had a part in it."""
    canary = parse_canary(decision.policy_id or "")
    if canary is None:
        parts = [("live", decision.policy_id or "")]
    else:
        role = "previous" if kept_beside(history, canary[0], canary[1]) else "on trial"
        parts = [("live", canary[0]), (role, canary[1])]
    return parts + ([("asked only", decision.shadow.policy_id)] if decision.shadow else [])


def _exists(place: Home, id: str) -> bool:
    return (place.kept(id) / MANIFEST).exists()


def _experiments(place: Home, alias: str) -> list[Course]:
    from understudy.data.journal import Journal

    found = Journal(place.ledger).experiments() if place.exists else ()
    return [open_course(place, one.id) for one in found if one.alias == alias]


def _made(course: Course, ids: list[str]) -> bool:
    return any(job.body.get("policy") in ids for job in course.jobs)


def _actor(place: Home, alias: str, id: str, role: str) -> Actor:
    folder = place.kept(id)
    manifest = read_manifest(folder)
    return Actor(
        id=id, role=role, intact=_intact(folder), config=manifest.config, seed=manifest.seed,
        code_version=manifest.code_version, parents=tuple(parent.id for parent in manifest.parents),
        promotions=tuple(change for change in place.ledger.history(alias) if change.policy == id),
        judged=_looks(place, alias, id), trained_on=_rows(place, folder),
    )  # fmt: skip


def _intact(folder: Path) -> bool:
    try:
        return verify_artifact(folder).id == folder.name  # whole files of another policy are not this one's
    except StoreError:
        return False


def _looks(place: Home, alias: str, id: str) -> tuple[Judged, ...]:
    made = [m for m in place.ledger.made("estimates") if id in {parent.id for parent in m.parents}]
    found = []
    for look in place.ledger.looks(alias):
        if look.candidate != id:
            continue
        dataset = look.dataset.partition("/")[0]
        paths = [place.known(m.id) for m in made if dataset in {parent.id for parent in m.parents}]
        estimates = tuple(e for path in paths if path is not None and path.exists() for e in read_estimates(path))
        found.append(Judged(
            look=look.id, k=look.k, alpha=look.alpha, incumbent=look.incumbent, dataset=look.dataset, time=look.time,
            verdict=place.ledger.verdict(look), estimates=estimates,
        ))  # fmt: skip
    return tuple(found)


def _rows(place: Home, folder: Path) -> tuple[Rows, ...]:
    """Of each dataset among a policy's parents: how many of its decisions were learned from, and are they the same?"""
    policy, known = open_policy(folder) if _intact(folder) else None, {m.id: m for m in place.ledger.made("dataset")}
    manifest, found = read_manifest(folder), []
    for parent in manifest.parents:
        if parent.kind != "dataset":
            continue
        path, slice = place.known(parent.id), str(manifest.config.get("slice", "all"))
        verified, said = _verified(path, parent.id, slice, policy and policy.trained_on)
        found.append(Rows(
            dataset=parent.id, slice=slice, rows=manifest.counts.get("decisions", 0), path=str(path) if path else None,
            files=known[parent.id].files if parent.id in known else {}, verified=verified, said=said,
        ))  # fmt: skip
    return tuple(found)


def _verified(path: Path | None, id: str, slice: str, trained_on: np.ndarray | None) -> tuple[bool | None, str]:
    if path is None or not (path / MANIFEST).exists():
        return None, "the dataset is gone from where the ledger last saw it"
    try:
        if verify_artifact(path).id != id:
            return False, f"another dataset lies at {path}"
    except StoreError as error:
        return False, error.what
    if trained_on is None or not np.isin(decision_hashes(open_slice(path, slice)), trained_on).all():
        return False, "the policy's list of training rows is not that of this dataset"
    return True, "verified, every file and every row"
